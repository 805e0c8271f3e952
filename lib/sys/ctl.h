/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Debug command lines: the server in each service and the client they all share.
 *
 * A service lists its verbs in services/<s>/verbs.h (struct ctl_help, used by both sides) and gives
 * the server a function for each. An answer is rows of named values; the tool prints tables or,
 * with --json, one JSON object {"table": [rows...]}. */
#ifndef SYS_CTL_H
#define SYS_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/units.h"
#include "bus.h"

#define CTL_WORDS_MAX 16

/* Shared by service and tool. words: "status", "show sessions", "connect [--hops N]"... The first
 * one or two plain words are the verb, the rest says its arguments. */
struct ctl_help {
	const char *words;
	const char *help;
};

struct ctl_out;

/* Begins a row of `table`; values follow. A value for a row with 32 values already is dropped. */
void ctl_row(struct ctl_out *o, const char *table);
void ctl_text(struct ctl_out *o, const char *key, const char *text);
void ctl_number(struct ctl_out *o, const char *key, int64_t n);
void ctl_real(struct ctl_out *o, const char *key, double v);
void ctl_flag(struct ctl_out *o, const char *key, bool v);
/* A 64-bit number that only names something (a session): 16 hex digits, the same in every tool. */
void ctl_id(struct ctl_out *o, const char *key, uint64_t id);
/* First `len` bytes as hex (shortened ids: give 8). */
void ctl_hex(struct ctl_out *o, const char *key, const uint8_t *p, size_t len);
/* Why it failed, for people: what is wrong and what to do. Returns e. */
enum err ctl_fail(struct ctl_out *o, enum err e, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* argv[0] is the verb's last word, its arguments follow. Rows go to o; the result becomes the tool's exit code. */
typedef enum err ctl_run_fn(void *state, int argc, char *const *argv, struct ctl_out *o);

struct ctl_verb {
	const char *verb; /* "status", "show sessions" */
	ctl_run_fn *run;
};

/* A set of verbs and the state that they are given. */
struct ctl_verbs {
	const struct ctl_verb *verbs;
	size_t n_verbs;
	void *state;
};

struct ctl_server;
/* own: the service's verbs; common: those of the frame. Borrows what they point at. */
NODISCARD enum err ctl_open(struct ctl_server **ret_c, enum role self, const char *run_dir,
	const struct ctl_verbs *own, const struct ctl_verbs *common);
void ctl_close(struct ctl_server **c);
int ctl_fd(const struct ctl_server *c);
bool ctl_turn(struct ctl_server *c);

/* ---- the tool's side: main() of <service>ctl is one call ---- */
/* Handles --dir, --json, --help, --interval, `watch [verb]`; exit codes: 0 ok, 1 the service refused,
 * 2 usage, 3 the service does not answer. Node directory: --dir, $MVPN_DIR, else /var/lib/mvpn. */
int ctl_main(int argc, char **argv, enum role service, const struct ctl_help *help, size_t n_help);

/* For tools that do more than print: one request, rows handed to on_row as JSON-ready values. */
struct ctl_client;
struct ctl_field {
	const char *key;
	enum { CTL_TEXT, CTL_NUMBER, CTL_REAL, CTL_FLAG } type;
	const char *text;
	int64_t number;
	double real;
	bool flag;
};
NODISCARD enum err ctl_connect(struct ctl_client **ret_c, const char *dir, enum role service);
void ctl_disconnect(struct ctl_client **c);
/* Sends words, waits at most timeout; ret_why gets the service's words (or ours). */
NODISCARD enum err ctl_ask(struct ctl_client *c, const char *const *words, size_t n_words,
	dur_t timeout,
	void (*on_row)(void *ctx, const char *table, const struct ctl_field *f, size_t n),
	void *ctx, char ret_why[static 200]);

#endif
