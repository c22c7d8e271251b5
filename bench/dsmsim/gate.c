// SPDX-License-Identifier: GPL-2.0-only
/*
 * A model of the kernel's rw_semaphore (as of 6.12), and of the spinlock in it.
 *
 * It keeps what matters for cost and fairness: one count and one owner word, a queue that is
 * first come, first served with readers woken in batches, a handoff to the first waiter after
 * 4 ms, a writer that spins while the owner runs, a reader that steals past the queue while no
 * writer is in.  It is both what pernode_rwsem has for a gate and the baseline `rwsem`.
 *
 * Invariants:
 *  - WAITERS is set exactly while the queue is not empty, seen under @wait_lock.
 *  - With HANDOFF set nobody gets in but the first waiter.
 *  - Readers are let in by who wakes them; a writer is woken, and takes the lock itself.
 */
#include <shim.h>

#include "gate.h"

#define WRITER		1L
#define WAITERS		2L
#define HANDOFF		4L
#define READER		256L
#define READERS		(~(READER - 1))
#define TAKEN		(WRITER | READERS)

/* In the low bits of the owner word. */
#define BY_READERS	1L
#define NO_SPINNING	2L
#define FLAGS		3L

#define HANDOFF_NS	4000000ULL
#define BATCH		64	/* the kernel's is 256: more than there are threads */
#define SPIN_NS		10000ULL	/* on readers: so long, and some for each */
#define SPIN_READER_NS	500ULL
#define SPIN_READERS	30

bool gate_spinning = true;

struct waiter {
	struct list_head list;
	struct task_struct *task;
	u64 late;
	bool writer;
	bool handoff;
};

struct wakeups {
	int nr;
	struct task_struct *task[BATCH];
};

/* ---- the spinlock ---- */

void raw_spin_lock_init(raw_spinlock_t *lock)
{
	lock->tail = NULL;
}

void raw_spin_lock(raw_spinlock_t *lock)
{
	struct task_struct *me = current;
	struct mcs_node *node = &me->mcs[me->mcs_depth++], *prev;

	WRITE_ONCE(node->next, NULL);
	WRITE_ONCE(node->granted, 0);
	prev = xchg(&lock->tail, node);
	if (!prev)
		return;
	smp_store_release(&prev->next, node);
	while (!smp_load_acquire(&node->granted))
		spin_wait(&node->granted, 0);
}

void raw_spin_unlock(raw_spinlock_t *lock)
{
	struct task_struct *me = current;
	struct mcs_node *node = &me->mcs[--me->mcs_depth], *next, *old = node;

	next = smp_load_acquire(&node->next);
	if (!next) {
		if (try_cmpxchg_release(&lock->tail, &old, NULL))
			return;
		while (!(next = smp_load_acquire(&node->next)))
			spin_wait(&node->next, 0);
	}
	smp_store_release(&next->granted, 1);
}

/* ---- spinning writers queue up, so that one at a time looks at the owner ---- */

static void osq_lock(struct rw_semaphore *sem)
{
	struct mcs_node *node = &current->osq, *prev;

	WRITE_ONCE(node->next, NULL);
	WRITE_ONCE(node->granted, 0);
	prev = xchg(&sem->osq, node);
	if (!prev)
		return;
	smp_store_release(&prev->next, node);
	while (!smp_load_acquire(&node->granted))
		spin_wait(&node->granted, 0);
}

static void osq_unlock(struct rw_semaphore *sem)
{
	struct mcs_node *node = &current->osq, *next, *old = node;

	if (try_cmpxchg_release(&sem->osq, &old, NULL))
		return;
	while (!(next = smp_load_acquire(&node->next)))
		spin_wait(&node->next, 0);
	smp_store_release(&next->granted, 1);
}

/* ---- the queue ---- */

static struct waiter *first_waiter(struct rw_semaphore *sem)
{
	return list_first_entry(&sem->wait_list, struct waiter, list);
}

static void wake_later(struct wakeups *wake, struct task_struct *task)
{
	if (wake->nr < (int)ARRAY_SIZE(wake->task))
		wake->task[wake->nr++] = task;
	else
		plat_bug("more tasks to wake than threads");
}

static void wake_now(struct wakeups *wake)
{
	int i;

	for (i = 0; i < wake->nr; i++)
		wake_up_process(wake->task[i]);
}

static void owned_by_readers(struct rw_semaphore *sem, struct task_struct *task)
{
	long keep = atomic_long_read(&sem->owner) & NO_SPINNING;

	atomic_long_set(&sem->owner, (long)task | BY_READERS | keep);
}

static void enqueue(struct rw_semaphore *sem, struct waiter *me, bool writer)
{
	me->writer = writer;
	me->handoff = false;
	me->late = plat_clock() + HANDOFF_NS;
	smp_store_release(&me->task, current);
	list_add_tail(&me->list, &sem->wait_list);
}

/*
 * Let in the readers that wait, if one is first; or have the first writer woken.  @readers_in:
 * the caller knows that readers hold the lock, so only more of them can come in.
 */
static void wake_next(struct rw_semaphore *sem, struct wakeups *wake, bool readers_in)
{
	struct waiter *first = first_waiter(sem), *w, *in[BATCH];
	struct list_head *at, *next;
	long count, change = 0;
	int nr = 0;

	if (first->writer) {
		if (!readers_in)
			wake_later(wake, first->task);
		return;
	}
	if (!readers_in) {
		/* Hold it for the first of them, before a writer does. */
		count = atomic_long_fetch_add(READER, &sem->count);
		if (count & WRITER) {
			change = -READER;
			if (!(count & HANDOFF) && plat_passed(first->late)) {
				first->handoff = true;
				change += HANDOFF;
			}
			atomic_long_add(change, &sem->count);
			return;
		}
		change = -READER;
		owned_by_readers(sem, first->task);
	}
	for (at = sem->wait_list.next; at != &sem->wait_list && nr < (int)ARRAY_SIZE(in);
	     at = next) {
		next = at->next;
		w = list_entry(at, struct waiter, list);
		if (w->writer)
			continue;
		list_del(at);
		in[nr++] = w;
		change += READER;
	}
	if (list_empty(&sem->wait_list))
		change -= WAITERS;
	if (atomic_long_read(&sem->count) & HANDOFF)
		change -= HANDOFF;
	atomic_long_add(change, &sem->count);
	/* The count is right: now they may go, and their stack with them. */
	while (nr--) {
		struct task_struct *task = in[nr]->task;

		smp_store_release(&in[nr]->task, NULL);
		wake_later(wake, task);
	}
}

/* Somebody left, and the queue is not empty. */
static noinline void wake_first(struct rw_semaphore *sem, bool readers_in)
{
	struct wakeups wake = { .nr = 0 };

	raw_spin_lock(&sem->wait_lock);
	if (!list_empty(&sem->wait_list))
		wake_next(sem, &wake, readers_in);
	raw_spin_unlock(&sem->wait_lock);
	wake_now(&wake);
}

/* A waiter was killed.  Unlocks. */
static int give_up(struct rw_semaphore *sem, struct waiter *me)
{
	struct wakeups wake = { .nr = 0 };
	bool first = first_waiter(sem) == me;

	list_del(&me->list);
	if (list_empty(&sem->wait_list))
		atomic_long_andnot(HANDOFF | WAITERS, &sem->count);
	else if (me->handoff)
		atomic_long_andnot(HANDOFF, &sem->count);
	if (first && !list_empty(&sem->wait_list))
		wake_next(sem, &wake, false);
	raw_spin_unlock(&sem->wait_lock);
	__set_current_state(TASK_RUNNING);
	wake_now(&wake);
	return -EINTR;
}

/* ---- readers ---- */

static noinline int read_slow(struct rw_semaphore *sem, long count, int state)
{
	struct wakeups wake = { .nr = 0 };
	struct waiter me;
	long change = -READER;

	/* Steal past the queue, unless readers have the lock anyway and a writer waits. */
	if (!((atomic_long_read(&sem->owner) & BY_READERS) && count / READER > 1) &&
	    !(count & (WRITER | HANDOFF))) {
		owned_by_readers(sem, current);
		if (count / READER == 1 && (count & WAITERS))
			wake_first(sem, true);
		return 0;
	}

	raw_spin_lock(&sem->wait_lock);
	if (list_empty(&sem->wait_list)) {
		/* The writer may have left meanwhile: this reader is counted already. */
		if (!(atomic_long_read_acquire(&sem->count) & (WRITER | HANDOFF))) {
			raw_spin_unlock(&sem->wait_lock);
			owned_by_readers(sem, current);
			return 0;
		}
		change += WAITERS;
	}
	enqueue(sem, &me, false);
	count = atomic_long_add_return(change, &sem->count);
	if (!(count & TAKEN) || (!(count & WRITER) && first_waiter(sem) == &me))
		wake_next(sem, &wake, false);
	raw_spin_unlock(&sem->wait_lock);
	wake_now(&wake);

	for (;;) {
		set_current_state(state);
		if (!smp_load_acquire(&me.task))
			break;
		if (signal_pending_state(state, current)) {
			raw_spin_lock(&sem->wait_lock);
			if (me.task)
				return give_up(sem, &me);
			raw_spin_unlock(&sem->wait_lock);
			break;
		}
		schedule();
	}
	__set_current_state(TASK_RUNNING);
	return 0;
}

static int read_lock(struct rw_semaphore *sem, int state)
{
	long count = atomic_long_add_return_acquire(READER, &sem->count);

	if (unlikely(count & (WRITER | WAITERS | HANDOFF)))
		return read_slow(sem, count, state);
	owned_by_readers(sem, current);
	return 0;
}

void down_read(struct rw_semaphore *sem)
{
	might_sleep();
	read_lock(sem, TASK_UNINTERRUPTIBLE);
}

int down_read_killable(struct rw_semaphore *sem)
{
	might_sleep();
	return read_lock(sem, TASK_KILLABLE);
}

int down_read_trylock(struct rw_semaphore *sem)
{
	long old = atomic_long_read(&sem->count);

	while (!(old & (WRITER | WAITERS | HANDOFF))) {
		if (!atomic_long_try_cmpxchg_acquire(&sem->count, &old, old + READER))
			continue;
		owned_by_readers(sem, current);
		return 1;
	}
	return 0;
}

void up_read(struct rw_semaphore *sem)
{
	long count;

	plat_may_sleep(__func__);	/* it may have to wake a task */
	count = atomic_long_sub_return_release(READER, &sem->count);
	if (unlikely((count & (TAKEN | WAITERS)) == WAITERS)) {
		atomic_long_andnot(NO_SPINNING, &sem->owner);
		wake_first(sem, false);
	}
}

/* ---- writers ---- */

static bool write_try(struct rw_semaphore *sem, long forbidden)
{
	long old = atomic_long_read(&sem->count);

	while (!(old & forbidden)) {
		if (!atomic_long_try_cmpxchg_acquire(&sem->count, &old, old | WRITER))
			continue;
		atomic_long_set(&sem->owner, (long)current);
		return true;
	}
	return false;
}

/* Spin while the owner is the same and runs.  False: there is no use in spinning. */
static bool spin_on_owner(struct rw_semaphore *sem)
{
	long owner = atomic_long_read(&sem->owner), now;
	struct task_struct *task = (struct task_struct *)(owner & ~FLAGS);

	if (owner & NO_SPINNING)
		return false;
	if (!task || (owner & BY_READERS))
		return true;
	do {
		if (!READ_ONCE(task->on_cpu))
			return false;
		cpu_relax();
		now = atomic_long_read(&sem->owner);
	} while (now == owner);
	return !(now & NO_SPINNING);
}

static bool write_spin(struct rw_semaphore *sem)
{
	bool taken = false, timed = false;
	u64 until = 0;

	if (!gate_spinning || (atomic_long_read(&sem->owner) & NO_SPINNING))
		return false;
	osq_lock(sem);
	while (spin_on_owner(sem)) {
		taken = write_try(sem, TAKEN | HANDOFF);
		if (taken)
			break;
		if (atomic_long_read(&sem->owner) & BY_READERS) {
			long readers = atomic_long_read(&sem->count) / READER;

			/* Readers do not say when they sleep: bound the time. */
			if (!timed) {
				timed = true;
				until = plat_clock() + SPIN_NS +
					SPIN_READER_NS * min(readers, (long)SPIN_READERS);
			} else if (plat_passed(until)) {
				atomic_long_or(NO_SPINNING, &sem->owner);
				break;
			}
		} else {
			timed = false;
		}
		cpu_relax();
	}
	osq_unlock(sem);
	return taken;
}

/* A queued writer tries, under the queue's lock. */
static bool write_try_queued(struct rw_semaphore *sem, struct waiter *me)
{
	struct waiter *first = first_waiter(sem);
	long old = atomic_long_read(&sem->count), new;

	do {
		bool handoff = old & HANDOFF;

		if (handoff && first != me && first->handoff)
			return false;
		new = old;
		if (old & TAKEN) {
			if (handoff || !plat_passed(me->late))
				return false;
			new |= HANDOFF;
		} else {
			new |= WRITER;
			new &= ~HANDOFF;
			if (list_is_singular(&sem->wait_list))
				new &= ~WAITERS;
		}
	} while (!atomic_long_try_cmpxchg_acquire(&sem->count, &old, new));
	if (new & HANDOFF) {
		first->handoff = true;
		return false;
	}
	list_del(&me->list);
	atomic_long_set(&sem->owner, (long)current);
	return true;
}

static noinline int write_slow(struct rw_semaphore *sem, int state)
{
	struct wakeups wake = { .nr = 0 };
	struct waiter me;
	long count;

	if (write_spin(sem))
		return 0;

	raw_spin_lock(&sem->wait_lock);
	enqueue(sem, &me, true);
	if (first_waiter(sem) == &me) {
		atomic_long_or(WAITERS, &sem->count);
	} else {
		/* Nobody who left may have seen that there are waiters. */
		count = atomic_long_read(&sem->count);
		if (!(count & WRITER) && (!(count & READERS) || !first_waiter(sem)->writer)) {
			wake_next(sem, &wake, false);
			raw_spin_unlock(&sem->wait_lock);
			wake_now(&wake);
			raw_spin_lock(&sem->wait_lock);
		}
	}
	for (;;) {
		set_current_state(state);
		if (write_try_queued(sem, &me))
			break;
		if (signal_pending_state(state, current))
			return give_up(sem, &me);
		raw_spin_unlock(&sem->wait_lock);
		schedule();
		raw_spin_lock(&sem->wait_lock);
	}
	raw_spin_unlock(&sem->wait_lock);
	__set_current_state(TASK_RUNNING);
	return 0;
}

static int write_lock(struct rw_semaphore *sem, int state)
{
	long old = 0;

	if (likely(atomic_long_try_cmpxchg_acquire(&sem->count, &old, WRITER))) {
		atomic_long_set(&sem->owner, (long)current);
		return 0;
	}
	return write_slow(sem, state);
}

void down_write(struct rw_semaphore *sem)
{
	might_sleep();
	write_lock(sem, TASK_UNINTERRUPTIBLE);
}

int down_write_killable(struct rw_semaphore *sem)
{
	might_sleep();
	return write_lock(sem, TASK_KILLABLE);
}

int down_write_trylock(struct rw_semaphore *sem)
{
	long old = 0;

	if (!atomic_long_try_cmpxchg_acquire(&sem->count, &old, WRITER))
		return 0;
	atomic_long_set(&sem->owner, (long)current);
	return 1;
}

void up_write(struct rw_semaphore *sem)
{
	long old;

	plat_may_sleep(__func__);
	atomic_long_set(&sem->owner, 0);
	old = atomic_long_fetch_sub_release(WRITER, &sem->count);
	if (unlikely(old & WAITERS))
		wake_first(sem, false);
}

void downgrade_write(struct rw_semaphore *sem)
{
	long old;

	plat_may_sleep(__func__);
	old = atomic_long_fetch_add_release(READER - WRITER, &sem->count);
	owned_by_readers(sem, current);
	if (old & WAITERS)
		wake_first(sem, true);
}

/* ---- looks at it ---- */

void __init_rwsem(struct rw_semaphore *sem, const char *name, struct lock_class_key *key)
{
	(void)name;
	(void)key;
	atomic_long_set(&sem->count, 0);
	atomic_long_set(&sem->owner, 0);
	sem->osq = NULL;
	raw_spin_lock_init(&sem->wait_lock);
	INIT_LIST_HEAD(&sem->wait_list);
}

bool rwsem_is_locked(struct rw_semaphore *sem)
{
	return atomic_long_read(&sem->count) & TAKEN;
}

bool rwsem_is_write_locked(struct rw_semaphore *sem)
{
	return atomic_long_read(&sem->count) & WRITER;
}

bool rwsem_is_contended(struct rw_semaphore *sem)
{
	return !list_empty(&sem->wait_list);
}

bool gate_idle(struct rw_semaphore *sem)
{
	return !atomic_long_read(&sem->count) && !sem->osq && !sem->wait_lock.tail &&
	       list_empty(&sem->wait_list);
}
