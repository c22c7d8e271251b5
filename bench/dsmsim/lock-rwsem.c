// SPDX-License-Identifier: GPL-2.0-only
/* The baseline `rwsem`: the gate's model, alone. */
#include "gate.h"
#include "lock.h"

static void init(void *lock, int moves)
{
	(void)moves;
	init_rwsem((struct rw_semaphore *)lock);
}

static void rd(void *lock) { down_read(lock); }
static int rd_killable(void *lock) { return down_read_killable(lock); }
static int rd_try(void *lock) { return down_read_trylock(lock); }
static void rd_up(void *lock) { up_read(lock); }
static void wr(void *lock) { down_write(lock); }
static int wr_killable(void *lock) { return down_write_killable(lock); }
static void wr_up(void *lock) { up_write(lock); }
static void downgrade(void *lock) { downgrade_write(lock); }
static bool is_locked(void *lock) { return rwsem_is_locked(lock); }
static bool is_contended(void *lock) { return rwsem_is_contended(lock); }

static const char *check(void *lock)
{
	return gate_idle(lock) ? NULL : "the rw_semaphore is not idle";
}

const struct lock_ops lock_rwsem = {
	.name = "rwsem",
	.size = sizeof(struct rw_semaphore),
	.init = init,
	.down_read = rd,
	.down_read_killable = rd_killable,
	.down_read_trylock = rd_try,
	.up_read = rd_up,
	.up_read_non_owner = rd_up,
	.down_write = wr,
	.down_write_killable = wr_killable,
	.up_write = wr_up,
	.downgrade_write = downgrade,
	.is_locked = is_locked,
	.is_contended = is_contended,
	.check = check,
};
