/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The service's side: a ROUTER socket at <run>/<service>.ctl, one CtlReply per row. */
#include "ctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pb_decode.h>
#include <pb_encode.h>
#include <zmq.h>

#include "proto/ctl.pb.h"

/* Rows queued to one tool before it is given up as too slow: the largest table and room. */
#define CTL_HIGH_WATER 100000
#define CTL_TURN_BUDGET 16 /* requests per turn of the loop */

struct ctl_server {
	void *zmq, *sock;
	struct ctl_verbs sets[2]; /* the service's, the frame's */
};

struct ctl_out {
	struct ctl_server *server;
	zmq_msg_t *to; /* routing id of the tool */
	mvpn_CtlReply reply;
	bool failed; /* the tool is gone or too slow */
};

enum err ctl_open(struct ctl_server **ret_c, enum role self, const char *run_dir,
	const struct ctl_verbs *own, const struct ctl_verbs *common)
{
	struct ctl_server *c = calloc(1, sizeof(*c));
	char address[160];
	int high_water = CTL_HIGH_WATER, linger = 0;

	if (c == NULL)
		return ERR_FULL;
	c->sets[0] = *own;
	c->sets[1] = *common;
	c->zmq = zmq_ctx_new();
	c->sock = c->zmq == NULL ? NULL : zmq_socket(c->zmq, ZMQ_ROUTER);
	snprintf(address, sizeof(address), "ipc://%s/%s.ctl", run_dir, role_name(self));
	if (c->sock == NULL || zmq_setsockopt(c->sock, ZMQ_LINGER, &linger, sizeof(linger)) != 0 ||
		zmq_setsockopt(c->sock, ZMQ_SNDHWM, &high_water, sizeof(high_water)) != 0 ||
		zmq_bind(c->sock, address) != 0) {
		ctl_close(&c);
		return ERR_IO;
	}
	*ret_c = c;
	return OK;
}

void ctl_close(struct ctl_server **c)
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

int ctl_fd(const struct ctl_server *c)
{
	int fd = -1;
	size_t len = sizeof(fd);

	zmq_getsockopt(c->sock, ZMQ_FD, &fd, &len);
	return fd;
}

/* ---- rows ---- */

static void reply_send(struct ctl_out *o)
{
	uint8_t buf[mvpn_CtlReply_size];
	pb_ostream_t s = pb_ostream_from_buffer(buf, sizeof(buf));

	if (o->failed || !pb_encode(&s, mvpn_CtlReply_fields, &o->reply)) {
		o->failed = true;
		return;
	}
	zmq_msg_t id;
	zmq_msg_init(&id);
	zmq_msg_copy(&id, o->to);
	if (zmq_msg_send(&id, o->server->sock, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0) {
		zmq_msg_close(&id);
		o->failed = true;
		return;
	}
	if (zmq_send(o->server->sock, buf, s.bytes_written, ZMQ_DONTWAIT) < 0)
		o->failed = true;
}

static void row_flush(struct ctl_out *o)
{
	if (!o->reply.has_row)
		return;
	reply_send(o);
	o->reply.has_row = false;
}

void ctl_row(struct ctl_out *o, const char *table)
{
	row_flush(o);
	memset(&o->reply.row, 0, sizeof(o->reply.row));
	o->reply.has_row = true;
	snprintf(o->reply.row.table, sizeof(o->reply.row.table), "%s", table);
}

static mvpn_CtlValue *value_add(struct ctl_out *o, const char *key, pb_size_t which)
{
	static mvpn_CtlValue overflow; /* values past the bound go nowhere */
	mvpn_CtlRow *row = &o->reply.row;

	if (row->values_count == sizeof(row->values) / sizeof(row->values[0]))
		return &overflow;
	mvpn_CtlValue *v = &row->values[row->values_count++];
	snprintf(v->key, sizeof(v->key), "%s", key);
	v->which_value = which;
	return v;
}

void ctl_text(struct ctl_out *o, const char *key, const char *text)
{
	mvpn_CtlValue *v = value_add(o, key, mvpn_CtlValue_text_tag);

	snprintf(v->value.text, sizeof(v->value.text), "%s", text);
}

void ctl_number(struct ctl_out *o, const char *key, int64_t n)
{
	value_add(o, key, mvpn_CtlValue_number_tag)->value.number = n;
}

void ctl_real(struct ctl_out *o, const char *key, double x)
{
	value_add(o, key, mvpn_CtlValue_real_tag)->value.real = x;
}

void ctl_flag(struct ctl_out *o, const char *key, bool x)
{
	value_add(o, key, mvpn_CtlValue_flag_tag)->value.flag = x;
}

void ctl_id(struct ctl_out *o, const char *key, uint64_t id)
{
	char text[17];

	snprintf(text, sizeof(text), "%016llx", (unsigned long long)id);
	ctl_text(o, key, text);
}

void ctl_hex(struct ctl_out *o, const char *key, const uint8_t *p, size_t len)
{
	char text[2 * 64 + 1] = "";

	for (size_t i = 0; i < len && i < 64; i++)
		snprintf(text + 2 * i, 3, "%02x", p[i]);
	ctl_text(o, key, text);
}

enum err ctl_fail(struct ctl_out *o, enum err e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(o->reply.why, sizeof(o->reply.why), fmt, ap);
	va_end(ap);
	return e;
}

/* ---- requests ---- */

/* How many of argv's words make up the verb; 0: another verb. */
static int verb_match(const char *verb, int argc, char *const *argv)
{
	int n = 0;

	while (*verb != '\0') {
		size_t len = strcspn(verb, " ");

		if (n == argc || strlen(argv[n]) != len || memcmp(argv[n], verb, len) != 0)
			return 0;
		n++;
		verb += len + (verb[len] == ' ');
	}
	return n;
}

static enum err verb_run(struct ctl_server *c, int argc, char *const *argv, struct ctl_out *o)
{
	const struct ctl_verb *best = NULL;
	void *state = NULL;
	int best_n = 0;

	for (size_t k = 0; k < 2; k++) {
		const struct ctl_verbs *set = &c->sets[k];

		for (size_t i = 0; i < set->n_verbs; i++) {
			int n = verb_match(set->verbs[i].verb, argc, argv);

			if (n <= best_n)
				continue;
			best_n = n;
			best = &set->verbs[i];
			state = set->state;
		}
	}
	if (best == NULL)
		return ctl_fail(o, ERR_INVALID, "no such command: %.60s%s%.60s; see --help",
			argc > 0 ? argv[0] : "(none)", argc > 1 ? " " : "", argc > 1 ? argv[1] : "");
	/* argv[0] stays the last word of the verb, arguments follow. */
	return best->run(state, argc - best_n + 1, argv + best_n - 1, o);
}

static void request_take(struct ctl_server *c, zmq_msg_t *to, const void *data, size_t len)
{
	mvpn_CtlRequest req = mvpn_CtlRequest_init_zero;
	struct ctl_out o = {.server = c, .to = to, .reply = mvpn_CtlReply_init_zero};
	pb_istream_t s = pb_istream_from_buffer(data, len);
	char *argv[CTL_WORDS_MAX + 1] = {0};
	enum err e;

	if (!pb_decode(&s, mvpn_CtlRequest_fields, &req)) {
		e = ctl_fail(&o, ERR_MALFORMED, "the request cannot be decoded");
	} else {
		o.reply.id = req.id;
		for (pb_size_t i = 0; i < req.words_count; i++)
			argv[i] = req.words[i];
		e = verb_run(c, (int)req.words_count, argv, &o);
	}
	row_flush(&o);
	o.reply.last = true;
	o.reply.err = e;
	if (e != OK && o.reply.why[0] == '\0')
		ctl_fail(&o, e, "%s", err_str(e));
	reply_send(&o);
}

/* Frames: routing id, request. Anything else is dropped. */
static bool request_recv(struct ctl_server *c)
{
	zmq_msg_t id, body;
	bool got, more;

	zmq_msg_init(&id);
	zmq_msg_init(&body);
	got = zmq_msg_recv(&id, c->sock, ZMQ_DONTWAIT) >= 0;
	if (got && zmq_msg_more(&id) && zmq_msg_recv(&body, c->sock, ZMQ_DONTWAIT) >= 0) {
		more = zmq_msg_more(&body);
		if (!more)
			request_take(c, &id, zmq_msg_data(&body), zmq_msg_size(&body));
		while (more) {
			zmq_msg_t rest;

			zmq_msg_init(&rest);
			more = zmq_msg_recv(&rest, c->sock, ZMQ_DONTWAIT) >= 0 && zmq_msg_more(&rest);
			zmq_msg_close(&rest);
		}
	}
	zmq_msg_close(&id);
	zmq_msg_close(&body);
	return got;
}

bool ctl_turn(struct ctl_server *c)
{
	for (int i = 0; i < CTL_TURN_BUDGET; i++)
		if (!request_recv(c))
			return false;
	return true;
}
