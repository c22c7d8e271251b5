// SPDX-License-Identifier: GPL-2.0-only
/*
 * The locks of an address space on real threads: libtsan watches that what is written under a
 * VMA's lock happens before what is read, though nobody writes where both look.
 *
 * Rounds, each with a new address space that has no entries yet: threads fault, and write-lock
 * VMAs, go to other nodes while they hold one, let the entries come, and detach VMAs.
 */
#include <sched.h>

#include "lock.h"
#include "plat-pthread.h"
#include "sim.h"
#include "stress.h"

#define VMAS	4

static const struct lock_ops *ops = &lock_vma;
static void *space;
static long value[VMAS][8];		/* plain: libtsan watches */
static atomic_t readers[VMAS], writers[VMAS];

static void maybe_move(u64 *rng)
{
	if (!(sim_rng(rng) % 3))
		plat_move((sim_rng(rng) >> 32) % nr_node_ids);
}

static void read_section(int i, u64 *rng)
{
	long sum = 0;
	size_t k;

	atomic_inc(&readers[i]);
	for (k = 0; k < ARRAY_SIZE(value[i]); k++)
		sum += value[i][k] - value[i][0];
	if (sum)
		plat_bug("a reader sees half of a write");
	if (atomic_read(&writers[i]))
		plat_bug("a reader is in with a writer");
	if (!(sim_rng(rng) % 4))
		sched_yield();
	atomic_dec(&readers[i]);
	maybe_move(rng);
	ops->vma_end_read(space, i);
}

static void write_section(int i, bool detach, u64 *rng)
{
	size_t k;

	ops->down_write(space);
	if (!ops->vma_detached(space, i)) {
		if (detach)
			ops->vma_detach(space, i);
		else
			ops->vma_write(space, i);
		if (atomic_inc_return(&writers[i]) != 1 || atomic_read(&readers[i]))
			plat_bug("a writer is not alone");
		for (k = 0; k < ARRAY_SIZE(value[i]); k++) {
			value[i][k]++;
			if (!k && !(sim_rng(rng) % 4))
				sched_yield();
		}
		atomic_dec(&writers[i]);
	}
	ops->up_write(space);
}

static void one_op(u64 *rng)
{
	int i = (sim_rng(rng) >> 32) % ops->vmas;
	int op = (sim_rng(rng) >> 32) % 256;
	bool there;

	if (op < 192) {
		if (ops->vma_read(space, i)) {
			read_section(i, rng);
			return;
		}
		ops->used(space);
	}
	if (op < 208) {
		ops->down_read(space);
		there = !ops->vma_detached(space, i);
		if (there)
			ops->vma_read_locked(space, i);
		ops->up_read(space);
		if (there)
			read_section(i, rng);
		return;
	}
	write_section(i, op == 255, rng);
}

static void begin(void)
{
	assert(ops->vmas <= VMAS);
	space = aligned_alloc(PAGE_SIZE, (ops->size + PAGE_SIZE - 1) & PAGE_MASK);
	memset(space, 0, ops->size);
	ops->init(space, 4);
}

static void thread(int me, u64 *rng)
{
	int i;

	(void)me;
	for (i = 0; i < STRESS_OPS; i++) {
		one_op(rng);
		maybe_move(rng);
	}
}

static void end(void)
{
	const char *wrong = ops->check(space);

	if (wrong)
		plat_bug(wrong);
	ops->destroy(space);
	free(space);
}

const struct stress stress = { "stress-vma", begin, thread, end };
