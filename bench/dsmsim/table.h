/* SPDX-License-Identifier: GPL-2.0-only */
/* The workloads in simulated time, and the standard table: table.c. */
#ifndef DSMSIM_TABLE_H
#define DSMSIM_TABLE_H

#include "lock.h"

struct workload;

/**
 * struct table_run - one cell
 * @lock: the lock
 * @work: what the threads do
 * @nodes: of the machine
 * @threads: spread over them
 */
struct table_run {
	const struct lock_ops *lock;
	const struct workload *work;
	int nodes, threads;
};

const struct workload *table_workload(const char *name, size_t len);
bool table_fits(const struct table_run *run);
bool table_one(const struct table_run *run);
bool table(const char *json);

#endif
