// SPDX-License-Identifier: GPL-2.0-only
/*
 * Is the memory of this machine what x86 promises, across NUMA nodes and across pages?
 *
 * Threads run on CPUs of different nodes and touch variables that lie on different pages, on one
 * page, or across the border of two.  Only outcomes that the architecture (x86-TSO) forbids are
 * failures; what was seen is counted and printed.  Every test is bounded by --rounds, every wait
 * by --timeout.  A round starts at a barrier, then each thread waits for a random time,
 * short or long, so that the accesses meet in many ways even where a page takes long to move.
 */
#define _GNU_SOURCE
#include <assert.h>
#include <getopt.h>
#include <linux/futex.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "../../bench/membench/topo.h"
#include "../tap.h"
#include "access.h"

#define PAGE		4096UL
#define MAX_THREADS	64
#define MAX_REGS	4
#define MAX_VARS	2
#define MPOL_BIND	2

static struct topo topo;
static long rounds = 200;
static long timeout_s = 120;
static const char *walk_mem = "80%";
static long walk_fill = -1, walk_verify = -1;

/* Plain accesses that the compiler neither moves nor merges nor splits. */
static inline void store32(void *p, unsigned int v)
{
	asm volatile("movl %1, %0" : "=m" (*(unsigned int *)p) : "r" (v) : "memory");
}

static inline unsigned int load32(const void *p)
{
	unsigned int v;

	asm volatile("movl %1, %0" : "=r" (v) : "m" (*(const unsigned int *)p) : "memory");
	return v;
}

static inline u64 xadd64(void *p, u64 v)
{
	asm volatile("lock xaddq %0, %1" : "+r" (v), "+m" (*(u64 *)p) : : "memory");
	return v;
}

static inline void fence(void)
{
	asm volatile("mfence" : : : "memory");
}

static inline void pause_a_while(u64 n)
{
	while (n--)
		asm volatile("pause");
}

/* ---- threads ---- */

/* Thread t runs on node t mod nodes, on that node's CPUs in turn. */
static int cpu_for(int t)
{
	int want = t % topo.nr_nodes, nth = t / topo.nr_nodes, i, n = 0, on_node = 0;

	for (i = 0; i < topo.nr_cpus; i++)
		on_node += topo.node[i] == want;
	if (!on_node)
		return topo.cpu[t % topo.nr_cpus];
	for (i = 0; i < topo.nr_cpus; i++)
		if (topo.node[i] == want && n++ == nth % on_node)
			return topo.cpu[i];
	return topo.cpu[0];
}

/* The first CPU of a node, by the node's number; -1 if it has none. */
static int cpu_of_node(int id)
{
	int i;

	for (i = 0; i < topo.nr_cpus; i++)
		if (topo.id[topo.node[i]] == id)
			return topo.cpu[i];
	return -1;
}

struct thread {
	pthread_t handle;
	int nr;
	int cpu;
	void (*run)(int nr, void *arg);
	void *arg;
};

static const char *running;

static void *thread_main(void *arg)
{
	struct thread *th = arg;
	int err = topo_pin(th->cpu);

	if (err)
		tap_bail("%s: CPU %d: %s", running, th->cpu, strerror(err));
	th->run(th->nr, th->arg);
	return NULL;
}

/* Run @n threads to their end; one that hangs is named and ends the program. */
static void run_threads(const char *name, int n, void (*run)(int nr, void *arg), void *arg)
{
	struct thread th[MAX_THREADS];
	struct timespec end;
	int t, err;

	running = name;
	for (t = 0; t < n; t++) {
		th[t] = (struct thread){ .nr = t, .cpu = cpu_for(t), .run = run, .arg = arg };
		err = pthread_create(&th[t].handle, NULL, thread_main, &th[t]);
		if (err)
			tap_bail("%s: thread %d: %s", name, t, strerror(err));
	}
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += timeout_s;
	for (t = 0; t < n; t++) {
		err = pthread_timedjoin_np(th[t].handle, NULL, &end);
		if (err)
			tap_bail("%s: thread %d on CPU %d did not end in %ld s", name, t,
				 th[t].cpu, timeout_s);
	}
}

static int nr_workers(void)
{
	int n = topo.nr_cpus < 8 ? topo.nr_cpus : 8;

	return n < 2 ? 2 : n;
}

/* Pages of our own; @node binds them, where the kernel has NUMA and @node is not negative. */
static void *map_pages(size_t pages, int node)
{
	void *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);
	unsigned long mask = 1UL << (node & 63);

	if (p == MAP_FAILED)
		tap_bail("mmap of %zu pages: %s", pages, strerror(errno));
	/* A hint to the test, not to its verdict: a node may have no memory to give. */
	if (topo.numa && node >= 0)
		syscall(SYS_mbind, p, pages * PAGE, MPOL_BIND, &mask, TOPO_NODES + 1, 0);
	madvise(p, pages * PAGE, MADV_NOHUGEPAGE);
	memset(p, 0, pages * PAGE);
	return p;
}

/*
 * Wait until *@p is not @old, briefly by spinning, then asleep: a machine with fewer real CPUs than
 * it shows would otherwise spend its time on those that wait.  Who changes *@p calls wake_all().
 */
static void wait_change(u64 *p, u64 old, const char *what)
{
	struct timespec second = { .tv_sec = 1 };
	u64 deadline = 0;
	int spins;

	for (spins = 0; spins < 500; spins++) {
		if (load64(p) != old)
			return;
		asm volatile("pause");
	}
	while (load64(p) == old) {
		if (!deadline)
			deadline = now_ns() + timeout_s * 1000000000ULL;
		else if (now_ns() > deadline)
			tap_bail("%s: waited %ld s for %s", running, timeout_s, what);
		syscall(SYS_futex, p, FUTEX_WAIT_PRIVATE, (unsigned int)old, &second, NULL, 0);
	}
}

static void wake_all(u64 *p)
{
	syscall(SYS_futex, p, FUTEX_WAKE_PRIVATE, MAX_THREADS, NULL, NULL, 0);
}

static inline u64 rdtsc(void)
{
	unsigned int lo, hi;

	asm volatile("rdtsc" : "=a" (lo), "=d" (hi) : : "memory");
	return lo | (u64)hi << 32;
}

/*
 * A barrier.  Who waits reads a page that changes once a turn, and leaves alone the one on which
 * the others arrive.  The last to arrive names a time a little ahead, so that all can start
 * together, however long their wake-ups take; the lead follows what they take.
 */
struct barrier {
	u64 turn;
	u64 start;
	u64 lead;
	long n;
	char pad[PAGE - 32];
	u64 arrived;
	char end[PAGE - 8];
};

#define LEAD_MOST	4000000ULL

static struct barrier *new_barrier(void)
{
	struct barrier *b = map_pages(sizeof(struct barrier) / PAGE, -1);

	b->lead = 100000;
	return b;
}

static void barrier_wait(struct barrier *b)
{
	u64 turn = load64(&b->turn);

	if (xadd64(&b->arrived, 1) + 1 == (turn + 1) * b->n) {
		store64(&b->lead, load64(&b->lead) - load64(&b->lead) / 16);
		store64(&b->start, rdtsc() + load64(&b->lead));
		store64(&b->turn, turn + 1);
		wake_all(&b->turn);
		return;
	}
	wait_change(&b->turn, turn, "the other threads at a barrier");
}

/* Like barrier_wait(), and all leave at the same time. */
static void start_together(struct barrier *b)
{
	u64 start, lead;

	barrier_wait(b);
	start = load64(&b->start);
	lead = load64(&b->lead);
	if (rdtsc() > start && lead < LEAD_MOST)
		store64(&b->lead, lead + lead / 8);
	/* Clocks that are far apart are no help. */
	while (start - rdtsc() <= LEAD_MOST)
		asm volatile("pause");
}

/* ---- the classic shapes ---- */

struct shape {
	const char *name;
	int threads;
	int regs;
	bool finals;	/* the variables' last values are part of the outcome */
	void (*run)(int t, unsigned int *v[], unsigned int *r);
	bool (*forbidden)(const unsigned int *r, const unsigned int *v);
};

static void run_sb(int t, unsigned int *v[], unsigned int *r)
{
	store32(v[t], 1);
	r[t] = load32(v[!t]);
}

static void run_sb_fence(int t, unsigned int *v[], unsigned int *r)
{
	store32(v[t], 1);
	fence();
	r[t] = load32(v[!t]);
}

static bool bad_sb_fence(const unsigned int *r, const unsigned int *v)
{
	(void)v;
	return !r[0] && !r[1];
}

static void run_mp(int t, unsigned int *v[], unsigned int *r)
{
	if (!t) {
		store32(v[0], 1);
		store32(v[1], 1);
	} else {
		r[0] = load32(v[1]);
		r[1] = load32(v[0]);
	}
}

static bool bad_mp(const unsigned int *r, const unsigned int *v)
{
	(void)v;
	return r[0] && !r[1];
}

static void run_lb(int t, unsigned int *v[], unsigned int *r)
{
	r[t] = load32(v[t]);
	store32(v[!t], 1);
}

static bool bad_lb(const unsigned int *r, const unsigned int *v)
{
	(void)v;
	return r[0] && r[1];
}

static void run_2_2w(int t, unsigned int *v[], unsigned int *r)
{
	(void)r;
	store32(v[t], 1);
	store32(v[!t], 2);
}

static bool bad_2_2w(const unsigned int *r, const unsigned int *v)
{
	(void)r;
	return v[0] == 1 && v[1] == 1;
}

static void run_iriw(int t, unsigned int *v[], unsigned int *r)
{
	if (t < 2) {
		store32(v[t], 1);
	} else if (t == 2) {
		r[0] = load32(v[0]);
		r[1] = load32(v[1]);
	} else {
		r[2] = load32(v[1]);
		r[3] = load32(v[0]);
	}
}

static bool bad_iriw(const unsigned int *r, const unsigned int *v)
{
	(void)v;
	return r[0] && !r[1] && r[2] && !r[3];
}

static void run_wrc(int t, unsigned int *v[], unsigned int *r)
{
	if (!t) {
		store32(v[0], 1);
	} else if (t == 1) {
		r[0] = load32(v[0]);
		store32(v[1], 1);
	} else {
		r[1] = load32(v[1]);
		r[2] = load32(v[0]);
	}
}

static bool bad_wrc(const unsigned int *r, const unsigned int *v)
{
	(void)v;
	return r[0] && r[1] && !r[2];
}

static void run_r(int t, unsigned int *v[], unsigned int *r)
{
	if (!t) {
		store32(v[0], 1);
		store32(v[1], 1);
	} else {
		store32(v[1], 2);
		fence();
		r[0] = load32(v[0]);
	}
}

static bool bad_r(const unsigned int *r, const unsigned int *v)
{
	return v[1] == 2 && !r[0];
}

static void run_corr(int t, unsigned int *v[], unsigned int *r)
{
	if (!t) {
		store32(v[0], 1);
		store32(v[0], 2);
	} else {
		r[0] = load32(v[0]);
		r[1] = load32(v[0]);
	}
}

static bool bad_corr(const unsigned int *r, const unsigned int *v)
{
	return r[1] < r[0] || v[0] != 2;
}

static const struct shape shapes[] = {
	{ "SB", 2, 2, false, run_sb, NULL },
	{ "SB+mfence", 2, 2, false, run_sb_fence, bad_sb_fence },
	{ "MP", 2, 2, false, run_mp, bad_mp },
	{ "LB", 2, 2, false, run_lb, bad_lb },
	{ "2+2W", 2, 0, true, run_2_2w, bad_2_2w },
	{ "IRIW", 4, 4, false, run_iriw, bad_iriw },
	{ "WRC", 3, 3, false, run_wrc, bad_wrc },
	{ "R", 2, 1, true, run_r, bad_r },
	{ "CoRR", 2, 2, true, run_corr, bad_corr },
};

#define NR_SHAPES	((int)(sizeof(shapes) / sizeof(*shapes)))

struct shape_run {
	const struct shape *shape;
	struct barrier *barrier;
	unsigned int *v[MAX_VARS];
	unsigned int *reg[MAX_THREADS];	/* each thread's own page */
	long bad;
	/* Two bits for each register, then for each variable. */
	unsigned int seen[1 << (2 * (MAX_REGS + MAX_VARS))];
};

static void judge_round(struct shape_run *s)
{
	unsigned int r[MAX_REGS] = { 0 }, v[MAX_VARS], code = 0;
	int i, t;

	/* A register is written by one thread only; the others leave it 0. */
	for (t = 0; t < s->shape->threads; t++)
		for (i = 0; i < MAX_REGS; i++)
			r[i] |= s->reg[t][i];
	for (i = 0; i < MAX_VARS; i++)
		v[i] = load32(s->v[i]);
	if (s->shape->forbidden && s->shape->forbidden(r, v))
		s->bad++;
	for (i = 0; i < MAX_REGS; i++)
		code |= (r[i] & 3) << (2 * i);
	for (i = 0; i < MAX_VARS && s->shape->finals; i++)
		code |= (v[i] & 3) << (2 * (MAX_REGS + i));
	s->seen[code]++;
}

static void shape_thread(int t, void *arg)
{
	struct shape_run *s = arg;
	u64 seed = mix64(t + 1);
	long n;

	for (n = 0; n < rounds; n++) {
		u64 x = next_random(&seed);

		start_together(s->barrier);
		pause_a_while((x >> 8) & ((1ULL << (x & 15)) - 1));
		s->shape->run(t, s->v, s->reg[t]);
		barrier_wait(s->barrier);
		if (t)
			continue;
		judge_round(s);
		store32(s->v[0], 0);
		store32(s->v[1], 0);
	}
}

static void print_outcomes(const struct shape_run *s, u64 ns)
{
	char line[1024] = "";
	unsigned int code, at = 0;
	int i;

	for (code = 0; code < sizeof(s->seen) / sizeof(*s->seen); code++) {
		if (!s->seen[code] || at > sizeof(line) - 64)
			continue;
		at += sprintf(line + at, " ");
		for (i = 0; i < s->shape->regs; i++)
			at += sprintf(line + at, "%u", code >> (2 * i) & 3);
		for (i = MAX_REGS; i < MAX_REGS + MAX_VARS && s->shape->finals; i++)
			at += sprintf(line + at, "%s%u", i == MAX_REGS ? "/" : "",
				      code >> (2 * i) & 3);
		at += sprintf(line + at, ":%u", s->seen[code]);
	}
	tap_diag("outcomes (registers%s:times)%s; %llu us a round",
		 s->shape->finals ? "/memory" : "", line, ns / 1000 / rounds);
}

static void run_shape(const struct shape *shape, bool one_page)
{
	struct shape_run *s = map_pages(sizeof(*s) / PAGE + 1, -1);
	char *x = map_pages(1, topo.id[0]);
	char *y = one_page ? x + 1024 : map_pages(1, topo.id[topo.nr_nodes - 1]);
	u64 began = now_ns();
	int t;

	s->shape = shape;
	s->barrier = new_barrier();
	s->barrier->n = shape->threads;
	s->v[0] = (unsigned int *)x;
	s->v[1] = (unsigned int *)y;
	for (t = 0; t < shape->threads; t++)
		s->reg[t] = map_pages(1, -1);
	run_threads(shape->name, shape->threads, shape_thread, s);
	tap_ok(!s->bad, "%s, variables on %s: %ld forbidden outcomes in %ld rounds%s", shape->name,
	       one_page ? "one page" : "two pages", s->bad, rounds,
	       shape->forbidden ? "" : " (none is forbidden)");
	print_outcomes(s, now_ns() - began);
	for (t = 0; t < shape->threads; t++)
		munmap(s->reg[t], PAGE);
	munmap(s->barrier, sizeof(*s->barrier));
	munmap(x, PAGE);
	if (!one_page)
		munmap(y, PAGE);
	munmap(s, (sizeof(*s) / PAGE + 1) * PAGE);
}

static void test_shapes(void)
{
	int i;

	for (i = 0; i < NR_SHAPES; i++) {
		run_shape(&shapes[i], false);
		/* One variable has no second page to be on. */
		if (shapes[i].run != run_corr)
			run_shape(&shapes[i], true);
	}
}

/* ---- atomic counters ---- */

struct atomics {
	u64 xadd;
	u64 cmpxchg;
	u64 pair[2] __attribute((aligned(16)));
	u64 tickets[MAX_THREADS];	/* sum of what xadd returned */
	unsigned int plain[MAX_THREADS];	/* one writer each, neighbours in one line */
	struct barrier *barrier;
};

static bool add_pair(u64 *pair)
{
	u64 lo = load64(pair), hi = load64(pair + 1);
	bool done;

	asm volatile("lock cmpxchg16b %1"
		     : "=@ccz" (done), "+m" (*(unsigned __int128 *)pair), "+a" (lo), "+d" (hi)
		     : "b" (lo + 1), "c" (hi + 2)
		     : "memory");
	return done;
}

/*
 * The flags, but for IF, after a comparison of N + 1 and N, which
 * sets none, and a cmpxchg16b that sets ZF.  In an emulator that computes flags late a part of the
 * comparison's operands may get in; these would be AC and ID, which do no harm.
 */
static u64 flags_of_pair(u64 *pair)
{
	u64 flags, lo = load64(pair), hi = load64(pair + 1), less = 0x240000;

	asm volatile("lea -128(%%rsp), %%rsp\n\t"
		     "pushfq\n\t"
		     "popfq\n\t"
		     "cmp %[less], %[more]\n\t"
		     "lock cmpxchg16b (%[pair])\n\t"
		     "pushfq\n\t"
		     "pop %[flags]\n\t"
		     "lea 128(%%rsp), %%rsp"
		     : [flags] "=&r" (flags), "+a" (lo), "+d" (hi)
		     : [pair] "r" (pair), [less] "r" (less), [more] "r" (less + 1), "b" (lo),
		       "c" (hi)
		     : "memory", "cc");
	return flags & ~0x200ULL;
}

static void atomics_thread(int t, void *arg)
{
	struct atomics *a = arg;
	u64 sum = 0;
	long n;

	barrier_wait(a->barrier);
	for (n = 0; n < rounds * 10; n++) {
		u64 old = load64(&a->cmpxchg);

		sum += xadd64(&a->xadd, 1);
		while (!__atomic_compare_exchange_n(&a->cmpxchg, &old, old + 3, false,
						    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			;
		while (!add_pair(a->pair))
			;
		store32(&a->plain[t], load32(&a->plain[t]) + 1);
	}
	store64(&a->tickets[t], sum);
}

static void test_atomics(void)
{
	struct atomics *a = map_pages(1, -1);
	int n = nr_workers(), t, wrong = 0;
	u64 total = rounds * 10ULL * n, tickets = 0, flags;

	static_assert(sizeof(*a) <= PAGE, "one page");
	a->barrier = new_barrier();
	a->barrier->n = n;
	run_threads("atomics", n, atomics_thread, a);
	for (t = 0; t < n; t++) {
		tickets += a->tickets[t];
		wrong += a->plain[t] != rounds * 10;
	}
	tap_ok(a->xadd == total, "xadd of %d threads: %llu of %llu", n, a->xadd, total);
	tap_ok(tickets == total * (total - 1) / 2, "xadd gave each value to one thread");
	tap_ok(a->cmpxchg == 3 * total, "cmpxchg: %llu of %llu", a->cmpxchg, 3 * total);
	tap_ok(a->pair[0] == total && a->pair[1] == 2 * total,
	       "cmpxchg16b: %llu, %llu of %llu, %llu", a->pair[0], a->pair[1], total,
	       2 * total);
	flags = flags_of_pair(a->pair);
	tap_ok(flags == 0x42, "cmpxchg16b sets ZF and leaves the other flags: %#llx", flags);
	tap_ok(!wrong, "plain counters of one writer each on the same page: %d wrong", wrong);
	munmap(a->barrier, sizeof(*a->barrier));
	munmap(a, PAGE);
}

/* ---- accesses across a page border ---- */

static __thread sigjmp_buf escape;
static __thread bool armed;

static void on_fault(int sig)
{
	if (armed)
		siglongjmp(escape, sig);
	signal(sig, SIG_DFL);
}

/* Faults in an armed thread jump back to its sigsetjmp(). */
static void catch_faults(void)
{
	struct sigaction sa = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };

	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
}

struct split {
	char *border;		/* first byte of the second page */
	struct barrier *barrier;
	long rounds;
	long torn;
	long backwards;
	long lost;
};

static void split_atomic_thread(int t, void *arg)
{
	struct split *s = arg;
	long n;

	barrier_wait(s->barrier);
	for (n = 0; n < s->rounds; n++) {
		xadd64(s->border - 3, 1);
		/* Neighbours on both sides, one writer each: no byte of theirs may be lost. */
		if (t < 8) {
			s->border[-32 - t]++;
			s->border[32 + t]++;
		}
	}
}

static bool split_allowed(const struct split *s)
{
	catch_faults();
	if (sigsetjmp(escape, 1)) {
		armed = false;
		return false;
	}
	armed = true;
	xadd64(s->border - 3, 0);
	armed = false;
	return true;
}

static void test_split_atomic(struct split *s)
{
	u64 sum, t0 = now_ns();
	int n = nr_workers(), t;

	if (!split_allowed(s)) {
		tap_skip("atomic across two pages", "this CPU and kernel forbid split locks");
		return;
	}
	s->rounds = rounds;
	/* A kernel that slows split locks down makes each take 10 ms and more. */
	if (now_ns() - t0 > 5000000)
		s->rounds = rounds / 10 + 1;
	s->barrier->n = n;
	run_threads("split atomics", n, split_atomic_thread, s);
	memcpy(&sum, s->border - 3, sizeof(sum));
	for (t = 0; t < n && t < 8; t++)
		if (s->border[-32 - t] != (char)s->rounds || s->border[32 + t] != (char)s->rounds)
			s->lost++;
	tap_ok(sum == (u64)s->rounds * n, "xadd across two pages by %d threads: %llu of %llu", n,
	       sum, (u64)s->rounds * n);
	tap_ok(!s->lost, "plain neighbours of the split word: %ld wrong", s->lost);
}

/*
 * One thread stores 1, 2, 3... into every byte of a word that lies across two pages, the others
 * load it.  A split load or store need not be atomic, but each byte moves forward only, and once a
 * load has shown any byte of store n, the next load shows store n - 1 or newer in all of them.
 */
static void split_plain_thread(int t, void *arg)
{
	unsigned char b[8], seen[8] = { 0 }, newest = 0;
	struct split *s = arg;
	long run;
	u64 v;
	int i;

	for (run = 0; run < 1 + s->rounds / 255; run++) {
		barrier_wait(s->barrier);
		if (!t) {
			for (i = 1; i < 256; i++)
				store64(s->border - 4, 0x0101010101010101ULL * i);
		}
		memset(seen, 0, sizeof(seen));
		newest = 0;
		while (t && newest < 255) {
			unsigned char top = newest;

			v = load64(s->border - 4);
			memcpy(b, &v, sizeof(b));
			for (i = 0; i < 8; i++) {
				if (b[i] < seen[i])
					__atomic_fetch_add(&s->backwards, 1, __ATOMIC_RELAXED);
				if (b[i] + 1 < newest)
					__atomic_fetch_add(&s->torn, 1, __ATOMIC_RELAXED);
				seen[i] = b[i];
				if (b[i] > top)
					top = b[i];
			}
			/* A byte that went backwards would otherwise keep us here for ever. */
			if (s->backwards || s->torn)
				break;
			newest = top;
		}
		barrier_wait(s->barrier);
		if (!t)
			store64(s->border - 4, 0);
	}
}

static void test_split(void)
{
	char *pages = map_pages(2, -1);
	struct split *s = map_pages(1, -1);
	int n = nr_workers();

	s->border = pages + PAGE;
	s->barrier = new_barrier();
	test_split_atomic(s);
	memset(pages, 0, 2 * PAGE);
	memset(s->barrier, 0, sizeof(*s->barrier));
	s->barrier->n = n;
	s->rounds = rounds;
	run_threads("split loads", n, split_plain_thread, s);
	tap_ok(!s->backwards, "loads across two pages: %ld bytes went backwards", s->backwards);
	tap_ok(!s->torn, "loads across two pages: %ld older than an earlier load allows", s->torn);
	munmap(s->barrier, sizeof(*s->barrier));
	munmap(s, PAGE);
	munmap(pages, 2 * PAGE);
}

/* ---- page tables edited under the eyes of another CPU ---- */

/* Looks of a reader at one state of the page before it sleeps until the next edit. */
#define LOOKS	100

struct edit;

struct edit_kind {
	const char *name;
	/* Bring about state 0 or 1 of the page. */
	void (*edit)(struct edit *e, int state);
	bool write;		/* readers write, too */
	bool faults;		/* in state 1 the access faults */
	unsigned int value[2];	/* what a read gives; ~0 = do not look */
};

struct edit {
	const struct edit_kind *kind;
	char *page;
	char *other[2];
	int memfd;
	int readers;
	u64 *phase;		/* odd: being edited; state = phase / 2 % 2 */
	u64 *checked[MAX_THREADS];
	u64 *quit;
	long stale[MAX_THREADS];
	long spurious[MAX_THREADS];
	long wrong[MAX_THREADS];
};

static void must(bool good, const char *what)
{
	if (!good)
		tap_bail("%s: %s: %s", running, what, strerror(errno));
}

static void edit_remap(struct edit *e, int state)
{
	must(mmap(e->page, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, e->memfd,
		  state * PAGE) == e->page, "mmap over a mapping");
}

static void edit_protect(struct edit *e, int state)
{
	must(!mprotect(e->page, PAGE, state ? PROT_READ : PROT_READ | PROT_WRITE), "mprotect");
}

static void edit_unmap(struct edit *e, int state)
{
	if (state)
		must(!munmap(e->page, PAGE), "munmap");
	else
		edit_remap(e, 0);
}

static void edit_move(struct edit *e, int state)
{
	must(mremap(e->page, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, e->other[!state]) ==
	     e->other[!state], "mremap away");
	must(mremap(e->other[state], PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, e->page) ==
	     e->page, "mremap back");
}

static void edit_discard(struct edit *e, int state)
{
	if (state)
		must(!madvise(e->page, PAGE, MADV_DONTNEED), "madvise(MADV_DONTNEED)");
	else
		store32(e->page, 1);
}

static const struct edit_kind edit_kinds[] = {
	{ "mmap over a mapping", edit_remap, false, false, { 1, 2 } },
	{ "mprotect", edit_protect, true, true, { ~0, ~0 } },
	{ "munmap", edit_unmap, false, true, { 1, ~0 } },
	{ "mremap", edit_move, false, false, { 1, 2 } },
	{ "madvise(MADV_DONTNEED)", edit_discard, false, false, { 1, 0 } },
};

/* False: it faulted. */
static bool try_access(const struct edit *e, int t, unsigned int *v)
{
	if (sigsetjmp(escape, 0)) {
		armed = false;
		return false;
	}
	armed = true;
	if (e->kind->write)
		store32(e->page + 64 * t, 1);
	else
		*v = load32(e->page);
	armed = false;
	return true;
}

static void edit_reader(struct edit *e, int t)
{
	u64 before, n = 0, looks = 0, last = 0;

	while (!load64(e->quit)) {
		unsigned int v = 0;
		bool faulted;
		int state;

		before = load64(e->phase);
		faulted = !try_access(e, t, &v);
		if (before & 1 || load64(e->phase) != before)
			continue;
		state = before / 2 % 2;
		if (e->kind->faults && state && !faulted)
			e->stale[t]++;
		else if (faulted && !(e->kind->faults && state))
			e->spurious[t]++;
		else if (!faulted && e->kind->value[state] != ~0U && v != e->kind->value[state])
			e->wrong[t]++;
		looks = before == last ? looks + 1 : 1;
		last = before;
		if (looks > LOOKS) {
			wait_change(e->phase, before, "the next edit");
			continue;
		}
		store64(e->checked[t], ++n);
		if (looks == 2)
			wake_all(e->checked[t]);
	}
}

/* Every reader has looked at the page twice since now. */
static void wait_for_readers(struct edit *e, const u64 *from)
{
	u64 seen;
	int t;

	for (t = 1; t <= e->readers; t++)
		while ((seen = load64(e->checked[t])) < from[t] + 2)
			wait_change(e->checked[t], seen, "a reader to look at the page");
}

static void edit_thread(int t, void *arg)
{
	u64 phase, from[MAX_THREADS];
	struct edit *e = arg;
	int r;

	if (t) {
		edit_reader(e, t);
		return;
	}
	for (phase = 2; phase < 2 * (u64)(rounds / 4 + 4); phase += 2) {
		for (r = 1; r <= e->readers; r++)
			from[r] = load64(e->checked[r]);
		store64(e->phase, phase - 1);
		wake_all(e->phase);
		e->kind->edit(e, phase / 2 % 2);
		store64(e->phase, phase);
		wait_for_readers(e, from);
	}
	store64(e->quit, 1);
	store64(e->phase, phase - 1);
	wake_all(e->phase);
}

static void run_edit(const struct edit_kind *kind)
{
	struct edit *e = map_pages(1, -1);
	long stale = 0, spurious = 0, wrong = 0;
	unsigned int value[2] = { 1, 2 };
	u64 checked = 0;
	int i;

	static_assert(sizeof(*e) <= PAGE, "one page");
	e->kind = kind;
	e->readers = nr_workers() - 1;
	e->page = map_pages(1, -1);
	e->other[0] = map_pages(1, -1);
	e->other[1] = map_pages(1, -1);
	e->phase = map_pages(1, -1);
	e->quit = map_pages(1, -1);
	for (i = 1; i <= e->readers; i++)
		e->checked[i] = map_pages(1, -1);
	e->memfd = syscall(SYS_memfd_create, "litmus", 0);
	must(e->memfd >= 0 && !ftruncate(e->memfd, 2 * PAGE), "memfd_create");
	for (i = 0; i < 2; i++)
		must(pwrite(e->memfd, &value[i], sizeof(value[i]), i * PAGE) == sizeof(value[i]),
		     "write to the memfd");
	if (kind->edit == edit_remap || kind->edit == edit_unmap)
		edit_remap(e, 0);
	store32(e->page, 1);
	store32(e->other[1], 2);
	run_threads(kind->name, e->readers + 1, edit_thread, e);
	for (i = 1; i <= e->readers; i++) {
		stale += e->stale[i];
		spurious += e->spurious[i];
		wrong += e->wrong[i];
		checked += *e->checked[i];
	}
	tap_ok(!stale && !spurious && !wrong && checked,
	       "%s: %ld stale translations, %ld wrong values, %ld faults without cause", kind->name,
	       stale, wrong, spurious);
	tap_diag("%llu accesses by %d readers over %ld edits", checked, e->readers, rounds / 4 + 3);
	close(e->memfd);
	munmap(e->page, PAGE);
	munmap(e->other[0], PAGE);
	munmap(e->other[1], PAGE);
	munmap(e->phase, PAGE);
	munmap(e->quit, PAGE);
	for (i = 1; i <= e->readers; i++)
		munmap(e->checked[i], PAGE);
	munmap(e, PAGE);
}

/* ---- copy on write: a forked child's page stands still while the parent writes ---- */

struct cow {
	u64 *counter;
	u64 *quit;
	long forks;
	long moved;
};

static void cow_thread(int t, void *arg)
{
	struct cow *c = arg;
	int status, i, n = rounds / 20 + 2;

	if (t) {
		while (!load64(c->quit))
			xadd64(c->counter, 1);
		return;
	}
	for (i = 0; i < n; i++) {
		pid_t pid = fork();

		must(pid >= 0, "fork");
		if (!pid) {
			u64 v = load64(c->counter);
			int look;

			for (look = 0; look < 200; look++) {
				sched_yield();
				if (load64(c->counter) != v)
					_exit(1);
			}
			_exit(0);
		}
		must(waitpid(pid, &status, 0) == pid, "waitpid");
		c->moved += status != 0;
		c->forks++;
	}
	store64(c->quit, 1);
}

static void test_pte(void)
{
	struct cow c = { .counter = map_pages(1, -1), .quit = map_pages(1, -1) };
	size_t i;

	catch_faults();
	for (i = 0; i < sizeof(edit_kinds) / sizeof(*edit_kinds); i++)
		run_edit(&edit_kinds[i]);
	run_threads("fork", 2, cow_thread, &c);
	tap_ok(!c.moved && c.forks, "fork: the parent's writes reached %ld of %ld children",
	       c.moved, c.forks);
	munmap(c.counter, PAGE);
	munmap(c.quit, PAGE);
}

/* ---- futex ---- */

struct pingpong {
	unsigned int word;
	long late;
};

static void pingpong_thread(int t, void *arg)
{
	struct timespec wait = { .tv_sec = 10 };
	struct pingpong *p = arg;
	unsigned int n, v;

	for (n = 0; n < 2 * rounds; n++) {
		if ((int)(n & 1) != t)
			continue;
		while ((v = __atomic_load_n(&p->word, __ATOMIC_SEQ_CST)) != n) {
			if (!syscall(SYS_futex, &p->word, FUTEX_WAIT_PRIVATE, v, &wait, NULL, 0) ||
			    errno == EAGAIN || errno == EINTR)
				continue;
			if (__atomic_load_n(&p->word, __ATOMIC_SEQ_CST) == n)
				__atomic_fetch_add(&p->late, 1, __ATOMIC_SEQ_CST);
		}
		__atomic_store_n(&p->word, n + 1, __ATOMIC_SEQ_CST);
		syscall(SYS_futex, &p->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	}
}

static void test_futex(void)
{
	struct pingpong *p = map_pages(1, -1);
	u64 t = now_ns();

	run_threads("futex", 2, pingpong_thread, p);
	t = now_ns() - t;
	tap_ok(p->word == 2 * rounds && !p->late,
	       "futex ping-pong: %u of %ld turns, %ld lost wake-ups", p->word, 2 * rounds,
	       p->late);
	tap_diag("%.1f microseconds a turn", t / 1e3 / (2 * rounds));
	munmap(p, PAGE);
}

/* ---- a walk over (nearly) all memory ---- */

struct walk {
	u64 *base;
	size_t pages;
	int cpu[2];
	long bad;
	size_t first_bad;
};

/* Each word names its page and its place, so that a lost, stale or swapped page shows. */
static u64 walk_word(size_t page, int word)
{
	return mix64(page) + word * 0x9e3779b97f4a7c15ULL;
}

static void walk_fill_all(struct walk *w)
{
	size_t p;
	int i;

	for (p = 0; p < w->pages; p++) {
		u64 *page = w->base + p * (PAGE / sizeof(u64)), x = walk_word(p, 0);

		for (i = 0; i < (int)(PAGE / sizeof(u64)); i++, x += 0x9e3779b97f4a7c15ULL)
			page[i] = x;
	}
}

static void walk_verify_all(struct walk *w)
{
	size_t p;
	int i;

	for (p = 0; p < w->pages; p++) {
		const u64 *page = w->base + p * (PAGE / sizeof(u64));
		u64 x = walk_word(p, 0), diff = 0;

		for (i = 0; i < (int)(PAGE / sizeof(u64)); i++, x += 0x9e3779b97f4a7c15ULL)
			diff |= page[i] ^ x;
		if (diff && !w->bad++)
			w->first_bad = p;
	}
}

static void walk_from(struct walk *w, int cpu, void (*pass)(struct walk *w), const char *name)
{
	u64 t = now_ns();
	int err = topo_pin(cpu);

	if (err)
		tap_bail("walk: CPU %d: %s", cpu, strerror(err));
	pass(w);
	t = now_ns() - t;
	tap_diag("%s %zu MiB from CPU %d: %.1f MiB/s", name, w->pages >> 8, cpu,
		 w->pages / 256.0 / (t / 1e9));
}

static void test_walk(void)
{
	int first = walk_fill < 0 ? topo.id[0] : walk_fill;
	int last = walk_verify < 0 ? topo.id[topo.nr_nodes - 1] : walk_verify;
	struct walk w = { .cpu = { cpu_of_node(first), cpu_of_node(last) } };
	size_t bytes = strlen(walk_mem), i;
	long most = 0, kib;

	if (w.cpu[0] < 0 || w.cpu[1] < 0)
		tap_bail("walk: node %d has no CPU", w.cpu[0] < 0 ? first : last);
	if (bytes && walk_mem[bytes - 1] == '%')
		bytes = topo_mem_kib(-1, "MemAvailable:") * 1024UL / 100 * atoi(walk_mem);
	else
		topo_parse_size(walk_mem, &bytes);
	for (i = 0; i < (size_t)topo.nr_nodes && topo.numa; i++) {
		kib = topo_mem_kib(topo.id[i], "MemTotal:");
		most = kib > most ? kib : most;
	}
	w.pages = bytes / PAGE;
	w.base = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (w.base == MAP_FAILED || !w.pages)
		tap_bail("walk: mmap of %zu MiB: %s", bytes >> 20, strerror(errno));
	tap_diag("walked %zu MiB; the largest node has %ld MiB", bytes >> 20, most >> 10);
	walk_from(&w, w.cpu[0], walk_fill_all, "filled");
	walk_from(&w, w.cpu[1], walk_verify_all, "verified");
	tap_ok(!w.bad, "walk: %ld of %zu pages filled by node %d are wrong at node %d", w.bad,
	       w.pages, first, last);
	if (w.bad)
		tap_diag("the first is page %zu", w.first_bad);
	munmap(w.base, bytes);
}

/* ---- */

static const struct {
	const char *name;
	void (*run)(void);
	const char *what;
} tests[] = {
	{ "shapes", test_shapes, "SB, MP, LB, 2+2W, IRIW, WRC, R, CoRR over two pages and on one" },
	{ "atomics", test_atomics, "counters by xadd, cmpxchg, cmpxchg16b; plain neighbours" },
	{ "split", test_split, "atomic and plain accesses across the border of two pages" },
	{ "pte", test_pte, "mmap, mprotect, munmap, mremap, madvise, fork against readers" },
	{ "futex", test_futex, "two threads wake each other in turn" },
	{ "walk", test_walk, "fill memory from one node, verify it from another (not in 'all')" },
};

#define NR_TESTS	((int)(sizeof(tests) / sizeof(*tests)))

static void print_usage(void)
{
	int i;

	printf("usage: litmus [OPTION]... TEST...\n"
	       "Memory consistency over the machine's NUMA nodes; TAP on standard output.\n"
	       "Tests:\n  %-9s  all but walk\n", "all");
	for (i = 0; i < NR_TESTS; i++)
		printf("  %-9s  %s\n", tests[i].name, tests[i].what);
	printf("Options:\n"
	       "  --rounds N      rounds of each test, from which the others derive theirs (200)\n"
	       "  --timeout S     seconds that any wait may take (120)\n"
	       "  --mem SIZE|P%%   walk: how much, P%% of the available memory (80%%)\n"
	       "  --fill NODE     walk: the node that fills (the first)\n"
	       "  --verify NODE   walk: the node that verifies (the last)\n"
	       "  --help          this text\n"
	       "Exit status: 0; 1 if a test failed; 2 for a bad option.\n");
}

__printf(1, 2) __noreturn
static void usage_error(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "litmus: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	exit(2);
}

static long parse_number(const char *option, const char *s, long min, long max)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(s, &end, 10);
	if (end == s || *end || errno || v < min || v > max)
		usage_error("%s '%s': expected a number from %ld to %ld", option, s, min, max);
	return v;
}

static void check_walk_mem(const char *s)
{
	size_t bytes;
	char *end;
	long p = strtol(s, &end, 10);

	if (end != s && !strcmp(end, "%") && p >= 1 && p <= 100)
		return;
	if (topo_parse_size(s, &bytes) || bytes < PAGE)
		usage_error("--mem '%s': expected a size as 64M, or 1%% to 100%%", s);
}

static long parse_node(const char *option, const char *s)
{
	long v = parse_number(option, s, 0, TOPO_NODES - 1);

	if (cpu_of_node(v) < 0)
		usage_error("%s '%s': expected a node that has CPUs", option, s);
	return v;
}

static void parse_options(int argc, char **argv)
{
	static const struct option options[] = {
		{ "rounds", required_argument, NULL, 'r' },
		{ "timeout", required_argument, NULL, 't' },
		{ "mem", required_argument, NULL, 'm' },
		{ "fill", required_argument, NULL, 'f' },
		{ "verify", required_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		switch (c) {
		case 'r':
			rounds = parse_number("--rounds", optarg, 1, 100000000);
			break;
		case 't':
			timeout_s = parse_number("--timeout", optarg, 1, 100000);
			break;
		case 'm':
			walk_mem = optarg;
			check_walk_mem(optarg);
			break;
		case 'f':
			walk_fill = parse_node("--fill", optarg);
			break;
		case 'v':
			walk_verify = parse_node("--verify", optarg);
			break;
		case 'h':
			print_usage();
			exit(0);
		case ':':
			usage_error("%s: expected a value", argv[optind - 1]);
		default:
			usage_error("'%s': expected an option of --help", argv[optind - 1]);
		}
	}
}

/* Runs the tests called @name; false if there is none. */
static bool run_named(const char *name, bool dry)
{
	bool all = !strcmp(name, "all"), found = false;
	int i;

	for (i = 0; i < NR_TESTS; i++) {
		if (all ? tests[i].run == test_walk : strcmp(name, tests[i].name) != 0)
			continue;
		found = true;
		if (!dry)
			tests[i].run();
	}
	return found;
}

int main(int argc, char **argv)
{
	int i;

	if (topo_get(&topo))
		tap_bail("/sys/devices/system/cpu/online: cannot be read; is sysfs mounted?");
	parse_options(argc, argv);
	if (optind == argc)
		usage_error("expected a test, or all: see --help");
	for (i = optind; i < argc; i++)
		if (!run_named(argv[i], true))
			usage_error("'%s': expected a test of --help", argv[i]);
	tap_diag("%d CPUs on %d nodes, %ld rounds", topo.nr_cpus, topo.nr_nodes, rounds);
	for (i = optind; i < argc; i++)
		run_named(argv[i], false);
	return tap_done();
}
