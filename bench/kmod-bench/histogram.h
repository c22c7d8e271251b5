/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Latencies, counted in buckets that grow with what they count: eight to each power of two, so
 * what is read back is at most an eighth too much, whatever its size.
 */
#ifndef KMOD_BENCH_HISTOGRAM_H
#define KMOD_BENCH_HISTOGRAM_H

#include <linux/types.h>

#define HISTOGRAM_STEPS		8	/* to each power of two */
#define HISTOGRAM_BUCKETS	(62 * HISTOGRAM_STEPS)

unsigned int histogram_bucket(u64 value);
u64 histogram_percentile(const u64 *count, unsigned int percent);

#endif
