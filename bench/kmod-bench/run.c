// SPDX-License-Identifier: GPL-2.0-only
/*
 * One run: in each round the lock and what it protects are made anew, the threads start
 * together, each does its operations and notes what they took, and the results are checked.
 *
 * A round ends by itself: the operations are counted, and nobody waits but for threads of the
 * round.  run_stop() ends it after the operations that are under way.
 */
#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/gfp.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/clock.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "bench.h"
#include "thread.h"

/**
 * struct run - a run
 * @config: as the result's, whose @place it has
 * @read: how the lock runs what only reads
 * @work: what it runs
 * @lock: the lock
 * @thread: by number, as many as the configuration has
 * @result: of the rounds that are done
 * @stop: end the round
 * @go: all threads of the round are there
 * @first: one thread has done all its operations
 * @arrived: threads that are there
 * @left: threads that have not done
 * @done: none of these is left
 */
struct run {
	/* The threads look at these in each operation, and they hardly change. */
	struct config config;
	unsigned long (*read)(void *lock, const struct work *work, unsigned long arg);
	struct work work;
	void *lock;
	struct thread **thread;
	struct result *result;
	bool stop, go, first;
	/* These do. */
	atomic_t arrived __aligned(PAGE_SIZE);
	atomic_t left;
	struct completion done;
};

/* Zeroed pages of a node, nobody else's */
static void *node_alloc(int node, size_t size)
{
	struct page *page = alloc_pages_node(node, GFP_KERNEL | __GFP_ZERO, get_order(size));

	return page ? page_address(page) : NULL;
}

static void node_free(void *p, size_t size)
{
	if (p)
		free_pages((unsigned long)p, get_order(size));
}

/* Wait for the other threads; false when the round is off. */
static bool start_together(struct run *run)
{
	if (atomic_inc_return(&run->arrived) == run->config.threads)
		WRITE_ONCE(run->go, true);
	while (!READ_ONCE(run->go)) {
		if (READ_ONCE(run->stop))
			return false;
		cpu_relax();
		cond_resched();
	}
	return true;
}

/*
 * The CPU's own clock: ktime_get() reads a page that a tick writes, maybe on another node.  It
 * runs backward only for a thread that had to leave its CPU.
 */
static void note_latency(struct thread *t, u64 began)
{
	s64 ns = max_t(s64, local_clock() - began, 0);

	t->histogram[histogram_bucket(ns)]++;
	t->max = max_t(u64, t->max, ns);
}

static void one_op(struct thread *t, unsigned int i, bool sampled)
{
	struct run *run = t->run;
	const struct config *config = &run->config;
	unsigned long arg = config->workload->arg(t, i);
	bool reads = config->workload->mixed && arg == OP_READ;
	u64 began = sampled ? local_clock() : 0;

	if (reads)
		t->wrong += run->read(run->lock, &run->work, arg);
	else
		t->wrong += config->lock->run(run->lock, &run->work, arg);
	if (sampled)
		note_latency(t, began);
	t->reads += reads;
	t->done++;
}

/* Have the pages that the controller has written back on this node before clocks run. */
static void fetch_pages(struct thread *t)
{
	memset(t->histogram, 0, sizeof(t->histogram));
	t->done = 0;
	t->item[0].seen = false;
}

static int thread_fn(void *arg)
{
	struct thread *t = arg;
	struct run *run = t->run;
	const struct config *config = &run->config;
	unsigned int i, j, until_sample = 0;

	fetch_pages(t);
	if (start_together(run)) {
		t->begin = ktime_get_ns();
		for (i = 0; i < config->ops && !READ_ONCE(run->stop); i++) {
			one_op(t, i, !until_sample);
			until_sample = (until_sample ?: config->sample) - 1;
			if (!t->done_first && READ_ONCE(run->first))
				t->done_first = t->done;
			for (j = 0; j < config->think; j++)
				cpu_relax();
			cond_resched();
		}
		t->end = ktime_get_ns();
		if (!t->done_first) {
			t->done_first = t->done;
			WRITE_ONCE(run->first, true);
		}
	}
	if (atomic_dec_and_test(&run->left))
		complete(&run->done);
	return 0;
}

/* Threads have done all, but not yet left our code. */
static void end_threads(struct run *run, unsigned int n)
{
	while (n--) {
		kthread_stop(run->thread[n]->task);
		put_task_struct(run->thread[n]->task);
	}
}

static int create_threads(struct run *run)
{
	const struct config *config = &run->config;
	unsigned int i;

	for (i = 0; i < config->threads; i++) {
		const struct place *place = &config->place[i];
		struct thread *t = run->thread[i];

		memset(t, 0, sizeof(*t));
		t->run = run;
		t->read_share = config->read_share;
		prandom_seed_state(&t->rnd, i + 1);
		data_add_items(run->work.data, t->item, NR_ITEMS);
		t->task = kthread_create_on_node(thread_fn, t, place->node, "kmod_bench/%u", i);
		if (IS_ERR(t->task)) {
			end_threads(run, i);
			return PTR_ERR(t->task);
		}
		get_task_struct(t->task);
		kthread_bind(t->task, place->cpu);
	}
	return 0;
}

/* A latency is counted as the most that its bucket stands for, which may be above @max. */
static void set_figures(struct figures *f, u64 ops, u64 ns, const u64 *histogram, u64 max)
{
	f->ops_per_s = mul_u64_u64_div_u64(ops, NSEC_PER_SEC, max_t(u64, ns, 1));
	f->p50 = min(histogram_percentile(histogram, 50), max);
	f->p99 = min(histogram_percentile(histogram, 99), max);
	f->max = max;
}

/* Jain's index: 1 if all have done as much, 1/n if one has done all. */
static u64 fairness(struct thread **thread, unsigned int n)
{
	u64 most = 1, sum = 0, squares = 0;
	unsigned int i;

	for (i = 0; i < n; i++)
		most = max_t(u64, most, thread[i]->done_first);
	for (i = 0; i < n; i++) {
		u64 share = div64_u64((u64)thread[i]->done_first * RATIO_ONE, most);

		sum += share;
		squares += share * share;
	}
	return div64_u64(sum * sum, max_t(u64, div_u64(squares * n, RATIO_ONE), 1));
}

/* All threads have done: what came of it? */
static int collect(struct run *run, struct round *round, struct figures *figures)
{
	const struct config *config = &run->config;
	u64 begin = U64_MAX, end = 0, max = 0, ops = 0, reads = 0, wrong = 0;
	unsigned int i, j;
	u64 *histogram;
	size_t said;

	histogram = kcalloc(HISTOGRAM_BUCKETS, sizeof(*histogram), GFP_KERNEL);
	if (!histogram)
		return -ENOMEM;
	for (i = 0; i < config->threads; i++) {
		struct thread *t = run->thread[i];

		begin = min(begin, t->begin);
		end = max(end, t->end);
		max = max(max, t->max);
		ops += t->done;
		reads += t->reads;
		wrong += t->wrong;
		for (j = 0; j < HISTOGRAM_BUCKETS; j++)
			histogram[j] += t->histogram[j];
		set_figures(&figures[i], t->done, t->end - t->begin, t->histogram, t->max);
	}
	set_figures(&round->all, ops, end - begin, histogram, max);
	kfree(histogram);
	round->fairness = fairness(run->thread, config->threads);
	round->reads = reads;
	round->writes = ops - reads;
	round->right = config->workload->check(run->work.data, reads, ops - reads, round->what,
					       sizeof(round->what));
	if (!wrong && ops == (u64)config->ops * config->threads)
		return 0;
	round->right = false;
	said = strlen(round->what);
	scnprintf(round->what + said, sizeof(round->what) - said,
		  "; %llu operations, expected %llu; %llu found it wrong", ops,
		  (u64)config->ops * config->threads, wrong);
	return 0;
}

static int one_round(struct run *run, struct round *round, struct figures *figures)
{
	const struct config *config = &run->config;
	unsigned int i;
	int err;

	memset(run->work.data, 0, sizeof(struct data));
	data_init(run->work.data, config->hold);
	memset(run->lock, 0, config->lock->size);
	err = config->lock->init(run->lock, &run->work, config->nodes);
	if (err)
		return err;
	run->go = false;
	run->first = false;
	atomic_set(&run->arrived, 0);
	atomic_set(&run->left, config->threads);
	reinit_completion(&run->done);
	err = create_threads(run);
	if (!err) {
		for (i = 0; i < config->threads; i++)
			wake_up_process(run->thread[i]->task);
		/* Nothing interrupts this thread: it is not counted as hung, no more. */
		wait_for_completion_interruptible(&run->done);
		end_threads(run, config->threads);
		err = READ_ONCE(run->stop) ? -EINTR : collect(run, round, figures);
	}
	config->lock->destroy(run->lock);
	return err;
}

/**
 * run_alloc - make a run
 * @config: of what; its @place is freed with the run, or at once
 *
 * Context: may sleep.
 * Return: the run, or NULL without memory.
 */
struct run *run_alloc(const struct config *config)
{
	struct result *result = result_alloc(config);
	struct run *run;
	unsigned int i;

	if (!result)
		return NULL;
	run = vzalloc(sizeof(*run));
	if (!run) {
		result_free(result);
		return NULL;
	}
	run->result = result;
	init_completion(&run->done);
	run->config = *config;
	run->read = config->lock->read ?: config->lock->run;
	run->thread = kcalloc(config->threads, sizeof(*run->thread), GFP_KERNEL);
	run->lock = node_alloc(config->place[0].node, config->lock->size);
	run->work.op = config->workload->op;
	run->work.data = node_alloc(config->place[0].node, sizeof(struct data));
	if (!run->thread || !run->lock || !run->work.data)
		goto fail;
	for (i = 0; i < config->threads; i++) {
		run->thread[i] = node_alloc(config->place[i].node, sizeof(struct thread));
		if (!run->thread[i])
			goto fail;
	}
	return run;
fail:
	run_free(run);
	return NULL;
}

/**
 * run_result - what came of a run
 * @run: the run
 *
 * Context: any.
 * Return: its result, which lives as long as the run; whole when run_work() has returned.
 */
const struct result *run_result(const struct run *run)
{
	return run->result;
}

/**
 * run_free - end a run's life
 * @run: nobody is in run_work()
 *
 * Context: may sleep.
 */
void run_free(struct run *run)
{
	struct result *result = run->result;
	unsigned int i;

	for (i = 0; run->thread && i < result->config.threads; i++)
		node_free(run->thread[i], sizeof(struct thread));
	kfree(run->thread);
	node_free(run->lock, result->config.lock->size);
	node_free(run->work.data, sizeof(struct data));
	result_free(result);
	vfree(run);
}

/**
 * run_work - do all rounds
 * @run: the run
 *
 * Context: a kernel thread that has no signals; may sleep.
 * Return: 0 when they are done, right or wrong; -EINTR after run_stop(); another errno.
 */
int run_work(struct run *run)
{
	struct result *r = run->result;
	int err = 0;

	while (r->rounds < run->config.rounds) {
		err = one_round(run, &r->round[r->rounds], result_thread(r, r->rounds, 0));
		if (err)
			break;
		r->rounds++;
	}
	return err;
}

/**
 * run_stop - have run_work() end soon
 * @run: the run
 *
 * Context: any.
 */
void run_stop(struct run *run)
{
	WRITE_ONCE(run->stop, true);
}
