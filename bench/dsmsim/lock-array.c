// SPDX-License-Identifier: GPL-2.0-only
/*
 * The baseline `array`: one rw_semaphore a node, each in a page of its node's.  A reader takes
 * its node's; a writer takes all, in order.  A reader leaves by the one it took, which a real
 * one has to remember; here the task's number finds it.
 */
#include "gate.h"
#include "lock.h"
#include "sim.h"

struct array {
	struct rw_semaphore *sem[MAX_NUMNODES];
};

/* Where a real lock would have it: in the task, on its own node.  Costs nothing. */
static struct rw_semaphore *taken[SIM_THREADS];

static void init(void *lock, int moves)
{
	struct array *a = lock;
	int node;

	(void)moves;
	for_each_online_node(node) {
		a->sem[node] = page_address(alloc_pages_node(node, GFP_KERNEL, 0));
		init_rwsem(a->sem[node]);
	}
}

static struct rw_semaphore *mine(struct array *a)
{
	return a->sem[numa_node_id()];
}

static void rd(void *lock)
{
	struct rw_semaphore *sem = mine(lock);

	down_read(sem);
	taken[current->id] = sem;
}

static int rd_try(void *lock)
{
	struct rw_semaphore *sem = mine(lock);

	if (!down_read_trylock(sem))
		return 0;
	taken[current->id] = sem;
	return 1;
}

static void rd_up(void *lock)
{
	(void)lock;
	up_read(taken[current->id]);
}

static void wr(void *lock)
{
	struct array *a = lock;
	int node;

	for_each_online_node(node)
		down_write(a->sem[node]);
}

static void wr_up(void *lock)
{
	struct array *a = lock;
	int node;

	for (node = nr_node_ids - 1; node >= 0; node--)
		up_write(a->sem[node]);
}

static const char *check(void *lock)
{
	struct array *a = lock;
	int node;

	for_each_online_node(node)
		if (!gate_idle(a->sem[node]))
			return "a node's rw_semaphore is not idle";
	return NULL;
}

const struct lock_ops lock_array = {
	.name = "array",
	.size = sizeof(struct array),
	.init = init,
	.down_read = rd,
	.down_read_trylock = rd_try,
	.up_read = rd_up,
	.down_write = wr,
	.up_write = wr_up,
	.check = check,
};
