// SPDX-License-Identifier: GPL-2.0-only
/*
 * ccsynch, the core as it is, behind the simulator's interface.  The Makefile builds it once
 * with the core, and once with each broken copy of it: LOCK_CCSYNCH and LOCK_NAME differ.
 */
#include <linux/ccsynch.h>

#include "lock.h"

#ifndef LOCK_CCSYNCH
#define LOCK_CCSYNCH	lock_ccsynch
#define LOCK_NAME	"ccsynch"
#endif

static void bind(void *lock, lock_operation op, void *state)
{
	if (ccsynch_setup() || ccsynch_init((struct ccsynch *)lock, op, state))
		plat_bug("a lock cannot be made");
}

static void vary(unsigned int how)
{
	static struct ccsynch_params usual;

	if (!usual.batch)
		usual = ccsynch_params;
	ccsynch_params = usual;
	if (!how)
		return;
	ccsynch_params = (struct ccsynch_params){
		1 + how % 3, 1 + how / 3 % 4, how / 12 % 3, how / 36
	};
}

/* As if the CPU were deep in others' requests. */
static void scarce(unsigned int left)
{
	struct ccsynch_cpu *cpu = plat_this_cpu();

	cpu->used = CCSYNCH_RECORDS - left;
}

static void destroy(void *lock)
{
	ccsynch_destroy(lock);
	ccsynch_teardown();
}

static unsigned long run(void *lock, unsigned long arg) { return ccsynch_run(lock, arg); }
static void take(void *lock) { ccsynch_lock(lock); }
static int try(void *lock) { return ccsynch_trylock(lock); }
static void leave(void *lock) { ccsynch_unlock(lock); }
static bool is_locked(void *lock) { return ccsynch_is_locked(lock); }

static const char *check(void *lock)
{
	struct ccsynch *cs = lock;
	int node;

	if (ccsynch_is_locked(cs))
		return "the global lock is not free";
	for_each_online_node(node)
		if (cs->table->node[node]->tail)
			return "a node's queue is not empty";
	return NULL;
}

static u64 batches(void *lock)
{
	struct ccsynch_stats stats;

	ccsynch_stats(lock, &stats);
	return stats.tenures;
}

static bool describe(void *lock, const volatile void *addr, char *text, size_t size)
{
	struct ccsynch_table *t = ((struct ccsynch *)lock)->table;
	size_t at = (char *)addr - (char *)t->global;
	int node;

	if (at < sizeof(*t->global)) {
		snprintf(text, size, "global.%s", at ? "serving" : "next");
		return true;
	}
	for_each_online_node(node) {
		at = (char *)addr - (char *)t->node[node];
		if (at >= sizeof(struct ccsynch_node))
			continue;
		snprintf(text, size, at ? "node[%d]+%zu" : "node[%d].tail", node, at);
		return true;
	}
	/* A record, by where it is. */
	at = (uintptr_t)addr % PAGE_SIZE;
	snprintf(text, size, "...%llx+%zu", (u64)(uintptr_t)addr / PAGE_SIZE % 0x1000, at);
	return true;
}

const struct lock_ops LOCK_CCSYNCH = {
	.name = LOCK_NAME,
	.size = sizeof(struct ccsynch),
	.bind = bind,
	.destroy = destroy,
	.vary = vary,
	.scarce = scarce,
	.run = run,
	.lock = take,
	.trylock = try,
	.unlock = leave,
	.is_locked = is_locked,
	.check = check,
	.batches = batches,
	.describe = describe,
};
