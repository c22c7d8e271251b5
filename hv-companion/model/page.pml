/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The coherence protocol of one page between three nodes, for Spin; node 0 is the page's home.
 *
 * Invariants: see check(), after every step, and at_rest, wherever nothing is under way.  Every
 * bad() of protocol.c is an assertion here: no message is ever refused.
 *
 * Promela here			C
 * try_complete() ... acked()	the functions of these names in protocol.c
 * serve_read() ... serve_next()	the same
 * home_of_page's loop		ns_home_step(), a case for each message
 * node's loop			ns_cache_step(), a case for each event and message, and its caller:
 *   request			ns_access() where permission is missing (NS_EV_READ, _WRITE, _CLEAR)
 *   start, look		the same, and the sleep of ns_vm_fault() until NS_ACT_WAKE
 *   abandon			a fault that ends before permission comes: a signal, a killed task
 *   evict			ns_evict() (NS_EV_EVICT)
 *   touch			an access through a mapping or a reference, until the page is closed
 *   give-up			FWD_GETS, FWD_GETX, RECALL, INV, when engine.c's hold is over
 *   close			close_page(), then NS_EV_CLOSED
 *
 * There are two models in this file.  WAITERS 0, for safety: every node may ask and evict without
 * bound, at any moment, and maps at once all that it may; an order is taken at any time.
 * WAITERS 1, for progress: an access waits, is woken, looks again, may find its page gone; a page
 * that came for an access is held until that has used it; there is a bound on all accesses and
 * evictions together.  When they are used up everything must come to rest with every access
 * served; and Spin must find no cycle, so every way there is finite.
 *
 * The network: a message is a slot of its type and its nodes, which holds it until some later step
 * takes it.  So all orders of delivery are tried, within a pair of nodes too.  That a slot is
 * empty when it is filled is asserted; only EVICT may be under way twice, and a node that has sent
 * two waits with the next.
 *
 * Transaction numbers are left out: no message of a transaction is under way when it ends, see
 * is_over(), so without repeated messages (which the fuzzer tries) no number would ever differ.
 *
 * Contents are one bit: is this the last write?  A write makes every other copy old, in the slots
 * too, and NS_ACT_DROP makes the dropped one old, at home too.  The protocol does not look at
 * contents, so one bit says as much as 4096 bytes.  Zeros in place of contents (NS_NEED_NOTHING) are
 * a write at the moment when permission is complete.
 *
 * POLICY selects what published systems do otherwise: a read moves ownership; sharers are invalidated
 * one after the other (serial.c).
 *
 * PLANT selects a bug to be found.  What places a search has reached, it says.
 */

#ifndef PLANT
#define PLANT 0
#endif
#ifndef WAITERS
#define WAITERS 0
#endif
#ifndef POLICY
#define POLICY 0	/* 1: NUMASPAN_POLICY_READ_MOVES, 2: _SERIAL, 3: both */
#endif
#ifndef ACCESSES
#define ACCESSES 4	/* with WAITERS, of all nodes together */
#endif
#ifndef EVICTIONS
#define EVICTIONS 2
#endif
#ifndef ABANDONED
#define ABANDONED 1
#endif

#define P_ACK_EARLY	1	/* an invalidation is acknowledged and the page kept */
#define P_DONE_EARLY	2	/* the writer does not wait for acknowledgments */
#define P_KEEP_M	3	/* an owner stays Modified after FWD_GETS */
#define P_DROP_OWNED	4	/* an Owned page is evicted without a word */
#define P_DATA_EARLY	5	/* contents leave before the references have drained */
#define P_NO_WAKE	6	/* nobody is woken when a page has been given up (waiters) */
#define P_STALE_HAVE	7	/* an upgrade is granted to who lost its copy meanwhile */
#define P_LATE_EVICT	8	/* the home recalls from a node that owns no more */
#define P_FORGET_READER	9	/* the directory does not note a reader */
#define P_RECALL_M	10	/* a recalled page is Modified although others read it */
#define P_LOSE_ACK	11	/* an acknowledgment that overtakes the contents is lost */
#define P_TWO		12	/* the home does not wait for DONE */
#define P_EVICT_ACK	13	/* an invalidation is acknowledged while an eviction still unmaps */
#define P_NO_HOLD	14	/* nothing keeps a page until it was used once (waiters) */
#define P_CLEAR_SPARES	15	/* the owner keeps its page when another node clears it */
#define P_CLEAR_OWNER	16	/* who has become the owner before its clear is served gets zeros */
#define P_CLEAR_STAYS	17	/* who has cleared a page once gets zeros for its next write */

#define P_MOVED_OWNER	18	/* who was the owner stays it beside the reader (moves) */
#define P_MOVED_UNNOTED	19	/* the directory does not note that a reader owns (moves) */
#define P_MOVED_HOME	20	/* a home whose page came back and went on to a reader gets zeros (moves) */
#define P_SERIAL_ONE	21	/* the home grants when the first sharer has acknowledged (serial) */
#define P_SERIAL_HAVE	22	/* who waits for sharers is granted what it no longer has (serial) */

#define R_EARLY_ACK	1	/* an acknowledgment overtakes GRANT or DATA */
#define R_RECALL_READERS 2	/* an owner evicts while others read */
#define R_EVICT_OVERTAKEN 3	/* another transaction overtakes an eviction */
#define R_INV_EVICTING	4	/* an invalidation meets an eviction that still unmaps */
#define R_STOLEN	5	/* a page is gone before its access has looked again (waiters) */
#define R_HAVE_LOST	6	/* an upgrade is asked for and the copy lost before it is served */
#define R_INV_OWNED	7	/* an owner is invalidated, for the writer has the contents */
#define R_RECALL_WANTED	8	/* a page is recalled from a node that wants more of it */
#define R_INV_INVALID	9	/* an invalidation of a copy dropped without a word */
#define R_GRANT_READ	10	/* a read is granted without contents */
#define R_TWO_EVICTS	11	/* a node evicts again before its first EVICT has arrived */
#define R_CLEAR_MODIFIED 12	/* a Modified page is invalidated, for another node clears it */
#define R_CLEAR_RECALLED 13	/* contents came to who wanted none, before that was served */
#define R_CLEAR_EVICTING 14	/* an owner that evicts is invalidated by a clear */
#define R_CLEAR_READERS	15	/* a clear waits for an owner and a reader */
#define R_MOVED_EVICTING 16	/* ownership moves while its owner evicts (moves) */
#define R_MOVED_HOME	17	/* a home has a copy again that it did not have when it asked (moves) */
#define R_SERIAL_TWO	18	/* a second sharer is told (serial) */
#define R_SERIAL_CLEAR	19	/* a clear waits for a sharer, and then for another (serial) */

c_decl {
	static void been_at(int place)
	{
		static unsigned char seen[64];

		if (!seen[place]++)
			printf("reached %d\n", place);
	}
};
#define HERE(n)	c_code { been_at(n); }

#ifndef N
#define N	3
#endif
#if N == 4
#define all(f)	(f(0) && f(1) && f(2) && f(3))
#else
#define all(f)	(f(0) && f(1) && f(2))
#endif
#define HOME	0
#define BIT(n)	(1 << (n))

/* enum ns_state */
#define I 0
#define S 1
#define O 2
#define M 3

/* want, accesses, mappings, requests; CLEAR only for accesses and requests */
#define NONE	0
#define READ	1
#define WRITE	2
#define CLEAR	3

/* orders, and why a page is being closed */
#define NO		0
#define FWD_GETS	1
#define FWD_GETX	2
#define RECALL		3
#define INV		4
#define EVICT		5

/* struct ns_cache of each node; a field that means nothing is kept 0 */
byte state[N], want[N], closing[N], grant[N], close_grant[N], close_to[N];
byte acks_due[N], acks_got[N];
bool granted_f[N], evict_f[N], clear_f[N];

/* struct ns_dir */
byte copyset = BIT(HOME), q_read, q_write, q_have, q_clear, q_evict;
byte owner = HOME, requester, turn = HOME;
bool busy;
#if POLICY & 2
bool inval;				/* busy is NS_BUSY_INVAL */
byte telling, ack_home;			/* told; who acknowledges to the home */
#else
#define inval		false
#define ack_home	0
#endif

/* the network: GETS or GETX of each node, its EVICTs, its DONE; what goes to each node */
byte req[N], evict_n[N];
bool req_have[N], done_n[N];
byte order[N], ord_req[N], ord_grant[N], ord_acks[N];
bool ord_clear[N];			/* INV: nobody needs the contents */
byte gr[N], gr_acks[N];			/* GRANT: the state it grants */
bool gr_zeros[N];
byte dat[N], dat_acks[N];		/* DATA: the state it grants */
bool dat_recall[N], dat_last[N];
byte ack_n[N];				/* who acknowledges */

/* what the callers keep: mappings, contents, the access that waits, the hold */
byte map[N], acc[N], accesses, evictions, abandoned;
bool last[N], asleep[N], fresh[N];

/* scratch, always 0 between steps */
hidden byte t_r, t_i, t_others, t_readers;
hidden byte t_have, t_clear;

#define allows(n, a)	(closing[n] == NO && state[n] >= ((a) == READ -> S : M))
#define ready(n)	(allows(n, acc[n]) || (closing[n] == NO && want[n] == NONE))

#define quiet(n)	(want[n] == NONE && closing[n] == NO && !granted_f[n] && !evict_f[n] && \
			 acks_due[n] == 0 && acks_got[n] == 0 && acc[n] == NONE && !clear_f[n] && \
			 !req[n] && !evict_n[n] && !done_n[n] && !order[n] && !gr[n] && !dat[n] && \
			 !ack_n[n])
#define at_rest		(all(quiet) && !busy && !ack_home && !inval && !(q_read | q_write | q_clear | q_evict))

/* The node's copy is an order's to take away: told and not yet done. */
#define told(n)		(order[n] != NO || (closing[n] != NO && closing[n] != EVICT))

inline check_node(n)
{
	assert(map[n] == NONE || state[n] >= S);
	assert(map[n] != WRITE || state[n] == M);
	assert(state[n] == I || last[n]);
	assert(state[n] == I || (copyset & BIT(n)) || told(n));
	assert(!asleep[n] || !ready(n))
}

/* Nothing is under way, so nothing more would come: then nobody may wait for it. */
#define idle(n)	(!req[n] && !evict_n[n] && !done_n[n] && !order[n] && !gr[n] && !dat[n] && \
		 !ack_n[n] && closing[n] == NO && !ack_home)

inline check()
{
#if !WAITERS
	assert(!all(idle) || at_rest);
#endif
	t_others = 0;
	t_readers = 0;
	t_i = 0;
	do
	:: t_i < N ->
		check_node(t_i);
		t_have = t_have + (state[t_i] == M);
		t_others = t_others + (state[t_i] >= O);
		t_readers = t_readers + (state[t_i] >= S);
		t_i++
	:: else -> break
	od;
	assert(t_have == 0 || (t_have == 1 && t_readers == 1));
	assert(t_others <= 1);
	t_have = 0;
	t_others = 0;
	t_readers = 0;
	t_i = 0;
	assert(busy || state[owner] >= O);
	assert(busy || !(q_read | q_write | q_evict))
}

/* A transaction ends: nothing of it is under way, and every order was carried out. */
#define is_over(n)	(!told(n) && !gr[n] && !dat[n] && !ack_n[n] && !acks_got[n])
#define no_done(n)	(!done_n[n])

inline wake(n)
{
	asleep[n] = false
}

/* Everybody else's copy of the contents is old now. */
inline write(n)
{
	t_i = 0;
	do
	:: t_i < N ->
		if
		:: t_i != n -> last[t_i] = false
		:: else
		fi;
		dat_last[t_i] = false;
		t_i++
	:: else -> break
	od;
	last[n] = true;
	t_i = 0
}

#define nothing(n)	(!dat_last[n])
#define others_last(n)	((n != 0 && last[0]) || (n != 1 && last[1]) || (n != 2 && last[2]) || \
			 (N == 4 && n != 3 && last[N - 1]) || !all(nothing))

/* The home. */

inline send_order(n, type, r, g, acks)
{
	assert(order[n] == NO);
	order[n] = type;
	ord_req[n] = r;
	ord_grant[n] = g;
	ord_acks[n] = acks
}

inline send_grant(n, g, acks)
{
	assert(gr[n] == I);
	gr[n] = g;
	gr_acks[n] = acks
}

/* has_contents() */
#if PLANT == P_MOVED_HOME
#define has(r)	(r == owner || (t_have && (copyset & BIT(r))))
#else
#define has(r)	(r == owner || ((t_have || r == HOME) && (copyset & BIT(r))))
#endif

inline serve_read()
{
	if
	:: has(t_r) ->
		HERE(R_GRANT_READ);
		send_grant(t_r, S, 0)
	:: else ->
#if POLICY & 1
		send_order(owner, FWD_GETS, t_r, O, 0);
#if PLANT != P_MOVED_UNNOTED
		owner = t_r
#endif
#else
		send_order(owner, FWD_GETS, t_r, S, 0)
#endif
	fi;
	q_have = q_have & ~BIT(t_r);
#if PLANT != P_FORGET_READER
	copyset = copyset | BIT(t_r)
#endif
}

/* ns_serial_next() */
inline tell_next()
{
#if POLICY & 2
	if
	:: t_clear && telling -> HERE(R_SERIAL_CLEAR)
	:: telling -> HERE(R_SERIAL_TWO)
	:: else
	fi;
	inval = true;
	telling = 0;
	do
	:: t_others & BIT(telling) -> break
	:: else -> telling++
	od;
	send_order(telling, INV, HOME, 0, 0);
	ord_clear[telling] = t_clear
#else
	skip
#endif
}

inline serve_write()
{
	t_others = copyset & ~BIT(t_r);
	if
	:: has(t_r) || t_clear
	:: else -> t_others = t_others & ~BIT(owner)
	fi;
	if
	:: (POLICY & 2) && t_others ->
		if
		:: has(t_r) -> t_clear = 0
		:: else
		fi;
		tell_next()
	:: else -> grant_write()
	fi;
	t_others = 0
}

/* The rest of serve_write() */
inline grant_write()
{
	t_others = copyset & ~BIT(t_r);
	if
#if PLANT == P_STALE_HAVE
	:: t_r == owner || t_have ->
#elif PLANT == P_CLEAR_OWNER
	:: !t_clear && has(t_r) ->
#else
	:: has(t_r) ->
#endif
		if
		:: t_r == HOME && t_r != owner && !t_have -> HERE(R_MOVED_HOME)
		:: else
		fi;
		if
		:: t_clear -> HERE(R_CLEAR_RECALLED)
		:: else
		fi;
		t_clear = 0;
		send_grant(t_r, M, t_others)
#if PLANT == P_CLEAR_OWNER
	:: t_clear ->
#else
	:: !has(t_r) && t_clear ->
#endif
		if
		:: t_others & ~BIT(owner) -> HERE(R_CLEAR_READERS)
		:: else
		fi;
#if PLANT == P_CLEAR_SPARES
		t_others = t_others & ~BIT(owner);
#endif
		gr_zeros[t_r] = true;
		send_grant(t_r, M, t_others)
	:: else ->
		if
		:: t_have -> HERE(R_HAVE_LOST)
		:: else
		fi;
		t_others = t_others & ~BIT(owner);
		send_order(owner, FWD_GETX, t_r, M, t_others)
	fi;
	t_i = 0;
	do
	:: t_i < N ->
		if
		:: t_others & BIT(t_i) ->
			send_order(t_i, INV, t_r, 0, 0);
			ord_clear[t_i] = t_clear
		:: else
		fi;
		t_i++
	:: else -> break
	od;
	t_i = 0;
	t_others = 0;
	owner = t_r;
	copyset = BIT(t_r);
	q_have = q_have & ~BIT(t_r)
#if PLANT != P_CLEAR_STAYS
	;
	q_clear = q_clear & ~BIT(t_r)
#endif
}

inline serve_evict()
{
	t_readers = copyset & ~BIT(t_r) & ~BIT(HOME);
	if
	:: t_readers -> HERE(R_RECALL_READERS)
	:: else
	fi;
#if PLANT == P_RECALL_M
	send_order(t_r, RECALL, HOME, M, 0);
#else
	send_order(t_r, RECALL, HOME, (t_readers -> O : M), 0);
#endif
	owner = HOME;
	copyset = t_readers | BIT(HOME);
	t_readers = 0
}

inline serve_next()
{
#if PLANT != P_LATE_EVICT
	if
	:: q_evict & ~BIT(owner) -> HERE(R_EVICT_OVERTAKEN)
	:: else
	fi;
	q_evict = q_evict & BIT(owner);
#endif
	if
#if PLANT == P_TWO
	:: q_read | q_write | q_evict ->
#else
	:: !busy && (q_read | q_write | q_evict) ->
#endif
		t_r = (turn + 1) % N;
		do
		:: (q_read | q_write | q_evict) & BIT(t_r) -> break
		:: else -> t_r = (t_r + 1) % N
		od;
		t_have = q_have & BIT(t_r);
		t_clear = (q_clear & BIT(t_r)) != 0;
		busy = true;
		turn = t_r;
		requester = t_r;
		if
		:: q_read & BIT(t_r) ->
			q_read = q_read & ~BIT(t_r);
			serve_read()
		:: else ->
			if
			:: q_write & BIT(t_r) ->
				q_write = q_write & ~BIT(t_r);
				serve_write()
			:: else ->
				q_evict = q_evict & ~BIT(t_r);
				requester = HOME;
				serve_evict()
			fi
		fi;
		t_r = 0;
		t_have = 0;
		t_clear = 0
	:: else
	fi
}

inline take_evict(n)
{
	evict_n[n]--;
	q_evict = q_evict | BIT(n);
	serve_next()
}

inline take_request(n)
{
	assert(!((q_read | q_write) & BIT(n)));
	if
	:: req[n] == READ -> q_read = q_read | BIT(n)
	:: else -> q_write = q_write | BIT(n)
	fi;
	if
	:: req_have[n] -> q_have = q_have | BIT(n)
	:: req[n] == CLEAR -> q_clear = q_clear | BIT(n)
	:: else
	fi;
	req[n] = NONE;
	req_have[n] = false;
	serve_next()
}

/* ns_serial_acked() */
inline take_ack()
{
#if POLICY & 2
	assert(inval && busy && ack_home == BIT(telling));
	ack_home = 0;
	inval = false;
	copyset = copyset & ~BIT(telling);
	t_r = requester;
#if PLANT == P_SERIAL_HAVE
	t_have = 1;
#else
	t_have = q_have & BIT(t_r);
#endif
	t_clear = (q_clear & BIT(t_r)) != 0;
#if PLANT == P_SERIAL_ONE
	copyset = BIT(t_r) | BIT(owner);
#endif
	serve_write();
	if
	:: !inval -> telling = 0
	:: else
	fi;
	t_r = 0;
	t_have = 0;
	t_clear = 0
#else
	skip
#endif
}

proctype home_of_page()
{
	byte n;
end:	do
	:: d_step { req[0] -> take_request(0); check() }
	:: d_step { req[1] -> take_request(1); check() }
	:: d_step { req[2] -> take_request(2); check() }
#if N == 4
	:: d_step { req[3] -> take_request(3); check() }
	:: d_step { evict_n[3] -> take_evict(3); check() }
#endif
	:: d_step { ack_home -> take_ack(); check() }
	:: d_step { evict_n[1] -> take_evict(1); check() }
	:: d_step { evict_n[2] -> take_evict(2); check() }
	:: d_step {
		!all(no_done) ->
		do
		:: done_n[n] -> break
		:: else -> n++
		od;
		assert(busy && !inval && requester == n);
		assert(all(is_over));
		done_n[n] = false;
		n = 0;
		busy = false;
		/* Says nothing until it is set again. */
		requester = 0;
		serve_next();
		check()
	   }
	od
}

/* A node. */

inline send_done(n)
{
	assert(!done_n[n]);
	done_n[n] = true
}

inline try_complete(n)
{
	if
#if PLANT == P_DONE_EARLY
	:: granted_f[n] ->
#else
	:: granted_f[n] && !(acks_due[n] & ~acks_got[n]) ->
#endif
		if
		:: grant[n] > state[n] -> state[n] = grant[n]
		:: else
		fi;
		if
		:: gr_zeros[n] -> write(n)
		:: else
		fi;
		gr_zeros[n] = false;
		clear_f[n] = false;
		want[n] = NONE;
		granted_f[n] = false;
		grant[n] = 0;
		acks_due[n] = 0;
		acks_got[n] = 0;
		send_done(n);
#if PLANT != P_NO_HOLD
		fresh[n] = acc[n] != NONE;
#endif
		wake(n)
	:: else
	fi
}

inline request(n, what)
{
	want[n] = (what == READ -> READ : WRITE);
	assert(req[n] == NONE);
	req[n] = what;
	req_have[n] = state[n] != I;
	clear_f[n] = what == CLEAR
}

inline local_access(n)
{
	if
	:: allows(n, acc[n]) ->
		/* The module maps for writing at once what nobody else has. */
		map[n] = (state[n] == M -> WRITE : READ);
		if
		:: acc[n] != READ -> write(n)
		:: else
		fi;
		acc[n] = NONE;
		fresh[n] = false
	:: else ->
		asleep[n] = true;
		if
		:: closing[n] == NO && want[n] == NONE ->
			request(n, (acc[n] == CLEAR && state[n] != I -> WRITE : acc[n]))
		:: else
		fi
	fi
}

inline local_evict(n)
{
	if
#if PLANT == P_DROP_OWNED
	:: state[n] == S || state[n] == O -> closing[n] = EVICT
#else
	:: state[n] == S -> closing[n] = EVICT
#endif
	:: else ->
		evict_f[n] = true;
		evict_n[n]++;
		if
		:: evict_n[n] == 2 -> HERE(R_TWO_EVICTS)
		:: else
		fi
	fi
}

inline send_ack(n, to)
{
#if POLICY & 2
	assert(to == HOME && !(ack_home & BIT(n)));
	ack_home = ack_home | BIT(n)
#else
	assert(!(ack_n[to] & BIT(n)));
	ack_n[to] = ack_n[to] | BIT(n)
#endif
}

inline send_data(n, to, g, recall, acks)
{
	assert(dat[to] == I);
	dat[to] = g;
	dat_recall[to] = recall;
	dat_acks[to] = acks;
	dat_last[to] = last[n]
}

inline drop(n)
{
	state[n] = I;
	evict_f[n] = false;
	last[n] = false
}

/* closing[n] says why. */
inline closed(n)
{
	if
	:: closing[n] == INV -> send_ack(n, close_to[n])
	:: closing[n] == EVICT
	:: else ->
		send_data(n, close_to[n], close_grant[n], closing[n] == RECALL, acks_due[n]);
		acks_due[n] = 0
	fi;
	if
	:: closing[n] == FWD_GETS ->
#if PLANT == P_KEEP_M
		skip
#else
		if
#if PLANT != P_MOVED_OWNER
		:: close_grant[n] == O ->
			if
			:: evict_f[n] -> HERE(R_MOVED_EVICTING)
			:: else
			fi;
			state[n] = S;
			evict_f[n] = false
#endif
		:: else -> state[n] = O
		fi
#endif
	:: else -> drop(n)
	fi;
	closing[n] = NO;
	close_to[n] = 0;
	close_grant[n] = 0;
#if PLANT != P_NO_WAKE
	wake(n)
#endif
}

inline giveup(n)
{
	assert(closing[n] == NO || (order[n] == INV && closing[n] == EVICT));
	assert(!granted_f[n] && acks_got[n] == 0);
	assert(order[n] != INV || state[n] != M || ord_clear[n]);
	assert(order[n] == INV || state[n] >= O);
	if
	:: order[n] == INV && state[n] == M -> HERE(R_CLEAR_MODIFIED)
	:: order[n] == INV && state[n] == O && !ord_clear[n] -> HERE(R_INV_OWNED)
	:: order[n] == INV && state[n] >= O && evict_f[n] -> HERE(R_CLEAR_EVICTING)
	:: order[n] == INV && closing[n] == EVICT -> HERE(R_INV_EVICTING)
	:: order[n] == RECALL && want[n] != NONE -> HERE(R_RECALL_WANTED)
	:: order[n] != INV && acc[n] != NONE && !asleep[n] -> HERE(R_STOLEN)
	:: else
	fi;
	if
#if PLANT == P_ACK_EARLY
	:: order[n] == INV ->
#elif PLANT == P_EVICT_ACK
	:: order[n] == INV && (state[n] == I || closing[n] == EVICT) ->
#else
	:: order[n] == INV && state[n] == I ->
#endif
		HERE(R_INV_INVALID);
		send_ack(n, ord_req[n])
	:: else ->
		close_to[n] = ord_req[n];
		close_grant[n] = ord_grant[n];
		acks_due[n] = ord_acks[n];
		if
#if PLANT == P_DATA_EARLY
		:: order[n] != INV ->
#else
		:: order[n] == FWD_GETS && state[n] == O ->
#endif
			closing[n] = order[n];
			closed(n)
		:: else ->
			closing[n] = order[n]
		fi
	fi;
	order[n] = NO;
	ord_req[n] = 0;
	ord_grant[n] = 0;
	ord_acks[n] = 0;
	ord_clear[n] = false
}

inline granted(n, g, acks)
{
	assert(want[n] == (g == M -> WRITE : READ) && (g == M || g == S || (POLICY & 1)));
	assert(!(acks & BIT(n)));
	assert(!(acks_got[n] & ~(acks)));
	granted_f[n] = true;
	grant[n] = g;
	acks_due[n] = acks;
	try_complete(n)
}

inline take_grant(n)
{
	assert(closing[n] == NO && !granted_f[n]);
	assert((gr_zeros[n] -> state[n] == I && clear_f[n] && gr[n] == M : state[n] != I));
	granted(n, gr[n], gr_acks[n]);
	gr[n] = I;
	gr_acks[n] = 0
}

inline take_data(n)
{
	assert(closing[n] == NO && !granted_f[n]);
	if
	:: state[n] == I -> last[n] = dat_last[n]
	:: else
	fi;
	if
	:: dat_recall[n] ->
		assert(n == HOME && dat[n] >= O && !dat_acks[n]);
		state[n] = dat[n];
		send_done(n);
		wake(n)
	:: else ->
		granted(n, dat[n], dat_acks[n])
	fi;
	dat[n] = I;
	dat_recall[n] = false;
	dat_acks[n] = 0;
	dat_last[n] = false
}

inline acked(n, from)
{
	ack_n[n] = ack_n[n] & ~BIT(from);
	if
	:: granted_f[n] ->
		assert(acks_due[n] & BIT(from));
		acks_got[n] = acks_got[n] | BIT(from)
	:: else ->
		HERE(R_EARLY_ACK);
		assert(want[n] == WRITE);
#if PLANT != P_LOSE_ACK
		acks_got[n] = acks_got[n] | BIT(from)
#endif
	fi;
	try_complete(n)
}

inline remap(n)
{
#if !WAITERS
	if
	:: closing[n] == NO && state[n] == M -> map[n] = WRITE
	:: closing[n] == NO && (state[n] == S || state[n] == O) && map[n] == NONE -> map[n] = READ
	:: else
	fi
;
#endif
	skip
}

#define can_evict(n)	(closing[n] == NO && want[n] == NONE && state[n] != I && \
			 !(state[n] >= O && evict_f[n]) && evict_n[n] < 2)

proctype node(byte n)
{
end:	do
#if WAITERS
	/* start */
	:: d_step { accesses < ACCESSES && acc[n] == NONE ->
		accesses++; acc[n] = READ; local_access(n); check() }
	:: d_step { accesses < ACCESSES && acc[n] == NONE ->
		accesses++; acc[n] = WRITE; local_access(n); check() }
	:: d_step { accesses < ACCESSES && acc[n] == NONE && state[n] == I ->
		accesses++; acc[n] = CLEAR; local_access(n); check() }
	/* look */
	:: d_step { acc[n] != NONE && !asleep[n] -> local_access(n); check() }
	/* abandon */
	:: d_step { abandoned < ABANDONED && asleep[n] ->
		abandoned++; acc[n] = NONE; asleep[n] = false; check() }
	/* the hold runs out, if the access it is for does not come */
	:: d_step { fresh[n] && (acc[n] == NONE || !allows(n, acc[n])) -> fresh[n] = false }
	/* evict */
	:: d_step { n != HOME && evictions < EVICTIONS && can_evict(n) ->
		evictions++; local_evict(n); check() }
#else
	/* request */
	:: d_step { want[n] == NONE && closing[n] == NO && !allows(n, READ) ->
		request(n, READ); check() }
	:: d_step { want[n] == NONE && closing[n] == NO && !allows(n, WRITE) ->
		request(n, WRITE); check() }
	:: d_step { want[n] == NONE && closing[n] == NO && state[n] == I ->
		request(n, CLEAR); check() }
	/* evict */
	:: d_step { n != HOME && can_evict(n) -> local_evict(n); check() }
#endif
	/* touch: where all is well nobody has what a write makes old */
	:: d_step { map[n] == WRITE && others_last(n) -> write(n); check() }
	/* close */
	:: d_step { closing[n] != NO -> map[n] = NONE; closed(n); remap(n); check() }
	/* give-up */
	:: d_step { order[n] != NO && !fresh[n] -> giveup(n); check() }
	:: d_step { gr[n] -> take_grant(n); remap(n); check() }
	:: d_step { dat[n] -> take_data(n); remap(n); check() }
	:: d_step { ack_n[n] & BIT(0) -> acked(n, 0); remap(n); check() }
	:: d_step { ack_n[n] & BIT(1) -> acked(n, 1); remap(n); check() }
	:: d_step { ack_n[n] & BIT(2) -> acked(n, 2); remap(n); check() }
#if N == 4
	:: d_step { ack_n[n] & BIT(3) -> acked(n, 3); remap(n); check() }
#endif
	od
}

init {
	d_step {
		state[HOME] = M;
		last[HOME] = true;
		map[HOME] = WRITE
	};
	atomic {
		run home_of_page();
		run node(0);
		run node(1);
		run node(2);
#if N == 4
		run node(3)
#endif
	};
#if WAITERS
	timeout -> assert(at_rest)
#endif
}
