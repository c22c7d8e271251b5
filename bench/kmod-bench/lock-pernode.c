// SPDX-License-Identifier: GPL-2.0-only
/*
 * pernode_rwsem.  It expands when the threads are on more nodes than one, as the guest's
 * mmap_lock does.
 */
#include <linux/pernode_rwsem.h>

#include "lock.h"

static int init(void *lock, const struct work *work, unsigned int nodes)
{
	int err;

	pernode_rwsem_init((struct pernode_rwsem *)lock);
	if (nodes < 2)
		return 0;
	err = pernode_rwsem_expand(lock);
	if (err)
		pernode_rwsem_destroy(lock);
	return err;
}

static void destroy(void *lock)
{
	pernode_rwsem_destroy(lock);
}

static unsigned long run(void *lock, const struct work *work, unsigned long arg)
{
	unsigned long result;

	pernode_down_write(lock);
	result = work->op(work->data, arg);
	pernode_up_write(lock);
	return result;
}

static unsigned long read(void *lock, const struct work *work, unsigned long arg)
{
	unsigned long result;

	pernode_down_read(lock);
	result = work->op(work->data, arg);
	pernode_up_read(lock);
	return result;
}

const struct lock_ops lock_pernode = {
	.name = "pernode",
	.size = sizeof(struct pernode_rwsem),
	.init = init,
	.destroy = destroy,
	.run = run,
	.read = read,
};
