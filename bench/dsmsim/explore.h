/* SPDX-License-Identifier: GPL-2.0-only */
/* Randomised exploration of a lock's schedules: explore.c. */
#ifndef DSMSIM_EXPLORE_H
#define DSMSIM_EXPLORE_H

#include "lock.h"

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
 * explore_spin - the same, for a spinlock
 * @what: which
 *
 * Return: whether all were clean.
 */
bool explore_spin(const struct explore *what);

#endif
