// SPDX-License-Identifier: GPL-2.0-only
/*
 * Programs that explore reader-writer locks: see explore.c.
 *
 * What must hold in each schedule: nobody is in with a writer; who holds the lock sees it
 * locked; a call that a signal may end does not fail without one; and in the end the lock's
 * counts add up, and it can be taken both ways.
 */
#include "explore.h"
#include "gate.h"
#include "sim.h"

enum op {
	READ, READ_KILLABLE, READ_TRY, READ_TRY_IRQSOFF, WRITE, WRITE_KILLABLE, DOWNGRADE,
	KILL, EXPAND, USED, MOVE, NR_OPS
};

static const char * const op_name[] = {
	"down_read", "down_read_killable", "down_read_trylock",
	"down_read_trylock with interrupts off", "down_write", "down_write_killable",
	"down_write, downgrade_write", "kill thread", "expand", "used", "go to node",
};

/* Out of 32, how often a program has each. */
static const unsigned char op_share[NR_OPS] = { 9, 2, 2, 2, 6, 3, 2, 2, 1, 1, 2 };

static struct {
	const struct lock_ops *ops;
	void *lock;
	int moves;
	int readers, writers;
} x;

static void in_for_reading(void)
{
	if (x.writers)
		plat_bug("a reader is in with a writer");
	x.readers++;
	explore_tell("  in, reading");
	explore_touch();
	if (explored.what->asserts && x.ops->is_locked && !x.ops->is_locked(x.lock))
		plat_bug("is_locked() is false for who holds the lock for reading");
	if (x.ops->is_contended)
		x.ops->is_contended(x.lock);
	explore_touch();
}

static void out_from_reading(const struct explore_step *step, bool non_owner)
{
	if (step->leave_on != current->node)
		sim_migrate(step->leave_on);
	explore_touch();
	x.readers--;
	explore_tell("  up_read");
	if (non_owner && x.ops->up_read_non_owner)
		x.ops->up_read_non_owner(x.lock);
	else
		x.ops->up_read(x.lock);
}

static void write_section(void)
{
	if (x.writers || x.readers)
		plat_bug(x.readers ? "a writer is in with a reader" : "two writers are in");
	x.writers++;
	explore_tell("  in, writing");
	explore_touch();
	if (explored.what->asserts && x.ops->is_locked && !x.ops->is_locked(x.lock))
		plat_bug("is_locked() is false for who holds the lock for writing");
	explore_touch();
	if (x.readers || x.writers != 1)
		plat_bug("somebody came in with a writer");
	x.writers--;
}

static void do_step(const struct explore_step *step)
{
	const struct lock_ops *ops = x.ops;
	int got;

	switch (step->op) {
	case READ:
		ops->down_read(x.lock);
		in_for_reading();
		out_from_reading(step, false);
		break;
	case READ_KILLABLE:
		if (!ops->down_read_killable(x.lock)) {
			in_for_reading();
			out_from_reading(step, false);
		} else if (!current->sigpending) {
			plat_bug("down_read_killable() failed without a signal");
		}
		break;
	case READ_TRY:
	case READ_TRY_IRQSOFF:
		if (step->op == READ_TRY_IRQSOFF)
			local_irq_disable();
		got = ops->down_read_trylock(x.lock);
		if (got)
			in_for_reading();
		if (step->op == READ_TRY_IRQSOFF)
			local_irq_enable();
		if (got)
			out_from_reading(step, step->op == READ_TRY_IRQSOFF);
		break;
	case WRITE:
		ops->down_write(x.lock);
		write_section();
		explore_tell("  up_write");
		ops->up_write(x.lock);
		break;
	case WRITE_KILLABLE:
		if (!ops->down_write_killable(x.lock)) {
			write_section();
			explore_tell("  up_write");
			ops->up_write(x.lock);
		} else if (!current->sigpending) {
			plat_bug("down_write_killable() failed without a signal");
		} else {
			explore_tell("  killed");
		}
		break;
	case DOWNGRADE:
		ops->down_write(x.lock);
		write_section();
		x.readers++;
		ops->downgrade_write(x.lock);
		x.readers--;
		in_for_reading();
		out_from_reading(step, false);
		break;
	case KILL:
		sim_kill(explored.task[step->arg]);
		break;
	case EXPAND:
		ops->expand(x.lock);
		break;
	case USED:
		ops->used(x.lock);
		break;
	default:
		sim_migrate(step->arg);
	}
}

static bool supported(int op)
{
	const struct lock_ops *o = x.ops;

	switch (op) {
	case READ_KILLABLE: return o->down_read_killable;
	case READ_TRY: return o->down_read_trylock;
	case READ_TRY_IRQSOFF: return o->down_read_trylock && o->up_read_non_owner;
	case WRITE_KILLABLE: return o->down_write_killable;
	case DOWNGRADE: return o->downgrade_write;
	case EXPAND: return o->expand;
	case USED: return o->used;
	default: return true;
	}
}

static const char *program(void)
{
	int t, s;

	x.ops = explored.what->lock;
	/* Mostly a lock that has expanded; else one that is near it. */
	x.moves = sim_random(4) ? -1 : 5 + (int)sim_random(3);
	gate_spinning = !sim_random(4);
	for (t = 0; t < explored.threads; t++) {
		struct explore_worker *w = &explored.worker[t];

		w->nr = 1 + sim_random(EXPLORE_STEPS);
		for (s = 0; s < w->nr; s++) {
			struct explore_step *step = &w->step[s];

			step->op = explore_op(op_share, 32, supported);
			step->arg = step->op == KILL ? sim_random(explored.threads) :
				    sim_random(explored.nodes);
			step->leave_on = sim_random(explored.nodes);
			if (x.moves >= 0 && !sim_random(3) && supported(USED))
				step->op = USED;
			if (step->op != KILL && step->op != MOVE)
				step->arg = -1;
		}
	}
	x.lock = sim_alloc(0, x.ops->size, "lock");
	x.ops->init(x.lock, x.moves);
	explored.lock = x.lock;
	x.readers = 0;
	x.writers = 0;
	return x.moves < 0 ? ", expanded" : ", not expanded yet";
}

/* The lock must still work, both ways, when all have gone. */
static void epilogue(void *arg)
{
	int node;

	(void)arg;
	gate_spinning = false;
	x.ops->down_write(x.lock);
	x.ops->up_write(x.lock);
	for (node = 0; node < explored.nodes; node++) {
		sim_migrate(node);
		x.ops->down_read(x.lock);
		x.ops->up_read(x.lock);
	}
	x.ops->down_write(x.lock);
	x.ops->up_write(x.lock);
}

static const char *check(void)
{
	return x.ops->check(x.lock);
}

const struct explore_kind explore_rw = {
	op_name, program, NULL, do_step, epilogue, check,
};
