/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bus where the services share no file system: TCP, each connection under CURVE (ZeroMQ RFC 26,
 * 27). One X25519 key pair per role. A sender makes sure of the receiver's key, and each inbox lets in
 * the key of its one sender role and no other, so the table of bus_pair_allowed holds as it does with
 * sockets in a folder. Nothing is sent or taken before both were proved; there is no mode without. */
#ifndef SYS_BUS_TCP_H
#define SYS_BUS_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/conf.h"
#include "lib/net.h"
#include "bus.h"

#define BUS_KEY_SIZE 32

/* [bus] of node.ini. */
struct bus_tcp_conf {
	struct net_addr at[ROLES]; /* family NET_NONE: not given */
	uint64_t port;
};
extern const struct conf_key bus_tcp_conf_keys[];
extern const size_t bus_tcp_conf_n_keys;

/* Do all five have an address (ret_on), or none? ERR_INVALID, logged: some. */
NODISCARD enum err bus_tcp_check(const struct bus_tcp_conf *conf, bool *ret_on);

struct bus_tcp {
	struct bus_tcp_conf conf;
	uint8_t own_key[BUS_KEY_SIZE];
	uint8_t public_key[ROLES][BUS_KEY_SIZE];
};

#define BUS_TCP_ADDRESS_MAX (NET_TEXT_MAX + 20)
/* Where `receiver` takes what `sender` says: one port per pair, [bus] port and 30 more. */
void bus_tcp_address(
	const struct bus_tcp *t, enum role receiver, enum role sender, char ret[static BUS_TCP_ADDRESS_MAX]);
/* Before bind: the keys, and the role that bus_tcp_judge will be asked about. */
NODISCARD enum err bus_tcp_receiver(const struct bus_tcp *t, void *sock, enum role self, enum role from);
/* Before connect. */
NODISCARD enum err bus_tcp_sender(const struct bus_tcp *t, void *sock, enum role self, enum role to);

/* The context's judge of keys (ZAP, ZeroMQ RFC 27). Must exist before the first bind. NULL: errno. */
void *bus_tcp_judge_open(void *zmq);
/* Answers what is asked; returns how many were refused. */
unsigned int bus_tcp_judge(const struct bus_tcp *t, void *judge);

#endif
