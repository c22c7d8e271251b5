// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's percpu_rw_semaphore: readers count on their CPU, a writer waits for an RCU grace
 * period before readers notice it.
 */
#include <linux/percpu-rwsem.h>

#include "lock.h"

static int init(void *lock, const struct work *work, unsigned int nodes)
{
	return percpu_init_rwsem((struct percpu_rw_semaphore *)lock);
}

static void destroy(void *lock)
{
	percpu_free_rwsem(lock);
}

static unsigned long run(void *lock, const struct work *work, unsigned long arg)
{
	unsigned long result;

	percpu_down_write(lock);
	result = work->op(work->data, arg);
	percpu_up_write(lock);
	return result;
}

static unsigned long read(void *lock, const struct work *work, unsigned long arg)
{
	unsigned long result;

	percpu_down_read(lock);
	result = work->op(work->data, arg);
	percpu_up_read(lock);
	return result;
}

const struct lock_ops lock_percpu = {
	.name = "percpu",
	.size = sizeof(struct percpu_rw_semaphore),
	.init = init,
	.destroy = destroy,
	.run = run,
	.read = read,
};
