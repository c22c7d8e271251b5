// SPDX-License-Identifier: GPL-2.0-only
/*
 * Torture of ccsynch in a running kernel: threads and interrupts that have operations run on a
 * chain of locks, each of whose operations may use the next, deeper than there are records; that
 * take locks plainly, and change node.  CPUs may go and come meanwhile.  insmod runs it to its
 * end, says what it counted in one line of the kernel's log, and fails with EIO if two were in
 * at once or a request was not run once.
 *
 * Each request is on its maker's stack and says how often it has been run; each lock protects a
 * cell that says how often somebody was in, which is compared with how often somebody asked.
 *
 * The other variants are broken on purpose: apart has a lock on each node that knows nothing of
 * the others', skip now and then says that an operation was run that was not, and twice runs it
 * twice.  The torture is worth something only as long as they fail.
 */
#undef pr_fmt	/* compat.h came first */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/cache.h>
#include <linux/ccsynch.h>
#include <linux/hrtimer.h>
#include <linux/kcsan-checks.h>
#include <linux/ktime.h>
#include <linux/lockdep.h>
#include <linux/module.h>
#include <linux/nodemask.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/prandom.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/topology.h>

#include "../params.h"
#include "../torture.h"

#define MAX_THREADS	256
#define NR_CELLS	(CCSYNCH_RECORDS + 2)

static unsigned int threads = 4;
module_param(threads, uint, 0444);
MODULE_PARM_DESC(threads, "threads, 1 to 256 (4)");
static unsigned int rounds = 20000;
module_param(rounds, uint, 0444);
MODULE_PARM_DESC(rounds, "how often each thread uses a lock, 1 to 100000000 (20000)");
static unsigned int interrupts = 25;
module_param(interrupts, uint, 0444);
MODULE_PARM_DESC(interrupts, "% of these times an interrupt is to come that does, too, 0 to 100 (25)");
static char *variant = "ccsynch";
module_param(variant, charp, 0444);
MODULE_PARM_DESC(variant, "ccsynch, or broken: apart, skip or twice (ccsynch)");

static const char * const variants[] = { "ccsynch", "apart", "skip", "twice" };
static enum { CCSYNCH, APART, SKIP, TWICE } broken;

/*
 * What a lock protects; who is in leaves both numbers alike.  The first one's lock is used with
 * interrupts on; the others' are used in interrupts.
 */
static struct cell {
	unsigned long a ____cacheline_aligned;
	unsigned long b ____cacheline_aligned;
	atomic_t in;
	atomic64_t asked ____cacheline_aligned;
	struct ccsynch *cs;	/* the lock; with variant=apart one for each node */
	struct lock_class_key key;
} cells[NR_CELLS];

static struct crew crew;
static atomic_t violations, lost_or_repeated;
static atomic64_t requests, combined, irq_requests, for_tasks, plain, tries, tries_failed, moves;

struct irq_user {
	struct hrtimer timer;
	struct rnd_state rnd;
};

static DEFINE_PER_CPU(struct irq_user, irq_user);

/* The least significant bits of @what are random, and what follows them is, too. */
static u32 next_random(u32 what)
{
	what ^= what << 13;
	what ^= what >> 17;
	return what ^ what << 5;
}

struct request {
	struct task_struct *from;
	bool irq;
	unsigned int runs, depth;
	u32 what;
};

static void request(struct cell *cell, unsigned int depth, u32 what);

static void begin(struct cell *cell)
{
	if (atomic_inc_return(&cell->in) != 1)
		atomic_inc(&violations);
	WRITE_ONCE(cell->a, cell->a + 1);
}

/* The next cell, while this one is in an unfinished state, and so deep */
static void go_on(struct cell *cell, unsigned int depth, u32 what)
{
	unsigned int n = what % 64;

	while (n--)
		cpu_relax();
	if (depth)
		request(cell + 1, depth - 1, next_random(what));
}

static void end(struct cell *cell)
{
	/* A kernel with KCSAN sees for itself that nobody else is there. */
	ASSERT_EXCLUSIVE_ACCESS(cell->b);
	WRITE_ONCE(cell->b, cell->b + 1);
	if (READ_ONCE(cell->a) != READ_ONCE(cell->b))
		atomic_inc(&violations);
	atomic_dec(&cell->in);
}

static void run_once(struct cell *cell, struct request *req)
{
	begin(cell);
	WRITE_ONCE(req->runs, req->runs + 1);
	go_on(cell, req->depth, req->what);
	end(cell);
}

static unsigned long op(void *state, unsigned long arg)
{
	struct request *req = (struct request *)arg;
	bool now = req->what % 64 == 0;
	struct cell *cell = state;

	if (current != req->from)
		atomic64_inc(&combined);
	if (in_hardirq() && !req->irq)
		atomic64_inc(&for_tasks);
	if (broken != SKIP || !now)
		run_once(cell, req);
	if (broken == TWICE && now)
		run_once(cell, req);
	return ~req->what;
}

static struct ccsynch *lock_of(struct cell *cell)
{
	return &cell->cs[broken == APART ? cpu_to_node(raw_smp_processor_id()) : 0];
}

/* Have a cell's operation run, which goes on so many cells deep. */
static void request(struct cell *cell, unsigned int depth, u32 what)
{
	struct request req = {
		.from = current, .irq = in_hardirq(), .depth = depth, .what = what,
	};
	struct ccsynch *cs = lock_of(cell);
	unsigned long result;

	atomic64_inc(&cell->asked);
	atomic64_inc(&requests);
	if (cell == cells)
		result = ccsynch_run(cs, (unsigned long)&req);
	else
		result = ccsynch_run_irqsave(cs, (unsigned long)&req);
	if (READ_ONCE(req.runs) != 1 || result != (unsigned long)~what)
		atomic_inc(&lost_or_repeated);
}

/* The same, being in oneself */
static void be_in(struct cell *cell, unsigned int depth, u32 what, bool try)
{
	struct ccsynch *cs = lock_of(cell);
	unsigned long flags = 0;
	int locked = 1;

	if (cell == cells && try)
		locked = ccsynch_trylock(cs);
	else if (cell == cells)
		ccsynch_lock(cs);
	else if (try)
		locked = ccsynch_trylock_irqsave(cs, flags);
	else
		ccsynch_lock_irqsave(cs, flags);
	if (try)
		atomic64_inc(&tries);
	if (!locked) {
		atomic64_inc(&tries_failed);
		return;
	}
	atomic64_inc(&cell->asked);
	atomic64_inc(&plain);
	if (!ccsynch_is_locked(cs))
		atomic_inc(&violations);
	begin(cell);
	go_on(cell, depth, what);
	end(cell);
	if (cell == cells)
		ccsynch_unlock(cs);
	else
		ccsynch_unlock_irqrestore(cs, flags);
}

/* Use a lock, of those from @first on. */
static void use(struct rnd_state *rnd, unsigned int first, unsigned int most)
{
	u32 what = prandom_u32_state(rnd), how = prandom_u32_state(rnd);
	unsigned int nr = how & 1 ? first : first + (how >> 8) % (NR_CELLS - first);
	unsigned int depth = min((how >> 16) % (most + 1), NR_CELLS - 1 - nr);

	if ((how >> 1) % 8)
		request(&cells[nr], depth, what);
	else
		be_in(&cells[nr], depth, what, (how >> 4) & 1);
}

static enum hrtimer_restart irq_fn(struct hrtimer *timer)
{
	struct irq_user *irq = container_of(timer, struct irq_user, timer);

	use(&irq->rnd, 1, 2);
	atomic64_inc(&irq_requests);
	return HRTIMER_NORESTART;
}

/* Have this CPU interrupted soon, unless it is going to be. */
static void be_interrupted(u32 what)
{
	struct irq_user *irq;

	preempt_disable();
	irq = this_cpu_ptr(&irq_user);
	if (!hrtimer_active(&irq->timer))
		hrtimer_start(&irq->timer, ns_to_ktime(what % 50000), HRTIMER_MODE_REL_PINNED);
	preempt_enable();
}

static int thread_fn(void *arg)
{
	struct rnd_state rnd;
	unsigned int i;

	prandom_seed_state(&rnd, (unsigned long)arg + 1);
	for (i = 0; i < rounds; i++) {
		if (prandom_u32_state(&rnd) % 100 < interrupts)
			be_interrupted(prandom_u32_state(&rnd));
		use(&rnd, 0, i % 8 ? 2 : NR_CELLS - 1);
		if (i % 64 == 0 && move_anywhere(&rnd))
			atomic64_inc(&moves);
		cond_resched();
	}
	crew_leave(&crew);
	return 0;
}

static int run(void)
{
	int cpu, err;

	for_each_possible_cpu(cpu) {
		struct irq_user *irq = per_cpu_ptr(&irq_user, cpu);

		hrtimer_init(&irq->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED);
		irq->timer.function = irq_fn;
		prandom_seed_state(&irq->rnd, cpu + 5000);
	}
	err = crew_create(&crew, threads, thread_fn, "ccsynch_torture");
	if (err)
		return err;
	crew_start(&crew);
	crew_wait(&crew);
	for_each_possible_cpu(cpu)
		hrtimer_cancel(&per_cpu_ptr(&irq_user, cpu)->timer);
	return 0;
}

static unsigned int locks_of_cell(void)
{
	return broken == APART ? nr_node_ids : 1;
}

static void cell_destroy(struct cell *cell)
{
	unsigned int i;

	for (i = 0; cell->cs && i < locks_of_cell(); i++)
		if (cell->cs[i].table)
			ccsynch_destroy(&cell->cs[i]);
	kfree(cell->cs);
}

static int cell_init(struct cell *cell)
{
	unsigned int i;
	int err;

	cell->cs = kcalloc(locks_of_cell(), sizeof(*cell->cs), GFP_KERNEL);
	err = cell->cs ? 0 : -ENOMEM;
	for (i = 0; !err && i < locks_of_cell(); i++)
		err = __ccsynch_init(&cell->cs[i], op, cell, &ccsynch_params, "cell", &cell->key);
	if (err)
		cell_destroy(cell);
	return err;
}

/* Nobody is in: locks come at once, and what they protect is whole.  How much was combined? */
static u64 check_cell(struct cell *cell)
{
	struct ccsynch_stats stats;
	unsigned long flags;
	unsigned int i;
	u64 ops = 0;

	for (i = 0; i < locks_of_cell(); i++) {
		if (!ccsynch_trylock_irqsave(&cell->cs[i], flags))
			atomic_inc(&violations);
		else
			ccsynch_unlock_irqrestore(&cell->cs[i], flags);
		ccsynch_stats(&cell->cs[i], &stats);
		ops += stats.ops;
	}
	if (cell->a != cell->b)
		atomic_inc(&violations);
	if (cell->a != atomic64_read(&cell->asked))
		atomic_inc(&lost_or_repeated);
	return ops;
}

static int __init torture_init(void)
{
	unsigned int made;
	u64 ops = 0;
	int err;

	if (check_number("threads", threads, 1, MAX_THREADS) ||
	    check_number("rounds", rounds, 1, 100000000) ||
	    check_number("interrupts", interrupts, 0, 100))
		return -EINVAL;
	err = find_word("variant", variant, variants, ARRAY_SIZE(variants));
	if (err < 0)
		return err;
	broken = err;
	for (err = 0, made = 0; made < NR_CELLS; made++) {
		err = cell_init(&cells[made]);
		if (err)
			break;
	}
	if (!err)
		err = run();
	while (made--) {
		if (!err)
			ops += check_cell(&cells[made]);
		cell_destroy(&cells[made]);
	}
	if (err)
		return err;
	pr_notice("%s: nodes %u, requests %lld, combined %lld, in interrupts %lld, there for tasks %lld, without a record %lld, plain %lld, tries %lld, failed %lld, moves %lld, lost or repeated %d, violations %d\n",
		  variant, num_online_nodes(), atomic64_read(&requests), atomic64_read(&combined),
		  atomic64_read(&irq_requests), atomic64_read(&for_tasks),
		  atomic64_read(&requests) - ops, atomic64_read(&plain), atomic64_read(&tries),
		  atomic64_read(&tries_failed), atomic64_read(&moves),
		  atomic_read(&lost_or_repeated), atomic_read(&violations));
	return atomic_read(&violations) || atomic_read(&lost_or_repeated) ? -EIO : 0;
}
module_init(torture_init);

static void __exit torture_exit(void)
{
}
module_exit(torture_exit);

MODULE_AUTHOR("numaspan");
MODULE_DESCRIPTION("Torture of ccsynch");
MODULE_LICENSE("GPL");
