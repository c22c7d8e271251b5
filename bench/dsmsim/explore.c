// SPDX-License-Identifier: GPL-2.0-only
/*
 * Randomised exploration: a small random program of threads on 2 or 3 nodes, run under a random
 * schedule; both follow from the schedule's number and the seed.
 *
 * What must hold in each: nobody is in with a writer; who holds the lock sees it locked;
 * nothing sleeps or wakes with interrupts off; memory that was freed is not touched; every
 * thread finishes; and then the lock is free, its counts add up, and it can be taken both ways.
 */
#include "explore.h"
#include "gate.h"
#include "sim.h"

#define THREADS		4
#define STEPS		5
#define LIMIT		60000

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

struct step {
	enum op op;
	int arg;	/* to kill, or a node */
	int leave_on;	/* the node on which a reader leaves */
};

struct worker {
	struct task_struct *task;
	int nr;
	struct step step[STEPS];
};

static struct {
	const struct explore *what;
	const struct lock_ops *ops;
	void *lock;
	int *word;		/* shared memory: what the critical sections touch */
	struct worker worker[THREADS];
	int nodes, threads, moves;
	int readers, writers;
	bool telling;
} x;

static void tell(const char *fmt, const char *text, int arg)
{
	if (!x.telling)
		return;
	printf("#   t%d n%d: ", current->id, current->node);
	printf(fmt, text, arg);
	putchar('\n');
}

static void trace_access(const char *what, const volatile void *addr, u64 old, u64 new)
{
	char text[64];

	if (!addr) {
		if (strcmp(what, "sleeps"))
			printf("#   t%d n%d:     %s %llu\n", current->id, current->node, what,
			       new);
		else
			printf("#   t%d n%d:     %s\n", current->id, current->node, what);
		return;
	}
	if (!x.what->trace || !x.ops->describe ||
	    !x.ops->describe(x.lock, addr, text, sizeof(text)))
		return;
	if (old == new)
		printf("#   t%d n%d:     %s %s = %d\n", current->id, current->node, what, text,
		       (int)new);
	else
		printf("#   t%d n%d:     %s %s: %d -> %d\n", current->id, current->node, what,
		       text, (int)old, (int)new);
}

/* A shared access of the test's own, so that there is a point to switch at inside. */
static void touch(void)
{
	sim_access(x.word, false, false);
}

static void in_for_reading(void)
{
	if (x.writers)
		plat_bug("a reader is in with a writer");
	x.readers++;
	tell("%s", "  in, reading", 0);
	touch();
	if (x.what->asserts && x.ops->is_locked && !x.ops->is_locked(x.lock))
		plat_bug("is_locked() is false for who holds the lock for reading");
	if (x.ops->is_contended)
		x.ops->is_contended(x.lock);
	touch();
}

static void out_from_reading(const struct step *step, bool non_owner)
{
	if (step->leave_on != current->node)
		sim_migrate(step->leave_on);
	touch();
	x.readers--;
	tell("%s", "  up_read", 0);
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
	tell("%s", "  in, writing", 0);
	touch();
	if (x.what->asserts && x.ops->is_locked && !x.ops->is_locked(x.lock))
		plat_bug("is_locked() is false for who holds the lock for writing");
	touch();
	if (x.readers || x.writers != 1)
		plat_bug("somebody came in with a writer");
	x.writers--;
}

static void do_step(struct worker *w, const struct step *step)
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
		} else if (!w->task->sigpending) {
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
		tell("%s", "  up_write", 0);
		ops->up_write(x.lock);
		break;
	case WRITE_KILLABLE:
		if (!ops->down_write_killable(x.lock)) {
			write_section();
			tell("%s", "  up_write", 0);
			ops->up_write(x.lock);
		} else if (!w->task->sigpending) {
			plat_bug("down_write_killable() failed without a signal");
		} else {
			tell("%s", "  killed", 0);
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
		sim_kill(x.worker[step->arg].task);
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

static void worker(void *arg)
{
	struct worker *w = arg;
	int i;

	for (i = 0; i < w->nr; i++) {
		touch();
		tell("%s %.0d", op_name[w->step[i].op],
		     w->step[i].op == KILL || w->step[i].op == MOVE ? w->step[i].arg : 0);
		do_step(w, &w->step[i]);
		w->task->sigpending = 0;
	}
	tell("%s", "ends", 0);
}

static bool supported(enum op op)
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

static enum op random_op(void)
{
	int at, op;

	for (;;) {
		at = sim_random(32);
		for (op = 0; at >= op_share[op]; op++)
			at -= op_share[op];
		if (supported(op))
			return op;
	}
}

static void make_program(void)
{
	int t, s;

	x.nodes = 2 + sim_random(2);
	x.threads = 2 + sim_random(THREADS - 1);
	/* Mostly a lock that has expanded; else one that is near it. */
	x.moves = sim_random(4) ? -1 : 5 + (int)sim_random(3);
	gate_spinning = !sim_random(4);
	for (t = 0; t < x.threads; t++) {
		struct worker *w = &x.worker[t];

		w->nr = 1 + sim_random(STEPS);
		for (s = 0; s < w->nr; s++) {
			struct step *step = &w->step[s];

			step->op = random_op();
			step->arg = step->op == KILL ? sim_random(x.threads) :
				    sim_random(x.nodes);
			step->leave_on = sim_random(x.nodes);
			if (x.moves >= 0 && !sim_random(3) && supported(USED))
				step->op = USED;
		}
	}
}

/* The lock must still work, both ways, when all have gone. */
static void epilogue(void *arg)
{
	int node;

	(void)arg;
	x.ops->down_write(x.lock);
	x.ops->up_write(x.lock);
	for (node = 0; node < x.nodes; node++) {
		sim_migrate(node);
		x.ops->down_read(x.lock);
		x.ops->up_read(x.lock);
	}
	x.ops->down_write(x.lock);
	x.ops->up_write(x.lock);
}

static const char *run_one(u64 number, bool telling)
{
	static char text[200];
	enum sim_end end;
	const char *wrong;
	int t, used = 0;

	sim_reset(SIM_EXPLORE, 3, sim_mix(x.what->seed) + number);
	make_program();
	nr_node_ids = x.nodes;
	x.lock = sim_alloc(0, x.ops->size, "lock");
	x.word = sim_alloc(0, sizeof(*x.word), "data");
	x.ops->init(x.lock, x.moves);
	x.readers = 0;
	x.writers = 0;
	x.telling = telling;
	sim_trace = telling ? trace_access : NULL;
	sim_limit = LIMIT;
	for (t = 0; t < x.threads; t++)
		x.worker[t].task = sim_spawn(sim_random(x.nodes), worker, &x.worker[t]);
	if (telling)
		printf("# %d nodes, %d threads, %s\n", x.nodes, x.threads,
		       x.moves < 0 ? "expanded" : "not expanded yet");
	end = sim_run();
	if (end == SIM_DONE) {
		wrong = x.ops->check(x.lock);
		if (wrong)
			return wrong;
		x.telling = false;
		sim_trace = NULL;
		gate_spinning = false;
		sim_spawn(0, epilogue, NULL);
		end = sim_run();
		if (end == SIM_DONE)
			return NULL;
		if (end != SIM_BUG)
			return "the lock cannot be taken when all have gone";
	}
	if (end == SIM_BUG)
		return sim_bug;
	if (end == SIM_LONG)
		return "the threads do not finish: somebody spins for ever";
	for (t = 0; sim_state(t); t++)
		used += snprintf(text + used, sizeof(text) - used, "%st%d %s", t ? ", " :
				 "nobody can run: ", t, sim_state(t));
	return text;
}

bool explore(const struct explore *what)
{
	const char *wrong;
	u64 i;

	if (!what->lock->down_read)
		return explore_spin(what);
	x.what = what;
	x.ops = what->lock;
	for (i = what->first; i < what->first + what->schedules; i++) {
		wrong = run_one(i, false);
		if (!wrong)
			continue;
		printf("%s: schedule %llu of seed %llu: %s\n", what->lock->name, i, what->seed,
		       wrong);
		run_one(i, true);
		fflush(stdout);
		return false;
	}
	return true;
}
