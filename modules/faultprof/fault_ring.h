/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * A node's fault ring: what spanvm tells the guest of the faults at that node, for faultprof.ko.
 *
 * If eax of numaspan's leaf of features (numaspan_guest.h) has NUMASPAN_FEATURE_FAULT_RING, the
 * leaf after that has the ring's guest-physical address in eax and, upper half, ebx, its bytes in
 * ecx and its version in edx.  The address is the same on all nodes, and the memory there is each
 * host's own: a CPU sees the ring of its node, no page of it ever moves, and the guest cannot
 * write to it.
 *
 * There is one writer, which never waits: it overwrites the oldest record.  Record @head goes to
 * slot @head % @nr, then @head grows by one.  What has been copied from a slot was its record N
 * only if @head - N is below @nr afterwards.
 */
#ifndef FAULTPROF_FAULT_RING_H
#define FAULTPROF_FAULT_RING_H

#include <linux/types.h>

#ifdef __KERNEL__
#include <linux/build_bug.h>
#else
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#endif

#define NUMASPAN_FEATURE_FAULT_RING	0x2

#define FAULT_RING_MAGIC	0x5246534eU	/* "NSFR" */
#ifndef FAULT_RING_VERSION
#define FAULT_RING_VERSION	1
#endif
#define FAULT_RING_START	4096		/* of the first record */
#define FAULT_RING_MAX_NODES	64
#define FAULT_RING_MAX_BYTES	(4097U * 4096)

struct fault_ring {
	__u32 magic;
	__u32 version;
	__u32 record_size;
	__u32 nr;		/* slots */
	__u32 node;		/* of the span */
	__u32 zero;
	__u64 lost;		/* faults so far that spanvm has missed */
	__u64 head;		/* records so far */
};

#define FAULT_RING_WRITE	0x1
#define FAULT_RING_WALK		0x2	/* of the guest's page tables, by its CPU */
#define FAULT_RING_GUEST	0x4	/* by a CPU of the guest: @gpa, @ip and @vcpu are known */
#define FAULT_RING_FLAGS	0x7

struct fault_ring_record {
	__u64 seq;		/* which of the node's faults: its number here, plus those lost */
	__u64 tsc;		/* the guest's, when the fault was over */
	__u64 page;		/* of the span */
	__u64 gpa;
	__u64 ip;
	__u64 ns;		/* that it took */
	__u32 vcpu;		/* APIC id */
	__u8 home;		/* the page's home */
	__u8 flags;
	__u16 zero;
	__u64 reserved;
};

static_assert(sizeof(struct fault_ring) == 40);
static_assert(offsetof(struct fault_ring, head) == 32);
static_assert(sizeof(struct fault_ring_record) == 64);
static_assert(offsetof(struct fault_ring_record, vcpu) == 48);
static_assert(offsetof(struct fault_ring_record, flags) == 53);

/**
 * struct fault_ring_wrong - what is wrong with a ring
 * @what:	the field
 * @value:	that it has
 * @least:	that it should have
 * @most:	that it may have
 */
struct fault_ring_wrong {
	const char *what;
	__u64 value, least, most;
};

static inline bool fault_ring_expect(struct fault_ring_wrong *w, const char *what, __u64 value,
				     __u64 least, __u64 most)
{
	*w = (struct fault_ring_wrong){ what, value, least, most };
	return value >= least && value <= most;
}

/**
 * fault_ring_check() - is it a ring that this header describes?
 * @r:		a copy of its head
 * @bytes:	of all of it
 * @w:		what is wrong
 *
 * Return: whether it is one.
 */
static inline bool fault_ring_check(const struct fault_ring *r, __u64 bytes,
				    struct fault_ring_wrong *w)
{
	const __u64 room = bytes < FAULT_RING_START ? 0 : bytes - FAULT_RING_START;
	const __u32 size = sizeof(struct fault_ring_record);
	const __u64 nr = room / size ?: 1;

	return fault_ring_expect(w, "magic", r->magic, FAULT_RING_MAGIC, FAULT_RING_MAGIC) &&
	       fault_ring_expect(w, "version", r->version, FAULT_RING_VERSION,
				 FAULT_RING_VERSION) &&
	       fault_ring_expect(w, "record size", r->record_size, size, size) &&
	       fault_ring_expect(w, "number of slots", r->nr, nr, nr) &&
	       fault_ring_expect(w, "bytes", bytes, FAULT_RING_START + size,
				 FAULT_RING_MAX_BYTES) &&
	       fault_ring_expect(w, "node", r->node, 0, FAULT_RING_MAX_NODES - 1);
}

/**
 * fault_ring_check_record() - can a record be what spanvm has written?
 * @rec:	a copy of it
 * @n:		its number in the ring
 * @w:		what is wrong
 *
 * Return: whether it can.
 */
static inline bool fault_ring_check_record(const struct fault_ring_record *rec, __u64 n,
					   struct fault_ring_wrong *w)
{
	return fault_ring_expect(w, "number of a record", rec->seq, n, ~0ULL) &&
	       fault_ring_expect(w, "flags of a record", rec->flags, 0, FAULT_RING_FLAGS) &&
	       fault_ring_expect(w, "home of a record", rec->home, 0, FAULT_RING_MAX_NODES - 1) &&
	       fault_ring_expect(w, "page of a record", rec->page, 0, ~0ULL >> 12) &&
	       fault_ring_expect(w, "end of a record", rec->zero | rec->reserved, 0, 0);
}

#endif
