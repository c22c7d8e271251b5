// SPDX-License-Identifier: GPL-2.0-only
/*
 * The node's fault ring, fault_ring.h: each fault of this node that numaspan.ko traces, for
 * faultprof.ko in the guest to read.
 *
 * The tracepoint numaspan:fault comes through a perf event of each host CPU, filtered by span and
 * node, so that whoever faults is seen.  One thread copies what has come, by time, into memory of
 * this process, which the guest sees, read-only, and which no other node has a part in.  What perf
 * had no room for is counted.
 */
#include <linux/perf_event.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include "../../modules/faultprof/fault_ring.h"
#include "spanvm.h"

#define EVENT	"/sys/kernel/tracing/events/numaspan/fault/"
#define DRAIN_MS	10
#define BUFFER		(64 * PAGE_SIZE)	/* of a CPU */
#define SLOT		2

/* A field of the tracepoint: where it is in a raw sample */
enum field { F_PAGE, F_GPA, F_IP, F_NS, F_VCPU, F_HOME, F_WRITE, F_WALK, F_KVM, NR_FIELDS };

static const char *const field_names[NR_FIELDS] = {
	"page", "gpa", "ip", "ns", "vcpu", "home", "write", "walk", "kvm",
};

/* A PERF_RECORD_SAMPLE with the time and the raw data, or a PERF_RECORD_LOST */
struct sample {
	struct perf_event_header head;
	union {
		struct { u64 id, lost; } lost;
		struct { u64 time_ns; u32 size; u8 raw[]; } __attribute((packed)) fault;
		u8 bytes[1024];
	};
};

struct source {
	int fd;
	struct perf_event_mmap_page *map;
	u64 head, tail;		/* what has come, and what has been taken */
	bool ahead;		/* the last that was taken is still in @next */
	struct sample next;
};

struct ring {
	struct vmm *vm;
	struct fault_ring *shared;
	u64 size;
	u32 nr_sources;
	struct source *sources;
	struct pollfd *polls;
	u32 off[NR_FIELDS], bytes[NR_FIELDS];
	pthread_t thread;
	bool thread_up;
	atomic_bool stop;
};

/**
 * ring_size - what the guest sees of the fault ring
 * @c: the configuration
 *
 * Return: bytes; 0 if there is none.
 */
u64 ring_size(const struct config *c)
{
	return c->fault_ring ? FAULT_RING_START + c->fault_ring * PAGE_SIZE : 0;
}

/* One field of the sample, zero-extended */
static u64 get(const struct ring *r, const struct sample *s, enum field f)
{
	u64 val = 0;

	if (offsetof(struct sample, fault.raw) + r->off[f] + r->bytes[f] <= s->head.size)
		memcpy(&val, s->fault.raw + r->off[f], r->bytes[f]);
	return val;
}

static void put(struct ring *r, const struct sample *s, u64 tsc)
{
	struct fault_ring *shared = r->shared;
	const bool guest = get(r, s, F_KVM);
	const u64 n = shared->head;
	struct fault_ring_record *rec = (void *)shared + FAULT_RING_START;

	rec[n % shared->nr] = (struct fault_ring_record){
		.seq = n + shared->lost, .tsc = tsc, .page = get(r, s, F_PAGE),
		.ns = get(r, s, F_NS), .home = get(r, s, F_HOME),
		/* The host's own addresses are none of the guest's business. */
		.gpa = guest ? get(r, s, F_GPA) : 0, .ip = guest ? get(r, s, F_IP) : 0,
		.vcpu = guest ? get(r, s, F_VCPU) : 0,
		.flags = (guest ? FAULT_RING_GUEST : 0) |
			 (get(r, s, F_WRITE) ? FAULT_RING_WRITE : 0) |
			 (get(r, s, F_WALK) ? FAULT_RING_WALK : 0),
	};
	__atomic_store_n(&shared->head, n + 1, __ATOMIC_RELEASE);
}

static void count_lost(struct ring *r, u64 n)
{
	struct fault_ring *shared = r->shared;

	__atomic_store_n(&shared->lost, shared->lost + n, __ATOMIC_RELAXED);
}

static void copy_out(const struct source *s, u64 at, void *to, u64 n)
{
	const u8 *data = (u8 *)s->map + PAGE_SIZE;
	u64 first;

	at %= BUFFER;
	first = n < BUFFER - at ? n : BUFFER - at;
	memcpy(to, data + at, first);
	memcpy(to + first, data, n - first);
}

static u64 raw_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_RAW, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* The next fault of a CPU, of what had come before this round, into @src->next. */
static bool look_ahead(struct ring *r, struct source *src)
{
	struct sample *s = &src->next;

	for (; src->tail < src->head && !src->ahead; src->tail += s->head.size) {
		copy_out(src, src->tail, &s->head, sizeof(s->head));
		if (s->head.size < sizeof(s->head)) {
			/* Nothing that follows would make sense. */
			src->tail = src->head;
			return false;
		}
		if (s->head.size > sizeof(*s)) {
			count_lost(r, 1);
			continue;
		}
		copy_out(src, src->tail, s, s->head.size);
		if (s->head.type == PERF_RECORD_LOST)
			count_lost(r, s->lost.lost);
		src->ahead = s->head.type == PERF_RECORD_SAMPLE;
	}
	return src->ahead;
}

/* All that has come on all CPUs, by time */
static void drain(struct ring *r)
{
	u64 now, now_tsc;
	struct source *src, *first;

	for (src = r->sources; src < r->sources + r->nr_sources; src++)
		src->head = __atomic_load_n(&src->map->data_head, __ATOMIC_ACQUIRE);
	now = raw_ns();
	now_tsc = host_tsc() + atomic_load(&r->vm->tsc_offset);
	do {
		first = NULL;
		for (src = r->sources; src < r->sources + r->nr_sources; src++)
			if (look_ahead(r, src) &&
			    (!first || src->next.fault.time_ns < first->next.fault.time_ns))
				first = src;
		if (first) {
			put(r, &first->next, now_tsc - (s64)(now - first->next.fault.time_ns) *
			    r->vm->setup.tsc_khz / 1000000);
			first->ahead = false;
		}
	} while (first);
	for (src = r->sources; src < r->sources + r->nr_sources; src++)
		__atomic_store_n(&src->map->data_tail, src->tail, __ATOMIC_RELEASE);
}

static void *ring_main(void *arg)
{
	struct ring *r = arg;
	u32 i;

	/* What has come before the end is in the ring then. */
	for (bool last = false; !last;) {
		last = atomic_load(&r->stop);
		if (!last)
			poll(r->polls, r->nr_sources, DRAIN_MS);
		drain(r);
		/* A CPU that has gone would wake this up for ever. */
		for (i = 0; i < r->nr_sources; i++)
			if (r->polls[i].revents & (POLLHUP | POLLERR))
				r->polls[i].fd = -1;
	}
	return NULL;
}

static FILE *open_event(struct vmm *vm, const char *name)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), EVENT "%s", name);
	f = fopen(path, "re");
	if (!f)
		span_fail(vm, "fault_ring: %s: %s; expected tracefs to be mounted", path,
			  strerror(errno));
	return f;
}

/* Where the fields are.  Return: the tracepoint's id, or -1 after span_end(). */
static int read_format(struct ring *r)
{
	FILE *f = open_event(r->vm, "format");
	char line[256], decl[64], *name;
	u32 off, bytes, i, found = 0;
	int id = -1;

	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, " field:%63[^;]; offset:%u; size:%u;", decl, &off, &bytes) != 3)
			continue;
		name = strrchr(decl, ' ');
		for (i = 0; name && i < NR_FIELDS; i++) {
			if (strcmp(name + 1, field_names[i]) || bytes > 8)
				continue;
			r->off[i] = off;
			r->bytes[i] = bytes;
			found++;
		}
	}
	fclose(f);
	if (found != NR_FIELDS)
		return span_fail(r->vm, "fault_ring: %sformat: %u fields, expected %u", EVENT,
				 found, NR_FIELDS);
	f = open_event(r->vm, "id");
	if (!f)
		return -1;
	if (fscanf(f, "%d", &id) != 1)
		span_fail(r->vm, "fault_ring: %sid: expected a number", EVENT);
	fclose(f);
	return id;
}

/* Return: 0, also for a CPU that is not there; -1 after span_end(). */
static int open_source(struct ring *r, int id, u32 cpu)
{
	const struct config *c = r->vm->cfg;
	struct perf_event_attr attr = { .type = PERF_TYPE_TRACEPOINT, .size = sizeof(attr),
		.config = id, .sample_period = 1, .sample_type = PERF_SAMPLE_TIME | PERF_SAMPLE_RAW,
		.watermark = 1, .wakeup_watermark = BUFFER / 4, .use_clockid = 1,
		.clockid = CLOCK_MONOTONIC_RAW };
	struct source *s = &r->sources[r->nr_sources];
	char filter[64];

	s->fd = syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
	if (s->fd < 0 && errno == ENODEV)
		return 0;
	if (s->fd < 0)
		return span_fail(r->vm, "fault_ring: perf event on CPU %u: %s; expected to be root",
				 cpu, strerror(errno));
	r->polls[r->nr_sources++] = (struct pollfd){ .fd = s->fd, .events = POLLIN };
	snprintf(filter, sizeof(filter), "span == 0x%llx && node == %u", c->span_id, c->node);
	s->map = mmap(NULL, PAGE_SIZE + BUFFER, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
	if (s->map == MAP_FAILED)
		s->map = NULL;
	if (!s->map || ioctl(s->fd, PERF_EVENT_IOC_SET_FILTER, filter))
		return span_fail(r->vm, "fault_ring: perf event on CPU %u: %s", cpu,
				 strerror(errno));
	return 0;
}

static int make_memory(struct ring *r)
{
	struct kvm_userspace_memory_region m = { .slot = SLOT, .flags = KVM_MEM_READONLY,
		.guest_phys_addr = RING_GPA, .memory_size = r->size };

	r->shared = mmap(NULL, r->size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (r->shared == MAP_FAILED) {
		r->shared = NULL;
		return span_fail(r->vm, "fault_ring: no memory for %llu bytes", r->size);
	}
	*r->shared = (struct fault_ring){ .magic = FAULT_RING_MAGIC,
		.version = FAULT_RING_VERSION, .record_size = sizeof(struct fault_ring_record),
		.nr = (r->size - FAULT_RING_START) / sizeof(struct fault_ring_record),
		.node = r->vm->cfg->node };
	m.userspace_addr = (uintptr_t)r->shared;
	return VM_CALL(r->vm, KVM_SET_USER_MEMORY_REGION, &m);
}

/**
 * ring_open - make the fault ring, if the configuration has one
 * @vm: this node; its VM has no vCPUs yet
 *
 * Return: 0, or -1 after span_end().
 */
int ring_open(struct vmm *vm)
{
	const u32 cpus = sysconf(_SC_NPROCESSORS_CONF);
	struct ring *r;
	int id, err;
	u32 i;

	if (!vm->cfg->fault_ring)
		return 0;
	r = xzalloc(sizeof(*r));
	vm->ring = r;
	r->vm = vm;
	r->size = ring_size(vm->cfg);
	r->sources = xzalloc(cpus * sizeof(*r->sources));
	r->polls = xzalloc(cpus * sizeof(*r->polls));
	id = make_memory(r) ? -1 : read_format(r);
	if (id < 0)
		return -1;
	for (i = 0; i < cpus; i++)
		if (open_source(r, id, i))
			return -1;
	err = pthread_create(&r->thread, NULL, ring_main, r);
	if (err)
		return span_fail(vm, "cannot start a thread for the fault ring: %s", strerror(err));
	r->thread_up = true;
	pthread_setname_np(r->thread, "fault-ring");
	return 0;
}

/**
 * ring_close - the reverse
 * @vm: this node; its VM is gone
 */
void ring_close(struct vmm *vm)
{
	struct ring *r = vm->ring;
	u32 i;

	if (!r)
		return;
	atomic_store(&r->stop, true);
	if (r->thread_up)
		pthread_join(r->thread, NULL);
	for (i = 0; i < r->nr_sources; i++) {
		if (r->sources[i].map)
			munmap(r->sources[i].map, PAGE_SIZE + BUFFER);
		close(r->sources[i].fd);
	}
	if (r->shared)
		munmap(r->shared, r->size);
	free(r->sources);
	free(r->polls);
	free(r);
}

/**
 * ring_leaf - say in CPUID where the fault ring is
 * @c: the configuration
 * @features: the leaf of numaspan's features; there is room for one behind it
 *
 * Return: how many leaves this is.
 */
u32 ring_leaf(const struct config *c, struct kvm_cpuid_entry2 *features)
{
	features[1] = (struct kvm_cpuid_entry2){ .function = features[0].function + 1 };
	if (c->fault_ring) {
		features[0].eax |= NUMASPAN_FEATURE_FAULT_RING;
		features[1].eax = (u32)RING_GPA;
		features[1].ebx = RING_GPA >> 32;
		features[1].ecx = ring_size(c);
		features[1].edx = FAULT_RING_VERSION;
	}
	return 2;
}
