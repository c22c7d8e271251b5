// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of ccsynch: its contracts as one thread sees them, and who runs what when threads
 * queue up in a known order.  What is random is torture.c's.
 *
 * A test stays on its CPU.  Who is to queue up is a thread of its own on another CPU; the test
 * has the lock until it has seen it in the queue.
 */
#undef pr_fmt	/* compat.h came first */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <kunit/test.h>
#include <linux/ccsynch.h>
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/irq_work.h>
#include <linux/irqflags.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/nodemask.h>
#include <linux/preempt.h>
#include <linux/topology.h>

#include "../torture.h"

/* A queue for each node, one for all, and no combining. */
struct kind {
	const char *name;
	unsigned int groups;
	bool no_records;
};

static const struct kind kinds[] = {
	{ "a queue for each node", 0, false },
	{ "one queue", 1, false },
	{ "no record left", 0, true },
};

static void kind_name(const struct kind *kind, char *name)
{
	strscpy(name, kind->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(kind, kinds, kind_name);

/* What the lock protects: who ran which operation, in order. */
struct data {
	unsigned long sum;
	unsigned int n;
	bool irqs_off, preempt_off;
	struct {
		unsigned long arg;
		int cpu;
	} log[64];
};

struct context {
	struct ccsynch cs;
	struct data data;
};

static void note_run(struct data *data, unsigned long arg)
{
	unsigned int i = data->n++ % ARRAY_SIZE(data->log);

	data->log[i].arg = arg;
	data->log[i].cpu = raw_smp_processor_id();
}

static unsigned long op(void *state, unsigned long arg)
{
	struct data *data = state;

	note_run(data, arg);
	data->sum += arg;
	data->irqs_off = irqs_disabled();
	data->preempt_off = preempt_count() || !IS_ENABLED(CONFIG_PREEMPT_COUNT);
	return data->sum;
}

static int stay(int cpu)
{
	return set_cpus_allowed_ptr(current, cpumask_of(cpu));
}

static int context_init(struct kunit *test)
{
	struct context *c = kunit_kzalloc(test, sizeof(*c), GFP_KERNEL);

	if (!c)
		return -ENOMEM;
	test->priv = c;
	return stay(cpumask_first(cpu_online_mask));
}

static void context_exit(struct kunit *test)
{
	struct context *c = test->priv;

	if (c && c->cs.table)
		ccsynch_destroy(&c->cs);
}

static void make(struct kunit *test, struct ccsynch_params params)
{
	struct context *c = test->priv;

	KUNIT_ASSERT_EQ(test, ccsynch_init_params(&c->cs, op, &c->data, &params), 0);
}

static struct ccsynch_node *page_of(struct ccsynch *cs, int node)
{
	return cs->table->node[node];
}

/* Nobody is in, and nobody waits. */
static void expect_free(struct kunit *test, struct ccsynch *cs)
{
	int node;

	KUNIT_EXPECT_FALSE(test, ccsynch_is_locked(cs));
	for_each_online_node(node)
		KUNIT_EXPECT_PTR_EQ(test, page_of(cs, node)->tail, NULL);
}

/* ---- Nesting ---- */

struct level {
	struct ccsynch cs;
	struct level *next;	/* the lock that its operation uses, or NULL */
	unsigned long (*inmost)(void *arg);
	void *arg;
	unsigned int runs;
};

static unsigned long level_op(void *state, unsigned long arg)
{
	struct level *level = state;

	level->runs++;
	if (level->next)
		return ccsynch_run(&level->next->cs, arg + 1) + 1;
	return level->inmost ? level->inmost(level->arg) : arg;
}

#define MAX_LEVELS	(CCSYNCH_RECORDS + 3)

static struct lock_class_key level_keys[MAX_LEVELS];

/* Locks whose operations use each other, @n deep */
static struct level *levels_make(struct kunit *test, unsigned int n)
{
	struct level *level = kunit_kcalloc(test, n, sizeof(*level), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, level);
	KUNIT_ASSERT_LE(test, n, (unsigned int)MAX_LEVELS);
	for (i = 0; i < n; i++) {
		KUNIT_ASSERT_EQ(test, __ccsynch_init(&level[i].cs, level_op, &level[i],
						     &ccsynch_params, "level", &level_keys[i]), 0);
		level[i].next = i < n - 1 ? &level[i + 1] : NULL;
	}
	return level;
}

static void levels_destroy(struct level *level, unsigned int n)
{
	while (n--)
		ccsynch_destroy(&level[n].cs);
}

static u64 ops_of(struct ccsynch *cs)
{
	struct ccsynch_stats stats;

	ccsynch_stats(cs, &stats);
	return stats.ops;
}

/* Deeper than there are records; twice, as all of them have to come back. */
static void nested_test(struct kunit *test)
{
	unsigned int n = MAX_LEVELS, i, round;
	struct level *level = levels_make(test, n);

	for (round = 1; round <= 2; round++) {
		KUNIT_EXPECT_EQ(test, ccsynch_run(&level[0].cs, 100), 100UL + 2 * (n - 1));
		for (i = 0; i < n; i++) {
			KUNIT_EXPECT_EQ(test, level[i].runs, round);
			/* Without a record nothing is combined. */
			KUNIT_EXPECT_EQ(test, ops_of(&level[i].cs),
					(u64)(i < CCSYNCH_RECORDS ? round : 0));
			expect_free(test, &level[i].cs);
		}
	}
	levels_destroy(level, n);
}

/* Run something as deep in others' operations as there are records. */
static void without_records(struct kunit *test, unsigned long (*fn)(void *arg), void *arg)
{
	struct level *level = levels_make(test, CCSYNCH_RECORDS);

	level[CCSYNCH_RECORDS - 1].inmost = fn;
	level[CCSYNCH_RECORDS - 1].arg = arg;
	ccsynch_run(&level[0].cs, 0);
	levels_destroy(level, CCSYNCH_RECORDS);
}

/* ---- One thread ---- */

static unsigned long use_all(void *arg)
{
	struct kunit *test = arg;
	struct context *c = test->priv;
	struct ccsynch *cs = &c->cs;
	struct data *data = &c->data;
	bool irqs_off = irqs_disabled();
	int count = preempt_count();
	unsigned long flags;

	KUNIT_EXPECT_EQ(test, ccsynch_run(cs, 5), 5UL);
	KUNIT_EXPECT_EQ(test, ccsynch_run(cs, 7), 12UL);
	KUNIT_EXPECT_EQ(test, data->n, 2U);
	KUNIT_EXPECT_TRUE(test, data->preempt_off);
	KUNIT_EXPECT_EQ(test, data->irqs_off, irqs_off);
	expect_free(test, cs);

	KUNIT_EXPECT_EQ(test, ccsynch_run_irqsave(cs, 1), 13UL);
	KUNIT_EXPECT_TRUE(test, data->irqs_off);
	KUNIT_EXPECT_EQ(test, irqs_disabled(), irqs_off);
	expect_free(test, cs);

	ccsynch_lock(cs);
	KUNIT_EXPECT_TRUE(test, ccsynch_is_locked(cs));
	KUNIT_EXPECT_EQ(test, preempt_count(), count + IS_ENABLED(CONFIG_PREEMPT_COUNT));
	KUNIT_EXPECT_EQ(test, irqs_disabled(), irqs_off);
	data->sum++;
	ccsynch_unlock(cs);
	expect_free(test, cs);

	ccsynch_lock_irqsave(cs, flags);
	KUNIT_EXPECT_TRUE(test, irqs_disabled());
	data->sum++;
	ccsynch_unlock_irqrestore(cs, flags);
	KUNIT_EXPECT_EQ(test, irqs_disabled(), irqs_off);
	expect_free(test, cs);
	KUNIT_EXPECT_EQ(test, ccsynch_run(cs, 0), 15UL);
	return 0;
}

static void run_test(struct kunit *test)
{
	const struct kind *kind = test->param_value;
	struct context *c = test->priv;
	int count = preempt_count();

	make(test, (struct ccsynch_params){ .batch = 32, .tenure = 128, .groups = kind->groups });
	if (kind->no_records)
		without_records(test, use_all, test);
	else
		use_all(test);
	KUNIT_EXPECT_EQ(test, preempt_count(), count);
	KUNIT_EXPECT_EQ(test, ops_of(&c->cs), kind->no_records ? 0ULL : 4ULL);
	expect_free(test, &c->cs);
}

static unsigned long use_try(void *arg)
{
	struct kunit *test = arg;
	struct ccsynch *cs = &((struct context *)test->priv)->cs;
	bool irqs_off = irqs_disabled();
	unsigned long flags, flags2;
	int count = preempt_count();

	KUNIT_EXPECT_EQ(test, ccsynch_trylock(cs), 1);
	KUNIT_EXPECT_TRUE(test, ccsynch_is_locked(cs));
	KUNIT_EXPECT_EQ(test, ccsynch_trylock(cs), 0);
	KUNIT_EXPECT_EQ(test, ccsynch_trylock_irqsave(cs, flags), 0);
	KUNIT_EXPECT_EQ(test, irqs_disabled(), irqs_off);
	KUNIT_EXPECT_EQ(test, preempt_count(), count + IS_ENABLED(CONFIG_PREEMPT_COUNT));
	ccsynch_unlock(cs);
	KUNIT_EXPECT_EQ(test, preempt_count(), count);
	expect_free(test, cs);

	KUNIT_EXPECT_EQ(test, ccsynch_trylock_irqsave(cs, flags), 1);
	KUNIT_EXPECT_TRUE(test, irqs_disabled());
	KUNIT_EXPECT_EQ(test, ccsynch_trylock_irqsave(cs, flags2), 0);
	KUNIT_EXPECT_TRUE(test, irqs_disabled());
	ccsynch_unlock_irqrestore(cs, flags);
	KUNIT_EXPECT_EQ(test, irqs_disabled(), irqs_off);
	expect_free(test, cs);

	ccsynch_lock(cs);
	KUNIT_EXPECT_EQ(test, ccsynch_trylock(cs), 0);
	ccsynch_unlock(cs);
	KUNIT_EXPECT_EQ(test, ccsynch_run(cs, 3), 3UL);
	KUNIT_EXPECT_EQ(test, preempt_count(), count);
	expect_free(test, cs);
	return 0;
}

static void trylock_test(struct kunit *test)
{
	const struct kind *kind = test->param_value;

	make(test, (struct ccsynch_params){ .batch = 32, .tenure = 128, .groups = kind->groups });
	if (kind->no_records)
		without_records(test, use_try, test);
	else
		use_try(test);
}

static void params_test(struct kunit *test)
{
	static const struct ccsynch_params bad[] = {
		{ 0, 1, 0 }, { CCSYNCH_BATCH_MAX + 1, 1, 0 }, { 1, 0, 0 },
		{ 1, CCSYNCH_TENURE_MAX + 1, 0 }, { 1, 1, MAX_NUMNODES + 1 },
	};
	struct context *c = test->priv;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		KUNIT_EXPECT_EQ(test, ccsynch_init_params(&c->cs, op, &c->data, &bad[i]), -EINVAL);
		KUNIT_EXPECT_PTR_EQ(test, c->cs.table, NULL);
	}
	for (i = 0; i <= MAX_NUMNODES; i = 2 * i + 1) {
		make(test, (struct ccsynch_params){ 1, 1, i });
		KUNIT_EXPECT_EQ(test, ccsynch_run(&c->cs, 0), 0UL);
		ccsynch_destroy(&c->cs);
	}
	/* Nothing is left to free. */
	ccsynch_destroy(&c->cs);
}

/* Where a lock's pages are */
static void pages_test(struct kunit *test)
{
	struct context *c = test->priv;
	struct ccsynch_table *t;
	int node, other;

	make(test, (struct ccsynch_params){ 32, 128, 0 });
	t = c->cs.table;
	KUNIT_EXPECT_EQ(test, t->nr, nr_node_ids);
	for_each_online_node(node) {
		struct ccsynch_node *page = t->node[node];

		KUNIT_EXPECT_EQ(test, page->home, node);
		KUNIT_EXPECT_EQ(test, (unsigned long)page % PAGE_SIZE, 0UL);
		if (node_state(node, N_MEMORY))
			KUNIT_EXPECT_EQ(test, page_to_nid(virt_to_page(page)), node);
		for_each_online_node(other)
			KUNIT_EXPECT_EQ(test, page == t->node[other], node == other);
	}
	if (num_online_nodes() > 1)
		KUNIT_EXPECT_PTR_EQ(test, (void *)t->global, t->global_page);
	for (node = 0; node < t->nr; node++)
		if (!node_online(node))
			KUNIT_EXPECT_PTR_EQ(test, t->node[node], t->node[first_online_node]);
	ccsynch_destroy(&c->cs);

	make(test, (struct ccsynch_params){ 32, 128, 1 });
	t = c->cs.table;
	KUNIT_EXPECT_PTR_EQ(test, t->global, &t->node[first_online_node]->only);
	for (node = 0; node < t->nr; node++)
		KUNIT_EXPECT_PTR_EQ(test, t->node[node], t->node[first_online_node]);
}

/* Many locks share the CPUs' records; made and destroyed in any order. */
static void many_test(struct kunit *test)
{
	const unsigned int n = 200;
	struct ccsynch *cs = kunit_kcalloc(test, n, sizeof(*cs), GFP_KERNEL);
	struct data *data = kunit_kcalloc(test, n, sizeof(*data), GFP_KERNEL);
	unsigned int i, round;

	KUNIT_ASSERT_NOT_NULL(test, cs);
	KUNIT_ASSERT_NOT_NULL(test, data);
	for (i = 0; i < n; i++)
		KUNIT_ASSERT_EQ(test, ccsynch_init(&cs[i], op, &data[i]), 0);
	for (round = 1; round <= 3; round++)
		for (i = 0; i < n; i++)
			KUNIT_EXPECT_EQ(test, ccsynch_run(&cs[i], i), (unsigned long)i * round);
	for (i = 0; i < n; i += 2)
		ccsynch_destroy(&cs[i]);
	for (i = 1; i < n; i += 2) {
		KUNIT_EXPECT_EQ(test, ccsynch_run(&cs[i], 0), (unsigned long)i * 3);
		ccsynch_destroy(&cs[i]);
	}
}

/* ---- Interrupts ---- */

struct irq_user {
	struct irq_work work;
	struct ccsynch *cs;
	unsigned long result;
	bool done;
};

static void irq_fn(struct irq_work *work)
{
	struct irq_user *irq = container_of(work, struct irq_user, work);

	irq->result = ccsynch_run(irq->cs, 40);
	WRITE_ONCE(irq->done, true);
}

/* In the midst of an operation: be interrupted by one that uses another lock. */
static unsigned long interrupted(void *arg)
{
	struct irq_user *irq = arg;
	u64 end = ktime_get_ns() + 10 * NSEC_PER_SEC;

	irq_work_queue(&irq->work);
	while (!READ_ONCE(irq->done) && ktime_get_ns() < end)
		cpu_relax();
	return READ_ONCE(irq->done) && !irqs_disabled();
}

/* With records left for the interrupt, with one, and with none */
static void irq_test(struct kunit *test)
{
	struct context *c = test->priv;
	unsigned int depth;

	/* Of a class of its own: elsewhere interrupts may be on. */
	KUNIT_ASSERT_EQ(test, ccsynch_init(&c->cs, op, &c->data), 0);
	for (depth = CCSYNCH_RECORDS - 2; depth <= CCSYNCH_RECORDS + 1; depth++) {
		struct level *level = levels_make(test, depth);
		struct irq_user irq = { .work = IRQ_WORK_INIT(irq_fn), .cs = &c->cs };
		u64 ops = ops_of(&c->cs);

		c->data.sum = 2;
		level[depth - 1].inmost = interrupted;
		level[depth - 1].arg = &irq;
		KUNIT_EXPECT_EQ(test, ccsynch_run(&level[0].cs, 0), 1UL + (depth - 1));
		irq_work_sync(&irq.work);
		KUNIT_EXPECT_EQ(test, irq.result, 42UL);
		KUNIT_EXPECT_TRUE(test, c->data.irqs_off);
		KUNIT_EXPECT_EQ(test, ops_of(&c->cs), ops + (depth < CCSYNCH_RECORDS));
		expect_free(test, &c->cs);
		levels_destroy(level, depth);
	}
}

/* ---- Queues ---- */

#define MAX_WAITERS	3

/* Threads that queue up, each on its CPU, one after the other */
static struct {
	struct crew crew;
	struct context *context;
	struct waiter {
		int cpu;
		bool plain;
		unsigned long result;
	} waiter[MAX_WAITERS];
	unsigned int called;
} queue;

static int waiter_fn(void *arg)
{
	unsigned int nr = (unsigned long)arg;
	struct waiter *w = &queue.waiter[nr];
	struct ccsynch *cs = &queue.context->cs;

	while (READ_ONCE(queue.called) <= nr)
		cond_resched();
	if (w->plain) {
		ccsynch_lock(cs);
		note_run(&queue.context->data, nr);
		ccsynch_unlock(cs);
	} else {
		w->result = ccsynch_run(cs, nr);
	}
	crew_leave(&queue.crew);
	return 0;
}

/* Has the next one come, and if it is a head, got its ticket? */
static bool has_come(struct ccsynch *cs, int cpu, struct ccsynch_record *tail, int tickets)
{
	struct ccsynch_node *page = page_of(cs, cpu_to_node(cpu));

	return READ_ONCE(page->tail) != tail &&
	       (tail || atomic_read(&cs->table->global->next) != tickets);
}

/* Have the waiters queue up in this order while the lock is held, and wait until all is done. */
static void queue_up(struct kunit *test, unsigned int n)
{
	struct context *c = test->priv;
	struct ccsynch *cs = &c->cs;
	unsigned int i;

	queue.context = c;
	queue.called = 0;
	KUNIT_ASSERT_EQ(test, crew_create(&queue.crew, n, waiter_fn, "ccsynch_kunit"), 0);
	for (i = 0; i < n; i++)
		kthread_bind(queue.crew.task[i], queue.waiter[i].cpu);
	crew_start(&queue.crew);
	ccsynch_lock(cs);
	for (i = 0; i < n; i++) {
		int cpu = queue.waiter[i].cpu, next = atomic_read(&cs->table->global->next);
		struct ccsynch_record *tail = READ_ONCE(page_of(cs, cpu_to_node(cpu))->tail);
		u64 end = ktime_get_ns() + 20 * NSEC_PER_SEC;

		WRITE_ONCE(queue.called, i + 1);
		while (!has_come(cs, cpu, tail, next) && ktime_get_ns() < end)
			cpu_relax();
		KUNIT_EXPECT_TRUE_MSG(test, has_come(cs, cpu, tail, next),
				      "waiter %u did not come", i);
	}
	/* The lock keeps them all out. */
	KUNIT_EXPECT_EQ(test, READ_ONCE(c->data.n), 0U);
	ccsynch_unlock(cs);
	crew_wait(&queue.crew);
	KUNIT_EXPECT_EQ(test, c->data.n, n);
	expect_free(test, cs);
}

/* Waiter @nr's turn was the @at-th, and waiter @by's CPU ran it. */
static void expect_ran(struct kunit *test, unsigned int at, unsigned int nr, unsigned int by)
{
	struct data *data = &((struct context *)test->priv)->data;

	KUNIT_EXPECT_EQ_MSG(test, data->log[at].arg, (unsigned long)nr, "turn %u", at);
	KUNIT_EXPECT_EQ_MSG(test, data->log[at].cpu, queue.waiter[by].cpu, "turn %u", at);
}

/* The online CPU after @cpu, but this one; of this node, or of any if NUMA_NO_NODE */
static int next_cpu(int cpu, int node)
{
	do
		cpu = cpumask_next(cpu, cpu_online_mask);
	while (cpu < nr_cpu_ids && (cpu == raw_smp_processor_id() ||
				    (node != NUMA_NO_NODE && cpu_to_node(cpu) != node)));
	return cpu;
}

/* Three waiters in one queue; @plain: one that wants the plain lock, or none */
static void one_queue(struct kunit *test, unsigned int batch, unsigned int plain)
{
	int cpu = -1;
	unsigned int i;

	for (i = 0; i < MAX_WAITERS; i++) {
		cpu = next_cpu(cpu, NUMA_NO_NODE);
		if (cpu >= nr_cpu_ids)
			kunit_skip(test, "%u more CPUs are needed", MAX_WAITERS);
		queue.waiter[i] = (struct waiter){ .cpu = cpu, .plain = i == plain };
	}
	make(test, (struct ccsynch_params){ .batch = batch, .tenure = 128, .groups = 1 });
	queue_up(test, MAX_WAITERS);
}

/* A combiner runs as many operations as it may, and the next goes on. */
static void batch_test(struct kunit *test)
{
	struct context *c = test->priv;
	struct ccsynch_stats stats;
	unsigned int batch, i;

	for (batch = 1; batch <= MAX_WAITERS; batch++) {
		unsigned long sum = 0;

		memset(&c->data, 0, sizeof(c->data));
		one_queue(test, batch, MAX_WAITERS);
		for (i = 0; i < MAX_WAITERS; i++) {
			expect_ran(test, i, i, i - i % batch);
			/* Each got the result of its own operation. */
			sum += i;
			KUNIT_EXPECT_EQ(test, queue.waiter[i].result, sum);
		}
		ccsynch_stats(&c->cs, &stats);
		KUNIT_EXPECT_EQ(test, stats.ops, (u64)MAX_WAITERS);
		/* The plain lock that kept them out, and the three together */
		KUNIT_EXPECT_EQ(test, stats.tenures, 2ULL);
		ccsynch_destroy(&c->cs);
	}
}

/* Who wants the plain lock has its turn in the queue, too. */
static void plain_test(struct kunit *test)
{
	/* Who runs it: the plain one breaks what one would have combined. */
	static const unsigned int by[MAX_WAITERS][MAX_WAITERS] = {
		{ 0, 1, 1 }, { 0, 1, 2 }, { 0, 0, 2 },
	};
	struct context *c = test->priv;
	unsigned int plain, i;

	for (plain = 0; plain < MAX_WAITERS; plain++) {
		memset(&c->data, 0, sizeof(c->data));
		one_queue(test, 32, plain);
		for (i = 0; i < MAX_WAITERS; i++)
			expect_ran(test, i, i, by[plain][i]);
		KUNIT_EXPECT_EQ(test, ops_of(&c->cs), (u64)MAX_WAITERS - 1);
		ccsynch_destroy(&c->cs);
	}
}

/* Two waiters of another node, and between them one of this: when is its turn? */
static void tenure_test(struct kunit *test)
{
	/* By tenure of 128 operations, and of one: the waiters in the order of their turns */
	static const unsigned int turns[2][MAX_WAITERS] = { { 0, 2, 1 }, { 0, 1, 2 } };
	struct context *c = test->priv;
	int here = numa_node_id(), there = next_node(here, node_states[N_CPU]);
	int own = next_cpu(-1, here), first, second;
	unsigned int i, j;

	first = there < MAX_NUMNODES ? next_cpu(-1, there) : nr_cpu_ids;
	second = first < nr_cpu_ids ? next_cpu(first, there) : nr_cpu_ids;
	if (own >= nr_cpu_ids || second >= nr_cpu_ids)
		kunit_skip(test, "two nodes with two CPUs each are needed");
	for (i = 0; i < ARRAY_SIZE(turns); i++) {
		memset(&c->data, 0, sizeof(c->data));
		queue.waiter[0] = (struct waiter){ .cpu = first };
		queue.waiter[1] = (struct waiter){ .cpu = own };
		queue.waiter[2] = (struct waiter){ .cpu = second };
		make(test, (struct ccsynch_params){ .batch = 1, .tenure = i ? 1 : 128 });
		queue_up(test, MAX_WAITERS);
		for (j = 0; j < MAX_WAITERS; j++)
			expect_ran(test, j, turns[i][j], turns[i][j]);
		ccsynch_destroy(&c->cs);
	}
}

/*
 * Who has run the last operation leaves the lock to its node, until another comes for it, by an
 * operation or as it is.
 */
static void left_test(struct kunit *test)
{
	struct context *c = test->priv;
	struct ccsynch_global *g;
	int home = raw_smp_processor_id(), there = next_node(numa_node_id(), node_states[N_CPU]);
	int other = there < MAX_NUMNODES ? next_cpu(-1, there) : nr_cpu_ids;
	struct ccsynch_stats stats;
	int i;

	if (other >= nr_cpu_ids)
		kunit_skip(test, "a CPU of a node that comes later is needed");
	make(test, ccsynch_params);
	g = c->cs.table->global;
	for (i = 1; i <= 3; i++) {
		KUNIT_EXPECT_EQ(test, ccsynch_run(&c->cs, 1), (unsigned long)i);
		KUNIT_EXPECT_GT(test, g->left, 0U);
		/* With the ticket that it had at first */
		KUNIT_EXPECT_EQ(test, atomic_read(&g->serving), 0);
		expect_free(test, &c->cs);
	}
	KUNIT_ASSERT_EQ(test, stay(other), 0);
	KUNIT_EXPECT_EQ(test, ccsynch_run(&c->cs, 1), 4UL);
	KUNIT_EXPECT_GT(test, g->left, 0U);
	KUNIT_EXPECT_EQ(test, atomic_read(&g->serving), 1);
	ccsynch_stats(&c->cs, &stats);
	KUNIT_EXPECT_EQ(test, stats.tenures, 2ULL);

	KUNIT_EXPECT_EQ(test, ccsynch_trylock(&c->cs), 1);
	KUNIT_EXPECT_EQ(test, g->left, 0U);
	KUNIT_EXPECT_TRUE(test, ccsynch_is_locked(&c->cs));
	KUNIT_EXPECT_EQ(test, ccsynch_trylock(&c->cs), 0);
	ccsynch_unlock(&c->cs);
	KUNIT_EXPECT_EQ(test, atomic_read(&g->serving), 2);
	expect_free(test, &c->cs);
	KUNIT_ASSERT_EQ(test, stay(home), 0);
}

/* ---- CPUs ---- */

/* Each CPU that is online uses the queue of its node. */
static void use_each_cpu(struct kunit *test)
{
	struct context *c = test->priv;
	int cpu, home = raw_smp_processor_id();

	for_each_online_cpu(cpu) {
		u64 before = page_of(&c->cs, cpu_to_node(cpu))->ops;
		unsigned long sum = c->data.sum;

		KUNIT_ASSERT_EQ(test, stay(cpu), 0);
		KUNIT_EXPECT_EQ(test, numa_node_id(), cpu_to_node(cpu));
		KUNIT_EXPECT_EQ(test, ccsynch_run(&c->cs, 1), sum + 1);
		ccsynch_lock(&c->cs);
		c->data.sum++;
		ccsynch_unlock(&c->cs);
		KUNIT_EXPECT_EQ(test, ccsynch_run_irqsave(&c->cs, 1), sum + 3);
		KUNIT_EXPECT_EQ(test, page_of(&c->cs, cpu_to_node(cpu))->ops, before + 2);
	}
	KUNIT_ASSERT_EQ(test, stay(home), 0);
	expect_free(test, &c->cs);
}

static void each_cpu_test(struct kunit *test)
{
	make(test, ccsynch_params);
	use_each_cpu(test);
}

/* On a node that has no memory: its queue's page is another's. */
static void memoryless_test(struct kunit *test)
{
	struct context *c = test->priv;
	int node, home = raw_smp_processor_id(), cpu = nr_cpu_ids;

	for_each_node_state(node, N_CPU)
		if (!node_state(node, N_MEMORY))
			cpu = next_cpu(-1, node);
	if (cpu >= nr_cpu_ids)
		kunit_skip(test, "a node with CPUs and without memory is needed");
	make(test, ccsynch_params);
	node = cpu_to_node(cpu);
	KUNIT_EXPECT_EQ(test, page_of(&c->cs, node)->home, node);
	KUNIT_EXPECT_NE(test, page_to_nid(virt_to_page(page_of(&c->cs, node))), node);
	KUNIT_ASSERT_EQ(test, stay(cpu), 0);
	KUNIT_EXPECT_EQ(test, ccsynch_run(&c->cs, 9), 9UL);
	KUNIT_EXPECT_EQ(test, page_of(&c->cs, node)->ops, 1ULL);
	KUNIT_ASSERT_EQ(test, stay(home), 0);
}

/*
 * CPUs go, until this one is alone, and come back: locks made before and meanwhile work in
 * between and after.
 */
static void hotplug_test(struct kunit *test)
{
	struct context *c = test->priv;
	struct ccsynch meanwhile;
	struct cpumask *gone = kunit_kzalloc(test, cpumask_size(), GFP_KERNEL);
	int cpu;

	KUNIT_ASSERT_NOT_NULL(test, gone);
	if (!IS_ENABLED(CONFIG_HOTPLUG_CPU) || num_online_cpus() == 1)
		kunit_skip(test, "a CPU that can go is needed");
	make(test, ccsynch_params);
	use_each_cpu(test);
	for (cpu = next_cpu(-1, NUMA_NO_NODE); cpu < nr_cpu_ids;
	     cpu = next_cpu(cpu, NUMA_NO_NODE)) {
		KUNIT_EXPECT_EQ(test, remove_cpu(cpu), 0);
		cpumask_set_cpu(cpu, gone);
		use_each_cpu(test);
	}
	KUNIT_EXPECT_EQ(test, num_online_cpus(), 1U);
	KUNIT_EXPECT_EQ(test, ccsynch_init(&meanwhile, op, &c->data), 0);
	for_each_cpu(cpu, gone) {
		KUNIT_EXPECT_EQ(test, add_cpu(cpu), 0);
		use_each_cpu(test);
	}
	/* The one that was made when this CPU was alone, by all of them */
	ccsynch_destroy(&c->cs);
	c->cs = meanwhile;
	use_each_cpu(test);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(params_test),
	KUNIT_CASE(pages_test),
	KUNIT_CASE_PARAM(run_test, kind_gen_params),
	KUNIT_CASE_PARAM(trylock_test, kind_gen_params),
	KUNIT_CASE(nested_test),
	KUNIT_CASE(many_test),
	KUNIT_CASE(irq_test),
	KUNIT_CASE(batch_test),
	KUNIT_CASE(plain_test),
	KUNIT_CASE(tenure_test),
	KUNIT_CASE(left_test),
	KUNIT_CASE(each_cpu_test),
	KUNIT_CASE(memoryless_test),
	KUNIT_CASE(hotplug_test),
	{ }
};

static struct kunit_suite suite = {
	.name = "ccsynch",
	.init = context_init,
	.exit = context_exit,
	.test_cases = cases,
};

kunit_test_suite(suite);

MODULE_AUTHOR("numaspan");
MODULE_DESCRIPTION("KUnit tests of ccsynch");
MODULE_LICENSE("GPL");
