// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's rw_semaphore.
 */
#include <linux/rwsem.h>

#include "lock.h"

static int init(void *lock, const struct work *work, unsigned int nodes)
{
	init_rwsem((struct rw_semaphore *)lock);
	return 0;
}

static void destroy(void *lock)
{
}

static unsigned long run(void *lock, const struct work *work, unsigned long arg)
{
	unsigned long result;

	down_write(lock);
	result = work->op(work->data, arg);
	up_write(lock);
	return result;
}

static unsigned long read(void *lock, const struct work *work, unsigned long arg)
{
	unsigned long result;

	down_read(lock);
	result = work->op(work->data, arg);
	up_read(lock);
	return result;
}

const struct lock_ops lock_rwsem = {
	.name = "rwsem",
	.size = sizeof(struct rw_semaphore),
	.init = init,
	.destroy = destroy,
	.run = run,
	.read = read,
};
