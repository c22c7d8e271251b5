// SPDX-License-Identifier: GPL-2.0-only
/*
 * What spanvm makes of perf's buffers, without perf: samples of two CPUs come into the fault ring
 * by time, over the end of a buffer as well; what perf has lost, and what is no sample of
 * numaspan:fault, leaves a gap in the numbers; the host's own addresses stay here.
 */
#include "../ring.c"
#undef __printf
#define now_ns tap_now_ns
#include "../../../tests/tap.h"
#undef now_ns

#define SLOTS	64

static struct vmm vm;
static struct ring ring = { .vm = &vm };

/* What ring.c calls of other files */
u64 host_tsc(void)
{
	return 5000000;
}

int span_end(struct vmm *v, enum end_kind kind, u32 status, bool tell, const char *fmt, ...)
{
	return -1;
}

int vm_call(struct vmm *v, unsigned long request, u64 arg, const char *what)
{
	return 0;
}

void *xzalloc(size_t n)
{
	return calloc(1, n);
}

static void append(struct source *s, const void *data, u64 n)
{
	u64 i;

	for (i = 0; i < n; i++)
		((u8 *)s->map)[PAGE_SIZE + s->map->data_head++ % BUFFER] = ((const u8 *)data)[i];
}

/* Each field has 8 bytes. */
static void sample(struct source *s, u64 time_ns, u64 page, bool kvm)
{
	const u64 raw[NR_FIELDS] = { [F_PAGE] = page, [F_GPA] = 0xabc, [F_IP] = 0xdef,
		[F_NS] = 7, [F_VCPU] = 3, [F_HOME] = 1, [F_WRITE] = 1, [F_KVM] = kvm };
	const u32 size = sizeof(raw);
	const struct perf_event_header h = { .type = PERF_RECORD_SAMPLE,
		.size = sizeof(h) + sizeof(time_ns) + sizeof(size) + size };

	append(s, &h, sizeof(h));
	append(s, &time_ns, sizeof(time_ns));
	append(s, &size, sizeof(size));
	append(s, raw, size);
}

static void lost(struct source *s, u64 n)
{
	const struct perf_event_header h = { .type = PERF_RECORD_LOST, .size = sizeof(h) + 16 };
	const u64 body[2] = { 1, n };

	append(s, &h, sizeof(h));
	append(s, body, sizeof(body));
}

/* Of a kind that spanvm does not know, or, if it is too long for that, does not read */
static void other(struct source *s, u32 type, u16 size)
{
	static const u8 body[4096];
	const struct perf_event_header h = { .type = type, .size = size };

	append(s, &h, sizeof(h));
	append(s, body, size - sizeof(h));
}

static bool is_record(u64 n, u64 seq, u64 page)
{
	const struct fault_ring_record *rec = (void *)ring.shared + FAULT_RING_START;
	struct fault_ring_wrong w;

	rec += n % SLOTS;
	if (rec->seq == seq && rec->page == page && fault_ring_check_record(rec, n, &w))
		return true;
	tap_diag("record %llu: seq %llu page %llu", n, rec->seq, rec->page);
	return false;
}

int main(void)
{
	const struct fault_ring_record *rec;
	struct source *a, *b;
	u64 now, i;
	u32 f;

	ring.shared = calloc(2, PAGE_SIZE);
	*ring.shared = (struct fault_ring){ .nr = SLOTS };
	ring.sources = calloc(2, sizeof(*ring.sources));
	ring.nr_sources = 2;
	a = &ring.sources[0];
	b = &ring.sources[1];
	a->map = calloc(1, PAGE_SIZE + BUFFER);
	b->map = calloc(1, PAGE_SIZE + BUFFER);
	for (f = 0; f < NR_FIELDS; f++) {
		ring.off[f] = 8 * f;
		ring.bytes[f] = 8;
	}
	vm.setup.tsc_khz = 1000;
	rec = (void *)ring.shared + FAULT_RING_START;
	/* So that what follows goes over the end */
	a->map->data_head = BUFFER - 30;
	a->map->data_tail = a->map->data_head;
	a->tail = a->map->data_head;

	now = raw_ns();
	sample(a, now - 1000, 10, true);
	sample(a, now - 3000000, 30, true);
	sample(b, now - 2000000, 20, false);
	drain(&ring);
	tap_ok(ring.shared->head == 3 && !ring.shared->lost, "three faults, none lost");
	tap_ok(is_record(0, 0, 20) && is_record(1, 1, 10) && is_record(2, 2, 30),
	       "by time, but for what one CPU says late");
	tap_ok(rec[1].gpa == 0xabc && rec[1].ip == 0xdef && rec[1].vcpu == 3 && rec[1].ns == 7 &&
	       rec[1].home == 1 && rec[1].flags == (FAULT_RING_WRITE | FAULT_RING_GUEST),
	       "the guest's fault, with all that is known of it");
	tap_ok(!rec[0].gpa && !rec[0].ip && !rec[0].vcpu && rec[0].flags == FAULT_RING_WRITE,
	       "the host's own, without its addresses");
	tap_ok(rec[2].tsc < 4998000 && rec[2].tsc > 4996000 - 1000000, "by the guest's clock: %llu",
	       (u64)rec[2].tsc);
	tap_ok(a->map->data_tail == a->map->data_head && b->map->data_tail == b->map->data_head,
	       "perf may have the room again");

	sample(a, now + 10, 40, true);
	lost(a, 5);
	other(a, PERF_RECORD_THROTTLE, 32);
	sample(a, now + 20, 50, true);
	other(a, PERF_RECORD_SAMPLE, 4096);
	sample(a, now + 30, 60, true);
	drain(&ring);
	tap_ok(is_record(3, 3, 40) && is_record(4, 9, 50) && is_record(5, 11, 60) &&
	       ring.shared->lost == 6, "what was lost has numbers, too");

	for (i = 0; i < 2 * SLOTS; i++)
		sample(i % 2 ? a : b, now + 40 + i, 100 + i, true);
	drain(&ring);
	tap_ok(ring.shared->head == 6 + 2 * SLOTS && is_record(70, 76, 164) &&
	       is_record(133, 139, 227), "the oldest are overwritten");
	other(b, PERF_RECORD_SAMPLE, 8);
	((struct perf_event_header *)((u8 *)b->map + PAGE_SIZE + (b->map->data_head - 8) % BUFFER))
		->size = 0;
	drain(&ring);
	tap_ok(b->map->data_tail == b->map->data_head && ring.shared->head == 6 + 2 * SLOTS,
	       "a record without a length ends the round");
	return tap_done();
}
