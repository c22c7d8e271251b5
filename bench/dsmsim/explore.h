/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Randomised exploration of a lock's schedules.  explore.c runs them and judges how they end;
 * explore-rw.c, explore-spin.c and explore-vma.c have the programs of the kinds of locks, and what
 * must hold while they run.
 */
#ifndef DSMSIM_EXPLORE_H
#define DSMSIM_EXPLORE_H

#include "lock.h"

#define EXPLORE_THREADS	4
#define EXPLORE_STEPS	5

/**
 * struct explore - what to explore
 * @lock: the lock
 * @schedules: how many
 * @first: the number of the first; a schedule is its number and @seed
 * @seed: of all
 * @asserts: holders ask is_locked(), too
 * @trace: tell the accesses of the schedule that fails
 */
struct explore {
	const struct lock_ops *lock;
	u64 schedules, first, seed;
	bool asserts, trace;
};

/**
 * explore - run schedules until one fails
 * @what: which
 *
 * Tells the failure, with the schedule, on stdout.
 *
 * Return: whether all were clean.
 */
bool explore(const struct explore *what);

/**
 * struct explore_step - what a thread does next
 * @op: which of the kind's operations
 * @arg: its argument, as that has it; -1: none
 * @leave_on: the node on which a reader leaves
 */
struct explore_step {
	int op, arg, leave_on;
};

/**
 * struct explore_worker - a thread's part of a program
 * @nr: so many steps
 * @step: they
 */
struct explore_worker {
	int nr;
	struct explore_step step[EXPLORE_STEPS];
};

/**
 * struct explore_kind - programs for a kind of lock
 * @op_name: its operations' names, for a listing
 * @program: make a random program, explored.worker, of explored.threads threads on explored.nodes
 *	nodes, and the locks it uses, explored.lock first; returns what to say of it in a listing
 * @begin: a thread begins, by its number; may be NULL
 * @step: the calling thread does a step
 * @epilogue: when all have gone, a single thread: use the locks on every node
 * @check: nobody holds them or waits: what is not as it should be, or NULL
 */
struct explore_kind {
	const char * const *op_name;
	const char *(*program)(void);
	void (*begin)(int thread);
	void (*step)(const struct explore_step *step);
	void (*epilogue)(void *arg);
	const char *(*check)(void);
};

extern const struct explore_kind explore_rw, explore_spin, explore_vma;

/**
 * struct explored - the schedule that is being run
 * @what: it is one of these
 * @lock: the lock whose accesses a listing tells
 * @task: the program's threads
 * @worker: what each does
 * @nodes: nodes of the machine
 * @threads: threads of the program
 */
struct explored {
	const struct explore *what;
	void *lock;
	struct task_struct *task[EXPLORE_THREADS];
	struct explore_worker worker[EXPLORE_THREADS];
	int nodes, threads;
};

extern struct explored explored;

/**
 * explore_tell - a line about the calling thread, if this schedule is being listed
 * @fmt: as for printf()
 */
void __printf(1, 2) explore_tell(const char *fmt, ...);

/**
 * explore_touch - a shared access of the test's own, so that there is a point to switch at
 */
void explore_touch(void);

/**
 * explore_op - a random operation
 * @share: how often a program has each
 * @sum: of all shares
 * @supported: can the lock do it?  NULL: all
 *
 * Return: its number.
 */
int explore_op(const unsigned char *share, int sum, bool (*supported)(int op));

#endif
