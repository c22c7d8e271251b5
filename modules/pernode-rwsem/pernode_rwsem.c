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
#include <linux/osq_lock.h>
#include <linux/pernode_rwsem.h>
#include <linux/rcupdate.h>
#include <linux/rcuwait.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/sched/clock.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/topology.h>

static int readers_of(int word)
{
	return (word - (word & PERNODE_STATE)) / PERNODE_READER;
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
		rcuwait_init(&entry->opener);
		INIT_LIST_HEAD(&entry->waiters);
		atomic_set(&entry->word, PERNODE_SHUT | PERNODE_UNUSED);
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
		/* Expedited: others may take a tenth of a second. */
		WRITE_ONCE(sem->gp, start_poll_synchronize_rcu_expedited());
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

/*
 * A reader leaves by an entry that has been open while it was in.  What is below 0 (it came on
 * another node) is for the writer to balance, which hears of it in any case.
 */
static void leave(struct pernode_table *table, struct pernode_entry *entry)
{
	int word = atomic_sub_return_release(PERNODE_READER, &entry->word);

	if ((word & PERNODE_SHUT) &&
	    (readers_of(word) < 0 || (!readers_of(word) && (word & PERNODE_WAKE))))
		rcuwait_wake_up(&table->gate->writer);
}

/*
 * The same, by one that is shut.  If it drains its counts are as good as any other's.  If it is
 * closed it counts nobody, but for who was about to come in and takes that back, here: who
 * finds no count left to take has come on another node, or stands for one who has.
 */
static void leave_shut(struct pernode_table *table, struct pernode_entry *entry)
{
	struct pernode_gate *gate = table->gate;
	int old = atomic_read(&entry->word);

	while (readers_of(old) > 0) {
		if (!atomic_try_cmpxchg_release(&entry->word, &old, old - PERNODE_READER))
			continue;
		if (readers_of(old) == 1 && (old & PERNODE_SHUT) && (old & PERNODE_WAKE))
			rcuwait_wake_up(&gate->writer);
		return;
	}
	/* It is counted elsewhere, so no entry is closed now; one may be opened. */
	if (node_isset(entry->node, gate->open)) {
		leave(table, entry);
		return;
	}
	atomic_dec_return_release(&gate->strays);
	rcuwait_wake_up(&gate->writer);
}

/*
 * Readers come by an entry, if that is open.  All at once: a writer that looks at the entries one
 * by one must not find them anew where it has looked.
 */
static __always_inline bool enter_many(struct pernode_table *table, struct pernode_entry *entry,
				       int readers)
{
	int word = atomic_read(&entry->word);

	if (word & PERNODE_SHUT)
		return false;
	word = atomic_add_return_acquire(readers * PERNODE_READER, &entry->word);
	if (likely(!(word & PERNODE_STATE)))
		return true;
	if (!(word & PERNODE_SHUT)) {
		atomic_andnot(PERNODE_UNUSED, &entry->word);
		return true;
	}
	while (readers--)
		leave_shut(table, entry);
	return false;
}

static bool enter(struct pernode_table *table, struct pernode_entry *entry)
{
	return enter_many(table, entry, 1);
}

/* The caller holds the gate for reading, so no writer is in: open the entry, for so many. */
static void enter_opening(struct pernode_gate *gate, struct pernode_entry *entry, int readers)
{
	int old = atomic_read(&entry->word);

	/* Before it is: who comes in by it may ask pernode_rwsem_is_locked(). */
	node_set(entry->node, gate->open);
	while (!atomic_try_cmpxchg(&entry->word, &old,
				   (old & ~PERNODE_STATE) + readers * PERNODE_READER))
		;
}

/* A reader that waits at its node's entry, for the one that opens it */
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

/* The opener comes in, with all who wait for it: by the entry, or the gate if that is free. */
static bool come_in(struct pernode_table *table, struct pernode_entry *entry,
		    struct list_head *wake)
{
	struct pernode_gate *gate = table->gate;
	struct waiter *w;
	bool in, by_gate;
	int readers;

	do {
		by_gate = atomic_read(&entry->word) & PERNODE_SHUT;
		if (by_gate) {
			node_set(entry->node, gate->wanted);
			/* See take_wanted(). */
			smp_store_release(&gate->look, 1);
			/* Who writes looks when it has left: see open_wanted(). */
			smp_mb();
			if (!down_read_trylock(&gate->rwsem))
				return false;
			node_clear(entry->node, gate->wanted);
		}
		raw_spin_lock(&entry->lock);
		readers = 1;
		list_for_each_entry(w, &entry->waiters, list)
			readers++;
		if (by_gate)
			enter_opening(gate, entry, readers);
		in = by_gate || enter_many(table, entry, readers);
		if (in) {
			list_for_each_entry(w, &entry->waiters, list)
				w->what = IN;
			list_splice_init(&entry->waiters, wake);
		}
		raw_spin_unlock(&entry->lock);
		if (by_gate)
			up_read(&gate->rwsem);
	} while (!in);
	return true;
}

/* Come in for all readers of this node that wait; entry->opening is set. */
static int open_entry(struct pernode_table *table, struct pernode_entry *entry, unsigned int state)
{
	struct waiter *w, *next;
	LIST_HEAD(wake);
	int err;

	err = rcuwait_wait_event(&entry->opener, come_in(table, entry, &wake), state);
	/* Some may have come since.  Not before this has left @opener: there is one at a time. */
	raw_spin_lock(&entry->lock);
	if (!list_empty(&entry->waiters)) {
		w = list_first_entry(&entry->waiters, struct waiter, list);
		w->what = OPENS;
		list_move(&w->list, &wake);
	} else {
		entry->opening = false;
		if (err)
			node_clear(entry->node, table->gate->wanted);
	}
	raw_spin_unlock(&entry->lock);
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

/*
 * Spin once more?  For as long as a write phase may take: it moves each node's page to the
 * writer and back, and writers follow each other.  To sleep and be woken moves two pages more
 * for each task, and keeps who wakes from its work.  @until is 0 at first.
 */
static bool spin(struct pernode_table *table, u64 *until, unsigned int state)
{
	u64 now = local_clock();

	if (!*until)
		*until = now + nodes_weight(table->own) * PERNODE_SPIN_NS;
	if (now >= *until || need_resched() || signal_pending_state(state, current))
		return false;
	cpu_relax();
	return true;
}

/*
 * Spin, node-locally, until the entry opens.  Not where nobody is sure to do that soon: where no
 * reader had come, a writer leaves it closed; and one that sleeps waits for a long reader.
 */
static bool spin_to_enter(struct pernode_table *table, unsigned int state)
{
	struct pernode_entry *entry;
	u64 until = 0;

	do {
		entry = local_entry(table);
		if (enter(table, entry))
			return true;
		if (atomic_read(&entry->word) & (PERNODE_UNUSED | PERNODE_WAKE))
			return false;
	} while (spin(table, &until, state));
	return false;
}

static int enter_slow(struct pernode_table *table, unsigned int state)
{
	struct waiter w = { .task = current, .what = WAITS };
	struct pernode_entry *entry;
	bool in, first;
	int err;

	if (spin_to_enter(table, state))
		return 0;
	entry = local_entry(table);
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
	return open_entry(table, entry, state);
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
 * With interrupts off it fails also when this node's entry is closed with no writer in: opening
 * the entry takes the gate, leaving the gate may wake a task, and the caller may hold a run
 * queue's lock.
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
	while (!in && !(old & PERNODE_SHUT))
		in = atomic_try_cmpxchg_acquire(&entry->word, &old,
						(old & ~PERNODE_STATE) + PERNODE_READER);
	if (!in && !irqs_disabled() && down_read_trylock(&table->gate->rwsem)) {
		enter_opening(table->gate, entry, 1);
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

	if (likely(!(atomic_read(&entry->word) & PERNODE_SHUT)))
		leave(table, entry);
	else
		leave_shut(table, entry);
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
static bool balance(struct pernode_table *table, const nodemask_t *open)
{
	struct pernode_gate *gate = table->gate;
	int node, lack = 0;
	bool mended;

	if (atomic_read(&gate->strays))
		lack = -atomic_xchg(&gate->strays, 0);
	mended = lack;
	for_each_node_mask(node, *open) {
		atomic_t *word = &table->entry[node]->word;
		int readers = readers_of(atomic_read(word));

		if (readers >= 0)
			continue;
		atomic_sub(readers * PERNODE_READER, word);
		lack -= readers;
		mended = true;
	}
	if (!lack)
		return mended;
	for_each_node_mask(node, *open) {
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

/* Are there readers in by this entry?  If the writer is about to @sleep, the last will wake it. */
static bool entry_busy(struct pernode_entry *entry, bool sleep)
{
	int word = atomic_read_acquire(&entry->word);

	if (sleep && readers_of(word) && !(word & PERNODE_WAKE))
		word = atomic_fetch_or_acquire(PERNODE_WAKE, &entry->word);
	return readers_of(word);
}

/*
 * Have all left?  Each count has to be 0, not only their sum: once closed, an entry is no
 * longer part of sums.  When they are, @strays is.
 */
static bool drained(struct pernode_table *table, const nodemask_t *open, bool sleep)
{
	bool nobody;
	int node;

	do {
		nobody = true;
		for_each_node_mask(node, *open)
			if (entry_busy(table->entry[node], sleep))
				nobody = false;
	} while (!nobody && balance(table, open));
	return nobody;
}

/*
 * The writer has the gate.  Shut all open entries, at once, and wait for who is in.  New readers
 * wait, so there is no starving, and no backing out but for a signal.
 */
static noinline int drain(struct pernode_table *table, unsigned int state)
{
	struct pernode_gate *gate = table->gate;
	nodemask_t open = gate->open;	/* the gate's page comes and goes meanwhile */
	u64 until = 0;
	int node, err = 0;

	if (nodes_empty(open))
		return 0;
	for_each_node_mask(node, open)
		atomic_or(PERNODE_SHUT, &table->entry[node]->word);
	/* While it spins the writers behind it do, too. */
	while (!drained(table, &open, false)) {
		if (spin(table, &until, state))
			continue;
		err = rcuwait_wait_event(&gate->writer, drained(table, &open, true), state);
		break;
	}
	for_each_node_mask(node, open) {
		atomic_t *word = &table->entry[node]->word;

		if (err)
			atomic_andnot(PERNODE_SHUT | PERNODE_WAKE, word);
		else if (!(atomic_read(word) & PERNODE_UNUSED))
			node_set(node, gate->used);
	}
	if (err)
		return err;
	for_each_node_mask(node, open)
		node_clear(node, gate->open);
	if (!nodes_empty(gate->used))
		WRITE_ONCE(gate->look, 1);
	return 0;
}

/* The caller has the gate: open entries that are closed. */
static void open_entries(struct pernode_table *table, const nodemask_t *nodes)
{
	struct pernode_gate *gate = table->gate;
	int node, old;

	for_each_node_mask(node, *nodes)
		node_set(node, gate->open);
	for_each_node_mask(node, *nodes) {
		old = PERNODE_SHUT;
		while (!atomic_try_cmpxchg(&table->entry[node]->word, &old,
					   old & PERNODE_SHUT ?
					   (old & ~PERNODE_STATE) | PERNODE_UNUSED : old))
			;
	}
}

/*
 * Does a writer wait for the gate, asleep or not?  If so it will look for openers later, when it
 * has left the gate or been killed.  Readers do not wait there.  A count would be surer, but
 * each writer that comes would take the page for it.
 */
static bool writers_wait(struct pernode_gate *gate)
{
#if defined(CONFIG_RWSEM_SPIN_ON_OWNER) && !defined(CONFIG_PREEMPT_RT)
	if (osq_is_locked(&gate->rwsem.osq))
		return true;
#endif
	return rwsem_is_contended(&gate->rwsem);
}

/* Does an opener sleep?  Node by node: the mask as a whole changes meanwhile. */
static bool any_wanted(struct pernode_table *table)
{
	int node;

	for_each_node_mask(node, table->own)
		if (node_isset(node, table->gate->wanted))
			return true;
	return false;
}

/* Take the nodes whose opener sleeps out of @wanted; @used is the caller's business. */
static nodemask_t take_wanted(struct pernode_table *table)
{
	struct pernode_gate *gate = table->gate;
	nodemask_t wanted = NODE_MASK_NONE;
	int node;

	/* First: who comes to be wanted after this looks will set it again. */
	WRITE_ONCE(gate->look, 0);
	smp_mb();	/* pairs with the release in come_in() */
	for_each_node_mask(node, table->own) {
		if (!node_isset(node, gate->wanted))
			continue;
		node_clear(node, gate->wanted);
		node_set(node, wanted);
	}
	return wanted;
}

static void wake_openers(struct pernode_table *table, const nodemask_t *nodes)
{
	int node;

	for_each_node_mask(node, *nodes)
		rcuwait_wake_up(&table->entry[node]->opener);
}

/*
 * If nobody who writes is left to do it, open the entries that openers have come to meanwhile.
 * Who has the gate by now, or waits for it, will look when it leaves.
 */
static void open_wanted(struct pernode_table *table)
{
	struct pernode_gate *gate = table->gate;
	nodemask_t wanted;

	/* The gate was left, or its queue, before this looks: see come_in(). */
	smp_mb();
	if (!READ_ONCE(gate->look) || !any_wanted(table) || writers_wait(gate) ||
	    !down_read_trylock(&gate->rwsem))
		return;
	wanted = take_wanted(table);
	open_entries(table, &wanted);
	if (!nodes_empty(gate->used))
		WRITE_ONCE(gate->look, 1);
	up_read(&gate->rwsem);
	wake_openers(table, &wanted);
}

/*
 * The writer is about to leave: if no other wants in, or enough have been in, open the entries
 * that readers came by before, as they may spin there, and those where they sleep.  Returns
 * the nodes to wake them on: later, as an entry's page is quickly moved, and two for a task are
 * not.
 */
static nodemask_t reopen(struct pernode_table *table, bool always)
{
	struct pernode_gate *gate = table->gate;
	nodemask_t nodes, wanted = NODE_MASK_NONE;
	int burst;

	/* It writes the gate's page first: to read, and then to write, moves it twice. */
	burst = atomic_inc_return(&gate->burst);
	if (!READ_ONCE(gate->look) || (!always && burst < PERNODE_BURST && writers_wait(gate)))
		return wanted;
	atomic_set(&gate->burst, 0);
	wanted = take_wanted(table);
	nodes_or(nodes, gate->used, wanted);
	nodes_clear(gate->used);
	open_entries(table, &nodes);
	return wanted;
}

/* Lock an expanded lock for writing.  Not inline: a lock on one node saves no registers for it. */
static noinline int write_table(struct pernode_rwsem *sem, int subclass, unsigned int state,
				unsigned long ip)
{
	struct pernode_gate *gate = sem->table->gate;
	int err = 0;

	rwsem_acquire(&sem->rwsem.dep_map, subclass, 0, ip);
	if (state == TASK_KILLABLE)
		err = down_write_killable(&gate->rwsem);
	else
		down_write_nested(&gate->rwsem, subclass);
	if (!err) {
		err = drain(sem->table, state);
		if (err)
			up_write(&gate->rwsem);
	}
	if (err) {
		open_wanted(sem->table);
		rwsem_release(&sem->rwsem.dep_map, ip);
	}
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

/* Not inline: a lock on one node does without what this has on its stack. */
static noinline void up_write_table(struct pernode_table *table)
{
	nodemask_t wake = reopen(table, false);

	up_write(&table->gate->rwsem);
	wake_openers(table, &wake);
	open_wanted(table);
}

/**
 * pernode_up_write - unlock what was locked for writing
 * @sem: the lock
 *
 * It opens the entries, if there is no other writer, or too many have been.  The lock must live
 * until this returns.
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
	up_write_table(sem->table);
}
EXPORT_SYMBOL_GPL(pernode_up_write);

static noinline void downgrade_table(struct pernode_table *table)
{
	nodemask_t wake = reopen(table, true);

	downgrade_write(&table->gate->rwsem);
	enter_opening(table->gate, local_entry(table), 1);
	up_read(&table->gate->rwsem);
	wake_openers(table, &wake);
	open_wanted(table);
}

/**
 * pernode_downgrade_write - go on as a reader
 * @sem: the lock, held for writing
 *
 * Context: any in which a task may be woken.
 */
void pernode_downgrade_write(struct pernode_rwsem *sem)
{
	if (!sem->table) {
		downgrade_write(&sem->rwsem);
		return;
	}
	downgrade_table(sem->table);
	lock_downgrade(&sem->rwsem.dep_map, _RET_IP_);
}
EXPORT_SYMBOL_GPL(pernode_downgrade_write);

/**
 * pernode_rwsem_is_locked - is somebody in?
 * @sem: the lock
 *
 * For assertions: true if the caller holds the lock, but also when readers have been in since
 * the last writer: adding up what comes and goes meanwhile would be no surer.
 *
 * Context: any.
 * Return: whether.
 */
bool pernode_rwsem_is_locked(struct pernode_rwsem *sem)
{
	struct pernode_table *table = sem->table;
	int node;

	if (!table)
		return rwsem_is_locked(&sem->rwsem);
	if (!(atomic_read(&local_entry(table)->word) & (PERNODE_SHUT | PERNODE_UNUSED)) ||
	    rwsem_is_locked(&table->gate->rwsem))
		return true;
	/*
	 * While a reader is in the entry that it came by is in @open, and not unused.  Node by
	 * node: the mask as a whole changes meanwhile.
	 */
	for_each_node_mask(node, table->own)
		if (node_isset(node, table->gate->open) &&
		    !(atomic_read(&table->entry[node]->word) & PERNODE_UNUSED))
			return true;
	return false;
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
	struct pernode_table *table = sem->table;
	struct pernode_entry *entry;

	if (!table)
		return rwsem_is_contended(&sem->rwsem);
	entry = local_entry(table);
	return ((atomic_read(&entry->word) & PERNODE_SHUT) &&
		node_isset(entry->node, table->gate->open)) ||
	       rwsem_is_contended(&table->gate->rwsem) || any_wanted(table);
}
EXPORT_SYMBOL_GPL(pernode_rwsem_is_contended);

/**
 * pernode_slot_leave - a reader leaves, on whichever node
 * @table: a lock's table
 * @slot: below PERNODE_SLOTS
 *
 * Context: any in which a task may be woken.
 */
void pernode_slot_leave(struct pernode_table *table, unsigned int slot)
{
	struct pernode_entry *entry = local_entry(table);

	/* Full barrier: a writer counts this, or is seen to wait. */
	atomic_inc_return(&entry->slot[slot].left);
	if (unlikely(pernode_slot_awaited(entry, slot)))
		rcuwait_wake_up(&table->gate->writer);
}
EXPORT_SYMBOL_GPL(pernode_slot_leave);

/**
 * pernode_slot_readers - how many readers are in
 * @table: a lock's table
 * @slot: below PERNODE_SLOTS
 *
 * Who has left is counted first, as SRCU does it: each of those is among who has come.  So a
 * reader that came before the call and is in at its end is counted, whoever comes and goes
 * meanwhile, and where; who comes meanwhile may be.
 *
 * Context: any.
 * Return: how many; an acquire, so that what they did can be seen when there are none.
 */
int pernode_slot_readers(struct pernode_table *table, unsigned int slot)
{
	unsigned int readers = 0;
	int node;

	for_each_node_mask(node, table->own)
		readers -= atomic_read_acquire(&table->entry[node]->slot[slot].left);
	for_each_node_mask(node, table->own)
		readers += atomic_read(&table->entry[node]->slot[slot].came);
	return readers;
}
EXPORT_SYMBOL_GPL(pernode_slot_readers);

/* Say on each node which slot is waited for; 0: none. */
static void await_slot(struct pernode_table *table, unsigned int awaited)
{
	int node;

	for_each_node_mask(node, table->own)
		WRITE_ONCE(table->entry[node]->awaited, awaited);
}

/**
 * pernode_slot_wait - wait until those have left who have come by a slot
 * @table: a lock's table
 * @slot: below PERNODE_SLOTS
 *
 * For who holds the lock for writing, and has said what readers look at when they have come: they
 * leave again, and do not delay this for ever.  Nor do others, see pernode_slot_try_enter().
 *
 * Context: may sleep.
 */
void pernode_slot_wait(struct pernode_table *table, unsigned int slot)
{
	smp_mb();	/* a reader sees what was said, or is counted */
	if (!pernode_slot_readers(table, slot))
		return;
	await_slot(table, slot + 1);
	rcuwait_wait_event(&table->gate->writer, !pernode_slot_readers(table, slot),
			   TASK_UNINTERRUPTIBLE);
	await_slot(table, 0);
}
EXPORT_SYMBOL_GPL(pernode_slot_wait);
