/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mvpn-gateway: the user's settings, the web page and its WebSocket.
 *
 * May: listen on one loopback port, read the page's files, write state/gateway/. No capability, no
 * network beyond loopback, no key but the page's token. */
#include "gateway.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "lib/sys/entropy.h"
#include "lib/sys/log.h"

#define CONF(field) offsetof(struct gateway_conf, field), sizeof(((struct gateway_conf *)0)->field)
#define TOKEN_FILE_MAX 256 /* bytes; it has 44 */

static const struct conf_key keys[] = {
	{"node", "name", CONF_TEXT, CONF(name), "", 0, 0, "what the operator calls this node"},
	{"gateway", "port", CONF_U64, CONF(port), "8787", 0, 65535,
		"TCP port of the web page on 127.0.0.1; 0: no page"},
	{"gateway", "listen", CONF_ADDR, CONF(listen), "127.0.0.1", 0, 0,
		"IPv4 address of the page; another than loopback only in a container whose port is published "
		"on loopback (it answers to no other name than 127.0.0.1 and localhost)"},
	{"gateway", "page", CONF_TEXT, CONF(page), "", 0, 0,
		"folder of the web page; empty: the one installed with this program"},
	{"gateway", "hops", CONF_U64, CONF(first.n_hops), "3", 1, 3,
		"first start: relays between this node and a destination"},
	{"gateway", "hop_interval_s", CONF_U64, CONF(first.hop_interval_s), "600", 0,
		SETTINGS_HOP_INTERVAL_MAX_S,
		"first start: seconds between changes of the route; 0: none"},
	{"gateway", "share", CONF_BOOL, CONF(first.share), "no", 0, 0,
		"first start: relay for others"},
	{"gateway", "share_exit", CONF_BOOL, CONF(first.share_exit), "no", 0, 0,
		"first start: be an exit for others (only while sharing)"},
	{"gateway", "pay", CONF_BOOL, CONF(first.pay), "yes", 0, 0,
		"first start: pay relays; no: use free ones only"},
	{"gateway", "earn", CONF_BOOL, CONF(first.earn), "no", 0, 0,
		"first start: ask to be paid for relaying"},
	{"gateway", "entry_gwei_per_gib", CONF_U64, CONF(first.entry_gwei_per_gib), "0", 0,
		SETTINGS_GWEI_MAX, "first start: price as first hop"},
	{"gateway", "middle_gwei_per_gib", CONF_U64, CONF(first.middle_gwei_per_gib), "0", 0,
		SETTINGS_GWEI_MAX, "first start: price in between"},
	{"gateway", "exit_gwei_per_gib", CONF_U64, CONF(first.exit_gwei_per_gib), "0", 0,
		SETTINGS_GWEI_MAX, "first start: price as exit"},
	{"gateway", "price_max_gwei_per_gib", CONF_U64, CONF(first.price_max_gwei_per_gib), "0", 0,
		SETTINGS_GWEI_MAX, "first start: dearest relay to use; 0: any"},
	{"gateway", "spend_max_gwei_per_day", CONF_U64, CONF(first.spend_max_gwei_per_day), "0", 0,
		SETTINGS_GWEI_MAX, "first start: most to spend in a day; 0: no cap"},
};

static enum err token_load(struct gateway *g)
{
	char path[700], *text;
	struct stat st;
	size_t len;
	enum err e;

	snprintf(path, sizeof(path), "%s/keys/ui.token", service_dir(g->service));
	e = file_read(path, TOKEN_FILE_MAX, &text, &len);
	if (e != OK) {
		log_error("keys/ui.token: %s; `mvpn init --dir DIR` makes it", err_str(e));
		return e;
	}
	if (stat(path, &st) != 0 || (st.st_mode & 077) != 0) {
		log_error("keys/ui.token may be read by others: chmod 600 it");
		e = ERR_DENIED;
	} else {
		e = door_token_parse(text, g->token);
		if (e != OK)
			log_error("keys/ui.token is not %d characters of base64url; remove it and "
				  "run "
				  "`mvpn init --dir DIR` to get a new one",
				DOOR_TOKEN_LEN);
	}
	sodium_memzero(text, len);
	free(text);
	return e;
}

/* The folder that node.ini names, or the one beside the program, or the one of a package. */
static void page_find(struct gateway *g)
{
	char exe[256] = "", beside[400], index[600];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	char *slash = n > 0 ? strrchr(exe, '/') : NULL;

	snprintf(beside, sizeof(beside), "%.*s/../ui/dist", slash == NULL ? 0 : (int)(slash - exe),
		exe);
	const char *const places[] = {g->conf->page, beside, "/usr/share/mvpn/ui"};
	for (size_t i = g->conf->page[0] == '\0'; i < 3 && !g->page_there; i++) {
		snprintf(g->page, sizeof(g->page), "%s", places[i]);
		snprintf(index, sizeof(index), "%s/index.html", places[i]);
		g->page_there = access(index, R_OK) == 0;
		if (g->conf->page[0] != '\0')
			break;
	}
	if (!g->page_there && g->conf->port != 0)
		log_warn("the web page is not in %s: only the command line serves", g->page);
}

static enum err init(struct service *s, const void *conf, void **ret_state)
{
	struct gateway *g = calloc(1, sizeof(*g));
	char why[CONF_WHY_MAX];
	struct settings first;

	if (g == NULL)
		return ERR_FULL;
	*ret_state = g;
	g->service = s;
	g->conf = conf;
	g->host = (struct client_host){.version = MVPN_VERSION, .name = g->conf->name};
	entropy_bytes(&g->host.instance, sizeof(g->host.instance));
	first = g->conf->first;
	first.version = SETTINGS_VERSION;
	if (settings_check(&first, why) != OK) {
		log_error("node.ini: [gateway] %s", why);
		return ERR_INVALID;
	}
	TRY(token_load(g));
	TRY(store_load(g, &first, g->node.notice));
	node_init(&g->node, &first, service_now(s));
	page_find(g);
	return web_open(g);
}

static void tick(void *state, mono_t now)
{
	struct gateway *g = state;
	const struct node_sink sink = outbox_sink(g);

	inbox_links(g, now);
	node_tick(&g->node, now, &sink);
}

static mono_t deadline(void *state)
{
	const struct gateway *g = state;

	return node_deadline(&g->node);
}

static void stop(void *state)
{
	struct gateway *g = state;

	web_close(g);
	sodium_memzero(g->token, sizeof(g->token));
	free(g);
}

int main(int argc, char **argv)
{
	struct service_spec spec = {
		.role = ROLE_GATEWAY,
		.what = "Keeps the user's settings and serves the web page on 127.0.0.1.",
		.keys = keys,
		.n_keys = sizeof(keys) / sizeof(keys[0]),
		.conf_size = sizeof(struct gateway_conf),
		.inbox = &gateway_inbox,
		.verbs = gateway_verbs,
		.n_verbs = gateway_n_verbs,
		.init = init,
		.tick = tick,
		.deadline = deadline,
		.stop = stop,
		.run = web_run,
	};

	return service_main(argc, argv, &spec);
}
