// SPDX-License-Identifier: GPL-2.0-only
/*
 * The workloads in simulated time, and the standard table of them.
 *
 * Threads are spread evenly over the nodes, each on a CPU of its own.  Each thinks, takes the
 * lock, touches a page of data that all share (readers read it, writers write it), works, and
 * lets go.  Counted is what completes within a fixed number of virtual microseconds.
 *
 * A reader phase, for a writer that waits: the readers that are in when it comes are none of
 * its business; when they have all left, the next to be in begin its first phase, which takes
 * in who comes until the first of them leaves; when all of these have left the second begins,
 * and so on.  A phase lasts at least a lap, the time in which each node could have been told
 * once of the writer and answered: nobody can close the door sooner.
 *
 * A batch, of a lock that runs operations: what a node runs from getting the lock to losing it.
 */
#include "operate.h"
#include "sim.h"
#include "table.h"

#define LONG_NS		200000000ULL	/* where operations are slow */
#define MEDIUM_NS	50000000ULL
#define SHORT_NS	10000000ULL
#define READ_NS		1000
#define WRITE_NS	1000
#define THINK_NS	1000
#define SEEDS		3

/**
 * struct workload - what the threads do
 * @name: on the command line, in tables
 * @read_share: percent
 * @read_ns: a reader's work
 * @think_ns: between two operations, on average
 * @one_writer: thread 0 only writes, the others only read
 * @operate: for spinlocks: what they do instead
 */
struct workload {
	const char *name;
	unsigned int read_share;
	u64 read_ns, think_ns;
	bool one_writer;
	const struct operate_kind *operate;
};

static const struct workload workloads[] = {
	{ "read100", 100, READ_NS, THINK_NS, false, NULL },
	{ "read99", 99, READ_NS, THINK_NS, false, NULL },
	{ "read90", 90, READ_NS, THINK_NS, false, NULL },
	{ "read50", 50, READ_NS, THINK_NS, false, NULL },
	{ "read0", 0, READ_NS, THINK_NS, false, NULL },
	{ "counter", 0, 0, THINK_NS, false, &operate_counter },
	{ "list", 0, 0, THINK_NS, false, &operate_list },
	{ "hammer", 100, 500000, 0, true, NULL },
};

#define TABLE_WORKLOADS	7	/* the last is for `check` */

/* The first of each is what the others are compared to. */
static const struct lock_ops * const rw_locks[] = {
	&lock_rwsem, &lock_percpu, &lock_array, &lock_pernode, NULL,
};

static const struct lock_ops * const spin_locks[] = {
	&lock_qspin, &lock_tas, &lock_ticket, &lock_mcs, &lock_cohort, &lock_cc, &lock_ccsynch,
	NULL,
};

static const int node_list[] = { 1, 2, 4, 8 };
static const int thread_list[] = { 1, 2, 4, 8, 16, 32, 64 };

struct result {
	u64 ops, writes;
	double transfers, upgrades, fairness;
	double per_batch;	/* transfers and upgrades of all, and of the lock's pages */
	double lock_per_batch;
	u64 phases, wait_ns;
};

/* A writer that waits. */
struct waiting {
	u64 members;	/* the threads of the phase that have not left */
	bool open;	/* none of them has */
	u64 began;
	u64 phases;
};

static struct {
	const struct table_run *run;
	void *lock;
	int *data;
	struct lock_user user;
	u64 inside;		/* threads that read */
	u64 waiting;		/* threads that wait to write */
	struct waiting wait[SIM_THREADS];
	u64 rng[SIM_THREADS], ops[SIM_THREADS];
	u64 lap, duration;
	struct result sum;
} x;

/* Somebody came or left: has a phase ended for a writer that waits, and the next begun? */
static void next_phase(u64 now)
{
	u64 rest = x.waiting;

	while (rest) {
		struct waiting *w = &x.wait[__builtin_ctzll(rest)];

		rest &= rest - 1;
		if (w->members & ~x.inside)
			w->open = false;
		w->members = w->open ? x.inside : w->members & x.inside;
		if (w->members || !x.inside || now < w->began + x.lap)
			continue;
		w->open = true;
		w->members = x.inside;
		w->began = now;
		w->phases++;
	}
}

static void read_once(int me)
{
	const struct table_run *run = x.run;

	run->lock->down_read(x.lock);
	sim_sync();
	x.inside |= 1ULL << me;
	next_phase(sim_now());
	sim_access(x.data, false, false);
	sim_delay(run->work->read_ns);
	sim_sync();
	x.inside &= ~(1ULL << me);
	next_phase(sim_now());
	run->lock->up_read(x.lock);
}

static void write_once(int me)
{
	const struct table_run *run = x.run;
	struct waiting *w = &x.wait[me];
	u64 began;

	sim_sync();
	began = sim_now();
	w->members = x.inside;
	w->began = began;
	w->phases = 0;
	w->open = false;
	x.waiting |= 1ULL << me;
	run->lock->down_write(x.lock);
	sim_sync();
	if (x.inside)
		plat_bug("a writer is in with a reader");
	x.waiting &= ~(1ULL << me);
	x.sum.phases = max(x.sum.phases, w->phases);
	x.sum.wait_ns = max(x.sum.wait_ns, sim_now() - began);
	x.sum.writes++;
	sim_access(x.data, true, false);
	sim_delay(WRITE_NS);
	sim_sync();
	if (x.inside)
		plat_bug("a reader came in with a writer");
	run->lock->up_write(x.lock);
}

static void worker(void *arg)
{
	int me = (long)arg;
	const struct workload *work = x.run->work;
	u64 *rng = &x.rng[me];
	bool reads;

	for (;;) {
		if (work->think_ns)
			sim_delay(work->think_ns / 2 + (sim_rng(rng) >> 32) % work->think_ns);
		sim_sync();
		if (sim_now() >= x.duration)
			return;
		if (work->operate) {
			lock_user_run(&x.user, 0);
			x.sum.writes++;
			if (sim_now() < x.duration)
				x.ops[me]++;
			continue;
		}
		if (work->one_writer)
			reads = me != 0;
		else
			reads = (sim_rng(rng) >> 32) % 100 < work->read_share;
		if (reads)
			read_once(me);
		else
			write_once(me);
		if (sim_now() < x.duration)
			x.ops[me]++;
	}
}

static u64 duration(const struct table_run *run)
{
	bool fast = run->nodes == 1 || (run->work->read_share == 100 && !run->work->one_writer);

	if (run->work->operate && !fast)
		return MEDIUM_NS;
	return fast ? SHORT_NS : LONG_NS;
}

static void make_lock(const struct table_run *run)
{
	x.lock = sim_alloc(0, run->lock->size, "lock");
	if (!run->work->operate) {
		x.data = sim_alloc(0, sizeof(*x.data), "data");
		/* pernode expands when a second node comes, and not before. */
		run->lock->init(x.lock, run->nodes > 1 ? -1 : 0);
		return;
	}
	x.user = (struct lock_user){
		run->lock, x.lock, run->work->operate->op, operate_init(run->work->operate),
	};
	lock_user_init(&x.user);
}

static void count_batches(const struct table_run *run)
{
	u64 moved = sim_stats.transfers + sim_stats.upgrades, batches;

	if (!run->lock->batches)
		return;
	batches = run->lock->batches(x.lock);
	if (!batches)
		return;
	x.sum.per_batch = (double)moved / batches;
	x.sum.lock_per_batch = (double)(moved - sim_moved("data")) / batches;
}

static const char *wrong_result(const struct table_run *run)
{
	if (!run->work->operate)
		return NULL;
	if (!run->work->operate->check(x.user.state, x.sum.writes))
		return "the data is not what so many operations make of it";
	return run->lock->check(x.lock);
}

static bool run_cell(const struct table_run *run, u64 seed, struct result *result)
{
	double sum = 0, squares = 0;
	const char *wrong;
	enum sim_end end;
	int t;

	sim_reset(SIM_TIMED, run->nodes, seed);
	sim_turns = run->lock->timed ? 16 : 1;
	memset(&x, 0, sizeof(x));
	x.run = run;
	make_lock(run);
	x.duration = duration(run);
	x.lap = run->nodes > 1 ? 2 * run->nodes * sim_costs.transfer :
				 2 * run->threads * sim_costs.line;
	for (t = 0; t < run->threads; t++) {
		x.rng[t] = sim_mix(seed * 1000 + t);
		sim_spawn(t * run->nodes / run->threads, worker, (void *)(long)t);
	}
	end = sim_run();
	wrong = end == SIM_DONE ? wrong_result(run) :
		end == SIM_BUG ? sim_bug : "nobody can run";
	if (wrong) {
		fprintf(stderr, "dsmsim: %s/%s/n%d/t%d: %s\n", run->lock->name, run->work->name,
			run->nodes, run->threads, wrong);
		return false;
	}
	count_batches(run);
	for (t = 0; t < run->threads; t++) {
		x.sum.ops += x.ops[t];
		sum += x.ops[t];
		squares += (double)x.ops[t] * x.ops[t];
	}
	x.sum.transfers = x.sum.ops ? (double)sim_stats.transfers / x.sum.ops : 0;
	x.sum.upgrades = x.sum.ops ? (double)sim_stats.upgrades / x.sum.ops : 0;
	x.sum.fairness = squares > 0 ? sum * sum / (run->threads * squares) : 1;
	*result = x.sum;
	return true;
}

/**
 * table_workload - find a workload
 * @name: how it begins
 * @len: so long is the name
 *
 * Return: it, or NULL.
 */
const struct workload *table_workload(const char *name, size_t len)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(workloads); i++)
		if (strlen(workloads[i].name) == len && !strncmp(workloads[i].name, name, len))
			return &workloads[i];
	return NULL;
}

static void print_heading(const struct workload *work)
{
	printf("%-28s ops/ms  speedup  transfers/op  upgrades/op  %s  fairness\n", "config",
	       work->operate ? "moved/batch  lock's/batch" : "phases  wait us");
}

static void print_cell(const struct table_run *run, const struct result *r, double speedup)
{
	char config[64];

	snprintf(config, sizeof(config), "%s/%s/n%d/t%d", run->lock->name, run->work->name,
		 run->nodes, run->threads);
	printf("%-25s %9.1f %8.2f %13.3f %12.3f ", config, r->ops * 1e6 / duration(run), speedup,
	       r->transfers, r->upgrades);
	if (!run->work->operate)
		printf("%7llu %8llu", r->phases, r->wait_ns / 1000);
	else if (r->per_batch > 0)
		printf("%12.3f %13.3f", r->per_batch, r->lock_per_batch);
	else
		printf("%12s %13s", "-", "-");
	printf(" %9.2f\n", r->fairness);
}

static const struct lock_ops * const *lock_list(const struct workload *work)
{
	return work->operate ? spin_locks : rw_locks;
}

static double ratio(const struct result *r, const struct result *base)
{
	return base->ops ? (double)r->ops / base->ops : 0;
}

/**
 * table_fits - is the lock one for the workload?
 * @run: both
 *
 * Return: whether.
 */
bool table_fits(const struct table_run *run)
{
	if (run->work->operate)
		return run->lock->lock || run->lock->run;
	return run->lock->down_read && !run->lock->vma_read;
}

/**
 * table_one - run and print one cell
 * @run: which
 *
 * Return: whether it ran to its end.
 */
bool table_one(const struct table_run *run)
{
	static const char * const kinds[] = {
		"lock", "nodes' pages", "data", "tasks", "stacks", "CPUs' pages",
	};
	struct table_run base = *run;
	struct result r, b;
	size_t i;

	base.lock = lock_list(run->work)[0];
	if (!run_cell(&base, 1, &b) || !run_cell(run, 1, &r))
		return false;
	print_heading(run->work);
	print_cell(run, &r, ratio(&r, &b));
	printf("moved per op:");
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		printf(" %s %.3f", kinds[i], r.ops ? (double)sim_moved(kinds[i]) / r.ops : 0);
	putchar('\n');
	return true;
}

static int compare(const void *a, const void *b)
{
	double d = *(const double *)a - *(const double *)b;

	return (d > 0) - (d < 0);
}

static double median(const double *value)
{
	double v[SEEDS];

	memcpy(v, value, sizeof(v));
	qsort(v, SEEDS, sizeof(*v), compare);
	return v[SEEDS / 2];
}

static void json_row(FILE *json, const struct table_run *run, const char *metric,
		     const char *unit, const double *value)
{
	static FILE *last;
	double v[SEEDS];

	if (!json)
		return;
	memcpy(v, value, sizeof(v));
	qsort(v, SEEDS, sizeof(*v), compare);
	fprintf(json, "%s\n  {\"config\": \"%s/%s/n%d/t%d\", \"metric\": \"%s\", "
		"\"unit\": \"%s\", \"median\": %.3f, \"min\": %.3f, \"max\": %.3f, \"n\": %d}",
		last == json ? "," : "", run->lock->name, run->work->name, run->nodes,
		run->threads, metric, unit, v[SEEDS / 2], v[0], v[SEEDS - 1], SEEDS);
	last = json;
}

/* All locks in one place of the table: each with SEEDS seeds, compared seed by seed. */
static bool group(const struct workload *work, int nodes, int threads, FILE *json)
{
	const struct lock_ops * const *lock = lock_list(work);
	struct result base[SEEDS], r[SEEDS];
	size_t s, middle;

	for (; *lock; lock++) {
		struct table_run run = { *lock, work, nodes, threads };
		double speedup[SEEDS], transfers[SEEDS], phases[SEEDS], batch[SEEDS];
		double lock_batch[SEEDS], fairness[SEEDS];

		for (s = 0; s < SEEDS; s++) {
			if (!run_cell(&run, s + 1, &r[s]))
				return false;
			if (lock == lock_list(work))
				base[s] = r[s];
			speedup[s] = ratio(&r[s], &base[s]);
			transfers[s] = r[s].transfers;
			phases[s] = r[s].phases;
			batch[s] = r[s].per_batch;
			lock_batch[s] = r[s].lock_per_batch;
			fairness[s] = r[s].fairness;
		}
		/* The text shows the run with the median speed-up. */
		for (middle = 0; middle < SEEDS - 1; middle++)
			if (speedup[middle] == median(speedup))
				break;
		print_cell(&run, &r[middle], speedup[middle]);
		json_row(json, &run, work->operate ? "speedup_vs_qspinlock" : "speedup_vs_rwsem",
			 "ratio", speedup);
		json_row(json, &run, "transfers_per_op", "transfers", transfers);
		if (!work->operate) {
			json_row(json, &run, "writer_phases_max", "phases", phases);
			continue;
		}
		json_row(json, &run, "fairness", "Jain", fairness);
		if (!run.lock->batches)
			continue;
		json_row(json, &run, "transfers_per_batch", "transfers", batch);
		json_row(json, &run, "lock_transfers_per_batch", "transfers", lock_batch);
	}
	return true;
}

/**
 * table - print the standard table
 * @file: write it there as JSON, too; or NULL
 *
 * Return: whether all ran to their ends, and the file could be written.
 */
bool table(const char *file)
{
	FILE *json = NULL;
	size_t w, n, t;

	if (file) {
		json = fopen(file, "w");
		if (!json) {
			fprintf(stderr, "dsmsim: %s: %s\n", file, strerror(errno));
			return false;
		}
		fputs("{\"bench\": \"sim\", \"rows\": [", json);
	}
	for (w = 0; w < TABLE_WORKLOADS; w++) {
		if (!w || !workloads[w].operate != !workloads[w - 1].operate)
			print_heading(&workloads[w]);
		for (n = 0; n < ARRAY_SIZE(node_list); n++)
			for (t = 0; t < ARRAY_SIZE(thread_list); t++)
				if (thread_list[t] >= node_list[n] &&
				    !group(&workloads[w], node_list[n], thread_list[t], json))
					return false;
	}
	if (!json)
		return true;
	fputs("\n]}\n", json);
	if (fclose(json)) {
		fprintf(stderr, "dsmsim: %s: %s\n", file, strerror(errno));
		return false;
	}
	return true;
}
