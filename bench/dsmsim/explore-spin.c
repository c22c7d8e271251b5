// SPDX-License-Identifier: GPL-2.0-only
/*
 * Programs that explore spinlocks, and locks that run operations: see explore.c.
 *
 * There are two locks of the kind.  Threads have operations run, take the first lock plainly,
 * try it, and have operations run that use the second lock in turn.  Interrupts come, at any
 * access of a thread that has them on, and use the second lock, which is used with interrupts
 * off everywhere.
 *
 * What must hold in each schedule: of each lock, one operation or holder at a time is in; each
 * request's operation is run once, and the request has its result.
 */
#include "explore.h"
#include "sim.h"

#define INTERRUPTS	4
#define REQUESTS	(2 * EXPLORE_THREADS * EXPLORE_STEPS + INTERRUPTS + 8)

enum op { RUN, RUN_NESTED, RUN_IRQSAVE, LOCK, TRYLOCK, LOCK_IRQSAVE, MOVE, NR_OPS };

static const char * const op_name[] = {
	"run", "run, and run the second in it", "run the second, irqsave", "lock", "trylock",
	"lock the second, irqsave", "go to node",
};

/* Out of 16, how often a program has each. */
static const unsigned char op_share[NR_OPS] = { 6, 2, 2, 2, 1, 1, 2 };

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
	struct lock_user lock[2];
	struct shared shared[2];
	int left[EXPLORE_THREADS];	/* of what a thread needs; -1: all */
	struct request request[REQUESTS];
	int requests, interrupts;
} x;

static void come_in(struct shared *s)
{
	if (s->inside++)
		plat_bug("two are in");
	explore_touch();
}

static void go_out(struct shared *s)
{
	explore_touch();
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
	explore_tell("  operation %d", (int)arg);
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
	explore_tell("interrupt");
	request(1, false);
	explore_tell("end of interrupt");
}

static void do_step(const struct explore_step *step)
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
		explore_tell("  in");
		come_in(u->state);
		if (u->ops->is_locked && !u->ops->is_locked(u->lock))
			plat_bug("is_locked() is false for who holds the lock");
		go_out(u->state);
		explore_tell("  unlock");
		u->ops->unlock(u->lock);
		if (step->op == LOCK_IRQSAVE)
			local_irq_restore(flags);
		break;
	default:
		sim_migrate(step->arg);
	}
}

static void begin(int thread)
{
	if (explored.what->lock->scarce && x.left[thread] >= 0)
		explored.what->lock->scarce(x.left[thread]);
}

/* A lock without the plain one has one record a thread: no second lock. */
static bool supported(int op)
{
	const struct lock_ops *o = explored.what->lock;

	return op == RUN || op == MOVE || (o->lock && (op != TRYLOCK || o->trylock));
}

static const char *program(void)
{
	const struct lock_ops *ops = explored.what->lock;
	int t, s, i;

	memset(x.request, 0, sizeof(x.request));
	memset(x.shared, 0, sizeof(x.shared));
	x.requests = 0;
	x.interrupts = 0;
	if (ops->vary)
		ops->vary(1 + sim_random(36));
	for (t = 0; t < explored.threads; t++) {
		struct explore_worker *w = &explored.worker[t];

		w->nr = 1 + sim_random(EXPLORE_STEPS);
		/* Mostly enough; else none, or one. */
		x.left[t] = sim_random(4) ? -1 : (int)sim_random(2);
		for (s = 0; s < w->nr; s++) {
			struct explore_step *step = &w->step[s];

			step->op = explore_op(op_share, 16, supported);
			step->arg = sim_random(explored.nodes);
			if (step->op != MOVE)
				step->arg = -1;
		}
	}
	for (i = 0; i < 2; i++) {
		x.lock[i] = (struct lock_user){
			ops, sim_alloc(0, ops->size, "lock"), operation, &x.shared[i],
		};
		lock_user_init(&x.lock[i]);
	}
	explored.lock = x.lock[0].lock;
	if (supported(LOCK))
		sim_interrupt = interrupt;
	return "";
}

/* The locks must still work when all have gone. */
static void epilogue(void *arg)
{
	int node;

	(void)arg;
	for (node = 0; node < explored.nodes; node++) {
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
		wrong = explored.what->lock->check(x.lock[i].lock);
		if (wrong)
			return wrong;
	}
	for (i = 0; i < x.requests; i++)
		if (x.request[i].runs != 1)
			return "an operation was not run";
	return NULL;
}

const struct explore_kind explore_spin = {
	op_name, program, begin, do_step, epilogue, check,
};
