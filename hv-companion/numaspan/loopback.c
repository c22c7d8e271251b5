// SPDX-License-Identifier: GPL-2.0-only
/*
 * The loopback transport: nodes of one span on one host, for tests and for measuring the rest
 * alone.
 *
 * The nodes of a span meet at a hub, found by span id, epoch and token.  A message is put on
 * the hub's queue, and whoever finds the queue idle delivers what is on it, in its own context:
 * a fault mostly delivers its own request and the answer without a single wake-up.
 *
 * Invariants: one task at a time delivers for a hub (ns_hub.running), so there is no recursion;
 * a node is taken off its hub under hub->mx, so no message is delivered to a node that is
 * ending.
 */
#include <linux/highmem.h>
#include <linux/list.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <crypto/algapi.h>

#include "node.h"

#define NS_HUB_BATCH	256	/* messages a borrowed task delivers before a worker takes over */

struct ns_hub {
	struct list_head list;
	u64 span_id;
	u32 epoch;
	u8 nr_nodes;
	u8 policy;
	u8 token[NUMASPAN_TOKEN_LEN];
	u64 first[NUMASPAN_MAX_NODES + 1];
	unsigned int users;		/* under hubs_lock */
	unsigned int joined;		/* nodes that ever joined */
	bool failed;			/* a node left before all had joined */
	wait_queue_head_t wq;
	struct mutex mx;		/* held while a message is delivered */
	struct ns_node *node[NUMASPAN_MAX_NODES];
	spinlock_t lock;		/* guards the next two */
	struct list_head queue;
	bool running;
	struct work_struct work;
};

struct ns_parcel {
	struct list_head list;
	u8 from;
	u8 to;
	u64 index;
	struct ns_msg m;
	struct page *page;
	char text[NUMASPAN_REASON_LEN];	/* BYE only */
};

static DEFINE_MUTEX(hubs_lock);
static LIST_HEAD(hubs);

static struct ns_parcel *next_parcel(struct ns_hub *hub)
{
	struct ns_parcel *pc;

	spin_lock(&hub->lock);
	pc = list_first_entry_or_null(&hub->queue, struct ns_parcel, list);
	if (pc)
		list_del(&pc->list);
	else
		hub->running = false;
	spin_unlock(&hub->lock);
	return pc;
}

static void deliver(struct ns_hub *hub, struct ns_parcel *pc)
{
	struct ns_node *n;

	mutex_lock(&hub->mx);
	n = hub->node[pc->to];
	if (n && pc->m.type == NUMASPAN_BYE)
		ns_stop(n, NUMASPAN_R_PEER_STOP, pc->from, "node %u stopped: %s", pc->from,
			pc->text);
	else if (n)
		ns_deliver(n, pc->index, &pc->m, &pc->page);
	mutex_unlock(&hub->mx);
	if (pc->page)
		put_page(pc->page);
	kfree(pc);
}

/* Deliver what is queued.  hub->running is ours. */
static void drain(struct ns_hub *hub, unsigned int most)
{
	struct ns_parcel *pc;

	while (most--) {
		pc = next_parcel(hub);
		if (!pc)
			return;
		deliver(hub, pc);
	}
	queue_work(system_unbound_wq, &hub->work);
}

static void drain_work(struct work_struct *work)
{
	drain(container_of(work, struct ns_hub, work), UINT_MAX);
}

static void put_parcel(struct ns_hub *hub, struct ns_parcel *pc)
{
	bool run;

	spin_lock(&hub->lock);
	list_add_tail(&pc->list, &hub->queue);
	run = !hub->running;
	hub->running = true;
	spin_unlock(&hub->lock);
	if (run)
		drain(hub, NS_HUB_BATCH);
}

static void loop_send(struct ns_node *n, u8 to, u64 index, const struct ns_msg *m,
		      struct page *page)
{
	struct ns_parcel *pc = kmalloc(sizeof(*pc), GFP_KERNEL | __GFP_NOFAIL);

	pc->from = n->self;
	pc->to = to;
	pc->index = index;
	pc->m = *m;
	pc->page = NULL;
	if (page) {
		pc->page = alloc_page(GFP_USER);
		if (!pc->page) {
			kfree(pc);
			ns_stop(n, NUMASPAN_R_NO_MEMORY, n->self, "no memory for a page's copy");
			return;
		}
		copy_highpage(pc->page, page);
		ns_count(n, page_copies);
	}
	put_parcel(n->link, pc);
}

static void loop_bye(struct ns_node *n)
{
	struct ns_hub *hub = n->link;
	unsigned int to;

	if (!hub)
		return;
	for (to = 0; to < n->nr_nodes; to++) {
		struct ns_parcel *pc;

		if (to == n->self)
			continue;
		pc = kzalloc(sizeof(*pc), GFP_KERNEL | __GFP_NOFAIL);
		pc->from = n->self;
		pc->to = to;
		pc->m.type = NUMASPAN_BYE;
		strscpy(pc->text, n->status.text, sizeof(pc->text));
		put_parcel(hub, pc);
	}
}

static struct ns_hub *find_hub(struct ns_node *n)
{
	struct ns_hub *hub;

	list_for_each_entry(hub, &hubs, list)
		if (hub->span_id == n->span_id && hub->epoch == n->epoch)
			return hub;
	hub = kzalloc(sizeof(*hub), GFP_KERNEL);
	if (!hub)
		return NULL;
	hub->span_id = n->span_id;
	hub->epoch = n->epoch;
	hub->nr_nodes = n->nr_nodes;
	hub->policy = n->policy & NUMASPAN_POLICY_PROTOCOL;
	memcpy(hub->token, n->token, sizeof(hub->token));
	memcpy(hub->first, n->first, sizeof(hub->first));
	init_waitqueue_head(&hub->wq);
	mutex_init(&hub->mx);
	spin_lock_init(&hub->lock);
	INIT_LIST_HEAD(&hub->queue);
	INIT_WORK(&hub->work, drain_work);
	list_add(&hub->list, &hubs);
	return hub;
}

static int join(struct ns_node *n)
{
	struct ns_hub *hub = find_hub(n);

	if (!hub)
		return -ENOMEM;
	if (crypto_memneq(hub->token, n->token, sizeof(hub->token))) {
		pr_notice("numaspan: span %llx node %u: the key differs from the other nodes'\n",
			  n->span_id, n->self);
		return -EKEYREJECTED;
	}
	if (hub->policy != (n->policy & NUMASPAN_POLICY_PROTOCOL) || hub->nr_nodes != n->nr_nodes ||
	    memcmp(hub->first, n->first, sizeof(hub->first))) {
		pr_notice("numaspan: span %llx node %u: the layout or the policy differs from the other nodes'\n",
			  n->span_id, n->self);
		return -EINVAL;
	}
	mutex_lock(&hub->mx);
	if (hub->node[n->self] || hub->failed) {
		mutex_unlock(&hub->mx);
		pr_notice("numaspan: span %llx node %u: there is one already, or the span has failed\n",
			  n->span_id, n->self);
		return -EEXIST;
	}
	hub->node[n->self] = n;
	mutex_unlock(&hub->mx);
	hub->users++;
	hub->joined++;
	n->link = hub;
	wake_up_all(&hub->wq);
	return 0;
}

static int loop_start(struct ns_node *n)
{
	struct ns_hub *hub;
	long left;
	int err;

	mutex_lock(&hubs_lock);
	err = join(n);
	mutex_unlock(&hubs_lock);
	if (err)
		return err;
	hub = n->link;
	left = wait_event_killable_timeout(hub->wq, hub->failed || hub->joined == hub->nr_nodes,
					   msecs_to_jiffies(n->timeout_ms));
	if (left > 0 && !hub->failed)
		return 0;
	pr_notice("numaspan: span %llx node %u: %u of %u nodes came within %u ms\n", n->span_id,
		  n->self, hub->joined, hub->nr_nodes, n->timeout_ms);
	return left < 0 ? -EINTR : -ETIMEDOUT;
}

static void loop_stop(struct ns_node *n)
{
	struct ns_hub *hub = n->link;
	bool last;

	if (!hub)
		return;
	mutex_lock(&hubs_lock);
	mutex_lock(&hub->mx);
	hub->node[n->self] = NULL;
	if (hub->joined < hub->nr_nodes)
		hub->failed = true;
	mutex_unlock(&hub->mx);
	wake_up_all(&hub->wq);
	last = !--hub->users;
	if (last)
		list_del(&hub->list);
	mutex_unlock(&hubs_lock);
	n->link = NULL;
	if (!last)
		return;
	/* Nobody can send any more; let a delivery that is under way end. */
	flush_work(&hub->work);
	kfree_sensitive(hub);
}

const struct ns_transport ns_loopback = {
	.name = "loopback",
	.start = loop_start,
	.send = loop_send,
	.bye = loop_bye,
	.stop = loop_stop,
};
