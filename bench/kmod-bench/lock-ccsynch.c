// SPDX-License-Identifier: GPL-2.0-only
/*
 * ccsynch, and the same with one queue for all CPUs: a combining lock that knows of no nodes.
 */
#include <linux/ccsynch.h>

#include "lock.h"

static int init_groups(void *lock, const struct work *work, unsigned int groups)
{
	struct ccsynch_params params = ccsynch_params;

	params.groups = groups;
	return ccsynch_init_params((struct ccsynch *)lock, work->op, work->data, &params);
}

/* As many queues as the module's parameters say */
static int init(void *lock, const struct work *work, unsigned int nodes)
{
	return init_groups(lock, work, ccsynch_params.groups);
}

static int init_one(void *lock, const struct work *work, unsigned int nodes)
{
	return init_groups(lock, work, 1);
}

static void destroy(void *lock)
{
	ccsynch_destroy(lock);
}

static unsigned long run(void *lock, const struct work *work, unsigned long arg)
{
	return ccsynch_run(lock, arg);
}

const struct lock_ops lock_ccsynch = {
	.name = "ccsynch",
	.size = sizeof(struct ccsynch),
	.init = init,
	.destroy = destroy,
	.run = run,
};

const struct lock_ops lock_combine = {
	.name = "combine",
	.size = sizeof(struct ccsynch),
	.init = init_one,
	.destroy = destroy,
	.run = run,
};
