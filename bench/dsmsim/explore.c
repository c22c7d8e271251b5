// SPDX-License-Identifier: GPL-2.0-only
/*
 * Randomised exploration: a small random program of threads on 2 or 3 nodes, run under a random
 * schedule; both follow from the schedule's number and the seed.
 *
 * Whatever the locks are, in each schedule memory that was freed is not touched, nothing sleeps
 * or wakes with interrupts off, every thread finishes; and then the locks are free, and can be
 * used.  What else must hold is with the programs.
 */
#include <stdarg.h>

#include "explore.h"
#include "sim.h"

#define LIMIT	60000

struct explored explored;

static const struct explore_kind *kind;
static int *word;	/* shared memory: what the critical sections touch */
static bool telling;

void explore_tell(const char *fmt, ...)
{
	va_list args;

	if (!telling)
		return;
	printf("#   t%d n%d: ", current->id, current->node);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
}

void explore_touch(void)
{
	sim_access(word, false, false);
}

int explore_op(const unsigned char *share, int sum, bool (*supported)(int op))
{
	int at, op;

	for (;;) {
		at = sim_random(sum);
		for (op = 0; at >= share[op]; op++)
			at -= share[op];
		if (!supported || supported(op))
			return op;
	}
}

/* Addresses, and what else has more than 32 bits, are easier to read in hexadecimal. */
static const char *value(u64 v, char *text, size_t size)
{
	if (v >> 32 && (s64)v != (int)v)
		snprintf(text, size, "%#llx", v);
	else
		snprintf(text, size, "%d", (int)v);
	return text;
}

static void trace_access(const char *what, const volatile void *addr, u64 old, u64 new)
{
	const struct lock_ops *ops = explored.what->lock;
	char text[64], was[20], is[20];
	bool known;

	if (!addr) {
		if (strcmp(what, "sleeps"))
			explore_tell("    %s %llu", what, new);
		else
			explore_tell("    %s", what);
		return;
	}
	if (!explored.what->trace || !ops->describe)
		return;
	sim_quiet = true;
	known = ops->describe(explored.lock, addr, text, sizeof(text));
	sim_quiet = false;
	if (!known)
		return;
	value(old, was, sizeof(was));
	value(new, is, sizeof(is));
	if (old == new)
		explore_tell("    %s %s = %s", what, text, is);
	else
		explore_tell("    %s %s: %s -> %s", what, text, was, is);
}

static void thread(void *arg)
{
	int t = (struct task_struct **)arg - explored.task, i;

	if (kind->begin)
		kind->begin(t);
	for (i = 0; i < explored.worker[t].nr; i++) {
		const struct explore_step *step = &explored.worker[t].step[i];

		explore_touch();
		if (step->arg >= 0)
			explore_tell("%s %d", kind->op_name[step->op], step->arg);
		else
			explore_tell("%s", kind->op_name[step->op]);
		kind->step(step);
		current->sigpending = 0;
	}
	explore_tell("ends");
}

static const char *run_one(u64 number, bool tell)
{
	static char text[200];
	const char *wrong, *remark;
	enum sim_end end;
	int t, used = 0;

	sim_reset(SIM_EXPLORE, 3, sim_mix(explored.what->seed) + number);
	explored.nodes = 2 + sim_random(2);
	explored.threads = 2 + sim_random(EXPLORE_THREADS - 1);
	nr_node_ids = explored.nodes;
	word = sim_alloc(0, sizeof(*word), "data");
	remark = kind->program();
	telling = tell;
	sim_trace = tell ? trace_access : NULL;
	sim_limit = LIMIT;
	for (t = 0; t < explored.threads; t++)
		explored.task[t] = sim_spawn(sim_random(explored.nodes), thread,
					     &explored.task[t]);
	if (tell)
		printf("# %d nodes, %d threads%s\n", explored.nodes, explored.threads, remark);
	end = sim_run();
	if (end == SIM_DONE) {
		wrong = kind->check();
		if (wrong)
			return wrong;
		telling = false;
		sim_trace = NULL;
		sim_interrupt = NULL;
		sim_spawn(0, kind->epilogue, NULL);
		end = sim_run();
		if (end == SIM_DONE)
			return kind->check();
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

	kind = what->lock->vma_read ? &explore_vma :
	       what->lock->down_read ? &explore_rw : &explore_spin;
	explored.what = what;
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
