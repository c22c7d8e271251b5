// SPDX-License-Identifier: GPL-2.0-only
/*
 * pernode_rwsem, the core as it is, behind the simulator's interface.  The Makefile builds it
 * once with the core, and once with each broken copy of it: LOCK_PERNODE and LOCK_NAME differ.
 */
#include "gate.h"
#include "lock.h"
#include "lock-pernode.h"

#ifndef LOCK_PERNODE
#define LOCK_PERNODE	lock_pernode
#define LOCK_NAME	"pernode"
#endif

static void init(void *lock, int moves) { pernode_begin(lock, moves); }
static void destroy(void *lock) { pernode_rwsem_destroy(lock); }
static void rd(void *lock) { pernode_down_read(lock); }
static int rd_killable(void *lock) { return pernode_down_read_killable(lock); }
static int rd_try(void *lock) { return pernode_down_read_trylock(lock); }
static void rd_up(void *lock) { pernode_up_read(lock); }
static void rd_up_non_owner(void *lock) { pernode_up_read_non_owner(lock); }
static void wr(void *lock) { pernode_down_write(lock); }
static int wr_killable(void *lock) { return pernode_down_write_killable(lock); }
static void wr_up(void *lock) { pernode_up_write(lock); }
static void downgrade(void *lock) { pernode_downgrade_write(lock); }
static bool is_locked(void *lock) { return pernode_rwsem_is_locked(lock); }
static bool is_contended(void *lock) { return pernode_rwsem_is_contended(lock); }
static int expand(void *lock) { return pernode_rwsem_expand(lock); }

/* As the guest does it: expansion is decided outside the lock. */
static void used(void *lock)
{
	struct pernode_rwsem *sem = lock;
	struct pernode_table *table;

	if (!pernode_rwsem_moved(sem))
		return;
	table = pernode_table_alloc(GFP_KERNEL);
	if (!table)
		return;
	pernode_down_write(sem);
	if (sem->table)
		pernode_table_free(table);
	else
		pernode_rwsem_publish(sem, table);
	pernode_up_write(sem);
}

/* When nobody is in a closed entry counts nobody; the others and @strays add up to 0. */
static const char *check(void *lock)
{
	struct pernode_rwsem *sem = lock;
	struct pernode_gate *gate;
	int node, word, sum = 0;

	if (!gate_idle(&sem->rwsem))
		return "the rw_semaphore is not idle";
	if (!sem->table)
		return NULL;
	gate = sem->table->gate;
	if (!gate_idle(&gate->rwsem))
		return "the gate is not idle";
	if (READ_ONCE(gate->writer.task))
		return "a writer is left waiting";
	for (node = 0; node < (int)nr_node_ids; node++) {
		word = atomic_read(&sem->table->entry[node]->word);
		sum += (word - (word & PERNODE_STATE)) / PERNODE_READER;
		if (sem->table->entry[node]->opening ||
		    !list_empty(&sem->table->entry[node]->waiters))
			return "a reader is left at an entry";
		if ((word & PERNODE_SHUT) && word & ~PERNODE_STATE)
			return "a closed entry counts somebody";
		if (!(word & PERNODE_SHUT) != node_isset(node, gate->open))
			return "an entry's state and @open differ";
	}
	if (!nodes_empty(gate->wanted))
		return "an opener is left";
	sum += atomic_read(&gate->strays);
	return sum ? "the counts do not add up to 0" : NULL;
}

static bool describe(void *lock, const volatile void *addr, char *text, size_t size)
{
	struct pernode_rwsem *sem = lock;
	size_t at = (char *)addr - (char *)lock;
	struct pernode_gate *gate;
	int node;

	if (at < sizeof(*sem)) {
		const char *name = at == offsetof(struct pernode_rwsem, table) ? "table" :
				   at == offsetof(struct pernode_rwsem, moves) ? "moves" :
				   at == offsetof(struct pernode_rwsem, gp) ? "gp" :
				   (void *)addr == &sem->rwsem.count ? "rwsem.count" :
				   (void *)addr == &sem->rwsem.owner ? "rwsem.owner" : NULL;

		if (name)
			snprintf(text, size, "%s", name);
		else
			snprintf(text, size, "lock+%zu", at);
		return true;
	}
	if (!sem->table)
		return false;
	gate = sem->table->gate;
	at = (char *)addr - (char *)gate;
	if (at < sizeof(struct pernode_gate)) {
		const char *name = at == offsetof(struct pernode_gate, strays) ? "strays" :
				   at == offsetof(struct pernode_gate, open) ? "open" :
				   at == offsetof(struct pernode_gate, wanted) ? "wanted" :
				   at == offsetof(struct pernode_gate, writer) ? "writer" :
				   (void *)addr == &gate->rwsem.count ? "rwsem.count" :
				   (void *)addr == &gate->rwsem.owner ? "rwsem.owner" : NULL;

		if (name)
			snprintf(text, size, "gate.%s", name);
		else
			snprintf(text, size, "gate+%zu", at);
		return true;
	}
	for (node = 0; node < (int)nr_node_ids; node++) {
		if ((void *)addr != &sem->table->entry[node]->word)
			continue;
		snprintf(text, size, "entry[%d].word", node);
		return true;
	}
	return false;
}

const struct lock_ops LOCK_PERNODE = {
	.name = LOCK_NAME,
	.size = sizeof(struct pernode_rwsem),
	.timed = true,
	.init = init,
	.destroy = destroy,
	.down_read = rd,
	.down_read_killable = rd_killable,
	.down_read_trylock = rd_try,
	.up_read = rd_up,
	.up_read_non_owner = rd_up_non_owner,
	.down_write = wr,
	.down_write_killable = wr_killable,
	.up_write = wr_up,
	.downgrade_write = downgrade,
	.is_locked = is_locked,
	.is_contended = is_contended,
	.expand = expand,
	.used = used,
	.check = check,
	.describe = describe,
};
