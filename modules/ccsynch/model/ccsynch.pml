/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ccsynch, two nodes with two threads each, for Spin.
 *
 * Each access of ccsynch.c to shared memory is a step of its own, but for those that nobody else
 * can meet: of a record before it is in the queue, of what only the holder of the global lock
 * touches.  Those, and what is the thread's own, go with the step before or after.  Spinning is
 * waiting for the condition.  What only delays is left out: the back-off; so is what only makes a
 * tenure some times as long.
 *
 * Promela here		C
 * user			a thread that makes requests; a record is its CPU's, so its number is the
 *			thread's.  A request is one for an operation, ccsynch_run(), or for the
 *			plain lock, ccsynch_lock() and _unlock()
 * enter, next_record, combine, pass_on
 *			the functions of these names; gone: the queue was empty, and is closed
 * out, ticket		@next and @serving, both counted from @serving
 * left, here		@left of the global lock, and of a node
 * has			who holds the global lock; nobody between the store that gives it on and
 *			the load that gets it
 *
 * Invariants, asserted: who gets the lock gets it from nobody else, see gets(); an operation is
 * run by who holds the lock, once, before its request returns; none is made of a request for the
 * plain lock.  With ROUNDS all threads end, so nobody misses a wake-up: who waits for ever is an
 * invalid end.  Without, they go on for ever and thread 2 gets on again and again: its label is
 * the progress, under weak fairness.
 *
 * PLANT selects a bug to be found, REACH a place to be reached: `check' tries each.
 */

#ifndef PLANT
#define PLANT 0
#endif
#ifndef REACH
#define REACH 0
#endif
#ifndef ROUNDS
#define ROUNDS 0	/* requests of thread 0, one less of the others; 0: without end */
#endif
#ifndef BATCH
#define BATCH 2
#endif
#ifndef TENURE
#define TENURE 2
#endif

#define P_LATE_NEXT	1	/* a record is done before what is behind it was read */
#define P_NO_LINK	2	/* nobody waits for who has the tail and has not linked itself */
#define P_LEFT_TWICE	3	/* who takes the lock that was left does not say so */
#define P_PLAIN		4	/* a combiner takes who wants the plain lock for a request */
#define P_KEEP		5	/* a node that has let the next one in goes on */
#define P_NO_HEAD	6	/* who leaves the queue does not tell the next */
#define P_UNBOUNDED	7	/* a node keeps the lock as long as somebody comes (progress) */

#define R_OWNER		1	/* the lock goes to the next record */
#define R_TICKET	2	/* the lock goes to the other node, and the next record waits */
#define R_LEFT		3	/* the lock that was left stays on its node */
#define R_NEXT		4	/* the other node, whose turn is next, takes it */
#define R_BACK		5	/* who left the lock takes it back, for somebody has come */
#define R_LOST		6	/* the same, but the other node has it */
#define R_RACE		7	/* somebody has the tail and has not linked itself */
#define R_OTHERS	8	/* a combiner runs another's operation */

#ifndef USERS
#define USERS 4		/* or 3: the second node has one */
#endif
#define THREADS	4
#define NONE	7

#if REACH
#define reach(n) assert(REACH != n)
#else
#define reach(n) skip
#endif

mtype { WAITS, DONE, HEAD, TICKET, OWNER };

byte out;				/* tickets of the global lock, with that which is served */
byte has = NONE;
byte tail[2] = NONE;
bool left, here[2];
byte served[2], ticket[2];		/* a ticket is so far from being served */

byte nxt[THREADS] = NONE;
mtype state[THREADS];
bool plain[THREADS];			/* what a request is for */
bool ran[THREADS];
bool open[THREADS];			/* a request of this thread has not returned */

#define gets()	assert(has == NONE); has = id
#define gives()	assert(has == id); has = NONE

inline take_ticket()
{
	atomic {
		ticket[n] = out;
		out++
	}
}

inline serve_next()
{
	out--;
	ticket[0] = (ticket[0] -> ticket[0] - 1 : 0);
	ticket[1] = (ticket[1] -> ticket[1] - 1 : 0)
}

inline unlock_global()
{
	atomic {
		gives();
		serve_next()
	}
}

inline take_left()
{
	left = (PLANT == P_LEFT_TWICE);
	gets()
}

inline operate(who)
{
	assert(has == id && open[who] && !plain[who] && !ran[who]);
	ran[who] = true
}

inline next_record(who)
{
	gone = false;
	if
	:: nxt[who] != NONE -> nx = nxt[who]
	:: atomic { nxt[who] == NONE && tail[n] == who -> tail[n] = NONE; gone = true }
	:: atomic { nxt[who] == NONE && tail[n] != who -> reach(R_RACE) };
		if
		:: PLANT == P_NO_LINK -> gone = true
		:: PLANT != P_NO_LINK -> atomic { nxt[who] != NONE -> nx = nxt[who] }
		fi
	fi
}

inline pass_on()
{
	if
	:: served[n] >= TENURE && PLANT != P_UNBOUNDED ->
		here[n] = false;
		take_ticket();
		if
		:: PLANT == P_KEEP -> atomic { serve_next() }
		:: else -> unlock_global()
		fi;
		reach(R_TICKET);
		atomic {
			if
			:: PLANT == P_KEEP -> gives(); state[nx] = OWNER
			:: else -> state[nx] = TICKET
			fi;
			nx = NONE
		}
	:: else ->
		atomic {
			reach(R_OWNER);
			gives();
			state[nx] = OWNER;
			nx = NONE
		}
	fi
}

inline combine()
{
	do
	:: atomic {
			operate(at);
			ops++;
			served[n] = (served[n] < TENURE -> served[n] + 1 : TENURE);
			if
			:: nxt[at] == NONE ->
				leave = served[n] < TENURE || PLANT == P_UNBOUNDED;
				here[n] = leave
			:: else -> leave = false
			fi;
			if
			:: PLANT == P_LATE_NEXT && at != id -> state[at] = DONE
			:: else
			fi
		}
		if
		:: leave -> atomic { gives(); left = true }
		:: else
		fi;
		next_record(at);
		if
		:: at != id -> atomic { reach(R_OTHERS); state[at] = DONE }
		:: else
		fi;
		if
		:: !gone && leave ->
			atomic {
				if
				:: left -> take_left(); leave = false; reach(R_BACK)
				:: else -> here[n] = false
				fi
			}
		:: else
		fi;
		if
		:: gone && leave -> break
		:: gone && !leave -> unlock_global(); break
		:: !gone && leave -> atomic { reach(R_LOST); state[nx] = HEAD; nx = NONE }; break
		:: !gone && !leave && ((plain[nx] && PLANT != P_PLAIN) || ops == BATCH) -> pass_on(); break
		:: else -> at = nx; nx = NONE
		fi
	od
}

/* Who comes out of it with st other than DONE is the head and holds the global lock. */
inline enter()
{
	atomic {
		nxt[id] = NONE;
		state[id] = WAITS;
		at = tail[n];
		tail[n] = id
	}
	if
	:: at != NONE ->
		atomic { nxt[at] = id; at = NONE }
		atomic {
			state[id] != WAITS -> st = state[id];
			if
			:: st == OWNER -> gets()
			:: else
			fi
		}
	:: else ->
		st = HEAD
	fi;
	if
	:: st == HEAD && here[n] ->
		atomic {
			if
			:: left ->
				take_left();
				st = OWNER;
				reach(R_LEFT)
			:: else
			fi
		}
	:: else
	fi;
	if
	:: st == HEAD -> atomic { take_ticket(); st = TICKET }
	:: else
	fi;
	if
	:: st == TICKET ->
		atomic {
			if
			:: ticket[n] == 0 -> gets()
			:: ticket[n] == 1 && left -> take_left(); mine = true
			fi;
			served[n] = 0
		}
		if
		:: mine -> atomic { reach(R_NEXT); serve_next(); mine = false }
		:: else
		fi
	:: else
	fi
}

proctype user(byte id)
{
	byte n = id / 2, at = NONE, nx = NONE, ops, round;
	bool gone, leave, mine;
	mtype st;

	do
	:: ROUNDS && round == (id -> ROUNDS - 1 : ROUNDS) -> break
	:: else ->
		atomic {
			if
			:: plain[id] = false
			:: plain[id] = true
			fi;
			ran[id] = false;
			open[id] = true
		}
		enter();
		if
		:: st == DONE -> assert(!plain[id])
		:: st != DONE && !plain[id] -> at = id; combine()
		:: st != DONE && plain[id] ->
			next_record(id);
			if
			:: !gone && PLANT != P_NO_HEAD -> state[nx] = HEAD
			:: else
			fi;
			unlock_global()
		fi;
		atomic {
			assert(plain[id] != ran[id]);
			/* What nobody reads any more is as at first, so there are fewer states. */
			nxt[id] = NONE;
			state[id] = 0;
			plain[id] = false;
			ran[id] = false;
			open[id] = false;
			at = NONE;
			nx = NONE;
			ops = 0;
			gone = false;
			leave = false;
			st = 0;
			round = (ROUNDS -> round + 1 : 0)
		}
		if
		:: id == 2 ->
progress:		skip
		:: else
		fi
	od
}

init {
	atomic {
		run user(0);
		run user(1);
		run user(2)
#if USERS == 4
		; run user(3)
#endif
	}
}
