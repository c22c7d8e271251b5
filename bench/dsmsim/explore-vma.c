// SPDX-License-Identifier: GPL-2.0-only
/*
 * Programs that explore the locks of an address space: see explore.c.
 *
 * What must hold in each schedule: nobody has a VMA read-locked that somebody has write-locked,
 * whatever becomes of other VMAs meanwhile and on whichever node readers leave; nobody comes in
 * beside a writer that is known to wait; and in the end the counts add up, and the VMAs that are
 * left can be locked both ways.
 */
#include "explore.h"
#include "gate.h"
#include "sim.h"

#define VMAS	4

enum op { FAULT, READ_LOCKED, WRITE, WRITE_TWO, DETACH, USED, MOVE, NR_OPS };

static const char * const op_name[] = {
	"fault in VMA", "lock under mmap_lock VMA", "write-lock VMA", "write-lock two, from VMA",
	"detach VMA", "used", "go to node",
};

/*
 * Out of 32, how often a program has each: a thread of a program of many kinds of steps; and of a
 * small one, with a step or two a thread, in which what is rare comes together more often: one
 * that writes, and ones that read.
 */
enum { MANY, WRITES, READS };

static const unsigned char op_share[][NR_OPS] = {
	[MANY]   = { 14, 3, 6, 2, 2, 3, 2 },
	[WRITES] = { 0, 0, 13, 0, 13, 6, 0 },
	[READS]  = { 28, 0, 0, 0, 0, 4, 0 },
};

static struct {
	const struct lock_ops *ops;
	void *lock;
	bool small;
	int written;	/* how often a writer has got a VMA */
	int readers[VMAS], writers[VMAS];
} x;

static void read_section(const struct explore_step *step)
{
	int i = step->arg;

	if (x.writers[i])
		plat_bug("a VMA is read-locked that is write-locked");
	x.readers[i]++;
	explore_tell("  in, reading");
	if (!x.small)
		explore_touch();
	if (step->leave_on != current->node)
		sim_migrate(step->leave_on);
	explore_touch();
	x.readers[i]--;
	explore_tell("  leaves");
	x.ops->vma_end_read(x.lock, i);
}

/* As a page fault does it */
static void fault(const struct explore_step *step)
{
	const struct lock_ops *ops = x.ops;
	bool awaited = ops->vma_awaited(x.lock, step->arg);
	int written = x.written;

	if (ops->vma_read(x.lock, step->arg)) {
		if (awaited && ops->vma_awaited(x.lock, step->arg) && x.written == written)
			plat_bug("a reader comes in where a writer waits");
		read_section(step);
		return;
	}
	ops->used(x.lock);
	ops->down_read(x.lock);
	if (!ops->vma_detached(x.lock, step->arg)) {
		if (x.writers[step->arg])
			plat_bug("mmap_lock is held for reading, and a VMA is write-locked");
		explore_touch();
	}
	ops->up_read(x.lock);
}

static void read_locked(const struct explore_step *step)
{
	bool there;

	x.ops->down_read(x.lock);
	there = !x.ops->vma_detached(x.lock, step->arg);
	if (there)
		x.ops->vma_read_locked(x.lock, step->arg);
	x.ops->up_read(x.lock);
	if (there)
		read_section(step);
}

static void write_one(int i, bool detach)
{
	if (x.ops->vma_detached(x.lock, i))
		return;
	if (detach)
		x.ops->vma_detach(x.lock, i);
	else
		x.ops->vma_write(x.lock, i);
	x.written++;
	explore_tell("  has VMA %d write-locked", i);
	x.writers[i]++;
	if (x.readers[i])
		plat_bug("a VMA is write-locked that is read-locked");
	explore_touch();
}

static void write_vmas(const struct explore_step *step, int nr)
{
	int i;

	x.ops->down_write(x.lock);
	for (i = step->arg; i < step->arg + nr; i++)
		write_one(i % x.ops->vmas, step->op == DETACH);
	explore_touch();
	for (i = 0; i < x.ops->vmas; i++) {
		if (x.writers[i] && x.readers[i])
			plat_bug("somebody has read-locked a VMA that is write-locked");
		x.writers[i] = 0;
	}
	explore_tell("  unlocks");
	x.ops->up_write(x.lock);
}

static void do_step(const struct explore_step *step)
{
	switch (step->op) {
	case FAULT:
		fault(step);
		break;
	case READ_LOCKED:
		read_locked(step);
		break;
	case USED:
		x.ops->used(x.lock);
		break;
	case MOVE:
		sim_migrate(step->arg);
		break;
	default:
		write_vmas(step, step->op == WRITE_TWO ? 2 : 1);
	}
}

static const char *program(void)
{
	/* As many have entries as are near them. */
	int moves = sim_random(2) ? -1 : 5 + (int)sim_random(3);
	const unsigned char *share;
	int t, s, vmas;

	x.ops = explored.what->lock;
	assert(x.ops->vmas <= VMAS);
	gate_spinning = !sim_random(4);
	x.small = sim_random(4);
	if (x.small)
		explored.threads = EXPLORE_THREADS;
	/* Those that share a slot */
	vmas = x.small ? 2 : x.ops->vmas;
	for (t = 0; t < explored.threads; t++) {
		struct explore_worker *w = &explored.worker[t];

		share = op_share[!x.small ? MANY : t ? READS : WRITES];
		w->nr = 1 + sim_random(x.small ? 2 : EXPLORE_STEPS);
		for (s = 0; s < w->nr; s++) {
			struct explore_step *step = &w->step[s];

			step->op = explore_op(share, 32, NULL);
			step->arg = sim_random(step->op == MOVE ? explored.nodes : vmas);
			step->leave_on = sim_random(explored.nodes);
			if (step->op == USED)
				step->arg = -1;
		}
	}
	x.lock = sim_alloc(0, x.ops->size, "lock");
	x.ops->init(x.lock, moves);
	explored.lock = x.lock;
	x.written = 0;
	memset(x.readers, 0, sizeof(x.readers));
	memset(x.writers, 0, sizeof(x.writers));
	return moves < 0 ? ", with entries" : ", no entries yet";
}

static void epilogue(void *arg)
{
	int node, i;

	(void)arg;
	gate_spinning = false;
	for (node = 0; node < explored.nodes; node++) {
		sim_migrate(node);
		for (i = 0; i < x.ops->vmas; i++)
			if (x.ops->vma_read(x.lock, i))
				x.ops->vma_end_read(x.lock, i);
		x.ops->down_write(x.lock);
		for (i = 0; i < x.ops->vmas; i++)
			if (!x.ops->vma_detached(x.lock, i))
				x.ops->vma_write(x.lock, i);
		x.ops->up_write(x.lock);
	}
}

static const char *check(void)
{
	return x.ops->check(x.lock);
}

const struct explore_kind explore_vma = {
	op_name, program, NULL, do_step, epilogue, check,
};
