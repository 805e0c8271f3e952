/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tool's side of ctl.h: ask, receive rows, print them as tables or JSON. */
#include "ctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <pb_decode.h>
#include <pb_encode.h>
#include <zmq.h>

#include "clock.h"
#include "proto/ctl.pb.h"
#include "table.h"

#define ASK_TIMEOUT DUR_S(5) /* a healthy service answers in milliseconds */
#define WATCH_MS 1000	     /* between looks, unless --interval says otherwise */

enum exit_code {
	EXIT_OK = 0,
	EXIT_REFUSED = 1,
	EXIT_USAGE = 2,
	EXIT_NO_ANSWER = 3
};

struct ctl_client {
	void *zmq, *sock;
	uint32_t next_id;
};

enum err ctl_connect(struct ctl_client **ret_c, const char *dir, enum role service)
{
	struct ctl_client *c = calloc(1, sizeof(*c));
	char address[600];
	int linger = 0;

	if (c == NULL)
		return ERR_FULL;
	c->zmq = zmq_ctx_new();
	c->sock = c->zmq == NULL ? NULL : zmq_socket(c->zmq, ZMQ_DEALER);
	snprintf(address, sizeof(address), "ipc://%s/run/%s.ctl", dir, role_name(service));
	if (c->sock == NULL || zmq_setsockopt(c->sock, ZMQ_LINGER, &linger, sizeof(linger)) != 0 ||
		zmq_connect(c->sock, address) != 0) {
		ctl_disconnect(&c);
		return ERR_IO;
	}
	*ret_c = c;
	return OK;
}

void ctl_disconnect(struct ctl_client **c)
{
	if (*c == NULL)
		return;
	if ((*c)->sock != NULL)
		zmq_close((*c)->sock);
	if ((*c)->zmq != NULL)
		zmq_ctx_term((*c)->zmq);
	free(*c);
	*c = NULL;
}

static enum err request_send(struct ctl_client *c, const char *const *words, size_t n, char *why)
{
	mvpn_CtlRequest req = mvpn_CtlRequest_init_zero;
	uint8_t buf[mvpn_CtlRequest_size];
	pb_ostream_t s = pb_ostream_from_buffer(buf, sizeof(buf));

	req.id = ++c->next_id;
	for (size_t i = 0; i < n; i++) {
		if (i == CTL_WORDS_MAX || strlen(words[i]) >= sizeof(req.words[i])) {
			snprintf(why, 200, "at most %d words of at most %zu characters", CTL_WORDS_MAX,
				sizeof(req.words[0]) - 1);
			return ERR_INVALID;
		}
		memcpy(req.words[i], words[i], strlen(words[i]) + 1);
		req.words_count++;
	}
	if (!pb_encode(&s, mvpn_CtlRequest_fields, &req))
		return ERR_INVALID;
	return zmq_send(c->sock, buf, s.bytes_written, ZMQ_DONTWAIT) < 0 ? ERR_UNAVAILABLE : OK;
}

static void row_hand(const mvpn_CtlRow *row,
	void (*on_row)(void *, const char *, const struct ctl_field *, size_t), void *ctx)
{
	struct ctl_field f[32];
	size_t n = 0;

	for (pb_size_t i = 0; i < row->values_count; i++) {
		const mvpn_CtlValue *v = &row->values[i];

		f[n] = (struct ctl_field){.key = v->key};
		switch (v->which_value) {
		case mvpn_CtlValue_text_tag:
			f[n].type = CTL_TEXT;
			f[n].text = v->value.text;
			break;
		case mvpn_CtlValue_number_tag:
			f[n].type = CTL_NUMBER;
			f[n].number = v->value.number;
			break;
		case mvpn_CtlValue_real_tag:
			f[n].type = CTL_REAL;
			f[n].real = v->value.real;
			break;
		case mvpn_CtlValue_flag_tag:
			f[n].type = CTL_FLAG;
			f[n].flag = v->value.flag;
			break;
		default:
			continue;
		}
		n++;
	}
	on_row(ctx, row->table, f, n);
}

/* One CtlReply, or ERR_TIMEOUT at the deadline. */
static enum err reply_recv(struct ctl_client *c, mono_t deadline, mvpn_CtlReply *r)
{
	uint8_t buf[mvpn_CtlReply_size];
	uint64_t left_ms = mono_since(mono_now(), deadline).ns / 1000000;
	zmq_pollitem_t p = {.socket = c->sock, .events = ZMQ_POLLIN};
	int n;

	if (left_ms == 0 || zmq_poll(&p, 1, (long)left_ms) <= 0)
		return ERR_TIMEOUT;
	n = zmq_recv(c->sock, buf, sizeof(buf), ZMQ_DONTWAIT);
	if (n < 0 || (size_t)n > sizeof(buf))
		return ERR_MALFORMED;
	pb_istream_t s = pb_istream_from_buffer(buf, (size_t)n);
	*r = (mvpn_CtlReply)mvpn_CtlReply_init_zero;
	return pb_decode(&s, mvpn_CtlReply_fields, r) ? OK : ERR_MALFORMED;
}

enum err ctl_ask(struct ctl_client *c, const char *const *words, size_t n_words, dur_t timeout,
	void (*on_row)(void *ctx, const char *table, const struct ctl_field *f, size_t n), void *ctx,
	char ret_why[static 200])
{
	mono_t deadline = mono_add(mono_now(), timeout);

	ret_why[0] = '\0';
	TRY(request_send(c, words, n_words, ret_why));
	for (;;) {
		mvpn_CtlReply r;
		enum err e = reply_recv(c, deadline, &r);

		if (e != OK) {
			snprintf(ret_why, 200, "%s", e == ERR_TIMEOUT ? "no answer" : err_str(e));
			return e;
		}
		if (r.id != c->next_id)
			continue; /* of an earlier request that was given up */
		if (r.has_row && on_row != NULL)
			row_hand(&r.row, on_row, ctx);
		if (r.last) {
			snprintf(ret_why, 200, "%s", r.why);
			return r.err == 0 ? OK : (enum err)r.err;
		}
	}
}

/* ---- main of a debug CLI ---- */

struct cli {
	enum role service;
	const struct ctl_help *help;
	size_t n_help;
	const char *dir;
	bool json;
	long interval_ms;
};

static void cli_usage(const struct cli *c, FILE *f)
{
	fprintf(f, "usage: %sctl [--dir DIR] [--json] COMMAND\n\nThe %s service of a node, looked at from "
		   "inside.\n\n",
		role_name(c->service), role_name(c->service));
	for (size_t i = 0; i < c->n_help; i++)
		fprintf(f, "  %-34s %s\n", c->help[i].words, c->help[i].help);
	fprintf(f,
		"  %-34s %s\n"
		"  %-34s %s\n\n"
		"  --dir DIR       the node's folder (default: $MVPN_DIR, else /var/lib/mvpn)\n"
		"  --json          one JSON object per answer: {\"table\": [{...}, ...]}\n"
		"  --interval MS   between two looks of watch (default %d)\n\n"
		"Exit status: 0 done, 1 the service refused (it says why), 2 usage, 3 no answer.\n",
		"show bus", "links to the other services; messages sent, taken, refused",
		"watch [COMMAND]", "the answer of COMMAND (status) again and again", WATCH_MS);
}

static int cli_ask(const struct cli *c, struct ctl_client *client, char **words, size_t n)
{
	struct table *t = table_new(c->json);
	char why[200];
	enum err e;

	if (t == NULL)
		return EXIT_REFUSED;
	e = ctl_ask(client, (const char *const *)words, n, ASK_TIMEOUT, table_row, t, why);
	if (e == OK)
		table_print(t, stdout);
	table_free(t);
	fflush(stdout);
	if (e == OK)
		return EXIT_OK;
	if (e == ERR_TIMEOUT || e == ERR_UNAVAILABLE) {
		fprintf(stderr, "%sctl: no answer from the %s service of %s: is the node running?\n",
			role_name(c->service), role_name(c->service), c->dir);
		return EXIT_NO_ANSWER;
	}
	fprintf(stderr, "%sctl: %s\n", role_name(c->service), why);
	return e == ERR_INVALID ? EXIT_USAGE : EXIT_REFUSED;
}

static int cli_watch(const struct cli *c, struct ctl_client *client, char **words, size_t n)
{
	char *status[] = {(char[]){"status"}};
	const struct timespec pause = {c->interval_ms / 1000, c->interval_ms % 1000 * 1000000};

	for (;;) {
		int code = cli_ask(c, client, n == 0 ? status : words, n == 0 ? 1 : n);

		if (code == EXIT_USAGE || code == EXIT_REFUSED)
			return code;
		if (!c->json)
			printf("\n");
		if (fflush(stdout) != 0)
			return EXIT_OK; /* whoever read us has gone */
		nanosleep(&pause, NULL);
	}
}

/* Options may stand anywhere; what is left are the words. Returns an exit code, or -1 to go on. */
static int cli_options(struct cli *c, int argc, char **argv, char **words, size_t *n_words)
{
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i];

		if (strcmp(a, "--help") == 0 || strcmp(a, "-h") == 0) {
			cli_usage(c, stdout);
			return EXIT_OK;
		}
		if (strcmp(a, "--version") == 0) {
			printf("%sctl %s\n", role_name(c->service), MVPN_VERSION);
			return EXIT_OK;
		}
		if (strcmp(a, "--json") == 0) {
			c->json = true;
		} else if (strcmp(a, "--dir") == 0 && i + 1 < argc) {
			c->dir = argv[++i];
		} else if (strcmp(a, "--interval") == 0 && i + 1 < argc) {
			c->interval_ms = strtol(argv[++i], NULL, 10);
			if (c->interval_ms < 10)
				return EXIT_USAGE;
		} else if (*n_words < CTL_WORDS_MAX) {
			words[(*n_words)++] = argv[i];
		} else {
			return EXIT_USAGE;
		}
	}
	return *n_words == 0 ? EXIT_USAGE : -1;
}

int ctl_main(int argc, char **argv, enum role service, const struct ctl_help *help, size_t n_help)
{
	const char *env = getenv("MVPN_DIR");
	struct cli c = {.service = service,
		.help = help,
		.n_help = n_help,
		.dir = env == NULL ? "/var/lib/mvpn" : env,
		.interval_ms = WATCH_MS};
	struct ctl_client *client = NULL;
	char *words[CTL_WORDS_MAX];
	size_t n = 0;
	int code = cli_options(&c, argc, argv, words, &n);

	if (code >= 0) {
		if (code == EXIT_USAGE)
			cli_usage(&c, stderr);
		return code;
	}
	if (ctl_connect(&client, c.dir, service) != OK) {
		fprintf(stderr, "%sctl: %s/run: %s\n", role_name(service), c.dir, strerror(errno));
		return EXIT_NO_ANSWER;
	}
	if (strcmp(words[0], "watch") == 0)
		code = cli_watch(&c, client, words + 1, n - 1);
	else
		code = cli_ask(&c, client, words, n);
	ctl_disconnect(&client);
	return code;
}
