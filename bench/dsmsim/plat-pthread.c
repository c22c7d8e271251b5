// SPDX-License-Identifier: GPL-2.0-only
/*
 * The shim's back end on real threads, for libtsan.
 *
 * A task sleeps on its own condition variable.  Nodes are what a thread says.  A grace period
 * ends when no task is in a read-side section, or has its interrupts off, that began earlier.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "plat-pthread.h"

struct sleeper {
	struct task_struct task;
	pthread_mutex_t lock;
	pthread_cond_t woken;
};

unsigned int nr_node_ids = 3;

static struct sleeper tasks[PLAT_THREADS + 1];
static __thread struct sleeper *self;
static unsigned long gp = 1;

void plat_init(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(tasks); i++) {
		pthread_mutex_init(&tasks[i].lock, NULL);
		pthread_cond_init(&tasks[i].woken, NULL);
		tasks[i].task.id = i;
		tasks[i].task.cpu = i;
		tasks[i].task.on_cpu = 1;
	}
}

void plat_begin(int id, int node)
{
	self = &tasks[id];
	self->task.node = node;
}

void plat_move(int node)
{
	self->task.node = node;
}

void plat_kill(int id)
{
	WRITE_ONCE(tasks[id].task.sigpending, 1);
	wake_up_state(&tasks[id].task, TASK_WAKEKILL);
}

void plat_bug(const char *what)
{
	printf("stress: %s\n", what);
	fflush(stdout);
	abort();
}

void plat_may_sleep(const char *what)
{
	if (!self->task.irqs_off)
		return;
	printf("stress: %s: ", what);
	plat_bug("with interrupts off");
}

struct task_struct *get_current(void)
{
	return &self->task;
}

int numa_node_id(void)
{
	return self ? self->task.node : 0;
}

void schedule(void)
{
	plat_may_sleep(__func__);
	pthread_mutex_lock(&self->lock);
	while (READ_ONCE(self->task.__state) != TASK_RUNNING) {
		WRITE_ONCE(self->task.on_cpu, 0);
		pthread_cond_wait(&self->woken, &self->lock);
	}
	WRITE_ONCE(self->task.on_cpu, 1);
	pthread_mutex_unlock(&self->lock);
}

int wake_up_state(struct task_struct *task, int state)
{
	struct sleeper *s = container_of(task, struct sleeper, task);
	int woken = 0;

	plat_may_sleep(__func__);
	pthread_mutex_lock(&s->lock);
	if (READ_ONCE(task->__state) & state) {
		WRITE_ONCE(task->__state, TASK_RUNNING);
		pthread_cond_signal(&s->woken);
		woken = 1;
	}
	pthread_mutex_unlock(&s->lock);
	return woken;
}

u64 plat_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

u64 local_clock(void)
{
	return plat_clock();
}

void *plat_this_cpu(void)
{
	static __thread char page[PAGE_SIZE] __aligned(PAGE_SIZE);

	return page;
}

bool plat_passed(u64 ns)
{
	return plat_clock() > ns;
}

void cpu_relax(void)
{
	sched_yield();
}

bool need_resched(void)
{
	return false;
}

void plat_spin_wait(const void *word, unsigned long value, size_t size)
{
	(void)word;
	(void)value;
	(void)size;
	sched_yield();
}

/* ---- RCU ---- */

static void not_quiet(void)
{
	if (!self->task.crit_seq)
		__atomic_store_n(&self->task.crit_seq, __atomic_load_n(&gp, __ATOMIC_SEQ_CST),
				 __ATOMIC_SEQ_CST);
}

static void quiet(void)
{
	if (!self->task.irqs_off && !self->task.rcu_nesting)
		__atomic_store_n(&self->task.crit_seq, 0, __ATOMIC_SEQ_CST);
}

void local_irq_disable(void)
{
	self->task.irqs_off = 1;
	not_quiet();
}

void local_irq_enable(void)
{
	self->task.irqs_off = 0;
	quiet();
}

bool irqs_disabled(void)
{
	return self->task.irqs_off;
}

void rcu_read_lock(void)
{
	self->task.rcu_nesting++;
	not_quiet();
}

void rcu_read_unlock(void)
{
	self->task.rcu_nesting--;
	quiet();
}

unsigned long start_poll_synchronize_rcu_expedited(void)
{
	return __atomic_add_fetch(&gp, 1, __ATOMIC_SEQ_CST);
}

unsigned long get_state_synchronize_rcu(void)
{
	return start_poll_synchronize_rcu_expedited();
}

bool poll_state_synchronize_rcu(unsigned long seq)
{
	unsigned long since;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(tasks); i++) {
		since = __atomic_load_n(&tasks[i].task.crit_seq, __ATOMIC_SEQ_CST);
		if (since && since < seq)
			return false;
	}
	return true;
}

void synchronize_rcu(void)
{
	unsigned long seq = start_poll_synchronize_rcu_expedited();

	plat_may_sleep(__func__);
	while (!poll_state_synchronize_rcu(seq))
		sched_yield();
}

/* ---- memory ---- */

struct page *alloc_pages_node(int node, gfp_t gfp, int order)
{
	void *page = aligned_alloc(PAGE_SIZE, PAGE_SIZE << order);

	(void)node;
	(void)gfp;
	if (page)
		memset(page, 0, PAGE_SIZE << order);
	return page;
}

unsigned long __get_free_pages(gfp_t gfp, int order)
{
	return (unsigned long)alloc_pages_node(0, gfp, order);
}

void free_pages(unsigned long addr, int order)
{
	(void)order;
	free((void *)addr);
}
