// SPDX-License-Identifier: GPL-2.0-only
/*
 * The hold: how long a node may keep a page it has just got, whoever wants it.
 *
 * Permission that no access has used yet (ns_page.fresh) is not given up: a page that leaves
 * before the faulting instruction ran was moved for nothing.  So an instruction that needs one
 * page makes progress.  One that needs several may fault on another page before it uses the one
 * it got; then that one is kept for a time only, or two nodes that have half each would wait
 * for each other. The time doubles while the task comes back to a page with the same registers,
 * having waited for another page, that is without having run; and it is longer on nodes with
 * lower numbers, so that two nodes in step do not exchange their halves for ever.
 */
#include <linux/ktime.h>
#include <linux/sched.h>

#include "node.h"

/* Permission whose access never came (its task was killed) is given up after this. */
#define NS_FRESH_MOST	NSEC_PER_SEC
#define NS_HOLD_LEAST	(10 * NSEC_PER_USEC)
#define NS_HOLD_BASE	(200 * NSEC_PER_USEC)	/* most for an instruction that is not stuck */
#define NS_HOLD_MOST	(50 * NSEC_PER_MSEC)
#define NS_STUCK_MOST	12

/* Tasks that share a slot spoil each other's history, which only costs time. */
static struct ns_task_slot *slot(struct ns_node *n)
{
	return &n->slots[current->pid % NS_TASK_SLOTS];
}

/**
 * ns_hold_until() - must the page be kept?
 * @n:		node
 * @p:		page that another node wants
 * @now:	ktime_get_ns()
 *
 * Context: p->lock held.
 * Return: 0, or the time until which it must.
 */
u64 ns_hold_until(struct ns_node *n, struct ns_page *p, u64 now)
{
	u64 until = p->fresh ? p->granted_ns + NS_FRESH_MOST : p->keep_ns;

	if (n->unsafe & NUMASPAN_UNSAFE_NO_HOLD)
		return 0;
	return now < until ? until : 0;
}

/* The page need not wait for its access any more: keep it for a time.  Under p->lock. */
static void settle(struct ns_node *n, struct ns_page *p, unsigned int stuck, u64 now)
{
	u64 time = n->hold_us * NSEC_PER_USEC;

	if (!p->fresh)
		return;
	if (!time)
		time = clamp_t(u64, READ_ONCE(n->latency_ns) / 8, NS_HOLD_LEAST, NS_HOLD_BASE);
	time = min_t(u64, time << stuck, NS_HOLD_MOST);
	if (stuck)
		time += time * (n->nr_nodes - 1 - n->self) / n->nr_nodes;
	p->fresh = false;
	p->keep_ns = now + time;
	if (p->deferred)
		ns_defer_update(n, p, p->keep_ns);
}

/**
 * ns_hold_wait() - the current task is about to wait for a page
 * @n:		node
 * @p:		page
 * @token:	stands for the registers that the access is made with
 * @now:	ktime_get_ns()
 *
 * Context: no lock held.
 */
void ns_hold_wait(struct ns_node *n, struct ns_page *p, u32 token, u64 now)
{
	struct ns_task_slot *s = slot(n);
	struct ns_page *before = s->got;
	bool again = false;
	unsigned int i;

	if (s->task != current || s->token != token) {
		s->task = current;
		s->token = token;
		s->stuck = 0;
		memset(s->recent, 0xff, sizeof(s->recent));
	}
	if (s->recent[s->at] != p->index) {
		for (i = 0; i < ARRAY_SIZE(s->recent); i++)
			again |= s->recent[i] == p->index;
		s->at = (s->at + 1) % ARRAY_SIZE(s->recent);
		s->recent[s->at] = p->index;
		if (again && s->stuck < NS_STUCK_MOST)
			s->stuck++;
	}
	s->got = p;
	if (!before || before == p)
		return;
	spin_lock(&before->lock);
	settle(n, before, s->stuck, now);
	spin_unlock(&before->lock);
}

/**
 * ns_hold_used() - the access that the page came for is about to happen
 * @n:		node
 * @p:		page
 * @now:	ktime_get_ns()
 *
 * Context: p->lock held.
 */
void ns_hold_used(struct ns_node *n, struct ns_page *p, u64 now)
{
	const struct ns_task_slot *s = slot(n);

	settle(n, p, s->task == current ? s->stuck : 0, now);
}
