/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mvpn: the user's command against a node. Everything but init, word and doctor is asked of the
 * gateway. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <sodium.h>

#include "doctor.h"
#include "init.h"
#include "lib/sys/clock.h"
#include "lib/sys/ctl.h"
#include "lib/sys/table.h"

#define CONNECT_TIMEOUT DUR_S(60)
#define POLL_MS 50

enum exit_code {
	EXIT_OK = 0,
	EXIT_REFUSED = 1,
	EXIT_USAGE = 2,
	EXIT_NO_ANSWER = 3
};

struct command {
	const char *dir;
	bool json;
	char *words[CTL_WORDS_MAX];
	size_t n_words;
};

static void usage(FILE *f)
{
	fputs("usage: mvpn [--dir DIR] [--json] COMMAND\n\n"
	      "  status                       is it on, since when, through where, what it costs\n"
	      "  connect [--exit CC] [--hops N]  switch on; CC a country such as CH, N 1 to 3\n"
	      "  disconnect                   switch off\n"
	      "  exits                        exits that can be chosen, by country\n"
	      "  route                        the route in use, hop by hop\n"
	      "  hop                          another route now, without breaking what runs\n"
	      "  share on|off [--exit on|off] relay for others, be an exit for others\n"
	      "  pay [on|off]                 what was paid and earned; pay relays or use free ones only\n"
	      "  url                          address of the web page, with its token\n"
	      "  doctor                       what machine and node lack, and how to mend it\n"
	      "  init [--name NAME]           make the node's folder: keys and node.ini\n"
	      "  word --endpoint ADDR:PORT    this node's bootstrap word, for others' node.ini\n\n"
	      "  --dir DIR   the node's folder (default: $MVPN_DIR, else /var/lib/mvpn)\n"
	      "  --json      one JSON object\n\n"
	      "Exit status: 0 done, 1 it did not work (it says why), 2 usage, 3 the node does not answer.\n",
		f);
}

static int no_answer(const struct command *c)
{
	fprintf(stderr, "mvpn: no answer from the node in %s: is it running? `mvpn doctor` looks\n",
		c->dir);
	return EXIT_NO_ANSWER;
}

static int outcome(const struct command *c, enum err e, const char *why)
{
	if (e == OK)
		return EXIT_OK;
	if (e == ERR_TIMEOUT || e == ERR_UNAVAILABLE || e == ERR_IO)
		return no_answer(c);
	fprintf(stderr, "mvpn: %s\n", why);
	return e == ERR_INVALID ? EXIT_USAGE : EXIT_REFUSED;
}

/* Asks the gateway and prints what it answers. */
static int pass_on(const struct command *c, struct ctl_client *client, const char *const *words, size_t n)
{
	struct table *t = table_new(c->json);
	char why[200];
	enum err e;

	if (t == NULL)
		return EXIT_REFUSED;
	e = ctl_ask(client, words, n, DUR_S(5), table_row, t, why);
	if (e == OK)
		table_print(t, stdout);
	table_free(t);
	return outcome(c, e, why);
}

/* What the session is now: its phase, and the route in use. */
struct phase {
	char name[24], reason[200];
	unsigned int n_hops;
	char exit_country[8]; /* of the last hop */
};

static void phase_row(void *ctx, const char *table, const struct ctl_field *f, size_t n)
{
	struct phase *p = ctx;
	bool hop = strcmp(table, "hops") == 0;

	if (!hop && strcmp(table, "session") != 0)
		return;
	p->n_hops = hop ? p->n_hops + 1 : 0; /* the session's row comes first */
	for (size_t i = 0; i < n; i++) {
		if (f[i].type != CTL_TEXT)
			continue;
		if (hop && strcmp(f[i].key, "country") == 0)
			snprintf(p->exit_country, sizeof(p->exit_country), "%s", f[i].text);
		if (strcmp(f[i].key, "phase") == 0)
			snprintf(p->name, sizeof(p->name), "%s", f[i].text);
		if (strcmp(f[i].key, "reason") == 0)
			snprintf(p->reason, sizeof(p->reason), "%s", f[i].text);
	}
}

/* Value of `--name` among the words, or def. */
static const char *option_value(const struct command *c, const char *name, const char *def)
{
	for (size_t i = 1; i + 1 < c->n_words; i++)
		if (strcmp(c->words[i], name) == 0)
			return c->words[i + 1];
	return def;
}

/* Is it as it was ordered? A route of before, while the new one is built, is not. Of --exit only one
 * country can be judged here, not "any" or a list. */
static bool phase_as_wanted(const struct command *c, const struct phase *p, const char *want)
{
	const char *hops = option_value(c, "--hops", ""), *exit_country = option_value(c, "--exit", "");

	if (strcmp(p->name, want) != 0)
		return false;
	if (strcmp(want, "on") != 0)
		return true;
	return (hops[0] == '\0' || strtoul(hops, NULL, 10) == p->n_hops) &&
		(strlen(exit_country) != 2 || strcasecmp(exit_country, p->exit_country) == 0);
}

/* Waits until the session is `want`, has failed, or the time is over. */
static int phase_await(const struct command *c, struct ctl_client *client, const char *want)
{
	static const char *const words[] = {"session"};
	const struct timespec pause = {0, POLL_MS * 1000000};
	mono_t deadline = mono_add(mono_now(), CONNECT_TIMEOUT);
	struct phase p = {0};
	char why[200];

	while (!mono_reached(deadline, mono_now())) {
		enum err e = ctl_ask(client, words, 1, DUR_S(5), phase_row, &p, why);

		if (e != OK)
			return outcome(c, e, why);
		if (phase_as_wanted(c, &p, want))
			return EXIT_OK;
		if (strcmp(want, "on") == 0 && strcmp(p.name, "failed") == 0)
			break;
		nanosleep(&pause, NULL);
	}
	fprintf(stderr, "mvpn: %s: %s\n", p.name[0] == '\0' ? "no state" : p.name, p.reason);
	return EXIT_REFUSED;
}

static int switch_to(const struct command *c, struct ctl_client *client, const char *want)
{
	static const char *const session[] = {"session"};
	char why[200];
	enum err e = ctl_ask(client, (const char *const *)c->words, c->n_words, DUR_S(5), NULL, NULL, why);

	if (e != OK)
		return outcome(c, e, why);
	int code = phase_await(c, client, want);
	if (code == EXIT_OK)
		code = pass_on(c, client, session, 1);
	return code;
}

static int ask_gateway(const struct command *c)
{
	static const char *const session[] = {"session"};
	struct ctl_client *client = NULL;
	const char *verb = c->words[0];
	int code;

	if (ctl_connect(&client, c->dir, ROLE_GATEWAY) != OK)
		return no_answer(c);
	if (strcmp(verb, "connect") == 0)
		code = switch_to(c, client, "on");
	else if (strcmp(verb, "disconnect") == 0)
		code = switch_to(c, client, "off");
	else if (strcmp(verb, "status") == 0 || strcmp(verb, "route") == 0)
		code = pass_on(c, client, session, 1);
	else
		code = pass_on(c, client, (const char *const *)c->words, c->n_words);
	ctl_disconnect(&client);
	return code;
}

static int command_run(const struct command *c)
{
	static const char *const known[] = {
		"status", "connect", "disconnect", "exits", "route", "hop", "share", "pay", "url"};

	if (strcmp(c->words[0], "init") == 0)
		return node_init(c->dir, option_value(c, "--name", ""));
	if (strcmp(c->words[0], "word") == 0)
		return node_word(c->dir, option_value(c, "--endpoint", ""));
	if (strcmp(c->words[0], "doctor") == 0)
		return doctor(c->dir, c->json);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(c->words[0], known[i]) == 0)
			return ask_gateway(c);
	fprintf(stderr, "mvpn: no command '%s'\n\n", c->words[0]);
	usage(stderr);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	const char *env = getenv("MVPN_DIR");
	struct command c = {.dir = env == NULL ? "/var/lib/mvpn" : env};

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			usage(stdout);
			return EXIT_OK;
		}
		if (strcmp(argv[i], "--version") == 0) {
			printf("mvpn %s\n", MVPN_VERSION);
			return EXIT_OK;
		}
		if (strcmp(argv[i], "--json") == 0)
			c.json = true;
		else if (strcmp(argv[i], "--dir") == 0 && i + 1 < argc)
			c.dir = argv[++i];
		else if (c.n_words < CTL_WORDS_MAX)
			c.words[c.n_words++] = argv[i];
	}
	if (c.n_words == 0 || sodium_init() < 0) {
		usage(stderr);
		return EXIT_USAGE;
	}
	return command_run(&c);
}
