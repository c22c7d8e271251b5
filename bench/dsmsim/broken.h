/* SPDX-License-Identifier: GPL-2.0-only */
/* The broken copies of the core; the table is made by the script `breaks`. */
#ifndef DSMSIM_BROKEN_H
#define DSMSIM_BROKEN_H

#include "lock.h"

/**
 * struct broken - a lock that exploration must find broken
 * @ops: the lock, NULL at the table's end
 * @what: what is broken
 */
struct broken {
	const struct lock_ops *ops;
	const char *what;
};

extern const struct broken broken[];

#endif
