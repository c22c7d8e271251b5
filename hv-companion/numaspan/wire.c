// SPDX-License-Identifier: GPL-2.0-only
/*
 * Headers to and from the wire: see wire.h.  Nothing here sleeps or locks.
 */
#include <linux/crc32c.h>
#include <linux/export.h>
#include <linux/limits.h>

#include "node.h"
#include "wire.h"

/**
 * ns_wire_encode() - fill a header
 * @n:		sending node
 * @w:		header
 * @to:		receiving node
 * @seq:	the link's next sequence number
 * @page:	page number
 * @m:		message
 * @data:	what follows the header, or NULL
 * @len:	bytes of it
 *
 * Context: any.
 */
void ns_wire_encode(const struct ns_node *n, struct ns_wire *w, u8 to, u32 seq, u64 page,
		    const struct ns_msg *m, const void *data, u32 len)
{
	memset(w, 0, sizeof(*w));
	w->magic = cpu_to_le32(NS_WIRE_MAGIC);
	w->version = NS_WIRE_VERSION;
	w->type = m->type;
	w->from = n->self;
	w->to = to;
	w->span_id = cpu_to_le64(n->span_id);
	w->epoch = cpu_to_le32(n->epoch);
	w->seq = cpu_to_le32(seq);
	w->page = cpu_to_le64(page);
	w->txn = cpu_to_le64(m->txn);
	w->requester = m->requester;
	w->grant = m->grant;
	w->have = m->have;
	w->policy = n->policy & NUMASPAN_POLICY_PROTOCOL;
	w->acks = cpu_to_le64(m->acks);
	w->len = cpu_to_le32(len);
	w->data_crc = cpu_to_le32(len ? crc32c(~0, data, len) : 0);
	w->crc = cpu_to_le32(crc32c(~0, w, offsetof(struct ns_wire, crc)));
}
EXPORT_SYMBOL_GPL(ns_wire_encode);

static bool len_fits(u8 type, u32 len)
{
	if (ns_msg_has_page(type))
		return !len || len == NS_WIRE_PAGE;
	return len <= (type == NUMASPAN_BYE ? NUMASPAN_REASON_LEN - 1 : 0);
}

/**
 * ns_wire_decode() - check a header and take it apart
 * @n:		receiving node
 * @w:		header
 * @from:	the peer at the other end of the link
 * @seq:	sequence number that must come now
 * @page:	set to the page number
 * @m:		set to the message
 * @why:	set to what is wrong
 *
 * Context: any.
 * Return: 0, or -EBADMSG.
 */
int ns_wire_decode(const struct ns_node *n, const struct ns_wire *w, u8 from, u32 seq,
		   u64 *page, struct ns_msg *m, const char **why)
{
	u32 len = le32_to_cpu(w->len);

	*why = NULL;
	if (le32_to_cpu(w->magic) != NS_WIRE_MAGIC)
		*why = "no numaspan message (magic)";
	else if (w->version != NS_WIRE_VERSION)
		*why = "another protocol version";
	else if (le32_to_cpu(w->crc) != crc32c(~0, w, offsetof(struct ns_wire, crc)))
		*why = "header checksum is wrong";
	else if (w->type >= NUMASPAN_NR_MSGS)
		*why = "unknown message type";
	else if (w->from != from || w->to != n->self)
		*why = "sender or receiver is not this link's";
	else if (le64_to_cpu(w->span_id) != n->span_id)
		*why = "another span's id";
	else if (le32_to_cpu(w->epoch) != n->epoch)
		*why = "another epoch of the span";
	else if (le32_to_cpu(w->seq) != seq)
		*why = "sequence number is not the next one";
	else if (w->policy != (n->policy & NUMASPAN_POLICY_PROTOCOL))
		*why = "another policy";
	else if (le64_to_cpu(w->page) >= n->nr_pages)
		*why = "page outside the span";
	else if (!len_fits(w->type, len))
		*why = "length does not fit the type";
	if (*why)
		return -EBADMSG;

	*page = le64_to_cpu(w->page);
	m->type = w->type;
	m->from = w->from;
	m->requester = w->requester;
	m->grant = w->grant;
	m->have = w->have;
	m->txn = le64_to_cpu(w->txn);
	m->acks = le64_to_cpu(w->acks);
	return 0;
}
EXPORT_SYMBOL_GPL(ns_wire_decode);

/**
 * ns_wire_check_data() - do the bytes that followed the header carry its checksum?
 * @w:		header, already through ns_wire_decode()
 * @data:	le32_to_cpu(w->len) bytes
 * @why:	set to what is wrong
 *
 * Context: any.
 * Return: 0, or -EBADMSG.
 */
int ns_wire_check_data(const struct ns_wire *w, const void *data, const char **why)
{
	u32 len = le32_to_cpu(w->len);

	if (!len || le32_to_cpu(w->data_crc) == crc32c(~0, data, len))
		return 0;
	*why = "contents' checksum is wrong";
	return -EBADMSG;
}
EXPORT_SYMBOL_GPL(ns_wire_check_data);
