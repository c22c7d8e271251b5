/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of numaspan.ko share: the node (an open /dev/numaspan), its pages, and the
 * functions each file offers the others.
 *
 * Flow: fault.c and the transports call engine.c, which steps the protocol under the page's
 * lock and carries out what the step asks for without it; only engine.c calls the protocol, and
 * only it calls a transport's send.
 *
 * Locks, outer first: mmap_lock or VMA lock (taken by our callers) > page lock (struct page) >
 * ns_page.lock > ns_node.lru_lock, defer_lock.  No lock of ours is held while waiting for a peer.
 */
#ifndef NUMASPAN_NODE_H
#define NUMASPAN_NODE_H

#include <linux/atomic.h>
#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/seqlock.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "include/uapi/numaspan.h"
#include "protocol.h"

#define NS_CHUNK_SHIFT	9
#define NS_CHUNK_PAGES	BIT(NS_CHUNK_SHIFT)
#define NS_WAIT_QUEUES	256
#define NS_TASK_SLOTS	256

/**
 * struct ns_page - a page as this node knows it
 * @lock:	guards all below and the page's directory entry
 * @fresh:	permission was granted and no access has used it yet
 * @reserved:	counted in ns_node.cache_used
 * @deferred:	a give-up waits in ns_node.deferred
 * @mapped:	may be in a page table; if not, giving it up needs no unmapping
 * @prefetched:	asked for before any access, and none has come yet
 * @c:		the protocol's entry
 * @page:	the contents; NULL with permission means zeros that nobody has touched
 * @index:	page number in the span
 * @granted_ns:	when permission came, or a message that it takes
 * @keep_ns:	end of the hold
 * @lru:	in ns_node.lru while a remote page's copy is here
 */
struct ns_page {
	spinlock_t lock;	/* see above */
	bool fresh;
	bool reserved;
	bool deferred;
	bool mapped;
	bool prefetched;
	struct ns_cache c;
	struct page *page;
	u64 index;
	u64 granted_ns;
	u64 keep_ns;
	struct list_head lru;
};

/* Entries of 2 MiB of guest memory, allocated when the first of its pages is used. */
struct ns_chunk {
	struct ns_dir *dir;	/* NULL where no page of the chunk has its home here */
	struct ns_page pages[NS_CHUNK_PAGES];
};

/* Per-CPU counters; the names are those of struct numaspan_stats. */
struct ns_counters {
	u64 faults_read, faults_write, faults_walk, faults_local;
	u64 transfers_in, transfers_out, invalidations, downgrades, upgrades;
	u64 bytes_in, bytes_out, msgs;
	u64 msgs_out[16], msgs_in[16];
	u64 evicted, held, stolen, drain_waits, stale, zeros_in, zeros_out;
	u64 page_copies, refused;
	u64 prefetched, prefetch_used, cleared;
	struct numaspan_times times[NUMASPAN_NR_PARTS];
};

#define ns_count(n, field)		this_cpu_inc((n)->counters->field)
#define ns_count_add(n, field, v)	this_cpu_add((n)->counters->field, v)

/* Reads of one task at consecutive pages: see prefetch.c. */
struct ns_stream {
	u64 last;	/* page */
	s8 dir;		/* up or down; 0: not known yet */
	u8 run;		/* pages so far, 3 and more are the same; 0: unused */
	u16 window;
	u16 ahead;	/* pages beyond the last that were asked for */
};

#define NS_STREAMS	4

/* What a task faulted on last: the hold grows for an instruction that gets nowhere. */
struct ns_task_slot {
	struct task_struct *task;
	u32 token;
	struct ns_page *got;	/* what it waited for last */
	u64 recent[4];
	u8 at;
	u8 stuck;
	u8 stream_at;
	struct ns_stream stream[NS_STREAMS];
};

struct ns_node;

/**
 * struct ns_transport - how messages reach the other nodes
 * @name:	for the log
 * @owner:	its module, if that is not numaspan.ko
 * @connect:	hand over a peer's socket; NULL if the transport has none
 * @connect_rdma: a way to a peer; NULL if the transport has none
 * @start:	all peers are there: begin to receive; may wait for them, killably
 * @send:	send @m and @page's contents (in DATA, no page means zeros); may sleep, does
 *		not wait for the peer
 * @say:	send a message that is no page's, PING or BYE; nothing is sent after BYE
 * @poll:	this task waits for @p: receive in its stead for a short time
 * @tick:	called every quarter of the time-out: tell the peers we live, look for silent ones
 * @bye:	tell the peers why this node stops; nothing is sent afterwards
 * @damage:	for tests: break the connection to a peer, @how says in which way
 * @stop:	end every thread and connection; may be called in any state
 */
struct ns_transport {
	const char *name;
	struct module *owner;
	int (*connect)(struct ns_node *n, u32 peer, int fd);
	int (*connect_rdma)(struct ns_node *n, const struct numaspan_connect_rdma *c);
	int (*start)(struct ns_node *n);
	void (*send)(struct ns_node *n, u8 to, u64 index, const struct ns_msg *m,
		     struct page *page);
	void (*say)(struct ns_node *n, u8 to, const struct ns_msg *m, const char *text);
	void (*poll)(struct ns_node *n, struct ns_page *p, bool write);
	void (*tick)(struct ns_node *n);
	void (*bye)(struct ns_node *n);
	int (*damage)(struct ns_node *n, u32 peer, const char *how);
	void (*stop)(struct ns_node *n);
};

/**
 * struct ns_node - one node of one span: an open file of /dev/numaspan
 */
struct ns_node {
	/* Set once by NUMASPAN_CREATE, read by every fault. */
	u64 span_id;
	u32 epoch;
	u8 self;
	u8 nr_nodes;
	u32 unsafe;
	u32 policy;				/* NUMASPAN_POLICY_* */
	u32 timeout_ms;
	u32 hold_us;
	u64 nr_pages;
	u64 first[NUMASPAN_MAX_NODES + 1];	/* first page of each node, then the end */
	u8 token[NUMASPAN_TOKEN_LEN];
	const struct ns_transport *transport;
	void *link;				/* the transport's own */
	unsigned long heard[NUMASPAN_MAX_NODES];	/* jiffies of each peer's last message */
	struct inode *inode;
	struct ns_chunk **chunks;
	u64 nr_chunks;
	struct ns_counters __percpu *counters;
	long cache_limit;
	/* Set once or twice in a guest's life, read by every write fault */
	seqlock_t clear_lock;			/* guards the next two */
	u64 clear_start, clear_end;		/* of the code that clears pages */

	struct kref ref;
	struct mutex ctl;			/* serialises ioctls */
	int state;				/* enum numaspan_state */
	spinlock_t status_lock;
	struct numaspan_status status;
	wait_queue_head_t status_wq;
	struct work_struct stop_work;
	struct dentry *debugfs;

	wait_queue_head_t wq[NS_WAIT_QUEUES];
	struct ns_task_slot slots[NS_TASK_SLOTS];
	u64 latency_ns;				/* moving average of a remote fault */
	unsigned int window, window_most;	/* of prefetch: now, and as configured */
	unsigned int window_used;

	atomic_long_t cache_used ____cacheline_aligned_in_smp;
	atomic_long_t cache_peak;
	wait_queue_head_t cache_wq;		/* waiting for room */
	spinlock_t lru_lock;
	struct list_head lru;			/* oldest first */
	struct task_struct *evictor;
	wait_queue_head_t evict_wq;

	spinlock_t defer_lock ____cacheline_aligned_in_smp;
	struct list_head deferred;
	struct task_struct *worker;
	wait_queue_head_t defer_wq;
	bool defer_kick;
};

/* Home of page @index. */
static inline u8 ns_home(const struct ns_node *n, u64 index)
{
	u8 lo = 0, hi = n->policy & NUMASPAN_POLICY_NODE_0 ? 0 : n->nr_nodes - 1;

	while (lo < hi) {
		u8 mid = (lo + hi + 1) / 2;

		if (n->first[mid] <= index)
			lo = mid;
		else
			hi = mid - 1;
	}
	return lo;
}

static inline bool ns_stopped(const struct ns_node *n)
{
	return READ_ONCE(n->state) == NUMASPAN_STOPPED;
}

static inline wait_queue_head_t *ns_page_wq(struct ns_node *n, const struct ns_page *p)
{
	return &n->wq[p->index % NS_WAIT_QUEUES];
}

/* main.c */
extern bool ns_unsafe_tests;

/* node.c */
struct ns_node *ns_node_alloc(void);
void ns_node_put(struct ns_node *n);
void ns_node_end(struct ns_node *n);
void ns_transport_set(unsigned int nr, const struct ns_transport *t);
int ns_node_create(struct ns_node *n, const struct numaspan_create *c);
int ns_node_start(struct ns_node *n);
__printf(4, 5)
void ns_stop(struct ns_node *n, int reason, u32 peer, const char *fmt, ...);

/* page.c */
struct ns_page *ns_page_get(struct ns_node *n, u64 index);
struct ns_dir *ns_page_dir(struct ns_node *n, struct ns_page *p);
void ns_pages_unmap(struct ns_node *n);
void ns_pages_free(struct ns_node *n);

/* engine.c */
int ns_access(struct ns_node *n, struct ns_page *p, enum ns_event access, struct page **page);
int ns_request(struct ns_node *n, struct ns_page *p, enum ns_event access);
bool ns_access_ready(struct ns_node *n, struct ns_page *p, bool write);
void ns_evict(struct ns_node *n, struct ns_page *p);
void ns_defer_update(struct ns_node *n, struct ns_page *p, u64 due);
void ns_deliver(struct ns_node *n, u64 index, const struct ns_msg *m, struct page **contents);
int ns_engine_start(struct ns_node *n);
void ns_engine_stop(struct ns_node *n);

/* hold.c */
u64 ns_hold_until(struct ns_node *n, struct ns_page *p, u64 now);
void ns_hold_wait(struct ns_node *n, struct ns_page *p, u32 token, u64 now);
void ns_hold_used(struct ns_node *n, struct ns_page *p, u64 now);

/* evict.c */
bool ns_cache_reserve(struct ns_node *n, struct ns_page *p);
void ns_cache_release(struct ns_node *n, struct ns_page *p);
bool ns_cache_has_room(const struct ns_node *n);
void ns_cache_add(struct ns_node *n, struct ns_page *p);
int ns_evict_start(struct ns_node *n);
void ns_evict_stop(struct ns_node *n);

/* prefetch.c */
void ns_prefetch(struct ns_node *n, u64 index);
void ns_prefetch_over(struct ns_node *n, struct ns_page *p, bool used);

/* clear.c */
struct ns_access_info;
int ns_clear_code(struct ns_node *n, const struct numaspan_clear_code *c);
bool ns_clears_pages(const struct ns_node *n);
bool ns_is_clear(struct ns_node *n, const struct ns_access_info *info);

/* giantvm.c */
struct page *ns_copy_page(struct ns_node *n, struct page *from);
void ns_copy_and_send(struct ns_node *n, u8 to, u64 index, const struct ns_msg *m,
		      struct page *page);
long ns_sleep_wait(struct ns_node *n, struct ns_page *p, struct page *copy, bool write, bool intr,
		   bool locked, long left);

/* fault.c */
extern const struct vm_operations_struct ns_vm_ops;
bool ns_upgrade_over(struct ns_node *n, struct ns_page *p, struct page *page);

/* observe.c */
struct ns_access_info {
	u64 gpa;	/* with its offset in the page; not a guest's: an address of the process */
	u64 exit_ns;	/* when KVM said so, with @kvm */
	unsigned long ip;
	u32 token;	/* stands for the registers: equal if the task has not run */
	u32 vcpu;
	bool kvm;
	bool walk;
	bool exact;	/* gpa and ip are those of the instruction that has faulted */
};

void ns_observe_access(const struct vm_fault *vmf, struct ns_access_info *info);
void ns_fill_stats(struct ns_node *n, struct numaspan_stats *s);
void ns_observe_time(struct ns_node *n, enum numaspan_part part, u64 ns);
void ns_debugfs_add(struct ns_node *n);
void ns_debugfs_remove(struct ns_node *n);
int ns_observe_init(void);
void ns_observe_exit(void);

/* peer.c */
void ns_receive(struct ns_node *n, u8 from, u64 index, const struct ns_msg *m, const char *text,
		struct page **contents);
void ns_peers_tick(struct ns_node *n);
void ns_peers_bye(struct ns_node *n);
struct page *ns_spare_page(struct ns_node *n, struct page *old);

/* loopback.c, tcp.c */
extern const struct ns_transport ns_loopback;
extern const struct ns_transport ns_tcp;

#endif
