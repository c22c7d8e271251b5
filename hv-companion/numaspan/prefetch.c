// SPDX-License-Identifier: GPL-2.0-only
/*
 * Prefetch: pages that a task is about to read are asked for before it does.
 *
 * A stream is what one task reads at consecutive page numbers, up or down.  From a stream's third
 * page on, pages ahead of it are asked for, as many as its window says: 4 at first, and twice as
 * many each time it has come half through, up to the node's window.  That one halves when a
 * prefetched page leaves unused, and doubles when 64 were used.
 *
 * A prefetched page is an ordinary Shared copy that nobody has mapped.  It has no hold and never
 * displaces what is in use: with the cache nearly full nothing is asked for.  ns_page.prefetched is
 * set from the request until the first access, or until the copy leaves.
 */
#include <linux/sched.h>

#include "node.h"

#define NS_WINDOW_FIRST	4
#define NS_USED_ENOUGH	64

static s64 distance(const struct ns_stream *s, u64 index)
{
	return (s64)(index - s->last) * s->dir;
}

/* The stream that goes on at @index, or one that may begin there. */
static struct ns_stream *find(struct ns_node *n, u64 index)
{
	struct ns_task_slot *slot = &n->slots[current->pid % NS_TASK_SLOTS];
	struct ns_stream *s;

	for (s = slot->stream; s < slot->stream + NS_STREAMS; s++) {
		s64 d = distance(s, index);

		if (s->run && s->last == index)
			return NULL;
		if (s->dir && d > 0 && d <= max(s->ahead, 1))
			return s;
		if (s->run && !s->dir && (index == s->last + 1 || index == s->last - 1)) {
			s->dir = index > s->last ? 1 : -1;
			return s;
		}
	}
	s = &slot->stream[slot->stream_at++ % NS_STREAMS];
	*s = (struct ns_stream){ .last = index, .run = 1 };
	return NULL;
}

/* Ask for a page for reading that is not here.  False if nothing more is to be asked for. */
static bool ask(struct ns_node *n, u64 index)
{
	struct ns_page *p;
	bool missing;
	int err;

	if (index >= n->nr_pages || !ns_cache_has_room(n))
		return false;
	p = ns_page_get(n, index);
	if (!p)
		return false;
	spin_lock(&p->lock);
	missing = !ns_cache_allows(&p->c, false) && p->c.want == NS_WANT_NONE &&
		  p->c.closing == NS_CLOSING_NO;
	if (missing)
		p->prefetched = true;
	spin_unlock(&p->lock);
	if (!missing)
		return true;
	err = ns_request(n, p, NS_EV_READ);
	if (!err) {
		ns_count(n, prefetched);
		return true;
	}
	spin_lock(&p->lock);
	p->prefetched = false;
	spin_unlock(&p->lock);
	return false;
}

/**
 * ns_prefetch() - the current task reads a page that it waits for or that was prefetched for it
 * @n:		node
 * @index:	page number
 *
 * Context: may sleep, does not wait for a peer; no lock of ours held.
 */
void ns_prefetch(struct ns_node *n, u64 index)
{
	unsigned int most = READ_ONCE(n->window);
	struct ns_stream *s;
	s64 d;

	if (!most)
		return;
	s = find(n, index);
	if (!s)
		return;
	d = distance(s, index);
	s->last = index;
	s->ahead = max_t(s64, s->ahead - d, 0);
	if (++s->run < 3 || s->ahead > s->window / 2)
		return;
	s->run = 3;
	s->window = s->window ? min(2U * s->window, most) : min(NS_WINDOW_FIRST, most);
	while (s->ahead < s->window && ask(n, index + (s64)(s->ahead + 1) * s->dir))
		s->ahead++;
}

/**
 * ns_prefetch_over() - a prefetched page has its first access, or leaves without one
 * @n:		node
 * @p:		page with @p->prefetched set
 * @used:	which of them
 *
 * Context: p->lock held.
 */
void ns_prefetch_over(struct ns_node *n, struct ns_page *p, bool used)
{
	unsigned int window = READ_ONCE(n->window);

	p->prefetched = false;
	if (!used) {
		WRITE_ONCE(n->window, max(window / 2, 1U));
		return;
	}
	ns_count(n, prefetch_used);
	/* A lost update costs one step of the window. */
	WRITE_ONCE(n->window_used, n->window_used + 1);
	if (n->window_used % NS_USED_ENOUGH == 0)
		WRITE_ONCE(n->window, min(2 * window, n->window_most));
}
