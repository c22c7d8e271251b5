// SPDX-License-Identifier: GPL-2.0-only
/*
 * The fuzzer of the coherence protocol: protocol.c in user space, on a network that delays,
 * reorders and (as asked) loses, repeats or forges messages, against a sequential oracle.
 *
 * Invariants: a run is a function of its seed and options alone.  Only accesses, INSTALL and
 * transfers move contents; DROP poisons them, at home too, so a stale page cannot go unseen.
 * What a node has mapped stays usable until its NS_ACT_CLOSE is done, as a page reference is,
 * and is used until then.  The oracle looks after every step: at most one node writes and then
 * no other reads; at most one node owns; whoever may read has the last write; the directory
 * knows every copy; DONE comes only after every order was carried out; nobody sleeps who could
 * go on; nobody is overtaken twice.
 */
#include <getopt.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "protocol.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define __printf(a, b)	__attribute((format(printf, a, b)))
#define __noreturn	__attribute((noreturn))
#define fallthrough	__attribute__((fallthrough))

#define MAX_PAGES	4
#define MAX_ACTORS	(NUMASPAN_MAX_NODES * 2)
#define POISON		0xdeadbeefu
#define HISTORY		32
/* A run that does not come to rest within this many events after its last access is stuck. */
#define REST_EVENTS	2000000

enum map { MAP_NONE, MAP_READ, MAP_WRITE };

enum kind {
	EV_MSG,		/* a message arrives, or one that was held is looked at again */
	EV_CLOSE,	/* NS_ACT_CLOSE is done */
	EV_OP,		/* an actor starts an access */
	EV_LOOK,	/* a woken actor looks again */
	EV_EVICT,	/* some node wants memory back */
	EV_FORGE,	/* somebody sends what it should not */
};

enum mode { PLAIN, COUNT, LOSE, REPEAT, REPEAT_HOME, FAR, FORGE, TABLE, FORMAT, NR_MODES };

static const char * const mode_names[NR_MODES] = {
	"plain", "count", "lose", "repeat", "repeat-home", "far", "forge", "table", "format",
};

/* By NUMASPAN_POLICY_READ_MOVES and _SERIAL. */
static const char * const policy_names[] = { "none", "moves", "serial", "both" };

static const char * const event_names[] = {
	"GETS", "GETX", "EVICT", "FWD_GETS", "FWD_GETX", "RECALL", "INV", "GRANT", "DATA", "ACK",
	"DONE", "PING", "BYE", "read", "write", "clear", "evict", "closed",
};

static const char state_names[] = "ISOM";

/* A page at one node. */
struct copy {
	struct ns_cache c;
	__u32 value;
	u8 map;
	bool fresh;		/* granted and not yet used */
	bool cleaning;		/* a close is under way, for whatever reason */
	bool zeros;		/* they came, and permission has not */
};

struct page {
	struct ns_dir dir;
	u8 home;
	__u32 last;		/* contents by the last write */
	u64 orders;		/* nodes that the home told to give up and that have not */
	u64 mapped;
	u64 asked[NUMASPAN_MAX_NODES];	/* transactions so far when a request came */
	struct copy at[NUMASPAN_MAX_NODES];
};

/* Somebody on a node who accesses memory. */
struct actor {
	u8 node;
	u8 page;
	bool write;
	bool clear;		/* a write to all of the page, which needs no contents */
	bool waiting;
	bool woken;
};

struct event {
	u64 due;
	u64 order;
	u8 kind;
	u8 node;		/* where; of EV_OP and EV_LOOK the actor */
	u8 page;
	u8 tries;
	bool again;		/* a repeated copy */
	bool forged;
	struct ns_msg m;
	__u32 value;
};

/* What the tester may choose; the rest of a run's style comes from the seed. */
struct options {
	u64 seed;
	u64 seeds;
	u64 steps;
	int nodes;
	int mode;
	u8 policy;
	bool verbose;
};

static struct options opt;

/* The run. */
static struct {
	u64 rng;
	u64 now;
	u64 posted;
	u64 hash;
	int nodes;
	int pages;
	int actors;
	u8 policy;
	int delay_style;
	int hold_style;
	int drain_style;
	int slow_from;
	int slow_to;
	int evict_every;
	bool ending;		/* no new accesses */
	bool stopped;		/* the span stopped: -EPROTO after a fault of the network */
	bool tainted;		/* a forged message was believed */
	__u32 next_value;
	struct page page[MAX_PAGES];
	struct actor actor[MAX_ACTORS];
	struct event *heap;
	size_t used;
	size_t room;
	struct ns_msg history[HISTORY];
	unsigned int seen;
	u64 msgs[NUMASPAN_NR_MSGS];	/* between nodes, of the access being counted */
} w;

/* All runs of this invocation. */
static struct {
	u64 steps;
	u64 accesses;
	u64 touches;
	u64 transfers;
	u64 cleared;
	u64 stops;
	u64 stale;
	u64 refused;
	u64 believed;
	u64 hash;
} total;

static u64 rnd(void)
{
	/* splitmix64: any seed will do, 0 included. */
	u64 z = (w.rng += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static u64 below(u64 n)
{
	return rnd() % n;
}

static bool one_in(u64 n)
{
	return !below(n);
}

static u8 pick_bit(u64 mask)
{
	unsigned int skip = below(__builtin_popcountll(mask));

	while (skip--)
		mask &= mask - 1;
	return __builtin_ctzll(mask);
}

__printf(1, 2)
static void trace(const char *fmt, ...)
{
	va_list ap;

	if (!opt.verbose)
		return;
	printf("# %8llu ", w.now);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

static void dump(const struct page *p)
{
	int i;

	printf("# page %d: home %u owner %u copyset %llx busy %u txn %llu ",
	       (int)(p - w.page), p->home, p->dir.owner, p->dir.copyset, p->dir.busy,
	       p->dir.txn);
	printf("queued %llx/%llx/%llx clear %llx last %u\n",
	       p->dir.q_read, p->dir.q_write, p->dir.q_evict, p->dir.q_clear, p->last);
	for (i = 0; i < w.nodes; i++) {
		const struct copy *a = &p->at[i];

		if (a->c.state == NS_INVALID && !a->c.want && a->c.closing == NS_CLOSING_NO)
			continue;
		printf("# node %d: %c want %u closing %u flags %x txn %llu ", i,
		       state_names[a->c.state & 3], a->c.want, a->c.closing, a->c.flags, a->c.txn);
		printf("due %llx got %llx map %u value %u\n", a->c.acks_due, a->c.acks_got,
		       a->map, a->value);
	}
}

__printf(2, 3)
static void __noreturn fail(const struct page *p, const char *fmt, ...)
{
	va_list ap;

	printf("# violation: ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n# at time %llu of seed %llu, %d nodes\n", w.now, opt.seed, w.nodes);
	if (p)
		dump(p);
	printf("# to see it: fuzz --mode %s --policy %s --nodes %d --seed %llu --steps %llu ",
	       mode_names[opt.mode], policy_names[opt.policy], opt.nodes, opt.seed, opt.steps);
	printf("--verbose\n");
	exit(1);
}

/* The queue of what will happen, by time; a binary heap. */

static bool earlier(const struct event *a, const struct event *b)
{
	return a->due != b->due ? a->due < b->due : a->order < b->order;
}

static void post(struct event e, u64 delay)
{
	size_t i = w.used++;

	if (w.used > w.room) {
		w.room = w.room ? w.room * 2 : 1024;
		w.heap = realloc(w.heap, w.room * sizeof(*w.heap));
		if (!w.heap) {
			fprintf(stderr, "fuzz: no memory for %zu events\n", w.room);
			exit(1);
		}
	}
	e.due = w.now + delay;
	e.order = w.posted++;
	while (i && earlier(&e, &w.heap[(i - 1) / 2])) {
		w.heap[i] = w.heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	w.heap[i] = e;
}

static struct event next_event(void)
{
	struct event top = w.heap[0], e = w.heap[--w.used];
	size_t i = 0, kid;

	while ((kid = 2 * i + 1) < w.used) {
		if (kid + 1 < w.used && earlier(&w.heap[kid + 1], &w.heap[kid]))
			kid++;
		if (!earlier(&w.heap[kid], &e))
			break;
		w.heap[i] = w.heap[kid];
		i = kid;
	}
	w.heap[i] = e;
	return top;
}

static u64 net_delay(int from, int to)
{
	switch (w.delay_style) {
	case 0:			/* in order */
		return 50;
	case 1:			/* a few messages are very late */
		return one_in(10) ? below(3000) : below(20);
	case 2:			/* one direction of one link is slow */
		return from == w.slow_from && to == w.slow_to ? 500 + below(500) : below(50);
	case 3:			/* the later, the sooner */
		return 1000 - (w.posted * 37) % 1000;
	default:
		return below(100);
	}
}

static u64 drain_delay(void)
{
	switch (w.drain_style) {
	case 0:
		return 0;
	case 1:
		return one_in(8) ? below(4000) : 0;
	default:
		return below(150);
	}
}

static struct ns_place place(int node, const struct page *p)
{
	return (struct ns_place){
		.self = node, .home = p->home, .nr_nodes = w.nodes, .policy = w.policy,
	};
}

static bool repeats(u8 type)
{
	if (opt.mode == REPEAT_HOME)
		return type == NUMASPAN_GETS || type == NUMASPAN_GETX || type == NUMASPAN_DONE;
	return type != NUMASPAN_GETS && type != NUMASPAN_GETX && type != NUMASPAN_DONE;
}

/* Put a message on its way; the network may lose or repeat it. */
static void send_msg(const struct page *p, u8 to, const struct ns_msg *m, __u32 value)
{
	struct event e = {
		.kind = EV_MSG, .node = to, .page = p - w.page, .m = *m, .value = value,
	};

	if (to != m->from) {
		w.msgs[m->type]++;
		total.transfers += ns_msg_has_page(m->type);
	}
	trace("page %u: %u -> %u %s txn %llu requester %u grant %c have %u acks %llx",
	      e.page, m->from, to, event_names[m->type], m->txn, m->requester,
	      state_names[m->grant], m->have, m->acks);
	if (opt.mode == LOSE && to != m->from && one_in(200)) {
		trace("lost");
		return;
	}
	post(e, net_delay(m->from, to));
	w.history[w.seen++ % HISTORY] = *m;
	if ((opt.mode == REPEAT && repeats(m->type) && one_in(4)) ||
	    (opt.mode == REPEAT_HOME && repeats(m->type) && one_in(50))) {
		e.again = true;
		post(e, net_delay(m->from, to) + (one_in(4) ? below(5000) : below(50)));
		if (one_in(3))
			post(e, below(500));
	}
}

static bool may_go_on(const struct copy *a, bool write)
{
	return ns_cache_allows(&a->c, write) ||
	       (a->c.closing == NS_CLOSING_NO && a->c.want == NS_WANT_NONE);
}

/* The oracle. */
static void check_page(struct page *p)
{
	u64 readers = 0, writers = 0, owners = 0;
	struct actor *t;
	int i;

	for (i = 0; i < w.nodes; i++) {
		struct copy *a = &p->at[i];
		u64 bit = BIT_ULL(i);

		if (a->c.state > NS_MODIFIED)
			fail(p, "node %d is in state %u", i, a->c.state);
		if (a->c.state >= NS_SHARED)
			readers |= bit;
		if (a->c.state >= NS_OWNED)
			owners |= bit;
		if (a->c.state == NS_MODIFIED)
			writers |= bit;
		if (a->map == MAP_READ && !(readers & bit))
			fail(p, "node %d has the page mapped and is Invalid", i);
		if (a->map == MAP_WRITE && !(writers & bit))
			fail(p, "node %d has the page mapped for writing and is not Modified", i);
		if ((readers & bit) && a->value != p->last)
			fail(p, "node %d has contents %u, the last write was %u", i, a->value,
			     p->last);
	}
	if (writers & (writers - 1))
		fail(p, "two nodes are Modified: %llx", writers);
	if (writers && readers != writers)
		fail(p, "node %d is Modified and others may read: %llx",
		     __builtin_ctzll(writers), readers);
	if (owners & (owners - 1))
		fail(p, "two nodes are Owned or Modified: %llx", owners);
	if (readers & ~p->dir.copyset & ~p->orders)
		fail(p, "the directory does not know these copies: %llx",
		     readers & ~p->dir.copyset & ~p->orders);
	if (!p->dir.busy && !(owners & BIT_ULL(p->dir.owner)))
		fail(p, "the directory's owner %u is not the owner", p->dir.owner);
	if (!p->dir.busy && (p->dir.q_read | p->dir.q_write | p->dir.q_evict))
		fail(p, "requests wait and no transaction is under way");

	for (t = w.actor; t < w.actor + w.actors; t++)
		if (t->waiting && !t->woken && &w.page[t->page] == p &&
		    may_go_on(&p->at[t->node], t->write))
			fail(p, "lost wake-up: an actor on node %u sleeps", t->node);
}

/* Nobody is served twice while another waits. */
static void check_turn(struct page *p, u64 before, const struct ns_msg *m)
{
	u64 after = p->dir.q_read | p->dir.q_write, served;

	if (m->type == NUMASPAN_GETS || m->type == NUMASPAN_GETX) {
		before |= BIT_ULL(m->from);
		p->asked[m->from] = p->dir.txn - (p->dir.busy && !(after & BIT_ULL(m->from)));
	}
	for (served = before & ~after; served; served &= served - 1) {
		u8 r = __builtin_ctzll(served);

		if (p->dir.txn - p->asked[r] > (u64)w.nodes)
			fail(p, "node %u was served %llu transactions after it asked", r,
			     p->dir.txn - p->asked[r]);
	}
}

static void wake(u8 node, u8 page)
{
	struct actor *t;

	for (t = w.actor; t < w.actor + w.actors; t++) {
		if (!t->waiting || t->woken || t->node != node || t->page != page)
			continue;
		t->woken = true;
		post((struct event){ .kind = EV_LOOK, .node = t - w.actor, .page = page },
		     one_in(2) ? 0 : below(60));
	}
}

/* What a step asks for, in its order. */
static void carry_out(struct page *p, u8 node, const struct ns_out *out, const struct event *e)
{
	u64 all = w.nodes == 64 ? ~0ULL : BIT_ULL(w.nodes) - 1;
	struct copy *a = &p->at[node];
	unsigned int i;
	u64 to;

	if (out->n > NS_MAX_ACTS)
		fail(p, "a step has %u actions", out->n);
	for (i = 0; i < out->n; i++) {
		const struct ns_act *act = &out->act[i];
		bool page = act->op == NS_ACT_SEND_PAGE;

		switch (act->op) {
		case NS_ACT_SEND_PAGE:
			if (a->map == MAP_WRITE && !w.tainted)
				fail(p, "contents leave node %u, which can still write", node);
			fallthrough;
		case NS_ACT_SEND:
			if (!act->to || (act->to & ~all) || act->msg.from != node)
				fail(p, "node %u sends to %llx as %u", node, act->to,
				     act->msg.from);
			if (ns_msg_has_page(act->msg.type) != page)
				fail(p, "contents and message type do not agree");
			if (ns_msg_is_giveup(act->msg.type))
				p->orders |= act->to;
			for (to = act->to; to; to &= to - 1)
				send_msg(p, __builtin_ctzll(to), &act->msg, a->value);
			break;
		case NS_ACT_CLOSE:
			if (a->cleaning && !w.tainted)
				fail(p, "node %u closes what it is closing", node);
			a->cleaning = true;
			post((struct event){ .kind = EV_CLOSE, .node = node, .page = p - w.page },
			     drain_delay());
			break;
		case NS_ACT_INSTALL:
			if (!e || !ns_msg_has_page(e->m.type))
				fail(p, "node %u installs contents that did not come", node);
			a->value = e->value;
			break;
		case NS_ACT_ZERO:
			if (!e || ns_msg_has_page(e->m.type))
				fail(p, "node %u has zeros in place of contents", node);
			a->zeros = true;
			total.cleared++;
			break;
		case NS_ACT_DROP:
			a->value = POISON;
			break;
		case NS_ACT_WAKE:
			wake(node, p - w.page);
			break;
		case NS_ACT_STALE:
			total.stale++;
			if (!e || !(e->again || e->forged || opt.mode == REPEAT ||
				    opt.mode == REPEAT_HOME || w.tainted))
				fail(p, "a message is stale and nothing was repeated");
			break;
		}
	}
}

static void mix(u64 v)
{
	w.hash = (w.hash ^ v) * 0x100000001b3ULL;
}

/* One step of the protocol, what it asks for, and the oracle. */
static void step(struct page *p, u8 node, u8 event, const struct event *e)
{
	const struct ns_msg *m = e && e->kind == EV_MSG ? &e->m : NULL;
	u64 queued = p->dir.q_read | p->dir.q_write;
	struct ns_place pl = place(node, p);
	bool for_home = m && ns_msg_is_for_home(&pl, m->type);
	struct copy *a = &p->at[node];
	struct ns_cache before = a->c;
	struct ns_out out = { 0 };
	bool stale;
	int err;

	total.steps++;
	if (for_home) {
		if (m->type == NUMASPAN_DONE && p->dir.busy && m->txn == p->dir.txn &&
		    m->from == p->dir.requester && p->orders && !w.tainted && !e->forged)
			fail(p, "DONE, and these nodes have not done as told: %llx",
			     p->orders);
		err = ns_home_step(&pl, &p->dir, m, &out);
	} else {
		err = ns_cache_step(&pl, &a->c, event, m, &out);
	}
	trace("page %d: node %u %s%s%s -> %c want %u closing %u%s%s", (int)(p - w.page), node,
	      event_names[event], m ? " from " : "", m ? (char[]){ '0' + m->from % 10, 0 } : "",
	      state_names[a->c.state & 3], a->c.want, a->c.closing, err ? ": " : "",
	      err ? out.why : "");
	mix(p - w.page);
	mix(node);
	mix(event);
	mix(a->c.state | a->c.want << 8 | a->c.closing << 16);

	if (err) {
		if (err != -EPROTO || !out.why || out.n)
			fail(p, "refused in an odd way: %d, %u actions", err, out.n);
		if (opt.mode != REPEAT_HOME && !(e && e->forged) && !w.tainted)
			fail(p, "node %u refuses %s of node %u: %s", node, event_names[event],
			     m ? m->from : node, out.why);
		w.stopped = true;
		total.stops++;
		return;
	}
	stale = out.n == 1 && out.act[0].op == NS_ACT_STALE;
	if (stale && memcmp(&before, &a->c, sizeof(before)))
		fail(p, "a stale message changed node %u", node);
	if (m && m->type <= NUMASPAN_INV && !for_home && !stale && a->c.closing == NS_CLOSING_NO)
		p->orders &= ~BIT_ULL(node);
	if (event == NS_EV_CLOSED && before.closing != NS_EV_EVICT)
		p->orders &= ~BIT_ULL(node);
	if (e && e->forged && !stale) {
		total.believed++;
		w.tainted = true;
	}
	if (before.want != NS_WANT_NONE && a->c.want == NS_WANT_NONE)
		a->fresh = true;

	carry_out(p, node, &out, e);
	/* Zeros are a write, which nobody sees before all others have given up. */
	if (a->zeros && a->c.state == NS_MODIFIED) {
		a->zeros = false;
		a->value = ++w.next_value;
		p->last = a->value;
	}
	if (w.tainted)
		return;
	if (for_home)
		check_turn(p, queued, m);
	check_page(p);
}

/* An access that the state allows, as a mapping's first use or a later one. */
static void use(struct page *p, u8 node, bool write)
{
	struct copy *a = &p->at[node];

	if (a->map < (write ? MAP_WRITE : MAP_READ))
		a->map = write ? MAP_WRITE : MAP_READ;
	/* The module maps for writing at once what nobody else has. */
	if (a->c.state == NS_MODIFIED && one_in(2) && a->c.closing == NS_CLOSING_NO)
		a->map = MAP_WRITE;
	p->mapped |= BIT_ULL(node);
	a->fresh = false;
	if (a->value != p->last && !w.tainted)
		fail(p, "node %u reads %u, the last write was %u", node, a->value, p->last);
	if (write) {
		p->last = ++w.next_value;
		a->value = p->last;
		trace("page %d: node %u writes %u", (int)(p - w.page), node, p->last);
	}
	if (!w.tainted)
		check_page(p);
}

/* Somebody uses a mapping that is there, perhaps while it is being closed. */
static void touch(void)
{
	struct page *p = &w.page[below(w.pages)];
	u8 node;

	if (!p->mapped)
		return;
	node = pick_bit(p->mapped);
	total.touches++;
	use(p, node, p->at[node].map == MAP_WRITE && one_in(2));
}

/* A faulting access: what the module does between ns_access() and sleeping. */
static void attempt(struct actor *t)
{
	struct page *p = &w.page[t->page];
	struct copy *a = &p->at[t->node];

	if (!ns_cache_allows(&a->c, t->write) && may_go_on(a, t->write))
		step(p, t->node, t->clear ? NS_EV_CLEAR : t->write ? NS_EV_WRITE : NS_EV_READ,
		     NULL);
	if (!ns_cache_allows(&a->c, t->write)) {
		t->waiting = true;
		return;
	}
	t->waiting = false;
	total.accesses++;
	use(p, t->node, t->write);
	if (!w.ending)
		post((struct event){ .kind = EV_OP, .node = t - w.actor }, below(80));
}

static void start_access(struct actor *t)
{
	/* One page is hot. */
	t->page = one_in(3) ? below(w.pages) : 0;
	t->write = one_in(3);
	t->clear = t->write && one_in(3);
	attempt(t);
}

static void evict_some(void)
{
	struct page *p = &w.page[below(w.pages)];
	u64 able = 0;
	int i;

	for (i = 0; i < w.nodes; i++)
		if (i != p->home && p->at[i].c.state != NS_INVALID)
			able |= BIT_ULL(i);
	if (able)
		step(p, pick_bit(able), NS_EV_EVICT, NULL);
}

/* Is the order put off?  Then it has been posted again. */
static bool held(const struct event *e)
{
	const struct copy *a = &w.page[e->page].at[e->node];
	struct event again = *e;

	if (!ns_msg_is_giveup(e->m.type) || e->tries > 20)
		return false;
	switch (w.hold_style) {
	case 0:
		return false;
	case 1:			/* until the access that it came for has used it */
		if (!a->fresh)
			return false;
		break;
	default:
		if (one_in(2))
			return false;
	}
	again.tries++;
	post(again, below(150));
	return true;
}

static void deliver(const struct event *e)
{
	struct page *p = &w.page[e->page];
	struct ns_place pl = place(e->node, p);
	const char *why;
	int err = ns_msg_check(&pl, &e->m, &why);

	if (!err != !why)
		fail(p, "ns_msg_check() says %d and why is %s", err, why ?: "missing");
	if (err) {
		if (!e->forged && !w.tainted)
			fail(p, "a good message is refused: %s", why);
		total.refused++;
		/* The module stops the span; here the forger tries again. */
		if (!e->forged)
			w.stopped = true;
		return;
	}
	if (!held(e))
		step(p, e->node, e->m.type, e);
}

/* A message out of thin air, or a true one with a field changed. */
static void forge(void)
{
	struct event e = { .kind = EV_MSG, .node = below(w.nodes), .page = below(w.pages),
			   .forged = true };
	struct page *p = &w.page[e.page];
	struct ns_msg *m = &e.m;

	if (w.seen && one_in(2)) {
		*m = w.history[below(w.seen < HISTORY ? w.seen : HISTORY)];
		switch (below(7)) {
		case 0:
			m->type = one_in(3) ? rnd() : below(NUMASPAN_NR_MSGS);
			break;
		case 1:
			m->from = one_in(3) ? rnd() : below(w.nodes);
			break;
		case 2:
			m->requester = one_in(3) ? rnd() : below(w.nodes);
			break;
		case 3:
			m->grant = one_in(3) ? rnd() : below(4);
			break;
		case 4:
			m->have = one_in(3) ? rnd() : below(3);
			break;
		case 5:
			m->txn = one_in(3) ? rnd() : p->dir.txn + below(5) - 2;
			break;
		default:
			m->acks = one_in(3) ? rnd() : m->acks ^ BIT_ULL(below(w.nodes));
		}
	} else {
		m->type = one_in(20) ? rnd() : below(NUMASPAN_NR_MSGS);
		m->from = one_in(20) ? rnd() : one_in(2) ? p->home : below(w.nodes);
		m->requester = one_in(20) ? rnd() : below(w.nodes);
		m->grant = one_in(20) ? rnd() : below(4);
		m->have = one_in(20) ? rnd() : below(3);
		m->txn = one_in(3) ? rnd() : p->dir.txn + below(5) - 2;
		m->acks = one_in(20) ? rnd() : one_in(2) ? 0 : BIT_ULL(below(w.nodes));
	}
	e.value = POISON;
	trace("forged for node %u:", e.node);
	deliver(&e);
}

/* As if two nodes had traded the page while all others looked away: numbers must not wrap. */
static void far_ahead(void)
{
	struct page *p = &w.page[below(w.pages)];

	if (!p->dir.busy)
		p->dir.txn += rnd() >> (24 + below(16));
}

static void begin(u64 seed)
{
	struct event *heap = w.heap;
	size_t room = w.room;
	int i, j;

	memset(&w, 0, sizeof(w));
	w.heap = heap;
	w.room = room;
	w.rng = seed;
	w.nodes = opt.nodes;
	w.policy = opt.policy;
	w.pages = opt.mode == COUNT ? MAX_PAGES : 1 + below(MAX_PAGES);
	w.actors = w.nodes * (1 + below(2));
	w.delay_style = below(6);
	w.hold_style = below(3);
	w.drain_style = below(3);
	w.slow_from = below(w.nodes);
	w.slow_to = below(w.nodes);
	w.evict_every = one_in(4) ? 0 : one_in(2) ? 30 : 300;
	w.hash = 0xcbf29ce484222325ULL;
	for (i = 0; i < w.pages; i++) {
		struct page *p = &w.page[i];

		p->home = below(w.nodes);
		ns_dir_init(&p->dir, p->home);
		for (j = 0; j < w.nodes; j++) {
			ns_cache_init(&p->at[j].c, j == p->home);
			p->at[j].value = j == p->home ? 0 : POISON;
		}
	}
	for (i = 0; i < w.actors; i++)
		w.actor[i].node = i % w.nodes;
}

static void happen(void)
{
	struct event e = next_event();
	struct page *p = &w.page[e.page];

	w.now = e.due;
	switch (e.kind) {
	case EV_MSG:
		deliver(&e);
		break;
	case EV_CLOSE:
		p->at[e.node].map = MAP_NONE;
		p->at[e.node].cleaning = false;
		p->mapped &= ~BIT_ULL(e.node);
		step(p, e.node, NS_EV_CLOSED, NULL);
		break;
	case EV_OP:
		if (!w.ending)
			start_access(&w.actor[e.node]);
		break;
	case EV_LOOK:
		w.actor[e.node].woken = false;
		attempt(&w.actor[e.node]);
		break;
	case EV_EVICT:
		if (w.ending)
			break;
		evict_some();
		post(e, below(2 * w.evict_every));
		break;
	case EV_FORGE:
		if (w.ending)
			break;
		forge();
		post(e, below(400));
		break;
	}
}

/* Let everything come to an end; then all must be at rest and served. */
static void come_to_rest(void)
{
	u64 left = REST_EVENTS;
	struct actor *t;
	int i, j;

	w.ending = true;
	while (w.used && !w.stopped) {
		if (!left--)
			fail(NULL, "no rest: something goes round in circles");
		happen();
	}
	if (w.stopped || w.tainted || opt.mode == LOSE)
		return;
	for (t = w.actor; t < w.actor + w.actors; t++)
		if (t->waiting)
			fail(&w.page[t->page], "an actor on node %u is never served", t->node);
	for (i = 0; i < w.pages; i++) {
		struct page *p = &w.page[i];

		if (p->dir.busy || p->orders)
			fail(p, "a transaction has not ended");
		for (j = 0; j < w.nodes; j++) {
			struct ns_cache *c = &p->at[j].c;

			if (c->want || c->closing != NS_CLOSING_NO || c->flags || c->acks_due ||
			    c->acks_got)
				fail(p, "node %d is not at rest", j);
		}
	}
}

static void random_run(u64 steps)
{
	u64 end = total.steps + steps;
	u64 events = 20 * steps;	/* lost messages may leave nothing to step */
	int i;

	for (i = 0; i < w.actors; i++)
		post((struct event){ .kind = EV_OP, .node = i }, below(100));
	if (w.evict_every)
		post((struct event){ .kind = EV_EVICT }, below(2 * w.evict_every));
	if (opt.mode == FORGE)
		post((struct event){ .kind = EV_FORGE }, below(400));
	while (total.steps < end && events-- && w.used && !w.stopped) {
		happen();
		if (one_in(4) && !w.stopped)
			touch();
		if (opt.mode == FAR && one_in(50))
			far_ahead();
	}
	come_to_rest();
}

/*
 * The oracle of the counts, from the header of protocol.h and not from its state: who has the
 * contents, whom the home believes to have them, who owns.
 */
struct expect {
	u64 have;
	u64 known;
	u8 owner;
	bool modified;
};

static void hop(u64 *msgs, u8 type, u8 from, u8 to)
{
	msgs[type] += from != to;
}

static void expect_access(struct expect *x, u8 home, u8 r, bool write, bool clear, u64 *msgs)
{
	u64 bit = BIT_ULL(r), others;

	if ((x->have & bit) && (!write || x->modified))
		return;
	hop(msgs, write ? NUMASPAN_GETX : NUMASPAN_GETS, r, home);
	hop(msgs, NUMASPAN_DONE, r, home);
	others = x->known & ~bit;
	if ((x->have & bit) || clear) {
		hop(msgs, NUMASPAN_GRANT, home, r);
	} else {
		hop(msgs, write ? NUMASPAN_FWD_GETX : NUMASPAN_FWD_GETS, home, x->owner);
		hop(msgs, NUMASPAN_DATA, x->owner, r);
		others &= ~BIT_ULL(x->owner);
	}
	x->modified = write;
	if (!write) {
		x->have |= bit;
		x->known |= bit;
		if (w.policy & NUMASPAN_POLICY_READ_MOVES)
			x->owner = r;
		return;
	}
	for (; others; others &= others - 1) {
		hop(msgs, NUMASPAN_INV, home, __builtin_ctzll(others));
		hop(msgs, NUMASPAN_ACK, __builtin_ctzll(others),
		    w.policy & NUMASPAN_POLICY_SERIAL ? home : r);
	}
	x->have = bit;
	x->known = bit;
	x->owner = r;
}

static void expect_evict(struct expect *x, u8 home, u8 r, u64 *msgs)
{
	u64 bit = BIT_ULL(r);

	if (!(x->have & bit))
		return;
	x->have &= ~bit;
	if (r != x->owner)
		return;
	hop(msgs, NUMASPAN_EVICT, r, home);
	hop(msgs, NUMASPAN_RECALL, home, r);
	hop(msgs, NUMASPAN_DATA, r, home);
	x->known = (x->known & ~bit) | BIT_ULL(home);
	x->have |= BIT_ULL(home);
	x->owner = home;
	x->modified = x->known == BIT_ULL(home);
}

/* One access at a time: every message is accounted for. */
static void counted_run(u64 steps)
{
	struct expect x[MAX_PAGES];
	u64 end = total.steps + steps;
	int i;

	for (i = 0; i < w.pages; i++) {
		u8 home = w.page[i].home;

		x[i] = (struct expect){ BIT_ULL(home), BIT_ULL(home), home, true };
	}
	w.ending = true;
	while (total.steps < end) {
		u64 want[NUMASPAN_NR_MSGS] = { 0 };
		struct actor *t = &w.actor[below(w.actors)];
		struct page *p = &w.page[below(w.pages)];
		bool evict = t->node != p->home && one_in(5);

		memset(w.msgs, 0, sizeof(w.msgs));
		t->page = p - w.page;
		t->write = one_in(2);
		t->clear = t->write && one_in(3);
		if (evict) {
			expect_evict(&x[t->page], p->home, t->node, want);
			if (p->at[t->node].c.state != NS_INVALID)
				step(p, t->node, NS_EV_EVICT, NULL);
		} else {
			expect_access(&x[t->page], p->home, t->node, t->write, t->clear, want);
			attempt(t);
		}
		come_to_rest();
		for (i = 0; i < NUMASPAN_NR_MSGS; i++)
			if (w.msgs[i] != want[i])
				fail(p, "%s by node %u took %llu %s, not %llu",
				     evict ? "eviction" : t->clear ? "clear" : t->write ? "write" :
				     "read", t->node, w.msgs[i], event_names[i], want[i]);
	}
}

/* What docs/ and the header promise, in numbers: the page's home is node 0. */
static const struct {
	const char *before;	/* accesses that came before: r1 is a read by node 1; w, c, e */
	const char *access;
	u8 nodes;
	u8 msgs;
	u8 transfers;
	u8 policy;
} table[] = {
	{ "",		"r0", 2, 0, 0 },
	{ "",		"w0", 2, 0, 0 },
	{ "",		"r1", 2, 3, 1 },
	{ "",		"w1", 2, 3, 1 },
	{ "r1",		"r1", 2, 0, 0 },
	{ "w1",		"w1", 2, 0, 0 },
	{ "w1",		"r0", 2, 2, 1 },
	{ "w1",		"w0", 2, 2, 1 },
	{ "r1",		"w1", 2, 4, 0 },
	{ "r1",		"w0", 2, 2, 0 },
	{ "w1 r0",	"w1", 2, 4, 0 },
	{ "r1",		"e1", 2, 0, 0 },
	{ "w1",		"e1", 2, 3, 1 },
	{ "w1 e1",	"w0", 2, 0, 0 },
	{ "r1 e1",	"w0", 2, 2, 0 },
	{ "w1 w0",	"w1", 2, 3, 1 },
	{ "",		"r1", 3, 3, 1 },
	{ "",		"w1", 3, 3, 1 },
	{ "w1",		"r2", 3, 4, 1 },
	{ "w1",		"w2", 3, 4, 1 },
	{ "w1 w2",	"w1", 3, 4, 1 },
	{ "w1",		"w0", 3, 2, 1 },
	{ "w1 r0",	"w2", 3, 5, 1 },
	{ "w1 r2",	"w0", 3, 4, 1 },
	{ "w1 r2",	"w2", 3, 5, 0 },
	{ "w1 r2 r0",	"w1", 3, 6, 0 },
	{ "r1 r2",	"w1", 3, 6, 0 },
	{ "r1 r2",	"w0", 3, 4, 0 },
	{ "w1 r2 e1",	"r2", 3, 0, 0 },
	{ "",		"c0", 2, 0, 0 },
	{ "",		"c1", 2, 4, 0 },
	{ "w1",		"c1", 2, 0, 0 },
	{ "w1",		"c0", 2, 2, 0 },
	{ "r1",		"c1", 2, 4, 0 },
	{ "r1 e1",	"c1", 2, 4, 0 },
	{ "w1",		"c2", 3, 5, 0 },
	{ "w1 r2",	"c0", 3, 4, 0 },
	{ "w1 r0",	"c2", 3, 6, 0 },
	{ "w1 c2",	"r1", 3, 4, 1 },
	/* A reader is the owner then, and who was it keeps a copy */
	{ "r1",		"r0", 2, 0, 0, NUMASPAN_POLICY_READ_MOVES },
	{ "r1",		"r2", 3, 4, 1, NUMASPAN_POLICY_READ_MOVES },
	{ "r1",		"w1", 2, 4, 0, NUMASPAN_POLICY_READ_MOVES },
	{ "r1",		"e1", 2, 3, 1, NUMASPAN_POLICY_READ_MOVES },
	{ "w1 r0",	"e1", 2, 0, 0, NUMASPAN_POLICY_READ_MOVES },
	{ "w1 r0",	"w0", 2, 2, 0, NUMASPAN_POLICY_READ_MOVES },
	{ "w1 r2",	"r0", 3, 2, 1, NUMASPAN_POLICY_READ_MOVES },
	{ "w1 r2",	"w1", 3, 5, 0, NUMASPAN_POLICY_READ_MOVES },
	{ "r1 r2 e1",	"w0", 3, 4, 0, NUMASPAN_POLICY_READ_MOVES },
	/* Acknowledgments go to the home, which grants when it has them */
	{ "r1",		"w1", 2, 3, 0, NUMASPAN_POLICY_SERIAL },
	{ "r1",		"w0", 2, 2, 0, NUMASPAN_POLICY_SERIAL },
	{ "w1 r0",	"w2", 3, 4, 1, NUMASPAN_POLICY_SERIAL },
	{ "r1 r2",	"w1", 3, 5, 0, NUMASPAN_POLICY_SERIAL },
	{ "r1 r2",	"w0", 3, 4, 0, NUMASPAN_POLICY_SERIAL },
	{ "r1 r2",	"c1", 3, 5, 0, NUMASPAN_POLICY_SERIAL },
	{ "w1 r2",	"c0", 3, 4, 0, NUMASPAN_POLICY_SERIAL },
};

static u64 sum_msgs(void)
{
	u64 sum = 0;
	int i;

	for (i = 0; i < NUMASPAN_NR_MSGS; i++)
		sum += w.msgs[i];
	return sum;
}

/* Do the accesses of @s, each to its end. */
static void play(const char *s)
{
	for (; *s; s += 2 + (s[2] == ' ')) {
		struct actor *t = &w.actor[s[1] - '0'];

		memset(w.msgs, 0, sizeof(w.msgs));
		t->page = 0;
		t->clear = *s == 'c';
		t->write = *s == 'w' || t->clear;
		if (*s == 'e')
			step(w.page, t->node, NS_EV_EVICT, NULL);
		else
			attempt(t);
		come_to_rest();
	}
}

static void table_run(void)
{
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(table); i++) {
		begin(opt.seed);
		w.nodes = table[i].nodes;
		w.policy = table[i].policy;
		w.pages = 1;
		w.actors = w.nodes;
		w.ending = true;
		memset(w.page, 0, sizeof(w.page));
		ns_dir_init(&w.page[0].dir, 0);
		for (j = 0; j < table[i].nodes; j++) {
			w.actor[j] = (struct actor){ .node = j };
			ns_cache_init(&w.page[0].at[j].c, j == 0);
		}
		play(table[i].before);
		play(table[i].access);
		if (sum_msgs() != table[i].msgs || w.msgs[NUMASPAN_DATA] != table[i].transfers)
			fail(w.page, "%d nodes, \"%s\", %s: %llu messages, %llu DATA, not %u, %u",
			     table[i].nodes, table[i].before, table[i].access, sum_msgs(),
			     w.msgs[NUMASPAN_DATA], table[i].msgs, table[i].transfers);
	}
}

/* At node 1 of 3, of a page whose home is node @home: is this message refused? */
static const struct {
	u8 home;
	bool good;
	struct ns_msg m;
	u8 policy;
} formats[] = {
	{ 1, true, { .type = NUMASPAN_GETS, .from = 0 } },
	{ 1, true, { .type = NUMASPAN_GETX, .from = 1, .have = 1 } },
	{ 1, true, { .type = NUMASPAN_GETX, .from = 0, .have = NS_NEED_NOTHING } },
	{ 1, true, { .type = NUMASPAN_EVICT, .from = 2 } },
	{ 1, true, { .type = NUMASPAN_DONE, .from = 2, .txn = ~0ULL } },
	{ 0, true, { .type = NUMASPAN_FWD_GETS, .from = 0, .requester = 2, .grant = NS_SHARED } },
	{ 0, true, { .type = NUMASPAN_FWD_GETX, .from = 0, .requester = 2, .acks = 7 } },
	{ 0, true, { .type = NUMASPAN_RECALL, .from = 0, .grant = NS_OWNED } },
	{ 0, true, { .type = NUMASPAN_INV, .from = 0, .requester = 2 } },
	{ 0, true, { .type = NUMASPAN_INV, .from = 0, .requester = 2, .have = NS_NEED_NOTHING } },
	{ 0, true, { .type = NUMASPAN_GRANT, .from = 0, .grant = NS_MODIFIED, .acks = 4 } },
	{ 0, true, { .type = NUMASPAN_GRANT, .from = 0, .grant = NS_MODIFIED,
		     .have = NS_NEED_NOTHING } },
	{ 0, true, { .type = NUMASPAN_DATA, .from = 2, .grant = NS_SHARED } },
	{ 0, true, { .type = NUMASPAN_ACK, .from = 2 } },
	{ 1, false, { .type = NUMASPAN_PING, .from = 0 } },
	{ 1, false, { .type = NUMASPAN_BYE, .from = 0 } },
	{ 1, false, { .type = NUMASPAN_NR_MSGS, .from = 0 } },
	{ 1, false, { .type = NS_EV_CLOSED, .from = 0 } },
	{ 1, false, { .type = 255, .from = 0 } },
	{ 1, false, { .type = NUMASPAN_GETS, .from = 3 } },
	{ 1, false, { .type = NUMASPAN_GETS, .from = 255 } },
	{ 0, false, { .type = NUMASPAN_INV, .from = 0, .requester = 3 } },
	{ 0, false, { .type = NUMASPAN_INV, .from = 0, .requester = 64 } },
	{ 0, false, { .type = NUMASPAN_GRANT, .from = 0, .grant = NS_MODIFIED + 1 } },
	{ 1, false, { .type = NUMASPAN_GETX, .from = 0, .have = NS_NEED_NOTHING + 1 } },
	{ 1, false, { .type = NUMASPAN_GETS, .from = 0, .have = NS_NEED_NOTHING } },
	{ 0, false, { .type = NUMASPAN_FWD_GETX, .from = 0, .requester = 2,
		      .have = NS_NEED_NOTHING } },
	{ 0, false, { .type = NUMASPAN_GRANT, .from = 0, .grant = NS_SHARED,
		      .have = NS_NEED_NOTHING } },
	{ 0, false, { .type = NUMASPAN_DATA, .from = 2, .grant = NS_MODIFIED,
		      .have = NS_NEED_NOTHING } },
	{ 0, false, { .type = NUMASPAN_DATA, .from = 2, .acks = 8 } },
	{ 0, false, { .type = NUMASPAN_DATA, .from = 2, .acks = 1ULL << 63 } },
	{ 0, false, { .type = NUMASPAN_GETS, .from = 0 } },
	{ 0, false, { .type = NUMASPAN_GETX, .from = 2 } },
	{ 0, false, { .type = NUMASPAN_EVICT, .from = 1 } },
	{ 2, false, { .type = NUMASPAN_DONE, .from = 0 } },
	{ 2, false, { .type = NUMASPAN_FWD_GETS, .from = 0 } },
	{ 2, false, { .type = NUMASPAN_FWD_GETX, .from = 0 } },
	{ 2, false, { .type = NUMASPAN_RECALL, .from = 0 } },
	{ 2, false, { .type = NUMASPAN_INV, .from = 0 } },
	{ 2, false, { .type = NUMASPAN_GRANT, .from = 0 } },
	{ 0, false, { .type = NUMASPAN_ACK, .from = 1 } },
	{ 1, true, { .type = NUMASPAN_ACK, .from = 1 }, NUMASPAN_POLICY_SERIAL },
	{ 1, true, { .type = NUMASPAN_ACK, .from = 2 }, NUMASPAN_POLICY_SERIAL },
	{ 0, false, { .type = NUMASPAN_ACK, .from = 2 }, NUMASPAN_POLICY_SERIAL },
};

static void format_run(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(formats); i++) {
		struct ns_place pl = {
			.self = 1, .home = formats[i].home, .nr_nodes = 3,
			.policy = formats[i].policy,
		};
		const char *why = "unset";
		int err = ns_msg_check(&pl, &formats[i].m, &why);

		if (formats[i].good ? err || why : err != -EPROTO || !why)
			fail(NULL, "format %u (type %u): %d, %s", i, formats[i].m.type, err,
			     why ?: "no reason");
		total.refused += !!err;
	}
}

static void run_seed(u64 seed)
{
	begin(seed);
	if (opt.mode == TABLE)
		table_run();
	else if (opt.mode == FORMAT)
		format_run();
	else if (opt.mode == COUNT)
		counted_run(opt.steps);
	else
		random_run(opt.steps);
	total.hash = (total.hash ^ w.hash) * 0x100000001b3ULL;
}

static void help(FILE *f)
{
	fprintf(f,
		"usage: fuzz [--mode MODE] [--policy P] [--nodes N] [--seed S] [--seeds K] [--steps M]\n"
		"            [--verbose]\n"
		"Run K seeds from S, each for about M steps of the protocol; say what came of it in\n"
		"one line, or show the violation and exit with 1.\n"
		"  --mode MODE  plain: delay and reordering; count: one access at a time, messages\n"
		"               counted; lose: 1 message in 200 is lost; repeat: messages come twice,\n"
		"               but for GETS, GETX and DONE; repeat-home: those; far: transaction\n"
		"               numbers leap; forge: some messages are made up; table: what single\n"
		"               accesses cost; format: what ns_msg_check() refuses (plain)\n"
		"  --policy P   moves: who reads becomes the owner; serial: sharers are invalidated one\n"
		"               after the other; both; none (none).  The table has its own\n"
		"  --nodes N    2..%d (3)\n"
		"  --seed S     first seed (1)\n"
		"  --seeds K    number of seeds (1)\n"
		"  --steps M    steps per seed (5000)\n"
		"  --verbose    show every step\n", NUMASPAN_MAX_NODES);
}

static u64 parse_number(const char *name, const char *s, u64 least, u64 most)
{
	char *end;
	u64 v;

	errno = 0;
	v = strtoull(s, &end, 0);
	if (errno || end == s || *end || *s == '-' || v < least || v > most) {
		fprintf(stderr, "fuzz: --%s %s: expected a number from %llu to %llu\n", name, s,
			least, most);
		exit(2);
	}
	return v;
}

static int find(const char *name, const char *s, const char * const *names, int n)
{
	int i;

	for (i = 0; i < n; i++)
		if (!strcmp(s, names[i]))
			return i;
	fprintf(stderr, "fuzz: --%s %s: expected one of those in --help\n", name, s);
	exit(2);
}

static void parse(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "mode", 1, NULL, 'm' }, { "nodes", 1, NULL, 'n' }, { "seed", 1, NULL, 's' },
		{ "policy", 1, NULL, 'p' },
		{ "seeds", 1, NULL, 'k' }, { "steps", 1, NULL, 't' }, { "verbose", 0, NULL, 'v' },
		{ "help", 0, NULL, 'h' }, { }
	};
	int c;

	opt = (struct options){ .seed = 1, .seeds = 1, .steps = 5000, .nodes = 3 };
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'm':
			opt.mode = find("mode", optarg, mode_names, NR_MODES);
			break;
		case 'p':
			opt.policy = find("policy", optarg, policy_names, 4);
			break;
		case 'n':
			opt.nodes = parse_number("nodes", optarg, 2, NUMASPAN_MAX_NODES);
			break;
		case 's':
			opt.seed = parse_number("seed", optarg, 0, UINT64_MAX);
			break;
		case 'k':
			opt.seeds = parse_number("seeds", optarg, 1, UINT32_MAX);
			break;
		case 't':
			opt.steps = parse_number("steps", optarg, 1, UINT32_MAX);
			break;
		case 'v':
			opt.verbose = true;
			break;
		case 'h':
			help(stdout);
			exit(0);
		default:
			help(stderr);
			exit(2);
		}
	}
	if (optind < argc) {
		fprintf(stderr, "fuzz: %s: expected an option\n", argv[optind]);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	u64 left;

	parse(argc, argv);
	for (left = opt.seeds; left; left--, opt.seed++)
		run_seed(opt.seed);
	printf("steps=%llu accesses=%llu touches=%llu transfers=%llu cleared=%llu ", total.steps,
	       total.accesses, total.touches, total.transfers, total.cleared);
	printf("stale=%llu refused=%llu believed=%llu stops=%llu hash=%016llx\n",
	       total.stale, total.refused, total.believed, total.stops,
	       total.hash);
	free(w.heap);
	return 0;
}
