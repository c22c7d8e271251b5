// SPDX-License-Identifier: GPL-2.0-only
/*
 * The simulated machine's engine: coroutines, the run queue, pages and lines.
 *
 * Pages between nodes are MSI.  A node may read a page it has a copy of, and write one that it
 * alone has.  What it may not do waits for the page: requests queue at the page, first come,
 * first served, those of one node together; one is served at a time, which takes a transfer (or
 * an upgrade: a node that has a copy asks to be its owner, one round trip).  A write takes all
 * other copies away when its service begins.  When a node gets a page every access that waited
 * there is done before the page can leave again, so that all get on.
 *
 * Lines within a node: a line in this CPU's cache is a hit; another costs a line's time, one
 * after the other if they write it or find it written.
 *
 * Invariants:
 *  - A thread makes an access when no other thread or page has anything to do earlier, so
 *    accesses take effect in the order of time.
 *  - Nothing depends on addresses of the host, or on its clock.
 *  - Only the arena is shared memory: thread stacks are in it, as kernel stacks are in memory.
 */
#include <sys/mman.h>

#include "sim.h"

#define ARENA_PAGES	2048
#define STACK_PAGES	8
#define LINES		(PAGE_SIZE / SMP_CACHE_BYTES)
#define REQUESTS	(2 * SIM_NODES)
#define NEVER		(~0ULL)
#define NOBODY		(-1)

/* What has a place in the run queue: a thread, or a page with something to do. */
struct entity {
	u64 time;
	int id;		/* threads before pages */
	int pos;	/* in the heap, or NOBODY */
};

struct line {
	u64 cpus;	/* that have it cached */
	u64 busy;	/* until then */
	int dirty;	/* the CPU that has written it, or NOBODY */
};

struct request {
	u64 waiters;	/* threads */
	int node;
	bool write;
};

struct page {
	struct entity ent;
	u64 nodes;		/* that have a copy */
	u64 held;		/* no service begins before */
	u64 watchers;		/* threads that spin on one of its lines */
	const char *kind;	/* what it is for */
	u64 moved;		/* how often it was transferred or upgraded */
	int owner;		/* the node that may write, or NOBODY */
	bool busy;		/* the first request is being served */
	bool free;
	int head, count;	/* of the queue */
	struct request queue[REQUESTS];
	struct line line[LINES];
};

enum wait { RUNS, QUEUED, FAULTS, SPINS, SLEEPS, SLEEPS_RCU, FINISHED };

static const char * const wait_name[] = {
	"runs", "can run", "waits for a page", "spins", "sleeps", "waits for RCU",
	"has finished",
};

struct thread {
	struct entity ent;
	void *sp;
	char *stack;
	struct task_struct *task;
	void (*fn)(void *arg);
	void *arg;
	enum wait wait;
	const volatile void *watched;
	u64 look;		/* it looks there again no sooner */
	const volatile void *looked;	/* the word it read since the last cpu_relax() */
	bool looked_about;	/* at more lines than that one's, or it wrote */
	void *cpu;		/* its CPU's memory, or NULL */
	int prio;
};

struct sim_costs sim_costs = {
	.transfer = 12000, .upgrade = 12000, .jitter = 10, .hold = 2000,
	.line = 80, .hit = 1, .relax = 200, .sleep = 1500, .wake = 3000, .ipi = 12000,
};

struct sim_stats sim_stats;
const char *sim_bug;
u64 sim_limit;
unsigned int sim_turns;
unsigned int nr_node_ids;
void (*sim_trace)(const char *what, const volatile void *addr, u64 old, u64 new);
bool sim_quiet;
void (*sim_interrupt)(void);

static struct {
	enum sim_mode mode;
	enum sim_end end;
	int nr;
	struct thread *cur;	/* NULL outside the simulated machine */
	void *main_sp;
	size_t used;		/* pages of the arena */
	u64 rng;
	unsigned long gp;	/* grace periods begun */
	int heap_nr;
	/* exploration */
	int ready[SIM_THREADS], ready_nr;
	unsigned int one_in;	/* a switch at one access in so many; 0: by priority */
	int lowest;
	u64 change[4];
	u64 clock;
} sim;

static struct thread threads[SIM_THREADS];
static struct page pages[ARENA_PAGES];
static struct entity *heap[SIM_THREADS + ARENA_PAGES];
static char *arena;

/* ---- stack switching ---- */

#if defined(__x86_64__) && !defined(DSMSIM_UCONTEXT)
void sim_switch(void **save, void *load);
__asm__(".text\n"
	".globl sim_switch\n"
	".type sim_switch, @function\n"
	"sim_switch:\n"
	"	push %rbp\n	push %rbx\n	push %r12\n"
	"	push %r13\n	push %r14\n	push %r15\n"
	"	mov %rsp, (%rdi)\n"
	"	mov %rsi, %rsp\n"
	"	pop %r15\n	pop %r14\n	pop %r13\n"
	"	pop %r12\n	pop %rbx\n	pop %rbp\n"
	"	ret\n"
	".size sim_switch, .-sim_switch\n");

static void *first_frame(char *top, void (*entry)(void))
{
	void **sp = (void **)top;

	*--sp = NULL;			/* nobody to return to; keeps the ABI's alignment */
	*--sp = (void *)entry;
	sp -= 6;
	memset(sp, 0, 6 * sizeof(*sp));
	return sp;
}
#else
#include <ucontext.h>
/* Slower, for other machines: the saved stack pointer is a context on that stack. */
static void sim_switch(void **save, void *load)
{
	ucontext_t here;

	*save = &here;
	swapcontext(&here, load);
}

static void *first_frame(char *top, void (*entry)(void))
{
	ucontext_t *first = (ucontext_t *)((uintptr_t)(top - sizeof(*first)) & ~63UL);
	char *base = top - STACK_PAGES * PAGE_SIZE;

	getcontext(first);
	first->uc_stack.ss_sp = base;
	first->uc_stack.ss_size = (char *)first - base;
	first->uc_link = NULL;
	makecontext(first, entry, 0);
	return first;
}
#endif

static void switch_to(struct thread *next)
{
	struct thread *me = sim.cur;

	next->wait = RUNS;
	sim.cur = next;
	if (next != me)
		sim_switch(&me->sp, next->sp);
}

static __noreturn void leave_machine(enum sim_end end)
{
	void *lost;

	sim.end = end;
	sim.cur = NULL;
	sim_switch(&lost, sim.main_sp);
	abort();
}

/* ---- the run queue of timed runs: a binary heap ---- */

static bool before(const struct entity *a, const struct entity *b)
{
	return a->time != b->time ? a->time < b->time : a->id < b->id;
}

static void heap_put(int pos, struct entity *ent)
{
	heap[pos] = ent;
	ent->pos = pos;
}

static void heap_push(struct entity *ent)
{
	int pos = sim.heap_nr++;

	assert(ent->pos == NOBODY);
	while (pos && before(ent, heap[(pos - 1) / 2])) {
		heap_put(pos, heap[(pos - 1) / 2]);
		pos = (pos - 1) / 2;
	}
	heap_put(pos, ent);
}

static struct entity *heap_pop(void)
{
	struct entity *top = heap[0], *last = heap[--sim.heap_nr];
	int pos = 0, child;

	top->pos = NOBODY;
	if (!sim.heap_nr)
		return top;
	while ((child = 2 * pos + 1) < sim.heap_nr) {
		if (child + 1 < sim.heap_nr && before(heap[child + 1], heap[child]))
			child++;
		if (!before(heap[child], last))
			break;
		heap_put(pos, heap[child]);
		pos = child;
	}
	heap_put(pos, last);
	return top;
}

static void heap_remove(struct entity *ent)
{
	/* Up to the top, and out. */
	while (ent->pos) {
		int up = (ent->pos - 1) / 2;

		heap_put(ent->pos, heap[up]);
		heap_put(up, ent);
	}
	heap_pop();
}

/* ---- who runs next ---- */

static void make_ready(struct thread *th, u64 time)
{
	th->wait = QUEUED;
	if (sim.mode == SIM_EXPLORE) {
		sim.ready[sim.ready_nr++] = th - threads;
		return;
	}
	th->ent.time = max(th->ent.time, time);
	heap_push(&th->ent);
}

static void page_event(struct page *page);

static struct thread *next_timed(void)
{
	while (sim.heap_nr) {
		struct entity *ent = heap_pop();

		if (ent->id < SIM_THREADS)
			return &threads[ent->id];
		page_event(&pages[ent->id - SIM_THREADS]);
	}
	return NULL;
}

static struct thread *next_explored(void)
{
	int pick = 0, i;

	if (!sim.ready_nr)
		return NULL;
	if (sim.one_in) {
		pick = sim_random(sim.ready_nr);
	} else {
		for (i = 1; i < sim.ready_nr; i++)
			if (threads[sim.ready[i]].prio > threads[sim.ready[pick]].prio)
				pick = i;
	}
	i = sim.ready[pick];
	sim.ready[pick] = sim.ready[--sim.ready_nr];
	return &threads[i];
}

/* The running thread cannot go on: somebody else runs, until it is made ready. */
static void park(enum wait why)
{
	struct thread *next;

	sim.cur->wait = why;
	next = sim.mode == SIM_EXPLORE ? next_explored() : next_timed();
	if (!next) {
		int i;

		for (i = 0; i < sim.nr; i++)
			if (threads[i].wait != FINISHED)
				leave_machine(SIM_STUCK);
		leave_machine(SIM_DONE);
	}
	switch_to(next);
}

/* Let everything happen that is earlier than the running thread's time. */
static void catch_up(void)
{
	struct thread *me = sim.cur;

	while (sim.heap_nr && before(heap[0], &me->ent)) {
		struct entity *ent = heap_pop();

		if (ent->id >= SIM_THREADS) {
			page_event(&pages[ent->id - SIM_THREADS]);
			continue;
		}
		me->wait = QUEUED;
		heap_push(&me->ent);
		switch_to(&threads[ent->id]);
	}
}

/* A point at which exploration may switch. */
static void choose(void)
{
	struct thread *me = sim.cur;
	unsigned int i;

	if (sim_stats.accesses > sim_limit)
		leave_machine(SIM_LONG);
	if (sim_interrupt && !me->task->irqs_off && !sim_random(32)) {
		me->task->irqs_off = 1;
		sim_interrupt();
		me->task->irqs_off = 0;
	}
	if (sim.one_in) {
		if (sim.one_in > 1 && sim_random(sim.one_in))
			return;
	} else {
		for (i = 0; i < ARRAY_SIZE(sim.change); i++)
			if (sim_stats.accesses == sim.change[i])
				me->prio = --sim.lowest;
	}
	make_ready(me, 0);
	switch_to(next_explored());
}

/* ---- pages ---- */

static bool may(const struct page *page, int node, bool write)
{
	return write ? page->owner == node : (page->nodes >> node) & 1;
}

/* The first look at that time or later of a thread that looks now and then. */
static u64 next_turn(const struct thread *th, u64 time)
{
	u64 relax = max(sim_costs.relax, 1ULL);

	return time <= th->look ? th->look : time + relax - 1 - (time - 1 - th->look) % relax;
}

static void wake_watchers(struct page *page, u64 which, u64 time)
{
	which &= page->watchers;
	page->watchers &= ~which;
	while (which) {
		struct thread *th = &threads[__builtin_ctzll(which)];

		which &= which - 1;
		th->watched = NULL;
		if (th->wait == SPINS) {
			make_ready(th, time);
			continue;
		}
		/* It would look at a time of its own, so it has one. */
		if (th->ent.pos != NOBODY)
			heap_remove(&th->ent);
		th->ent.time = min(th->ent.time, next_turn(th, time));
		if (th != sim.cur)
			heap_push(&th->ent);
	}
}

/* Who spins on a page that leaves its node looks again, and so asks for it. */
static void wake_watchers_on(struct page *page, u64 nodes, u64 time)
{
	u64 which = 0, rest = page->watchers;

	while (rest) {
		int i = __builtin_ctzll(rest);

		rest &= rest - 1;
		if ((nodes >> threads[i].task->node) & 1)
			which |= 1ULL << i;
	}
	wake_watchers(page, which, time);
}

/* Without some jitter threads fall into step, and one may always come too late. */
static u64 jittered(u64 ns)
{
	u64 most = ns * sim_costs.jitter / 100;

	return ns - most + sim_random(2 * most + 1);
}

static void begin_service(struct page *page, u64 time)
{
	struct request *req = &page->queue[page->head];
	u64 mine = 1ULL << req->node, lost;

	page->busy = true;
	page->moved++;
	if (req->write && (page->nodes & mine)) {
		page->ent.time = time + jittered(sim_costs.upgrade);
		sim_stats.upgrades++;
	} else {
		page->ent.time = time + jittered(sim_costs.transfer);
		sim_stats.transfers++;
	}
	page->owner = NOBODY;
	if (req->write) {
		lost = page->nodes & ~mine;
		page->nodes &= mine;
		wake_watchers_on(page, lost, time);
	}
	heap_push(&page->ent);
}

static void grant(struct page *page, u64 time)
{
	struct request *req = &page->queue[page->head];
	u64 rest = req->waiters;
	unsigned int i;

	page->nodes |= 1ULL << req->node;
	if (req->write) {
		page->owner = req->node;
		page->nodes = 1ULL << req->node;
	}
	/* What came over the network is in no CPU's cache here. */
	for (i = 0; i < LINES; i++)
		page->line[i].dirty = NOBODY;
	if (req->write)
		for (i = 0; i < LINES; i++)
			page->line[i].cpus = 0;
	page->head = (page->head + 1) % REQUESTS;
	page->count--;
	page->busy = false;
	page->held = time + sim_costs.hold;
	while (rest) {
		i = __builtin_ctzll(rest);
		rest &= rest - 1;
		make_ready(&threads[i], time);
	}
	if (page->count) {
		page->ent.time = page->held;
		heap_push(&page->ent);
	}
}

static void page_event(struct page *page)
{
	if (page->busy)
		grant(page, page->ent.time);
	else if (page->count)
		begin_service(page, page->ent.time);
}

/* Wait until the page has come for this access; that is then made whatever comes next. */
static void page_fault(struct page *page, int node, bool write)
{
	struct thread *me = sim.cur;
	struct request *req = NULL;
	int i;

	for (i = 0; i < page->count; i++) {
		struct request *r = &page->queue[(page->head + i) % REQUESTS];

		if (r->node != node || (write && !r->write && !i && page->busy))
			continue;
		r->write |= write;
		req = r;
		break;
	}
	if (!req) {
		req = &page->queue[(page->head + page->count++) % REQUESTS];
		req->node = node;
		req->write = write;
		req->waiters = 0;
	}
	req->waiters |= 1ULL << me->ent.id;
	/* Else the page has its place in the run queue, and gets to this request. */
	if (!page->busy && page->ent.pos == NOBODY) {
		if (page->held <= me->ent.time) {
			begin_service(page, me->ent.time);
		} else {
			page->ent.time = page->held;
			heap_push(&page->ent);
		}
	}
	park(FAULTS);
}

static void touch_line(struct line *line, int cpu, bool write)
{
	struct thread *me = sim.cur;
	u64 mine = 1ULL << cpu;

	if (write ? line->dirty == cpu : (line->cpus & mine) != 0) {
		me->ent.time += sim_costs.hit;
		return;
	}
	if (write || line->dirty != NOBODY) {
		me->ent.time = max(me->ent.time, line->busy) + sim_costs.line;
		line->busy = me->ent.time;
	} else {
		me->ent.time += sim_costs.line;
	}
	line->dirty = write ? cpu : NOBODY;
	line->cpus = write ? mine : line->cpus | mine;
}

/**
 * sim_here - is this shared memory, and somebody running in the machine?
 * @addr: an address
 *
 * Return: whether.
 */
bool sim_here(const volatile void *addr)
{
	return sim.cur && !sim_quiet && (size_t)((char *)addr - arena) < ARENA_PAGES * PAGE_SIZE;
}

/**
 * sim_access - the running thread is about to access shared memory
 * @addr: where, and sim_here()
 * @write: whether it may write
 * @plain: whether the compiler made it of a plain access
 *
 * Returns when the access may be made, its cost charged.
 */
void sim_access(const volatile void *addr, bool write, bool plain)
{
	struct thread *me = sim.cur;
	size_t offset = (char *)addr - arena;
	struct page *page = &pages[offset / PAGE_SIZE];
	int node;

	if (page->free)
		plat_bug("access to memory that was freed");
	if (sim.mode == SIM_EXPLORE) {
		/* What is plain and on one's own stack commutes with what others do. */
		if (plain && (size_t)((char *)addr - me->stack) < STACK_PAGES * PAGE_SIZE)
			return;
		sim_stats.accesses++;
		choose();
		return;
	}
	sim_stats.accesses++;
	if (write)
		me->looked_about = true;
	else if (!plain && !me->looked)
		me->looked = addr;
	else if (!plain && (uintptr_t)me->looked / SMP_CACHE_BYTES !=
		 (uintptr_t)addr / SMP_CACHE_BYTES)
		me->looked_about = true;
	catch_up();
	node = me->task->node;
	if (!may(page, node, write))
		page_fault(page, node, write);
	touch_line(&page->line[offset % PAGE_SIZE / SMP_CACHE_BYTES], me->task->cpu, write);
}

/**
 * sim_written - the running thread has written
 * @addr: where
 *
 * Who spins on that line looks again.
 */
void sim_written(const volatile void *addr)
{
	struct page *page = &pages[((char *)addr - arena) / PAGE_SIZE];
	uintptr_t line = (uintptr_t)addr / SMP_CACHE_BYTES;
	u64 which = 0, rest = page->watchers;

	while (rest) {
		int i = __builtin_ctzll(rest);

		rest &= rest - 1;
		if ((uintptr_t)threads[i].watched / SMP_CACHE_BYTES == line)
			which |= 1ULL << i;
	}
	if (which)
		wake_watchers(page, which, sim.cur->ent.time);
}

/* ---- the machine ---- */

/**
 * sim_reset - a new machine: no threads, empty memory, time 0
 * @mode: how it runs
 * @nodes: how many it has
 * @seed: of all that is random
 */
void sim_reset(enum sim_mode mode, int nodes, u64 seed)
{
	size_t i;

	if (!arena) {
		arena = mmap(NULL, ARENA_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (arena == MAP_FAILED)
			abort();
	}
	for (i = 0; i < sim.used; i++) {
		pages[i].free = false;
		pages[i].watchers = 0;
	}
	memset(&sim, 0, sizeof(sim));
	memset(&sim_stats, 0, sizeof(sim_stats));
	sim_bug = NULL;
	sim_interrupt = NULL;
	sim_limit = NEVER;
	sim_turns = 1;
	sim.mode = mode;
	sim.rng = sim_mix(seed);
	sim.gp = 1;
	nr_node_ids = nodes;
	if (mode == SIM_TIMED)
		return;
	/* Half the schedules switch at random, half by priorities that change now and then. */
	sim.one_in = sim_random(2) ? 1U << sim_random(5) : 0;
	for (i = 0; i < ARRAY_SIZE(sim.change); i++)
		sim.change[i] = i < sim_random(5) ? sim_random(500) : NEVER;
}

/**
 * sim_alloc - shared memory, zeroed, in pages of its own
 * @node: where it is
 * @size: bytes
 * @kind: what it is for, see sim_moved()
 *
 * Return: it; the program ends when there is none.
 */
void *sim_alloc(int node, size_t size, const char *kind)
{
	size_t first = sim.used, i, l;

	sim.used += (size + PAGE_SIZE - 1) / PAGE_SIZE;
	if (sim.used > ARENA_PAGES) {
		fprintf(stderr, "dsmsim: the simulated memory is full\n");
		exit(1);
	}
	memset(arena + first * PAGE_SIZE, 0, (sim.used - first) * PAGE_SIZE);
	if (sim.mode == SIM_EXPLORE)
		return arena + first * PAGE_SIZE;
	for (i = first; i < sim.used; i++) {
		struct page *page = &pages[i];

		memset(page, 0, sizeof(*page));
		page->ent.id = SIM_THREADS + i;
		page->ent.pos = NOBODY;
		page->nodes = 1ULL << node;
		page->owner = node;
		page->kind = kind;
		for (l = 0; l < LINES; l++)
			page->line[l].dirty = NOBODY;
	}
	return arena + first * PAGE_SIZE;
}

/**
 * sim_moved - how often pages were transferred or upgraded
 * @kind: of which kind
 *
 * Return: how often, since sim_reset().
 */
u64 sim_moved(const char *kind)
{
	u64 sum = 0;
	size_t i;

	for (i = 0; i < sim.used; i++)
		if (pages[i].kind && !strcmp(pages[i].kind, kind))
			sum += pages[i].moved;
	return sum;
}

static void thread_main(void)
{
	sim.cur->fn(sim.cur->arg);
	park(FINISHED);
	abort();
}

/**
 * sim_spawn - add a thread, on a CPU of its own
 * @node: where
 * @fn: what it does
 * @arg: handed to @fn
 *
 * Return: its task.
 */
struct task_struct *sim_spawn(int node, void (*fn)(void *arg), void *arg)
{
	struct thread *th = &threads[sim.nr];
	size_t first;

	memset(th, 0, sizeof(*th));
	th->ent.id = sim.nr;
	th->ent.pos = NOBODY;
	th->fn = fn;
	th->arg = arg;
	th->task = sim_alloc(node, sizeof(*th->task), "tasks");
	th->task->id = sim.nr;
	th->task->cpu = sim.nr;
	th->task->node = node;
	th->task->on_cpu = 1;
	if (sim.mode == SIM_TIMED) {
		th->stack = sim_alloc(node, STACK_PAGES * PAGE_SIZE, "stacks");
	} else {
		first = sim.used;
		sim.used += STACK_PAGES;
		th->stack = arena + first * PAGE_SIZE;
	}
	th->sp = first_frame(th->stack + STACK_PAGES * PAGE_SIZE, thread_main);
	th->prio = sim.mode == SIM_EXPLORE ? (int)sim_random(1000) : 0;
	sim.nr++;
	make_ready(th, 0);
	return th->task;
}

/**
 * sim_run - run until all threads have finished, or cannot
 *
 * Return: how it ended.
 */
enum sim_end sim_run(void)
{
	struct thread *first = sim.mode == SIM_EXPLORE ? next_explored() : next_timed();

	if (!first)
		return SIM_DONE;
	first->wait = RUNS;
	sim.cur = first;
	sim_switch(&sim.main_sp, first->sp);
	sim.cur = NULL;
	return sim.end;
}

/**
 * sim_state - what a thread does, in words
 * @thread: its number
 *
 * Return: the words, or NULL when there is no such thread.
 */
const char *sim_state(int thread)
{
	return thread < sim.nr ? wait_name[threads[thread].wait] : NULL;
}

/**
 * sim_random - a random number
 * @below: more than it
 *
 * Return: it.
 */
u64 sim_random(u64 below)
{
	return (sim_rng(&sim.rng) >> 32) % below;
}

/**
 * sim_now - the running thread's time
 *
 * Return: ns.
 */
u64 sim_now(void)
{
	return sim.cur ? sim.cur->ent.time : 0;
}

/**
 * sim_delay - the running thread computes, and touches nothing shared
 * @ns: so long
 */
void sim_delay(u64 ns)
{
	sim.cur->ent.time += ns;
}

/**
 * sim_sync - let everything happen that is earlier than the running thread's time
 *
 * For bookkeeping that is no part of the simulated program, before it is read or written.
 */
void sim_sync(void)
{
	if (sim.mode == SIM_TIMED)
		catch_up();
}

/**
 * sim_migrate - the running thread goes on, on another node
 * @node: which
 */
void sim_migrate(int node)
{
	sim.cur->task->node = node;
	if (sim_trace)
		sim_trace("goes to node", NULL, 0, node);
}

/**
 * sim_kill - send a fatal signal
 * @task: to whom
 */
void sim_kill(struct task_struct *task)
{
	WRITE_ONCE(task->sigpending, 1);
	wake_up_state(task, TASK_WAKEKILL);
}

/* ---- what the shim leaves to a back end ---- */

struct task_struct *get_current(void)
{
	return sim.cur->task;
}

int numa_node_id(void)
{
	return sim.cur ? sim.cur->task->node : 0;
}

void plat_bug(const char *what)
{
	sim_bug = what;
	if (!sim.cur) {
		fprintf(stderr, "dsmsim: %s\n", what);
		abort();
	}
	leave_machine(SIM_BUG);
}

void plat_may_sleep(const char *what)
{
	static char text[80];

	if (!sim.cur || !sim.cur->task->irqs_off)
		return;
	snprintf(text, sizeof(text), "%s with interrupts off", what);
	plat_bug(text);
}

void schedule(void)
{
	struct task_struct *me = sim.cur->task;

	plat_may_sleep("schedule");
	sim_access(&me->__state, true, false);
	if (me->__state == TASK_RUNNING)
		return;
	me->on_cpu = 0;
	sim_written(&me->on_cpu);
	sim.cur->ent.time += sim_costs.sleep;
	if (sim_trace)
		sim_trace("sleeps", NULL, 0, 0);
	park(SLEEPS);
	me->on_cpu = 1;
}

int wake_up_state(struct task_struct *task, int state)
{
	struct thread *th = &threads[task->id];
	u64 delay = sim_costs.wake;

	plat_may_sleep("waking a task");
	sim_access(&task->__state, true, false);
	if (!(task->__state & state))
		return 0;
	task->__state = TASK_RUNNING;
	if (sim_trace)
		sim_trace("wakes thread", NULL, 0, task->id);
	if (th->wait == SLEEPS) {
		if (task->node != sim.cur->task->node)
			delay += sim_costs.ipi;
		make_ready(th, sim.cur->ent.time + delay);
	}
	return 1;
}

/*
 * A turn of a loop that looks at one line only will see the same until that line is written to or
 * leaves the node, so up to sim_turns of them are one, which ends there.
 */
static void turn(struct thread *me)
{
	const volatile void *word = me->looked_about ? NULL : me->looked;
	struct page *page = word ? &pages[((char *)word - arena) / PAGE_SIZE] : NULL;
	u64 mine = 1ULL << me->ent.id;

	me->looked = NULL;
	me->looked_about = false;
	me->look = me->ent.time + sim_costs.relax;
	me->ent.time = me->look;
	if (page && sim_turns > 1 && may(page, me->task->node, false)) {
		me->ent.time += (sim_turns - 1) * sim_costs.relax;
		me->watched = word;
		page->watchers |= mine;
	}
	catch_up();
	if (me->watched)
		page->watchers &= ~mine;
	me->watched = NULL;
}

void cpu_relax(void)
{
	struct thread *me = sim.cur;

	sim_stats.accesses++;
	if (sim.mode == SIM_TIMED) {
		turn(me);
		return;
	}
	/* It waits for others, so they come first. */
	if (sim_stats.accesses > sim_limit)
		leave_machine(SIM_LONG);
	me->prio = --sim.lowest;
	make_ready(me, 0);
	switch_to(next_explored());
}

bool need_resched(void)
{
	return sim.mode == SIM_EXPLORE && !sim_random(16);
}

void plat_spin_wait(const void *word, unsigned long value, size_t size)
{
	unsigned long now = 0;

	memcpy(&now, word, size);
	if (size < sizeof(value))
		value &= (1UL << (8 * size)) - 1;
	if (now != value)
		return;
	sim.cur->watched = word;
	pages[((char *)word - arena) / PAGE_SIZE].watchers |= 1ULL << sim.cur->ent.id;
	park(SPINS);
}

u64 plat_clock(void)
{
	return sim_now();
}

u64 local_clock(void)
{
	if (sim.mode == SIM_EXPLORE)
		return sim.clock += 1ULL << sim_random(20);
	return sim_now();
}

void *plat_this_cpu(void)
{
	struct thread *me = sim.cur;

	if (!me->cpu)
		me->cpu = sim_alloc(me->task->node, PAGE_SIZE, "CPUs' pages");
	return me->cpu;
}

bool plat_passed(u64 ns)
{
	if (sim.mode == SIM_EXPLORE)
		return !sim_random(4);
	return sim_now() > ns;
}

/* ---- RCU ---- */

/* Those that wait look again when somebody has become quiet. */
static void wake_rcu(void)
{
	int i;

	for (i = 0; i < sim.nr; i++)
		if (threads[i].wait == SLEEPS_RCU)
			make_ready(&threads[i], sim.cur->ent.time);
}

static void not_quiet(struct task_struct *me)
{
	if (!me->crit_seq)
		me->crit_seq = sim.gp;
}

static void quiet(struct task_struct *me)
{
	if (me->irqs_off || me->rcu_nesting)
		return;
	me->crit_seq = 0;
	wake_rcu();
}

void local_irq_disable(void)
{
	sim.cur->task->irqs_off = 1;
	not_quiet(sim.cur->task);
	sim_access(&sim.cur->task->irqs_off, false, false);
}

void local_irq_enable(void)
{
	sim.cur->task->irqs_off = 0;
	quiet(sim.cur->task);
	sim_access(&sim.cur->task->irqs_off, false, false);
}

bool irqs_disabled(void)
{
	return sim.cur->task->irqs_off;
}

void rcu_read_lock(void)
{
	sim.cur->task->rcu_nesting++;
	not_quiet(sim.cur->task);
}

void rcu_read_unlock(void)
{
	if (!--sim.cur->task->rcu_nesting)
		quiet(sim.cur->task);
}

unsigned long start_poll_synchronize_rcu_expedited(void)
{
	return ++sim.gp;
}

unsigned long get_state_synchronize_rcu(void)
{
	return ++sim.gp;
}

bool poll_state_synchronize_rcu(unsigned long seq)
{
	int i;

	for (i = 0; i < sim.nr; i++)
		if (threads[i].task->crit_seq && threads[i].task->crit_seq < seq)
			return false;
	return true;
}

void synchronize_rcu(void)
{
	unsigned long seq = start_poll_synchronize_rcu_expedited();

	plat_may_sleep(__func__);
	if (!sim.cur)
		return;
	while (!poll_state_synchronize_rcu(seq))
		park(SLEEPS_RCU);
}

/* ---- memory ---- */

struct page *alloc_pages_node(int node, gfp_t gfp, int order)
{
	(void)gfp;
	/* The callers under test must live without. */
	if (sim.mode == SIM_EXPLORE && sim.cur && !sim_random(16))
		return NULL;
	return sim_alloc(node, PAGE_SIZE << order, "nodes' pages");
}

unsigned long __get_free_pages(gfp_t gfp, int order)
{
	return (unsigned long)alloc_pages_node(numa_node_id(), gfp, order);
}

void free_pages(unsigned long addr, int order)
{
	size_t first = ((char *)addr - arena) / PAGE_SIZE, i;

	if (!addr)
		return;
	for (i = first; i < first + (1UL << order); i++)
		pages[i].free = true;
}
