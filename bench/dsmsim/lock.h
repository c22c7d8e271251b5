/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a lock is to the workloads, the schedule exploration and the stress test.
 *
 * A member that is NULL is not supported.  A reader-writer lock has the plain four.  A spinlock
 * has @lock and @unlock; one that runs operations itself has @bind and @run, too.  The locks of an
 * address space have those for VMAs, and @down_read and the like for mmap_lock.  All have @check.
 */
#ifndef DSMSIM_LOCK_H
#define DSMSIM_LOCK_H

#include <shim.h>

typedef unsigned long (*lock_operation)(void *state, unsigned long arg);

/**
 * struct lock_ops - a kind of lock
 * @name: in tables and on the command line
 * @size: of one, bytes; in pages of its own
 * @timed: its loops bound the time that they spin, never the turns
 * @init: make one; @moves of pernode's moves have been seen, or all are done: -1
 * @destroy: free what it has allocated
 * @down_read: and the like: as the kernel's function of that name
 * @used: what the guest does now and then: let the lock grow if it is time
 * @check: nobody holds it or waits: what is not as it should be, or NULL
 * @describe: which part of it is at an address
 * @lock: spin until it is this thread's; @trylock and @unlock as in the kernel
 * @bind: instead of @init: it will run this operation on this state
 * @vary: from here on such locks are made with other parameters; 0 for the usual ones
 * @scarce: leave the calling thread little of what it needs for this lock
 * @run: run the operation alone, on whatever thread
 * @batches: how often the lock has begun to run operations for others on a node
 * @vmas: VMAs of an address space
 * @vma_read: read-lock a VMA, if it has not been detached and nobody has it write-locked
 * @vma_read_locked: the same under mmap_lock, held for reading; one that has not been detached
 * @vma_end_read: on whichever node
 * @vma_write: under mmap_lock, held for writing: write-lock a VMA until that is unlocked
 * @vma_detach: the same, and nobody is to read-lock it again
 * @vma_detached: has that been done?  Under mmap_lock
 * @vma_awaited: does a writer wait for readers that the VMA is counted with?
 */
struct lock_ops {
	const char *name;
	size_t size;
	bool timed;
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
	void (*lock)(void *lock);
	int (*trylock)(void *lock);
	void (*unlock)(void *lock);
	void (*bind)(void *lock, lock_operation op, void *state);
	void (*vary)(unsigned int how);
	void (*scarce)(unsigned int left);
	unsigned long (*run)(void *lock, unsigned long arg);
	u64 (*batches)(void *lock);
	int vmas;
	bool (*vma_read)(void *lock, int vma);
	void (*vma_read_locked)(void *lock, int vma);
	void (*vma_end_read)(void *lock, int vma);
	void (*vma_write)(void *lock, int vma);
	void (*vma_detach)(void *lock, int vma);
	bool (*vma_detached)(void *lock, int vma);
	bool (*vma_awaited)(void *lock, int vma);
};

extern const struct lock_ops lock_rwsem, lock_percpu, lock_array, lock_pernode, lock_vma;
extern const struct lock_ops lock_qspin, lock_tas, lock_ticket, lock_mcs, lock_cohort, lock_cc,
			     lock_ccsynch;

/**
 * struct lock_user - a spinlock, and what it is there for
 * @ops: its kind
 * @lock: it
 * @op: the operation
 * @state: what that works on
 */
struct lock_user {
	const struct lock_ops *ops;
	void *lock;
	lock_operation op;
	void *state;
};

/**
 * lock_user_init - make the lock
 * @u: its user, all filled in
 */
static inline void lock_user_init(struct lock_user *u)
{
	if (u->ops->bind)
		u->ops->bind(u->lock, u->op, u->state);
	else
		u->ops->init(u->lock, 0);
}

/**
 * lock_user_run - have the operation run, alone
 * @u: the lock's user
 * @arg: for the operation
 *
 * Return: what the operation returns.
 */
static inline unsigned long lock_user_run(struct lock_user *u, unsigned long arg)
{
	unsigned long result;

	if (u->ops->run)
		return u->ops->run(u->lock, arg);
	u->ops->lock(u->lock);
	result = u->op(u->state, arg);
	u->ops->unlock(u->lock);
	return result;
}

#endif
