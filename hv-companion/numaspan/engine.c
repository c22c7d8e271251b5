// SPDX-License-Identifier: GPL-2.0-only
/*
 * The engine: steps the protocol for events of the local node and for messages, and carries out
 * what the steps ask for.
 *
 * Invariants: a step and the change of ns_page.page that goes with it happen under
 * ns_page.lock; sending, unmapping and waking happen after it was dropped.  Contents leave only
 * when the page is unmapped and the engine's reference is the only one left.  Nothing here
 * waits for a peer; what cannot be done now (a page inside its hold, a page somebody still
 * refers to) is put on ns_node.deferred, for the worker.
 */
#include <linux/export.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/pagemap.h>
#include <linux/slab.h>

#include "node.h"
#include "wire.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

#define NS_SELF_QUEUE	8
#define NS_DRAIN_FIRST	(20 * NSEC_PER_USEC)
#define NS_DRAIN_MOST	(2 * NSEC_PER_MSEC)

/* A give-up that waits: for the end of the hold, or (@drain) for references to go. */
struct ns_deferred {
	struct list_head list;
	struct ns_page *p;
	u64 due;
	u64 since;
	bool drain;
	struct ns_msg m;
};

static struct ns_place place(const struct ns_node *n, u64 index)
{
	return (struct ns_place){
		.self = n->self, .home = ns_home(n, index), .nr_nodes = n->nr_nodes,
		.policy = n->policy,
	};
}

static void defer_add(struct ns_node *n, struct ns_deferred *d)
{
	spin_lock(&n->defer_lock);
	list_add_tail(&d->list, &n->deferred);
	n->defer_kick = true;
	spin_unlock(&n->defer_lock);
	wake_up(&n->defer_wq);
}

/**
 * ns_defer_update() - the hold of a page whose give-up waits has a new end
 * @n:		node
 * @p:		page
 * @due:	end of the hold, in ktime_get_ns() time
 *
 * Context: p->lock held.
 */
void ns_defer_update(struct ns_node *n, struct ns_page *p, u64 due)
{
	struct ns_deferred *d;

	spin_lock(&n->defer_lock);
	list_for_each_entry(d, &n->deferred, list) {
		if (d->p == p && !d->drain) {
			d->due = due;
			n->defer_kick = true;
			break;
		}
	}
	spin_unlock(&n->defer_lock);
	wake_up(&n->defer_wq);
}

/* Put @m off if the page is inside its hold.  Under p->lock. */
static bool hold(struct ns_node *n, struct ns_page *p, const struct ns_msg *m)
{
	u64 now = ktime_get_ns();
	u64 until = ns_hold_until(n, p, now);
	struct ns_deferred *d;

	if (!until)
		return false;
	d = kmalloc(sizeof(*d), GFP_ATOMIC);
	if (!d)
		return false;
	d->p = p;
	d->due = until;
	d->since = now;
	d->drain = false;
	d->m = *m;
	p->deferred = true;
	ns_count(n, held);
	defer_add(n, d);
	return true;
}

/* Take the contents away from the entry.  The home keeps its memory.  Under p->lock. */
static void drop_contents(struct ns_node *n, struct ns_page *p, bool home)
{
	p->keep_ns = 0;
	if (p->prefetched && p->c.want == NS_WANT_NONE)
		ns_prefetch_over(n, p, false);
	if (home)
		return;
	if (p->page)
		put_page(p->page);
	p->page = NULL;
	if (p->c.want == NS_WANT_NONE)
		ns_cache_release(n, p);
}

static void count_close(struct ns_node *n, struct ns_page *p, u8 why)
{
	switch (why) {
	case NUMASPAN_INV:
	case NUMASPAN_FWD_GETX:
		ns_count(n, invalidations);
		break;
	case NUMASPAN_FWD_GETS:
		if (p->c.state == NS_MODIFIED)
			ns_count(n, downgrades);
		break;
	default:
		ns_count(n, evicted);
	}
	trace_invalidate(n, p->index, why, p->c.close_to);
}

static void send_one(struct ns_node *n, u8 to, u64 index, const struct ns_msg *m, struct page *page)
{
	ns_count(n, msgs);
	ns_count(n, msgs_out[m->type]);
	ns_count_add(n, bytes_out, sizeof(struct ns_wire) + (page ? PAGE_SIZE : 0));
	if (page) {
		ns_count(n, transfers_out);
		trace_transfer(n, index, to, m->grant);
	} else if (ns_msg_has_page(m->type)) {
		ns_count(n, zeros_out);
	}
	if (page && (n->policy & NUMASPAN_POLICY_COPY))
		ns_copy_and_send(n, to, index, m, page);
	else
		n->transport->send(n, to, index, m, page);
}

/*
 * Unmap the page and look whether anybody still refers to it.  True if the contents may leave;
 * else it is on the deferred list.  p->c.closing is set, so no access maps the page anew and
 * p->page stays.
 */
static bool close_page(struct ns_node *n, struct ns_page *p)
{
	struct page *page = p->page;
	struct ns_deferred *d;

	if (!page || !p->mapped)
		return true;
	/* The page lock ends an access that was allowed before closing was set. */
	lock_page(page);
	unmap_mapping_pages(n->inode->i_mapping, p->index, 1, false);
	unlock_page(page);
	if (page_ref_count(page) == 1 || (n->unsafe & NUMASPAN_UNSAFE_NO_DRAIN))
		return true;

	ns_count(n, drain_waits);
	d = kmalloc(sizeof(*d), GFP_KERNEL | __GFP_NOFAIL);
	d->p = p;
	d->since = ktime_get_ns();
	d->due = d->since + NS_DRAIN_FIRST;
	d->drain = true;
	defer_add(n, d);
	return false;
}

/* The planted fault of the tests: say yes to an invalidation and keep the page. */
static bool skip_inval(struct ns_node *n, struct ns_page *p, const struct ns_msg *m,
		       struct ns_msg *ack)
{
	static atomic_t nr;

	if (!(n->unsafe & NUMASPAN_UNSAFE_NO_INVAL) || m->type != NUMASPAN_INV ||
	    m->requester == n->self || atomic_inc_return(&nr) % 64)
		return false;
	p->c.txn = m->txn;
	*ack = (struct ns_msg){ .type = NUMASPAN_ACK, .from = n->self, .txn = m->txn };
	return true;
}

/* What of a step belongs under the lock: the contents move with the state. */
static void apply(struct ns_node *n, struct ns_page *p, const struct ns_place *pl,
		  const struct ns_out *out, struct page **contents, struct page **sent)
{
	unsigned int i;

	for (i = 0; i < out->n; i++) {
		switch (out->act[i].op) {
		case NS_ACT_INSTALL:
			swap(p->page, *contents);
			if (pl->self != pl->home)
				ns_cache_add(n, p);
			break;
		case NS_ACT_ZERO:
			if (p->page)
				put_page(p->page);
			p->page = NULL;
			ns_count(n, cleared);
			if (pl->self != pl->home)
				ns_cache_add(n, p);
			break;
		case NS_ACT_SEND_PAGE:
			/* Zeros that nobody has touched need no contents. */
			*sent = p->page;
			if (*sent)
				get_page(*sent);
			break;
		case NS_ACT_DROP:
			drop_contents(n, p, pl->self == pl->home);
			break;
		case NS_ACT_STALE:
			ns_count(n, stale);
			break;
		default:
			break;
		}
	}
}

/* Does this access ask for a copy that needs room in the cache?  Under p->lock. */
static bool wants_room(const struct ns_node *n, const struct ns_page *p, u8 event)
{
	return (event == NS_EV_READ || event == NS_EV_WRITE || event == NS_EV_CLEAR) &&
	       !ns_cache_allows(&p->c, event != NS_EV_READ) &&
	       p->c.closing == NS_CLOSING_NO && p->c.want == NS_WANT_NONE &&
	       ns_home(n, p->index) != n->self;
}

/*
 * Step the page with @event, then with every message that the steps send to this node itself.
 * @contents holds what came with @m; INSTALL takes it and leaves the page's former memory, or NULL.
 * Return: 0; -EBUSY if there is no room for the copy that an access asks for; -EPROTO.
 */
static int step(struct ns_node *n, struct ns_page *p, u8 event, const struct ns_msg *m,
		struct page **contents)
{
	struct ns_place pl = place(n, p->index);
	struct ns_msg self[NS_SELF_QUEUE], ack;
	unsigned int head = 0, tail = 0, i;
	struct ns_out out;

	for (;;) {
		struct page *sent = NULL;
		bool close = false, giveup = m && ns_msg_is_giveup(m->type);
		u8 before;
		int err;

		spin_lock(&p->lock);
		if (giveup && hold(n, p, m)) {
			spin_unlock(&p->lock);
			goto next;
		}
		if (giveup && unlikely(n->unsafe) && skip_inval(n, p, m, &ack)) {
			spin_unlock(&p->lock);
			send_one(n, m->requester, p->index, &ack, NULL);
			goto next;
		}
		if (!m && wants_room(n, p, event) && !ns_cache_reserve(n, p)) {
			spin_unlock(&p->lock);
			return -EBUSY;
		}
		before = p->c.state;
		if (event == NS_EV_CLOSED) {
			count_close(n, p, p->c.closing);
			p->mapped = false;
		}
		if (m && ns_msg_is_for_home(&pl, m->type))
			err = ns_home_step(&pl, ns_page_dir(n, p), m, &out);
		else
			err = ns_cache_step(&pl, &p->c, event, m, &out);
		apply(n, p, &pl, &out, contents, &sent);
		if (giveup && p->fresh) {
			ns_count(n, stolen);
			p->fresh = false;
		}
		/* Somebody waits for it, if it is not prefetched or what another could not keep. */
		if (m && p->c.state > before && !p->prefetched &&
		    !(m->type == NUMASPAN_DATA && m->have)) {
			p->fresh = true;
			/* Else ns_deliver() has noted it. */
			if (m->from == n->self)
				p->granted_ns = ktime_get_ns();
			if (m->type == NUMASPAN_GRANT && m->have != NS_NEED_NOTHING)
				ns_count(n, upgrades);
		}
		spin_unlock(&p->lock);

		if (unlikely(err)) {
			ns_stop(n, NUMASPAN_R_PROTOCOL, m ? m->from : n->self,
				"page %llu: %s (event %u from node %u)", p->index, out.why,
				event, m ? m->from : n->self);
			return -EPROTO;
		}
		for (i = 0; i < out.n; i++) {
			struct ns_act *a = &out.act[i];
			u64 to = a->to;

			if (a->op == NS_ACT_CLOSE)
				close = true;
			/* Who waits to write to a copy that goes away refers to it. */
			if (a->op == NS_ACT_WAKE || a->op == NS_ACT_CLOSE)
				wake_up_all(ns_page_wq(n, p));
			if (a->op != NS_ACT_SEND && a->op != NS_ACT_SEND_PAGE)
				continue;
			while (to) {
				u8 node = __ffs64(to);

				to &= to - 1;
				if (node == n->self)
					self[tail++ % NS_SELF_QUEUE] = a->msg;
				else
					send_one(n, node, p->index, &a->msg, sent);
			}
		}
		if (sent)
			put_page(sent);
		if (close && close_page(n, p)) {
			event = NS_EV_CLOSED;
			m = NULL;
			continue;
		}
next:
		if (head == tail)
			return 0;
		m = &self[head++ % NS_SELF_QUEUE];
		event = m->type;
	}
}

/**
 * ns_access() - get a page for the local node to map
 * @n:		node
 * @p:		the page's entry
 * @access:	NS_EV_READ, NS_EV_WRITE or NS_EV_CLEAR
 * @page:	set to the page, locked and with a reference for the caller
 *
 * The lock on @page keeps it from being given up until the caller has put it into a page table.
 *
 * Context: may sleep, does not wait for a peer.
 * Return: 0; -EAGAIN if a peer must act first, see ns_access_ready(); -EBUSY if a copy must be
 * evicted first, wait on n->cache_wq; -ENOMEM; -ESHUTDOWN.
 */
int ns_access(struct ns_node *n, struct ns_page *p, enum ns_event access, struct page **page)
{
	bool write = access != NS_EV_READ;
	struct page *fresh = NULL, *pg;
	bool ok;

	for (;;) {
		spin_lock(&p->lock);
		if (!ns_cache_allows(&p->c, write)) {
			/* What is on its way is late, but it is used. */
			if (p->prefetched)
				ns_prefetch_over(n, p, true);
			break;
		}
		if (!p->page) {
			/* Zeros that nobody has touched. */
			if (!fresh) {
				spin_unlock(&p->lock);
				fresh = alloc_page(GFP_USER | __GFP_ZERO);
				if (!fresh)
					return -ENOMEM;
				continue;
			}
			p->page = fresh;
			fresh = NULL;
		}
		pg = p->page;
		get_page(pg);
		spin_unlock(&p->lock);

		lock_page(pg);
		spin_lock(&p->lock);
		ok = p->page == pg && ns_cache_allows(&p->c, write) && !ns_stopped(n);
		if (ok)
			p->mapped = true;
		spin_unlock(&p->lock);
		if (ok) {
			if (fresh)
				__free_page(fresh);
			*page = pg;
			return 0;
		}
		unlock_page(pg);
		put_page(pg);
		if (ns_stopped(n)) {
			if (fresh)
				__free_page(fresh);
			return -ESHUTDOWN;
		}
	}
	spin_unlock(&p->lock);
	if (fresh)
		__free_page(fresh);
	return ns_request(n, p, access) == -EBUSY ? -EBUSY : -EAGAIN;
}

/**
 * ns_request() - ask for a page without an access: a prefetch, or to write to one that is mapped
 * @n:		node
 * @p:		the page's entry
 * @access:	NS_EV_READ, NS_EV_WRITE or NS_EV_CLEAR
 *
 * Context: may sleep, does not wait for a peer; see ns_access_ready().
 * Return: 0; -EBUSY if there is no room for a copy; -EPROTO.
 */
int ns_request(struct ns_node *n, struct ns_page *p, enum ns_event access)
{
	return step(n, p, access, NULL, NULL);
}

/**
 * ns_access_ready() - would ns_access() do something other than wait?
 * @n:		node
 * @p:		the page's entry
 * @write:	for writing
 *
 * Context: any, p->lock not held.
 */
bool ns_access_ready(struct ns_node *n, struct ns_page *p, bool write)
{
	bool ready;

	spin_lock(&p->lock);
	ready = ns_cache_allows(&p->c, write) ||
		(p->c.closing == NS_CLOSING_NO && p->c.want == NS_WANT_NONE);
	spin_unlock(&p->lock);
	return ready || ns_stopped(n);
}
EXPORT_SYMBOL_GPL(ns_access_ready);

/**
 * ns_evict() - give up the copy of a remote page
 * @n:		node
 * @p:		the page's entry
 *
 * A Shared copy is gone when this returns, unless somebody refers to it; one that this node
 * owns goes when its home has asked for it.
 *
 * Context: may sleep, does not wait for a peer.
 */
void ns_evict(struct ns_node *n, struct ns_page *p)
{
	step(n, p, NS_EV_EVICT, NULL, NULL);
}

/**
 * ns_deliver() - a message from another node
 * @n:		receiving node
 * @index:	page number, below n->nr_pages
 * @m:		message; its sender is who the transport says it is
 * @contents:	DATA: a page of contents, or NULL for zeros; it may be taken and replaced by another
 *		page or NULL; what is left is the caller's
 *
 * Context: may sleep, does not wait for a peer.
 */
void ns_deliver(struct ns_node *n, u64 index, const struct ns_msg *m, struct page **contents)
{
	struct ns_place pl = place(n, index);
	u64 now = ktime_get_ns();
	struct page *copy = NULL;
	struct ns_page *p;
	const char *why;

	if (ns_stopped(n))
		return;
	ns_count(n, msgs_in[m->type]);
	ns_count_add(n, bytes_in, sizeof(struct ns_wire));
	if (contents && *contents) {
		ns_count(n, transfers_in);
		ns_count_add(n, bytes_in, PAGE_SIZE);
	} else if (ns_msg_has_page(m->type)) {
		ns_count(n, zeros_in);
	}
	if (ns_msg_check(&pl, m, &why)) {
		ns_stop(n, NUMASPAN_R_BAD_MESSAGE, m->from, "bad message from node %u: %s",
			m->from, why);
		return;
	}
	p = ns_page_get(n, index);
	if (!p) {
		ns_stop(n, NUMASPAN_R_NO_MEMORY, n->self, "no memory for the page table");
		return;
	}
	if (m->type == NUMASPAN_GRANT || m->type == NUMASPAN_DATA || m->type == NUMASPAN_ACK)
		WRITE_ONCE(p->granted_ns, now);
	if (contents && *contents && (n->policy & NUMASPAN_POLICY_COPY)) {
		copy = ns_copy_page(n, *contents);
		contents = &copy;
	}
	step(n, p, m->type, m, contents);
	if (copy)
		put_page(copy);
}

/* One deferred give-up whose time has come. */
static void redo(struct ns_node *n, struct ns_deferred *d)
{
	u64 now = ktime_get_ns();
	struct ns_page *p = d->p;

	if (!d->drain) {
		spin_lock(&p->lock);
		p->deferred = false;
		spin_unlock(&p->lock);
		step(n, p, d->m.type, &d->m, NULL);
		kfree(d);
		return;
	}
	if (page_ref_count(p->page) == 1) {
		step(n, p, NS_EV_CLOSED, NULL, NULL);
		kfree(d);
		return;
	}
	if (now - d->since > 2ULL * n->timeout_ms * NSEC_PER_MSEC) {
		ns_stop(n, NUMASPAN_R_DRAIN, n->self,
			"page %llu: somebody has held a reference for %u ms", p->index,
			2 * n->timeout_ms);
		kfree(d);
		return;
	}
	d->due = now + clamp_t(u64, (now - d->since) / 4, NS_DRAIN_FIRST, NS_DRAIN_MOST);
	defer_add(n, d);
}

static int worker(void *arg)
{
	struct ns_node *n = arg;
	u64 period = n->timeout_ms * NSEC_PER_MSEC / 4;
	u64 next_tick = ktime_get_ns() + period;

	while (!kthread_should_stop()) {
		u64 now = ktime_get_ns(), next = next_tick;
		struct ns_deferred *d, *tmp;
		LIST_HEAD(due);

		if (now >= next_tick) {
			if (n->transport->tick && !ns_stopped(n))
				n->transport->tick(n);
			next_tick = now + period;
			continue;
		}
		spin_lock(&n->defer_lock);
		n->defer_kick = false;
		list_for_each_entry_safe(d, tmp, &n->deferred, list) {
			if (d->due <= now)
				list_move_tail(&d->list, &due);
			else
				next = min(next, d->due);
		}
		spin_unlock(&n->defer_lock);
		if (list_empty(&due)) {
			wait_event_interruptible_hrtimeout(n->defer_wq,
							   READ_ONCE(n->defer_kick) ||
							   kthread_should_stop(),
							   ns_to_ktime(next - now));
			continue;
		}
		list_for_each_entry_safe(d, tmp, &due, list) {
			list_del(&d->list);
			if (ns_stopped(n))
				kfree(d);
			else
				redo(n, d);
		}
	}
	return 0;
}

/**
 * ns_engine_start() - start the worker
 * @n:		node
 *
 * Context: may sleep.
 * Return: 0 or an errno.
 */
int ns_engine_start(struct ns_node *n)
{
	n->worker = kthread_run(worker, n, "numaspan/%u", n->self);
	return PTR_ERR_OR_ZERO(n->worker);
}

/**
 * ns_engine_stop() - end the worker and forget what waits
 * @n:		node, stopped
 *
 * Context: may sleep.
 */
void ns_engine_stop(struct ns_node *n)
{
	struct ns_deferred *d, *tmp;

	if (!IS_ERR_OR_NULL(n->worker))
		kthread_stop(n->worker);
	n->worker = NULL;
	list_for_each_entry_safe(d, tmp, &n->deferred, list)
		kfree(d);
	INIT_LIST_HEAD(&n->deferred);
}
