// SPDX-License-Identifier: GPL-2.0-only
/*
 * What transports with real peers share: who lives and who is silent, the last words, and where
 * a message that has come goes.  PING and BYE end here; all other messages are the engine's.
 */
#include <linux/export.h>
#include <linux/jiffies.h>
#include <linux/mm.h>

#include "node.h"

/**
 * ns_receive() - a message has come, whole and checked
 * @n:		receiving node
 * @from:	peer at the other end of the connection
 * @index:	page number
 * @m:		message
 * @text:	BYE: why the peer stops, NUL-terminated
 * @contents:	as for ns_deliver()
 *
 * Context: may sleep, does not wait for a peer.
 */
void ns_receive(struct ns_node *n, u8 from, u64 index, const struct ns_msg *m, const char *text,
		struct page **contents)
{
	WRITE_ONCE(n->heard[from], jiffies);
	if (m->type == NUMASPAN_BYE)
		ns_stop(n, NUMASPAN_R_PEER_STOP, from, "node %u stopped: %*pE", from,
			(int)strlen(text), text);
	else if (m->type != NUMASPAN_PING)
		ns_deliver(n, index, m, contents);
}
EXPORT_SYMBOL_GPL(ns_receive);

/**
 * ns_peers_tick() - the tick of a transport with peers
 * @n:		node, running
 *
 * Context: may sleep.
 */
void ns_peers_tick(struct ns_node *n)
{
	const struct ns_msg ping = { .type = NUMASPAN_PING, .from = n->self };
	unsigned int i, ms;

	for (i = 0; i < n->nr_nodes; i++) {
		if (i == n->self || !n->heard[i])
			continue;
		ms = jiffies_to_msecs(jiffies - READ_ONCE(n->heard[i]));
		if (ms > n->timeout_ms) {
			ns_stop(n, NUMASPAN_R_PEER_TIMEOUT, i, "node %u has been silent for %u ms",
				i, ms);
			return;
		}
		n->transport->say(n, i, &ping, "");
	}
}
EXPORT_SYMBOL_GPL(ns_peers_tick);

/**
 * ns_peers_bye() - the last words of a transport with peers
 * @n:		node, stopped
 *
 * Context: may sleep.
 */
void ns_peers_bye(struct ns_node *n)
{
	const struct ns_msg bye = { .type = NUMASPAN_BYE, .from = n->self };
	unsigned int i;

	for (i = 0; i < n->nr_nodes; i++)
		if (i != n->self)
			n->transport->say(n, i, &bye, n->status.text);
}
EXPORT_SYMBOL_GPL(ns_peers_bye);

/**
 * ns_spare_page() - a page to receive contents into
 * @n:		receiving node
 * @old:	what a delivery has left, or NULL; used again if nobody else refers to it, for what
 *		is still being sent must not be overwritten
 *
 * Context: may sleep.
 * Return: the page; NULL if there is no memory, and the node has stopped.
 */
struct page *ns_spare_page(struct ns_node *n, struct page *old)
{
	if (old && page_ref_count(old) == 1)
		return old;
	if (old)
		put_page(old);
	old = alloc_page(GFP_USER);
	if (!old)
		ns_stop(n, NUMASPAN_R_NO_MEMORY, n->self, "no memory for a page");
	return old;
}
EXPORT_SYMBOL_GPL(ns_spare_page);
