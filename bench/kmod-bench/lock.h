/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a lock is to the benchmark: something that runs an operation alone, and perhaps another
 * with other readers.  So a lock fits that has its waiters' operations run by who holds it, and
 * so does one that is taken and left.  A lock is one file, and an entry in main.c's table.
 */
#ifndef KMOD_BENCH_LOCK_H
#define KMOD_BENCH_LOCK_H

#include <linux/types.h>

/**
 * struct work - what is done under the lock
 * @op: one operation; does not sleep, and may run on another thread than the one that wants it
 * @data: what the lock protects
 *
 * The result of @op is the number of things that it found wrong.
 */
struct work {
	unsigned long (*op)(void *data, unsigned long arg);
	void *data;
};

/**
 * struct lock_ops - a kind of lock
 * @name: parameter lock=, and the first part of a configuration's name
 * @size: bytes of one; it is zeroed, and in pages of its own
 * @broken: it is none, for the check of results to find out
 * @init: make one for threads of so many nodes; may sleep; 0 or a negative errno
 * @destroy: free what it has allocated, once nobody is in
 * @run: have @work's operation run alone, and give its result back; may sleep
 * @read: the same together with other readers; NULL for a lock that has no read side
 */
struct lock_ops {
	const char *name;
	size_t size;
	bool broken;
	int (*init)(void *lock, const struct work *work, unsigned int nodes);
	void (*destroy)(void *lock);
	unsigned long (*run)(void *lock, const struct work *work, unsigned long arg);
	unsigned long (*read)(void *lock, const struct work *work, unsigned long arg);
};

extern const struct lock_ops lock_spin, lock_rwsem, lock_percpu, lock_pernode, lock_ccsynch,
	lock_combine, lock_none;

#endif
