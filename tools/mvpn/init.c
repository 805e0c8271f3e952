/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "init.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "lib/net.h"
#include "lib/sys/service.h"

#define KEY_SIZE 32

enum key_form {
	KEY_HEX,
	KEY_BASE64URL /* the page's token: fits a WebSocket subprotocol name */
};

static const struct {
	const char *name;
	enum key_form form;
} keys[] = {
	{"identity.key", KEY_HEX},   /* Ed25519 seed, signs the descriptor; discovery */
	{"tunnel.key", KEY_HEX},     /* X25519, WireGuard; tunnel */
	{"wallet.key", KEY_HEX},     /* root of the payment keys; ledger */
	{"reputation.key", KEY_HEX}, /* keyed hash of peers in Redis; router and ledger */
	{"ui.token", KEY_BASE64URL}, /* opens the page; gateway */
};

static int complain(const char *what)
{
	fprintf(stderr, "mvpn: %s: %s\n", what, strerror(errno));
	return 1;
}

static int folder_make(const char *dir, const char *sub)
{
	char path[600];

	snprintf(path, sizeof(path), "%s%s%s", dir, sub[0] == '\0' ? "" : "/", sub);
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return complain(path);
	return 0;
}

static int key_make(const char *dir, const char *name, enum key_form form)
{
	char path[600], text[2 * KEY_SIZE + 2];
	uint8_t key[KEY_SIZE];
	int code = 0;

	snprintf(path, sizeof(path), "%s/keys/%s", dir, name);
	if (access(path, F_OK) == 0)
		return 0;
	randombytes_buf(key, sizeof(key));
	if (form == KEY_HEX)
		sodium_bin2hex(text, sizeof(text), key, sizeof(key));
	else
		sodium_bin2base64(text, sizeof(text), key, sizeof(key),
			sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	strcat(text, "\n");
	if (file_write_atomic(path, text, strlen(text)) != OK)
		code = complain(path);
	sodium_memzero(key, sizeof(key));
	sodium_memzero(text, sizeof(text));
	return code;
}

static int key_read(const char *dir, const char *name, uint8_t ret_key[KEY_SIZE])
{
	char path[600], *text;
	size_t len, n_bin;
	int bad;

	snprintf(path, sizeof(path), "%s/keys/%s", dir, name);
	if (file_read(path, 256, &text, &len) != OK) {
		fprintf(stderr, "mvpn: %s: %s; `mvpn init --dir %s` makes it\n", path,
			strerror(errno), dir);
		return 1;
	}
	bad = sodium_hex2bin(ret_key, KEY_SIZE, text, len, "\n", &n_bin, NULL) != 0 ||
		n_bin != KEY_SIZE;
	sodium_memzero(text, len);
	free(text);
	if (bad)
		fprintf(stderr, "mvpn: %s: not %d hexadecimal digits\n", path, 2 * KEY_SIZE);
	return bad;
}

/* The public half of a key pair as its file holds it, anew at each init: it follows the secret one. */
static int public_make(const char *dir, enum role r)
{
	uint8_t key[KEY_SIZE], pk[KEY_SIZE];
	char name[32], path[600], text[2 * KEY_SIZE + 2];

	snprintf(name, sizeof(name), "bus-%s.key", role_name(r));
	if (key_read(dir, name, key) != 0)
		return 1;
	crypto_scalarmult_base(pk, key);
	sodium_memzero(key, sizeof(key));
	sodium_bin2hex(text, sizeof(text), pk, sizeof(pk));
	strcat(text, "\n");
	snprintf(path, sizeof(path), "%s/keys/bus-%s.pub", dir, role_name(r));
	return file_write_atomic(path, text, strlen(text)) == OK ? 0 : complain(path);
}

/* One pair per role, for a bus over TCP (lib/sys/bus_tcp.h). */
static int bus_keys_make(const char *dir)
{
	for (enum role r = ROLE_TUNNEL; r < ROLES; r++) {
		char name[32];

		snprintf(name, sizeof(name), "bus-%s.key", role_name(r));
		if (key_make(dir, name, KEY_HEX) != 0 || public_make(dir, r) != 0)
			return 1;
	}
	return 0;
}

static const char template[] =
	"# Settings of this node that change rarely; what the page changes is kept by the gateway.\n"
	"# Each service lists its keys: mvpn-tunnel --help, mvpn-discovery --help, ...\n"
	"[node]\n"
	"name = %s\n"
	"# geo = /usr/share/mvpn/geo.csv\n\n"
	"[tunnel]\n"
	"port = 51820\n"
	"# public4 = 192.0.2.1\n"
	"# public6 = 2001:db8::1\n\n"
	"[discovery]\n"
	"# Nodes to begin with, one a line (`mvpn word --endpoint ADDRESS:PORT` on such a node):\n"
	"# bootstrap = <node id>@<WireGuard key>@<address:port>\n\n"
	"# The bus over TCP, for services that share no folder; the address of each of the five:\n"
	"# [bus]\n"
	"# tunnel = 10.0.0.1\n\n"
	"[router]\n"
	"# redis = /run/redis/redis-server.sock\n\n"
	"[ledger]\n"
	"backend = none\n\n"
	"[gateway]\n"
	"port = 8787\n";

static int conf_make(const char *dir, const char *name)
{
	char path[600], text[2048];

	snprintf(path, sizeof(path), "%s/node.ini", dir);
	if (access(path, F_OK) == 0)
		return 0;
	snprintf(text, sizeof(text), template, name);
	return file_write_atomic(path, text, strlen(text)) == OK ? 0 : complain(path);
}

/* Public halves of identity.key and tunnel.key as hex. */
static int public_names(const char *dir, char ret_id[2 * KEY_SIZE + 1], char ret_wg[2 * KEY_SIZE + 1])
{
	uint8_t seed[KEY_SIZE], pk[KEY_SIZE], sk[64];

	if (key_read(dir, "identity.key", seed) != 0)
		return 1;
	crypto_sign_seed_keypair(pk, sk, seed);
	sodium_bin2hex(ret_id, 2 * KEY_SIZE + 1, pk, KEY_SIZE);
	sodium_memzero(sk, sizeof(sk));
	if (key_read(dir, "tunnel.key", seed) != 0)
		return 1;
	crypto_scalarmult_base(pk, seed);
	sodium_bin2hex(ret_wg, 2 * KEY_SIZE + 1, pk, KEY_SIZE);
	sodium_memzero(seed, sizeof(seed));
	return 0;
}

int node_init(const char *dir, const char *name)
{
	static const char *const folders[] = {"", "keys", "state", "run"};
	char id[2 * KEY_SIZE + 1], wg[2 * KEY_SIZE + 1];

	for (const char *p = name; *p != '\0'; p++) {
		if (*p < 0x20 || *p > 0x7e || p - name == 23) {
			fprintf(stderr, "mvpn: --name: at most 23 printable ASCII characters\n");
			return 2;
		}
	}
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		if (folder_make(dir, folders[i]) != 0)
			return 1;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (key_make(dir, keys[i].name, keys[i].form) != 0)
			return 1;
	if (bus_keys_make(dir) != 0 || conf_make(dir, name) != 0 || public_names(dir, id, wg) != 0)
		return 1;
	printf("node_id %s\nwg_pk %s\n", id, wg);
	return 0;
}

int node_word(const char *dir, const char *endpoint)
{
	char id[2 * KEY_SIZE + 1], wg[2 * KEY_SIZE + 1];
	struct net_endpoint e;

	if (net_endpoint_parse(endpoint, &e) != OK) {
		fprintf(stderr, "mvpn: --endpoint %s: not address:port, such as 192.0.2.1:51820\n",
			endpoint);
		return 2;
	}
	if (public_names(dir, id, wg) != 0)
		return 1;
	printf("%s@%s@%s\n", id, wg, endpoint);
	return 0;
}
