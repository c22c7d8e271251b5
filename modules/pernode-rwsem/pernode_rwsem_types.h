/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pernode_rwsem: a reader-writer semaphore whose readers touch their own node only.
 *
 * It begins as one rw_semaphore, and is nothing else until it is told to expand.  From then on
 * each node has an entry in a page of that node's memory, and there is a gate, an rw_semaphore
 * in a page of its own.  A reader counts itself in its node's entry as long as that is open.  A
 * writer takes the gate, shuts every open entry, all at once, and waits until the readers that
 * are in have left: they drain, then they are closed.  The last of a burst of writers opens those
 * again that readers had come by.  Readers that find their entry shut spin, on that word alone, so
 * that they are all let in by one store, which moves two pages a node and write phase.
 *
 * If that takes too long one of the node's readers, the opener, sleeps, and the others wait for
 * it.  Who writes wakes the opener when it opens the entry; with no writer there the opener goes
 * through the gate and opens the entry itself.  Where no reader came in a phase the entry stays
 * closed, so what does not read, or seldom, costs what an rw_semaphore costs.
 *
 * Invariants:
 *  - An entry is shut under the gate's write side, and opened under either side, by a writer
 *    when it has done: no entry is open while a writer is at work.
 *  - The counts of all entries in @open and @strays add up to the number of readers that are
 *    in, or more, never less.  One entry may be off, by readers that left on another node
 *    than they came on; a writer closes entries with counts of 0 only.
 *  - The lock cannot expand, nor an entry leave @open, while a reader is in: so what a reader
 *    finds when it leaves (no table, an entry that is shut, and not in @open) tells how.
 *    An entry is in @open before it is open.
 *  - @wanted is set before an opener looks at the gate for the last time, and looked at by who
 *    writes after it has left the gate, unless more writers want in: so no opener sleeps with
 *    nobody left to wake it.
 *  - Phase-fair: who waits to read is let in after PERNODE_BURST writers at most, and what has
 *    come after a writer has shut the entries waits for it; a writer waits for one reader phase.
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
	PERNODE_SHUT	= 1,	/* nobody comes in: it drains, or it is closed */
	PERNODE_UNUSED	= 2,	/* a writer has opened it, and no reader has come since */
	PERNODE_WAKE	= 4,	/* it drains, and the writer sleeps: the last to leave wakes it */
	PERNODE_STATE	= 7,	/* mask */
	PERNODE_READER	= 8,
};

/*
 * Readers that have come by a slot on this node, and readers that have left on it.  In one count
 * a reader that comes where a writer has looked, and leaves where it has not, would stand for one
 * who is in.
 */
struct pernode_slot {
	atomic_t came;
	atomic_t left;
};

/*
 * A node's page: what its readers write, and nothing that another node writes, but for a
 * writer that shuts or opens it.  Slots and counts are the user's: the guest counts a VMA's
 * readers in the ones, and the mm's pages in the others.
 */
#define PERNODE_SLOTS	256
#define PERNODE_COUNTS	8

struct pernode_entry {
	atomic_t word;
	int node;
	bool opening;			/* one of the node's readers waits for the entry to open */
	raw_spinlock_t lock;		/* of @opening and @waiters */
	struct rcuwait opener;		/* that one */
	struct list_head waiters;	/* the others, until it is in */
	unsigned int awaited;		/* 0, or 1 + the slot that the writer waits for */
	struct pernode_slot slot[PERNODE_SLOTS] __aligned(64);
	atomic_long_t count[PERNODE_COUNTS] __aligned(64);
} __aligned(PAGE_SIZE);
static_assert(sizeof(struct pernode_entry) == PAGE_SIZE,
	      "two nodes' entries never share a page");

/* What writers touch, and openers, and readers that wake a writer or leave by a shut entry */
struct pernode_gate {
	struct rw_semaphore rwsem;
	int look;			/* @used or @wanted may not be empty */
	atomic_t burst;			/* writers that have left since entries were opened */
	struct rcuwait writer;		/* the writer that waits for readers to leave */
	atomic_t strays;		/* minus the readers that left by a closed entry */
	nodemask_t open;		/* the nodes whose entry is open, or drains */
	nodemask_t wanted;		/* the nodes on which an opener waits */
	nodemask_t used;		/* closed, readers had come: to open; the writer's own */
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

/* How long to spin for a phase to end, at most: so long for each node.  See spin(). */
#define PERNODE_SPIN_NS	100000

/* Readers wait for so many writers, at most, before their entries open again. */
#define PERNODE_BURST	32

/* This many changes of node, and the lock is taken to be used on more nodes than one. */
#define PERNODE_MOVES	8

#endif
