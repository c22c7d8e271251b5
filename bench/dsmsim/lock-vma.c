// SPDX-License-Identifier: GPL-2.0-only
/*
 * The locks of an address space: mmap_lock, and what the guest's kernel makes of the core's slots
 * for its VMAs (vma_start_read() and the like, __mmap_pernode_expand()), in the simulator's
 * names.  The Makefile builds it once for itself, and once with each broken copy of it or the
 * core: LOCK_VMA and LOCK_NAME differ.
 *
 * Two of the VMAs share a slot.  What the kernel looks up in a tree is here a VMA that has not
 * been detached.
 */
#include "gate.h"
#include "lock.h"
#include "lock-pernode.h"

#ifndef LOCK_VMA
#define LOCK_VMA	lock_vma
#define LOCK_NAME	"vma"
#endif

#define VMAS	3

struct vma {
	int lock_seq;		/* the address space's while this is write-locked */
	bool detached;
	struct rw_semaphore rwsem;
};

struct space {
	struct pernode_rwsem mmap;
	int lock_seq;		/* odd: mmap_lock is held for writing */
	struct vma vma[VMAS];
};

static unsigned int slot_of(int i)
{
	return i / 2;
}

static struct pernode_table *table_of(struct space *s)
{
	/* Pairs with the release in pernode_rwsem_publish(). */
	return smp_load_acquire(&s->mmap.table);
}

static void space_init(void *lock, int moves)
{
	struct space *s = lock;
	int i;

	pernode_begin(&s->mmap, moves);
	s->lock_seq = 0;
	for (i = 0; i < VMAS; i++) {
		s->vma[i].lock_seq = -1;
		s->vma[i].detached = false;
		init_rwsem(&s->vma[i].rwsem);
	}
}

static void space_destroy(void *lock)
{
	pernode_rwsem_destroy(&((struct space *)lock)->mmap);
}

static void mmap_read(void *lock)
{
	pernode_down_read(&((struct space *)lock)->mmap);
}

static void mmap_end_read(void *lock)
{
	pernode_up_read(&((struct space *)lock)->mmap);
}

static void mmap_write(void *lock)
{
	struct space *s = lock;

	pernode_down_write(&s->mmap);
	/* What writers before this did can be seen by who sees this. */
	smp_store_release(&s->lock_seq, s->lock_seq + 1);
}

static void mmap_end_write(void *lock)
{
	struct space *s = lock;

	/* Pairs with the acquire in write_locked(). */
	smp_store_release(&s->lock_seq, s->lock_seq + 1);
	pernode_up_write(&s->mmap);
}

static bool write_locked(struct space *s, struct vma *v)
{
	/* Pairs with the release in mmap_end_write(). */
	return READ_ONCE(v->lock_seq) == smp_load_acquire(&s->lock_seq);
}

static void end_read(struct space *s, int i)
{
	struct pernode_table *table = s->mmap.table;

	if (table)
		pernode_slot_leave(table, slot_of(i));
	else
		up_read(&s->vma[i].rwsem);
}

static bool start_read(struct space *s, int i)
{
	struct vma *v = &s->vma[i];
	struct pernode_table *table;

	if (write_locked(s, v))
		return false;
	if (!pernode_rwsem_is_local(&s->mmap)) {
		table = table_of(s);
		if (table) {
			if (!pernode_slot_try_enter(table, slot_of(i)))
				return false;
			if (!write_locked(s, v))
				return true;
			pernode_slot_leave(table, slot_of(i));
			return false;
		}
		if (__pernode_rwsem_moved(&s->mmap))
			return false;
	}
	if (!down_read_trylock(&v->rwsem))
		return false;
	if (write_locked(s, v) || READ_ONCE(v->detached) || READ_ONCE(s->mmap.table)) {
		up_read(&v->rwsem);
		return false;
	}
	return true;
}

static bool vma_read(void *lock, int i)
{
	struct space *s = lock;
	bool got;

	rcu_read_lock();
	got = !READ_ONCE(s->vma[i].detached) && start_read(s, i);
	rcu_read_unlock();
	if (got && READ_ONCE(s->vma[i].detached)) {
		end_read(s, i);
		got = false;
	}
	return got;
}

static void vma_read_locked(void *lock, int i)
{
	struct space *s = lock;
	struct pernode_table *table = table_of(s);

	if (table)
		pernode_slot_enter(table, slot_of(i));
	else
		down_read(&s->vma[i].rwsem);
}

static void vma_end_read(void *lock, int i)
{
	end_read(lock, i);
}

static void vma_write(void *lock, int i)
{
	struct space *s = lock;
	struct vma *v = &s->vma[i];
	struct pernode_table *table = s->mmap.table;

	if (v->lock_seq == s->lock_seq)
		return;
	if (table) {
		WRITE_ONCE(v->lock_seq, s->lock_seq);
		pernode_slot_wait(table, slot_of(i));
		return;
	}
	down_write(&v->rwsem);
	WRITE_ONCE(v->lock_seq, s->lock_seq);
	up_write(&v->rwsem);
}

static void vma_detach(void *lock, int i)
{
	struct space *s = lock;

	vma_write(lock, i);
	WRITE_ONCE(s->vma[i].detached, true);
}

static bool vma_detached(void *lock, int i)
{
	return ((struct space *)lock)->vma[i].detached;
}

/* Is the VMA's slot waited for, as far as this node knows? */
static bool vma_awaited(void *lock, int i)
{
	struct pernode_table *table = table_of(lock);

	return table && pernode_slot_awaited(pernode_table_entry(table, numa_node_id()),
					     slot_of(i));
}

/* What a fault does that has to take mmap_lock */
static void expand_if_moved(void *lock)
{
	struct space *s = lock;
	struct pernode_table *table;
	int i;

	if (!pernode_rwsem_moved(&s->mmap))
		return;
	table = pernode_table_alloc(GFP_KERNEL);
	if (!table)
		return;
	mmap_write(s);
	if (s->mmap.table) {
		pernode_table_free(table);
	} else {
		/* Until readers that came without entries have left */
		for (i = 0; i < VMAS; i++)
			if (!s->vma[i].detached)
				vma_write(s, i);
		pernode_rwsem_publish(&s->mmap, table);
	}
	mmap_end_write(s);
}

static const char *space_check(void *lock)
{
	struct space *s = lock;
	int i;

	if (s->mmap.table && READ_ONCE(s->mmap.table->gate->writer.task))
		return "a writer is left waiting";
	for (i = 0; i < VMAS; i++) {
		if (!gate_idle(&s->vma[i].rwsem))
			return "a VMA's rw_semaphore is not idle";
		if (vma_awaited(s, i))
			return "a slot is waited for";
		if (s->mmap.table && pernode_slot_readers(s->mmap.table, slot_of(i)))
			return "a slot's counts do not add up to 0";
	}
	return NULL;
}

static bool describe(void *lock, const volatile void *addr, char *text, size_t size)
{
	struct space *s = lock;
	struct pernode_slot *slot;
	unsigned int i;
	int node;

	if ((void *)addr == &s->lock_seq || (void *)addr == &s->mmap.table) {
		snprintf(text, size, (void *)addr == &s->lock_seq ? "lock_seq" : "table");
		return true;
	}
	for (i = 0; i < VMAS; i++) {
		struct vma *v = &s->vma[i];
		const char *name = (void *)addr == &v->lock_seq ? "lock_seq" :
				   (void *)addr == &v->detached ? "detached" :
				   (void *)addr == &v->rwsem.count ? "rwsem.count" : NULL;

		if (name) {
			snprintf(text, size, "vma[%u].%s", i, name);
			return true;
		}
	}
	for (node = 0; s->mmap.table && node < (int)nr_node_ids; node++) {
		for (i = 0; i <= slot_of(VMAS - 1); i++) {
			slot = &s->mmap.table->entry[node]->slot[i];
			if ((void *)addr != &slot->came && (void *)addr != &slot->left)
				continue;
			snprintf(text, size, "entry[%d].slot[%u].%s", node, i,
				 (void *)addr == &slot->came ? "came" : "left");
			return true;
		}
	}
	return false;
}

const struct lock_ops LOCK_VMA = {
	.name = LOCK_NAME,
	.size = sizeof(struct space),
	.init = space_init,
	.destroy = space_destroy,
	.down_read = mmap_read,
	.up_read = mmap_end_read,
	.down_write = mmap_write,
	.up_write = mmap_end_write,
	.used = expand_if_moved,
	.check = space_check,
	.describe = describe,
	.vmas = VMAS,
	.vma_read = vma_read,
	.vma_read_locked = vma_read_locked,
	.vma_end_read = vma_end_read,
	.vma_write = vma_write,
	.vma_detach = vma_detach,
	.vma_detached = vma_detached,
	.vma_awaited = vma_awaited,
};
