/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The message header on the wire: 64 bytes, little-endian, followed by len bytes.
 *
 * A header is believed only when all of it fits: magic, version, checksum, sender, receiver,
 * span, epoch, the next sequence number of this link, a page inside the span and the length
 * that its type must have.  Anything else stops the span: a link that lies once is not to be
 * trusted with memory.
 */
#ifndef NUMASPAN_WIRE_H
#define NUMASPAN_WIRE_H

#ifdef __KERNEL__
#include <linux/stddef.h>
#else
#include <assert.h>
#include <stddef.h>
#endif
#include <linux/types.h>

#define NS_WIRE_MAGIC	0x4e50534e	/* "NSPN" */
#define NS_WIRE_VERSION	3
#define NS_WIRE_PAGE	4096

/**
 * struct ns_wire - header of every message between two nodes
 * @magic:	NS_WIRE_MAGIC
 * @version:	NS_WIRE_VERSION
 * @type:	enum numaspan_msg
 * @from:	sending node
 * @to:		receiving node
 * @span_id:	the span
 * @epoch:	its incarnation
 * @seq:	number of this message on this link, from 0
 * @page:	page the message is about; 0 in PING and BYE
 * @txn:	see struct ns_msg, as for @requester, @grant, @have and @acks
 * @acks:	mask of nodes
 * @len:	bytes that follow: 4096 for DATA, or 0 if it is all zeros that nobody has touched;
 *		the text's length for BYE; else 0
 * @data_crc:	CRC-32C of those bytes
 * @requester:	node
 * @grant:	enum ns_state
 * @have:	enum ns_have
 * @policy:	NUMASPAN_POLICY_PROTOCOL of the sender's, the same on all nodes
 * @crc:	CRC-32C of the header up to here
 */
struct ns_wire {
	__le32 magic;
	__u8 version;
	__u8 type;
	__u8 from;
	__u8 to;
	__le64 span_id;
	__le32 epoch;
	__le32 seq;
	__le64 page;
	__le64 txn;
	__le64 acks;
	__le32 len;
	__le32 data_crc;
	__u8 requester;
	__u8 grant;
	__u8 have;
	__u8 policy;
	__le32 crc;
};

static_assert(sizeof(struct ns_wire) == 64, "one cache line, and the RDMA header SGE");
static_assert(offsetof(struct ns_wire, crc) == 60, "the checksum covers all that precedes it");

#ifdef __KERNEL__
struct ns_node;
struct ns_msg;

void ns_wire_encode(const struct ns_node *n, struct ns_wire *w, u8 to, u32 seq, u64 page,
		    const struct ns_msg *m, const void *data, u32 len);
int ns_wire_decode(const struct ns_node *n, const struct ns_wire *w, u8 from, u32 seq,
		   u64 *page, struct ns_msg *m, const char **why);
int ns_wire_check_data(const struct ns_wire *w, const void *data, const char **why);
#endif

#endif
