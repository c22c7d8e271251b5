/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The simulated machine: threads, memory, time.  One OS thread, no clock but its own.
 *
 * Two ways to run.  SIM_TIMED: each access costs what the page's and the line's state says,
 * and the thread with the smallest time runs (ties by number).  SIM_EXPLORE: no costs; at each
 * shared access a seeded choice says who runs next.
 */
#ifndef DSMSIM_SIM_H
#define DSMSIM_SIM_H

#include <shim.h>

#define SIM_THREADS	64
#define SIM_NODES	64

enum sim_mode { SIM_TIMED, SIM_EXPLORE };

/**
 * struct sim_costs - what things cost, ns, but for @jitter
 * @transfer: a page's contents going from one node to another
 * @upgrade: a node that shares a page becoming its owner: one round trip, no contents
 * @jitter: a transfer or an upgrade takes up to so many percent less or more
 * @hold: the least time that a node keeps a page it has got
 * @line: a line that is not in this CPU's cache
 * @hit: a line that is
 * @relax: a turn of a spinning loop that cannot tell what it waits for
 * @sleep: a switch to idle
 * @wake: from waking a task to its running, on the same node
 * @ipi: in addition, on another node
 */
struct sim_costs {
	u64 transfer, upgrade, jitter, hold, line, hit, relax, sleep, wake, ipi;
};

extern struct sim_costs sim_costs;

struct sim_stats {
	u64 transfers, upgrades, accesses;
};

extern struct sim_stats sim_stats;

enum sim_end {
	SIM_DONE,
	SIM_STUCK,	/* nobody can run, and somebody has not finished */
	SIM_BUG,	/* plat_bug() was called */
	SIM_LONG,	/* more accesses than sim_limit */
};

extern const char *sim_bug;
extern u64 sim_limit;
/* A loop may make so many turns in one, timed; for a lock that bounds time, never turns. */
extern unsigned int sim_turns;

void sim_reset(enum sim_mode mode, int nodes, u64 seed);
void *sim_alloc(int node, size_t size, const char *kind);
u64 sim_moved(const char *kind);
struct task_struct *sim_spawn(int node, void (*fn)(void *arg), void *arg);
enum sim_end sim_run(void);
const char *sim_state(int thread);

u64 sim_random(u64 below);
u64 sim_now(void);
void sim_delay(u64 ns);
void sim_sync(void);
void sim_migrate(int node);
void sim_kill(struct task_struct *task);

/* While exploring: called now and then before an access of a thread whose interrupts are on. */
extern void (*sim_interrupt)(void);

/* What hooks.c calls. */
void sim_access(const volatile void *addr, bool write, bool plain);
void sim_written(const volatile void *addr);
bool sim_here(const volatile void *addr);

/* With a trace on, each atomic access that writes or reads what is shared is told. */
extern void (*sim_trace)(const char *what, const volatile void *addr, u64 old, u64 new);

/* What looks at shared memory for a trace sets this meanwhile: no accesses of the program's. */
extern bool sim_quiet;

/* xorshift64*: small, and the same on every machine. */
static inline u64 sim_rng(u64 *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545F4914F6CDD1DULL;
}

/* splitmix64: seeds that differ by one give unrelated streams. */
static inline u64 sim_mix(u64 x)
{
	x += 0x9E3779B97F4A7C15ULL;
	x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
	x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
	return (x ^ (x >> 31)) | 1;
}

#endif
