// SPDX-License-Identifier: GPL-2.0-only
/*
 * The coherence protocol: see protocol.h for the messages and the rules.
 *
 * Invariants, checked by the model and by the fuzzer after every step: at most one node is
 * Modified, and then no other node may read; at most one node is Owned or Modified; every node
 * that may read has the contents of the last write; a directory entry's copyset covers every
 * node that is not Invalid.  A message that cannot occur is answered by -EPROTO, never by a
 * guess.
 */
#include "protocol.h"

static struct ns_act *act(struct ns_out *out, enum ns_op op)
{
	struct ns_act *a = &out->act[out->n++];

	memset(a, 0, sizeof(*a));
	a->op = op;
	return a;
}

static struct ns_msg *send(struct ns_out *out, enum ns_op op, u64 to, u8 type, u8 self, u64 txn)
{
	struct ns_act *a = act(out, op);

	a->to = to;
	a->msg.type = type;
	a->msg.from = self;
	a->msg.txn = txn;
	return &a->msg;
}

static int bad(struct ns_out *out, const char *why)
{
	out->n = 0;
	out->why = why;
	return -EPROTO;
}

/**
 * ns_cache_init() - the state of a page at the start of a span
 * @c:		entry
 * @home:	this node is the page's home, where it starts Modified and zero
 */
void ns_cache_init(struct ns_cache *c, bool home)
{
	memset(c, 0, sizeof(*c));
	c->state = home ? NS_MODIFIED : NS_INVALID;
	c->closing = NS_CLOSING_NO;
}

/**
 * ns_dir_init() - the directory entry of a page at the start of a span
 * @d:		entry
 * @home:	the page's home, its first owner
 */
void ns_dir_init(struct ns_dir *d, u8 home)
{
	memset(d, 0, sizeof(*d));
	d->owner = home;
	d->copyset = BIT_ULL(home);
	d->turn = home;
}

/**
 * ns_cache_allows() - may the local node map the page now?
 * @c:		entry
 * @write:	for writing
 *
 * Return: true if it may; a page that is being given up may not be mapped again.
 */
bool ns_cache_allows(const struct ns_cache *c, bool write)
{
	if (c->closing != NS_CLOSING_NO)
		return false;
	return c->state >= (write ? NS_MODIFIED : NS_SHARED);
}

/**
 * ns_msg_is_for_home() - does this message go to the directory?
 * @pl:		where it arrives
 * @type:	enum numaspan_msg
 *
 * Return: true for ns_home_step(), false for ns_cache_step().
 */
bool ns_msg_is_for_home(const struct ns_place *pl, u8 type)
{
	return type == NUMASPAN_GETS || type == NUMASPAN_GETX || type == NUMASPAN_EVICT ||
	       type == NUMASPAN_DONE ||
	       (type == NUMASPAN_ACK && (pl->policy & NUMASPAN_POLICY_SERIAL));
}

/**
 * ns_msg_is_giveup() - does this message ask the node to give up a page, or write permission?
 * @type:	enum numaspan_msg
 *
 * Return: true for the messages that the hold may put off.
 */
bool ns_msg_is_giveup(u8 type)
{
	return type == NUMASPAN_FWD_GETS || type == NUMASPAN_FWD_GETX ||
	       type == NUMASPAN_RECALL || type == NUMASPAN_INV;
}

/**
 * ns_msg_has_page() - do the page's contents follow this message?
 * @type:	enum numaspan_msg
 *
 * Return: true for DATA.
 */
bool ns_msg_has_page(u8 type)
{
	return type == NUMASPAN_DATA;
}

/**
 * ns_msg_check() - is this message well formed, whatever the page's state?
 * @pl:		where it arrived
 * @m:		message
 * @why:	set to what is wrong
 *
 * Return: 0 or -EPROTO.
 */
int ns_msg_check(const struct ns_place *pl, const struct ns_msg *m, const char **why)
{
	bool may_clear = m->type == NUMASPAN_GETX || m->type == NUMASPAN_INV ||
			 (m->type == NUMASPAN_GRANT && m->grant == NS_MODIFIED);
	u64 nodes = pl->nr_nodes == 64 ? ~0ULL : BIT_ULL(pl->nr_nodes) - 1;

	*why = NULL;
	if (m->type > NUMASPAN_DONE)
		*why = "unknown message type";
	else if (m->from >= pl->nr_nodes || m->requester >= pl->nr_nodes)
		*why = "node number out of range";
	else if (m->grant > NS_MODIFIED ||
		 m->have > (may_clear ? NS_NEED_NOTHING : NS_HAVE_CONTENTS))
		*why = "permission out of range";
	else if (m->acks & ~nodes)
		*why = "acknowledgment mask out of range";
	else if (ns_msg_is_for_home(pl, m->type) && pl->self != pl->home)
		*why = "request to a node that is not the page's home";
	else if ((ns_msg_is_giveup(m->type) || m->type == NUMASPAN_GRANT) && m->from != pl->home)
		*why = "order from a node that is not the page's home";
	else if (m->type == NUMASPAN_ACK && m->from == pl->self && !ns_msg_is_for_home(pl, m->type))
		*why = "acknowledgment from oneself";
	return *why ? -EPROTO : 0;
}

/*
 * Has @r the contents?  It may have lost those it had when it asked; and a home that had none may
 * have got some: it drops no copy unless told, so the directory knows.
 */
static bool has_contents(const struct ns_place *pl, const struct ns_dir *d, u8 r)
{
	bool had = (d->q_have & BIT_ULL(r)) || r == pl->home;

	return r == d->owner || (had && (d->copyset & BIT_ULL(r)));
}

/* Start the transaction that @r's read asks for. */
static void serve_read(const struct ns_place *pl, struct ns_dir *d, u8 r, struct ns_out *out)
{
	u8 grant = NS_SHARED;
	struct ns_msg *m;

	if (has_contents(pl, d, r)) {
		m = send(out, NS_ACT_SEND, BIT_ULL(r), NUMASPAN_GRANT, pl->self, d->txn);
	} else {
		m = send(out, NS_ACT_SEND, BIT_ULL(d->owner), NUMASPAN_FWD_GETS, pl->self, d->txn);
		m->requester = r;
		if (pl->policy & NUMASPAN_POLICY_READ_MOVES) {
			grant = NS_OWNED;
			d->owner = r;
		}
	}
	m->grant = grant;
	d->copyset |= BIT_ULL(r);
	d->q_have &= ~BIT_ULL(r);
}

/*
 * Start the transaction that a write of the requester asks for, or go on with it: every other copy
 * goes.
 */
static void serve_write(const struct ns_place *pl, struct ns_dir *d, struct ns_out *out)
{
	u8 r = d->requester, type = NUMASPAN_GRANT, need = NS_HAVE_NOTHING, to = r;
	u64 bit = BIT_ULL(r), others = d->copyset & ~BIT_ULL(r);
	struct ns_msg *m;

	if (!has_contents(pl, d, r) && (d->q_clear & bit)) {
		need = NS_NEED_NOTHING;
	} else if (!has_contents(pl, d, r)) {
		type = NUMASPAN_FWD_GETX;
		to = d->owner;
		others &= ~BIT_ULL(d->owner);
	}
	if (others && (pl->policy & NUMASPAN_POLICY_SERIAL)) {
		ns_serial_next(pl, d, others, need, out);
		return;
	}
	m = send(out, NS_ACT_SEND, BIT_ULL(to), type, pl->self, d->txn);
	m->requester = r;
	m->grant = NS_MODIFIED;
	m->have = need;
	m->acks = others;
	if (others) {
		m = send(out, NS_ACT_SEND, others, NUMASPAN_INV, pl->self, d->txn);
		m->requester = r;
		m->have = need;
	}
	d->owner = r;
	d->copyset = BIT_ULL(r);
	d->q_have &= ~bit;
	d->q_clear &= ~bit;
}

/* Take the page back from its owner @r, which needs the memory. */
static void serve_evict(const struct ns_place *pl, struct ns_dir *d, u8 r, struct ns_out *out)
{
	u64 readers = d->copyset & ~BIT_ULL(r) & ~BIT_ULL(pl->home);
	struct ns_msg *m;

	m = send(out, NS_ACT_SEND, BIT_ULL(r), NUMASPAN_RECALL, pl->self, d->txn);
	m->requester = pl->home;
	m->grant = readers ? NS_OWNED : NS_MODIFIED;
	d->owner = pl->home;
	d->copyset = readers | BIT_ULL(pl->home);
}

/* If the page is not busy, start the next queued transaction. */
static void serve_next(const struct ns_place *pl, struct ns_dir *d, struct ns_out *out)
{
	unsigned int i;

	/* An owner's EVICT that another transaction overtook needs nothing any more. */
	d->q_evict &= BIT_ULL(d->owner);
	if (d->busy || !(d->q_read | d->q_write | d->q_evict))
		return;

	for (i = 1; i <= pl->nr_nodes; i++) {
		u8 r = (d->turn + i) % pl->nr_nodes;
		u64 bit = BIT_ULL(r);

		if (!((d->q_read | d->q_write | d->q_evict) & bit))
			continue;
		d->busy = 1;
		d->turn = r;
		d->requester = r;
		d->txn++;
		if (d->q_read & bit) {
			d->q_read &= ~bit;
			serve_read(pl, d, r, out);
		} else if (d->q_write & bit) {
			d->q_write &= ~bit;
			serve_write(pl, d, out);
		} else {
			d->q_evict &= ~bit;
			d->requester = pl->home;
			serve_evict(pl, d, r, out);
		}
		return;
	}
}

/**
 * ns_home_step() - one message for the directory
 * @pl:		where; @pl->self is the page's home
 * @d:		directory entry
 * @m:		message, already through ns_msg_check()
 * @out:	what is to be done
 *
 * Context: any; the caller serialises steps on one entry.
 * Return: 0, or -EPROTO with @out->why set and @d unusable.
 */
int ns_home_step(const struct ns_place *pl, struct ns_dir *d, const struct ns_msg *m,
		 struct ns_out *out)
{
	u64 bit = BIT_ULL(m->from);
	int err;

	out->n = 0;
	out->why = NULL;
	switch (m->type) {
	case NUMASPAN_GETS:
	case NUMASPAN_GETX:
		if ((d->q_read | d->q_write) & bit)
			return bad(out, "second request of a node for one page");
		if (m->type == NUMASPAN_GETS)
			d->q_read |= bit;
		else
			d->q_write |= bit;
		if (m->have == NS_HAVE_CONTENTS)
			d->q_have |= bit;
		else if (m->have == NS_NEED_NOTHING)
			d->q_clear |= bit;
		break;
	case NUMASPAN_EVICT:
		if (m->from == pl->home)
			return bad(out, "eviction by the home");
		d->q_evict |= bit;
		break;
	case NUMASPAN_ACK:
		err = ns_serial_acked(d, m, out);
		if (err <= 0)
			return err;
		serve_write(pl, d, out);
		return 0;
	case NUMASPAN_DONE:
		if (d->busy != 1 || m->txn != d->txn || m->from != d->requester)
			return bad(out, "DONE for a transaction that is not under way");
		d->busy = 0;
		break;
	default:
		return bad(out, "message is not for the home");
	}
	serve_next(pl, d, out);
	return 0;
}

/* The request is over if permission, contents and acknowledgments are all here. */
static void try_complete(const struct ns_place *pl, struct ns_cache *c, struct ns_out *out)
{
	if (!(c->flags & NS_CF_GRANTED) || (c->acks_due & ~c->acks_got))
		return;
	if (c->grant > c->state)
		c->state = c->grant;
	c->want = NS_WANT_NONE;
	c->flags &= ~(NS_CF_GRANTED | NS_CF_CLEAR);
	c->acks_due = 0;
	c->acks_got = 0;
	send(out, NS_ACT_SEND, BIT_ULL(pl->home), NUMASPAN_DONE, pl->self, c->txn);
	act(out, NS_ACT_WAKE);
}

static int local_access(const struct ns_place *pl, struct ns_cache *c, u8 event, struct ns_out *out)
{
	bool write = event != NS_EV_READ;
	struct ns_msg *m;

	if (ns_cache_allows(c, write))
		return 0;
	/* Being given up, or asked for already: whoever waits looks again when woken. */
	if (c->closing != NS_CLOSING_NO || c->want != NS_WANT_NONE)
		return 0;
	c->want = write ? NS_WANT_WRITE : NS_WANT_READ;
	m = send(out, NS_ACT_SEND, BIT_ULL(pl->home), write ? NUMASPAN_GETX : NUMASPAN_GETS,
		 pl->self, 0);
	if (c->state != NS_INVALID) {
		m->have = NS_HAVE_CONTENTS;
	} else if (event == NS_EV_CLEAR) {
		m->have = NS_NEED_NOTHING;
		c->flags |= NS_CF_CLEAR;
	}
	return 0;
}

static int local_evict(const struct ns_place *pl, struct ns_cache *c, struct ns_out *out)
{
	if (pl->self == pl->home)
		return bad(out, "eviction at home");
	if (c->closing != NS_CLOSING_NO || c->want != NS_WANT_NONE || c->state == NS_INVALID)
		return 0;
	if (c->state == NS_SHARED) {
		c->closing = NS_EV_EVICT;
		act(out, NS_ACT_CLOSE);
	} else if (!(c->flags & NS_CF_EVICT)) {
		c->flags |= NS_CF_EVICT;
		send(out, NS_ACT_SEND, BIT_ULL(pl->home), NUMASPAN_EVICT, pl->self, 0);
	}
	return 0;
}

/* Answer the give-up that is under way; the page is unmapped and nobody refers to it. */
static int closed(const struct ns_place *pl, struct ns_cache *c, struct ns_out *out)
{
	u8 why = c->closing;
	struct ns_msg *m;

	if (why == NS_CLOSING_NO)
		return bad(out, "end of a give-up that had not begun");
	c->closing = NS_CLOSING_NO;
	if (why == NUMASPAN_INV) {
		send(out, NS_ACT_SEND, BIT_ULL(c->close_to), NUMASPAN_ACK, pl->self, c->txn);
	} else if (why != NS_EV_EVICT) {
		m = send(out, NS_ACT_SEND_PAGE, BIT_ULL(c->close_to), NUMASPAN_DATA, pl->self,
			 c->txn);
		m->grant = c->close_grant;
		m->have = why == NUMASPAN_RECALL ? NS_HAVE_CONTENTS : NS_HAVE_NOTHING;
		m->acks = c->acks_due;
		c->acks_due = 0;
	}
	if (why == NUMASPAN_FWD_GETS) {
		c->state = c->close_grant == NS_OWNED ? NS_SHARED : NS_OWNED;
	} else {
		c->state = NS_INVALID;
		act(out, NS_ACT_DROP);
	}
	if (c->state < NS_OWNED)
		c->flags &= ~NS_CF_EVICT;
	act(out, NS_ACT_WAKE);
	return 0;
}

/* A message from the home that takes something away. */
static int giveup(const struct ns_place *pl, struct ns_cache *c, const struct ns_msg *m,
		  struct ns_out *out)
{
	bool inv = m->type == NUMASPAN_INV;

	if (c->closing != NS_CLOSING_NO && !(inv && c->closing == NS_EV_EVICT))
		return bad(out, "order for a page that is being given up");
	if ((c->flags & NS_CF_GRANTED) || c->acks_got)
		return bad(out, "order during this node's own transaction");
	if (inv && c->state == NS_MODIFIED && m->have != NS_NEED_NOTHING)
		return bad(out, "invalidation of a Modified page whose contents are needed");
	if (!inv && c->state < NS_OWNED)
		return bad(out, "order for contents that this node does not own");
	c->txn = m->txn;
	if (inv && c->state == NS_INVALID) {
		/* Dropped without a word before. */
		send(out, NS_ACT_SEND, BIT_ULL(m->requester), NUMASPAN_ACK, pl->self, m->txn);
		return 0;
	}
	if (c->closing == NS_CLOSING_NO && !(m->type == NUMASPAN_FWD_GETS && c->state == NS_OWNED))
		act(out, NS_ACT_CLOSE);
	c->closing = m->type;
	c->close_to = m->requester;
	c->close_grant = m->grant;
	c->acks_due = m->acks;
	/* An Owned page is mapped for reading only: a reader's copy needs no unmapping. */
	if (m->type == NUMASPAN_FWD_GETS && c->state == NS_OWNED)
		return closed(pl, c, out);
	return 0;
}

/* GRANT, or DATA: permission. */
static int granted(const struct ns_place *pl, struct ns_cache *c, const struct ns_msg *m,
		   struct ns_out *out)
{
	bool data = m->type == NUMASPAN_DATA;
	bool zeros = !data && m->have == NS_NEED_NOTHING;
	bool recall = data && m->have == NS_HAVE_CONTENTS;

	if (c->closing != NS_CLOSING_NO || (c->flags & NS_CF_GRANTED))
		return bad(out, "permission while the page is in another transaction");
	if (m->acks & BIT_ULL(pl->self))
		return bad(out, "acknowledgment due from oneself");
	if (zeros && (c->state != NS_INVALID || !(c->flags & NS_CF_CLEAR)))
		return bad(out, "zeros for a page that is not about to be cleared");
	if (!data && !zeros && c->state == NS_INVALID)
		return bad(out, "permission without contents for an Invalid page");
	if (recall) {
		if (pl->self != pl->home || m->grant < NS_OWNED || m->acks)
			return bad(out, "recalled contents that the home did not ask for");
	} else if (c->want != (m->grant == NS_MODIFIED ? NS_WANT_WRITE : NS_WANT_READ) ||
		   m->grant == NS_INVALID ||
		   (m->grant == NS_OWNED &&
		    !(data && (pl->policy & NUMASPAN_POLICY_READ_MOVES)))) {
		return bad(out, "permission that was not asked for");
	}
	if (c->acks_got && m->txn != c->txn + 1)
		return bad(out, "permission of one transaction, acknowledgments of another");
	if (c->acks_got & ~m->acks)
		return bad(out, "acknowledgment of a node that owes none");
	c->txn = m->txn;
	if (data && c->state == NS_INVALID)
		act(out, NS_ACT_INSTALL);
	if (zeros)
		act(out, NS_ACT_ZERO);
	if (recall) {
		/* What this node itself waits for, if anything, stays queued in the directory. */
		c->state = m->grant;
		send(out, NS_ACT_SEND, BIT_ULL(pl->home), NUMASPAN_DONE, pl->self, c->txn);
		act(out, NS_ACT_WAKE);
		return 0;
	}
	c->flags |= NS_CF_GRANTED;
	c->grant = m->grant;
	c->acks_due = m->acks;
	try_complete(pl, c, out);
	return 0;
}

static int acked(const struct ns_place *pl, struct ns_cache *c, const struct ns_msg *m,
		 struct ns_out *out)
{
	u64 bit = BIT_ULL(m->from);

	if (c->flags & NS_CF_GRANTED) {
		if (!(c->acks_due & bit))
			return bad(out, "acknowledgment of a node that owes none");
	} else {
		if (c->want != NS_WANT_WRITE)
			return bad(out, "acknowledgment that nobody waits for");
		if (c->acks_got && m->txn != c->txn + 1)
			return bad(out, "acknowledgments of two transactions");
		/* It overtook GRANT or DATA, which has the same number. */
		c->txn = m->txn - 1;
	}
	c->acks_got |= bit;
	try_complete(pl, c, out);
	return 0;
}

/**
 * ns_cache_step() - one message or event for what this node holds of the page
 * @pl:		where
 * @c:		entry
 * @event:	enum numaspan_msg or enum ns_event
 * @m:		the message, already through ns_msg_check(); NULL for local events
 * @out:	what is to be done
 *
 * NS_EV_READ, NS_EV_WRITE and NS_EV_CLEAR ask for permission if there is none and nothing is under
 * way: see ns_cache_allows() for the answer.  With NS_EV_CLEAR permission may come with zeros in
 * place of the contents.
 *
 * Context: any; the caller serialises steps on one entry.
 * Return: 0, or -EPROTO with @out->why set and @c unusable.
 */
int ns_cache_step(const struct ns_place *pl, struct ns_cache *c, u8 event,
		  const struct ns_msg *m, struct ns_out *out)
{
	bool ack_now = event == NUMASPAN_ACK && (c->flags & NS_CF_GRANTED);

	out->n = 0;
	out->why = NULL;
	if (m && (ack_now ? m->txn != c->txn : m->txn <= c->txn)) {
		act(out, NS_ACT_STALE);
		return 0;
	}
	switch (event) {
	case NS_EV_READ:
	case NS_EV_WRITE:
	case NS_EV_CLEAR:
		return local_access(pl, c, event, out);
	case NS_EV_EVICT:
		return local_evict(pl, c, out);
	case NS_EV_CLOSED:
		return closed(pl, c, out);
	case NUMASPAN_FWD_GETS:
	case NUMASPAN_FWD_GETX:
	case NUMASPAN_RECALL:
	case NUMASPAN_INV:
		return giveup(pl, c, m, out);
	case NUMASPAN_GRANT:
	case NUMASPAN_DATA:
		return granted(pl, c, m, out);
	case NUMASPAN_ACK:
		return acked(pl, c, m, out);
	default:
		return bad(out, "message is not for a cache");
	}
}
