// SPDX-License-Identifier: GPL-2.0-only
/*
 * ccsynch on real threads, for libtsan, as stress.c does it for pernode_rwsem.
 *
 * Rounds, each with two new locks: threads have operations run, some of which use the second
 * lock, take the locks plainly, try them, go to other nodes.  What the locks protect is plain
 * memory.
 */
#include <sched.h>

#include "lock.h"
#include "plat-pthread.h"
#include "sim.h"
#include "stress.h"

#define NESTED	0x4000000000000000UL

/* What a lock protects: all the same, and the number of operations. */
struct shared {
	unsigned long value[8];
};

static struct shared shared[2];
static struct lock_user user[2];
static atomic_t ops_run[2];

static unsigned long change(struct shared *s)
{
	unsigned long was = s->value[0];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(s->value); i++) {
		if (s->value[i] != was)
			plat_bug("two were in at once");
		s->value[i]++;
		if (i == 3 && was % 16 == 0)
			sched_yield();
	}
	return was;
}

static void use_second(void)
{
	unsigned long flags;

	local_irq_save(flags);
	lock_user_run(&user[1], 0);
	local_irq_restore(flags);
	atomic_inc(&ops_run[1]);
}

static unsigned long operation(void *state, unsigned long arg)
{
	if (arg & NESTED)
		use_second();
	return change(state) ^ arg;
}

static void one_op(u64 *rng, unsigned long *last)
{
	unsigned long arg = sim_rng(rng) >> 8, was;

	switch ((sim_rng(rng) >> 32) % 8) {
	case 0: case 1: case 2: case 3:
		arg = (sim_rng(rng) >> 32) % 4 ? arg & ~NESTED : arg | NESTED;
		was = lock_user_run(&user[0], arg) ^ arg;
		if (was + 1 <= *last)
			plat_bug("a request has another's result");
		*last = was + 1;
		break;
	case 4:
		use_second();
		return;
	case 5:
		user[0].ops->lock(user[0].lock);
		change(user[0].state);
		user[0].ops->unlock(user[0].lock);
		break;
	case 6:
		if (!user[0].ops->trylock(user[0].lock))
			return;
		change(user[0].state);
		user[0].ops->unlock(user[0].lock);
		break;
	default:
		plat_move((sim_rng(rng) >> 32) % nr_node_ids);
		return;
	}
	atomic_inc(&ops_run[0]);
}

static void begin(void)
{
	int i;

	memset(shared, 0, sizeof(shared));
	lock_ccsynch.vary(stress_round % 37);
	for (i = 0; i < 2; i++) {
		atomic_set(&ops_run[i], 0);
		user[i] = (struct lock_user){
			&lock_ccsynch, aligned_alloc(PAGE_SIZE, PAGE_SIZE), operation, &shared[i],
		};
		lock_user_init(&user[i]);
	}
}

static void thread(int me, u64 *rng)
{
	unsigned long last = 0;
	int i;

	if (!(stress_round % 3))
		user[0].ops->scarce(me % 3);
	for (i = 0; i < STRESS_OPS; i++)
		one_op(rng, &last);
}

static void end(void)
{
	const char *wrong;
	int i;

	for (i = 0; i < 2; i++) {
		wrong = lock_ccsynch.check(user[i].lock);
		if (wrong)
			plat_bug(wrong);
		if (shared[i].value[0] != (unsigned long)atomic_read(&ops_run[i]))
			plat_bug("an operation was lost, or run twice");
		lock_ccsynch.destroy(user[i].lock);
		free(user[i].lock);
	}
}

const struct stress stress = { "stress-spin", begin, thread, end };
