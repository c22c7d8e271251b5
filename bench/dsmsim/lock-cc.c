// SPDX-License-Identifier: GPL-2.0-only
/*
 * The baseline `cc`: CC-Synch as published (PPoPP'12), which knows of no nodes.  The tail is a
 * record that nobody has filled in; a thread fills it in, and leaves the record that it has had
 * so far there in its place.
 */
#include "lock.h"

#define BATCH	64

struct record {
	struct record *next;
	unsigned long arg, result;
	enum { WAITS, DONE, COMBINES } state;
} ____cacheline_aligned;

struct cc {
	struct record *tail;
	struct {
		lock_operation op;
		void *state;
	} fixed __aligned(PAGE_SIZE);	/* nobody writes in that page */
};

/* What a thread has, in a page of its node's. */
struct own {
	struct record *record;
	struct record first;
};

static u64 batch_count;		/* costs nothing: no part of the lock */

static void bind(void *lock, lock_operation op, void *state)
{
	struct cc *cc = lock;

	cc->fixed.op = op;
	cc->fixed.state = state;
	cc->tail = page_address(alloc_pages_node(0, GFP_KERNEL | __GFP_ZERO, 0));
	cc->tail->state = COMBINES;
	batch_count = 0;
}

static unsigned long run(void *lock, unsigned long arg)
{
	struct cc *cc = lock;
	struct own *own = plat_this_cpu();
	struct record *spare = own->record ? own->record : &own->first, *rec, *at, *next;
	int ops;

	spare->next = NULL;
	spare->state = WAITS;
	rec = xchg(&cc->tail, spare);
	rec->arg = arg;
	own->record = rec;
	smp_store_release(&rec->next, spare);
	if (smp_cond_load_acquire(&rec->state, VAL != WAITS) == DONE)
		return rec->result;

	batch_count++;
	for (at = rec, ops = 0; ops < BATCH; at = next, ops++) {
		next = smp_load_acquire(&at->next);
		if (!next)
			break;
		at->result = cc->fixed.op(cc->fixed.state, at->arg);
		smp_store_release(&at->state, DONE);
	}
	smp_store_release(&at->state, COMBINES);
	return rec->result;
}

static const char *check(void *lock)
{
	struct cc *cc = lock;

	return cc->tail->state == COMBINES && !cc->tail->next ? NULL : "the lock is not free";
}

static u64 batches(void *lock)
{
	(void)lock;
	return batch_count;
}

const struct lock_ops lock_cc = {
	.name = "cc",
	.size = sizeof(struct cc),
	.bind = bind,
	.run = run,
	.check = check,
	.batches = batches,
};
