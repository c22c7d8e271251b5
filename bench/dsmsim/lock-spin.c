// SPDX-License-Identifier: GPL-2.0-only
/*
 * The baselines that are spinlocks: `tas` (test, then test-and-set), `ticket`, `mcs`, and
 * `qspin`, which does what the kernel's qspinlock does: one word, a pending
 * waiter that spins on it, and an MCS queue of those behind.
 */
#include "lock.h"

/* ---- test-and-set ---- */

static void tas_init(void *lock, int moves)
{
	(void)moves;
	atomic_set(lock, 0);
}

static int tas_try(void *lock)
{
	return !atomic_read(lock) && !atomic_xchg_acquire(lock, 1);
}

static void tas_lock(void *lock)
{
	while (!tas_try(lock))
		while (atomic_read(lock))
			spin_wait((int *)lock, 1);
}

static void tas_unlock(void *lock)
{
	atomic_set_release(lock, 0);
}

static const char *tas_check(void *lock)
{
	return atomic_read(lock) ? "the lock is not free" : NULL;
}

const struct lock_ops lock_tas = {
	.name = "tas",
	.size = sizeof(atomic_t),
	.init = tas_init,
	.lock = tas_lock,
	.trylock = tas_try,
	.unlock = tas_unlock,
	.check = tas_check,
};

/* ---- ticket ---- */

struct ticket {
	atomic_t next, serving;
};

static void ticket_init(void *lock, int moves)
{
	struct ticket *t = lock;

	(void)moves;
	atomic_set(&t->next, 0);
	atomic_set(&t->serving, 0);
}

static void ticket_lock(void *lock)
{
	struct ticket *t = lock;
	int mine = atomic_fetch_inc(&t->next), now;

	while ((now = atomic_read_acquire(&t->serving)) != mine)
		spin_wait(&t->serving.counter, now);
}

static int ticket_try(void *lock)
{
	struct ticket *t = lock;
	int now = atomic_read_acquire(&t->serving);

	return atomic_try_cmpxchg_acquire(&t->next, &now, now + 1);
}

static void ticket_unlock(void *lock)
{
	struct ticket *t = lock;

	atomic_set_release(&t->serving, atomic_read(&t->serving) + 1);
}

static const char *ticket_check(void *lock)
{
	struct ticket *t = lock;

	return atomic_read(&t->next) == atomic_read(&t->serving) ? NULL : "the lock is not free";
}

const struct lock_ops lock_ticket = {
	.name = "ticket",
	.size = sizeof(struct ticket),
	.init = ticket_init,
	.lock = ticket_lock,
	.trylock = ticket_try,
	.unlock = ticket_unlock,
	.check = ticket_check,
};

/* ---- MCS ---- */

/* A node is in use until the depth says otherwise: interrupts come at any time. */
static struct mcs_node *mcs_node_get(void)
{
	struct task_struct *me = current;
	struct mcs_node *node = &me->mcs[me->mcs_depth++];

	WRITE_ONCE(node->next, NULL);
	WRITE_ONCE(node->granted, 0);
	return node;
}

static void mcs_node_put(void)
{
	current->mcs_depth--;
}

static void mcs_init(void *lock, int moves)
{
	(void)moves;
	raw_spin_lock_init(lock);
}

static void mcs_lock(void *lock)
{
	raw_spinlock_t *l = lock;
	struct mcs_node *node = mcs_node_get(), *prev = xchg(&l->tail, node);

	if (!prev)
		return;
	smp_store_release(&prev->next, node);
	smp_cond_load_acquire(&node->granted, VAL);
}

static void mcs_unlock(void *lock)
{
	struct mcs_node *node = &current->mcs[current->mcs_depth - 1], *old = node, *next;
	raw_spinlock_t *l = lock;

	next = smp_load_acquire(&node->next);
	if (next || !try_cmpxchg_release(&l->tail, &old, NULL)) {
		next = smp_cond_load_acquire(&node->next, VAL);
		smp_store_release(&next->granted, 1);
	}
	mcs_node_put();
}

static const char *mcs_check(void *lock)
{
	raw_spinlock_t *l = lock;

	return l->tail ? "the lock is not free" : NULL;
}

const struct lock_ops lock_mcs = {
	.name = "mcs",
	.size = sizeof(raw_spinlock_t),
	.init = mcs_init,
	.lock = mcs_lock,
	.unlock = mcs_unlock,
	.check = mcs_check,
};

/* ---- qspinlock ---- */

#define LOCKED	1L
#define PENDING	2L
#define BITS	3L	/* the rest is the tail: a task's struct mcs_node */

static void qspin_init(void *lock, int moves)
{
	(void)moves;
	atomic_long_set(lock, 0);
}

static int qspin_try(void *lock)
{
	long old = 0;

	return atomic_long_try_cmpxchg_acquire(lock, &old, LOCKED);
}

static void qspin_queue(atomic_long_t *word)
{
	struct mcs_node *node = mcs_node_get(), *prev, *next;
	long old = atomic_long_read(word);

	while (!atomic_long_try_cmpxchg(word, &old, (long)node | (old & BITS)))
		;
	prev = (struct mcs_node *)(old & ~BITS);
	if (prev) {
		smp_store_release(&prev->next, node);
		smp_cond_load_acquire(&node->granted, VAL);
	}
	/* Next in turn, but for who holds it and who pends. */
	old = smp_cond_load_acquire(&word->counter, !(VAL & BITS));
	if (old != (long)node || !atomic_long_try_cmpxchg_acquire(word, &old, LOCKED)) {
		/* Others are behind, or just came. */
		atomic_long_or(LOCKED, word);
		next = smp_cond_load_acquire(&node->next, VAL);
		smp_store_release(&next->granted, 1);
	}
	mcs_node_put();
}

static void qspin_lock(void *lock)
{
	atomic_long_t *word = lock;
	long old = 0;

	if (atomic_long_try_cmpxchg_acquire(word, &old, LOCKED))
		return;
	if (old & ~LOCKED) {
		qspin_queue(word);
		return;
	}
	old = atomic_long_fetch_or_acquire(PENDING, word);
	if (old & ~LOCKED) {
		if (!(old & PENDING))
			atomic_long_andnot(PENDING, word);
		qspin_queue(word);
		return;
	}
	if (old & LOCKED)
		smp_cond_load_acquire(&word->counter, !(VAL & LOCKED));
	atomic_long_add(LOCKED - PENDING, word);
}

static void qspin_unlock(void *lock)
{
	/* The kernel stores a byte; here that would cost the same. */
	atomic_long_fetch_andnot_release(LOCKED, lock);
}

static const char *qspin_check(void *lock)
{
	return atomic_long_read(lock) ? "the lock is not free" : NULL;
}

const struct lock_ops lock_qspin = {
	.name = "qspin",
	.size = sizeof(atomic_long_t),
	.init = qspin_init,
	.lock = qspin_lock,
	.trylock = qspin_try,
	.unlock = qspin_unlock,
	.check = qspin_check,
};
