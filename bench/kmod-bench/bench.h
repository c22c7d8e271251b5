/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the parts of the benchmark share: a configuration (main.c), the workloads (work.c), the
 * run of one (run.c) and what came of it (report.c).
 *
 * Threads write to pages of their own node, the lock and what it protects have pages of their
 * own, and what all threads look at while they work changes twice a round: a page that moves
 * between nodes moves for the lock's sake or the workload's.
 */
#ifndef KMOD_BENCH_BENCH_H
#define KMOD_BENCH_BENCH_H

#include <linux/list.h>
#include <linux/prandom.h>
#include <linux/seq_file.h>
#include <linux/types.h>

#include "histogram.h"
#include "lock.h"

#undef pr_fmt	/* compat.h of the lock came first */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#define MAX_THREADS	1024
#define MAX_ROUNDS	100
#define NR_ITEMS	16	/* of a thread, in the list */

struct data;
struct thread;

/**
 * struct workload - what the threads do
 * @name: parameter workload=, and the second part of a configuration's name
 * @op: see struct work
 * @arg: the argument of a thread's i-th operation
 * @check: is @data as so many operations have left it?  Says in @what how it is.
 * @mixed: a share of the operations only read; their argument is OP_READ
 */
struct workload {
	const char *name;
	unsigned long (*op)(void *data, unsigned long arg);
	unsigned long (*arg)(struct thread *t, unsigned int i);
	bool (*check)(struct data *data, u64 reads, u64 writes, char *what, size_t size);
	bool mixed;
};

enum { OP_WRITE, OP_READ };

extern const struct workload workload_counter, workload_list, workload_mix;

/* What the lock protects; in pages of its own */
struct data {
	unsigned int hold;	/* rounds of cpu_relax() in the midst of an operation */
	u64 counter;
	struct list_head list;
	u64 stamp;		/* of the item that came last */
	u64 items;
	u64 a ____cacheline_aligned;	/* a writer leaves both alike */
	u64 b ____cacheline_aligned;
};

/* One in the list; it is always in */
struct item {
	struct list_head list;
	u64 stamp;
	bool seen;		/* by the check */
};

void data_init(struct data *data, unsigned int hold);
void data_add_items(struct data *data, struct item *item, unsigned int n);

/**
 * struct config - what a run does
 * @name: LOCK/WORKLOAD/nNODES/tTHREADS
 * @nodes: as many the threads are on
 * @ops: operations of each thread in a round
 * @sample: every so many-th operation's latency is measured
 * @think: rounds of cpu_relax() between two operations
 * @read_share: percent, of a workload that mixes
 * @expect_broken: the check has to find results wrong
 * @place: where each thread is
 */
struct config {
	char name[64];
	const struct lock_ops *lock;
	const struct workload *workload;
	unsigned int read_share, threads, nodes, ops, rounds, sample, hold, think;
	bool packed, expect_broken;
	struct place {
		int cpu, node;
	} *place;
};

/* Of a thread or of all in one round; ns */
struct figures {
	u64 ops_per_s, p50, p99, max;
};

/**
 * struct round - what came of a round
 * @all: of all threads together, from the first one's start to the last one's end
 * @fairness: Jain's index, in 1/RATIO_ONE, of the operations that each thread had done when
 *	the first had done all of its own
 * @right: the results are as they should be
 * @what: how they are
 */
struct round {
	struct figures all;
	u64 fairness;
	u64 reads, writes;
	bool right;
	char what[192];
};

#define RATIO_ONE	10000

/**
 * struct result - what came of a run
 * @config: of which
 * @rounds: as many were done
 * @round: they
 * @thread: each thread's figures in each round, by round and then thread
 */
struct result {
	struct config config;
	unsigned int rounds;
	struct round *round;
	struct figures *thread;
};

/**
 * result_thread - the figures of a thread
 * @r: the result
 * @round: less than its rounds
 * @thread: less than its threads
 *
 * Return: they.
 */
static inline struct figures *result_thread(const struct result *r, unsigned int round,
					    unsigned int thread)
{
	return &r->thread[round * r->config.threads + thread];
}

struct run *run_alloc(const struct config *config);
int run_work(struct run *run);
void run_stop(struct run *run);
const struct result *run_result(const struct run *run);
void run_free(struct run *run);

struct result *result_alloc(const struct config *config);
void result_free(struct result *r);
int result_verdict(const struct result *r);
void result_log(const struct result *r);
void result_tap(const struct result *r, struct seq_file *seq);
void result_json(const struct result *r, struct seq_file *seq);

#endif
