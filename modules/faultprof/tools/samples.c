// SPDX-License-Identifier: GPL-2.0-only
/*
 * Faults from where there is no numaspan: samples of perf mem on a NUMA machine, as perf script
 * prints them, and KVM's own page faults on hosts that share a guest's memory otherwise.
 *
 * A sample is a fault if another node had what was accessed.  The processor says so in data_src,
 * where it knows; it moves lines of 64 bytes, though, and of a write it rarely says more than that
 * it missed a cache.  So a sample is a fault, too, if the page would have had to move in a span: by
 * the samples before it, another node has written it since, or accessed it if this is a write.
 * Which CPUs and which memory are a node's is in the header that perf script prints.
 */
#include <linux/perf_event.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "faultprof.h"

#define NO_NODE		0xff

/* Where x86-64 has all memory, 64 TiB, without KASLR */
#define DIRECT_MAP	0xffff888000000000ULL
#define DIRECT_MAP_SIZE	0x400000000000ULL

/* Pages of processes, if nobody says where their memory is, have numbers by process. */
#define PROCESS_SHIFT	36

/* Bits of KVM's error code.  On AMD one of the two high ones is set; Intel has other low ones. */
#define ERROR_WRITE	0x2
#define AMD_FINAL	0x100000000ULL
#define AMD_WALK	0x200000000ULL
#define INTEL_LINEAR	0x80
#define INTEL_FINAL	0x100

/* What a page was used for by the samples so far */
struct state {
	u64 page;
	u64 holders;		/* nodes that would have it */
	u8 home;
};

struct blocks {
	u64 first, last;
	u8 node;
};

/* The machine of the file that is being read */
static u8 cpu_node[MAX_CPUS];
static struct blocks *blocks;
static size_t nr_blocks;
static u64 block_size;
static void *states;		/* a tree of struct state */

/**
 * samples_begin() - forget what was known of a machine, for there is another file
 */
void samples_begin(void)
{
	memset(cpu_node, NO_NODE, sizeof(cpu_node));
	free(blocks);
	blocks = NULL;
	nr_blocks = 0;
	block_size = 0;
	tdestroy(states, free);
	states = NULL;
}

static bool add_cpus(u64 first, u64 last, u32 node)
{
	for (; first <= last; first++) {
		if (first >= MAX_CPUS)
			return false;
		cpu_node[first] = node;
	}
	return true;
}

static bool add_blocks(u64 first, u64 last, u32 node)
{
	blocks = xrealloc(blocks, (nr_blocks + 1) * sizeof(*blocks));
	blocks[nr_blocks++] = (struct blocks){ first, last, node };
	return last <= UINT64_MAX / block_size;
}

/* A node's "0-3,8", or nothing, to the end of the line */
static bool read_list(const char *s, u32 node, bool (*add)(u64 first, u64 last, u32 node))
{
	u64 first, last;
	char *end;

	while (*s == ' ')
		s++;
	while (*s >= '0' && *s <= '9') {
		first = strtoull(s, &end, 10);
		last = first;
		if (*end == '-')
			last = strtoull(end + 1, &end, 10);
		if (last < first || !add(first, last, node))
			return false;
		s = *end == ',' ? end + 1 : end;
	}
	return !*s || *s == '\n';
}

/**
 * samples_header() - a line of the header that perf script prints
 * @line:	it, or any other line
 *
 * Return: false if it says what CPUs or memory are a node's, but not what it should.
 */
bool samples_header(const char *line)
{
	unsigned long long size;
	const char *list;
	int end = 0;
	u32 node;

	if (*line != '#')
		return true;
	if (sscanf(line, "# node%u cpu list :%n", &node, &end) == 1 && end)
		return node < MAX_NODES && read_list(line + end, node, add_cpus);
	if (sscanf(line, "# memory nodes (nr %*u, block size %llx)", &size) == 1) {
		block_size = size;
		return size && !(size & (size - 1)) && size >= PAGE_SIZE;
	}
	if (block_size && sscanf(line, "# %u [%n", &node, &end) == 1 && end) {
		list = strstr(line + end, "]:");
		return list && node < MAX_NODES && read_list(list + 2, node, add_blocks);
	}
	return true;
}

static int compare(const void *a, const void *b)
{
	const struct state *x = a, *y = b;

	return (x->page > y->page) - (x->page < y->page);
}

/* The node that has the memory, if that is known; else that whose sample it is */
static u8 home_of(u64 gpa, u8 node)
{
	size_t i;

	for (i = 0; i < nr_blocks; i++)
		if (gpa / block_size >= blocks[i].first && gpa / block_size <= blocks[i].last)
			return blocks[i].node;
	return node;
}

/* What is known of the page of a sample, from now on if it is the first */
static struct state *state_of(const struct fault *f, bool physical)
{
	struct state **s = tfind(&f->page, &states, compare);

	if (!s) {
		struct state *new = xzalloc(sizeof(*new));

		new->page = f->page;
		new->home = physical ? home_of(f->gpa, f->node) : f->node;
		new->holders = 1ULL << f->node;
		s = tsearch(new, &states, compare);
		if (!s)
			fail("no memory for a page");
	}
	return *s;
}

static bool is_remote(union perf_mem_data_src d)
{
	/* Of another core, but not of another node */
	if (d.mem_hops == PERF_MEM_HOPS_0)
		return false;
	return d.mem_remote || d.mem_lvl & (PERF_MEM_LVL_REM_RAM1 | PERF_MEM_LVL_REM_RAM2 |
					    PERF_MEM_LVL_REM_CCE1 | PERF_MEM_LVL_REM_CCE2);
}

/* Where it is in memory, as far as its address says that */
static void place(struct fault *f, u64 address, u64 pid)
{
	f->gpa = address;
	if (address >= KERNEL_MAP)
		f->gpa = address - KERNEL_MAP;
	else if (address - DIRECT_MAP < DIRECT_MAP_SIZE)
		f->gpa = address - DIRECT_MAP;
	f->page = f->gpa / PAGE_SIZE;
	if ((s64)address > 0)
		f->page |= pid << PROCESS_SHIFT;
}

/* The word that ends before @end; @word is set to where it begins */
static bool word_before(const char *line, const char *end, const char **word)
{
	while (end > line && end[-1] == ' ')
		end--;
	*word = end;
	while (*word > line && (*word)[-1] != ' ')
		(*word)--;
	return *word < end;
}

static bool get_hex(const char *s, u64 *value)
{
	const size_t n = strspn(s, "0123456789abcdef");

	*value = n && n <= 16 ? strtoull(s, NULL, 16) : 0;
	return n && n <= 16 && (!s[n] || s[n] == ' ');
}

static bool get_weight(const char *s, u64 *value)
{
	char *end;

	*value = strtoull(s, &end, 10);
	return end > s && *end == ' ';
}

/**
 * samples_event() - where the event's name ends that a sample of perf mem is of
 * @line:	the line
 *
 * Return: that place; NULL if it is no such sample.
 */
const char *samples_event(const char *line)
{
	const char *op = strstr(line, " |OP "), *word;

	/* Before what data_src means are its number, the address, and the event. */
	if (!op || !word_before(line, op, &word) || !word_before(line, word, &word) ||
	    !word_before(line, word, &word))
		return NULL;
	word = strchr(word, ' ');
	return word[-1] == ':' ? word : NULL;
}

/* "[001]" before the time, and "PID" or "PID/TID" before that, if it is there */
static const char *get_cpu(const char *line, const char *event, struct fault *f, u64 *pid)
{
	const char *cpu = event;
	char *end;
	u64 n;

	while (cpu > line && *cpu != '[')
		cpu--;
	n = strtoull(cpu + 1, &end, 10);
	if (*cpu != '[' || end == cpu + 1 || *end != ']')
		return "no CPU";
	if (n >= MAX_CPUS || cpu_node[n] == NO_NODE)
		return "no node of its CPU in the header";
	f->vcpu = n;
	f->node = cpu_node[n];
	*pid = 0;
	if (word_before(line, cpu, &cpu))
		*pid = strtoull(cpu, NULL, 10) & 0x3fffff;
	return NULL;
}

/**
 * samples_memory() - a sample of perf mem
 * @line:	the line, without the newline
 * @event:	what samples_event() has said of it
 * @f:		gets it, but for its time
 * @moved:	set to whether it is a fault
 *
 * Return: NULL, or what is wrong with it.
 */
const char *samples_memory(const char *line, const char *event, struct fault *f, bool *moved)
{
	const char *words[4], *end = line + strlen(line), *op = strstr(event, " |OP ");
	u64 address, physical = 0, value, pid;
	union perf_mem_data_src d;
	struct state *s;
	const char *wrong;
	size_t nr = 0;
	u64 me;

	wrong = get_cpu(line, event, f, &pid);
	if (wrong)
		return wrong;
	if (!get_hex(event + strspn(event, " "), &address))
		return "no address";
	if (!word_before(line, op, &words[0]) || !get_hex(words[0], &value))
		return "no data_src";
	d.val = value;
	/* Weight, ip and physical address are last: what data_src means may be cut short. */
	while (nr < 4 && word_before(op + 1, end, &words[nr]) && get_hex(words[nr], &value)) {
		end = words[nr];
		nr++;
	}
	if (nr < 2 || nr > 3 || !get_weight(words[nr - 1], &f->ns))
		return "no weight and ip";
	if (nr == 3)
		get_hex(words[0], &physical);
	get_hex(words[nr - 2], &f->ip);

	*moved = false;
	f->write = d.mem_op & PERF_MEM_OP_STORE;
	if (!address || !(d.mem_op & (PERF_MEM_OP_LOAD | PERF_MEM_OP_STORE)))
		return NULL;
	place(f, address, pid);
	if (physical) {
		f->gpa = physical;
		f->page = physical / PAGE_SIZE;
	}
	s = state_of(f, physical);
	f->home = s->home;
	me = 1ULL << f->node;
	*moved = is_remote(d) || !(s->holders & me) || (f->write && s->holders != me);
	s->holders = f->write ? me : s->holders | me;
	return NULL;
}

/**
 * samples_kvm() - an event kvm:kvm_page_fault
 * @words:	it, behind its name
 * @node:	the node of whose host it is
 * @f:		gets it, but for its time and the page's home
 *
 * Return: NULL, or what is wrong with it.
 */
const char *samples_kvm(const char *words, u8 node, struct fault *f)
{
	unsigned long long rip, address, error;
	int end = 0;
	u32 vcpu;

	if (sscanf(words, " vcpu %5u rip 0x%16llx address 0x%16llx error_code 0x%16llx %n", &vcpu,
		   &rip, &address, &error, &end) != 4 || words[end])
		return "no vcpu, rip, address and error_code";
	if (vcpu > MAX_VCPU)
		return "no vcpu that there is";
	f->node = node;
	f->vcpu = vcpu;
	f->ip = rip;
	f->gpa = address;
	f->page = address / PAGE_SIZE;
	f->write = error & ERROR_WRITE;
	if (error & (AMD_FINAL | AMD_WALK))
		f->walk = error & AMD_WALK;
	else
		f->walk = error & INTEL_LINEAR && !(error & INTEL_FINAL);
	/* How long it took is not said: each costs the same. */
	f->ns = 1;
	return NULL;
}

/* For qsort(), which passes nothing on */
static const struct fault *all_faults;

static int by_page(const void *a, const void *b)
{
	const struct fault *x = &all_faults[*(const size_t *)a];
	const struct fault *y = &all_faults[*(const size_t *)b];

	if (x->page != y->page)
		return x->page < y->page ? -1 : 1;
	if (x->time_ns != y->time_ns)
		return x->time_ns < y->time_ns ? -1 : 1;
	return x->node - y->node;
}

/**
 * samples_homes() - let each page be at home where it was first accessed
 * @f:		faults of which nobody says that
 */
void samples_homes(struct faults *f)
{
	size_t *order = xzalloc(f->nr * sizeof(*order)), i;

	for (i = 0; i < f->nr; i++)
		order[i] = i;
	all_faults = f->fault;
	qsort(order, f->nr, sizeof(*order), by_page);
	for (i = 0; i < f->nr; i++) {
		struct fault *one = &f->fault[order[i]];
		const struct fault *before = i ? &f->fault[order[i - 1]] : NULL;

		one->home = before && before->page == one->page ? before->home : one->node;
	}
	free(order);
}
