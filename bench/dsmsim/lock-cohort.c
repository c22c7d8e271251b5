// SPDX-License-Identifier: GPL-2.0-only
/*
 * The baseline `cohort`: a ticket lock on each node, in a page of it, and one for all.  Who has
 * its node's takes that for all, unless the one before on the node has left it there, which
 * happens PASSES times in a row while somebody waits.  (C-TKT-TKT, PPoPP'12.)
 */
#include "lock.h"

#define PASSES	64

struct local {
	atomic_t next, serving;
	int passed;		/* so often; 0: the lock for all is not the node's */
};

struct cohort {
	atomic_t next, serving ____cacheline_aligned;
	struct local *local[MAX_NUMNODES] __aligned(PAGE_SIZE);
};

static void init(void *lock, int moves)
{
	struct cohort *c = lock;
	int node;

	(void)moves;
	for_each_online_node(node)
		c->local[node] = page_address(alloc_pages_node(node, GFP_KERNEL | __GFP_ZERO, 0));
}

static void await(atomic_t *serving, int ticket)
{
	int now;

	while ((now = atomic_read_acquire(serving)) != ticket)
		spin_wait(&serving->counter, now);
}

static void lock(void *lock)
{
	struct cohort *c = lock;
	struct local *l = c->local[numa_node_id()];

	await(&l->serving, atomic_fetch_inc(&l->next));
	if (l->passed)
		return;
	await(&c->serving, atomic_fetch_inc(&c->next));
	l->passed = 1;
}

static void unlock(void *lock)
{
	struct cohort *c = lock;
	struct local *l = c->local[numa_node_id()];
	int mine = atomic_read(&l->serving);

	if (atomic_read(&l->next) != mine + 1 && l->passed < PASSES) {
		l->passed++;
	} else {
		l->passed = 0;
		atomic_set_release(&c->serving, atomic_read(&c->serving) + 1);
	}
	atomic_set_release(&l->serving, mine + 1);
}

static const char *check(void *lock)
{
	struct cohort *c = lock;
	int node;

	if (atomic_read(&c->next) != atomic_read(&c->serving))
		return "the lock for all is not free";
	for_each_online_node(node)
		if (atomic_read(&c->local[node]->next) != atomic_read(&c->local[node]->serving))
			return "a node's lock is not free";
	return NULL;
}

const struct lock_ops lock_cohort = {
	.name = "cohort",
	.size = sizeof(struct cohort),
	.init = init,
	.lock = lock,
	.unlock = unlock,
	.check = check,
};
