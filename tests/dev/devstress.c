// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random accesses to a span from threads on every node, each checked as it is made.
 *
 * The oracle is ordinary memory of this process.  A counter that only one thread writes is noted
 * there before and after each store; whoever reads the counter through the span must get a value
 * between what had been stored when the read began and what was being stored when it ended.  A
 * thread's own counter must be what it stored last.  Atomic counters must add up.  Words under a
 * lock must match their checksum.  In the end every node must see the same.  With two processes
 * (--node) there is no common memory: then a reader checks that counters never go backwards, and
 * the counts are compared in the end.
 *
 * --pin adds writers that hold page references while they wait for other pages; --cross replaces
 * all by instructions that need four pages at once; --clear by whole pages cleared, written and
 * compared by who holds them, while others read.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "span.h"

#define MAX_THREADS	32

/* Words of a page.  The first and the last half word belong to counters across pages. */
enum word {
	W_ATOMIC = 1,
	W_LOCK = 2,
	W_SUM = 3,
	W_LOCKED = 4,		/* 8 of them */
	W_OWN = 16,		/* one for each thread: plain, one writer */
	W_COPY = 64,		/* the same, written by instructions that read another page */
	W_PIN = 128,		/* the same, written through page references */
};

#define NR_LOCKED	8
#define NR_FILLED	8	/* words of a page with --clear, one in 64 */

struct thread {
	pthread_t handle;
	int nr;
	int node;
	char *map;
	u64 seed;
	u64 ops;
	u64 reads, writes, atomics, locked, busy, splits, copies, pins, clears;
	u64 *seen;		/* [page][thread]: newest counter this thread has read */
	u64 *copied;		/* [page]: what this thread copied to W_COPY */
	u64 *pinned;		/* [page]: what it wrote to W_PIN */
	u64 errors;
	char error[160];
};

static struct span span = { .self = -1 };
static struct thread thread[MAX_THREADS];
static int nr_threads, threads_per_node = 2;
static u64 nr_ops = 1000000, ops_done;
static u64 pages_per_node = 256, cache_pages;
static u64 *issued, *stored;	/* [page][thread]: the oracle */
static u64 *added;		/* [page]: how often W_ATOMIC was incremented here */
static u64 *split_added;	/* [page]: the same of the counter that ends in this page */
static u64 *filled;		/* [page][word]: contents with --clear */
static u64 *held;		/* [page]: somebody looks at all of it, or writes */
static bool pin, cross, clear;
static bool failed;
static pthread_barrier_t start;
static u64 burst = 24;
static u64 hold_us, unsafe, policy, timeout_ms = 10000;
static int control = -1;	/* to the other process */
static const char *rdma_peer = "10.9.0.1";

static char *word(const struct thread *t, u64 page, unsigned int w)
{
	return t->map + page * PAGE + 8 * w;
}

static char *split_word(const struct thread *t, u64 page)
{
	return t->map + (page + 1) * PAGE - 4;
}

__printf(2, 3)
static void wrong(struct thread *t, const char *fmt, ...)
{
	va_list ap;

	if (!t->errors++) {
		va_start(ap, fmt);
		vsnprintf(t->error, sizeof(t->error), fmt, ap);
		va_end(ap);
	}
	__atomic_store_n(&failed, true, __ATOMIC_RELAXED);
}

static u64 *oracle(u64 *table, u64 page, int writer)
{
	return &table[page * MAX_THREADS + writer];
}

/* ---- the operations ---- */

static void op_own(struct thread *t, u64 page)
{
	u64 *is = oracle(issued, page, t->nr), *was = oracle(stored, page, t->nr);
	char *w = word(t, page, W_OWN + t->nr);
	u64 v = load64(w);

	if (v != *was)
		wrong(t, "page %llu: own counter is %llu, %llu was stored last", page, v, *was);
	store64(is, *was + 1);
	store64(w, *was + 1);
	store64(was, *was + 1);
	t->writes++;
}

static void op_read(struct thread *t, u64 page)
{
	int writer = next_random(&t->seed) % nr_threads;
	u64 *seen = oracle(t->seen, page, writer);
	u64 least = load64(oracle(stored, page, writer)), v, most;

	v = load64(word(t, page, W_OWN + writer));
	most = load64(oracle(issued, page, writer));
	if (span.self < 0 && (v < least || v > most))
		wrong(t, "page %llu: counter %d is %llu, stored %llu, issued %llu", page, writer,
		      v, least, most);
	if (v < *seen)
		wrong(t, "page %llu: counter %d went from %llu back to %llu", page, writer, *seen,
		      v);
	*seen = v;
	t->reads++;
}

static void op_atomic(struct thread *t, u64 page)
{
	xadd64(word(t, page, W_ATOMIC), 1);
	__atomic_fetch_add(&added[page], 1, __ATOMIC_RELAXED);
	t->atomics++;
}

static void op_locked(struct thread *t, u64 page)
{
	u64 *lock = (u64 *)word(t, page, W_LOCK), sum = 0, free = 0;
	u64 *w = (u64 *)word(t, page, W_LOCKED);
	int i;

	if (!__atomic_compare_exchange_n(lock, &free, t->nr + 1, false, __ATOMIC_SEQ_CST,
					 __ATOMIC_SEQ_CST)) {
		t->busy++;
		return;
	}
	for (i = 0; i < NR_LOCKED; i++)
		sum += load64(&w[i]) * (2 * i + 1);
	if (sum != load64(word(t, page, W_SUM)))
		wrong(t, "page %llu: words under the lock do not match their checksum", page);
	for (i = 0, sum = 0; i < NR_LOCKED; i++) {
		store64(&w[i], next_random(&t->seed));
		sum += load64(&w[i]) * (2 * i + 1);
	}
	store64(word(t, page, W_SUM), sum);
	if (__atomic_exchange_n(lock, 0, __ATOMIC_SEQ_CST) != (u64)t->nr + 1)
		wrong(t, "page %llu: the lock was taken by two", page);
	t->locked++;
}

/* The counter that lies half in this page and half in the next. */
static void op_split(struct thread *t, u64 page)
{
	if (page + 1 == span.pages)
		return;
	xadd64(split_word(t, page), 1);
	__atomic_fetch_add(&split_added[page], 1, __ATOMIC_RELAXED);
	t->splits++;
}

/* One instruction that reads one page and writes another. */
static void op_copy(struct thread *t, u64 page)
{
	u64 from = next_random(&t->seed) % span.pages;
	char *w = word(t, page, W_COPY + t->nr);

	if (load64(w) != t->copied[page])
		wrong(t, "page %llu: copied word is %llu, was %llu", page, load64(w),
		      t->copied[page]);
	move64(w, word(t, from, W_OWN + t->nr));
	t->copied[page] = *oracle(stored, from, t->nr);
	t->copies++;
}

/*
 * The kernel takes references to the page, then fetches what to write from another page, which may
 * have to come from another node: meanwhile the first must not leave.  Only pages 3, 7, 11... are
 * written this way and only pages 1, 5, 9... are fetched from: two such writers never wait for each
 * other.
 */
static void op_pin(struct thread *t, u64 page)
{
	u64 to = page | 3, from = (next_random(&t->seed) % span.pages & ~3ULL) | 1;
	struct iovec local, remote;

	if (to >= span.pages || from >= span.pages)
		return;
	if (load64(word(t, to, W_PIN + t->nr)) != t->pinned[to])
		wrong(t, "page %llu: word written by reference is %llu, was %llu", to,
		      load64(word(t, to, W_PIN + t->nr)), t->pinned[to]);
	local = (struct iovec){ word(t, from, W_OWN + t->nr), 8 };
	remote = (struct iovec){ word(t, to, W_PIN + t->nr), 8 };
	if (process_vm_writev(getpid(), &local, 1, &remote, 1, 0) != 8)
		wrong(t, "page %llu: process_vm_writev: %s", to, strerror(errno));
	t->pinned[to] = *oracle(stored, from, t->nr);
	t->pins++;
}

/* Source and destination lie across two pages each: nothing happens before all four are here. */
static void op_cross(struct thread *t)
{
	u64 a = next_random(&t->seed) % (span.pages / 4) * 4;

	move64(split_word(t, a), split_word(t, a + 2));
	t->copies++;
}

static char *filled_word(const struct thread *t, u64 page, int i)
{
	return word(t, page, 64 * i + i);
}

/* What a word held last is known to who holds the page; to others, whose page it was made for. */
static void op_clear(struct thread *t, u64 page)
{
	unsigned int r = next_random(&t->seed), what = r % 4, i;
	u64 v;

	if (what < 2) {
		v = load64(filled_word(t, page, (r >> 8) % NR_FILLED));
		if (v && v >> 32 != page + 1)
			wrong(t, "page %llu: a word was made for page %llu", page,
			      (v >> 32) - 1);
		t->reads++;
		return;
	}
	if (__atomic_exchange_n(&held[page], 1, __ATOMIC_ACQUIRE)) {
		t->busy++;
		return;
	}
	if (what == 2) {
		for (i = 0; i < NR_FILLED; i++) {
			u64 *is = &filled[page * NR_FILLED + i];

			v = load64(filled_word(t, page, i));
			if (v != *is)
				wrong(t, "page %llu: word %d is %llx, was %llx", page, i, v, *is);
			*is = (page + 1) << 32 | (next_random(&t->seed) & 0xffffffff);
			store64(filled_word(t, page, i), *is);
		}
		t->writes++;
	} else {
		span_clear(t->map + page * PAGE, PAGE);
		memset(&filled[page * NR_FILLED], 0, NR_FILLED * sizeof(u64));
		t->clears++;
	}
	__atomic_store_n(&held[page], 0, __ATOMIC_RELEASE);
}

static void one_op(struct thread *t, u64 page)
{
	unsigned int r = next_random(&t->seed) % 100;

	if (r < 45)
		op_read(t, page);
	else if (r < 70)
		op_own(t, page);
	else if (r < 82)
		op_atomic(t, page);
	else if (r < 92)
		op_locked(t, page);
	else if (r < 96)
		op_split(t, page);
	else
		op_copy(t, page);
}

static void *run_thread(void *arg)
{
	struct thread *t = arg;

	/* Or the first would be through before the last is there. */
	pthread_barrier_wait(&start);
	while (!__atomic_load_n(&failed, __ATOMIC_RELAXED)) {
		u64 page = next_random(&t->seed) % span.pages;
		unsigned int n = 1 + next_random(&t->seed) % burst, i;

		if (__atomic_fetch_add(&ops_done, n, __ATOMIC_RELAXED) >= nr_ops)
			break;
		for (i = 0; i < n; i++) {
			if (cross)
				op_cross(t);
			else if (clear)
				op_clear(t, page);
			else if (pin && !(next_random(&t->seed) % 4))
				op_pin(t, page);
			else
				one_op(t, page);
		}
		t->ops += n;
		/* The other nodes' threads may share this CPU. */
		sched_yield();
	}
	return NULL;
}

/* ---- a page reference keeps the contents here ---- */

struct store_later {
	char *at;
	u64 value;
	bool done;
};

static void *store_thread(void *arg)
{
	struct store_later *s = arg;

	store64(s->at, s->value);
	__atomic_store_n(&s->done, true, __ATOMIC_SEQ_CST);
	return NULL;
}

/*
 * A page of node 0 is in a pipe; node 1 writes to it.  The write must wait until the pipe is
 * read, and the reader must get what was there before.
 */
static void test_pipe(void)
{
	struct store_later later = { .at = span.map[1] + 8 * W_COPY, .value = 2 };
	struct iovec iov = { span.map[0], PAGE };
	struct numaspan_stats st;
	u64 deadline = now_ns() + timeout_ms * 1000000ULL, got[PAGE / 8], before;
	bool done = false, waited = false;
	pthread_t t;
	int fd[2];

	store64(span.map[0] + 8 * W_COPY, 1);
	span_stats(span.fd[0], &st);
	before = st.drain_waits;
	if (pipe(fd) || vmsplice(fd[1], &iov, 1, 0) != PAGE)
		tap_bail("vmsplice of a page of the span: %s", strerror(errno));
	if (pthread_create(&t, NULL, store_thread, &later))
		tap_bail("no thread");
	/* Until the node says that it waits for the reference, or the write went through. */
	while (!done && !waited && now_ns() < deadline) {
		span_stats(span.fd[0], &st);
		waited = st.drain_waits > before;
		done = __atomic_load_n(&later.done, __ATOMIC_SEQ_CST);
		sched_yield();
	}
	if (read(fd[0], got, PAGE) != PAGE)
		tap_bail("read of the pipe: %s", strerror(errno));
	pthread_join(t, NULL);
	tap_ok(waited && !done && got[W_COPY] == 1 && load64(span.map[0] + 8 * W_COPY) == 2,
	       "a write waits while a pipe refers to the page: %s, the pipe's word is %llu",
	       done ? "it did not" : waited ? "it did" : "nothing happened", got[W_COPY]);
	store64(span.map[0] + 8 * W_COPY, 0);
	close(fd[0]);
	close(fd[1]);
}

/* ---- the other process ---- */

static void control_io(void *buf, size_t len, bool out)
{
	char *p = buf;

	while (len) {
		ssize_t n = out ? write(control, p, len) : read(control, p, len);

		if (n <= 0)
			tap_bail("the other process is gone: %s", n ? strerror(errno) : "closed");
		p += n;
		len -= n;
	}
}

/* Node 0 speaks first. */
static void exchange(void *mine, void *theirs, size_t len)
{
	if (span.self == 0) {
		control_io(mine, len, true);
		control_io(theirs, len, false);
	} else {
		control_io(theirs, len, false);
		control_io(mine, len, true);
	}
}

/* Go on when the other process is here, too. */
static void meet(void)
{
	char mine = 1, theirs = 0;

	if (control >= 0)
		exchange(&mine, &theirs, 1);
}

static void add_theirs(u64 *table, u64 entries)
{
	u64 *theirs = calloc(entries, sizeof(*theirs)), i;

	if (!theirs)
		tap_bail("no memory for the other process's counts");
	exchange(table, theirs, entries * sizeof(*theirs));
	/* A counter of one writer is 0 in the other process's table. */
	for (i = 0; i < entries; i++)
		table[i] += theirs[i];
	free(theirs);
}

static void parse_address(const char *s, struct sockaddr_in *a)
{
	const char *colon = strrchr(s, ':');
	char host[64];

	memset(a, 0, sizeof(*a));
	a->sin_family = AF_INET;
	if (colon && colon - s < (long)sizeof(host)) {
		memcpy(host, s, colon - s);
		host[colon - s] = '\0';
		a->sin_port = htons(atoi(colon + 1));
	}
	if (!a->sin_port || inet_pton(AF_INET, host, &a->sin_addr) != 1) {
		fprintf(stderr, "devstress: '%s': expected an address such as 10.0.0.1:7000\n", s);
		exit(2);
	}
}

static int connect_until(const struct sockaddr_in *a)
{
	u64 deadline = now_ns() + timeout_ms * 1000000ULL;

	for (;;) {
		int s = socket(AF_INET, SOCK_STREAM, 0);

		if (s >= 0 && !connect(s, (const void *)a, sizeof(*a)))
			return s;
		if (now_ns() > deadline)
			tap_bail("connect to %s: %s", inet_ntoa(a->sin_addr), strerror(errno));
		close(s);
		sched_yield();
	}
}

/* Two connections: the first for this program, the second for the module. */
static void span_up_two(const char *listen_at, const char *connect_to)
{
	struct sockaddr_in a;
	int l, data, err, on = 1;

	parse_address(listen_at ?: connect_to, &a);
	if (listen_at) {
		l = socket(AF_INET, SOCK_STREAM, 0);
		setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (l < 0 || bind(l, (void *)&a, sizeof(a)) || listen(l, 2))
			tap_bail("listen on %s: %s", listen_at, strerror(errno));
		control = accept(l, NULL, NULL);
		data = accept(l, NULL, NULL);
		close(l);
	} else {
		control = connect_until(&a);
		data = connect_until(&a);
	}
	if (control < 0 || data < 0)
		tap_bail("connection to the other process: %s", strerror(errno));
	/* Both must name the same span. */
	span.args.span_id = SPAN_ID;
	span.pages = 2 * pages_per_node;
	span.fd[span.self] = span_create(&span.args, span.self);
	if (span.args.transport == NUMASPAN_RDMA)
		err = span_connect_rdma(span.fd[span.self], !span.self, span.self, span_rdma_ip(),
					rdma_peer);
	else
		err = span_connect(span.fd[span.self], !span.self, data);
	if (err)
		tap_bail("NUMASPAN_CONNECT: %s", strerror(err));
	close(data);
	/* The one that dials must find a listener. */
	meet();
	err = span_start(&span.fd[span.self], 1);
	if (err)
		tap_bail("NUMASPAN_START: %s", strerror(err));
	span.map[span.self] = span_map(span.fd[span.self], span.pages);
	meet();
}

/* ---- verdict ---- */

/* In the end every node sees what the oracle says. */
static void audit(int node)
{
	struct thread t = { .map = span.map[node] };
	long own = 0, atomics = 0, splits = 0;
	u64 page, v;
	int w;

	for (page = 0; page < span.pages; page++) {
		for (w = 0; w < nr_threads; w++)
			own += load64(word(&t, page, W_OWN + w)) != *oracle(stored, page, w);
		atomics += load64(word(&t, page, W_ATOMIC)) != added[page];
		if (page + 1 == span.pages)
			continue;
		memcpy(&v, split_word(&t, page), sizeof(v));
		splits += v != split_added[page];
	}
	tap_ok(!own && !atomics && !splits,
	       "node %d sees the end: wrong are %ld plain, %ld atomic, %ld split counters", node,
	       own, atomics, splits);
}

/* The same with --clear; and pages were cleared without their contents. */
static void audit_filled(int node, u64 clears)
{
	struct thread t = { .map = span.map[node] };
	struct numaspan_stats st;
	u64 page, wrong = 0;
	int i;

	for (page = 0; page < span.pages; page++)
		for (i = 0; i < NR_FILLED; i++)
			wrong += load64(filled_word(&t, page, i)) != filled[page * NR_FILLED + i];
	span_stats(span.fd[node], &st);
	tap_ok(!wrong && st.cleared && st.cleared < clears,
	       "node %d sees the end: %llu words wrong; it cleared %llu pages of others", node,
	       wrong, st.cleared);
}

/* What each node counted; true if what was sent has arrived and no bound was crossed. */
static void report_stats(u64 ops)
{
	u64 in = 0, out = 0, stolen = 0, deadline = now_ns() + timeout_ms * 1000000ULL;
	bool bounded = true;
	struct numaspan_stats st;
	int i;

	/* Evictions may still be on their way. */
	do {
		in = 0;
		out = 0;
		for (i = 0; i < span.args.nr_nodes; i++) {
			if (span.fd[i] < 0)
				continue;
			span_stats(span.fd[i], &st);
			in += st.transfers_in;
			out += st.transfers_out;
		}
	} while (span.self < 0 && in != out && now_ns() < deadline && !sched_yield());

	for (i = 0; i < span.args.nr_nodes; i++) {
		if (span.fd[i] < 0)
			continue;
		span_stats(span.fd[i], &st);
		tap_diag("node %d: transfers in %llu out %llu, messages %llu, evicted %llu", i,
			 st.transfers_in, st.transfers_out, st.msgs, st.evicted);
		tap_diag("node %d: held %llu, stolen %llu, drain waits %llu, stale %llu", i,
			 st.held, st.stolen, st.drain_waits, st.stale);
		tap_diag("node %d: cache peak %llu of %llu pages", i, st.cache_peak,
			 st.cache_limit);
		bounded &= st.cache_peak <= st.cache_limit;
		stolen += st.stolen;
	}
	if (span.self < 0)
		tap_ok(in == out, "every transfer arrived: %llu sent, %llu received", out, in);
	tap_ok(bounded, "copies of remote pages stay within the bound");
	tap_diag("%.3f transfers an operation", (double)in / ops);
	/*
	 * The promise of the hold: what was moved is used before it moves on, an instruction gets
	 * all its pages at once.  With it 0.01 to 0.05 pages move an operation, without 0.2 to 0.4.
	 */
	if (cross) {
		tap_ok(stolen <= 3 + in / 1000, "of %llu pages moved, %llu left again unused", in,
		       stolen);
		tap_ok(in * 10 <= (u64)ops, "at most a transfer for 10 operations: %llu for %llu",
		       in, (unsigned long long)ops);
	}
}

static void verdict(void)
{
	u64 ops = 0, errors = 0, reads = 0, writes = 0, atomics = 0, locked = 0, busy = 0;
	u64 splits = 0, copies = 0, pins = 0, clears = 0;
	char what[SPAN_TEXT];
	struct thread *t;
	bool good;
	int i;

	for (t = thread; t < thread + nr_threads; t++) {
		ops += t->ops;
		errors += t->errors;
		reads += t->reads;
		writes += t->writes;
		atomics += t->atomics;
		locked += t->locked;
		busy += t->busy;
		splits += t->splits;
		copies += t->copies;
		pins += t->pins;
		clears += t->clears;
	}
	tap_ok(!errors && ops, "%llu checked operations, %llu wrong", ops, errors);
	for (t = thread; t < thread + nr_threads; t++)
		if (t->errors)
			tap_diag("thread %d on node %d: %s", t->nr, t->node, t->error);
	tap_diag("reads %llu, writes %llu, atomics %llu, locked %llu (busy %llu)", reads, writes,
		 atomics, locked, busy);
	tap_diag("across pages %llu, copied %llu, pinned %llu, cleared %llu", splits, copies, pins,
		 clears);
	meet();
	if (!errors && clear)
		for (i = 0; i < span.args.nr_nodes; i++)
			audit_filled(i, clears);
	if (!errors && !cross && !clear) {
		if (control >= 0) {
			add_theirs(stored, span.pages * MAX_THREADS);
			add_theirs(added, span.pages);
			add_theirs(split_added, span.pages);
		}
		for (i = 0; i < span.args.nr_nodes; i++)
			if (span.fd[i] >= 0)
				audit(i);
	}
	report_stats(ops ?: 1);
	/* The other process no longer moves pages, ... */
	meet();
	good = span_copies(&span, what);
	tap_ok(good, "%s", what);
	/* ... and does not leave while this one still looks. */
	meet();
}

static void *table(u64 entries)
{
	void *p = calloc(entries, sizeof(u64));

	if (!p)
		tap_bail("no memory for %llu entries of the oracle", entries);
	return p;
}

static void run_all(void)
{
	u64 t0 = now_ns(), last = 0, stuck_since = t0;
	int i, here = 0;

	for (i = 0; i < nr_threads; i++)
		here += span.fd[i / threads_per_node] >= 0;
	if (pthread_barrier_init(&start, NULL, here))
		tap_bail("no barrier for %d threads", here);
	for (i = 0; i < nr_threads; i++) {
		struct thread *t = &thread[i];

		t->nr = i;
		t->node = i / threads_per_node;
		t->map = span.map[t->node];
		t->seed = mix64(i) ^ mix64(nr_ops);
		t->seen = table(span.pages * MAX_THREADS);
		t->copied = table(span.pages);
		t->pinned = table(span.pages);
		if (span.fd[t->node] >= 0 && pthread_create(&t->handle, NULL, run_thread, t))
			tap_bail("thread %d cannot be started", i);
	}
	for (i = 0; i < nr_threads; i++) {
		struct timespec end;

		/* Progress is watched while the first thread runs; all end at the same count. */
		while (span.fd[thread[i].node] >= 0) {
			u64 done = __atomic_load_n(&ops_done, __ATOMIC_RELAXED);

			clock_gettime(CLOCK_REALTIME, &end);
			end.tv_sec++;
			if (!pthread_timedjoin_np(thread[i].handle, NULL, &end))
				break;
			if (done != last)
				stuck_since = now_ns();
			last = done;
			if (now_ns() - stuck_since > 3 * timeout_ms * 1000000ULL) {
				report_stats(done ?: 1);
				tap_bail("no progress for %llu ms after %llu operations",
					 3 * timeout_ms, done);
			}
		}
	}
	t0 = now_ns() - t0;
	tap_diag("%.1f s, %.0f operations a second", t0 / 1e9, ops_done / (t0 / 1e9));
}

static void print_usage(void)
{
	printf("usage: devstress [OPTION]...\n"
	       "Checked random accesses to a span on the bare device; TAP.\n"
	       "  --ops N            operations (1000000)\n"
	       "  --nodes N          nodes, 2 to 4 (2)\n"
	       "  --threads N        threads on each node (2)\n"
	       "  --pages N          home pages of each node (256)\n"
	       "  --burst N          most operations on a page before the next page (24)\n"
	       "  --cache N          bound on copies of remote pages (all of them)\n"
	       "  --transport T      loopback, tcp or rdma (loopback)\n"
	       "  --hold US          least time a node keeps a page (0: adaptive)\n"
	       "  --policy P         read-moves, serial, node-0, copy, sleep: as other systems do;\n"
	       "                     giantvm2020: all of them\n"
	       "  --timeout MS       of the span (10000)\n"
	       "  --pin              add writers that hold page references\n"
	       "  --cross            only instructions that need four pages\n"
	       "  --clear            pages cleared, written, compared and read; not with --node\n"
	       "  --unsafe WHAT      switch off drain, hold or inval: a test that must fail\n"
	       "  --node N           this process is node N of two ...\n"
	       "  --listen A:PORT    ... and waits for the other,\n"
	       "  --connect A:PORT   ... or goes to it\n"
	       "  --peer A           ... with rdma, its address (our own is in SPAN_RDMA)\n"
	       "Exit status: 0; 1 if a check failed; 2 for a bad option.\n");
}

static u64 parse_unsafe(const char *s)
{
	static const char * const names[] = { "drain", "hold", "inval" };
	static const u64 flags[] = { NUMASPAN_UNSAFE_NO_DRAIN, NUMASPAN_UNSAFE_NO_HOLD,
				     NUMASPAN_UNSAFE_NO_INVAL };

	return flags[span_choice("devstress", "--unsafe", s, names, 3)];
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "ops", required_argument, NULL, 'o' },
		{ "nodes", required_argument, NULL, 'n' },
		{ "threads", required_argument, NULL, 't' },
		{ "burst", required_argument, NULL, 'b' },
		{ "pages", required_argument, NULL, 'p' },
		{ "cache", required_argument, NULL, 'c' },
		{ "transport", required_argument, NULL, 'T' },
		{ "hold", required_argument, NULL, 'H' },
		{ "policy", required_argument, NULL, 'Y' },
		{ "timeout", required_argument, NULL, 'm' },
		{ "pin", no_argument, NULL, 'P' },
		{ "cross", no_argument, NULL, 'x' },
		{ "clear", no_argument, NULL, 'z' },
		{ "unsafe", required_argument, NULL, 'u' },
		{ "node", required_argument, NULL, 'N' },
		{ "peer", required_argument, NULL, 'R' },
		{ "listen", required_argument, NULL, 'l' },
		{ "connect", required_argument, NULL, 'C' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	const char *listen_at = NULL, *connect_to = NULL;
	int nodes = 2, transport = NUMASPAN_LOOPBACK, c, i;
	bool two, alone;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'o':
			nr_ops = span_number("devstress", "--ops", optarg, 1, 1L << 40);
			break;
		case 'n':
			nodes = span_number("devstress", "--nodes", optarg, 2, SPAN_MAX);
			break;
		case 't':
			threads_per_node = span_number("devstress", "--threads", optarg, 1,
						       MAX_THREADS / SPAN_MAX);
			break;
		case 'p':
			pages_per_node = span_number("devstress", "--pages", optarg, 4, 1 << 20);
			break;
		case 'b':
			burst = span_number("devstress", "--burst", optarg, 1, 100000);
			break;
		case 'c':
			cache_pages = span_number("devstress", "--cache", optarg, 64, 1 << 24);
			break;
		case 'T':
			transport = span_transport("devstress", optarg);
			break;
		case 'H':
			hold_us = span_number("devstress", "--hold", optarg, 0, 10000);
			break;
		case 'Y':
			policy = span_policy("devstress", optarg);
			break;
		case 'm':
			timeout_ms = span_number("devstress", "--timeout", optarg, 100, 600000);
			break;
		case 'P':
			pin = true;
			break;
		case 'x':
			cross = true;
			break;
		case 'z':
			clear = true;
			break;
		case 'u':
			unsafe = parse_unsafe(optarg);
			break;
		case 'N':
			span.self = span_number("devstress", "--node", optarg, 0, 1);
			break;
		case 'R':
			rdma_peer = optarg;
			break;
		case 'l':
			listen_at = optarg;
			break;
		case 'C':
			connect_to = optarg;
			break;
		case 'h':
			print_usage();
			return 0;
		default:
			return 2;
		}
	}
	alone = span.self < 0;
	two = listen_at || connect_to;
	if (two == alone || (listen_at && connect_to) || (two && nodes != 2)) {
		fprintf(stderr, "devstress: --node: expected with --listen or --connect\n");
		return 2;
	}
	if (clear + cross + pin > 1 || (clear && two)) {
		fprintf(stderr, "devstress: --clear: expected without --cross, --pin and --node\n");
		return 2;
	}

	for (i = 0; i < SPAN_MAX; i++)
		span.fd[i] = -1;
	nr_threads = nodes * threads_per_node;
	if (!cache_pages)
		cache_pages = nodes * pages_per_node + 64;
	span_args(&span.args, nodes, pages_per_node, cache_pages);
	span.args.transport = span.self >= 0 && !transport ? NUMASPAN_TCP : transport;
	span.args.timeout_ms = timeout_ms;
	span.args.hold_us = hold_us;
	span.args.policy = policy;
	span.args.unsafe = unsafe;
	if (span.self >= 0)
		span_up_two(listen_at, connect_to);
	else
		span_up(&span);
	span_catch_sigbus(&span);
	issued = table(span.pages * MAX_THREADS);
	stored = table(span.pages * MAX_THREADS);
	added = table(span.pages);
	split_added = table(span.pages);
	filled = table(span.pages * NR_FILLED);
	held = table(span.pages);
	for (i = 0; clear && i < nodes; i++)
		span_clears(span.fd[i]);
	tap_diag("%d threads on %d nodes, %llu pages", nr_threads, nodes, span.pages);
	if (pin && span.self < 0)
		test_pipe();
	run_all();
	verdict();
	span_down(&span);
	return tap_done();
}
