// SPDX-License-Identifier: GPL-2.0-only
/*
 * The core of pernode_rwsem: compiled as it is into the module, into the guest's kernel and
 * in user space.  What it is, and its invariants: pernode_rwsem_types.h.
 */
#include <linux/atomic.h>
#include <linux/errno.h>
#include <linux/export.h>
#include <linux/gfp.h>
#include <linux/irqflags.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/pernode_rwsem.h>
#include <linux/rcupdate.h>
#include <linux/rcuwait.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/topology.h>

static int readers_of(int word)
{
	return (word - (word & PERNODE_STATE)) / PERNODE_READER;
}

static enum pernode_state state_of(int word)
{
	return word & PERNODE_STATE;
}

static struct pernode_entry *local_entry(struct pernode_table *table)
{
	return pernode_table_entry(table, numa_node_id());
}

/**
 * __pernode_rwsem_init - make a lock that has not expanded
 * @sem: the lock
 * @name: for lockdep
 * @key: for lockdep
 *
 * Cannot fail, allocates nothing.  Context: any.
 */
void __pernode_rwsem_init(struct pernode_rwsem *sem, const char *name,
			  struct lock_class_key *key)
{
	__init_rwsem(&sem->rwsem, name, key);
	pernode_rwsem_init_rest(sem);
}
EXPORT_SYMBOL_GPL(__pernode_rwsem_init);

/**
 * pernode_rwsem_init_rest - the same, for one whose rw_semaphore is initialised
 * @sem: the lock
 *
 * Cannot fail, allocates nothing.  Context: any.
 */
void pernode_rwsem_init_rest(struct pernode_rwsem *sem)
{
	sem->table = NULL;
	sem->gp = 0;
	sem->last_node = numa_node_id();
	sem->moves = 0;
}
EXPORT_SYMBOL_GPL(pernode_rwsem_init_rest);

static struct pernode_gate *gate_alloc(gfp_t gfp)
{
	struct pernode_gate *gate = (void *)__get_free_page(gfp | __GFP_ZERO);

	if (!gate)
		return NULL;
	init_rwsem(&gate->rwsem);
	rcuwait_init(&gate->writer);
	return gate;
}

/**
 * pernode_table_alloc - allocate the entries of a lock
 * @gfp: how
 *
 * One page a node that is online, in its memory, and one for the writers; other nodes share
 * the first one's.
 *
 * Context: as @gfp says.
 * Return: the table, or NULL without memory.
 */
struct pernode_table *pernode_table_alloc(gfp_t gfp)
{
	struct pernode_table *table;
	struct pernode_entry *entry;
	int node;

	/* A page of its own: who writes beside it would take it from its readers. */
	BUILD_BUG_ON(struct_size_t(struct pernode_table, entry, MAX_NUMNODES) > 4 * PAGE_SIZE);
	table = (void *)__get_free_pages(gfp | __GFP_ZERO,
					 get_order(struct_size(table, entry, nr_node_ids)));
	if (!table)
		return NULL;
	table->gate = gate_alloc(gfp);
	if (!table->gate) {
		pernode_table_free(table);
		return NULL;
	}
	for_each_online_node(node) {
		struct page *page = alloc_pages_node(node, gfp | __GFP_ZERO, 0);

		if (!page) {
			pernode_table_free(table);
			return NULL;
		}
		entry = page_address(page);
		entry->node = node;
		raw_spin_lock_init(&entry->lock);
		INIT_LIST_HEAD(&entry->waiters);
		atomic_set(&entry->word, PERNODE_CLOSED);
		table->entry[node] = entry;
		node_set(node, table->own);
	}
	entry = table->entry[first_node(table->own)];
	for_each_node(node)
		if (!node_isset(node, table->own))
			table->entry[node] = entry;
	return table;
}
EXPORT_SYMBOL_GPL(pernode_table_alloc);

/**
 * pernode_table_free - free what pernode_table_alloc() gave
 * @table: the table, or NULL; nobody uses it any more
 *
 * Context: any.
 */
void pernode_table_free(struct pernode_table *table)
{
	int node;

	if (!table)
		return;
	for_each_node_mask(node, table->own)
		free_page((unsigned long)table->entry[node]);
	free_page((unsigned long)table->gate);
	free_pages((unsigned long)table, get_order(struct_size(table, entry, nr_node_ids)));
}
EXPORT_SYMBOL_GPL(pernode_table_free);

/**
 * pernode_rwsem_destroy - free what a lock has allocated
 * @sem: the lock; nobody holds it or will
 *
 * Context: any.
 */
void pernode_rwsem_destroy(struct pernode_rwsem *sem)
{
	pernode_table_free(sem->table);
	sem->table = NULL;
}
EXPORT_SYMBOL_GPL(pernode_rwsem_destroy);

/* The slow half of pernode_rwsem_moved(). */
bool __pernode_rwsem_moved(struct pernode_rwsem *sem)
{
	int last_node = READ_ONCE(sem->last_node);
	unsigned int moves;

	if (READ_ONCE(sem->table))
		return false;
	/* Pairs with the release below. */
	moves = smp_load_acquire(&sem->moves);
	/*
	 * A trylock with interrupts off that finds no table may not find one when it has the
	 * rw_semaphore: it could not let go of that (see pernode_down_read_trylock()).  From
	 * PERNODE_MOVES on it does not try; a grace period later none is left that did.
	 */
	if (moves > PERNODE_MOVES)
		return poll_state_synchronize_rcu(READ_ONCE(sem->gp));
	/* At PERNODE_MOVES somebody is about to set @gp. */
	if (moves == PERNODE_MOVES || last_node == NUMA_NO_NODE ||
	    !try_cmpxchg(&sem->last_node, &last_node, numa_node_id()))
		return false;
	if (try_cmpxchg(&sem->moves, &moves, moves + 1) && moves + 1 == PERNODE_MOVES) {
		WRITE_ONCE(sem->last_node, NUMA_NO_NODE);
		smp_mb();	/* the grace period begins after @moves can be seen */
		WRITE_ONCE(sem->gp, start_poll_synchronize_rcu());
		/* @gp is for who sees this. */
		smp_store_release(&sem->moves, PERNODE_MOVES + 1);
	}
	return false;
}
EXPORT_SYMBOL_GPL(__pernode_rwsem_moved);

/**
 * pernode_rwsem_publish - expand: from here on the table is the lock
 * @sem: the lock, held for writing by the caller; pernode_rwsem_moved() was true
 * @table: its entries, of pernode_table_alloc(); now the lock's
 *
 * The caller still holds the lock for writing, and unlocks it as ever.
 *
 * Context: may sleep.
 */
void pernode_rwsem_publish(struct pernode_rwsem *sem, struct pernode_table *table)
{
	lockdep_assert_held_write(&sem->rwsem);
	WRITE_ONCE(sem->last_node, NUMA_NO_NODE);
	down_write(&table->gate->rwsem);	/* nobody else knows it */
	/* The entries are whole for who sees the table (load-acquire in the read side). */
	smp_store_release(&sem->table, table);
	up_write(&sem->rwsem);
	rwsem_acquire(&sem->rwsem.dep_map, 0, 1, _RET_IP_);
}
EXPORT_SYMBOL_GPL(pernode_rwsem_publish);

/**
 * pernode_rwsem_expand - give every node its entry, whether the lock has moved or not
 * @sem: the lock, not held by the caller
 *
 * Context: may sleep, for an RCU grace period.
 * Return: 0, also when it had expanded before; -ENOMEM.
 */
int pernode_rwsem_expand(struct pernode_rwsem *sem)
{
	struct pernode_table *table = pernode_table_alloc(GFP_KERNEL);

	if (!table)
		return -ENOMEM;
	WRITE_ONCE(sem->moves, PERNODE_MOVES);
	synchronize_rcu();	/* see __pernode_rwsem_moved() */
	pernode_down_write(sem);
	if (sem->table)
		pernode_table_free(table);
	else
		pernode_rwsem_publish(sem, table);
	pernode_up_write(sem);
	return 0;
}
EXPORT_SYMBOL_GPL(pernode_rwsem_expand);

/* A reader leaves by an entry that is open or drains. */
static void leave(struct pernode_table *table, struct pernode_entry *entry)
{
	int word = atomic_sub_return_release(PERNODE_READER, &entry->word);

	/*
	 * Nobody else on this node may be left to wake the writer.  A count below 0 (this
	 * reader came on another node) is for the writer to balance, so it hears of it too.
	 */
	if (state_of(word) == PERNODE_DRAIN && readers_of(word) <= 0)
		rcuwait_wake_up(&table->gate->writer);
}

/* A reader comes by an entry, if that is open. */
static bool enter(struct pernode_table *table, struct pernode_entry *entry)
{
	int word = atomic_read(&entry->word);

	if (state_of(word) != PERNODE_OPEN)
		return false;
	word = atomic_add_return_acquire(PERNODE_READER, &entry->word);
	if (likely(state_of(word) == PERNODE_OPEN))
		return true;
	leave(table, entry);
	return false;
}

/*
 * The caller holds the gate for reading, so no writer is in: open the entry, and count in
 * the caller and the @others.
 */
static void enter_opening(struct pernode_gate *gate, struct pernode_entry *entry, int others)
{
	int old = atomic_read(&entry->word);

	while (!atomic_try_cmpxchg(&entry->word, &old,
				   (old & ~PERNODE_STATE) + (1 + others) * PERNODE_READER))
		;
	if (state_of(old) == PERNODE_CLOSED)
		node_set(entry->node, gate->open);
}

/* A reader that waits at its node's entry, for the one that has gone to the gate */
struct waiter {
	struct list_head list;		/* entry->waiters, under entry->lock */
	struct task_struct *task;	/* NULL when the wait is over */
	enum { WAITS, IN, OPENS } what;	/* under entry->lock until then */
};

/* End a wait; @w is gone when this returns. */
static void wake_waiter(struct waiter *w)
{
	struct task_struct *task = w->task;

	get_task_struct(task);
	/* What the waiter was given can be seen when this can. */
	smp_store_release(&w->task, NULL);
	wake_up_process(task);
	put_task_struct(task);
}

/*
 * Go through the gate for all readers of this node; entry->opening is set.  A wake-up at the
 * gate costs a page of the writer's node, one at the entry does not.
 */
static int open_entry(struct pernode_gate *gate, struct pernode_entry *entry, unsigned int state)
{
	struct waiter *w, *next;
	int err = 0, others = 0;
	LIST_HEAD(wake);

	if (state == TASK_KILLABLE)
		err = down_read_killable(&gate->rwsem);
	else
		down_read(&gate->rwsem);
	raw_spin_lock(&entry->lock);
	if (err && !list_empty(&entry->waiters)) {
		w = list_first_entry(&entry->waiters, struct waiter, list);
		w->what = OPENS;
		list_move(&w->list, &wake);
	} else {
		entry->opening = false;
	}
	if (!err) {
		list_for_each_entry(w, &entry->waiters, list) {
			w->what = IN;
			others++;
		}
		list_splice_init(&entry->waiters, &wake);
		enter_opening(gate, entry, others);
	}
	raw_spin_unlock(&entry->lock);
	if (!err)
		up_read(&gate->rwsem);
	list_for_each_entry_safe(w, next, &wake, list)
		wake_waiter(w);
	return err;
}

/* Wait at the entry; @w is on its list.  0 also when it has become this task's to open it. */
static int wait_at_entry(struct pernode_entry *entry, struct waiter *w, unsigned int state)
{
	int err = 0;

	for (;;) {
		set_current_state(state);
		/* Pairs with the release in wake_waiter(). */
		if (!smp_load_acquire(&w->task))
			break;
		if (signal_pending_state(state, current)) {
			raw_spin_lock(&entry->lock);
			if (w->what == WAITS) {
				list_del(&w->list);
				err = -EINTR;
			}
			raw_spin_unlock(&entry->lock);
			if (err)
				break;
			/* The wait is as good as over. */
			state = TASK_UNINTERRUPTIBLE;
			continue;
		}
		schedule();
	}
	__set_current_state(TASK_RUNNING);
	return err;
}

static int enter_slow(struct pernode_table *table, unsigned int state)
{
	struct waiter w = { .task = current, .what = WAITS };
	struct pernode_entry *entry = local_entry(table);
	bool in, first;
	int err;

	raw_spin_lock(&entry->lock);
	in = enter(table, entry);
	first = !in && !entry->opening;
	if (first)
		entry->opening = true;
	else if (!in)
		list_add_tail(&w.list, &entry->waiters);
	raw_spin_unlock(&entry->lock);
	if (in)
		return 0;
	if (!first) {
		err = wait_at_entry(entry, &w, state);
		if (err || w.what == IN)
			return err;
	}
	return open_entry(table->gate, entry, state);
}

/* Lock an expanded lock for reading. */
static int read_table(struct pernode_rwsem *sem, unsigned int state, unsigned long ip)
{
	struct pernode_table *table = sem->table;
	int err = 0;

	might_sleep();
	rwsem_acquire_read(&sem->rwsem.dep_map, 0, 0, ip);
	if (!enter(table, local_entry(table)))
		err = enter_slow(table, state);
	if (err)
		rwsem_release(&sem->rwsem.dep_map, ip);
	return err;
}

/**
 * pernode_down_read - lock for reading
 * @sem: the lock
 *
 * Context: may sleep.
 */
void pernode_down_read(struct pernode_rwsem *sem)
{
	/* Pairs with the release in pernode_rwsem_publish(). */
	if (!smp_load_acquire(&sem->table)) {
		down_read(&sem->rwsem);
		if (likely(!sem->table))
			return;
		up_read(&sem->rwsem);	/* it has expanded meanwhile */
	}
	read_table(sem, TASK_UNINTERRUPTIBLE, _RET_IP_);
}
EXPORT_SYMBOL_GPL(pernode_down_read);

/**
 * pernode_down_read_killable - lock for reading, unless the task is killed
 * @sem: the lock
 *
 * Context: may sleep.
 * Return: 0, or -EINTR if a fatal signal came first.
 */
int pernode_down_read_killable(struct pernode_rwsem *sem)
{
	/* Pairs with the release in pernode_rwsem_publish(). */
	if (!smp_load_acquire(&sem->table)) {
		int err = down_read_killable(&sem->rwsem);

		if (err || likely(!sem->table))
			return err;
		up_read(&sem->rwsem);	/* it has expanded meanwhile */
	}
	return read_table(sem, TASK_KILLABLE, _RET_IP_);
}
EXPORT_SYMBOL_GPL(pernode_down_read_killable);

/**
 * pernode_down_read_trylock - lock for reading, if that is possible at once
 * @sem: the lock
 *
 * With interrupts off it fails also when no reader has come on this node since the last
 * writer: opening the entry takes the gate, leaving the gate may wake a task, and the
 * caller may hold a run queue's lock.
 *
 * Context: any but NMI; does not sleep, spin, allocate or, with interrupts off, wake.
 * Return: 1 if locked, else 0.
 */
int pernode_down_read_trylock(struct pernode_rwsem *sem)
{
	/* Pairs with the release in pernode_rwsem_publish(). */
	struct pernode_table *table = smp_load_acquire(&sem->table);
	struct pernode_entry *entry;
	bool in = false;
	int old;

	if (!table) {
		if (READ_ONCE(sem->moves) >= PERNODE_MOVES && irqs_disabled())
			return 0;
		if (!down_read_trylock(&sem->rwsem))
			return 0;
		table = sem->table;
		if (likely(!table))
			return 1;
		up_read(&sem->rwsem);	/* it has expanded meanwhile */
	}
	entry = local_entry(table);
	old = atomic_read(&entry->word);
	while (!in && state_of(old) == PERNODE_OPEN)
		in = atomic_try_cmpxchg_acquire(&entry->word, &old, old + PERNODE_READER);
	if (!in && !irqs_disabled() && down_read_trylock(&table->gate->rwsem)) {
		enter_opening(table->gate, entry, 0);
		up_read(&table->gate->rwsem);
		in = true;
	}
	if (in)
		rwsem_acquire_read(&sem->rwsem.dep_map, 0, 1, _RET_IP_);
	return in;
}
EXPORT_SYMBOL_GPL(pernode_down_read_trylock);

static void exit_entry(struct pernode_table *table)
{
	struct pernode_entry *entry = local_entry(table);

	/* This reader is counted elsewhere, so what is closed stays so or is opened. */
	if (unlikely(state_of(atomic_read(&entry->word)) == PERNODE_CLOSED)) {
		atomic_dec_return_release(&table->gate->strays);
		rcuwait_wake_up(&table->gate->writer);
	} else {
		leave(table, entry);
	}
}

/**
 * pernode_up_read - unlock what was locked for reading
 * @sem: the lock
 *
 * On any node, whichever it was locked on.
 *
 * Context: any in which a task may be woken.
 */
void pernode_up_read(struct pernode_rwsem *sem)
{
	if (!sem->table) {
		up_read(&sem->rwsem);
		return;
	}
	rwsem_release(&sem->rwsem.dep_map, _RET_IP_);
	exit_entry(sem->table);
}
EXPORT_SYMBOL_GPL(pernode_up_read);

/**
 * pernode_up_read_non_owner - unlock for a task that has told lockdep it gave the lock away
 * @sem: the lock
 *
 * Context: as pernode_up_read().
 */
void pernode_up_read_non_owner(struct pernode_rwsem *sem)
{
	if (!sem->table)
		up_read_non_owner(&sem->rwsem);
	else
		exit_entry(sem->table);
}
EXPORT_SYMBOL_GPL(pernode_up_read_non_owner);

/*
 * Readers that left on another node than they came on have left one count below 0, and
 * another that no last reader will bring to 0: take from this to mend that.  Says whether
 * there was something to mend; somebody may have left meanwhile, unheard.
 */
static bool balance(struct pernode_table *table)
{
	struct pernode_gate *gate = table->gate;
	int node, lack = -atomic_xchg(&gate->strays, 0);
	bool mended = lack;

	for_each_node_mask(node, gate->open) {
		atomic_t *word = &table->entry[node]->word;
		int readers = readers_of(atomic_read(word));

		if (readers >= 0)
			continue;
		atomic_sub(readers * PERNODE_READER, word);
		lack -= readers;
		mended = true;
	}
	for_each_node_mask(node, gate->open) {
		atomic_t *word = &table->entry[node]->word;
		int take = min(lack, max(readers_of(atomic_read(word)), 0));

		if (!take)
			continue;
		atomic_sub(take * PERNODE_READER, word);
		lack -= take;
	}
	atomic_sub(lack, &gate->strays);
	return mended;
}

/*
 * Have all left?  Each count has to be 0, not only their sum: once closed, an entry is no
 * longer part of sums.  If not, the last reader to leave an entry wakes the writer.
 */
static bool drained(struct pernode_table *table)
{
	struct pernode_gate *gate = table->gate;
	bool nobody;
	int node;

	do {
		nobody = !atomic_read_acquire(&gate->strays);
		for_each_node_mask(node, gate->open)
			if (readers_of(atomic_read_acquire(&table->entry[node]->word)))
				nobody = false;
	} while (!nobody && balance(table));
	return nobody;
}

/*
 * The writer has the gate.  Shut all open entries, at once, and wait for who is in.  The
 * gate's queue is what new readers meet, so there is nobody to starve, and no backing out but
 * for a signal.
 */
static int drain(struct pernode_table *table, unsigned int state)
{
	struct pernode_gate *gate = table->gate;
	int node, err;

	if (nodes_empty(gate->open))
		return 0;
	for_each_node_mask(node, gate->open)
		atomic_or(PERNODE_DRAIN, &table->entry[node]->word);
	err = rcuwait_wait_event(&gate->writer, drained(table), state);
	for_each_node_mask(node, gate->open)
		atomic_add(err ? PERNODE_OPEN - PERNODE_DRAIN : PERNODE_CLOSED - PERNODE_DRAIN,
			   &table->entry[node]->word);
	if (!err)
		nodes_clear(gate->open);
	return err;
}

/* Lock an expanded lock for writing. */
static int write_table(struct pernode_rwsem *sem, int subclass, unsigned int state,
		       unsigned long ip)
{
	struct rw_semaphore *gate = &sem->table->gate->rwsem;
	int err = 0;

	rwsem_acquire(&sem->rwsem.dep_map, subclass, 0, ip);
	if (state == TASK_KILLABLE)
		err = down_write_killable(gate);
	else
		down_write_nested(gate, subclass);
	if (!err) {
		err = drain(sem->table, state);
		if (err)
			up_write(gate);
	}
	if (err)
		rwsem_release(&sem->rwsem.dep_map, ip);
	return err;
}

/**
 * pernode_down_write_nested - lock for writing
 * @sem: the lock
 * @subclass: for lockdep, where one task takes two locks of a class
 *
 * Context: may sleep.
 */
void pernode_down_write_nested(struct pernode_rwsem *sem, int subclass)
{
	/* Pairs with the release in pernode_rwsem_publish(). */
	if (!smp_load_acquire(&sem->table)) {
		down_write_nested(&sem->rwsem, subclass);
		if (likely(!sem->table))
			return;
		up_write(&sem->rwsem);	/* it has expanded meanwhile */
	}
	write_table(sem, subclass, TASK_UNINTERRUPTIBLE, _RET_IP_);
}
EXPORT_SYMBOL_GPL(pernode_down_write_nested);

/**
 * pernode_down_write - lock for writing
 * @sem: the lock
 *
 * Context: may sleep.
 */
void pernode_down_write(struct pernode_rwsem *sem)
{
	pernode_down_write_nested(sem, 0);
}
EXPORT_SYMBOL_GPL(pernode_down_write);

/**
 * pernode_down_write_killable - lock for writing, unless the task is killed
 * @sem: the lock
 *
 * Context: may sleep.
 * Return: 0, or -EINTR if a fatal signal came first.
 */
int pernode_down_write_killable(struct pernode_rwsem *sem)
{
	/* Pairs with the release in pernode_rwsem_publish(). */
	if (!smp_load_acquire(&sem->table)) {
		int err = down_write_killable(&sem->rwsem);

		if (err || likely(!sem->table))
			return err;
		up_write(&sem->rwsem);	/* it has expanded meanwhile */
	}
	return write_table(sem, 0, TASK_KILLABLE, _RET_IP_);
}
EXPORT_SYMBOL_GPL(pernode_down_write_killable);

/**
 * pernode_up_write - unlock what was locked for writing
 * @sem: the lock
 *
 * The entries stay closed: readers come through the gate and open them.
 *
 * Context: any in which a task may be woken.
 */
void pernode_up_write(struct pernode_rwsem *sem)
{
	if (!sem->table) {
		up_write(&sem->rwsem);
		return;
	}
	rwsem_release(&sem->rwsem.dep_map, _RET_IP_);
	up_write(&sem->table->gate->rwsem);
}
EXPORT_SYMBOL_GPL(pernode_up_write);

/**
 * pernode_downgrade_write - go on as a reader
 * @sem: the lock, held for writing
 *
 * Context: any in which a task may be woken.
 */
void pernode_downgrade_write(struct pernode_rwsem *sem)
{
	struct pernode_gate *gate;

	if (!sem->table) {
		downgrade_write(&sem->rwsem);
		return;
	}
	gate = sem->table->gate;
	downgrade_write(&gate->rwsem);
	enter_opening(gate, local_entry(sem->table), 0);
	up_read(&gate->rwsem);
	lock_downgrade(&sem->rwsem.dep_map, _RET_IP_);
}
EXPORT_SYMBOL_GPL(pernode_downgrade_write);

/**
 * pernode_rwsem_is_locked - is somebody in?
 * @sem: the lock
 *
 * For assertions: true if the caller holds the lock, but also when readers only have been in
 * since the last writer: adding up what comes and goes meanwhile would be no surer.
 *
 * Context: any.
 * Return: whether.
 */
bool pernode_rwsem_is_locked(struct pernode_rwsem *sem)
{
	struct pernode_gate *gate;

	if (!sem->table)
		return rwsem_is_locked(&sem->rwsem);
	gate = sem->table->gate;
	return rwsem_is_locked(&gate->rwsem) || !nodes_empty(gate->open);
}
EXPORT_SYMBOL_GPL(pernode_rwsem_is_locked);

/**
 * pernode_rwsem_is_write_locked - is a writer in?
 * @sem: the lock
 *
 * For assertions: true if the caller has locked it for writing, but also at times when others
 * have, or readers.
 *
 * Context: any.
 * Return: whether.
 */
bool pernode_rwsem_is_write_locked(struct pernode_rwsem *sem)
{
	return rwsem_is_locked(sem->table ? &sem->table->gate->rwsem : &sem->rwsem);
}
EXPORT_SYMBOL_GPL(pernode_rwsem_is_write_locked);

/**
 * pernode_rwsem_is_contended - does somebody wait for the lock?
 * @sem: the lock, held by the caller
 *
 * Context: any.
 * Return: whether, as far as this node knows.
 */
bool pernode_rwsem_is_contended(struct pernode_rwsem *sem)
{
	if (!sem->table)
		return rwsem_is_contended(&sem->rwsem);
	return state_of(atomic_read(&local_entry(sem->table)->word)) == PERNODE_DRAIN ||
	       rwsem_is_contended(&sem->table->gate->rwsem);
}
EXPORT_SYMBOL_GPL(pernode_rwsem_is_contended);
