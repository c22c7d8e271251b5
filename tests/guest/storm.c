// SPDX-License-Identifier: GPL-2.0-only
/*
 * A storm on address spaces: processes whose threads move between the NUMA nodes map, unmap,
 * protect, move and fault, all at once, in one address space, while others fork, exec and read it.
 *
 * Each thread has a zone of addresses to itself and a model of it: whether a page is mapped, may
 * be written, and what it holds.  Every access is checked against the model, those too that have
 * to fail.  One more mapping, the field, is used by all threads of a process, each on pages of
 * its own, while its protection changes.  The order of a thread's operations follows from --seed
 * and their number from --ops; nothing is bounded by time.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <getopt.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "../../bench/membench/topo.h"
#include "../tap.h"
#include "access.h"

#define PAGE		4096UL
#define MAX_PROCS	16
#define MAX_THREADS	64
#define ZONE_PAGES	128
#define ZONE_BASE	0x100000000000UL	/* where no mmap() without an address goes */
#define ZONE_STEP	0x40000000UL
#define STACK_PAGES	32			/* by which a stack grows */
#define FIELD_PAGES	16			/* of each thread */
#define CONSTANT_PAGES	16
#define MISSING_PAGES	8

enum op {
	OP_MAP, OP_UNMAP, OP_PROTECT, OP_MOVE, OP_DISCARD, OP_WRITE, OP_READ, OP_DENIED, OP_FIELD,
	OP_FIELD_PROTECT, OP_STACK, OP_BRK, OP_MIGRATE, OP_MAPS, OP_PEEK, OP_MISSING, OP_FORK,
	OP_EXEC, OP_EXIT_THREADS, OP_EXEC_THREADS, NR_OPS
};

/* What a process reports; in memory that all of them share */
struct report {
	atomic_int pid;
	atomic_ullong done[NR_OPS];
	atomic_ullong checks;
	atomic_int node_changes;	/* of its threads */
	atomic_int bad;
	char what[160];			/* of the first that is bad */
	long rss_before;		/* anonymous pages */
	long rss_after;
	long rss_real;			/* the same, by a walk */
	atomic_int ended;
};

struct page_model {
	bool mapped, writable;
	u64 stamp;			/* what it begins and ends with */
};

struct thread {
	pthread_t id;
	struct report *report;
	int nr;
	u64 seed;
	enum op op;			/* what it is doing */
	char *zone;
	struct page_model page[ZONE_PAGES];
	u64 field[FIELD_PAGES];
};

static struct topo topo;
static struct report *reports;
static int nr_procs = 2, nr_threads;
static long nr_ops = 1000;
static u64 storm_seed = 1;
static u64 *constant;
static char *field, *missing;
static bool broken;			/* the model does not know of discards */
static bool can_peek, can_answer;	/* the kernel has the system call */
static int uffd = -1;
static pthread_mutex_t brk_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t missing_mutex = PTHREAD_MUTEX_INITIALIZER;
static __thread sigjmp_buf denied;
static __thread sig_atomic_t expect_denied;

static void *map_pages(unsigned long pages)
{
	void *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);

	if (p == MAP_FAILED)
		tap_bail("mmap of %lu pages: %s", pages, strerror(errno));
	return p;
}

static u64 constant_word(unsigned long i)
{
	return mix64(storm_seed ^ (i << 20));
}

__printf(2, 3)
static void bad(struct report *r, const char *fmt, ...)
{
	va_list ap;

	if (atomic_fetch_add(&r->bad, 1))
		return;
	va_start(ap, fmt);
	vsnprintf(r->what, sizeof(r->what), fmt, ap);
	va_end(ap);
}

static void on_segv(int sig)
{
	if (!expect_denied) {
		signal(sig, SIG_DFL);
		return;			/* the access is repeated, and ends us */
	}
	siglongjmp(denied, 1);
}

static unsigned int below(struct thread *t, unsigned int n)
{
	return next_random(&t->seed) % n;
}

/* Try an access: false if it is denied. */
static bool may_access(u64 *p, bool write)
{
	if (sigsetjmp(denied, 0)) {
		expect_denied = 0;
		return false;
	}
	expect_denied = 1;
	atomic_signal_fence(memory_order_seq_cst);
	if (write)
		store64(p, load64(p));
	else
		load64(p);
	atomic_signal_fence(memory_order_seq_cst);
	expect_denied = 0;
	return true;
}

static void stamp(char *page, u64 value)
{
	store64(page, value);
	store64(page + PAGE - 8, value);
}

static void check_page(struct report *r, const char *page, u64 value, const char *where)
{
	u64 first = load64(page), last = load64(page + PAGE - 8);

	atomic_fetch_add(&r->checks, 1);
	if (first != value || last != value)
		bad(r, "%s: page %p holds %llx and %llx, expected %llx", where, page, first, last,
		    value);
}

static void check_zone(struct thread *t, const char *where)
{
	int i;

	for (i = 0; i < ZONE_PAGES; i++)
		if (t->page[i].mapped)
			check_page(t->report, t->zone + i * PAGE, t->page[i].stamp, where);
}

/* A range of the zone: its first page and length; of pages that are all mapped or any */
static bool pick(struct thread *t, bool all_mapped, unsigned int *first, unsigned int *len)
{
	unsigned int i;

	*first = below(t, ZONE_PAGES);
	*len = 1 + below(t, 16);
	if (*len > ZONE_PAGES - *first)
		*len = ZONE_PAGES - *first;
	for (i = 0; all_mapped && i < *len; i++)
		if (!t->page[*first + i].mapped)
			break;
	if (all_mapped)
		*len = i;
	return *len;
}

static void must(struct report *r, bool good, const char *what)
{
	if (!good)
		bad(r, "%s: %s", what, strerror(errno));
}

static bool do_map(struct thread *t)
{
	unsigned int first, len, i;
	char *p;

	pick(t, false, &first, &len);
	p = mmap(t->zone + first * PAGE, len * PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | (below(t, 4) ? 0 : MAP_POPULATE), -1, 0);
	must(t->report, p == t->zone + first * PAGE, "mmap");
	for (i = first; i < first + len; i++)
		t->page[i] = (struct page_model){ .mapped = true, .writable = true };
	return true;
}

static bool do_unmap(struct thread *t)
{
	unsigned int first, len, i;

	pick(t, false, &first, &len);
	must(t->report, !munmap(t->zone + first * PAGE, len * PAGE), "munmap");
	for (i = first; i < first + len; i++)
		t->page[i] = (struct page_model){};
	return true;
}

static bool do_protect(struct thread *t)
{
	bool writable = below(t, 2);
	unsigned int first, len, i;

	if (!pick(t, true, &first, &len))
		return false;
	must(t->report, !mprotect(t->zone + first * PAGE, len * PAGE,
				  PROT_READ | (writable ? PROT_WRITE : 0)), "mprotect");
	for (i = first; i < first + len; i++)
		t->page[i].writable = writable;
	return true;
}

/* Of one mapping only: mremap() takes no more, and who else than the model could tell? */
static bool do_move(struct thread *t)
{
	struct page_model moved[ZONE_PAGES];
	unsigned int first, len, to, i;
	char *p;

	if (!pick(t, true, &first, &len))
		return false;
	to = below(t, ZONE_PAGES - len + 1);
	if (to < first + len && first < to + len)
		return false;
	p = mremap(t->zone + first * PAGE, len * PAGE, len * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		   t->zone + to * PAGE);
	memcpy(moved, t->page + first, len * sizeof(*moved));
	if (p == MAP_FAILED && errno == EFAULT) {
		/* More mappings than one: mremap() has unmapped the target. */
		for (i = 0; i < len; i++)
			t->page[to + i] = (struct page_model){};
		return true;
	}
	must(t->report, p == t->zone + to * PAGE, "mremap");
	for (i = 0; i < len; i++) {
		t->page[first + i] = (struct page_model){};
		t->page[to + i] = moved[i];
	}
	return true;
}

static bool do_discard(struct thread *t)
{
	unsigned int first, len, i;

	if (!pick(t, true, &first, &len))
		return false;
	must(t->report, !madvise(t->zone + first * PAGE, len * PAGE, MADV_DONTNEED), "madvise");
	for (i = first; i < first + len && !broken; i++)
		t->page[i].stamp = 0;
	return true;
}

static bool do_write(struct thread *t)
{
	unsigned int first, len, i;

	if (!pick(t, true, &first, &len))
		return false;
	for (i = first; i < first + len; i++) {
		check_page(t->report, t->zone + i * PAGE, t->page[i].stamp, "before a write");
		if (!t->page[i].writable)
			continue;
		t->page[i].stamp = next_random(&t->seed);
		stamp(t->zone + i * PAGE, t->page[i].stamp);
	}
	return true;
}

static bool do_read(struct thread *t)
{
	unsigned int first, len, i;

	if (!pick(t, true, &first, &len))
		return false;
	for (i = first; i < first + len; i++)
		check_page(t->report, t->zone + i * PAGE, t->page[i].stamp, "read");
	return true;
}

/* One page's state, by what may be done with it */
static bool do_denied(struct thread *t)
{
	unsigned int i = below(t, ZONE_PAGES);
	bool write = below(t, 2), may;

	may = may_access((u64 *)(t->zone + i * PAGE), write);
	atomic_fetch_add(&t->report->checks, 1);
	if (may != (write ? t->page[i].writable : t->page[i].mapped))
		bad(t->report, "a %s of page %d was %s", write ? "write" : "read", i,
		    may ? "not denied" : "denied");
	return true;
}

static bool do_field(struct thread *t)
{
	unsigned int i = below(t, FIELD_PAGES);
	char *page = field + (t->nr * FIELD_PAGES + i) * PAGE;

	check_page(t->report, page, t->field[i], "field");
	if (below(t, 2)) {
		must(t->report, !madvise(page, PAGE, MADV_DONTNEED), "madvise of the field");
		t->field[i] = 0;
		check_page(t->report, page, 0, "field, discarded");
	}
	t->field[i] = next_random(&t->seed);
	stamp(page, t->field[i]);
	return true;
}

/* What all threads write to becomes executable, or not: nobody may notice. */
static bool do_field_protect(struct thread *t)
{
	must(t->report, !mprotect(field, nr_threads * FIELD_PAGES * PAGE,
				  PROT_READ | PROT_WRITE | (below(t, 2) ? PROT_EXEC : 0)),
	     "mprotect of the field");
	return true;
}

/* A stack of its own at the end of what is the thread's, grown from above */
static bool do_stack(struct thread *t)
{
	char *top = t->zone + ZONE_STEP / 2;
	u64 value = next_random(&t->seed);
	char *p;
	int i;

	p = mmap(top - PAGE, PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, -1, 0);
	must(t->report, p != MAP_FAILED, "mmap of a stack");
	for (i = 1; i <= STACK_PAGES; i++)
		stamp(top - i * PAGE, value + i);
	for (i = 1; i <= STACK_PAGES; i++)
		check_page(t->report, top - i * PAGE, value + i, "stack");
	must(t->report, !munmap(top - STACK_PAGES * PAGE, STACK_PAGES * PAGE), "munmap of a stack");
	return true;
}

/* No thread allocates meanwhile: the C library's heap is not used in the storm. */
static bool do_brk(struct thread *t)
{
	unsigned int pages = 1 + below(t, 8), i;
	char *old;

	pthread_mutex_lock(&brk_mutex);
	old = (char *)(((unsigned long)sbrk(0) + PAGE - 1) & ~(PAGE - 1));
	must(t->report, !brk(old + pages * PAGE), "brk");
	for (i = 0; i < pages; i++) {
		check_page(t->report, old + i * PAGE, 0, "heap");
		stamp(old + i * PAGE, i + 1);
	}
	for (i = 0; i < pages; i++)
		check_page(t->report, old + i * PAGE, i + 1, "heap");
	must(t->report, !brk(old), "brk back");
	pthread_mutex_unlock(&brk_mutex);
	return true;
}

static bool do_migrate(struct thread *t)
{
	int to = below(t, topo.nr_cpus);
	unsigned int from = 0, now = 0;

	getcpu(NULL, &from);
	must(t->report, !topo_pin(topo.cpu[to]), "sched_setaffinity");
	getcpu(NULL, &now);
	if (from != now)
		atomic_fetch_add(&t->report->node_changes, 1);
	return true;
}

static bool do_maps(struct thread *t)
{
	const char *name = below(t, 2) ? "/proc/self/maps" : "/proc/self/smaps";
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	char buf[2048];
	long n = 0, got;

	while (fd >= 0 && (got = read(fd, buf, sizeof(buf))) > 0)
		n += got;
	must(t->report, fd >= 0 && n > 0 && !got, name);
	if (fd >= 0)
		close(fd);
	return true;
}

/* Read memory of a process of the storm, and see that it is what all were born with. */
static bool do_peek(struct thread *t)
{
	int pid = atomic_load(&reports[below(t, nr_procs)].pid);
	unsigned int page = below(t, CONSTANT_PAGES), i;
	u64 buf[PAGE / 8];
	struct iovec here = { buf, sizeof(buf) };
	struct iovec there = { constant + page * PAGE / 8, sizeof(buf) };
	long got;

	got = can_peek && pid ? process_vm_readv(pid, &here, 1, &there, 1, 0) : 0;
	if (!can_peek || !pid || (got < 0 && errno == ESRCH))
		return false;
	must(t->report, got == sizeof(buf), "process_vm_readv");
	atomic_fetch_add(&t->report->checks, 1);
	for (i = 0; got == sizeof(buf) && i < PAGE / 8; i++)
		if (buf[i] != constant_word(page * PAGE / 8 + i)) {
			bad(t->report, "process %d: word %u of page %u is %llx", pid, i, page,
			    buf[i]);
			break;
		}
	return true;
}

/* Who answers userfaults: a page of what @missing has to hold */
static void *answer(void *arg)
{
	struct report *r = arg;
	char *page = map_pages(1);
	struct uffd_msg msg;

	while (read(uffd, &msg, sizeof(msg)) == sizeof(msg)) {
		unsigned long at = msg.arg.pagefault.address & ~(PAGE - 1);
		struct uffdio_copy copy = { .dst = at, .src = (unsigned long)page, .len = PAGE };

		if (msg.event != UFFD_EVENT_PAGEFAULT)
			continue;
		stamp(page, at);
		if (ioctl(uffd, UFFDIO_COPY, &copy) && errno != EEXIST && errno != EAGAIN)
			bad(r, "UFFDIO_COPY: %s", strerror(errno));
		if (copy.copy == -EAGAIN)
			ioctl(uffd, UFFDIO_WAKE, &(struct uffdio_range){ at, PAGE });
	}
	return NULL;
}

static bool missing_begin(struct report *r, pthread_t *id)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { (unsigned long)missing, MISSING_PAGES * PAGE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	if (!can_answer)
		return false;
	uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	must(r, uffd >= 0, "userfaultfd");
	must(r, !ioctl(uffd, UFFDIO_API, &api), "UFFDIO_API");
	must(r, !ioctl(uffd, UFFDIO_REGISTER, &reg), "UFFDIO_REGISTER");
	must(r, !pthread_create(id, NULL, answer, r), "pthread_create");
	return true;
}

static bool do_missing(struct thread *t)
{
	int i;

	if (uffd < 0)
		return false;
	pthread_mutex_lock(&missing_mutex);
	must(t->report, !madvise(missing, MISSING_PAGES * PAGE, MADV_DONTNEED), "madvise");
	for (i = 0; i < MISSING_PAGES; i++)
		check_page(t->report, missing + i * PAGE, (unsigned long)missing + i * PAGE,
			   "userfault");
	pthread_mutex_unlock(&missing_mutex);
	return true;
}

/* What a program that is exec'ed does: use a fresh address space. */
static int exec_child(void)
{
	char *p = map_pages(16);
	int i, sum = 0;

	for (i = 0; i < 16; i++)
		stamp(p + i * PAGE, i);
	for (i = 0; i < 16; i++)
		sum += load64(p + i * PAGE + PAGE - 8);
	return sum == 120 ? 42 : 1;
}

static void exec_self(void)
{
	execl("/proc/self/exe", "storm", "--exec", NULL);
	_exit(1);
}

/* Faults and unmaps without end: whoever made it ends it by exiting or by exec. */
static void *endless(void *arg)
{
	atomic_int *running = arg;
	char *p;
	int i;

	topo_pin(topo.cpu[atomic_fetch_add(running, 1) % topo.nr_cpus]);
	for (;;) {
		p = map_pages(8);
		for (i = 0; i < 8; i++)
			stamp(p + i * PAGE, i);
		munmap(p, 8 * PAGE);
		atomic_fetch_add(running, 1 << 8);
	}
	return NULL;
}

/* In a child: leave it, with 42, while two threads of it are at work. */
static void leave_threads(bool exec)
{
	static atomic_int running;
	pthread_t id;
	int i;

	for (i = 0; i < 2; i++)
		if (pthread_create(&id, NULL, endless, &running))
			_exit(2);
	/* Both are there, and have been round more than once. */
	while ((atomic_load(&running) & 0xff) < 2 || atomic_load(&running) < 6 << 8)
		sched_yield();
	if (exec)
		exec_self();
	_exit(42);
}

static bool do_fork(struct thread *t)
{
	int pid, status = 0, i, before;

	before = atomic_load(&t->report->bad);
	pid = fork();
	must(t->report, pid >= 0, "fork");
	if (!pid) {
		struct report mine = { .pid = 0 };

		if (t->op == OP_EXEC)
			exec_self();
		if (t->op == OP_EXIT_THREADS || t->op == OP_EXEC_THREADS)
			leave_threads(t->op == OP_EXEC_THREADS);
		t->report = &mine;
		check_zone(t, "in a child");
		for (i = 0; i < ZONE_PAGES; i++)
			if (t->page[i].writable)
				stamp(t->zone + i * PAGE, ~0ULL);
		_exit(atomic_load(&mine.bad) ? 1 : 42);
	}
	if (pid > 0 && (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
			WEXITSTATUS(status) != 42))
		bad(t->report, "operation %d: a child ended with %#x", t->op, status);
	if (pid > 0 && atomic_load(&t->report->bad) == before)
		check_zone(t, "after a child has written");
	return true;
}

/* How often, in 1000 */
static const struct {
	const char *name;
	unsigned int weight;
	bool (*run)(struct thread *t);	/* false: not done, there was nothing to do it with */
} ops[NR_OPS] = {
	[OP_MAP]		= { "maps", 120, do_map },
	[OP_UNMAP]		= { "unmaps", 70, do_unmap },
	[OP_PROTECT]		= { "protects", 90, do_protect },
	[OP_MOVE]		= { "moves", 60, do_move },
	[OP_DISCARD]		= { "discards", 70, do_discard },
	[OP_WRITE]		= { "writes", 190, do_write },
	[OP_READ]		= { "reads", 120, do_read },
	[OP_DENIED]		= { "denied accesses", 30, do_denied },
	[OP_FIELD]		= { "faults in the field", 90, do_field },
	[OP_FIELD_PROTECT]	= { "protects of the field", 20, do_field_protect },
	[OP_STACK]		= { "grown stacks", 15, do_stack },
	[OP_BRK]		= { "brks", 20, do_brk },
	[OP_MIGRATE]		= { "migrations", 40, do_migrate },
	[OP_MAPS]		= { "reads of maps and smaps", 10, do_maps },
	[OP_PEEK]		= { "reads of other processes", 20, do_peek },
	[OP_MISSING]		= { "userfaults", 15, do_missing },
	[OP_FORK]		= { "forks", 8, do_fork },
	[OP_EXEC]		= { "forks that exec", 4, do_fork },
	[OP_EXIT_THREADS]	= { "exits under running threads", 4, do_fork },
	[OP_EXEC_THREADS]	= { "execs under running threads", 4, do_fork },
};

static enum op next_op(struct thread *t)
{
	unsigned int left = below(t, 1000), op = 0;

	while (left >= ops[op].weight)
		left -= ops[op++].weight;
	return op;
}

static void *storm_thread(void *arg)
{
	struct thread *t = arg;
	long i;

	topo_pin(topo.cpu[t->nr % topo.nr_cpus]);
	for (i = 0; i < nr_ops && !atomic_load(&t->report->bad); i++) {
		t->op = next_op(t);
		if (ops[t->op].run(t))
			atomic_fetch_add(&t->report->done[t->op], 1);
	}
	check_zone(t, "at the end");
	must(t->report, !munmap(t->zone, ZONE_PAGES * PAGE), "munmap at the end");
	return NULL;
}

/* Pages of this process: what its counters say, or a walk of its tables */
static long anonymous_pages(bool walk)
{
	FILE *f = fopen(walk ? "/proc/self/smaps_rollup" : "/proc/self/status", "r");
	const char *name = walk ? "Anonymous:" : "RssAnon:";
	char line[256];
	long kib = -1;

	while (f && kib < 0 && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)))
			kib = strtol(line + strlen(name), NULL, 10);
	if (f)
		fclose(f);
	return kib / 4;
}

/* One process of the storm */
static int storm_process(int nr)
{
	static struct thread threads[MAX_THREADS];
	struct report *r = &reports[nr];
	bool answering;
	pthread_t id;
	int i;

	field = map_pages(nr_threads * FIELD_PAGES);
	missing = map_pages(MISSING_PAGES);
	r->rss_before = anonymous_pages(false);
	atomic_store(&r->pid, getpid());
	answering = missing_begin(r, &id);
	for (i = 0; i < nr_threads; i++) {
		threads[i] = (struct thread){
			.report = r, .nr = i, .zone = (char *)ZONE_BASE + i * ZONE_STEP,
			.seed = mix64(storm_seed + nr * MAX_THREADS + i),
		};
		must(r, !pthread_create(&threads[i].id, NULL, storm_thread, &threads[i]),
		     "pthread_create");
	}
	for (i = 0; i < nr_threads; i++)
		pthread_join(threads[i].id, NULL);
	if (answering)
		pthread_cancel(id);
	munmap(field, nr_threads * FIELD_PAGES * PAGE);
	munmap(missing, MISSING_PAGES * PAGE);
	r->rss_after = anonymous_pages(false);
	r->rss_real = anonymous_pages(true);
	atomic_store(&r->ended, 1);
	return atomic_load(&r->bad) != 0;
}

static long parse_number(const char *option, const char *value, long min, long max)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(value, &end, 0);
	if (errno || end == value || *end || n < min || n > max) {
		fprintf(stderr, "storm: --%s '%s': expected a number from %ld to %ld\n", option,
			value, min, max);
		exit(2);
	}
	return n;
}

static void options(int argc, char **argv)
{
	static const struct option known[] = {
		{ "procs", required_argument, NULL, 'p' },
		{ "threads", required_argument, NULL, 't' },
		{ "ops", required_argument, NULL, 'o' },
		{ "seed", required_argument, NULL, 's' },
		{ "broken", no_argument, NULL, 'b' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	int c;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1)
		switch (c) {
		case 'p':
			nr_procs = parse_number("procs", optarg, 1, MAX_PROCS);
			break;
		case 't':
			nr_threads = parse_number("threads", optarg, 1, MAX_THREADS);
			break;
		case 'o':
			nr_ops = parse_number("ops", optarg, 1, 1000000000);
			break;
		case 's':
			storm_seed = parse_number("seed", optarg, 0, 1000000000);
			break;
		case 'b':
			broken = true;
			break;
		case 'h':
			printf("usage: storm [--procs N] [--threads N] [--ops N] [--seed N]\n"
			       "N processes (2) of N threads (one a CPU), N operations (1000) each;\n"
			       "--broken: it has to fail, for what it expects is wrong\n");
			exit(0);
		default:
			exit(2);
		}
	if (optind < argc) {
		fprintf(stderr, "storm: '%s': expected an option\n", argv[optind]);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	struct sigaction segv = { .sa_handler = on_segv, .sa_flags = SA_NODEFER };
	u64 total[NR_OPS] = {}, checks = 0, first;
	struct iovec here = { &first, sizeof(first) }, there = here;
	long slack, grown = 0, off = 0, changes = 0;
	const char *undone = NULL;
	int i, op, ended = 0;

	if (argc == 2 && !strcmp(argv[1], "--exec"))
		return exec_child();
	if (topo_get(&topo) || topo.nr_cpus > MAX_THREADS)
		tap_bail("no CPUs in sysfs, or more than %d", MAX_THREADS);
	nr_threads = topo.nr_cpus;
	options(argc, argv);
	sigaction(SIGSEGV, &segv, NULL);
	reports = mmap(NULL, MAX_PROCS * sizeof(*reports), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (reports == MAP_FAILED)
		tap_bail("mmap: %s", strerror(errno));
	constant = map_pages(CONSTANT_PAGES);
	there.iov_base = constant;
	for (i = 0; i < (int)(CONSTANT_PAGES * PAGE / 8); i++)
		constant[i] = constant_word(i);
	can_peek = process_vm_readv(getpid(), &here, 1, &there, 1, 0) == sizeof(first);
	i = syscall(SYS_userfaultfd, O_CLOEXEC);
	can_answer = i >= 0;
	if (can_answer)
		close(i);
	tap_diag("%d nodes, %d processes of %d threads, %ld operations each, seed %llu",
		 topo.nr_nodes, nr_procs, nr_threads, nr_ops, storm_seed);

	for (i = 0; i < nr_procs; i++) {
		int pid = fork();

		if (pid < 0)
			tap_bail("fork: %s", strerror(errno));
		if (!pid)
			_exit(storm_process(i));
	}
	while (wait(NULL) > 0 || errno == EINTR)
		;

	/* What counters that are kept for each CPU may be off by, and threads' stacks */
	slack = 2L * topo.nr_cpus * (topo.nr_cpus > 16 ? 2 * topo.nr_cpus : 32) + 16L * nr_threads;
	for (i = 0; i < nr_procs; i++) {
		struct report *r = &reports[i];
		long diff = labs(r->rss_after - r->rss_real);

		ended += atomic_load(&r->ended);
		changes += atomic_load(&r->node_changes);
		checks += atomic_load(&r->checks);
		for (op = 0; op < NR_OPS; op++)
			total[op] += atomic_load(&r->done[op]);
		grown = r->rss_after - r->rss_before > grown ? r->rss_after - r->rss_before : grown;
		off = diff > off ? diff : off;
	}
	for (op = 0; op < NR_OPS; op++)
		tap_diag("%llu %s", total[op], ops[op].name);
	tap_ok(ended == nr_procs, "%d of %d processes ran to their end", ended, nr_procs);
	for (i = 0; i < nr_procs; i++)
		if (!tap_ok(!atomic_load(&reports[i].bad), "process %d: memory is what was written",
			    i))
			tap_diag("%d bad; the first: %s", atomic_load(&reports[i].bad),
				 reports[i].what);
	tap_ok(checks > (u64)nr_ops, "%llu pages were checked", checks);
	for (op = 0; op < NR_OPS; op++)
		if (!total[op] && (op != OP_PEEK || can_peek) && (op != OP_MISSING || can_answer))
			undone = ops[op].name;
	tap_ok(!undone, "what the kernel has was done, all of it%s%s", undone ? ", but no " : "",
	       undone ?: "");
	if (topo.nr_nodes > 1)
		tap_ok(changes >= 8L * nr_procs, "threads changed their node, %ld times", changes);
	else
		tap_skip("threads changed their node", "there is one node");
	tap_ok(grown <= slack, "resident pages grew by %ld (at most %ld)", grown, slack);
	tap_ok(off <= slack, "the counters of resident pages are off by %ld (at most %ld)", off,
	       slack);
	return tap_done();
}
