/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a session's limits and counters cost by themselves, for each batch. */
#include "bench/micro.h"
#include "services/tunnel/core/meter.h"
#include "services/tunnel/core/policy.h"
#include "tests/harness/tunnel_pk.h"

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			abort();                                                                   \
	} while (0)

static void limit_rows(void)
{
	struct policy_flows flows;
	struct policy policy;
	struct packet parsed;
	struct bucket_share share = {0};
	struct bucket bucket;
	struct meter m;
	uint8_t pkt[100];
	mono_t now = {1};

	meter_init(&m, now, 1ull << 60, true);
	row("limits", "meter", 0, MEASURE(100000, for (int i = 0; i < 100000; i++) {
		CHECK(meter_may(&m));
		meter_count(&m, 1, 0);
		(void)!meter_due(&m, now);
	}));
	bucket_init(&bucket, now, 1ull << 50, 1ull << 60);
	row("limits", "shared rate", 0,
		MEASURE(100000, for (int i = 0; i < 100000; i++) CHECK(bucket_take(&bucket, now, &share, 1))));
	CHECK(policy_init(&policy, true, true, false, NULL, 0) == OK);
	policy_flows_init(&flows, now);
	pk_tcp(pkt, sizeof(pkt), "100.64.0.2", 1000, "9.9.9.9", 443, 0x10);
	row("limits", "exit policy", 0,
		MEASURE(10000, for (int i = 0; i < 10000; i++)
				       CHECK(policy_check(&policy, pkt, sizeof(pkt), &parsed) == POLICY_PASS)));
	row("limits", "exit flows", 0, MEASURE(10000, for (int i = 0; i < 10000; i++) CHECK(
		policy_flows_check(&flows, now, &parsed, pkt, 7) == POLICY_PASS)));
}

int main(void)
{
	head();
	limit_rows();
	return 0;
}
