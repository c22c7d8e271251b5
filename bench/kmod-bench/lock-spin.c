// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's spinlock (qspinlock on x86).  It has no read side: readers wait for each other.
 */
#include <linux/spinlock.h>

#include "lock.h"

static int init(void *lock, const struct work *work, unsigned int nodes)
{
	spin_lock_init((spinlock_t *)lock);
	return 0;
}

static void destroy(void *lock)
{
}

static unsigned long run(void *lock, const struct work *work, unsigned long arg)
{
	unsigned long result;

	spin_lock((spinlock_t *)lock);
	result = work->op(work->data, arg);
	spin_unlock((spinlock_t *)lock);
	return result;
}

const struct lock_ops lock_spin = {
	.name = "spinlock",
	.size = sizeof(spinlock_t),
	.init = init,
	.destroy = destroy,
	.run = run,
};
