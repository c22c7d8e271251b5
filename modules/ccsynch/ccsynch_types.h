/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ccsynch: a lock that runs operations.  Who waits leaves its operation to who is in.
 *
 * Each node has a queue in a page of its memory.  A request is a record, of the CPU that makes
 * it, in the queue of that CPU's node.  The queue's head waits for the global lock; when that
 * is the node's, the head is the node's combiner: it runs its own operation and those of the
 * records behind it, each of which is told that it is done by a write to its own page.  After
 * so many operations (a batch) the next record is the combiner, and after so many more (a
 * tenure) the global lock goes to the next node.  So what the operations touch, and the global
 * lock, cross between nodes once a tenure; where that has taken long, for pages that come from
 * another machine, the tenure lasts some times as long.  Where a queue runs empty early the global
 * lock is left there: who comes next on the node has it again by a write to its page, and so
 * has the next of another node as soon as it looks, which costs that page in any case.  Who takes
 * the lock plainly queues up in the same way, and leaves the queue as soon as the global lock is
 * its own.
 *
 * Invariants:
 *  - Who holds the global lock alone runs operations, or is in the plain lock.  It is a ticket
 *    lock: first come, first served.
 *  - Its holder may leave the global lock where it is, with the ticket that is served: @left says
 *    so.  Who changes that to 0 holds it: the node's next head, or who has the next ticket.
 *  - A queue has one head at most.  Only it takes tickets for the queue, and only it writes its
 *    node's page, but for the tail.
 *  - A record that waits is written by its queue's head and by the next in the queue, and by
 *    nobody any more once its state is another: the head reads what is behind it before.
 *  - Each operation is run once: by itself if its record becomes the head, else by the head that
 *    comes past it, which then says so.
 *  - A combiner runs at most batch operations, a node fewer than tenure and a batch in a row
 *    while another waits, or goes on for keep times what the lock's coming has cost.
 *  - Nobody spins on memory that another node writes, but a queue's head, and that looks
 *    seldom: in proportion to the nodes that are served before its own.
 *
 * Records belong to CPUs, for all locks together, one for each operation that is nested (an
 * operation may use another lock, and so may an interrupt).  In CC-Synch as published a thread
 * gives its record away for the one that it finds at the tail; here, as in DSM-Synch, it keeps
 * its own: no record goes to another node, none outlives a lock or has to be found a new owner
 * when a CPU goes offline, which cannot happen while it waits.  It costs a compare-and-exchange
 * of the tail when the queue runs empty.  With no record left a request takes the global lock
 * itself.
 *
 * Sources: CC-Synch, DSM-Synch and H-Synch (Fatourou and Kallimanis, PPoPP'12); a bound of what
 * a node does in a row is that of lock cohorting (PPoPP'12); back-off in proportion to the
 * distance is that of ticket locks (Mellor-Crummey and Scott, 1991).
 */
#ifndef _LINUX_CCSYNCH_TYPES_H
#define _LINUX_CCSYNCH_TYPES_H

#include <linux/atomic.h>
#include <linux/build_bug.h>
#include <linux/cache.h>
#include <linux/lockdep.h>
#include <asm/page.h>
#include <linux/stddef.h>
#include <linux/types.h>

/**
 * typedef ccsynch_op_t - an operation
 * @state: what the lock protects, as given to ccsynch_init()
 * @arg: as given to ccsynch_run()
 *
 * It may run on another CPU than the caller's, in its task or in an interrupt of that.  So it
 * may not sleep, nor use current or per-CPU data, nor the lock itself.
 *
 * Return: what ccsynch_run() returns.
 */
typedef unsigned long (*ccsynch_op_t)(void *state, unsigned long arg);

enum ccsynch_state {
	CCSYNCH_WAITS,
	CCSYNCH_DONE,		/* the operation has been run */
	CCSYNCH_HEAD,		/* the queue's head */
	CCSYNCH_TICKET,		/* the same, and the node has a ticket */
	CCSYNCH_OWNER,		/* the same, and the global lock is the node's */
};

/* A request, on a line of its own: its owner spins there. */
struct ccsynch_record {
	struct ccsynch_record *next;
	unsigned long arg, result;
	enum ccsynch_state state;
	bool plain;		/* wants the lock, has no operation */
} ____cacheline_aligned;

/* So deep may requests of one CPU be nested before they take the global lock themselves. */
#ifndef CCSYNCH_RECORDS
#define CCSYNCH_RECORDS	8
#endif

/* A CPU's records, a page of its node's memory. */
struct ccsynch_cpu {
	unsigned int used;
	struct ccsynch_record record[CCSYNCH_RECORDS];
} __aligned(PAGE_SIZE);

/* The global lock: who was given a ticket, and whose turn it is. */
struct ccsynch_global {
	atomic_t next, serving;
	u32 since;	/* when its holder saw that it has it, if that had to wait; or 0 */
	u32 hold;	/* so long it was held of late */
	u32 cost;	/* so long it and what it protects took to come, the last time; all ns */
	u32 left;	/* nobody holds it, but a ticket is served: 1 and how long it was held */
};

/*
 * A node's page, or a group's of nodes.  What is written without waiting is one line: who takes an
 * idle lock after another CPU has to wait for that alone.
 */
struct ccsynch_node {
	struct ccsynch_record *tail;	/* of the queue; NULL when that is empty */
	struct ccsynch_global only;	/* the global lock, where there is no other queue */
	u32 served : 31;		/* operations in this tenure */
	u32 left : 1;			/* the global lock is left here when the queue is empty */
	u32 ticket, seen;		/* with CCSYNCH_TICKET: which, and who was served then */
	u32 came;			/* when the head looked, and it was its turn; or 0 */
	u32 until;			/* so long the tenure lasts, whoever waits; or 0 */
	u32 tenures;			/* this and the next two as in struct ccsynch_stats */
	u64 ops;
	u32 looks;
	int home;
} __aligned(PAGE_SIZE);
static_assert(sizeof(struct ccsynch_node) == PAGE_SIZE, "two nodes never share a page");
static_assert(offsetof(struct ccsynch_node, looks) <= 64, "what is written is one line");

/* Read-only from its making on, so every node keeps a copy of its pages. */
struct ccsynch_table {
	ccsynch_op_t op;
	void *state;
	struct ccsynch_global *global;
	void *global_page;		/* of which it is alone, or NULL */
	unsigned int batch, tenure, keep;
	unsigned int nr;
	struct ccsynch_node *node[];	/* by node; nodes without a page use the first's */
};

/**
 * struct ccsynch - the lock
 * @table: all that there is
 *
 * Nobody writes to it: keep it off pages that are written.
 */
struct ccsynch {
	struct ccsynch_table *table;
#ifdef CONFIG_DEBUG_LOCK_ALLOC
	struct lockdep_map dep_map;
#endif
};

/**
 * struct ccsynch_params - what may be tuned
 * @batch: operations that a combiner runs before the next is the combiner
 * @tenure: operations after which a node gives the global lock to another that waits
 * @keep: so many times what the lock's coming has cost a tenure lasts in any case; 0: it need not
 * @groups: so many queues, for about as many nodes each; 0: one for each node
 */
struct ccsynch_params {
	unsigned int batch, tenure, groups, keep;
};

#define CCSYNCH_BATCH_MAX	1024
#define CCSYNCH_TENURE_MAX	65536
#define CCSYNCH_KEEP_MAX	1000

/**
 * struct ccsynch_stats - what a lock has done, of all nodes together
 * @ops: operations that combiners have run
 * @tenures: how often a queue's head took the global lock from whom it was with
 * @looks: how often it looked whether it is its turn
 */
struct ccsynch_stats {
	u64 ops, tenures, looks;
};

#endif
