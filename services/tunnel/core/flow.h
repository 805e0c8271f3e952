/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flows, the client's side: which exit a packet of the device goes to, and its addresses.
 *
 * The TUN device has one constant address per family; each exit lends another. flow_out finds (or
 * makes) the flow of an outgoing packet, says which exit carries it, and writes the lent address in
 * place of the device's; flow_in does the reverse. The device's resolver is a constant address too,
 * written to and from the exit's resolver (UDP and TCP port 53). Checksums are mended incrementally
 * (RFC 1624), so a TSO super-packet costs what one packet costs: call once per super-packet or per
 * train, before segmenting and after coalescing.
 *
 * - [P-58] A flow stays with its exit until it ends (FIN both ways or RST, then 10 s), is idle
 * (TCP 2 h 4 min, not yet established or UDP 2 min, DNS 20 s, ICMP 30 s), or its exit is gone; a
 * new flow takes the exit in use. When its exit is gone, TCP gets a reset (flow_reset), all else
 * moves to the exit in use.
 * - [P-59] What comes from an exit and belongs to no flow of that exit is dropped: an exit cannot
 * reach into the client's machine. (Fragments other than the first are passed with their address
 * translated: without the first they come to nothing.)
 *
 * Flow key: device-side remote address and port, local port (ICMP echo: id), transport. ICMP errors
 * are found by the packet they carry, which is translated too. Fragments behind the first are found
 * by (source, destination, id). Bounded: fixed capacity, the longest unused flow gives way. One per
 * client worker (a flow's two directions must meet in the same table). O(1), no allocation. Pure.
 * Sources: RFC 1624, 3022, 4787, 5382, 5508; docs/protocol.md. */
#ifndef TUNNEL_FLOW_H
#define TUNNEL_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/net.h"
#include "lib/units.h"
#include "packet.h"
#include "table.h"

#define FLOW_EXITS_MAX 8 /* live exits of one client: in use, draining, spare */
#define FLOW_NO_EXIT FLOW_EXITS_MAX
/* RFC 5382 REQ-5 asks 2 h 4 min of a NAT, for keepalives that come every 2 h. */
#define FLOW_TCP_IDLE DUR_S(7440)
#define FLOW_TCP_OPENING DUR_S(120)
#define FLOW_TCP_CLOSING DUR_S(10)
#define FLOW_UDP_IDLE DUR_S(120) /* RFC 4787 REQ-5 */
#define FLOW_DNS_IDLE DUR_S(20)
#define FLOW_ICMP_IDLE DUR_S(30)
#define FLOW_FRAGMENTS 64 /* packets in fragments followed at a time */
#define FLOW_FRAGMENT_LIFE DUR_S(30)
#define FLOW_RESET_MAX 60 /* bytes of the largest reset packet */

struct flow_conf {
	struct net_addr device4, device6; /* the TUN device's constant addresses */
	struct net_addr resolver4,
		resolver6; /* constant resolver on the device's side; family 0: none */
	uint32_t flows_max;
};

/* What an exit lent (Attached). Family 0: not served. */
struct flow_exit {
	struct net_addr ip4, ip6;
	struct net_addr dns4, dns6;
	uint64_t n_flows;
	uint32_t generation; /* of this place */
	bool live;
};

struct flow_entry;
struct flow_fragment;

/* What the device sees of a flow; the resolver by its constant address. */
struct flow_key {
	uint8_t remote[16];
	uint16_t remote_port, local_port; /* ICMP echo: 0 and its id */
	uint8_t family, proto;
};

/* A flow as a successor of this process gets it (handover.h). */
struct flow_kept {
	struct flow_key key;
	uint8_t exit;	/* place */
	uint8_t state;
	bool dns, fin_out, fin_in;
	dur_t idle;
};

enum flow_verdict {
	FLOW_PASS,	 /* translated in place; send it by / deliver it */
	FLOW_BAD_PACKET, /* does not parse, or is not the device's */
	FLOW_NO_ROUTE,	 /* no exit in use, or it does not serve the family: drop */
	FLOW_EXIT_GONE,	 /* TCP whose exit is gone: drop, and flow_reset may tell the device */
	FLOW_UNKNOWN,	 /* [P-59] from an exit, no such flow: drop */
	FLOW_VERDICTS
};
const char *flow_verdict_name(enum flow_verdict v);

struct flow_counters {
	uint64_t n[FLOW_VERDICTS];		  /* batches by verdict */
	uint64_t opened, expired, evicted, moved; /* moved: to another exit, theirs was gone */
};

struct flow {
	struct flow_conf conf;
	struct table table;
	struct flow_entry *entry;
	struct flow_fragment *fragment;
	struct flow_exit exits[FLOW_EXITS_MAX];
	unsigned int in_use; /* exit of new flows, FLOW_NO_EXIT: none */
	uint32_t hand;	     /* of the tick */
	struct flow_counters n;
};

/* 0 if conf is out of bounds. */
size_t flow_bytes(const struct flow_conf *conf);
void flow_init(
	struct flow *f, const struct flow_conf *conf, void *mem, const uint64_t key[static 2]);

/* Registers an exit; its place is what flow_out returns and flow_in wants. ERR_FULL. */
NODISCARD enum err flow_exit_add(struct flow *f, const struct net_addr *ip4,
	const struct net_addr *ip6, const struct net_addr *dns4, const struct net_addr *dns6,
	unsigned int *ret_exit);
/* The exit is gone or its drain is over: its flows end as [P-58] says. */
void flow_exit_del(struct flow *f, unsigned int exit);
/* New flows take this exit; FLOW_NO_EXIT: none. */
void flow_use(struct flow *f, unsigned int exit);
/* Flows that still hold it; a draining exit with 0 can be closed. */
uint64_t flow_exit_flows(const struct flow *f, unsigned int exit);

/* From the device to an exit. */
enum flow_verdict flow_out(
	struct flow *f, mono_t now, uint8_t *pkt, size_t len, bool partial, unsigned int *ret_exit);
/* From an exit to the device. */
enum flow_verdict flow_in(
	struct flow *f, mono_t now, unsigned int exit, uint8_t *pkt, size_t len, bool partial);
/* The reset that answers pkt (an outgoing TCP packet with FLOW_EXIT_GONE; not yet translated), to
 * be written to the device. 0 if none is due (a reset itself, a fragment). */
size_t flow_reset(const uint8_t *pkt, size_t len, uint8_t ret_reset[static FLOW_RESET_MAX]);

/* The flows of live exits, the longest unused first: from *cursor on (0: from the first), which moves on.
 * False: no more. */
bool flow_keep(const struct flow *f, mono_t now, uint32_t *cursor, struct flow_kept *ret);
/* Takes one that flow_keep gave; exit is a place of this table. ERR_INVALID: no such flow can be;
 * ERR_FULL. */
NODISCARD enum err flow_restore(struct flow *f, mono_t now, const struct flow_kept *k);

/* Expires idle flows, a bounded number per call. Once a second is enough. */
void flow_tick(struct flow *f, mono_t now);

#endif
