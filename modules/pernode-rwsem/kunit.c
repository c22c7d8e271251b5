// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of pernode_rwsem: what one thread alone can see of its contracts, in each state
 * of a lock.  What takes more threads is torture.c's.
 *
 * No test can hang: one that takes the lock where it has to be free is killed first, and a task
 * that is killed gets what is free, but does not wait.  A test stays on its CPU, so that its
 * node's entry is one.
 */
#undef pr_fmt	/* compat.h came first */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/err.h>
#include <linux/irqflags.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pernode_rwsem.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>

/* Most contracts are the same before and after expansion. */
struct kind {
	const char *name;
	bool expanded;
};

static const struct kind kinds[] = {
	{ "one node", false },
	{ "expanded", true },
};

static void kind_name(const struct kind *kind, char *name)
{
	strscpy(name, kind->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(kind, kinds, kind_name);

static bool expanded(struct kunit *test)
{
	const struct kind *kind = test->param_value;

	return kind && kind->expanded;
}

static int lock_init(struct kunit *test)
{
	struct pernode_rwsem *sem = kunit_kzalloc(test, sizeof(*sem), GFP_KERNEL);

	if (!sem)
		return -ENOMEM;
	test->priv = sem;
	pernode_rwsem_init(sem);
	set_cpus_allowed_ptr(current, cpumask_of(raw_smp_processor_id()));
	return expanded(test) ? pernode_rwsem_expand(sem) : 0;
}

static void lock_exit(struct kunit *test)
{
	if (test->priv)
		pernode_rwsem_destroy(test->priv);
}

static void be_killed(void)
{
	allow_signal(SIGKILL);
	send_sig(SIGKILL, current, 1);
}

static void be_alive(void)
{
	flush_signals(current);
	disallow_signal(SIGKILL);
}

/* The lock has to be free for a writer. */
static void write_at_once(struct kunit *test, struct pernode_rwsem *sem)
{
	int err;

	be_killed();
	err = pernode_down_write_killable(sem);
	be_alive();
	KUNIT_ASSERT_EQ(test, err, 0);
	KUNIT_EXPECT_TRUE(test, pernode_rwsem_is_locked(sem));
}

/* The lock has to be free for a reader. */
static void read_at_once(struct kunit *test, struct pernode_rwsem *sem)
{
	int err;

	be_killed();
	err = pernode_down_read_killable(sem);
	be_alive();
	KUNIT_ASSERT_EQ(test, err, 0);
	KUNIT_EXPECT_TRUE(test, pernode_rwsem_is_locked(sem));
}

static int try_with_irqs_off(struct pernode_rwsem *sem)
{
	unsigned long flags;
	int locked;

	local_irq_save(flags);
	locked = pernode_down_read_trylock(sem);
	local_irq_restore(flags);
	return locked;
}

static struct pernode_entry *own_entry(struct pernode_rwsem *sem)
{
	return pernode_table_entry(sem->table, numa_node_id());
}

/* Nobody is in, and no reader has been since the last writer: as that leaves it. */
static void expect_free(struct kunit *test, struct pernode_rwsem *sem)
{
	int node;

	KUNIT_EXPECT_FALSE(test, pernode_rwsem_is_locked(sem));
	KUNIT_EXPECT_FALSE(test, pernode_rwsem_is_contended(sem));
	KUNIT_EXPECT_FALSE(test, rwsem_is_locked(&sem->rwsem));
	if (!sem->table)
		return;
	KUNIT_EXPECT_FALSE(test, rwsem_is_locked(&sem->table->gate->rwsem));
	KUNIT_EXPECT_EQ(test, atomic_read(&sem->table->gate->strays), 0);
	KUNIT_EXPECT_TRUE(test, nodes_empty(sem->table->gate->wanted));
	KUNIT_EXPECT_TRUE(test, nodes_empty(sem->table->gate->used));
	for_each_online_node(node) {
		struct pernode_entry *entry = pernode_table_entry(sem->table, node);
		int word = atomic_read(&entry->word);

		KUNIT_EXPECT_EQ(test, word & ~(PERNODE_SHUT | PERNODE_UNUSED | PERNODE_WAKE), 0);
		if (node_isset(node, sem->table->gate->open))
			KUNIT_EXPECT_EQ(test, word, (int)PERNODE_UNUSED);
		else
			KUNIT_EXPECT_TRUE(test, word & PERNODE_SHUT);
		KUNIT_EXPECT_FALSE(test, entry->opening);
		KUNIT_EXPECT_TRUE(test, list_empty(&entry->waiters));
	}
}

static void init_test(struct kunit *test)
{
	struct pernode_rwsem *sem = test->priv;

	expect_free(test, sem);
	KUNIT_EXPECT_PTR_EQ(test, sem->table, NULL);
	KUNIT_EXPECT_EQ(test, sem->moves, 0U);
	KUNIT_EXPECT_EQ(test, sem->last_node, numa_node_id());
}

static void read_test(struct kunit *test)
{
	struct pernode_rwsem *sem = test->priv;

	pernode_down_read(sem);
	KUNIT_EXPECT_TRUE(test, pernode_rwsem_is_locked(sem));
	KUNIT_EXPECT_FALSE(test, pernode_rwsem_is_contended(sem));
	if (expanded(test)) {
		KUNIT_EXPECT_EQ(test, atomic_read(&own_entry(sem)->word),
				PERNODE_OPEN + PERNODE_READER);
		KUNIT_EXPECT_FALSE(test, rwsem_is_locked(&sem->table->gate->rwsem));
		KUNIT_EXPECT_EQ(test, nodes_weight(sem->table->gate->open), 1);
	} else {
		KUNIT_EXPECT_TRUE(test, rwsem_is_locked(&sem->rwsem));
	}
	pernode_up_read(sem);
	/* Once it is open, an entry takes readers without the gate, and stays so. */
	if (expanded(test))
		KUNIT_EXPECT_EQ(test, atomic_read(&own_entry(sem)->word), (int)PERNODE_OPEN);
	read_at_once(test, sem);
	pernode_up_read(sem);
	write_at_once(test, sem);
	pernode_up_write(sem);
	expect_free(test, sem);
}

static void write_test(struct kunit *test)
{
	struct pernode_rwsem *sem = test->priv;

	/* A reader has been in: its entry is open. */
	pernode_down_read(sem);
	pernode_up_read(sem);
	pernode_down_write(sem);
	KUNIT_EXPECT_TRUE(test, pernode_rwsem_is_locked(sem));
	KUNIT_EXPECT_FALSE(test, pernode_rwsem_is_contended(sem));
	KUNIT_EXPECT_TRUE(test, pernode_rwsem_is_write_locked(sem));
	if (expanded(test)) {
		KUNIT_EXPECT_FALSE(test, rwsem_is_locked(&sem->rwsem));
		KUNIT_EXPECT_TRUE(test, nodes_empty(sem->table->gate->open));
	}
	KUNIT_EXPECT_EQ(test, pernode_down_read_trylock(sem), 0);
	pernode_up_write(sem);
	expect_free(test, sem);
}

static void nested_test(struct kunit *test)
{
	struct pernode_rwsem sems[2], *sem;
	int i;

	/* Of one class, as two mmap_locks are */
	for (i = 0; i < ARRAY_SIZE(sems); i++) {
		sem = &sems[i];
		pernode_rwsem_init(sem);
		if (expanded(test))
			KUNIT_EXPECT_EQ(test, pernode_rwsem_expand(sem), 0);
	}
	pernode_down_write(&sems[0]);
	pernode_down_write_nested(&sems[1], SINGLE_DEPTH_NESTING);
	KUNIT_EXPECT_TRUE(test, pernode_rwsem_is_locked(&sems[0]));
	KUNIT_EXPECT_TRUE(test, pernode_rwsem_is_locked(&sems[1]));
	pernode_up_write(&sems[1]);
	pernode_up_write(&sems[0]);
	for (i = 0; i < ARRAY_SIZE(sems); i++) {
		expect_free(test, &sems[i]);
		pernode_rwsem_destroy(&sems[i]);
	}
}

/* trylock with a writer in, with nobody in, and with readers in */
static void trylock_test(struct kunit *test)
{
	struct pernode_rwsem *sem = test->priv;

	pernode_down_write(sem);
	KUNIT_EXPECT_EQ(test, pernode_down_read_trylock(sem), 0);
	KUNIT_EXPECT_EQ(test, try_with_irqs_off(sem), 0);
	pernode_up_write(sem);
	expect_free(test, sem);
	KUNIT_ASSERT_EQ(test, pernode_down_read_trylock(sem), 1);
	KUNIT_EXPECT_EQ(test, pernode_down_read_trylock(sem), 1);
	KUNIT_EXPECT_EQ(test, try_with_irqs_off(sem), 1);
	pernode_up_read(sem);
	pernode_up_read(sem);
	KUNIT_EXPECT_TRUE(test, pernode_rwsem_is_locked(sem));
	pernode_up_read(sem);
	KUNIT_EXPECT_EQ(test, pernode_down_read_trylock(sem), 1);
	pernode_up_read(sem);
	write_at_once(test, sem);
	pernode_up_write(sem);
	expect_free(test, sem);
}

/* With interrupts off nobody goes through the gate of a lock that has entries, or soon will. */
static void trylock_irqs_off_test(struct kunit *test)
{
	struct pernode_rwsem *sem = test->priv;

	if (expanded(test)) {
		KUNIT_EXPECT_EQ(test, try_with_irqs_off(sem), 0);
		KUNIT_ASSERT_EQ(test, pernode_down_read_trylock(sem), 1);
		pernode_up_read(sem);
		KUNIT_ASSERT_EQ(test, try_with_irqs_off(sem), 1);
		pernode_up_read(sem);
		/* A writer drains: the entry takes nobody more. */
		atomic_or(PERNODE_SHUT, &own_entry(sem)->word);
		KUNIT_EXPECT_EQ(test, try_with_irqs_off(sem), 0);
		atomic_andnot(PERNODE_SHUT, &own_entry(sem)->word);
		/* One that leaves opens the entry again, which takes no gate. */
		write_at_once(test, sem);
		KUNIT_EXPECT_EQ(test, try_with_irqs_off(sem), 0);
		pernode_up_write(sem);
		KUNIT_ASSERT_EQ(test, try_with_irqs_off(sem), 1);
		KUNIT_EXPECT_EQ(test, atomic_read(&own_entry(sem)->word),
				PERNODE_OPEN + PERNODE_READER);
		pernode_up_read(sem);
		return;
	}
	KUNIT_ASSERT_EQ(test, try_with_irqs_off(sem), 1);
	pernode_up_read(sem);
	sem->moves = PERNODE_MOVES;
	KUNIT_EXPECT_EQ(test, try_with_irqs_off(sem), 0);
	KUNIT_ASSERT_EQ(test, pernode_down_read_trylock(sem), 1);
	pernode_up_read(sem);
	expect_free(test, sem);
}

/* To lockdep what this task has locked for writing is somebody else's, until own_again(). */
static void disown(struct pernode_rwsem *sem)
{
	rwsem_release(&sem->rwsem.dep_map, _RET_IP_);
	if (sem->table)
		rwsem_release(&sem->table->gate->rwsem.dep_map, _RET_IP_);
}

static void own_again(struct pernode_rwsem *sem)
{
	rwsem_acquire(&sem->rwsem.dep_map, 0, 1, _RET_IP_);
	if (sem->table)
		rwsem_acquire(&sem->table->gate->rwsem.dep_map, 0, 1, _RET_IP_);
}

/* A killed task waits for nobody who is in, and leaves no trace of having tried. */
static void killed_test(struct kunit *test)
{
	struct pernode_rwsem *sem = test->priv;
	int err;

	pernode_down_read(sem);
	/* To lockdep this is somebody else's from here on. */
	rwsem_release(&sem->rwsem.dep_map, _RET_IP_);
	be_killed();
	err = pernode_down_write_killable(sem);
	be_alive();
	KUNIT_EXPECT_EQ(test, err, -EINTR);
	KUNIT_EXPECT_FALSE(test, pernode_rwsem_is_contended(sem));
	/* The writer gave up: readers come as before. */
	if (expanded(test))
		KUNIT_EXPECT_EQ(test, atomic_read(&own_entry(sem)->word),
				PERNODE_OPEN + PERNODE_READER);
	KUNIT_EXPECT_EQ(test, pernode_down_read_trylock(sem), 1);
	pernode_up_read(sem);
	pernode_up_read_non_owner(sem);

	write_at_once(test, sem);
	disown(sem);
	be_killed();
	err = pernode_down_read_killable(sem);
	KUNIT_EXPECT_EQ(test, err, -EINTR);
	err = pernode_down_write_killable(sem);
	KUNIT_EXPECT_EQ(test, err, -EINTR);
	be_alive();
	KUNIT_EXPECT_TRUE(test, pernode_rwsem_is_locked(sem));
	own_again(sem);
	pernode_up_write(sem);
	expect_free(test, sem);
}

static void downgrade_test(struct kunit *test)
{
	struct pernode_rwsem *sem = test->priv;
	int err;

	pernode_down_write(sem);
	pernode_downgrade_write(sem);
	KUNIT_EXPECT_TRUE(test, pernode_rwsem_is_locked(sem));
	/* Readers come in, writers do not. */
	KUNIT_EXPECT_EQ(test, pernode_down_read_trylock(sem), 1);
	pernode_up_read(sem);
	rwsem_release(&sem->rwsem.dep_map, _RET_IP_);
	be_killed();
	err = pernode_down_write_killable(sem);
	be_alive();
	KUNIT_EXPECT_EQ(test, err, -EINTR);
	rwsem_acquire_read(&sem->rwsem.dep_map, 0, 1, _RET_IP_);
	if (expanded(test))
		KUNIT_EXPECT_FALSE(test, rwsem_is_locked(&sem->table->gate->rwsem));
	pernode_up_read(sem);
	write_at_once(test, sem);
	pernode_up_write(sem);
	expect_free(test, sem);
}

static void non_owner_test(struct kunit *test)
{
	struct pernode_rwsem *sem = test->priv;

	pernode_down_read(sem);
	rwsem_release(&sem->rwsem.dep_map, _RET_IP_);
	pernode_up_read_non_owner(sem);
	write_at_once(test, sem);
	pernode_up_write(sem);
	expect_free(test, sem);
}

/* A writer that leaves opens what readers used, once for nothing, and not again. */
static void reopen_test(struct kunit *test)
{
	struct pernode_rwsem *sem = test->priv;
	atomic_t *word;
	int i;

	KUNIT_ASSERT_EQ(test, pernode_rwsem_expand(sem), 0);
	word = &own_entry(sem)->word;
	/* Nobody has read: it stays closed. */
	write_at_once(test, sem);
	pernode_up_write(sem);
	KUNIT_EXPECT_EQ(test, atomic_read(word), PERNODE_SHUT | PERNODE_UNUSED);
	for (i = 0; i < 2; i++) {
		read_at_once(test, sem);
		pernode_up_read(sem);
		KUNIT_EXPECT_EQ(test, atomic_read(word), (int)PERNODE_OPEN);
		write_at_once(test, sem);
		KUNIT_EXPECT_EQ(test, atomic_read(word), (int)PERNODE_SHUT);
		KUNIT_EXPECT_TRUE(test, nodes_empty(sem->table->gate->open));
		KUNIT_EXPECT_TRUE(test, node_isset(numa_node_id(), sem->table->gate->used));
		pernode_up_write(sem);
		KUNIT_EXPECT_EQ(test, atomic_read(word), (int)PERNODE_UNUSED);
		/* Open is not locked, when nobody has been in. */
		expect_free(test, sem);
	}
	write_at_once(test, sem);
	pernode_up_write(sem);
	KUNIT_EXPECT_EQ(test, atomic_read(word), PERNODE_SHUT | PERNODE_UNUSED);
	expect_free(test, sem);
	/* A writer that goes on as a reader opens it in any case. */
	pernode_down_write(sem);
	pernode_downgrade_write(sem);
	KUNIT_EXPECT_EQ(test, atomic_read(word), PERNODE_OPEN + PERNODE_READER);
	pernode_up_read(sem);
}

struct late_reader {
	struct pernode_rwsem *sem;
	struct completion done;
};

static int late_reader(void *arg)
{
	struct late_reader *late = arg;

	pernode_down_read(late->sem);
	pernode_up_read(late->sem);
	complete(&late->done);
	return 0;
}

/* A reader that finds a writer in spins, then sleeps as its node's opener, and is woken. */
static void opener_test(struct kunit *test)
{
	struct pernode_rwsem *sem = test->priv;
	struct late_reader late = { .sem = sem };
	unsigned long end = jiffies + 10 * HZ;
	struct task_struct *task;

	KUNIT_ASSERT_EQ(test, pernode_rwsem_expand(sem), 0);
	init_completion(&late.done);
	write_at_once(test, sem);
	task = kthread_create(late_reader, &late, "late_reader");
	if (IS_ERR(task)) {
		pernode_up_write(sem);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	}
	kthread_bind(task, raw_smp_processor_id());
	wake_up_process(task);
	while (!pernode_rwsem_is_contended(sem) && time_before(jiffies, end))
		schedule_timeout_uninterruptible(1);
	KUNIT_EXPECT_TRUE(test, pernode_rwsem_is_contended(sem));
	KUNIT_EXPECT_TRUE(test, node_isset(numa_node_id(), sem->table->gate->wanted));
	KUNIT_EXPECT_TRUE(test, READ_ONCE(own_entry(sem)->opening));
	pernode_up_write(sem);
	if (!wait_for_completion_timeout(&late.done, 10 * HZ)) {
		KUNIT_FAIL(test, "the opener sleeps");
		/* It has to leave this stack alone. */
		wake_up_process(task);
		wait_for_completion_timeout(&late.done, 10 * HZ);
	}
	KUNIT_EXPECT_FALSE(test, pernode_rwsem_is_contended(sem));
	write_at_once(test, sem);
	pernode_up_write(sem);
	expect_free(test, sem);
}

/* Readers leave on another node than they came on, twice, so that counts are off both ways. */
static void other_node_test(struct kunit *test)
{
	struct pernode_rwsem *sem = test->priv;
	int home = numa_node_id(), cpu, i;

	for_each_online_cpu(cpu)
		if (cpu_to_node(cpu) != home)
			break;
	if (cpu >= nr_cpu_ids)
		kunit_skip(test, "one node has CPUs, this takes two");
	for (i = 0; i < 2; i++) {
		pernode_down_read(sem);
		KUNIT_ASSERT_EQ(test, set_cpus_allowed_ptr(current, cpumask_of(cpu)), 0);
		KUNIT_ASSERT_NE(test, numa_node_id(), home);
		/* The first time the entry here is closed, the second time open. */
		pernode_up_read(sem);
		read_at_once(test, sem);
		pernode_up_read(sem);
		cpu = cpumask_first(cpumask_of_node(home));
		home = numa_node_id();
	}
	write_at_once(test, sem);
	pernode_up_write(sem);
	expect_free(test, sem);
}

/* Who comes and who leaves is counted where that is, each in the slot that is named. */
static void slot_test(struct kunit *test)
{
	struct pernode_table *table = pernode_table_alloc(GFP_KERNEL);
	const unsigned int slot = PERNODE_SLOTS - 1;
	struct pernode_entry *home, *here;
	int cpu;

	KUNIT_ASSERT_NOT_NULL(test, table);
	cpu = raw_smp_processor_id();
	KUNIT_EXPECT_EQ(test, set_cpus_allowed_ptr(current, cpumask_of(cpu)), 0);
	home = pernode_table_entry(table, numa_node_id());
	pernode_slot_wait(table, slot);
	KUNIT_EXPECT_EQ(test, pernode_slot_readers(table, slot), 0);
	pernode_slot_enter(table, slot);
	KUNIT_EXPECT_TRUE(test, pernode_slot_try_enter(table, slot));
	KUNIT_EXPECT_EQ(test, pernode_slot_readers(table, slot), 2);
	KUNIT_EXPECT_EQ(test, pernode_slot_readers(table, slot - 1), 0);
	pernode_slot_leave(table, slot);
	KUNIT_EXPECT_EQ(test, pernode_slot_readers(table, slot), 1);
	for_each_online_cpu(cpu)
		if (pernode_table_entry(table, cpu_to_node(cpu)) != home)
			break;
	if (cpu < nr_cpu_ids)
		KUNIT_EXPECT_EQ(test, set_cpus_allowed_ptr(current, cpumask_of(cpu)), 0);
	pernode_slot_leave(table, slot);
	KUNIT_EXPECT_EQ(test, pernode_slot_readers(table, slot), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&home->slot[slot].came), 2);
	KUNIT_EXPECT_EQ(test, atomic_read(&home->slot[slot].left), cpu < nr_cpu_ids ? 1 : 2);
	pernode_slot_wait(table, slot);
	/* What a writer does that waits: who leaves sees it, and finds nobody to wake. */
	here = pernode_table_entry(table, numa_node_id());
	here->awaited = slot + 1;
	KUNIT_EXPECT_FALSE(test, pernode_slot_try_enter(table, slot));
	KUNIT_EXPECT_EQ(test, pernode_slot_readers(table, slot), 0);
	KUNIT_EXPECT_TRUE(test, pernode_slot_try_enter(table, slot - 1));
	pernode_slot_leave(table, slot - 1);
	pernode_slot_enter(table, slot);
	pernode_slot_leave(table, slot);
	here->awaited = 0;
	/* The counts wrap; the difference does not mind. */
	atomic_set(&home->slot[0].came, INT_MAX);
	atomic_set(&home->slot[0].left, INT_MAX);
	atomic_inc(&home->slot[0].came);
	KUNIT_EXPECT_EQ(test, pernode_slot_readers(table, 0), 1);
	pernode_slot_leave(table, 0);
	KUNIT_EXPECT_EQ(test, pernode_slot_readers(table, 0), 0);
	pernode_table_free(table);
}

static void contended_test(struct kunit *test)
{
	struct pernode_rwsem *sem = test->priv;

	pernode_down_read(sem);
	KUNIT_EXPECT_FALSE(test, pernode_rwsem_is_contended(sem));
	if (expanded(test)) {
		/* What a writer does that waits for this reader */
		atomic_or(PERNODE_SHUT, &own_entry(sem)->word);
		KUNIT_EXPECT_TRUE(test, pernode_rwsem_is_contended(sem));
		atomic_andnot(PERNODE_SHUT, &own_entry(sem)->word);
		KUNIT_EXPECT_FALSE(test, pernode_rwsem_is_contended(sem));
	}
	pernode_up_read(sem);
}

static void table_test(struct kunit *test)
{
	struct pernode_table *table = pernode_table_alloc(GFP_KERNEL);
	struct pernode_entry *entry;
	int node;

	KUNIT_ASSERT_NOT_NULL(test, table);
	KUNIT_EXPECT_TRUE(test, PAGE_ALIGNED(table));
	KUNIT_EXPECT_TRUE(test, PAGE_ALIGNED(table->gate));
	KUNIT_EXPECT_TRUE(test, nodes_equal(table->own, node_online_map));
	for_each_node(node) {
		entry = pernode_table_entry(table, node);
		KUNIT_ASSERT_NOT_NULL(test, entry);
		if (!node_online(node)) {
			KUNIT_EXPECT_PTR_EQ(test, entry,
					    pernode_table_entry(table, first_online_node));
			continue;
		}
		/* One without memory has its entry elsewhere, but its own. */
		KUNIT_EXPECT_EQ(test, entry->node, node);
		KUNIT_EXPECT_TRUE(test, PAGE_ALIGNED(entry));
		KUNIT_EXPECT_EQ(test, atomic_read(&entry->word), PERNODE_SHUT | PERNODE_UNUSED);
		KUNIT_EXPECT_FALSE(test, entry->opening);
		KUNIT_EXPECT_TRUE(test, list_empty(&entry->waiters));
		if (node_state(node, N_MEMORY))
			KUNIT_EXPECT_EQ(test, page_to_nid(virt_to_page(entry)), node);
		else
			kunit_info(test, "node %d has no memory, its entry is on node %d", node,
				   page_to_nid(virt_to_page(entry)));
	}
	pernode_table_free(table);
	pernode_table_free(NULL);
}

static void expand_test(struct kunit *test)
{
	struct pernode_rwsem *sem = test->priv;
	struct pernode_table *table;

	KUNIT_ASSERT_EQ(test, pernode_rwsem_expand(sem), 0);
	table = sem->table;
	KUNIT_ASSERT_NOT_NULL(test, table);
	KUNIT_EXPECT_FALSE(test, pernode_rwsem_moved(sem));
	expect_free(test, sem);
	/* Once is enough. */
	KUNIT_EXPECT_EQ(test, pernode_rwsem_expand(sem), 0);
	KUNIT_EXPECT_PTR_EQ(test, sem->table, table);
	expect_free(test, sem);
}

/* The lock's user sees it move, waits for a grace period, and expands it. */
static void moved_test(struct kunit *test)
{
	struct pernode_rwsem *sem = test->priv;
	struct pernode_table *table;
	bool moved[2];
	unsigned int i;

	KUNIT_EXPECT_FALSE(test, pernode_rwsem_moved(sem));
	KUNIT_EXPECT_EQ(test, sem->moves, 0U);
	for (i = 1; i < PERNODE_MOVES; i++) {
		sem->last_node = numa_node_id() + 1;
		KUNIT_EXPECT_FALSE(test, pernode_rwsem_moved(sem));
		KUNIT_EXPECT_EQ(test, sem->moves, i);
		KUNIT_EXPECT_EQ(test, sem->last_node, numa_node_id());
		/* Staying is no move. */
		KUNIT_EXPECT_FALSE(test, pernode_rwsem_moved(sem));
		KUNIT_EXPECT_EQ(test, sem->moves, i);
	}
	KUNIT_EXPECT_EQ(test, try_with_irqs_off(sem), 1);
	pernode_up_read(sem);
	sem->last_node = numa_node_id() + 1;
	/* Not before who may be in a trylock has left it; this task stands for one. */
	rcu_read_lock();
	moved[0] = pernode_rwsem_moved(sem);
	moved[1] = pernode_rwsem_moved(sem);
	rcu_read_unlock();
	KUNIT_EXPECT_FALSE(test, moved[0]);
	KUNIT_EXPECT_FALSE(test, moved[1]);
	KUNIT_EXPECT_GE(test, sem->moves, (unsigned int)PERNODE_MOVES);
	/* From here on its users look twice. */
	KUNIT_EXPECT_EQ(test, sem->last_node, NUMA_NO_NODE);
	KUNIT_EXPECT_EQ(test, try_with_irqs_off(sem), 0);
	synchronize_rcu();
	KUNIT_ASSERT_TRUE(test, pernode_rwsem_moved(sem));

	table = pernode_table_alloc(GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, table);
	write_at_once(test, sem);
	pernode_rwsem_publish(sem, table);
	pernode_up_write(sem);
	KUNIT_EXPECT_FALSE(test, pernode_rwsem_moved(sem));
	expect_free(test, sem);
	read_at_once(test, sem);
	KUNIT_EXPECT_EQ(test, atomic_read(&own_entry(sem)->word),
			PERNODE_OPEN + PERNODE_READER);
	pernode_up_read(sem);
}

static void destroy_test(struct kunit *test)
{
	struct pernode_rwsem *sem = test->priv;

	pernode_down_read(sem);
	pernode_up_read(sem);
	pernode_rwsem_destroy(sem);
	KUNIT_EXPECT_PTR_EQ(test, sem->table, NULL);
	/* Nothing is left to free. */
	pernode_rwsem_destroy(sem);
	KUNIT_EXPECT_PTR_EQ(test, sem->table, NULL);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(init_test),
	KUNIT_CASE_PARAM(read_test, kind_gen_params),
	KUNIT_CASE_PARAM(write_test, kind_gen_params),
	KUNIT_CASE_PARAM(nested_test, kind_gen_params),
	KUNIT_CASE_PARAM(trylock_test, kind_gen_params),
	KUNIT_CASE_PARAM(trylock_irqs_off_test, kind_gen_params),
	KUNIT_CASE_PARAM(killed_test, kind_gen_params),
	KUNIT_CASE_PARAM(downgrade_test, kind_gen_params),
	KUNIT_CASE_PARAM(non_owner_test, kind_gen_params),
	KUNIT_CASE_PARAM(other_node_test, kind_gen_params),
	KUNIT_CASE(slot_test),
	KUNIT_CASE_PARAM(contended_test, kind_gen_params),
	KUNIT_CASE(table_test),
	KUNIT_CASE(reopen_test),
	KUNIT_CASE(opener_test),
	KUNIT_CASE(expand_test),
	KUNIT_CASE(moved_test),
	KUNIT_CASE_PARAM(destroy_test, kind_gen_params),
	{ }
};

static struct kunit_suite suite = {
	.name = "pernode_rwsem",
	.init = lock_init,
	.exit = lock_exit,
	.test_cases = cases,
};

kunit_test_suite(suite);

MODULE_AUTHOR("numaspan");
MODULE_DESCRIPTION("KUnit tests of pernode_rwsem");
MODULE_LICENSE("GPL");
