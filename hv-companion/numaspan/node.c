// SPDX-License-Identifier: GPL-2.0-only
/*
 * A node's life: made by NUMASPAN_CREATE, running after NUMASPAN_START, stopped once, for one
 * reason, from any side, and gone when its file is.
 *
 * Invariants: the state only grows; the first reason stays; after a stop every mapping of the
 * node is empty and every fault on it fails, so no access sees memory that is no longer
 * coherent.
 */
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/pseudo_fs.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "node.h"

/* The pseudo file system that gives each node an address space of its own. */
static struct vfsmount *mnt;
static int mnt_count;

/* By enum numaspan_transport.  That of RDMA is there while its module is. */
static const struct ns_transport *transports[] = {
	[NUMASPAN_LOOPBACK] = &ns_loopback,
	[NUMASPAN_TCP] = &ns_tcp,
	[NUMASPAN_RDMA] = NULL,
};

static DEFINE_MUTEX(transports_lock);

/**
 * ns_transport_set() - a transport's module comes or goes
 * @nr:		enum numaspan_transport
 * @t:		the transport, or NULL; each node that uses it keeps its module
 *
 * Context: may sleep.
 */
void ns_transport_set(unsigned int nr, const struct ns_transport *t)
{
	mutex_lock(&transports_lock);
	transports[nr] = t;
	mutex_unlock(&transports_lock);
}
EXPORT_SYMBOL_GPL(ns_transport_set);

static const struct ns_transport *get_transport(unsigned int nr)
{
	const struct ns_transport *t;

	mutex_lock(&transports_lock);
	t = transports[nr];
	if (t && !try_module_get(t->owner))
		t = NULL;
	mutex_unlock(&transports_lock);
	return t;
}

static int ns_init_fs_context(struct fs_context *fc)
{
	return init_pseudo(fc, 0x6e73706e) ? 0 : -ENOMEM;
}

static struct file_system_type ns_fs = {
	.name = "numaspan",
	.owner = THIS_MODULE,
	.init_fs_context = ns_init_fs_context,
	.kill_sb = kill_anon_super,
};

static void stop_work(struct work_struct *work)
{
	struct ns_node *n = container_of(work, struct ns_node, stop_work);

	ns_pages_unmap(n);
	n->transport->bye(n);
}

/**
 * ns_stop() - stop the node
 * @n:		node
 * @reason:	enum numaspan_reason
 * @peer:	node it is about
 * @fmt:	one line for the user and for the peers
 *
 * The first call wins.  Mappings are emptied and the peers told soon afterwards, by a work item.
 *
 * Context: process context, no spinlock held.
 */
void ns_stop(struct ns_node *n, int reason, u32 peer, const char *fmt, ...)
{
	unsigned int i;
	va_list args;

	spin_lock(&n->status_lock);
	if (n->state != NUMASPAN_RUNNING) {
		spin_unlock(&n->status_lock);
		return;
	}
	n->status.reason = reason;
	n->status.peer = peer;
	va_start(args, fmt);
	vscnprintf(n->status.text, sizeof(n->status.text), fmt, args);
	va_end(args);
	/* Pairs with the acquire in NUMASPAN_STATUS. */
	smp_store_release(&n->state, NUMASPAN_STOPPED);
	/* Under the lock: whoever finds the node stopped, by a call of this, may flush the work. */
	queue_work(system_unbound_wq, &n->stop_work);
	spin_unlock(&n->status_lock);

	if (reason != NUMASPAN_R_STOP)
		pr_notice("numaspan: span %llx node %u stopped: %s\n", n->span_id, n->self,
			  n->status.text);
	for (i = 0; i < NS_WAIT_QUEUES; i++)
		wake_up_all(&n->wq[i]);
	wake_up_all(&n->cache_wq);
	wake_up_all(&n->evict_wq);
	wake_up_all(&n->status_wq);
}
EXPORT_SYMBOL_GPL(ns_stop);

/**
 * ns_node_alloc() - a new node, for a file that is being opened
 *
 * Context: may sleep.
 * Return: the node, with one reference; NULL without memory.
 */
struct ns_node *ns_node_alloc(void)
{
	struct ns_node *n;
	unsigned int i;

	/* Pinned by each node, so that the module can go when the last one has. */
	if (simple_pin_fs(&ns_fs, &mnt, &mnt_count))
		return NULL;
	n = kvzalloc(sizeof(*n), GFP_KERNEL);
	if (!n) {
		simple_release_fs(&mnt, &mnt_count);
		return NULL;
	}
	n->counters = alloc_percpu(struct ns_counters);
	n->inode = alloc_anon_inode(mnt->mnt_sb);
	if (!n->counters || IS_ERR(n->inode)) {
		if (!IS_ERR(n->inode))
			iput(n->inode);
		free_percpu(n->counters);
		kvfree(n);
		simple_release_fs(&mnt, &mnt_count);
		return NULL;
	}
	kref_init(&n->ref);
	mutex_init(&n->ctl);
	spin_lock_init(&n->status_lock);
	init_waitqueue_head(&n->status_wq);
	INIT_WORK(&n->stop_work, stop_work);
	for (i = 0; i < NS_WAIT_QUEUES; i++)
		init_waitqueue_head(&n->wq[i]);
	init_waitqueue_head(&n->cache_wq);
	seqlock_init(&n->clear_lock);
	spin_lock_init(&n->lru_lock);
	INIT_LIST_HEAD(&n->lru);
	init_waitqueue_head(&n->evict_wq);
	spin_lock_init(&n->defer_lock);
	INIT_LIST_HEAD(&n->deferred);
	init_waitqueue_head(&n->defer_wq);
	return n;
}

static void free_node(struct kref *ref)
{
	struct ns_node *n = container_of(ref, struct ns_node, ref);

	ns_pages_free(n);
	iput(n->inode);
	free_percpu(n->counters);
	memzero_explicit(n->token, sizeof(n->token));
	kvfree(n);
	simple_release_fs(&mnt, &mnt_count);
}

/**
 * ns_node_put() - drop a reference
 * @n:		node
 *
 * Context: may sleep.
 */
void ns_node_put(struct ns_node *n)
{
	kref_put(&n->ref, free_node);
}

/**
 * ns_node_end() - the node's file is closed: end all that runs for it
 * @n:		node, without mappings; the caller's reference is dropped
 *
 * Context: may sleep.
 */
void ns_node_end(struct ns_node *n)
{
	ns_stop(n, NUMASPAN_R_STOP, n->self, "node %u was closed", n->self);
	flush_work(&n->stop_work);
	ns_engine_stop(n);
	ns_evict_stop(n);
	ns_debugfs_remove(n);
	if (n->transport) {
		n->transport->stop(n);
		module_put(n->transport->owner);
	}
	ns_node_put(n);
}

static int bad(const char *what, u64 value, const char *expected)
{
	pr_notice("numaspan: create: %s %llu: expected %s\n", what, value, expected);
	return -EINVAL;
}

static int check(const struct numaspan_create *c, bool allow_unsafe)
{
	const u64 most = LLONG_MAX / PAGE_SIZE;
	u64 total = 0;
	unsigned int i;

	if (c->abi != NUMASPAN_ABI)
		return bad("abi", c->abi, __stringify(NUMASPAN_ABI));
	if (c->size != sizeof(*c))
		return bad("size", c->size, "that of struct numaspan_create");
	if (c->nr_nodes < 1 || c->nr_nodes > NUMASPAN_MAX_NODES)
		return bad("nr_nodes", c->nr_nodes, "1..64");
	if (c->node >= c->nr_nodes)
		return bad("node", c->node, "less than nr_nodes");
	if (c->transport >= ARRAY_SIZE(transports))
		return bad("transport", c->transport, "0 (loopback), 1 (tcp) or 2 (rdma)");
	if (c->timeout_ms < 100 || c->timeout_ms > 600000)
		return bad("timeout_ms", c->timeout_ms, "100..600000");
	if (c->hold_us > 10000)
		return bad("hold_us", c->hold_us, "0..10000");
	if (c->prefetch > 256)
		return bad("prefetch", c->prefetch, "0..256");
	if (c->unsafe & ~(NUMASPAN_UNSAFE_NO_DRAIN | NUMASPAN_UNSAFE_NO_HOLD |
			  NUMASPAN_UNSAFE_NO_INVAL))
		return bad("unsafe", c->unsafe, "known bits");
	if (c->unsafe && !allow_unsafe) {
		pr_notice("numaspan: create: unsafe %u: expected 0, or the parameter unsafe_tests=1\n",
			  c->unsafe);
		return -EPERM;
	}
	if (c->cache_pages < 64 || c->cache_pages > LONG_MAX / PAGE_SIZE)
		return bad("cache_pages", c->cache_pages, "64 or more");
	for (i = 0; i < NUMASPAN_MAX_NODES; i++) {
		if (i >= c->nr_nodes && c->home_pages[i])
			return bad("home_pages past the last node", c->home_pages[i], "0");
		if (i < c->nr_nodes && (!c->home_pages[i] || c->home_pages[i] > most))
			return bad("home_pages", c->home_pages[i], "1 or more");
		total += c->home_pages[i];
		if (total > most)
			return bad("sum of home_pages", total, "less than 2^51");
	}
	if (c->policy & ~NUMASPAN_POLICY_ALL)
		return bad("policy", c->policy, "known bits");
	for (i = 0; i < ARRAY_SIZE(c->reserved); i++)
		if (c->reserved[i])
			return bad("reserved", c->reserved[i], "0");
	return 0;
}

/**
 * ns_node_create() - give a node its span
 * @n:		node, new
 * @c:		what the user asks for, unchecked
 *
 * Context: n->ctl held; may sleep.
 * Return: 0; -EINVAL and a line in the log; -ENOMEM.
 */
int ns_node_create(struct ns_node *n, const struct numaspan_create *c)
{
	const struct ns_transport *t;
	unsigned int i;
	int err;

	err = check(c, ns_unsafe_tests);
	if (err)
		return err;
	for (i = 0; i < c->nr_nodes; i++)
		n->first[i + 1] = n->first[i] + c->home_pages[i];
	n->nr_pages = n->first[c->nr_nodes];
	n->nr_chunks = DIV_ROUND_UP(n->nr_pages, NS_CHUNK_PAGES);
	t = get_transport(c->transport);
	if (!t) {
		pr_notice("numaspan: create: transport %u: expected its module, numaspan-rdma, loaded\n",
			  c->transport);
		return -EOPNOTSUPP;
	}
	n->chunks = kvcalloc(n->nr_chunks, sizeof(*n->chunks), GFP_KERNEL | __GFP_NOWARN);
	if (!n->chunks) {
		module_put(t->owner);
		return -ENOMEM;
	}
	n->transport = t;
	n->span_id = c->span_id;
	n->epoch = c->epoch;
	n->self = c->node;
	n->nr_nodes = c->nr_nodes;
	n->unsafe = c->unsafe;
	n->policy = c->policy;
	n->timeout_ms = c->timeout_ms;
	n->hold_us = c->hold_us;
	n->window_most = c->prefetch;
	n->window = c->prefetch;
	n->cache_limit = c->cache_pages;
	/* Every node may hold everything, and evicts nothing. */
	if (c->policy & NUMASPAN_POLICY_NODE_0)
		n->cache_limit = 2 * n->nr_pages + 64;
	memcpy(n->token, c->token, sizeof(n->token));
	/* Pairs with the acquire in NUMASPAN_STATS. */
	smp_store_release(&n->state, NUMASPAN_CREATED);
	return 0;
}

/**
 * ns_node_start() - begin to serve
 * @n:		node, created and connected
 *
 * Context: n->ctl held; may sleep; loopback waits for its peers, bounded and killably.
 * Return: 0 or an errno; the node can then only be closed.
 */
int ns_node_start(struct ns_node *n)
{
	int err;

	/* Messages may come before the transport's start returns. */
	smp_store_release(&n->state, NUMASPAN_RUNNING);
	err = ns_engine_start(n);
	if (!err)
		err = ns_evict_start(n);
	if (!err)
		err = n->transport->start(n);
	if (err) {
		ns_stop(n, NUMASPAN_R_STOP, n->self, "node %u did not start", n->self);
		return err;
	}
	ns_debugfs_add(n);
	return 0;
}
