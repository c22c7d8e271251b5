/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a lock is to the workloads, the schedule exploration and the stress test.
 *
 * A member that is NULL is not supported; of a reader-writer lock the plain four and @check are
 * there.  A lock that runs its operations itself (ccsynch) has @run instead.
 */
#ifndef DSMSIM_LOCK_H
#define DSMSIM_LOCK_H

#include <shim.h>

/**
 * struct lock_ops - a kind of lock
 * @name: in tables and on the command line
 * @size: of one, bytes; in pages of its own
 * @init: make one; @moves of pernode's moves have been seen, or all are done: -1
 * @destroy: free what it has allocated
 * @down_read: and the like: as the kernel's function of that name
 * @used: what the guest does now and then: let the lock grow if it is time
 * @check: nobody holds it or waits: what is not as it should be, or NULL
 * @describe: which part of it is at an address
 * @run: run op(arg) alone, on whatever thread
 */
struct lock_ops {
	const char *name;
	size_t size;
	void (*init)(void *lock, int moves);
	void (*destroy)(void *lock);
	void (*down_read)(void *lock);
	int (*down_read_killable)(void *lock);
	int (*down_read_trylock)(void *lock);
	void (*up_read)(void *lock);
	void (*up_read_non_owner)(void *lock);
	void (*down_write)(void *lock);
	int (*down_write_killable)(void *lock);
	void (*up_write)(void *lock);
	void (*downgrade_write)(void *lock);
	bool (*is_locked)(void *lock);
	bool (*is_contended)(void *lock);
	int (*expand)(void *lock);
	void (*used)(void *lock);
	const char *(*check)(void *lock);
	bool (*describe)(void *lock, const volatile void *addr, char *text, size_t size);
	void (*run)(void *lock, void (*op)(void *arg), void *arg);
};

extern const struct lock_ops lock_rwsem, lock_percpu, lock_array, lock_pernode;

#endif
