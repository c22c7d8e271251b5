// SPDX-License-Identifier: GPL-2.0-only
/*
 * The core of ccsynch: compiled as it is into the module, into the guest's kernel and in user
 * space.  What it is, and its invariants: ccsynch_types.h.
 */
#include <linux/atomic.h>
#include <linux/ccsynch.h>
#include <linux/errno.h>
#include <linux/export.h>
#include <linux/gfp.h>
#include <linux/kernel.h>
#include <linux/lockdep.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/overflow.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/printk.h>
#include <linux/sched/clock.h>
#include <linux/topology.h>
#include <trace/events/lock.h>

#ifdef CONFIG_PREEMPT_RT
#error "ccsynch: who waits spins with preemption off, and so does what it runs: not for PREEMPT_RT"
#endif

/* A look at the global lock costs two transfers if it is too early: so long, ns, in between. */
#define PAUSE_MIN	250U
#define PAUSE_MAX	1000000U

/* Tenures that last by time have so many times the operations at most: a clock may stand still. */
#define STRETCH_MAX	64U

/* The defaults; whoever changes them has called ccsynch_check_params(). */
struct ccsynch_params ccsynch_params = { .batch = 32, .tenure = 128, .keep = 8 };
EXPORT_SYMBOL_GPL(ccsynch_params);

/* NULL until ccsynch_setup(): then locks are global ones only. */
static struct ccsynch_cpu __percpu *pool __read_mostly;

/**
 * ccsynch_setup - allocate the CPUs' records
 *
 * Once, before there is concurrency.  Locks may be used earlier; they do not combine then.
 *
 * Context: may sleep.
 * Return: 0, or -ENOMEM.
 */
int ccsynch_setup(void)
{
	pool = __alloc_percpu(sizeof(struct ccsynch_cpu), PAGE_SIZE);
	return pool ? 0 : -ENOMEM;
}

/**
 * ccsynch_teardown - free the CPUs' records
 *
 * There is no lock any more.  Context: may sleep.
 */
void ccsynch_teardown(void)
{
	free_percpu(pool);
	pool = NULL;
}

static int check_param(const char *name, unsigned int value, unsigned int least,
		       unsigned int most)
{
	if (value >= least && value <= most)
		return 0;
	pr_err("ccsynch: %s=%u: expected %u to %u\n", name, value, least, most);
	return -EINVAL;
}

/**
 * ccsynch_check_params - are these parameters possible?
 * @params: the parameters
 *
 * Says in the log which is not.  Context: any.
 * Return: 0 or -EINVAL.
 */
int ccsynch_check_params(const struct ccsynch_params *params)
{
	return check_param("batch", params->batch, 1, CCSYNCH_BATCH_MAX) ?:
	       check_param("tenure", params->tenure, 1, CCSYNCH_TENURE_MAX) ?:
	       check_param("keep", params->keep, 0, CCSYNCH_KEEP_MAX) ?:
	       check_param("groups", params->groups, 0, MAX_NUMNODES);
}
EXPORT_SYMBOL_GPL(ccsynch_check_params);

static void free_table(struct ccsynch_table *t)
{
	unsigned int node;

	if (!t)
		return;
	/* First who shares a page forgets it. */
	for (node = 0; node < t->nr; node++)
		if (t->node[node] && t->node[node]->home != node)
			t->node[node] = NULL;
	for (node = 0; node < t->nr; node++)
		free_page((unsigned long)t->node[node]);
	free_page((unsigned long)t->global_page);
	free_pages((unsigned long)t, get_order(struct_size(t, node, t->nr)));
}

/*
 * Each group's first node has the page of all; neighbours are in one group.  With one group
 * its page has the global lock, too.
 */
static int alloc_nodes(struct ccsynch_table *t, unsigned int groups)
{
	unsigned int nr = num_online_nodes(), nth = 0, group, last = 0;
	struct ccsynch_node *page = NULL;
	int node;

	if (!groups || groups > nr)
		groups = nr;
	if (groups > 1) {
		t->global_page = (void *)__get_free_pages(GFP_KERNEL | __GFP_ZERO, 0);
		t->global = t->global_page;
		if (!t->global)
			return -ENOMEM;
	}
	for_each_online_node(node) {
		group = nth++ * groups / nr;
		if (!page || group != last) {
			struct page *p = alloc_pages_node(node, GFP_KERNEL | __GFP_ZERO, 0);

			if (!p)
				return -ENOMEM;
			page = page_address(p);
			page->home = node;
			last = group;
		}
		t->node[node] = page;
	}
	if (!t->global)
		t->global = &page->only;
	/* One that comes later has no page of its own. */
	for (node = 0; node < t->nr; node++)
		if (!t->node[node])
			t->node[node] = t->node[first_online_node];
	return 0;
}

/**
 * __ccsynch_init - make a lock
 * @cs: the lock
 * @op: the operation that it runs
 * @state: what that works on; best in pages that nothing else is in
 * @params: how
 * @name: for lockdep
 * @key: for lockdep
 *
 * Context: may sleep.
 * Return: 0, -ENOMEM, or -EINVAL with a word in the log.
 */
int __ccsynch_init(struct ccsynch *cs, ccsynch_op_t op, void *state,
		   const struct ccsynch_params *params, const char *name,
		   struct lock_class_key *key)
{
	struct ccsynch_table *t;
	int err;

	cs->table = NULL;
	err = ccsynch_check_params(params);
	if (err)
		return err;
	/* Pages of their own: who writes beside them would take them away. */
	t = (void *)__get_free_pages(GFP_KERNEL | __GFP_ZERO,
				     get_order(struct_size(t, node, nr_node_ids)));
	if (!t)
		return -ENOMEM;
	t->nr = nr_node_ids;
	t->op = op;
	t->state = state;
	t->batch = params->batch;
	t->tenure = params->tenure;
	t->keep = params->keep;
	if (alloc_nodes(t, params->groups)) {
		free_table(t);
		return -ENOMEM;
	}
	lockdep_init_map_wait(&cs->dep_map, name, key, 0, LD_WAIT_CONFIG);
	cs->table = t;
	return 0;
}
EXPORT_SYMBOL_GPL(__ccsynch_init);

/**
 * ccsynch_destroy - free what a lock has allocated
 * @cs: the lock; nobody uses it or will
 *
 * Context: any.
 */
void ccsynch_destroy(struct ccsynch *cs)
{
	free_table(cs->table);
	cs->table = NULL;
}
EXPORT_SYMBOL_GPL(ccsynch_destroy);

/*
 * A record, or NULL when none is left.  Records go back in the order opposite to that in which
 * they were got; an interrupt in between gives back what it got.
 */
static struct ccsynch_record *get_record(void)
{
	struct ccsynch_cpu *cpu;
	unsigned int level;

	if (unlikely(!pool))
		return NULL;
	cpu = this_cpu_ptr(pool);
	level = READ_ONCE(cpu->used);
	if (unlikely(level == CCSYNCH_RECORDS))
		return NULL;
	WRITE_ONCE(cpu->used, level + 1);
	barrier();	/* the record is this context's from here on */
	return &cpu->record[level];
}

static void put_record(void)
{
	struct ccsynch_cpu *cpu = this_cpu_ptr(pool);

	barrier();	/* and up to here */
	WRITE_ONCE(cpu->used, cpu->used - 1);
}

/*
 * Has the clock come to @until?  Or have as many @rounds been looked, each of which takes a ns
 * and more: with interrupts off the clock stands still after a tick, where the TSC is none to
 * rely on.
 */
static bool passed(u64 until, u64 *rounds)
{
	return !*rounds || (s64)(until - local_clock()) <= 0 || !--*rounds;
}

static void relax(u64 ns)
{
	u64 until = local_clock() + ns, rounds = ns;

	do
		cpu_relax();
	while (!passed(until, &rounds));
}

static u32 take_ticket(struct ccsynch_table *t)
{
	return atomic_fetch_inc(&t->global->next);
}

/* Pairs with the release in unlock_global(), as does the acquire in wait_turn(). */
static u32 now_serving(struct ccsynch_table *t)
{
	return atomic_read_acquire(&t->global->serving);
}

/*
 * How long until those who are @ahead have had the lock, if they hold it as long as it was held
 * of late, and somewhat more; and no less than a look costs that is too early.  Much more would
 * make the others late in turn, who do the same.
 * Each look that was too early adds.  When the holder got the lock may be by another clock, so
 * that is not relied on.
 */
static u64 expected(struct ccsynch_global *g, u32 ahead, unsigned int looks)
{
	u32 least = max(READ_ONCE(g->cost), PAUSE_MIN), since = READ_ONCE(g->since);
	u32 hold = clamp(READ_ONCE(g->hold), least, PAUSE_MAX);
	u32 held = since ? min((u32)local_clock() - since, hold) : 0, more = hold / 8;

	return (u64)ahead * (hold + more) - held + more * ((1 << min(looks, 4U)) - 1);
}

/*
 * Take the global lock if it was left: what @left said, or 0.  A write, so that its page comes for
 * writing.
 */
static u32 take_left(struct ccsynch_global *g)
{
	/* Pairs with the release in leave_global(). */
	return xchg_acquire(&g->left, 0);
}

/*
 * So long the global lock was held, 0: nobody knows.  Who holds it alone writes here, and only who
 * had to wait for it took the time.
 */
static void was_held(struct ccsynch_global *g, u32 ns)
{
	if (ns)
		WRITE_ONCE(g->hold, g->hold - g->hold / 4 + min(ns, PAUSE_MAX) / 4);
}

/*
 * Wait until a ticket is served, or is the next and the lock was left; @seen was served when it was
 * taken.  A look too early costs the holder a transfer, and is one itself; a look too late leaves
 * the lock idle.
 *
 * Return: how often it looked; in @came, when the last look began, or 0.
 */
static unsigned int wait_turn(struct ccsynch_table *t, u32 ticket, u32 seen, u32 *came)
{
	struct ccsynch_global *g = t->global;
	u32 ahead = ticket - seen, look = 0, left;
	unsigned int looks = 0;

	while (ahead) {
		left = ahead == 1 && READ_ONCE(g->left) ? take_left(g) : 0;
		if (left) {
			was_held(g, left - 1);
			WRITE_ONCE(g->since, 0);
			atomic_set(&g->serving, ticket);
			break;
		}
		relax(expected(g, ahead, looks));
		look = (u32)local_clock() | 1;
		/*
		 * A write, although of nothing, gets the page for writing, which who is served
		 * will need.
		 */
		ahead = ticket - (u32)atomic_fetch_add_acquire(0, &g->serving);
		looks++;
	}
	if (look)
		WRITE_ONCE(g->since, look);
	*came = look;
	return looks;
}

/* Without a record: wait for the global lock oneself. */
static void lock_global(struct ccsynch *cs, unsigned long ip)
{
	struct ccsynch_table *t = cs->table;
	u32 ticket = take_ticket(t), seen = now_serving(t);
	u32 came;

	if (ticket != seen) {
		lock_contended(&cs->dep_map, ip);
		trace_contention_begin(cs, LCB_F_SPIN);
		wait_turn(t, ticket, seen, &came);
		trace_contention_end(cs, 0);
	}
	lock_acquired(&cs->dep_map, ip);
}

static void unlock_global(struct ccsynch_table *t)
{
	struct ccsynch_global *g = t->global;
	/*
	 * Written first, so the page comes for writing; and before the time is taken, so that
	 * this is part of it.
	 */
	u32 since = xchg(&g->since, 0);

	was_held(g, since ? (u32)local_clock() - since : 0);
	/* What was done can be seen by who is next. */
	atomic_set_release(&g->serving, atomic_read(&g->serving) + 1);
}

/* As unlock_global(), but for this node's next head, if no other head looks before it comes. */
static void leave_global(struct ccsynch_table *t)
{
	struct ccsynch_global *g = t->global;
	u32 since = READ_ONCE(g->since);

	/* What was done can be seen by who takes it. */
	smp_store_release(&g->left, 1 + (since ? min((u32)local_clock() - since, PAUSE_MAX) : 0));
}

static struct ccsynch_node *local_node(struct ccsynch_table *t)
{
	return t->node[numa_node_id()];
}

/*
 * Queue up.  Returns whether the operation has been run; if not, the caller is the queue's
 * head and has the global lock.
 */
static bool enter(struct ccsynch *cs, struct ccsynch_node *node, struct ccsynch_record *rec,
		  unsigned long ip)
{
	enum ccsynch_state state = CCSYNCH_HEAD;
	struct ccsynch_table *t = cs->table;
	struct ccsynch_record *prev;
	bool waited;

	rec->next = NULL;
	rec->state = CCSYNCH_WAITS;
	/* Orders the record before its being found, and what former heads did before this. */
	prev = xchg(&node->tail, rec);
	waited = prev;
	if (waited) {
		lock_contended(&cs->dep_map, ip);
		trace_contention_begin(cs, LCB_F_SPIN);
		/* Pairs with the acquire in next_record(). */
		smp_store_release(&prev->next, rec);
		/* Pairs with the releases in combine(), pass_on() and leave_queue(). */
		state = smp_cond_load_acquire(&rec->state, VAL != CCSYNCH_WAITS);
	}
	if (state == CCSYNCH_HEAD && node->left && take_left(t->global))
		state = CCSYNCH_OWNER;
	if (state == CCSYNCH_HEAD) {
		node->ticket = take_ticket(t);
		node->seen = now_serving(t);
	}
	if (state == CCSYNCH_HEAD || state == CCSYNCH_TICKET) {
		node->came = 0;
		node->until = 0;
		if (node->ticket != node->seen) {
			if (!waited) {
				lock_contended(&cs->dep_map, ip);
				trace_contention_begin(cs, LCB_F_SPIN);
				waited = true;
			}
			node->looks += wait_turn(t, node->ticket, node->seen, &node->came);
		}
		node->served = 0;
		node->tenures++;
	}
	if (waited)
		trace_contention_end(cs, 0);
	lock_acquired(&cs->dep_map, ip);
	return state == CCSYNCH_DONE;
}

/* What is behind the head's or combiner's record; if NULL, the queue is empty now. */
static struct ccsynch_record *next_record(struct ccsynch_node *node, struct ccsynch_record *rec)
{
	/* Pairs with the release in enter(). */
	struct ccsynch_record *next = smp_load_acquire(&rec->next), *old = rec;

	if (next)
		return next;
	/* The next head comes after all that this one did in the node's page. */
	if (try_cmpxchg_release(&node->tail, &old, NULL))
		return NULL;
	/* Somebody is between its xchg() and its store. */
	return smp_cond_load_acquire(&rec->next, VAL);
}

static void count_ops(struct ccsynch_node *node, unsigned int ops)
{
	node->served += ops;
	node->ops += ops;
}

/*
 * The first operation of a tenure is done.  If its node had to wait for the global lock, then what
 * took since its last look is what it costs to have the lock and what it protects come here; so
 * the tenure has to be some times as long, whoever waits.
 */
static void began(struct ccsynch_table *t, struct ccsynch_node *node)
{
	u32 cost = min((u32)local_clock() - node->came, PAUSE_MAX);

	WRITE_ONCE(t->global->cost, cost);
	node->until = (node->came + cost * (t->keep + 1)) | 1;
	node->came = 0;
}

/* Has the node had the global lock for long enough? */
static bool tenure_over(struct ccsynch_table *t, struct ccsynch_node *node)
{
	return node->served >= t->tenure &&
	       (!node->until || node->served / STRETCH_MAX >= t->tenure ||
		(s32)(node->until - (u32)local_clock()) <= 0);
}

/* Another record becomes the head, the global lock going with it or to the next node. */
static void pass_on(struct ccsynch_table *t, struct ccsynch_node *node,
		    struct ccsynch_record *next)
{
	enum ccsynch_state state = CCSYNCH_OWNER;

	if (tenure_over(t, node)) {
		node->left = false;
		/* The ticket first: if nobody waits, the lock stays here. */
		node->ticket = take_ticket(t);
		unlock_global(t);
		node->seen = now_serving(t);
		state = CCSYNCH_TICKET;
	}
	/* What was done can be seen by who is the head now. */
	smp_store_release(&next->state, state);
}

/*
 * Run the operation of the head, which has the global lock, and those behind it.  Returns the
 * head's result.
 */
static unsigned long combine(struct ccsynch_table *t, struct ccsynch_node *node,
			     struct ccsynch_record *rec)
{
	unsigned long result = t->op(t->state, rec->arg);
	struct ccsynch_record *at = rec, *next;
	unsigned int ops = 1, uncounted = 1;
	bool left;

	if (node->came)
		began(t, node);
	for (;;) {
		left = false;
		if (!READ_ONCE(at->next)) {
			/* When the queue is empty the page may be another's. */
			count_ops(node, uncounted);
			uncounted = 0;
			left = !tenure_over(t, node);
			node->left = left;
			/* First left, then empty: who finds the queue empty finds the lock. */
			if (left)
				leave_global(t);
		}
		next = next_record(node, at);
		if (at != rec)
			/* The result can be seen by who sees this; the record is gone then. */
			smp_store_release(&at->state, CCSYNCH_DONE);
		if (!next) {
			if (!left)
				unlock_global(t);
			return result;
		}
		if (left && !take_left(t->global)) {
			/* Another node has it: somebody came too late. */
			node->left = false;
			/* It comes after what this one did in the node's page. */
			smp_store_release(&next->state, CCSYNCH_HEAD);
			return result;
		}
		if (next->plain || ops == t->batch)
			break;
		at = next;
		at->result = t->op(t->state, at->arg);
		ops++;
		uncounted++;
	}
	count_ops(node, uncounted);
	pass_on(t, node, next);
	return result;
}

/* The head has the global lock, and no use for its record any more. */
static void leave_queue(struct ccsynch_node *node, struct ccsynch_record *rec)
{
	struct ccsynch_record *next = next_record(node, rec);

	if (next)
		/* It comes after what this one did in the node's page. */
		smp_store_release(&next->state, CCSYNCH_HEAD);
}

/**
 * ccsynch_run - have an operation run, alone
 * @cs: the lock, not held by the caller
 * @arg: for the operation
 *
 * When it returns the operation has been run, by the caller or another on its node; what it did
 * can be seen.
 *
 * Context: any but NMI; interrupts off where the lock is used in interrupts.
 * Return: what the operation returns.
 */
unsigned long ccsynch_run(struct ccsynch *cs, unsigned long arg)
{
	struct ccsynch_table *t = cs->table;
	struct ccsynch_record *rec;
	struct ccsynch_node *node;
	unsigned long result;

	WARN_ON_ONCE(in_nmi());
	preempt_disable();
	spin_acquire(&cs->dep_map, 0, 0, _RET_IP_);
	rec = get_record();
	if (likely(rec)) {
		node = local_node(t);
		rec->arg = arg;
		rec->plain = false;
		result = enter(cs, node, rec, _RET_IP_) ? rec->result : combine(t, node, rec);
		put_record();
	} else {
		lock_global(cs, _RET_IP_);
		result = t->op(t->state, arg);
		unlock_global(t);
	}
	spin_release(&cs->dep_map, _RET_IP_);
	preempt_enable();
	return result;
}
EXPORT_SYMBOL_GPL(ccsynch_run);

/**
 * ccsynch_lock - keep operations and others out
 * @cs: the lock
 *
 * Context: any but NMI; interrupts off where the lock is used in interrupts.  Spins; preemption
 * is off until ccsynch_unlock().
 */
void ccsynch_lock(struct ccsynch *cs)
{
	struct ccsynch_record *rec;
	struct ccsynch_node *node;

	WARN_ON_ONCE(in_nmi());
	preempt_disable();
	spin_acquire(&cs->dep_map, 0, 0, _RET_IP_);
	rec = get_record();
	if (unlikely(!rec)) {
		lock_global(cs, _RET_IP_);
		return;
	}
	node = local_node(cs->table);
	rec->plain = true;
	enter(cs, node, rec, _RET_IP_);
	leave_queue(node, rec);
	put_record();
}
EXPORT_SYMBOL_GPL(ccsynch_lock);

/**
 * ccsynch_trylock - the same, if it is possible at once
 * @cs: the lock
 *
 * Context: any, NMI too.
 * Return: 1 if locked, else 0.
 */
int ccsynch_trylock(struct ccsynch *cs)
{
	struct ccsynch_global *g = cs->table->global;
	bool got = false;
	int serving;

	preempt_disable();
	/*
	 * Nobody is served before his ticket was given out, so if @next is still what @serving
	 * was then nobody has come since, and what they did who went can be seen.
	 */
	serving = now_serving(cs->table);
	if (atomic_read(&g->next) == serving)
		got = atomic_try_cmpxchg_acquire(&g->next, &serving, serving + 1);
	else if (atomic_read(&g->next) == serving + 1 && READ_ONCE(g->left))
		got = take_left(g);	/* nobody waits */
	if (!got) {
		preempt_enable();
		return 0;
	}
	spin_acquire(&cs->dep_map, 0, 1, _RET_IP_);
	return 1;
}
EXPORT_SYMBOL_GPL(ccsynch_trylock);

/**
 * ccsynch_unlock - let others in
 * @cs: the lock, held by ccsynch_lock() or ccsynch_trylock()
 *
 * Context: that in which it was locked.
 */
void ccsynch_unlock(struct ccsynch *cs)
{
	spin_release(&cs->dep_map, _RET_IP_);
	unlock_global(cs->table);
	preempt_enable();
}
EXPORT_SYMBOL_GPL(ccsynch_unlock);

/**
 * ccsynch_is_locked - is somebody in, or about to be?
 * @cs: the lock
 *
 * Context: any.
 * Return: whether.
 */
bool ccsynch_is_locked(struct ccsynch *cs)
{
	struct ccsynch_global *g = cs->table->global;

	return atomic_read(&g->serving) + !!READ_ONCE(g->left) != atomic_read(&g->next);
}
EXPORT_SYMBOL_GPL(ccsynch_is_locked);

/**
 * ccsynch_stats - what a lock has done since it was made
 * @cs: the lock
 * @stats: filled in; figures of different moments, if the lock is in use
 *
 * Context: any.
 */
void ccsynch_stats(struct ccsynch *cs, struct ccsynch_stats *stats)
{
	struct ccsynch_table *t = cs->table;
	unsigned int node;

	*stats = (struct ccsynch_stats){ 0 };
	for (node = 0; node < t->nr; node++) {
		struct ccsynch_node *n = t->node[node];

		if (n->home != node)
			continue;
		stats->ops += READ_ONCE(n->ops);
		stats->tenures += READ_ONCE(n->tenures);
		stats->looks += READ_ONCE(n->looks);
	}
}
EXPORT_SYMBOL_GPL(ccsynch_stats);
