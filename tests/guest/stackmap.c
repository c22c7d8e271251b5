// SPDX-License-Identifier: GPL-2.0-only
/*
 * mmap_lock, taken in an interrupt and released in another: a BPF program in a timer's interrupt
 * gets the build ids of a user stack, for which it tries mmap_lock, and an irq_work releases it,
 * as nobody's.  Threads of one process on all nodes are interrupted so while they map and unmap.
 * For each node there is a program with maps of its own, so that it is known what worked where.
 */
#define _GNU_SOURCE
#include <link.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "../../bench/membench/topo.h"
#include "../tap.h"

#define PAGE		4096UL
#define MAX_THREADS	64
#define STACKS		1024
#define DEPTH		8
#define PERIOD_NS	1000000		/* of a thread's own time */
#define SAMPLES		200ULL		/* on each node */
#define PATIENCE	20		/* times so many, for the first with build ids */

/* One node's program */
struct probe {
	int stacks;		/* map: what bpf_get_stackid() stored */
	int counts;		/* map: how often it stored something, and failed */
	int prog;
	u64 valid, wrong;	/* frames with build ids that were seen, and with another's */
};

struct thread {
	pthread_t id;
	int cpu;
	const struct probe *probe;
};

static struct topo topo;
static atomic_bool stop;

static int bpf(int cmd, union bpf_attr *attr)
{
	return syscall(SYS_bpf, cmd, attr, sizeof(*attr));
}

static int map_create(unsigned int type, unsigned int value, unsigned int entries,
		      unsigned int flags)
{
	union bpf_attr attr = {
		.map_type = type, .key_size = 4, .value_size = value, .max_entries = entries,
		.map_flags = flags,
	};
	int fd = bpf(BPF_MAP_CREATE, &attr);

	if (fd < 0)
		tap_bail("bpf(BPF_MAP_CREATE), type %u: %s", type, strerror(errno));
	return fd;
}

static bool map_lookup(int map, unsigned int key, void *value)
{
	union bpf_attr attr = {
		.map_fd = map, .key = (unsigned long)&key, .value = (unsigned long)value,
	};

	return !bpf(BPF_MAP_LOOKUP_ELEM, &attr);
}

#define INSN(c, d, s, o, i)	{ .code = c, .dst_reg = d, .src_reg = s, .off = o, .imm = i }
#define MAP_FD(d, fd)		INSN(BPF_LD | BPF_DW | BPF_IMM, d, BPF_PSEUDO_MAP_FD, 0, fd)
#define MAP_FD_REST		INSN(0, 0, 0, 0, 0)
#define SET(d, i)		INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define CALL(f)			INSN(BPF_JMP | BPF_CALL, 0, 0, 0, f)

/* counts[bpf_get_stackid(ctx, stacks, flags) < 0]++ */
static void probe_load(struct probe *p)
{
	static char log[4096];
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_PERF_EVENT, .license = (unsigned long)"GPL",
		.log_buf = (unsigned long)log, .log_size = sizeof(log), .log_level = 1,
	};

	p->stacks = map_create(BPF_MAP_TYPE_STACK_TRACE, DEPTH * sizeof(struct bpf_stack_build_id),
			       STACKS, BPF_F_STACK_BUILD_ID);
	p->counts = map_create(BPF_MAP_TYPE_ARRAY, sizeof(u64), 2, 0);
	{
		const struct bpf_insn insns[] = {
			MAP_FD(BPF_REG_2, p->stacks),
			MAP_FD_REST,
			SET(BPF_REG_3, BPF_F_USER_STACK | BPF_F_REUSE_STACKID),
			CALL(BPF_FUNC_get_stackid),
			SET(BPF_REG_1, 0),
			INSN(BPF_JMP | BPF_JSGE | BPF_K, BPF_REG_0, 0, 1, 0),
			SET(BPF_REG_1, 1),
			INSN(BPF_STX | BPF_MEM | BPF_W, BPF_REG_10, BPF_REG_1, -4, 0),
			MAP_FD(BPF_REG_1, p->counts),
			MAP_FD_REST,
			INSN(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_2, BPF_REG_10, 0, 0),
			INSN(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, 0, -4),
			CALL(BPF_FUNC_map_lookup_elem),
			INSN(BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_0, 0, 2, 0),
			SET(BPF_REG_1, 1),
			INSN(BPF_STX | BPF_ATOMIC | BPF_DW, BPF_REG_0, BPF_REG_1, 0, BPF_ADD),
			SET(BPF_REG_0, 0),
			INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
		};

		attr.insns = (unsigned long)insns;
		attr.insn_cnt = sizeof(insns) / sizeof(*insns);
		p->prog = bpf(BPF_PROG_LOAD, &attr);
	}
	if (p->prog < 0)
		tap_bail("bpf(BPF_PROG_LOAD): %s: %s", strerror(errno), log);
}

static int event_open(int prog)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE, .config = PERF_COUNT_SW_CPU_CLOCK, .size = sizeof(attr),
		.sample_period = PERIOD_NS, .exclude_kernel = 1, .disabled = 1,
	};
	int fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);

	if (fd < 0)
		tap_bail("perf_event_open: %s", strerror(errno));
	if (ioctl(fd, PERF_EVENT_IOC_SET_BPF, prog) || ioctl(fd, PERF_EVENT_IOC_ENABLE, 0))
		tap_bail("attaching the BPF program: %s", strerror(errno));
	return fd;
}

static char *map_pages(unsigned long pages)
{
	char *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);

	if (p == MAP_FAILED)
		tap_bail("mmap: %s", strerror(errno));
	return p;
}

/* Be interrupted; change the address space now and then. */
static void *work(void *arg)
{
	struct thread *t = arg;
	unsigned int turns;
	char *p, *page;
	long round;
	int event;

	if (topo_pin(t->cpu))
		tap_bail("cannot pin a thread to CPU %d", t->cpu);
	event = event_open(t->probe->prog);
	page = map_pages(1);
	for (round = 0; !atomic_load(&stop); round++) {
		if (!(round % 8)) {
			p = map_pages(4);
			p[0] = 1;
			p[PAGE] = 1;
			munmap(p, 4 * PAGE);
		}
		/* A reader that may sleep: no other has come in since the writer. */
		madvise(page, PAGE, MADV_DONTNEED);
		turns = 50000;
		asm volatile("1: dec %0; jnz 1b" : "+r" (turns));
	}
	close(event);
	return NULL;
}

/* This program's build id, from its notes, into @data; it stays NULL if there is none. */
static int my_build_id(struct dl_phdr_info *info, size_t size, void *data)
{
	const char *p, *end, *name, *desc;
	const unsigned int *note;	/* lengths of name and description, type */
	int i;

	(void)size;
	for (i = 0; i < info->dlpi_phnum; i++) {
		if (info->dlpi_phdr[i].p_type != PT_NOTE)
			continue;
		p = (char *)info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
		end = p + info->dlpi_phdr[i].p_memsz;
		for (; p + 12 <= end; p = desc + ((note[1] + 3) & ~3U)) {
			note = (const unsigned int *)p;
			name = p + 12;
			desc = name + ((note[0] + 3) & ~3U);
			if (note[2] == NT_GNU_BUILD_ID && note[1] == BPF_BUILD_ID_SIZE &&
			    !strcmp(name, "GNU")) {
				*(const char **)data = desc;
				return 1;
			}
		}
	}
	return 0;
}

/* How many irq_works have run */
static u64 irq_works(void)
{
	FILE *f = fopen("/proc/interrupts", "r");
	char line[4096], *p, *end;
	u64 sum = 0, n;

	while (f && fgets(line, sizeof(line), f)) {
		p = strstr(line, "IWI:");
		if (!p)
			continue;
		for (p += 4; n = strtoull(p, &end, 10), end != p; p = end)
			sum += n;
	}
	if (f)
		fclose(f);
	return sum;
}

/* Take a look at what has been stored; of a stack that comes again the last stays there. */
static void look(struct probe *p, const char *id)
{
	struct bpf_stack_build_id stack[DEPTH];
	unsigned int key, i;

	for (key = 0; key < STACKS; key++) {
		if (!map_lookup(p->stacks, key, stack))
			continue;
		for (i = 0; i < DEPTH; i++) {
			if (stack[i].status != BPF_STACK_BUILD_ID_VALID)
				continue;
			p->valid++;
			p->wrong += !!memcmp(stack[i].build_id, id, BPF_BUILD_ID_SIZE);
		}
	}
}

int main(int argc, char **argv)
{
	static struct probe probes[TOPO_NODES];
	static struct thread threads[MAX_THREADS];
	const char *id = NULL;
	u64 works, stored, failed;
	int node, t;

	if (argc > 1) {
		fprintf(stderr, "stackmap: '%s': expected no argument\n", argv[1]);
		return 2;
	}
	if (topo_get(&topo) || topo.nr_cpus > MAX_THREADS)
		tap_bail("no CPUs in sysfs, or more than %d", MAX_THREADS);
	dl_iterate_phdr(my_build_id, &id);
	if (!id)
		tap_bail("this program has no build id of %d bytes", BPF_BUILD_ID_SIZE);
	for (node = 0; node < topo.nr_nodes; node++)
		probe_load(&probes[node]);
	works = irq_works();
	for (t = 0; t < topo.nr_cpus; t++) {
		threads[t].cpu = topo.cpu[t];
		threads[t].probe = &probes[topo.node[t]];
		if (pthread_create(&threads[t].id, NULL, work, &threads[t]))
			tap_bail("pthread_create: %s", strerror(errno));
	}
	for (node = 0; node < topo.nr_nodes; node++)
		do {
			sched_yield();
			stored = 0;
			failed = 0;
			map_lookup(probes[node].counts, 0, &stored);
			map_lookup(probes[node].counts, 1, &failed);
			look(&probes[node], id);
		} while (stored + failed < SAMPLES ||
			 (!probes[node].valid && stored + failed < PATIENCE * SAMPLES));
	atomic_store(&stop, true);
	for (t = 0; t < topo.nr_cpus; t++)
		pthread_join(threads[t].id, NULL);
	works = irq_works() - works;

	for (node = 0; node < topo.nr_nodes; node++) {
		const struct probe *p = &probes[node];

		stored = 0;
		map_lookup(p->counts, 0, &stored);
		tap_ok(p->valid, "node %d: stack frames with build ids, in %llu samples",
		       topo.id[node], stored);
		tap_ok(!p->wrong, "node %d: they are this program's", topo.id[node]);
	}
	tap_ok(works, "%llu irq_works have run, which release mmap_lock", works);
	return tap_done();
}
