// SPDX-License-Identifier: GPL-2.0-only
/*
 * Randomised exploration of spinlocks, and of those that run operations: as explore.c, small
 * random programs under random schedules, which follow from the schedule's number and the seed.
 *
 * There are two locks of the kind.  Threads have operations run, take the first lock plainly,
 * try it, and have operations run that use the second lock in turn.  Interrupts come, at any
 * access of a thread that has them on, and use the second lock, which is used with interrupts
 * off everywhere.
 *
 * What must hold in each schedule: of each lock, one operation or holder at a time is in; each
 * request's operation is run once, and the request has its result; every thread finishes; and
 * then the locks are free and can be used on every node.
 */
#include "explore.h"
#include "sim.h"

#define THREADS		4
#define STEPS		5
#define INTERRUPTS	4
#define REQUESTS	(2 * THREADS * STEPS + INTERRUPTS + 8)
#define LIMIT		60000

enum op { RUN, RUN_NESTED, RUN_IRQSAVE, LOCK, TRYLOCK, LOCK_IRQSAVE, MOVE, NR_OPS };

static const char * const op_name[] = {
	"run", "run, and run the second in it", "run the second, irqsave", "lock", "trylock",
	"lock the second, irqsave", "go to node",
};

/* Out of 16, how often a program has each. */
static const unsigned char op_share[NR_OPS] = { 6, 2, 2, 2, 1, 1, 2 };

struct step {
	enum op op;
	int node;
};

struct worker {
	int nr, left;
	struct step step[STEPS];
};

/* What a lock protects. */
struct shared {
	int inside;
	unsigned long count;
};

struct request {
	int runs;
	bool nested;
	unsigned long result;
};

static struct {
	const struct explore *what;
	struct lock_user lock[2];
	struct shared shared[2];
	int *word;		/* shared memory: what the critical sections touch */
	struct worker worker[THREADS];
	struct request request[REQUESTS];
	int nodes, threads, requests, interrupts;
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

	if (!addr || !x.what->trace || !x.what->lock->describe ||
	    !x.what->lock->describe(x.lock[0].lock, addr, text, sizeof(text)))
		return;
	printf("#   t%d n%d:     %s %s: %llx -> %llx\n", current->id, current->node, what, text,
	       old, new);
}

/* A shared access of the test's own, so that there is a point to switch at inside. */
static void touch(void)
{
	sim_access(x.word, false, false);
}

static void come_in(struct shared *s)
{
	if (s->inside++)
		plat_bug("two are in");
	touch();
}

static void go_out(struct shared *s)
{
	touch();
	if (--s->inside)
		plat_bug("somebody came in while another was");
}

/* Have an operation run, with a lock of which the caller knows that it may. */
static void request(int lock, bool nested)
{
	struct request *r = &x.request[x.requests];
	unsigned long result;

	r->nested = nested;
	result = lock_user_run(&x.lock[lock], x.requests++);
	if (r->runs != 1)
		plat_bug("an operation was not run when its request returned");
	if (result != r->result)
		plat_bug("a request has another's result");
}

static void request_irqsave(int lock)
{
	unsigned long flags;

	local_irq_save(flags);
	request(lock, false);
	local_irq_restore(flags);
}

static unsigned long operation(void *state, unsigned long arg)
{
	struct request *r = &x.request[arg];
	struct shared *s = state;

	come_in(s);
	if (r->runs++)
		plat_bug("an operation is run twice");
	tell("%s %d", "  operation", arg);
	r->result = s->count++;
	if (r->nested)
		request_irqsave(1);
	go_out(s);
	return r->result;
}

static void interrupt(void)
{
	if (x.interrupts == INTERRUPTS)
		return;
	x.interrupts++;
	tell("%s", "interrupt", 0);
	request(1, false);
	tell("%s", "end of interrupt", 0);
}

static void do_step(const struct step *step)
{
	struct lock_user *u = &x.lock[step->op == LOCK_IRQSAVE];
	unsigned long flags = 0;

	switch (step->op) {
	case RUN:
	case RUN_NESTED:
		request(0, step->op == RUN_NESTED);
		break;
	case RUN_IRQSAVE:
		request_irqsave(1);
		break;
	case LOCK:
	case TRYLOCK:
	case LOCK_IRQSAVE:
		if (step->op == LOCK_IRQSAVE)
			local_irq_save(flags);
		if (step->op != TRYLOCK)
			u->ops->lock(u->lock);
		else if (!u->ops->trylock(u->lock))
			break;
		tell("%s", "  in", 0);
		come_in(u->state);
		if (u->ops->is_locked && !u->ops->is_locked(u->lock))
			plat_bug("is_locked() is false for who holds the lock");
		go_out(u->state);
		tell("%s", "  unlock", 0);
		u->ops->unlock(u->lock);
		if (step->op == LOCK_IRQSAVE)
			local_irq_restore(flags);
		break;
	default:
		sim_migrate(step->node);
	}
}

static void worker(void *arg)
{
	struct worker *w = arg;
	int i;

	if (x.what->lock->scarce && w->left >= 0)
		x.what->lock->scarce(w->left);
	for (i = 0; i < w->nr; i++) {
		touch();
		tell("%s %.0d", op_name[w->step[i].op],
		     w->step[i].op == MOVE ? w->step[i].node : 0);
		do_step(&w->step[i]);
	}
	tell("%s", "ends", 0);
}

/* A lock without the plain one has one record a thread: no second lock. */
static bool supported(enum op op)
{
	const struct lock_ops *o = x.what->lock;

	return op == RUN || op == MOVE || (o->lock && (op != TRYLOCK || o->trylock));
}

static enum op random_op(void)
{
	int at, op;

	for (;;) {
		at = sim_random(16);
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
	if (x.what->lock->vary)
		x.what->lock->vary(1 + sim_random(36));
	for (t = 0; t < x.threads; t++) {
		struct worker *w = &x.worker[t];

		w->nr = 1 + sim_random(STEPS);
		/* Mostly enough; else none, or one. */
		w->left = sim_random(4) ? -1 : (int)sim_random(2);
		for (s = 0; s < w->nr; s++)
			w->step[s] = (struct step){ random_op(), sim_random(x.nodes) };
	}
}

/* The locks must still work when all have gone. */
static void epilogue(void *arg)
{
	int node;

	(void)arg;
	for (node = 0; node < x.nodes; node++) {
		sim_migrate(node);
		request(0, false);
		if (supported(LOCK))
			request(1, false);
	}
}

static const char *check(void)
{
	const char *wrong;
	int i;

	for (i = 0; i < 2; i++) {
		wrong = x.what->lock->check(x.lock[i].lock);
		if (wrong)
			return wrong;
	}
	for (i = 0; i < x.requests; i++)
		if (x.request[i].runs != 1)
			return "an operation was not run";
	return NULL;
}

static const char *run_one(u64 number, bool telling)
{
	static char text[200];
	enum sim_end end;
	const char *wrong;
	int t, i, used = 0;

	sim_reset(SIM_EXPLORE, 3, sim_mix(x.what->seed) + number);
	memset(x.request, 0, sizeof(x.request));
	memset(x.shared, 0, sizeof(x.shared));
	x.requests = 0;
	x.interrupts = 0;
	make_program();
	nr_node_ids = x.nodes;
	x.word = sim_alloc(0, sizeof(*x.word), "data");
	for (i = 0; i < 2; i++) {
		x.lock[i] = (struct lock_user){
			x.what->lock, sim_alloc(0, x.what->lock->size, "lock"), operation,
			&x.shared[i],
		};
		lock_user_init(&x.lock[i]);
	}
	x.telling = telling;
	sim_trace = telling ? trace_access : NULL;
	sim_limit = LIMIT;
	if (supported(LOCK))
		sim_interrupt = interrupt;
	for (t = 0; t < x.threads; t++)
		sim_spawn(sim_random(x.nodes), worker, &x.worker[t]);
	if (telling)
		printf("# %d nodes, %d threads\n", x.nodes, x.threads);
	end = sim_run();
	if (end == SIM_DONE) {
		wrong = check();
		if (wrong)
			return wrong;
		x.telling = false;
		sim_trace = NULL;
		sim_interrupt = NULL;
		sim_spawn(0, epilogue, NULL);
		end = sim_run();
		if (end == SIM_DONE)
			return check();
		if (end != SIM_BUG)
			return "the locks cannot be used when all have gone";
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

bool explore_spin(const struct explore *what)
{
	const char *wrong;
	u64 i;

	x.what = what;
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
