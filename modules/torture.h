/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the locks' tortures and tests share: a crew, which is threads that begin together and
 * are waited for together.  A thread of a crew is there until crew_wait() has seen all leave.
 */
#ifndef MODULES_TORTURE_H
#define MODULES_TORTURE_H

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/prandom.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/slab.h>

/**
 * struct crew - threads
 * @task: they, of each its number
 * @n: so many
 * @left: have not called crew_leave()
 * @done: none of these is left
 */
struct crew {
	struct task_struct **task;
	unsigned int n;
	atomic_t left;
	struct completion done;
};

/* The first @n have done all, or never began, but may not have left our code yet. */
static inline void crew_end(struct crew *crew, unsigned int n)
{
	while (n--) {
		kthread_stop(crew->task[n]);
		put_task_struct(crew->task[n]);
	}
	kfree(crew->task);
}

/**
 * crew_create - make threads, which sleep
 * @crew: theirs
 * @n: so many
 * @fn: what each runs, with its number; calls crew_leave() at its end
 * @name: theirs, before the number
 *
 * Context: may sleep.
 * Return: 0, and then crew_start() and crew_wait() follow; or a negative errno.
 */
static inline int crew_create(struct crew *crew, unsigned int n, int (*fn)(void *),
			      const char *name)
{
	unsigned int i;

	crew->task = kcalloc(n, sizeof(*crew->task), GFP_KERNEL);
	if (!crew->task)
		return -ENOMEM;
	crew->n = n;
	atomic_set(&crew->left, n);
	init_completion(&crew->done);
	for (i = 0; i < n; i++) {
		struct task_struct *task = kthread_create(fn, (void *)(unsigned long)i, "%s/%u",
							  name, i);

		if (IS_ERR(task)) {
			crew_end(crew, i);
			return PTR_ERR(task);
		}
		get_task_struct(task);
		crew->task[i] = task;
	}
	return 0;
}

/**
 * crew_start - let them run
 * @crew: as crew_create() has made it
 *
 * Context: any.
 */
static inline void crew_start(struct crew *crew)
{
	unsigned int i;

	for (i = 0; i < crew->n; i++)
		wake_up_process(crew->task[i]);
}

/**
 * crew_leave - a thread has done what it had to
 * @crew: whose it is
 *
 * Context: the thread, which returns then.
 */
static inline void crew_leave(struct crew *crew)
{
	if (atomic_dec_and_test(&crew->left))
		complete(&crew->done);
}

/**
 * crew_wait - wait until all have left, and forget them
 * @crew: started
 *
 * Context: may sleep.
 */
static inline void crew_wait(struct crew *crew)
{
	wait_for_completion(&crew->done);
	crew_end(crew, crew->n);
}

/**
 * move_anywhere - go to another CPU, of another node where there is one
 * @rnd: chooses
 *
 * Context: a thread; may sleep.
 * Return: whether it has gone; a CPU may go offline.
 */
static inline bool move_anywhere(struct rnd_state *rnd)
{
	unsigned int cpu = cpumask_nth(prandom_u32_state(rnd) % num_online_cpus(),
				       cpu_online_mask);

	return cpu < nr_cpu_ids && !set_cpus_allowed_ptr(current, cpumask_of(cpu));
}

#endif
