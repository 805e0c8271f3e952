/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The port on loopback: the page's files over HTTP, and the loop that serves port and bus
 * together.
 *
 * libwebsockets waits with its own poll. The descriptors that wake the bus are duplicated and
 * adopted, only to end that wait: ZeroMQ's are edge-triggered, so the bus is drained before each
 * wait whether they fired or not (service_turn). */
#include "web.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/sys/clock.h"
#include "lib/sys/log.h"

#define WAKE_FDS_MAX 64
/* Descriptors of lws: those that wake it, its own few, the pages, and files under way. */
#define LWS_FDS_MAX (WAKE_FDS_MAX + CLIENTS_MAX + 32)
#define HTTP_TIMEOUT_S 5 /* for a request to be complete, and between two on one connection */
#define FAREWELL DUR_MS(500)

/* Nothing but our own files and our own WebSocket, in nobody's frame. */
static const struct lws_protocol_vhost_options headers[] = {
	{&headers[1], NULL, "content-security-policy:",
		"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
		"font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
		"form-action 'none'; frame-ancestors 'none'"},
	{&headers[2], NULL, "x-content-type-options:", "nosniff"},
	{&headers[3], NULL, "referrer-policy:", "no-referrer"},
	{&headers[4], NULL, "cross-origin-opener-policy:", "same-origin"},
	{&headers[5], NULL, "cross-origin-resource-policy:", "same-origin"},
	{NULL, NULL, "permissions-policy:", "camera=(), microphone=(), geolocation=()"},
};

static const struct lws_protocol_vhost_options mime_types[] = {
	{NULL, NULL, ".webmanifest", "application/manifest+json"},
};

/* A page that went away without a word is found by pings. */
static const lws_retry_bo_t idle_policy = {
	.secs_since_valid_ping = 20,
	.secs_since_valid_hangup = 40,
};

bool web_host_ok(struct gateway *g, struct lws *wsi)
{
	char host[DOOR_HEADER_MAX];

	if (lws_hdr_copy(wsi, host, sizeof(host), WSI_TOKEN_HOST) > 0 &&
		door_host_ok(host, (uint16_t)g->conf->port))
		return true;
	g->counters.bad_host++;
	return false;
}

static struct gateway *gateway_of(struct lws *wsi)
{
	return ((struct web *)lws_context_user(lws_get_context(wsi)))->g;
}

static int refuse(struct lws *wsi, unsigned int status, const char *body)
{
	if (lws_return_http_status(wsi, status, body) != 0)
		return -1;
	return lws_http_transaction_completed(wsi) ? -1 : 1;
}

static int on_request(struct lws *wsi)
{
	struct gateway *g = gateway_of(wsi);

	if (!web_host_ok(g, wsi))
		return refuse(wsi, 421, "<p>Not a name of this machine.</p>");
	if (lws_hdr_total_length(wsi, WSI_TOKEN_GET_URI) <= 0 &&
		lws_hdr_total_length(wsi, WSI_TOKEN_HEAD_URI) <= 0)
		return refuse(wsi, HTTP_STATUS_METHOD_NOT_ALLOWED, NULL);
	return 0;
}

static int http_callback(
	struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	switch ((int)reason) {
	case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
		return -1; /* a WebSocket that does not name our protocol */
	case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
		/* No HTTP/2 on loopback: much code for strangers to try, and nothing gained. */
		return in == NULL || strcasecmp(in, "websocket") != 0 ? -1 : 0;
	case LWS_CALLBACK_FILTER_HTTP_CONNECTION:
		return on_request(wsi);
	case LWS_CALLBACK_HTTP:
		if (gateway_of(wsi)->page_there)
			break;
		return refuse(wsi, HTTP_STATUS_NOT_FOUND,
			"<p>The page is not installed; <code>mvpn doctor</code> says where it "
			"should be.</p>");
	case LWS_CALLBACK_RAW_ADOPT_FILE:
	case LWS_CALLBACK_RAW_RX_FILE:
		return 0; /* the bus woke us; it is drained before the next wait */
	default:
		break;
	}
	return lws_callback_http_dummy(wsi, reason, user, in, len);
}

static const struct lws_protocols protocols[] = {
	{.name = "http", .callback = http_callback},
	{.name = DOOR_PROTOCOL,
		.callback = ws_callback,
		.per_session_data_size = sizeof(struct ws_user),
		.rx_buffer_size = ORDER_BYTES_MAX},
	{0},
};

static enum err vhost_open(struct web *w)
{
	static struct lws_http_mount mount = {.mountpoint = "/",
		.mountpoint_len = 1,
		.origin_protocol = LWSMPRO_FILE,
		.def = "index.html",
		.extra_mimetypes = mime_types};
	struct gateway *g = w->g;
	char address[NET_TEXT_MAX];
	struct lws_context_creation_info info = {
		.port = g->conf->port == 0 ? CONTEXT_PORT_NO_LISTEN : (int)g->conf->port,
		.iface = net_addr_show(&g->conf->listen, address),
		.protocols = protocols,
		.mounts = g->page_there ? &mount : NULL,
		.headers = headers,
		.server_string = "mvpn",
		.retry_and_idle_policy = &idle_policy,
		.timeout_secs = HTTP_TIMEOUT_S,
		.keepalive_timeout = HTTP_TIMEOUT_S,
		.options =
			LWS_SERVER_OPTION_FAIL_UPON_UNABLE_TO_BIND | LWS_SERVER_OPTION_DISABLE_IPV6,
	};

	mount.origin = g->page;
	errno = 0;
	w->vhost = lws_create_vhost(w->lws, &info);
	if (w->vhost != NULL)
		return OK;
	log_error("%s port %llu: %s; choose another as [gateway] port in node.ini", info.iface,
		(unsigned long long)g->conf->port,
		errno == 0 ? "cannot be opened" : strerror(errno));
	return ERR_IO;
}

enum err web_open(struct gateway *g)
{
	struct lws_context_creation_info info = {
		.options =
			LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_NO_LWS_SYSTEM_STATES,
		.fd_limit_per_thread = LWS_FDS_MAX,
		.pt_serv_buf_size = 4096,
		.timeout_secs_ah_idle = HTTP_TIMEOUT_S,
	};
	struct web *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return ERR_FULL;
	w->g = g;
	g->web = w;
	lws_set_log_level(0, NULL); /* its lines name parties */
	info.user = w;
	w->lws = lws_create_context(&info);
	if (w->lws == NULL) {
		log_error("libwebsockets does not start");
		return ERR_IO;
	}
	return vhost_open(w);
}

void web_close(struct gateway *g)
{
	if (g->web == NULL)
		return;
	if (g->web->lws != NULL)
		lws_context_destroy(g->web->lws);
	free(g->web);
	g->web = NULL;
}

const struct client *web_client(const struct gateway *g, size_t i)
{
	for (size_t k = 0; k < CLIENTS_MAX; k++)
		if (g->web->pages[k].wsi != NULL && i-- == 0)
			return &g->web->pages[k].client;
	return NULL;
}

/* ---- the loop ---- */

static enum err wake_adopt(struct web *w, struct service *s)
{
	int fds[WAKE_FDS_MAX];
	size_t n = service_wake_fds(s, fds, WAKE_FDS_MAX);

	for (size_t i = 0; i < n; i++) {
		/* lws closes what it adopts. */
		lws_sock_file_fd_type fd = {.filefd = dup(fds[i])};

		if (fd.filefd < 0 || lws_adopt_descriptor_vhost(w->vhost, LWS_ADOPT_RAW_FILE_DESC,
					     fd, "http", NULL) == NULL)
			return ERR_IO;
	}
	return OK;
}

/* lws runs timers that are due before it waits, and then waits all the same: end that wait. */
static void on_timer(lws_sorted_usec_list_t *timer)
{
	struct web *w = lws_container_of(timer, struct web, timer);

	lws_cancel_service(w->lws);
}

static void timer_set(struct web *w, mono_t at)
{
	uint64_t us = mono_since(mono_now(), at).ns / 1000 + 1;

	lws_sul_schedule(w->lws, 0, &w->timer, on_timer,
		at.ns == UINT64_MAX ? LWS_SET_TIMER_USEC_CANCEL : (lws_usec_t)us);
}

static void farewell(struct web *w)
{
	mono_t end = mono_add(mono_now(), FAREWELL);

	while (ws_farewell(w) && !mono_reached(end, mono_now())) {
		timer_set(w, end);
		if (lws_service(w->lws, 0) < 0)
			break;
	}
}

void web_run(struct service *s, void *state)
{
	struct gateway *g = state;
	struct web *w = g->web;

	if (wake_adopt(w, s) != OK) {
		log_error("the bus cannot be waited for: %s", strerror(errno));
		return;
	}
	while (!service_stopping(s)) {
		bool more = service_turn(s);

		ws_push(w, service_now(s));
		timer_set(w, service_deadline(s));
		if (service_stopping(s) || lws_service(w->lws, more ? -1 : 0) < 0)
			break;
	}
	farewell(w);
	lws_sul_cancel(&w->timer);
}
