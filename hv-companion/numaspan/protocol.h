/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The coherence protocol of one page, as two pure functions.
 *
 * A page has one home.  The home keeps the directory entry (struct ns_dir) and runs one
 * transaction on the page at a time; requests that come meanwhile are queued there.  Every node
 * keeps what it holds of the page (struct ns_cache).  ns_home_step() and ns_cache_step() take
 * the entry and one message or event, change the entry, and say what is to be done.  They do no
 * I/O, take no lock and allocate nothing, so that the module, the fuzzer and the simulator
 * compile the same file.
 *
 * States are MSI plus Owned: the node that must answer for the contents while others read
 * them.  So a read does not move ownership, and contents go straight from owner to requester.
 *
 *	read:	requester -GETS-> home -FWD_GETS-> owner -DATA-> requester -DONE-> home
 *	write:	requester -GETX-> home -FWD_GETX-> owner -DATA-> requester -DONE-> home
 *				       -INV-> each other sharer -ACK-> requester
 *	upgrade: as a write, with GRANT from home instead of FWD_GETX and DATA
 *	clear:	as an upgrade, without contents at the requester, which needs none: it is about to
 *		overwrite all of the page.  The owner is told INV like the sharers
 *	evict:	owner -EVICT-> home -RECALL-> owner -DATA-> home
 *
 * Two policies of published systems change that (ns_place.policy, the same on all nodes):
 *
 *	READ_MOVES: DATA that answers a read makes the requester the owner; the former owner keeps
 *		a Shared copy
 *	SERIAL:	home -INV-> a sharer -ACK-> home, for one sharer after the other; then GRANT or
 *		FWD_GETX, with nobody left to wait for
 *
 * Nothing relies on the order of messages between nodes, not even between two nodes: the home
 * starts a transaction only when the one before it is DONE, and a requester says DONE only when
 * the contents and every acknowledgment have arrived.  A transport delivers every message
 * exactly once or loses the peer.
 *
 * A message from a node to itself is an ordinary message; the caller delivers it without a
 * transport.
 */
#ifndef NUMASPAN_PROTOCOL_H
#define NUMASPAN_PROTOCOL_H

#ifdef __KERNEL__
#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/errno.h>
#include <linux/string.h>
#include <linux/types.h>
#else
#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <linux/types.h>
#include <string.h>
typedef __u8 u8;
typedef __u32 u32;
typedef __u64 u64;
#define BIT_ULL(n) (1ULL << (n))
#endif

#include "include/uapi/numaspan.h"

/* What a node holds of a page.  The order matters: more is more permission. */
enum ns_state {
	NS_INVALID,
	NS_SHARED,	/* may read; may be dropped without a word */
	NS_OWNED,	/* may read; supplies readers; must not be dropped */
	NS_MODIFIED,	/* may write; nobody else has a copy */
};

/* What ns_msg.have says. */
enum ns_have {
	NS_HAVE_NOTHING,
	NS_HAVE_CONTENTS, /* GETS, GETX: the requester has the contents; DATA: it answers RECALL */
	NS_NEED_NOTHING, /* GETX: nor does it need them; INV: nobody does; GRANT: they are zeros */
};

enum ns_want {
	NS_WANT_NONE,
	NS_WANT_READ,
	NS_WANT_WRITE,
};

/* Events of ns_cache_step() that are not messages continue the numbers of enum numaspan_msg. */
enum ns_event {
	NS_EV_READ = NUMASPAN_NR_MSGS,	/* a local access faulted */
	NS_EV_WRITE,
	NS_EV_CLEAR,			/* a write, and all of the page will be overwritten */
	NS_EV_EVICT,			/* the local node wants the memory back */
	NS_EV_CLOSED,			/* NS_ACT_CLOSE is done: unmapped, references drained */
};

/* No give-up under way; else ns_cache.closing is a message type or NS_EV_EVICT. */
#define NS_CLOSING_NO	0xff

#define NS_CF_GRANTED	0x01	/* GRANT or DATA is here, acknowledgments may be missing */
#define NS_CF_EVICT	0x02	/* EVICT was sent and not yet answered */
#define NS_CF_CLEAR	0x04	/* GETX was sent with NS_NEED_NOTHING */

/**
 * struct ns_cache - what one node holds of one page
 * @state:	enum ns_state
 * @want:	enum ns_want, the request that is under way
 * @closing:	why the page is being given up, or NS_CLOSING_NO
 * @flags:	NS_CF_*
 * @grant:	state that GRANT or DATA gave, valid with NS_CF_GRANTED
 * @close_grant: state to hand to @close_to
 * @close_to:	node that gets the page or the acknowledgment
 * @txn:	newest transaction seen; whatever is not newer is stale.  64 bits: a node may look
 *		away from a page while others trade it billions of times
 * @acks_due:	nodes that have to acknowledge; while closing, the mask to pass on
 * @acks_got:	nodes that have; before GRANT or DATA is here, for transaction @txn + 1
 */
struct ns_cache {
	u8 state;
	u8 want;
	u8 closing;
	u8 flags;
	u8 grant;
	u8 close_grant;
	u8 close_to;
	u8 pad;
	u64 txn;
	u64 acks_due;
	u64 acks_got;
};

#define NS_BUSY_INVAL	2

/**
 * struct ns_dir - the home's directory entry of one page
 * @copyset:	nodes that may hold a copy, the owner included
 * @q_read:	nodes whose GETS is queued
 * @q_write:	nodes whose GETX is queued
 * @q_have:	of those, and the writer under way, who had the contents when they asked
 * @q_clear:	the same, who need none
 * @q_evict:	nodes whose EVICT is queued
 * @txn:	transaction under way, or the last one
 * @owner:	node that answers for the contents
 * @busy:	a transaction is under way, NS_BUSY_INVAL: a write, and @told has to acknowledge
 * @requester:	node whose DONE ends it
 * @turn:	node served last; the queue is served round robin from here
 * @told:	node that is being invalidated, if that is done one by one
 */
struct ns_dir {
	u64 copyset;
	u64 q_read;
	u64 q_write;
	u64 q_have;
	u64 q_clear;
	u64 q_evict;
	u64 txn;
	u8 owner;
	u8 busy;
	u8 requester;
	u8 turn;
	u8 told;
};

static_assert(sizeof(struct ns_cache) == 32, "two entries fill a cache line");
static_assert(sizeof(struct ns_dir) == 64, "a cache line: the directory is 1.6 % of home memory");

/**
 * struct ns_msg - a message, as the protocol sees it
 * @type:	enum numaspan_msg
 * @from:	sender
 * @requester:	FWD_GETS, FWD_GETX, INV: who gets the answer; INV of SERIAL: the home
 * @grant:	FWD_*, RECALL, GRANT, DATA: enum ns_state that the requester will have
 * @have:	enum ns_have
 * @txn:	transaction; 0 in GETS, GETX, EVICT
 * @acks:	FWD_*, GRANT, DATA: nodes whose ACK the requester must wait for
 */
struct ns_msg {
	u8 type;
	u8 from;
	u8 requester;
	u8 grant;
	u8 have;
	u64 txn;
	u64 acks;
};

enum ns_op {
	NS_ACT_SEND,	/* send @msg to every node in @to */
	NS_ACT_SEND_PAGE, /* the same, with the page's contents */
	NS_ACT_CLOSE,	/* unmap, drain references, then feed NS_EV_CLOSED */
	NS_ACT_INSTALL,	/* the contents that came with this message are the page now */
	NS_ACT_ZERO,	/* the page is zeros now, as one that nobody has touched */
	NS_ACT_DROP,	/* the contents are no longer needed here */
	NS_ACT_WAKE,	/* waiters on this page have reason to look again */
	NS_ACT_STALE,	/* the message was stale and is dropped */
};

struct ns_act {
	enum ns_op op;
	u64 to;
	struct ns_msg msg;
};

#define NS_MAX_ACTS	4

/**
 * struct ns_out - what a step asks for, in this order
 * @n:		actions
 * @act:	the actions
 * @why:	after -EPROTO: what was impossible, for the log
 */
struct ns_out {
	unsigned int n;
	struct ns_act act[NS_MAX_ACTS];
	const char *why;
};

/**
 * struct ns_place - where a step runs
 * @self:	this node
 * @home:	the page's home
 * @nr_nodes:	nodes of the span
 * @policy:	NUMASPAN_POLICY_READ_MOVES, _SERIAL
 */
struct ns_place {
	u8 self;
	u8 home;
	u8 nr_nodes;
	u8 policy;
};

void ns_cache_init(struct ns_cache *c, bool home);
void ns_dir_init(struct ns_dir *d, u8 home);
bool ns_cache_allows(const struct ns_cache *c, bool write);
bool ns_msg_is_for_home(const struct ns_place *pl, u8 type);
bool ns_msg_is_giveup(u8 type);
bool ns_msg_has_page(u8 type);
int ns_msg_check(const struct ns_place *pl, const struct ns_msg *m, const char **why);
int ns_home_step(const struct ns_place *pl, struct ns_dir *d, const struct ns_msg *m,
		 struct ns_out *out);
void ns_serial_next(const struct ns_place *pl, struct ns_dir *d, u64 others, u8 need,
		    struct ns_out *out);
int ns_serial_acked(struct ns_dir *d, const struct ns_msg *m, struct ns_out *out);
int ns_cache_step(const struct ns_place *pl, struct ns_cache *c, u8 event,
		  const struct ns_msg *m, struct ns_out *out);

#endif
