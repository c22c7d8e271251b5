// SPDX-License-Identifier: GPL-2.0-only
/*
 * What published systems do otherwise beside the protocol: the baseline that this module is
 * measured against, on the same hardware and with the same counters.  Nothing here runs without its
 * policy.
 *
 * NUMASPAN_POLICY_COPY: contents are copied from the guest's page into a message, and by rdma.c
 * from there into what the device sends; the same back on the other side.  So there are four copies
 * a transfer over RDMA, and over TCP with the two that the socket makes.
 *
 * NUMASPAN_POLICY_SLEEP: nobody is woken.  Who waits for an answer looks, sleeps 1 us, looks,
 * sleeps 2 us, and so on up to 1 ms; who serves requests over RDMA does so up to 128 us and then
 * starts over (rdma.c).
 */
#include <linux/delay.h>
#include <linux/export.h>
#include <linux/highmem.h>
#include <linux/jiffies.h>
#include <linux/sched/signal.h>

#include "node.h"

#define NS_SLEEP_MOST	1000	/* us */

/**
 * ns_copy_page() - a copy of contents that are on their way
 * @n:		node
 * @from:	contents
 *
 * Context: may sleep.
 * Return: the copy, the caller's; NULL if there is no memory, and the node has stopped.
 */
struct page *ns_copy_page(struct ns_node *n, struct page *from)
{
	struct page *to = ns_spare_page(n, NULL);

	if (!to)
		return NULL;
	copy_highpage(to, from);
	ns_count(n, page_copies);
	return to;
}
EXPORT_SYMBOL_GPL(ns_copy_page);

/**
 * ns_copy_and_send() - the transport's send, of a copy of the contents
 * @n:		node
 * @to:		receiver
 * @index:	page number
 * @m:		message
 * @page:	contents
 *
 * Context: may sleep, does not wait for the peer.
 */
void ns_copy_and_send(struct ns_node *n, u8 to, u64 index, const struct ns_msg *m,
		      struct page *page)
{
	struct page *copy = ns_copy_page(n, page);

	if (!copy)
		return;
	n->transport->send(n, to, index, m, copy);
	put_page(copy);
}

/**
 * ns_sleep_wait() - wait for a page by sleeping between looks
 * @n:		node
 * @p:		the page's entry
 * @copy:	a fault's NULL; else the copy that an upgrade is for
 * @write:	for writing
 * @intr:	a signal ends it, not only a fatal one
 * @locked:	the mm's lock is held, so the transport may be polled
 * @left:	most jiffies
 *
 * Context: may sleep; no lock of ours held.
 * Return: above 0, or 0 when the time is up, or -ERESTARTSYS.
 */
long ns_sleep_wait(struct ns_node *n, struct ns_page *p, struct page *copy, bool write, bool intr,
		   bool locked, long left)
{
	unsigned long end = jiffies + left;
	unsigned int us = 0;

	while (!(copy ? ns_upgrade_over(n, p, copy) : ns_access_ready(n, p, write))) {
		if (intr ? signal_pending(current) : fatal_signal_pending(current))
			return -ERESTARTSYS;
		if (time_after(jiffies, end))
			return 0;
		us = min(us + 1, NS_SLEEP_MOST);
		usleep_range(us, us + 1);
		if (locked && n->transport->poll)
			n->transport->poll(n, p, write);
	}
	return 1;
}
