/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What has come in and waits for the processor.
 *
 * Kernel queues are first come, first served: behind a download waits everything, and when one overflows
 * the lost are those who came last, not those who sent too much. So everything is taken in at once, and
 * sessions (from sockets) and flows (from devices) get their turns from fair queues (core/fq.h). What is
 * taken in is bounded. Beyond that the kernel's queue has to hold it, until that fills too: then the
 * reading goes on, and who has most waiting loses, as long as there is too much. */
#include <errno.h>
#include <stdlib.h>

#include "core/ip.h"
#include "worker.h"

/* Neither queue takes the other's slots. */
static const uint32_t items_max[BACKLOG_QUEUES] = {
	[BACKLOG_UDP] = BACKLOG_SLOTS * 3 / 4,
	[BACKLOG_TUN] = BACKLOG_SLOTS / 4,
};

static size_t pool_bytes(void)
{
	return (size_t)BACKLOG_SLOTS * BACKLOG_SLOT_SIZE;
}

/* --- slots ---------------------------------------------------------------------------------------------- */
static struct slot *slot_take(struct backlog *b)
{
	struct slot *s = b->free;

	b->free = s->next;
	return s;
}

/* The last one given back is the next one taken: it is still in the cache. */
static void slot_give(struct backlog *b, struct slot *s)
{
	s->next = b->free;
	b->free = s;
}

enum err backlog_init(struct backlog *b, struct rng *rng)
{
	b->mem = pages_reserve(pool_bytes());
	b->slots = calloc(BACKLOG_SLOTS, sizeof(*b->slots));
	if (b->mem == NULL || b->slots == NULL)
		return ERR_FULL;
	for (uint32_t i = BACKLOG_SLOTS; i-- > 0;) {
		b->slots[i].udp.buf = b->mem + (size_t)i * BACKLOG_SLOT_SIZE;
		slot_give(b, &b->slots[i]);
	}
	for (int q = 0; q < BACKLOG_QUEUES; q++) {
		void *mem = calloc(1, fq_bytes(BACKLOG_SLOTS));

		if (mem == NULL)
			return ERR_FULL;
		b->fq_mem[q] = mem;
		fq_init(&b->fq[q], BACKLOG_SLOTS, mem, rng_u64(rng));
	}
	return OK;
}

void backlog_free(struct backlog *b)
{
	for (int q = 0; q < BACKLOG_QUEUES; q++)
		free(b->fq_mem[q]);
	free(b->slots);
	pages_release(b->mem, pool_bytes());
}

static void wait_in(struct backlog *b, enum backlog_queue q, uint64_t key, struct slot *s, uint32_t len, uint32_t n)
{
	s->item.bytes = len + n * BACKLOG_MESSAGE;
	fq_put(&b->fq[q], key, &s->item);
}

/* --- from the sockets ------------------------------------------------------------------------------------ */
/* By session; initiations are nobody's yet. */
static uint64_t session_key(const struct udp_item *it)
{
	const bool has_index = wg_message_type(it->buf, it->segment) > WG_INITIATION;

	return has_index ? (uint64_t)(it->from.kind + 1) << 32 | wg_receiver_index(it->buf) : 0;
}

static uint32_t messages_in(const struct udp_item *it)
{
	return (it->len + it->segment - 1) / it->segment;
}

/* No room for n more? */
static bool is_full(const struct backlog *b, enum backlog_queue q, uint32_t n)
{
	return b->fq[q].bytes >= BACKLOG_BYTES || b->fq[q].n + n > items_max[q];
}

static bool is_crowded(struct worker *w, const struct udp_socket *s)
{
	return !mono_reached(w->backlog.crowded_until, w->now) || udp_queue_half_full(s);
}

/* Is there room for what one call brings? */
static bool room_for_trains(struct worker *w, const struct udp_socket *s)
{
	struct backlog *b = &w->backlog;

	if (!is_full(b, BACKLOG_UDP, UDP_RX_ITEMS))
		return true;
	if (!is_crowded(w, s))
		return false;
	b->crowded_until = mono_add(w->now, BACKLOG_CROWDED_FOR);
	while (is_full(b, BACKLOG_UDP, UDP_RX_ITEMS)) {
		struct slot *most = (struct slot *)fq_shorten(&b->fq[BACKLOG_UDP]);

		w->n.rx_shortened += messages_in(&most->udp);
		slot_give(b, most);
	}
	return true;
}

static unsigned int trains_take(struct worker *w, struct udp_socket *s)
{
	struct backlog *b = &w->backlog;
	struct udp_item *items[UDP_RX_ITEMS];
	struct slot *slots[UDP_RX_ITEMS];
	unsigned int n;

	for (int i = 0; i < UDP_RX_ITEMS; i++) {
		slots[i] = slot_take(b);
		items[i] = &slots[i]->udp;
	}
	n = udp_receive(s, items);
	for (unsigned int i = UDP_RX_ITEMS; i-- > 0;)
		if (i >= n || items[i]->len == 0)
			slot_give(b, slots[i]);
	for (unsigned int i = 0; i < n; i++)
		if (items[i]->len > 0)
			wait_in(b, BACKLOG_UDP, session_key(items[i]), slots[i], items[i]->len,
				messages_in(items[i]));
	return n;
}

void backlog_udp(struct worker *w, struct udp_socket *s)
{
	unsigned int n = UDP_RX_ITEMS;

	for (unsigned int i = 0; i < BACKLOG_SLOTS && n == UDP_RX_ITEMS; i += n)
		n = s->fd >= 0 && room_for_trains(w, s) ? trains_take(w, s) : 0;
}

static void trains_work(struct worker *w)
{
	struct backlog *b = &w->backlog;
	struct slot *done = NULL, *s;
	uint32_t bytes = 0;

	while (bytes < BACKLOG_TURN && (s = (struct slot *)fq_get(&b->fq[BACKLOG_UDP])) != NULL) {
		bytes += s->item.bytes;
		input_train(w, &s->udp);
		s->next = done;
		done = s;
	}
	/* What is joined or relayed lies in the slots. */
	input_join_flush(w);
	worker_flush(w);
	while ((s = done) != NULL) {
		done = s->next;
		slot_give(b, s);
	}
}

/* --- from the devices ------------------------------------------------------------------------------------- */
/* By flow; at the exit by whom it is for. */
static uint64_t packet_key(const struct worker *w, enum tun_use use, const uint8_t *buf, size_t len)
{
	const size_t head = w->tuns[use].kind->vnet ? OFFLOAD_VHDR : 0;
	struct ip_packet ip;

	if (len < head || ip_parse(buf + head, len - head, &ip) != OK)
		return 0;
	buf += head;
	return (uint64_t)(use + 1) << 32 | (use == TUN_EXIT ? ip_dst_hash(buf, &ip) : ip_flow_hash(buf, &ip));
}

void backlog_tun(struct worker *w, enum tun_use use)
{
	struct backlog *b = &w->backlog;

	while (!is_full(b, BACKLOG_TUN, 1) && w->tuns[use].fd >= 0) {
		struct slot *s = slot_take(b);
		const ssize_t n = tun_read(&w->tuns[use], s->udp.buf);

		if (n > 0) {
			s->tun = use;
			s->tun_len = (uint32_t)n;
			wait_in(b, BACKLOG_TUN, packet_key(w, use, s->udp.buf, (size_t)n), s, s->tun_len, 1);
			continue;
		}
		slot_give(b, s);
		/* EIO: it is down, and will be up again. All else: it is gone, the main thread hears of it
		 * by netlink. Until then it must not wake us. */
		if (n < 0 && errno != EIO)
			worker_tun_set(w, use, -1);
		break;
	}
}

void backlog_tun_drop(struct worker *w, enum tun_use use)
{
	struct backlog *b = &w->backlog;
	struct slot *kept = NULL, **end = &kept, *s;

	while ((s = (struct slot *)fq_get(&b->fq[BACKLOG_TUN])) != NULL) {
		if (s->tun == use) {
			slot_give(b, s);
			continue;
		}
		s->next = NULL;
		*end = s;
		end = &s->next;
	}
	while ((s = kept) != NULL) {
		kept = s->next;
		fq_put(&b->fq[BACKLOG_TUN], packet_key(w, s->tun, s->udp.buf, s->tun_len), &s->item);
	}
}

static void packets_work(struct worker *w)
{
	struct backlog *b = &w->backlog;
	uint32_t bytes = 0;
	struct slot *s;

	while (bytes < BACKLOG_TURN && (s = (struct slot *)fq_get(&b->fq[BACKLOG_TUN])) != NULL) {
		bytes += s->item.bytes;
		w->tun_take[s->tun](w, s->udp.buf, s->tun_len, false); /* keeps nothing of it */
		slot_give(b, s);
	}
	worker_flush(w);
}

void backlog_work(struct worker *w)
{
	trains_work(w);
	packets_work(w);
}
