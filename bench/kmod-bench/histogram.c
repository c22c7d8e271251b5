// SPDX-License-Identifier: GPL-2.0-only
/*
 * The buckets of a histogram.  Values below HISTOGRAM_STEPS have a bucket each; from there on
 * the bucket is the power of two and the bits that follow its first.  Buckets ascend with what
 * they hold, without a gap.
 */
#include <linux/bitops.h>
#include <linux/log2.h>
#include <linux/math.h>

#include "histogram.h"

#define STEP_BITS	ilog2(HISTOGRAM_STEPS)

/**
 * histogram_bucket - where to count a value
 * @value: any
 *
 * Context: any.
 * Return: its bucket, less than HISTOGRAM_BUCKETS.
 */
unsigned int histogram_bucket(u64 value)
{
	unsigned int power;

	if (value < HISTOGRAM_STEPS)
		return value;
	power = fls64(value) - 1;
	return (power - STEP_BITS + 1) * HISTOGRAM_STEPS +
	       ((value >> (power - STEP_BITS)) & (HISTOGRAM_STEPS - 1));
}

/* The largest value that is counted in @bucket. */
static u64 largest(unsigned int bucket)
{
	u64 step = bucket % HISTOGRAM_STEPS;

	if (bucket < HISTOGRAM_STEPS)
		return bucket;
	return ((HISTOGRAM_STEPS + step + 1) << (bucket / HISTOGRAM_STEPS - 1)) - 1;
}

/**
 * histogram_percentile - the value that so many percent of all are not above
 * @count: values in each of HISTOGRAM_BUCKETS buckets
 * @percent: 1 to 100
 *
 * Context: any.
 * Return: the largest value of the bucket in which that is; 0 if there is none.
 */
u64 histogram_percentile(const u64 *count, unsigned int percent)
{
	u64 rank, total = 0, seen = 0;
	unsigned int i;

	for (i = 0; i < HISTOGRAM_BUCKETS; i++)
		total += count[i];
	rank = DIV_ROUND_UP_ULL(total * percent, 100);
	for (i = 0; i < HISTOGRAM_BUCKETS && rank; i++) {
		seen += count[i];
		if (seen >= rank)
			return largest(i);
	}
	return 0;
}
