/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pernode_rwsem: a reader-writer semaphore whose readers touch their own node only.
 *
 * It begins as one rw_semaphore, and is nothing else until it is told to expand.  From then on
 * each node has an entry in a page of that node's memory, and there is a gate, an rw_semaphore
 * in a page of its own.  A reader counts itself in its node's entry as long as that is open.  A
 * writer takes the gate, sets every open entry to drain, all at once, waits until the readers
 * that are in have left, and closes them.  They stay closed when it leaves: the first reader of
 * a node goes through the gate and opens its node's entry, for itself and those that wait there.
 * So a burst of writers costs what an rw_semaphore costs, and the gate is met once a node and
 * write phase.
 *
 * Invariants:
 *  - An entry is opened under the gate's read side, and drained and closed under its write
 *    side: no entry is open while a writer is in.
 *  - The counts of all open entries and @strays add up to the number of readers that are
 *    in, or more, never less.  One entry may be off, by readers that left on another node
 *    than they came on; a writer closes entries with counts of 0 only.
 *  - The lock cannot expand, nor an open entry be closed, while a reader is in: so what a
 *    reader finds when it leaves (no table, an entry that is closed) tells how to leave.
 *  - Phase-fair: readers that come after a writer has begun to drain wait at the gate, whose
 *    queue is first come, first served in phases.  A writer waits for one reader phase.
 *
 * Sources: the per-node array of semaphores is percpu-rwsem's first form (2012) and the
 * paper's; leaving on any node and adding up is today's percpu-rwsem's idea; gates and phases
 * are those of cohort reader-writer locks (PPoPP'13) and phase-fair locks (ECRTS'09).
 */
#ifndef _LINUX_PERNODE_RWSEM_TYPES_H
#define _LINUX_PERNODE_RWSEM_TYPES_H

#include <linux/build_bug.h>
#include <linux/list.h>
#include <linux/nodemask.h>
#include <linux/rwsem.h>
#include <linux/spinlock_types_raw.h>
#include <linux/stddef.h>
#include <linux/types.h>

/* The low bits of an entry's word are its state, those above count its readers. */
enum pernode_state {
	PERNODE_OPEN	= 0,	/* readers come and go here */
	PERNODE_DRAIN	= 1,	/* a writer waits until the readers have left */
	PERNODE_CLOSED	= 2,	/* nobody is in; open it through the gate */
	PERNODE_STATE	= 3,	/* mask */
	PERNODE_READER	= 4,
};

/*
 * A node's page: what its readers write, and nothing that another node writes, but for a
 * writer's drain.  Slots and counts are the user's: the guest counts a VMA's readers in the
 * ones, and the mm's pages in the others.
 */
#define PERNODE_SLOTS	512
#define PERNODE_COUNTS	8

struct pernode_entry {
	atomic_t word;
	int node;
	bool opening;			/* one of the node's readers is at the gate */
	raw_spinlock_t lock;		/* of @opening and @waiters */
	struct list_head waiters;	/* the others, until it has come through */
	atomic_t slot[PERNODE_SLOTS] __aligned(64);
	atomic_long_t count[PERNODE_COUNTS] __aligned(64);
} __aligned(PAGE_SIZE);
static_assert(sizeof(struct pernode_entry) == PAGE_SIZE,
	      "two nodes' entries never share a page");

/* What writers touch, and readers that open an entry, wake a writer or leave by a closed entry */
struct pernode_gate {
	struct rw_semaphore rwsem;
	struct rcuwait writer;		/* the writer that waits for readers to leave */
	atomic_t strays;		/* minus the readers that left by a closed entry */
	nodemask_t open;		/* the nodes whose entry is open */
} __aligned(PAGE_SIZE);

/* Read-only once it is published, so every node keeps a copy of its page. */
struct pernode_table {
	struct pernode_gate *gate;
	nodemask_t own;			/* the nodes that have an entry of their own */
	struct pernode_entry *entry[];	/* by node; the others share the first's */
};

/**
 * struct pernode_rwsem - the lock
 * @rwsem: the rw_semaphore it begins as; once it has expanded nobody holds that, and its
 *	dep_map stands for the whole lock, for lockdep
 * @last_node: where the lock was last seen in use; NUMA_NO_NODE for good once it has moved
 *	often or expanded
 * @moves: how often that changed; from PERNODE_MOVES on it will expand
 * @gp: the RCU grace period that expansion waits for
 * @table: the gate and the nodes' entries; NULL until it expands; changes only under @rwsem's
 *	write side
 *
 * Once it has expanded nobody writes here: every node keeps a copy.
 */
struct pernode_rwsem {
	struct rw_semaphore rwsem;
	int last_node;
	unsigned int moves;
	unsigned long gp;
	struct pernode_table *table;
};

/* This many changes of node, and the lock is taken to be used on more nodes than one. */
#define PERNODE_MOVES	8

#endif
