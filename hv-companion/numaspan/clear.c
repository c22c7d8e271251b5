// SPDX-License-Identifier: GPL-2.0-only
/*
 * Clearing: a page that the guest is about to overwrite with zeros is not fetched.
 *
 * Whoever knows the guest's kernel says where its code is that clears pages and does nothing else
 * (NUMASPAN_CLEAR_CODE).  A write fault from there at the first byte of a page means that no byte
 * of it is written yet and that all of them will be: the request says so, and permission comes
 * with zeros in place of contents (see protocol.h).  It is ordered at the home as any write is.
 *
 * The range may change while faults look at it; each sees the one or the other, or none.
 */
#include "node.h"

#define NS_CLEAR_CODE_MOST	4096

/**
 * ns_clear_code() - take note of the code that clears pages
 * @n:		node
 * @c:		what the user says, unchecked
 *
 * Context: n->ctl held; any state but NUMASPAN_NEW.
 * Return: 0; -EINVAL and a line in the log.
 */
int ns_clear_code(struct ns_node *n, const struct numaspan_clear_code *c)
{
	if (c->end < c->start || c->end - c->start > NS_CLEAR_CODE_MOST || c->reserved[0] ||
	    c->reserved[1]) {
		pr_notice("numaspan: clear_code: %llx..%llx: expected at most %u bytes, reserved fields 0\n",
			  c->start, c->end, NS_CLEAR_CODE_MOST);
		return -EINVAL;
	}
	write_seqlock(&n->clear_lock);
	n->clear_start = c->start;
	n->clear_end = c->end;
	write_sequnlock(&n->clear_lock);
	return 0;
}

/**
 * ns_clears_pages() - is there code that clears pages at all?
 * @n:		node
 *
 * Context: any.
 */
bool ns_clears_pages(const struct ns_node *n)
{
	return READ_ONCE(n->clear_end);
}

/**
 * ns_is_clear() - will the instruction that has faulted overwrite all of its page?
 * @n:		node
 * @info:	of a write
 *
 * Context: any.
 */
bool ns_is_clear(struct ns_node *n, const struct ns_access_info *info)
{
	unsigned int seq;
	bool inside;

	if (info->walk || !info->exact || offset_in_page(info->gpa))
		return false;
	do {
		seq = read_seqbegin(&n->clear_lock);
		inside = info->ip >= n->clear_start && info->ip < n->clear_end;
	} while (read_seqretry(&n->clear_lock, seq));
	return inside;
}
