/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A stress test on real threads: stress-main.c has the command line, the threads and the
 * rounds; who includes this has what a round is about.
 */
#ifndef DSMSIM_STRESS_H
#define DSMSIM_STRESS_H

#include <shim.h>

#define STRESS_OPS	400	/* of each thread in a round */

/**
 * struct stress - a stress test
 * @name: of the program
 * @begin: a round begins: make new locks
 * @thread: what a thread does in it, STRESS_OPS operations; its number, and its random numbers
 * @end: its threads have ended: see what they left, and free the locks
 */
struct stress {
	const char *name;
	void (*begin)(void);
	void (*thread)(int me, u64 *rng);
	void (*end)(void);
};

/* The program's own. */
extern const struct stress stress;

extern int stress_threads, stress_round;

#endif
