/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pernode_rwsem: what one can do with it.  What it is: pernode_rwsem_types.h.
 */
#ifndef _LINUX_PERNODE_RWSEM_H
#define _LINUX_PERNODE_RWSEM_H

#include <linux/atomic.h>
#include <linux/lockdep.h>
#include <linux/pernode_rwsem_types.h>
#include <linux/topology.h>

void __pernode_rwsem_init(struct pernode_rwsem *sem, const char *name,
			  struct lock_class_key *key);

#define pernode_rwsem_init(sem)						\
do {									\
	static struct lock_class_key __key;				\
									\
	__pernode_rwsem_init(sem, #sem, &__key);			\
} while (0)

void pernode_rwsem_init_rest(struct pernode_rwsem *sem);
void pernode_rwsem_destroy(struct pernode_rwsem *sem);

struct pernode_table *pernode_table_alloc(gfp_t gfp);
void pernode_table_free(struct pernode_table *table);
int __must_check pernode_rwsem_expand(struct pernode_rwsem *sem);
bool __pernode_rwsem_moved(struct pernode_rwsem *sem);
void pernode_rwsem_publish(struct pernode_rwsem *sem, struct pernode_table *table);

void pernode_down_read(struct pernode_rwsem *sem);
int __must_check pernode_down_read_killable(struct pernode_rwsem *sem);
int __must_check pernode_down_read_trylock(struct pernode_rwsem *sem);
void pernode_up_read(struct pernode_rwsem *sem);
void pernode_up_read_non_owner(struct pernode_rwsem *sem);

void pernode_down_write(struct pernode_rwsem *sem);
void pernode_down_write_nested(struct pernode_rwsem *sem, int subclass);
int __must_check pernode_down_write_killable(struct pernode_rwsem *sem);
void pernode_up_write(struct pernode_rwsem *sem);
void pernode_downgrade_write(struct pernode_rwsem *sem);

bool pernode_rwsem_is_locked(struct pernode_rwsem *sem);
bool pernode_rwsem_is_write_locked(struct pernode_rwsem *sem);
bool pernode_rwsem_is_contended(struct pernode_rwsem *sem);

void pernode_slot_leave(struct pernode_table *table, unsigned int slot);
int pernode_slot_readers(struct pernode_table *table, unsigned int slot);
void pernode_slot_wait(struct pernode_table *table, unsigned int slot);

/**
 * pernode_table_entry - the entry that readers on a node use
 * @table: a lock's table
 * @node: a node's number
 *
 * Return: the entry.
 */
static inline struct pernode_entry *pernode_table_entry(struct pernode_table *table, int node)
{
	return table->entry[node];
}

/* Does a writer wait for the slot to be empty, as a node's entry says? */
static inline bool pernode_slot_awaited(struct pernode_entry *entry, unsigned int slot)
{
	return READ_ONCE(entry->awaited) == slot + 1;
}

/**
 * pernode_slot_enter - count a reader of what a slot stands for
 * @table: a lock's table
 * @slot: below PERNODE_SLOTS
 *
 * A full barrier: a writer that says it is there, and then calls pernode_slot_wait(), waits for
 * this reader, or the reader sees what it says.
 *
 * Context: any.
 */
static inline void pernode_slot_enter(struct pernode_table *table, unsigned int slot)
{
	atomic_inc_return(&pernode_table_entry(table, numa_node_id())->slot[slot].came);
}

/**
 * pernode_slot_try_enter - the same, but not where a writer waits for the slot to be empty
 * @table: a lock's table
 * @slot: below PERNODE_SLOTS
 *
 * If the slot stands for more than the writer waits for, others would keep it waiting.
 *
 * Context: any.
 * Return: false: the reader is not counted.
 */
static inline bool pernode_slot_try_enter(struct pernode_table *table, unsigned int slot)
{
	struct pernode_entry *entry = pernode_table_entry(table, numa_node_id());

	if (unlikely(pernode_slot_awaited(entry, slot)))
		return false;
	atomic_inc_return(&entry->slot[slot].came);
	return true;
}

/**
 * pernode_rwsem_is_local - has the lock been used on this node last, and not on others often?
 * @sem: the lock
 *
 * Context: any.
 * Return: true: the lock has no table.  Not for long, if its write side is not held off.
 */
static __always_inline bool pernode_rwsem_is_local(struct pernode_rwsem *sem)
{
	return READ_ONCE(sem->last_node) == numa_node_id();
}

/**
 * pernode_rwsem_moved - note where a lock that has not expanded is used
 * @sem: the lock
 *
 * A hint for the user who decides when the lock expands; racing calls may lose a move.
 *
 * Context: any.
 * Return: true when it has been seen to move between nodes often, and nobody can be left in
 * a trylock that began before: the user may take the write side and publish a table.
 */
static __always_inline bool pernode_rwsem_moved(struct pernode_rwsem *sem)
{
	return unlikely(!pernode_rwsem_is_local(sem)) && __pernode_rwsem_moved(sem);
}

#endif
