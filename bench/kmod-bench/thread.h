/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A thread of the benchmark: all that it writes for itself, in pages of its node.  Of these,
 * the items are the workload's: other threads write there, so nothing else does.
 */
#ifndef KMOD_BENCH_THREAD_H
#define KMOD_BENCH_THREAD_H

#include <linux/build_bug.h>
#include <linux/mm.h>

#include "bench.h"

/**
 * struct thread - one
 * @run: whose
 * @task: while a round lasts
 * @rnd: which operations read
 * @read_share: percent of them
 * @begin: when it began, ns
 * @end: when it had done all, ns
 * @done: operations
 * @done_first: those it had done when the first thread had done all
 * @reads: those that only read
 * @wrong: things that the operations found wrong
 * @max: the longest of them, ns
 */
struct thread {
	struct run *run;
	struct task_struct *task;
	struct rnd_state rnd;
	unsigned int read_share, done, done_first;
	u64 begin, end;
	u64 reads, wrong, max;
	u64 histogram[HISTOGRAM_BUCKETS] __aligned(PAGE_SIZE);
	struct item item[NR_ITEMS] __aligned(PAGE_SIZE);
} __aligned(PAGE_SIZE);
static_assert(offsetof(struct thread, item) + NR_ITEMS * sizeof(struct item) <=
	      3 * PAGE_SIZE, "two threads' items never share a page");

#endif
