// SPDX-License-Identifier: GPL-2.0-only
/*
 * The baseline `percpu`: today's percpu-rwsem's algorithm.  A reader counts itself on its CPU,
 * then looks whether a writer blocks; a writer blocks, then waits until the counts add up to 0.
 * Who is blocked queues up, first come, first served, readers in batches.
 *
 * The state after a first writer: readers pay the full barrier and the look at @block, writers
 * need no grace period.  A real one goes back to cheaper readers when no writer has come for a
 * grace period, and the next writer then waits for one, which is milliseconds.
 */
#include "lock.h"
#include "sim.h"

struct count {
	atomic_t readers;
} __aligned(SMP_CACHE_BYTES);

struct sleeper {
	struct list_head list;
	struct task_struct *task;
	bool writer;
};

struct percpu {
	int block;
	struct rcuwait writer;
	raw_spinlock_t wait_lock;
	struct list_head wait_list;
	struct count *count[MAX_NUMNODES];	/* by node, a page of its CPUs' counts */
};

static void init(void *lock, int moves)
{
	struct percpu *p = lock;
	int node;

	(void)moves;
	p->block = 0;
	rcuwait_init(&p->writer);
	raw_spin_lock_init(&p->wait_lock);
	INIT_LIST_HEAD(&p->wait_list);
	for_each_online_node(node)
		p->count[node] = page_address(alloc_pages_node(node, GFP_KERNEL, 0));
}

static atomic_t *mine(struct percpu *p)
{
	return &p->count[numa_node_id()][current->cpu].readers;
}

static bool read_try(struct percpu *p)
{
	atomic_inc(mine(p));
	smp_mb();	/* counted, then the look; the writer blocks, then adds up */
	if (likely(!smp_load_acquire(&p->block)))
		return true;
	smp_mb();
	atomic_dec(mine(p));
	rcuwait_wake_up(&p->writer);
	return false;
}

static bool write_try(struct percpu *p)
{
	return !READ_ONCE(p->block) && !xchg(&p->block, 1);
}

/*
 * The one who unblocks hands the lock on: to all readers that wait, or up to the first writer
 * that can have it.
 */
static void hand_on(struct percpu *p)
{
	struct list_head *at, *next;
	struct task_struct *task[SIM_THREADS];
	int nr = 0, i;

	raw_spin_lock(&p->wait_lock);
	for (at = p->wait_list.next; at != &p->wait_list; at = next) {
		struct sleeper *s = list_entry(at, struct sleeper, list);
		bool writer = s->writer;

		next = at->next;
		if (writer ? !write_try(p) : !read_try(p))
			break;
		list_del(at);
		task[nr++] = s->task;
		smp_store_release(&s->task, NULL);
		if (writer)
			break;
	}
	raw_spin_unlock(&p->wait_lock);
	for (i = 0; i < nr; i++)
		wake_up_process(task[i]);
}

static void wait(struct percpu *p, bool writer)
{
	struct sleeper me = { .task = current, .writer = writer };

	raw_spin_lock(&p->wait_lock);
	if (list_empty(&p->wait_list) && (writer ? write_try(p) : read_try(p))) {
		raw_spin_unlock(&p->wait_lock);
		return;
	}
	list_add_tail(&me.list, &p->wait_list);
	raw_spin_unlock(&p->wait_lock);
	for (;;) {
		set_current_state(TASK_UNINTERRUPTIBLE);
		if (!smp_load_acquire(&me.task))
			break;
		schedule();
	}
	__set_current_state(TASK_RUNNING);
}

static void rd(void *lock)
{
	struct percpu *p = lock;

	if (!read_try(p))
		wait(p, false);
}

static int rd_try(void *lock)
{
	return read_try(lock);
}

static void rd_up(void *lock)
{
	struct percpu *p = lock;

	smp_mb();
	atomic_fetch_dec_release(mine(p));
	rcuwait_wake_up(&p->writer);
}

static bool nobody(struct percpu *p)
{
	int node, cpu, sum = 0;

	for_each_online_node(node)
		for (cpu = 0; cpu < SIM_THREADS; cpu++)
			sum += atomic_read_acquire(&p->count[node][cpu].readers);
	return !sum;
}

static void wr(void *lock)
{
	struct percpu *p = lock;

	if (!write_try(p))
		wait(p, true);
	smp_mb();
	rcuwait_wait_event(&p->writer, nobody(p), TASK_UNINTERRUPTIBLE);
}

static void wr_up(void *lock)
{
	struct percpu *p = lock;

	smp_store_release(&p->block, 0);
	smp_mb();
	hand_on(p);
}

static const char *check(void *lock)
{
	struct percpu *p = lock;

	if (p->block || !list_empty(&p->wait_list))
		return "the lock is left blocked";
	return nobody(p) ? NULL : "the counts do not add up to 0";
}

const struct lock_ops lock_percpu = {
	.name = "percpu",
	.size = sizeof(struct percpu),
	.init = init,
	.down_read = rd,
	.down_read_trylock = rd_try,
	.up_read = rd_up,
	.down_write = wr,
	.up_write = wr_up,
	.check = check,
};
