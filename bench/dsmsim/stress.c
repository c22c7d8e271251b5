// SPDX-License-Identifier: GPL-2.0-only
/*
 * The lock core on real threads: what the simulator, which is sequentially consistent, does not
 * show.  libtsan watches that what is written under the lock happens before what is read.
 *
 * Rounds, each with a new lock that has not expanded: threads read, write, try, are killed, go
 * to other nodes while they hold it, downgrade; and let the lock expand while it is in use.
 */
#include <sched.h>

#include "lock.h"
#include "plat-pthread.h"
#include "sim.h"
#include "stress.h"

static const struct lock_ops *ops = &lock_pernode;
static void *the_lock;
static long value[8];		/* plain: libtsan watches */
static atomic_t readers, writers;

static void read_section(u64 *rng)
{
	long sum = 0;
	size_t i;

	atomic_inc(&readers);
	for (i = 0; i < ARRAY_SIZE(value); i++)
		sum += value[i] - value[0];
	if (sum)
		plat_bug("a reader sees half of a write");
	if (atomic_read(&writers))
		plat_bug("a reader is in with a writer");
	if (!(sim_rng(rng) % 4))
		sched_yield();
	atomic_dec(&readers);
}

static void write_section(u64 *rng)
{
	size_t i;

	if (atomic_inc_return(&writers) != 1 || atomic_read(&readers))
		plat_bug("a writer is not alone");
	for (i = 0; i < ARRAY_SIZE(value) / 2; i++)
		value[i]++;
	if (!(sim_rng(rng) % 4))
		sched_yield();
	for (; i < ARRAY_SIZE(value); i++)
		value[i]++;
	atomic_dec(&writers);
}

static void maybe_move(u64 *rng)
{
	if (!(sim_rng(rng) % 3))
		plat_move((sim_rng(rng) >> 32) % nr_node_ids);
}

static void one_op(int me, u64 *rng)
{
	bool irqs_off;

	switch ((sim_rng(rng) >> 32) % 16) {
	case 0: case 1: case 2: case 3: case 4:
		ops->down_read(the_lock);
		break;
	case 5: case 6:
		if (ops->down_read_killable(the_lock))
			return;
		break;
	case 7: case 8:
		irqs_off = sim_rng(rng) % 2;
		if (irqs_off)
			local_irq_disable();
		if (!ops->down_read_trylock(the_lock)) {
			if (irqs_off)
				local_irq_enable();
			return;
		}
		read_section(rng);
		if (irqs_off)
			local_irq_enable();
		maybe_move(rng);
		ops->up_read_non_owner(the_lock);
		return;
	case 9: case 10:
		ops->down_write(the_lock);
		write_section(rng);
		ops->up_write(the_lock);
		return;
	case 11: case 12:
		if (ops->down_write_killable(the_lock))
			return;
		write_section(rng);
		ops->up_write(the_lock);
		return;
	case 13:
		ops->down_write(the_lock);
		write_section(rng);
		ops->downgrade_write(the_lock);
		break;
	case 14:
		ops->used(the_lock);
		return;
	default:
		plat_kill((me + 1) % stress_threads);
		return;
	}
	read_section(rng);
	maybe_move(rng);
	ops->up_read(the_lock);
}

static void begin(void)
{
	the_lock = aligned_alloc(PAGE_SIZE, (ops->size + PAGE_SIZE - 1) & PAGE_MASK);
	memset(the_lock, 0, ops->size);
	ops->init(the_lock, 4);
}

static void thread(int me, u64 *rng)
{
	int i;

	for (i = 0; i < STRESS_OPS; i++) {
		one_op(me, rng);
		WRITE_ONCE(current->sigpending, 0);
		maybe_move(rng);
		if (i == STRESS_OPS / 2 && !me && stress_round % 2 && ops->expand(the_lock))
			plat_bug("no memory");
	}
}

static void end(void)
{
	const char *wrong = ops->check(the_lock);

	if (wrong)
		plat_bug(wrong);
	if (ops->destroy)
		ops->destroy(the_lock);
	free(the_lock);
}

const struct stress stress = { "stress", begin, thread, end };
