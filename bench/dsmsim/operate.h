/* SPDX-License-Identifier: GPL-2.0-only */
/* What spinlocks protect in the workloads: a counter, or a list; operate.c. */
#ifndef DSMSIM_OPERATE_H
#define DSMSIM_OPERATE_H

#include "lock.h"

/**
 * struct operate_kind - what an operation does
 * @name: on the command line, in tables
 * @pages: of data
 * @op: the operation
 * @check: after so many operations is the data as it should be?
 */
struct operate_kind {
	const char *name;
	int pages;
	lock_operation op;
	bool (*check)(void *data, u64 ops);
};

extern const struct operate_kind operate_counter, operate_list;

/**
 * operate_init - make the data, all on node 0
 * @kind: what kind
 *
 * Return: it.
 */
void *operate_init(const struct operate_kind *kind);

#endif
