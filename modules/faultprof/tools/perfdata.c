// SPDX-License-Identifier: GPL-2.0-only
/*
 * Writes faults as a perf.data, for perf report, perf mem report and perf c2c report: one sample
 * for each, of the event dsm-reads or dsm-writes, as if the guest had recorded itself.  A sample's
 * CPU is the guest's; one that two nodes have, and what was no CPU's access, gets a number of its
 * own, so that the CPU says the node.  Where the contents came from is replayed from the trace:
 * what another node was seen to write, and nobody to take since, is that node's modified copy.
 *
 * perf reads the file as its own, so its layout is fixed: a header that says where the rest is;
 * the events' attributes, each with its id; records by time; a section for each feature.
 */
#include <linux/perf_event.h>
#include <stdlib.h>
#include <string.h>

#include "faultprof.h"

/* Where the guest has all its memory, unless it moves that about */
#define DIRECT_MAP	0xffff888000000000ULL

/* Threads of a node are of one process; none is 0, which is perf's idle thread. */
#define FIRST_PID	1
#define FIRST_TID	1000

/* Bits of the features that are written, in the order in which they stand in the file */
#define F_BUILD_ID	2
#define F_HOSTNAME	3
#define F_ARCH		6
#define F_NRCPUS	7
#define F_EVENT_DESC	12
#define F_NUMA_TOPOLOGY	14
#define F_MEM_TOPOLOGY	22

/* Memory is said to be a node's in blocks, of a size that lets each have one home. */
#define MAX_BLOCK_SHIFT	27	/* as x86 has them */
#define MIN_BLOCK_SHIFT	12
#define MAX_BLOCKS	0x1000000
#define NO_HOME		0xff

/* A record of perf's own, in the feature of that name */
#define PERF_RECORD_HEADER_BUILD_ID	67
#define BUILD_ID_SIZE	20
#define BUILD_ID_ROOM	24

struct section {
	u64 offset, size;
};

struct file_header {
	char magic[8];
	u64 size, attr_size;
	struct section attrs, data, event_types;
	u64 features[4];
};

struct attr {
	struct perf_event_attr attr;
	struct section ids;
};

/* As event_attr() asks for it */
struct sample {
	struct perf_event_header header;
	u64 id, ip;
	u32 pid, tid;
	u64 time, addr;
	u32 cpu, none;
	u64 period, weight, data_src, phys_addr;
};

enum { READS, WRITES, NR_EVENTS };

static const char *const names[NR_EVENTS] = { "dsm-reads", "dsm-writes" };

/* The CPU of each vCPU of each node, plus one; the first is for what was no vCPU's access */
#define NR_VCPUS	(MAX_VCPU + 2)
static u32 *cpus[MAX_NODES];
static u32 nr_cpus;

static void put(FILE *f, const void *data, size_t n)
{
	fwrite(data, 1, n, f);
}

static void put_u32(FILE *f, u32 n)
{
	put(f, &n, sizeof(n));
}

static void put_u64(FILE *f, u64 n)
{
	put(f, &n, sizeof(n));
}

/* Bytes of a text with a 0 behind it, in words of 8 bytes */
static size_t padded(const char *text)
{
	return strlen(text) / 8 * 8 + 8;
}

static void put_text(FILE *f, const char *text)
{
	static const char zeros[8];

	put(f, text, strlen(text));
	put(f, zeros, padded(text) - strlen(text));
}

static void put_string(FILE *f, const char *text)
{
	put_u32(f, padded(text));
	put_text(f, text);
}

static void put_header(FILE *f, u32 type, u16 misc, size_t size)
{
	put(f, &(struct perf_event_header){ type, misc, sizeof(struct perf_event_header) + size },
	    sizeof(struct perf_event_header));
}

/* A vCPU's number goes to the first node that has it. */
static void number_cpus(const struct faults *f)
{
	u32 node, i, end;
	size_t n;

	nr_cpus = 0;
	for (n = 0; n < f->nr; n++) {
		const struct fault *one = &f->fault[n];

		if (!cpus[one->node])
			cpus[one->node] = xzalloc(NR_VCPUS * sizeof(**cpus));
		cpus[one->node][one->vcpu + 1] = one->vcpu + 1 ?: 1;
		if (one->vcpu >= (int)nr_cpus)
			nr_cpus = one->vcpu + 1;
	}
	end = nr_cpus;
	for (i = 0; i <= end; i++) {
		bool taken = !i;

		for (node = 0; node < MAX_NODES; node++) {
			if (!cpus[node] || !cpus[node][i])
				continue;
			if (taken)
				cpus[node][i] = ++nr_cpus;
			taken = true;
		}
	}
}

static void forget_cpus(void)
{
	u32 node;

	for (node = 0; node < MAX_NODES; node++) {
		free(cpus[node]);
		cpus[node] = NULL;
	}
}

/*
 * Where a fault's contents came from.  perf c2c counts modified copies for loads only, so a write
 * that takes one is a load of it, too: pages that are only written would be no news to it.
 */
static u64 data_source(struct msi *s, const struct fault *f)
{
	const u64 me = 1ULL << f->node;
	const bool modified = s->writer >= 0 && s->writer != f->node;
	union perf_mem_data_src d = { .val = 0 };

	d.mem_op = f->write ? PERF_MEM_OP_STORE : PERF_MEM_OP_LOAD;
	d.mem_lock = PERF_MEM_LOCK_NA;
	d.mem_dtlb = PERF_MEM_TLB_MISS | (f->walk ? PERF_MEM_TLB_WK : PERF_MEM_TLB_OS);
	d.mem_snoop = s->readers & ~me ? PERF_MEM_SNOOP_HIT : PERF_MEM_SNOOP_MISS;
	if (modified) {
		d.mem_op |= PERF_MEM_OP_LOAD;
		d.mem_lvl = PERF_MEM_LVL_HIT | PERF_MEM_LVL_REM_CCE1;
		d.mem_snoop = PERF_MEM_SNOOP_HITM;
	} else if (f->write) {
		d.mem_lvl = PERF_MEM_LVL_MISS | PERF_MEM_LVL_L1;
	} else {
		d.mem_lvl = PERF_MEM_LVL_HIT | PERF_MEM_LVL_REM_RAM1;
	}
	msi_access(s, f->node, f->write);
	return d.val;
}

/* The faults are sorted by page, and by time within. */
static u64 *data_sources(const struct faults *f)
{
	u64 *sources = xzalloc(f->nr * sizeof(*sources));
	struct msi state = { };
	size_t i;

	for (i = 0; i < f->nr; i++) {
		if (!i || f->fault[i].page != f->fault[i - 1].page)
			/* Of the home it is not known whether it has written. */
			state = (struct msi){ 1ULL << f->fault[i].home, -1 };
		sources[i] = data_source(&state, &f->fault[i]);
	}
	return sources;
}

/* For qsort(), which passes nothing on */
static const struct fault *all_faults;

static int by_time(const void *a, const void *b)
{
	const size_t x = *(const size_t *)a, y = *(const size_t *)b;

	if (all_faults[x].time_ns != all_faults[y].time_ns)
		return all_faults[x].time_ns < all_faults[y].time_ns ? -1 : 1;
	return (x > y) - (x < y);
}

static u64 event_id(int event)
{
	return event + 1;
}

static struct perf_event_attr event_attr(void)
{
	struct perf_event_attr a = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(a),
		.config = PERF_COUNT_SW_PAGE_FAULTS,
		.sample_period = 1,
		.sample_type = PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_IP | PERF_SAMPLE_TID |
			       PERF_SAMPLE_TIME | PERF_SAMPLE_ADDR | PERF_SAMPLE_CPU |
			       PERF_SAMPLE_PERIOD | PERF_SAMPLE_WEIGHT | PERF_SAMPLE_DATA_SRC |
			       PERF_SAMPLE_PHYS_ADDR,
	};

	return a;
}

static u16 cpu_mode(u64 ip)
{
	if (!ip)
		return PERF_RECORD_MISC_HYPERVISOR;
	return (s64)ip < 0 ? PERF_RECORD_MISC_KERNEL : PERF_RECORD_MISC_USER;
}

/* Where the kernel has a guest-physical address: in its image, if it is there */
static u64 address_of(u64 gpa)
{
	u64 start, end;

	if (!gpa)
		return 0;
	if (symbols_image(&start, &end) && gpa >= start - KERNEL_MAP && gpa < end - KERNEL_MAP)
		return gpa + KERNEL_MAP;
	return gpa + DIRECT_MAP;
}

static void put_sample(FILE *out, const struct fault *f, u64 source)
{
	const u32 cpu = cpus[f->node][f->vcpu + 1] - 1;
	const struct sample s = {
		.header = { PERF_RECORD_SAMPLE, cpu_mode(f->ip), sizeof(s) },
		.id = event_id(f->write ? WRITES : READS),
		.ip = f->ip, .pid = FIRST_PID + f->node, .tid = FIRST_TID + cpu,
		.time = f->time_ns, .addr = address_of(f->gpa), .cpu = cpu,
		.period = f->ns ?: 1, .weight = f->ns, .data_src = source, .phys_addr = f->gpa,
	};

	put(out, &s, sizeof(s));
}

/* Code of the kernel's, and its address in @name as that was linked */
static void put_map(FILE *out, u64 start, u64 size, u64 linked, const char *name)
{
	put_header(out, PERF_RECORD_MMAP, PERF_RECORD_MISC_KERNEL,
		   4 * sizeof(u64) + padded(name));
	put_u32(out, -1);
	put_u32(out, 0);
	put_u64(out, start);
	put_u64(out, size);
	put_u64(out, linked);
	put_text(out, name);
}

static void put_kernel(FILE *out)
{
	u64 start, end, size;
	const char *path;
	char *whole;
	size_t i;

	if (!symbols_image(&start, &end))
		return;
	/* perf shifts the names of the image by what _text has moved. */
	put_map(out, start, end - start, start, "[kernel.kallsyms]_text");
	for (i = 0; (path = symbols_module_code(i, &start, &size)); i++) {
		whole = realpath(path, NULL);
		if (whole && size)
			put_map(out, start, size, 0, whole);
		free(whole);
	}
}

static void put_threads(FILE *out)
{
	char name[32];
	u32 node, i;

	for (node = 0; node < MAX_NODES; node++) {
		for (i = 0; cpus[node] && i < NR_VCPUS; i++) {
			if (!cpus[node][i])
				continue;
			if (i)
				snprintf(name, sizeof(name), "node%u/cpu%u", node, i - 1);
			else
				snprintf(name, sizeof(name), "node%u/host", node);
			put_header(out, PERF_RECORD_COMM, 0, sizeof(u64) + padded(name));
			put_u32(out, FIRST_PID + node);
			put_u32(out, FIRST_TID + cpus[node][i] - 1);
			put_text(out, name);
		}
	}
}

static void put_records(FILE *out, const struct faults *f)
{
	size_t *order = xzalloc(f->nr * sizeof(*order)), i;
	u64 *sources = data_sources(f);

	for (i = 0; i < f->nr; i++)
		order[i] = i;
	all_faults = f->fault;
	qsort(order, f->nr, sizeof(*order), by_time);
	put_kernel(out);
	put_threads(out);
	for (i = 0; i < f->nr; i++)
		put_sample(out, &f->fault[order[i]], sources[order[i]]);
	free(sources);
	free(order);
}

/* With its id, perf takes no other kernel for the guest's, such as the one that it runs on. */
static void put_build_id(FILE *out)
{
	static const char name[] = "[kernel.kallsyms]";
	u8 id[BUILD_ID_ROOM] = { 0 };

	symbols_build_id(id, BUILD_ID_SIZE);
	put_header(out, PERF_RECORD_HEADER_BUILD_ID, PERF_RECORD_MISC_KERNEL,
		   sizeof(u32) + sizeof(id) + padded(name));
	put_u32(out, -1);
	put(out, id, sizeof(id));
	put_text(out, name);
}

static void put_event_desc(FILE *out)
{
	const struct perf_event_attr a = event_attr();
	int i;

	put_u32(out, NR_EVENTS);
	put_u32(out, sizeof(a));
	for (i = 0; i < NR_EVENTS; i++) {
		put(out, &a, sizeof(a));
		put_u32(out, 1);
		put_string(out, names[i]);
		put_u64(out, event_id(i));
	}
}

/* The CPUs of a node as "0,2,5", which the caller frees */
static char *cpu_list(u32 node)
{
	char *list = NULL;
	size_t size;
	FILE *f = open_memstream(&list, &size);
	u32 i, nr = 0;

	if (!f)
		fail("no memory for a list of CPUs");
	for (i = 0; cpus[node] && i < NR_VCPUS; i++)
		if (cpus[node][i])
			fprintf(f, "%s%u", nr++ ? "," : "", cpus[node][i] - 1);
	fclose(f);
	return list;
}

static void put_numa(FILE *out, const struct profile *p)
{
	char *list;
	u32 node;

	put_u32(out, p->nr_nodes);
	for (node = 0; node < p->nr_nodes; node++) {
		list = cpu_list(node);
		put_u32(out, node);
		/* How much memory it has, and has free: not in the trace */
		put_u64(out, 0);
		put_u64(out, 0);
		put_string(out, list);
		free(list);
	}
}

/* The home of each block; NULL if one has two.  Ended by the highest that is known. */
static u8 *block_homes(const struct profile *p, u32 shift, size_t *nr)
{
	u64 last = 0;
	size_t i;
	u8 *homes;

	for (i = 0; i < p->nr_pages; i++)
		if (p->pages[i].gpa > last)
			last = p->pages[i].gpa;
	if (!last || last >> shift >= MAX_BLOCKS)
		return NULL;
	*nr = (last >> shift) + 1;
	homes = memset(xzalloc(*nr), NO_HOME, *nr);
	for (i = 0; i < p->nr_pages; i++) {
		u8 *home = &homes[p->pages[i].gpa >> shift];

		if (!p->pages[i].gpa)
			continue;
		if (*home != NO_HOME && *home != p->pages[i].home) {
			free(homes);
			return NULL;
		}
		*home = p->pages[i].home;
	}
	return homes;
}

/* By this perf c2c knows the home of what was accessed.  No nodes if there is no telling. */
static void put_memory(FILE *out, const struct profile *p)
{
	u32 shift = MAX_BLOCK_SHIFT, nr_nodes, node;
	u8 *homes;
	size_t nr, i;
	u64 word;

	while (!(homes = block_homes(p, shift, &nr)) && shift > MIN_BLOCK_SHIFT)
		shift--;
	nr_nodes = homes ? p->nr_nodes : 0;
	put_u64(out, 1);	/* the version of this feature */
	put_u64(out, 1ULL << shift);
	put_u64(out, nr_nodes);
	for (node = 0; node < nr_nodes; node++) {
		put_u64(out, node);
		put_u64(out, nr);
		/* Bits in words of 64, and their number before them once more */
		put_u64(out, nr);
		for (i = 0, word = 0; i < nr; i++) {
			word |= (u64)(homes[i] == node) << i % 64;
			if (i % 64 == 63 || i == nr - 1) {
				put_u64(out, word);
				word = 0;
			}
		}
	}
	free(homes);
}

static void put_feature(FILE *out, int bit, const struct profile *p)
{
	switch (bit) {
	case F_BUILD_ID:
		put_build_id(out);
		break;
	case F_HOSTNAME:
		put_string(out, "guest");
		break;
	case F_ARCH:
		put_string(out, "x86_64");
		break;
	case F_NRCPUS:
		/* Present, and online */
		put_u32(out, nr_cpus);
		put_u32(out, nr_cpus);
		break;
	case F_EVENT_DESC:
		put_event_desc(out);
		break;
	case F_NUMA_TOPOLOGY:
		put_numa(out, p);
		break;
	case F_MEM_TOPOLOGY:
		put_memory(out, p);
		break;
	}
}

/* First where each is, then they */
static void put_features(FILE *out, struct file_header *h, const struct profile *p)
{
	static const int bits[] = {
		F_BUILD_ID, F_HOSTNAME, F_ARCH, F_NRCPUS, F_EVENT_DESC, F_NUMA_TOPOLOGY,
		F_MEM_TOPOLOGY
	};
	struct section sections[ARRAY_SIZE(bits)] = { };
	const size_t first = !symbols_build_id(NULL, 0), n = ARRAY_SIZE(bits) - first;
	const long at = ftell(out);
	size_t i;

	put(out, sections, n * sizeof(*sections));
	for (i = 0; i < n; i++) {
		sections[i].offset = ftell(out);
		put_feature(out, bits[first + i], p);
		sections[i].size = ftell(out) - sections[i].offset;
		h->features[0] |= 1ULL << bits[first + i];
	}
	fseek(out, at, SEEK_SET);
	put(out, sections, n * sizeof(*sections));
}

/**
 * perfdata_write() - write the faults to a file, whole or not at all
 * @p:		their profile
 * @f:		they, as profile_make() has sorted them
 * @path:	the file
 */
void perfdata_write(const struct profile *p, const struct faults *f, const char *path)
{
	FILE *out = file_begin("perf-data", path);
	struct file_header h = {
		.magic = "PERFILE2", .size = sizeof(h), .attr_size = sizeof(struct attr),
		.attrs = { sizeof(h), NR_EVENTS * sizeof(struct attr) },
	};
	const u64 ids = sizeof(h) + h.attrs.size;
	int i;

	number_cpus(f);
	put(out, &h, sizeof(h));
	for (i = 0; i < NR_EVENTS; i++)
		put(out, &(struct attr){ event_attr(), { ids + i * sizeof(u64), sizeof(u64) } },
		    sizeof(struct attr));
	for (i = 0; i < NR_EVENTS; i++)
		put_u64(out, event_id(i));
	h.data.offset = ftell(out);
	put_records(out, f);
	h.data.size = ftell(out) - h.data.offset;
	put_features(out, &h, p);
	rewind(out);
	put(out, &h, sizeof(h));
	forget_cpus();
	file_end(out, "perf-data", path);
}
