/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Nodes of a span on the bare device, for test programs: no guest, the program's threads are the
 * nodes' CPUs.  With span_up() all nodes live in one process, each with its own open file and its
 * own mapping of the whole span; a test compares what it does through one with what it sees
 * through another.  What cannot be set up ends the program with a line that says why.
 */
#ifndef TESTS_DEV_SPAN_H
#define TESTS_DEV_SPAN_H

#include "../../hv-companion/numaspan/include/uapi/numaspan.h"
#include "../tap.h"

#define PAGE		4096UL
#define SPAN_DEVICE	"/dev/numaspan"
#define SPAN_ID		0x5eed5eed5eedULL
#define SPAN_MAX	4	/* nodes in one process */
#define SPAN_TEXT	200
#define SPAN_RDMA_PORT	7471	/* of node 0; the next node's is the next */

/**
 * struct span - a span and the nodes of it that live in this process
 * @args:	as given to each node, but for the node number
 * @self:	-1: all nodes live here; else the only one that does
 * @fd:		the nodes' files, -1 where a node lives elsewhere
 * @map:	their mappings of the span
 * @pages:	pages of the span
 */
struct span {
	struct numaspan_create args;
	int self;
	int fd[SPAN_MAX];
	char *map[SPAN_MAX];
	u64 pages;
};

void span_args(struct numaspan_create *c, int nr_nodes, u64 pages_per_node, u64 cache_pages);
int span_open(void);
int span_create(const struct numaspan_create *c, int node);
void span_tcp_pair(int sock[2]);
int span_connect(int fd, int peer, int sock);
const char *span_rdma_ip(void);
int span_connect_rdma(int fd, int peer, int self, const char *ip, const char *peer_ip);
int span_start(const int *fd, int n);
char *span_map(int fd, u64 pages);
void span_up(struct span *s);
void span_down(struct span *s);
void span_stats(int fd, struct numaspan_stats *st);
/* Zeros from @at on, a word at a time, as a reader beside it expects. */
void span_clear(void *at, u64 bytes);
extern char span_clear_end[];
void span_clears(int fd);
void span_status(int fd, struct numaspan_status *st);
bool span_wait_stopped(int fd, int timeout_ms, struct numaspan_status *st);
bool span_copies(const struct span *s, char what[SPAN_TEXT]);
const char *span_reason(unsigned int reason);
void span_catch_sigbus(const struct span *s);
long span_number(const char *prog, const char *option, const char *s, long min, long max);
int span_choice(const char *prog, const char *option, const char *s, const char * const *names,
		int n);
int span_transport(const char *prog, const char *s);
int span_policy(const char *prog, const char *s);

/* One instruction each: what the tests count. */
static inline u64 load64(const void *p)
{
	u64 v;

	asm volatile("movq %1, %0" : "=r" (v) : "m" (*(const u64 *)p) : "memory");
	return v;
}

static inline void store64(void *p, u64 v)
{
	asm volatile("movq %1, %0" : "=m" (*(u64 *)p) : "r" (v) : "memory");
}

static inline u64 xadd64(void *p, u64 v)
{
	asm volatile("lock xaddq %0, %1" : "+r" (v), "+m" (*(u64 *)p) : : "memory");
	return v;
}

/* Both words, and each may lie across two pages. */
static inline void move64(void *to, const void *from)
{
	asm volatile("movsq" : "+D" (to), "+S" (from) : : "memory");
}

#endif
