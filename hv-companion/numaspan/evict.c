// SPDX-License-Identifier: GPL-2.0-only
/*
 * The bound on copies of remote pages, and the choice of what goes when it is reached.
 *
 * ns_node.cache_used counts the entries with ns_page.reserved set: a copy is here or on its
 * way.  A request for a remote page reserves first, so the bound is never crossed.  The oldest
 * copy goes first; the evictor starts a little before the bound, so that an access seldom waits
 * for it.
 */
#include <linux/kthread.h>

#include "node.h"

static long start_at(const struct ns_node *n)
{
	return n->cache_limit - max(n->cache_limit / 16, 8L);
}

/**
 * ns_cache_reserve() - room for a copy of a remote page
 * @n:		node
 * @p:		page whose home is elsewhere
 *
 * Context: p->lock held.
 * Return: true if there is, now or already; false if the caller must wait on n->cache_wq.
 */
bool ns_cache_reserve(struct ns_node *n, struct ns_page *p)
{
	long used, peak;

	if (p->reserved)
		return true;
	used = atomic_long_inc_return(&n->cache_used);
	if (used > start_at(n))
		wake_up(&n->evict_wq);
	if (used > n->cache_limit) {
		atomic_long_dec(&n->cache_used);
		return false;
	}
	peak = atomic_long_read(&n->cache_peak);
	while (used > peak && !atomic_long_try_cmpxchg(&n->cache_peak, &peak, used))
		;
	p->reserved = true;
	return true;
}

/**
 * ns_cache_has_room() - is there room for copies that nobody waits for?
 * @n:		node
 *
 * A part of the cache that the evictor frees is left to accesses.
 *
 * Context: any.
 */
bool ns_cache_has_room(const struct ns_node *n)
{
	return atomic_long_read(&n->cache_used) < n->cache_limit - max(n->cache_limit / 32, 4L);
}

/**
 * ns_cache_add() - a copy has arrived
 * @n:		node
 * @p:		page
 *
 * Context: p->lock held.
 */
void ns_cache_add(struct ns_node *n, struct ns_page *p)
{
	spin_lock(&n->lru_lock);
	list_move_tail(&p->lru, &n->lru);
	spin_unlock(&n->lru_lock);
}

/**
 * ns_cache_release() - the copy is gone and no other is on its way
 * @n:		node
 * @p:		page
 *
 * Context: p->lock held.
 */
void ns_cache_release(struct ns_node *n, struct ns_page *p)
{
	spin_lock(&n->lru_lock);
	list_del_init(&p->lru);
	spin_unlock(&n->lru_lock);
	if (!p->reserved)
		return;
	p->reserved = false;
	atomic_long_dec(&n->cache_used);
	if (wq_has_sleeper(&n->cache_wq))
		wake_up_all(&n->cache_wq);
	if (wq_has_sleeper(&n->evict_wq))
		wake_up(&n->evict_wq);
}

static bool full(struct ns_node *n)
{
	return atomic_long_read(&n->cache_used) > start_at(n);
}

static int evictor(void *arg)
{
	struct ns_node *n = arg;

	while (!kthread_should_stop()) {
		long todo = atomic_long_read(&n->cache_used) - start_at(n);
		long before = atomic_long_read(&n->cache_used);

		while (todo-- > 0 && !ns_stopped(n)) {
			struct ns_page *p;

			spin_lock(&n->lru_lock);
			p = list_first_entry_or_null(&n->lru, struct ns_page, lru);
			if (p)
				list_move_tail(&p->lru, &n->lru);
			spin_unlock(&n->lru_lock);
			if (!p)
				break;
			if (!READ_ONCE(p->fresh))
				ns_evict(n, p);
		}
		/*
		 * Owned pages leave when their homes have answered: look again when one has
		 * left, or when a request finds the cache full; the time-out is for pages that
		 * were skipped.
		 */
		if (full(n) && !ns_stopped(n))
			wait_event_interruptible_timeout(n->evict_wq, kthread_should_stop() ||
							 atomic_long_read(&n->cache_used) < before,
							 msecs_to_jiffies(10));
		else
			wait_event_interruptible(n->evict_wq, kthread_should_stop() ||
						 (full(n) && !ns_stopped(n)));
	}
	return 0;
}

/**
 * ns_evict_start() - start the evictor
 * @n:		node
 *
 * Context: may sleep.
 * Return: 0 or an errno.
 */
int ns_evict_start(struct ns_node *n)
{
	n->evictor = kthread_run(evictor, n, "numaspan-ev/%u", n->self);
	return PTR_ERR_OR_ZERO(n->evictor);
}

/**
 * ns_evict_stop() - end the evictor
 * @n:		node, stopped
 *
 * Context: may sleep.
 */
void ns_evict_stop(struct ns_node *n)
{
	if (!IS_ERR_OR_NULL(n->evictor))
		kthread_stop(n->evictor);
	n->evictor = NULL;
}
