// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory allocation and copying on every CPU at once: what a guest that spans hosts is bad at.
 *
 * The master thread maps and fills a source region.  Then every thread, pinned to its CPU, maps
 * a private destination, populates it, copies the source into it, checks it and unmaps it.  A
 * barrier stands before each phase, and each thread times its own part of it.  A wrong checksum is
 * a failure of the machine, never of the figures: exit 1.  The source has new contents in each
 * iteration, so that a stale page shows.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "topo.h"

#define __printf(a, b)	__attribute((format(printf, a, b)))
#define __noreturn	__attribute((noreturn))

#define PAGE		4096UL
#define MPOL_BIND	2
#define MAX_THREADS	TOPO_CPUS
#define MAX_ITERATIONS	1000

typedef unsigned long long u64;

enum phase { MAP, POPULATE, COPY, VERIFY, UNMAP, NR_PHASES };

static const char * const phase_name[NR_PHASES] = { "map", "populate", "copy", "verify", "unmap" };

struct worker {
	pthread_t thread;
	int cpu;
	int node;
	u64 *start[NR_PHASES];	/* by iteration, CLOCK_MONOTONIC ns */
	u64 *ns[NR_PHASES];
	bool wrong;
};

static struct topo topo;
static struct worker worker[MAX_THREADS];
static pthread_barrier_t barrier;
static u64 *source, source_sum, *fill_ns;
static size_t size = 16 << 20;
static long nr_threads, iterations = 3;
static bool node_local, populate_map, no_copy, json_only;
static const char *command;	/* while all memory is mapped */

static u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

__printf(2, 3) __noreturn
static void die(int status, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "membench: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	exit(status);
}

/* Position matters: two swapped pages do not cancel out. */
static u64 checksum(const u64 *p)
{
	u64 h = 0;
	size_t i;

	for (i = 0; i < size / sizeof(*p); i++)
		h = (h ^ p[i]) * 0x9e3779b97f4a7c15ULL + i;
	return h;
}

static void fill_source(int iteration)
{
	u64 t = now_ns(), x = iteration + 1;
	size_t i;

	for (i = 0; i < size / sizeof(*source); i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		source[i] = x;
	}
	fill_ns[iteration] = now_ns() - t;
	source_sum = checksum(source);
}

static void *map_private(bool populate)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | (populate ? MAP_POPULATE : 0), -1, 0);

	if (p == MAP_FAILED)
		die(1, "mmap of %zu bytes: %s", size, strerror(errno));
	return p;
}

/* Memory of this node and no other, whatever the policy of the machine. */
static void bind_to_node(void *p, int node)
{
	unsigned long mask[TOPO_NODES / 8 / sizeof(long)] = { 0 };

	mask[node / (8 * sizeof(long))] = 1UL << node % (8 * sizeof(long));
	if (syscall(SYS_mbind, p, size, MPOL_BIND, mask, TOPO_NODES + 1, 0))
		die(1, "mbind to node %d: %s", node, strerror(errno));
}

/* The first worker runs it when all are done with their memory; the others wait for it. */
static void run_command(bool first)
{
	int status;

	pthread_barrier_wait(&barrier);
	if (!first)
		return;
	status = system(command);
	if (status)
		die(1, "--before-unmap '%s': wait status %#x, expected 0", command, status);
}

static void run_phases(struct worker *w, int iteration)
{
	u64 *dst = NULL;
	enum phase p;
	size_t i;

	for (p = 0; p < NR_PHASES; p++) {
		u64 t;

		if (no_copy && (p == COPY || p == VERIFY))
			continue;
		if (command && p == UNMAP)
			run_command(w == worker);
		pthread_barrier_wait(&barrier);
		t = now_ns();
		switch (p) {
		case MAP:
			dst = map_private(populate_map && !node_local);
			if (node_local)
				bind_to_node(dst, topo.id[w->node]);
			break;
		case POPULATE:
			if (populate_map && node_local) {
				if (madvise(dst, size, MADV_POPULATE_WRITE))
					die(1, "madvise(MADV_POPULATE_WRITE): %s", strerror(errno));
			} else if (!populate_map) {
				for (i = 0; i < size; i += PAGE)
					__atomic_store_n((char *)dst + i, 1, __ATOMIC_RELAXED);
			}
			break;
		case COPY:
			memcpy(dst, source, size);
			break;
		case VERIFY:
			if (checksum(dst) != source_sum)
				w->wrong = true;
			break;
		default:
			munmap(dst, size);
		}
		w->start[p][iteration] = t;
		w->ns[p][iteration] = now_ns() - t;
	}
}

static void *work(void *arg)
{
	struct worker *w = arg;
	int i, err = topo_pin(w->cpu);

	if (err)
		die(1, "CPU %d: %s", w->cpu, strerror(err));
	for (i = 0; i < iterations; i++) {
		/* The first worker is the master. */
		if (w == worker && !no_copy) {
			if (!source)
				source = map_private(false);
			fill_source(i);
		}
		run_phases(w, i);
		/* Nobody may still read the source when it changes. */
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

/* From the first thread's start to the last one's end. */
static u64 wall_ns(enum phase p, int iteration)
{
	u64 first = ~0ULL, last = 0;
	int t;

	for (t = 0; t < nr_threads; t++) {
		u64 s = worker[t].start[p][iteration];

		if (s < first)
			first = s;
		if (s + worker[t].ns[p][iteration] > last)
			last = s + worker[t].ns[p][iteration];
	}
	return last - first;
}

static int by_value(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

/* Sorts @v: its middle is then the median, its ends the least and the most. */
static u64 median(u64 *v)
{
	qsort(v, iterations, sizeof(*v), by_value);
	return v[iterations / 2];
}

static double mib_per_s(double bytes, u64 ns)
{
	return bytes / (1 << 20) / ((ns ?: 1) / 1e9);
}

static void print_row(const char *metric, u64 *v, bool first)
{
	u64 m = median(v);

	printf("%s{\"config\": \"t%ld\", \"metric\": \"%s\", \"unit\": \"ns\", ", first ? "" : ", ",
	       nr_threads, metric);
	printf("\"median\": %llu, \"min\": %llu, \"max\": %llu, \"n\": %ld}", m, v[0],
	       v[iterations - 1], iterations);
}

/* @wall is sorted in place by both reports. */
static void print_table(u64 *wall[])
{
	enum phase p;
	long t;

	printf("# membench: %ld threads, %zu KiB each, %ld iterations, ", nr_threads, size >> 10,
	       iterations);
	printf("populate by %s%s\n", populate_map ? "the kernel" : "touching",
	       node_local ? ", memory of the own node" : "");
	printf("# medians in microseconds, from each thread's own start to its end\n");
	printf("# %6s %4s %4s", "thread", "cpu", "node");
	for (p = 0; p < NR_PHASES; p++)
		printf(" %10s", phase_name[p]);
	printf("  copy MiB/s\n");
	for (t = 0; t < nr_threads; t++) {
		struct worker *w = &worker[t];

		printf("  %6ld %4d %4d", t, w->cpu, topo.id[w->node]);
		for (p = 0; p < NR_PHASES; p++)
			printf(" %10.1f", median(w->ns[p]) / 1e3);
		printf(" %11.1f\n", mib_per_s(size, median(w->ns[COPY])));
	}
	printf("# %-16s", "all, first-last");
	for (p = 0; p < NR_PHASES; p++)
		printf(" %10.1f", median(wall[p]) / 1e3);
	printf(" %11.1f\n", mib_per_s((double)size * nr_threads, median(wall[COPY])));
	printf("# source filled in %.1f microseconds\n", median(fill_ns) / 1e3);
}

static void print_json(u64 *wall[], bool wrong)
{
	enum phase p;
	long t;

	printf("{\"bench\": \"membench\", \"threads\": %ld, \"bytes\": %zu, \"iterations\": %ld, ",
	       nr_threads, size, iterations);
	printf("\"populate\": \"%s\", \"node_local\": %s, \"checksums\": \"%s\", \"rows\": [",
	       populate_map ? "map" : "touch", node_local ? "true" : "false",
	       wrong ? "wrong" : "ok");
	for (p = 0; p < NR_PHASES; p++)
		print_row(phase_name[p], wall[p], !p);
	print_row("source", fill_ns, false);
	printf("], \"per_thread\": [");
	for (t = 0; t < nr_threads; t++) {
		struct worker *w = &worker[t];

		printf("%s{\"thread\": %ld, \"cpu\": %d, \"node\": %d", t ? ", " : "", t, w->cpu,
		       topo.id[w->node]);
		for (p = 0; p < NR_PHASES; p++)
			printf(", \"%s_ns\": %llu", phase_name[p], median(w->ns[p]));
		printf("}");
	}
	printf("]}\n");
}

static int print_report(void)
{
	u64 *wall[NR_PHASES];
	bool wrong = false;
	enum phase p;
	long t;
	int i;

	for (p = 0; p < NR_PHASES; p++) {
		wall[p] = calloc(iterations, sizeof(**wall));
		if (!wall[p])
			die(1, "no memory for the report");
		for (i = 0; i < iterations; i++)
			wall[p][i] = wall_ns(p, i);
	}
	for (t = 0; t < nr_threads; t++) {
		if (!worker[t].wrong)
			continue;
		wrong = true;
		fprintf(stderr, "membench: thread %ld on CPU %d: wrong checksum\n", t,
			worker[t].cpu);
	}
	if (!json_only)
		print_table(wall);
	print_json(wall, wrong);
	return wrong;
}

static int print_topology(void)
{
	char path[96], buf[4096];
	int i, j;

	printf("nodes: %d%s\n", topo.nr_nodes, topo.numa ? "" : " (the kernel shows no NUMA)");
	for (i = 0; i < topo.nr_nodes; i++) {
		printf("node %d: cpus", topo.id[i]);
		for (j = 0; j < topo.nr_cpus; j++)
			if (topo.node[j] == i)
				printf(" %d", topo.cpu[j]);
		printf("; MemTotal %ld KiB",
		       topo_mem_kib(topo.numa ? topo.id[i] : -1, "MemTotal:"));
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/distance",
			 topo.id[i]);
		if (topo_read(path, buf, sizeof(buf))) {
			buf[strcspn(buf, "\n")] = '\0';
			printf("; distances %s", buf);
		}
		printf("\n");
	}
	return 0;
}

static long parse_number(const char *option, const char *s, long min, long max)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(s, &end, 10);
	if (end == s || *end || errno || v < min || v > max)
		die(2, "%s '%s': expected a number from %ld to %ld", option, s, min, max);
	return v;
}

static void print_usage(void)
{
	printf("usage: membench [OPTION]...\n"
	       "One thread per CPU maps, populates and fills memory by copying; times per phase.\n"
	       "  --size SIZE        bytes of the source and of each destination: K, M, G (16M)\n"
	       "  --threads N        threads, on the first N CPUs in turn (one per online CPU)\n"
	       "  --iterations N     times to do it all; medians are shown (3)\n"
	       "  --populate HOW     touch: write to each page; map: let the kernel do it (touch)\n"
	       "  --node-local       destinations in memory of the thread's own NUMA node only\n"
	       "  --no-copy          neither source nor copies: what page faults cost, alone\n"
	       "  --before-unmap CMD run a shell command in each iteration, while all is mapped\n"
	       "  --json             print the JSON line only\n"
	       "  --topology         print the NUMA nodes, their CPUs, memory, distances; then exit\n"
	       "  --help             this text\n"
	       "Exit status: 0; 1 for a wrong checksum or a failed call; 2 for a bad option.\n");
}

static bool parse_options(int argc, char **argv)
{
	static const struct option options[] = {
		{ "size", required_argument, NULL, 's' },
		{ "threads", required_argument, NULL, 't' },
		{ "iterations", required_argument, NULL, 'i' },
		{ "populate", required_argument, NULL, 'p' },
		{ "node-local", no_argument, NULL, 'l' },
		{ "no-copy", no_argument, NULL, 'n' },
		{ "before-unmap", required_argument, NULL, 'b' },
		{ "json", no_argument, NULL, 'j' },
		{ "topology", no_argument, NULL, 'T' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	bool show = false;
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		switch (c) {
		case 's':
			if (topo_parse_size(optarg, &size) || !size || size % PAGE ||
			    size > ~0UL / 2)
				die(2, "--size '%s': expected a multiple of 4K, as 16M", optarg);
			break;
		case 't':
			nr_threads = parse_number("--threads", optarg, 1, MAX_THREADS);
			break;
		case 'i':
			iterations = parse_number("--iterations", optarg, 1, MAX_ITERATIONS);
			break;
		case 'p':
			populate_map = !strcmp(optarg, "map");
			if (!populate_map && strcmp(optarg, "touch"))
				die(2, "--populate '%s': expected touch or map", optarg);
			break;
		case 'l':
			node_local = true;
			break;
		case 'n':
			no_copy = true;
			break;
		case 'b':
			command = optarg;
			break;
		case 'j':
			json_only = true;
			break;
		case 'T':
			show = true;
			break;
		case 'h':
			print_usage();
			exit(0);
		case ':':
			die(2, "%s: expected a value", argv[optind - 1]);
		default:
			die(2, "'%s': expected an option of --help", argv[optind - 1]);
		}
	}
	if (optind < argc)
		die(2, "'%s': expected no argument", argv[optind]);
	return show;
}

int main(int argc, char **argv)
{
	bool show = parse_options(argc, argv);
	enum phase p;
	int t, err;

	if (topo_get(&topo))
		die(1, "/sys/devices/system/cpu/online: cannot be read; is sysfs mounted?");
	if (show)
		return print_topology();
	if (node_local && !topo.numa)
		die(1, "--node-local: the kernel shows no NUMA nodes");
	if (!nr_threads)
		nr_threads = topo.nr_cpus;

	fill_ns = calloc(iterations, sizeof(*fill_ns));
	for (t = 0; t < nr_threads; t++) {
		worker[t].cpu = topo.cpu[t % topo.nr_cpus];
		worker[t].node = topo.node[t % topo.nr_cpus];
		for (p = 0; p < NR_PHASES; p++) {
			worker[t].start[p] = calloc(iterations, sizeof(u64));
			worker[t].ns[p] = calloc(iterations, sizeof(u64));
			if (!worker[t].start[p] || !worker[t].ns[p] || !fill_ns)
				die(1, "no memory for the figures");
		}
	}
	pthread_barrier_init(&barrier, NULL, nr_threads);
	for (t = 0; t < nr_threads; t++) {
		err = pthread_create(&worker[t].thread, NULL, work, &worker[t]);
		if (err)
			die(1, "thread %d: %s", t, strerror(err));
	}
	for (t = 0; t < nr_threads; t++)
		pthread_join(worker[t].thread, NULL);
	return print_report();
}
