// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fault rings and records that faultprof.ko must not read, and those that it must: each field
 * that is wrong is named with its value.
 */
#include "../fault_ring.h"
#include "../../../tests/tap.h"

#define BYTES	(FAULT_RING_START + 4096)

static struct fault_ring good = {
	.magic = FAULT_RING_MAGIC, .version = FAULT_RING_VERSION,
	.record_size = sizeof(struct fault_ring_record),
	.nr = 4096 / sizeof(struct fault_ring_record), .node = FAULT_RING_MAX_NODES - 1,
};

static void wrong_ring(struct fault_ring r, __u64 bytes, const char *what, __u64 value)
{
	struct fault_ring_wrong w;

	tap_ok(!fault_ring_check(&r, bytes, &w) && !strcmp(w.what, what) && w.value == value,
	       "refused: %s %llu", what, value);
}

static void wrong_record(struct fault_ring_record rec, const char *what, __u64 value)
{
	struct fault_ring_wrong w;

	tap_ok(!fault_ring_check_record(&rec, 7, &w) && !strcmp(w.what, what) && w.value == value,
	       "refused: %s %llu", what, value);
}

#define WITH(of, field, val) ({ typeof(of) copy = of; copy.field = val; copy; })

int main(void)
{
	struct fault_ring_record rec = { .seq = 7, .page = ~0ULL >> 12, .flags = 7,
		.home = FAULT_RING_MAX_NODES - 1 };
	struct fault_ring_wrong w;

	tap_ok(fault_ring_check(&good, BYTES, &w), "a good ring is read");
	wrong_ring(WITH(good, magic, 1), BYTES, "magic", 1);
	wrong_ring(WITH(good, version, FAULT_RING_VERSION + 1), BYTES, "version",
		   FAULT_RING_VERSION + 1);
	wrong_ring(WITH(good, record_size, 0), BYTES, "record size", 0);
	wrong_ring(WITH(good, record_size, 128), BYTES, "record size", 128);
	wrong_ring(WITH(good, nr, 0), BYTES, "number of slots", 0);
	wrong_ring(WITH(good, nr, 65), BYTES, "number of slots", 65);
	wrong_ring(WITH(good, node, 64), BYTES, "node", 64);
	wrong_ring(good, 2 * BYTES, "number of slots", good.nr);
	wrong_ring(WITH(good, nr, 1), 0, "bytes", 0);
	wrong_ring(WITH(good, nr, 1), FAULT_RING_START + 63, "bytes", FAULT_RING_START + 63);
	wrong_ring(WITH(good, nr, 4097 * 64), FAULT_RING_MAX_BYTES + 4096, "bytes",
		   FAULT_RING_MAX_BYTES + 4096);
	tap_ok(fault_ring_check_record(&rec, 7, &w), "a good record is read");
	wrong_record(WITH(rec, seq, 6), "number of a record", 6);
	wrong_record(WITH(rec, flags, 8), "flags of a record", 8);
	wrong_record(WITH(rec, home, 64), "home of a record", 64);
	wrong_record(WITH(rec, page, 1ULL << 52), "page of a record", 1ULL << 52);
	wrong_record(WITH(rec, zero, 1), "end of a record", 1);
	wrong_record(WITH(rec, reserved, 2), "end of a record", 2);
	return tap_done();
}
