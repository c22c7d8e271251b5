/* SPDX-License-Identifier: GPL-2.0-only */
/* How a pernode_rwsem begins where its expansion is explored, alone or as mmap_lock. */
#ifndef DSMSIM_LOCK_PERNODE_H
#define DSMSIM_LOCK_PERNODE_H

#include <linux/pernode_rwsem.h>

/**
 * pernode_begin - make a lock that has expanded, or is near it
 * @sem: the lock
 * @moves: so many changes of node have been seen; -1: it has expanded
 */
static inline void pernode_begin(struct pernode_rwsem *sem, int moves)
{
	pernode_rwsem_init(sem);
	if (moves < 0) {
		sem->moves = PERNODE_MOVES + 1;
		sem->last_node = NUMA_NO_NODE;
		sem->table = pernode_table_alloc(GFP_KERNEL);
		/* The first burst is a short one: exploration has few writers. */
		atomic_set(&sem->table->gate->burst, PERNODE_BURST - 2);
	} else {
		sem->moves = min(moves, PERNODE_MOVES - 1);
	}
}

#endif
