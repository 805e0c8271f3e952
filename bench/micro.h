/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the programs that micro.py runs share: CPU time, and a CSV on stdout (case, contender, figure, value)
 * of the best of many rounds, as the machine may be shared. */
#ifndef BENCH_MICRO_H
#define BENCH_MICRO_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS 60

static inline void head(void)
{
	printf("case,contender,figure,value\n");
}

static inline uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* bytes 0: it is not about bytes. */
static inline void row(const char *what, const char *variant, size_t bytes, double ns)
{
	char name[64];

	snprintf(name, sizeof(name), bytes > 0 ? "%s, %zu B" : "%s", what, bytes);
	printf("\"%s\",%s,ns,%.2f\n\"%s\",%s,per_s,%.0f\n", name, variant, ns, name, variant, 1e9 / ns);
	if (bytes > 0)
		printf("\"%s\",%s,GBps,%.3f\n", name, variant, (double)bytes / ns);
}

static inline double least(double a, double b)
{
	return a < b ? a : b;
}

/* Least time of one unit of work, over rounds of `per_round` units. */
#define MEASURE(per_round, work)                                                                   \
	({                                                                                         \
		double best = 1e18;                                                                \
		for (int round = 0; round < ROUNDS; round++) {                                     \
			uint64_t began = cpu_ns();                                                 \
			work;                                                                      \
			double ns = (double)(cpu_ns() - began) / (per_round);                      \
			best = ns < best ? ns : best;                                              \
		}                                                                                  \
		best;                                                                              \
	})

#endif
