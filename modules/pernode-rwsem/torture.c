// SPDX-License-Identifier: GPL-2.0-only
/*
 * Torture of pernode_rwsem in a running kernel, as locktorture does it: threads that read,
 * write, are killed while they wait, downgrade, and change node while they hold the lock;
 * interrupts that try to read, and leave from another interrupt; and a lock that expands in
 * the midst of it.  insmod runs it to its end, says what it counted in one line of the
 * kernel's log, and fails with EIO if the lock let anybody in who should have been out.
 *
 * variant=broken is a lock whose writers do not wait for the nodes' readers: the torture is
 * worth something only as long as that fails.
 */
#undef pr_fmt	/* compat.h came first */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/irq_work.h>
#include <linux/kcsan-checks.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/pernode_rwsem.h>
#include <linux/prandom.h>
#include <linux/sched/signal.h>

#include "../params.h"
#include "../torture.h"

#define MAX_THREADS	256

static unsigned int readers = 4;
module_param(readers, uint, 0444);
MODULE_PARM_DESC(readers, "threads that read, 1 to 256 (4)");
static unsigned int writers = 2;
module_param(writers, uint, 0444);
MODULE_PARM_DESC(writers, "threads that write, 0 to 256 (2)");
static unsigned int rounds = 20000;
module_param(rounds, uint, 0444);
MODULE_PARM_DESC(rounds, "how often each reader locks, 1 to 100000000 (20000)");
static char *variant = "pernode";
module_param(variant, charp, 0444);
MODULE_PARM_DESC(variant, "pernode, rwsem (never expands) or broken (pernode)");

static struct pernode_rwsem sem;
static bool broken, expands;

/* What the lock protects; a writer leaves both alike. */
static struct {
	unsigned long a ____cacheline_aligned;
	unsigned long b ____cacheline_aligned;
} data;
static atomic_t in_read, in_write, violations, wrong_count;
static atomic64_t reads, writes, kills, downgrades, tries, tries_failed, irq_reads, moves;
static atomic_t readers_left;
static struct crew crew;	/* readers, writers, the disturber */

struct irq_reader {
	struct irq_work lock, unlock;
	struct rnd_state rnd;
};

static DEFINE_PER_CPU(struct irq_reader, irq_reader);

static void violation(void)
{
	atomic_inc(&violations);
}

/* The lock is held for reading. */
static void read_section(struct rnd_state *rnd)
{
	unsigned long a;
	unsigned int i, n = prandom_u32_state(rnd) % 64;

	atomic_inc(&in_read);
	/* A kernel with KCSAN sees for itself who else is there. */
	ASSERT_EXCLUSIVE_WRITER(data.a);
	a = READ_ONCE(data.a);
	for (i = 0; i < n; i++)
		cpu_relax();
	if (a != READ_ONCE(data.b) || atomic_read(&in_write))
		violation();
	atomic_dec(&in_read);
}

static void write_section(struct rnd_state *rnd)
{
	unsigned int i, n = prandom_u32_state(rnd) % 64;

	if (atomic_inc_return(&in_write) != 1 || atomic_read(&in_read))
		violation();
	ASSERT_EXCLUSIVE_ACCESS(data.a);
	WRITE_ONCE(data.a, data.a + 1);
	for (i = 0; i < n; i++)
		cpu_relax();
	if (atomic_read(&in_read))
		violation();
	WRITE_ONCE(data.b, data.b + 1);
	atomic_dec(&in_write);
}

static void move(struct rnd_state *rnd)
{
	if (move_anywhere(rnd))
		atomic64_inc(&moves);
}

static int lock_to_write(bool killable)
{
	/* The broken lock: the gate alone, as if no node had readers. */
	if (broken && sem.table) {
		struct rw_semaphore *gate = &sem.table->gate->rwsem;

		rwsem_acquire(&sem.rwsem.dep_map, 0, 0, _RET_IP_);
		if (!killable) {
			down_write(gate);
			return 0;
		}
		if (!down_write_killable(gate))
			return 0;
		rwsem_release(&sem.rwsem.dep_map, _RET_IP_);
		return -EINTR;
	}
	return killable ? pernode_down_write_killable(&sem) : (pernode_down_write(&sem), 0);
}

static void reader_round(struct rnd_state *rnd)
{
	u32 what = prandom_u32_state(rnd) % 16;

	if (what == 0) {
		atomic64_inc(&tries);
		if (!pernode_down_read_trylock(&sem)) {
			atomic64_inc(&tries_failed);
			return;
		}
	} else if (what == 1) {
		if (pernode_down_read_killable(&sem)) {
			violation();	/* nobody kills readers */
			return;
		}
	} else {
		pernode_down_read(&sem);
	}
	if (!pernode_rwsem_is_locked(&sem))
		atomic_inc(&wrong_count);
	read_section(rnd);
	if (what == 2) {
		move(rnd);
		read_section(rnd);
	}
	pernode_up_read(&sem);
	atomic64_inc(&reads);
}

static void reader(unsigned int nr)
{
	struct rnd_state rnd;
	unsigned int i;

	prandom_seed_state(&rnd, nr + 1);
	for (i = 0; i < rounds; i++) {
		reader_round(&rnd);
		if (i % 64 == 0)
			move(&rnd);
		cond_resched();
	}
	atomic_dec(&readers_left);
}

/* Killed now and then, by disturber(); that only ends a wait that may be killed. */
static void writer(unsigned int nr)
{
	struct rnd_state rnd;
	u32 what;

	prandom_seed_state(&rnd, nr + 1000);
	allow_signal(SIGKILL);
	while (atomic_read(&readers_left)) {
		what = prandom_u32_state(&rnd) % 8;
		if (lock_to_write(what < 4)) {
			atomic64_inc(&kills);
			flush_signals(current);
			continue;
		}
		flush_signals(current);
		write_section(&rnd);
		if (what == 1 && !broken) {
			pernode_downgrade_write(&sem);
			read_section(&rnd);
			pernode_up_read(&sem);
			atomic64_inc(&downgrades);
		} else {
			pernode_up_write(&sem);
		}
		atomic64_inc(&writes);
		move(&rnd);
		/* Leave the readers alone now and then, so that entries open. */
		if (what & 1)
			schedule_timeout_interruptible(1);
	}
}

/* In hard interrupt context, as BPF's stack traces do: lock, and leave in a later one. */
static void irq_lock(struct irq_work *work)
{
	struct irq_reader *irq = container_of(work, struct irq_reader, lock);

	atomic64_inc(&tries);
	if (!pernode_down_read_trylock(&sem)) {
		atomic64_inc(&tries_failed);
		return;
	}
	rwsem_release(&sem.rwsem.dep_map, _RET_IP_);
	read_section(&irq->rnd);
	irq_work_queue(&irq->unlock);
}

static void irq_unlock(struct irq_work *work)
{
	pernode_up_read_non_owner(&sem);
	atomic64_inc(&irq_reads);
}

/* Interrupts CPUs, and kills writers. */
static void disturber(void)
{
	struct rnd_state rnd;
	struct irq_reader *irq;

	prandom_seed_state(&rnd, 7);
	while (atomic_read(&readers_left)) {
		move(&rnd);
		preempt_disable();
		irq = this_cpu_ptr(&irq_reader);
		if (!irq_work_is_busy(&irq->lock) && !irq_work_is_busy(&irq->unlock))
			irq_work_queue(&irq->lock);
		preempt_enable();
		if (writers) {
			u32 nr = readers + prandom_u32_state(&rnd) % writers;

			send_sig(SIGKILL, crew.task[nr], 1);
		}
		schedule_timeout_interruptible(1);
	}
}

static int thread_fn(void *arg)
{
	unsigned int nr = (unsigned long)arg;

	if (nr < readers)
		reader(nr);
	else if (nr < readers + writers)
		writer(nr);
	else
		disturber();
	crew_leave(&crew);
	return 0;
}

static int run(void)
{
	int cpu, err;

	for_each_possible_cpu(cpu) {
		struct irq_reader *irq = per_cpu_ptr(&irq_reader, cpu);

		init_irq_work(&irq->lock, irq_lock);
		init_irq_work(&irq->unlock, irq_unlock);
		prandom_seed_state(&irq->rnd, cpu + 5000);
	}
	atomic_set(&readers_left, readers);
	err = crew_create(&crew, readers + writers + 1, thread_fn, "pernode_torture");
	if (err)
		return err;
	crew_start(&crew);
	/* In the midst of it. */
	err = expands ? pernode_rwsem_expand(&sem) : 0;
	crew_wait(&crew);
	for_each_possible_cpu(cpu) {
		irq_work_sync(&per_cpu_ptr(&irq_reader, cpu)->lock);
		irq_work_sync(&per_cpu_ptr(&irq_reader, cpu)->unlock);
	}
	return err;
}

static int __init torture_init(void)
{
	static const char * const variants[] = { "pernode", "rwsem", "broken" };
	int err, which;

	if (check_number("readers", readers, 1, MAX_THREADS) ||
	    check_number("writers", writers, 0, MAX_THREADS) ||
	    check_number("rounds", rounds, 1, 100000000))
		return -EINVAL;
	which = find_word("variant", variant, variants, ARRAY_SIZE(variants));
	if (which < 0)
		return which;
	broken = which == 2;
	expands = which != 1;
	pernode_rwsem_init(&sem);
	err = run();
	/* Nobody is in: a writer comes at once, and finds what it protects whole. */
	pernode_down_write(&sem);
	if (data.a != data.b)
		violation();
	pernode_up_write(&sem);
	if (pernode_rwsem_is_locked(&sem) || (sem.table && atomic_read(&sem.table->gate->strays)))
		atomic_inc(&wrong_count);
	pernode_rwsem_destroy(&sem);
	pr_notice("%s: nodes %u, reads %lld, writes %lld, downgrades %lld, kills %lld, moves %lld, tries %lld, failed %lld, irq reads %lld, wrong counts %d, violations %d\n",
		  variant, num_online_nodes(), atomic64_read(&reads), atomic64_read(&writes),
		  atomic64_read(&downgrades), atomic64_read(&kills), atomic64_read(&moves),
		  atomic64_read(&tries), atomic64_read(&tries_failed), atomic64_read(&irq_reads),
		  atomic_read(&wrong_count), atomic_read(&violations));
	if (err)
		return err;
	return atomic_read(&violations) || atomic_read(&wrong_count) ? -EIO : 0;
}
module_init(torture_init);

static void __exit torture_exit(void)
{
}
module_exit(torture_exit);

MODULE_AUTHOR("numaspan");
MODULE_DESCRIPTION("Torture of pernode_rwsem");
MODULE_LICENSE("GPL");
