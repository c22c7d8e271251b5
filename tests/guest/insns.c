// SPDX-License-Identifier: GPL-2.0-only
/*
 * How many instructions do page faults, mmap() with munmap(), and fork() take, in a process that
 * lives on one CPU?  For ci/kernel --icount, where the TSC counts instructions, which is tested
 * first.  Each figure is the least of some rounds: ticks, other CPUs, which count too, and what
 * is done once in a while (RCU callbacks, refills of caches) are in all rounds but the least.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "../../bench/membench/topo.h"
#include "../tap.h"
#include "access.h"

#define PAGE	4096UL
#define ROUNDS	60
#define TURNS	100000UL

static inline u64 tsc(void)
{
	unsigned int low, high;

	asm volatile("lfence; rdtsc" : "=a" (low), "=d" (high) : : "memory");
	return (u64)high << 32 | low;
}

/* Two instructions a turn */
static void spin(unsigned int n)
{
	unsigned long turns = TURNS;

	(void)n;
	asm volatile("1: dec %0; jnz 1b" : "+r" (turns));
}

static char *area;

static void map_area(unsigned int n)
{
	area = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED)
		tap_bail("mmap: %s", strerror(errno));
}

static void unmap_area(unsigned int n)
{
	if (munmap(area, n * PAGE))
		tap_bail("munmap: %s", strerror(errno));
}

/* Of the zero page: nothing is cleared, so these are what a fault takes at least. */
static void read_fault(unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		load64(area + i * PAGE);
}

static void write_fault(unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		store64(area + i * PAGE, 1);
}

static void map_unmap(unsigned int n)
{
	while (n--) {
		map_area(16);
		unmap_area(16);
	}
}

static void fork_wait(unsigned int n)
{
	int pid, status;

	while (n--) {
		pid = fork();
		if (!pid)
			_exit(0);
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
			tap_bail("fork: %s", strerror(errno));
	}
}

static u64 least(void (*before)(unsigned int n), void (*loop)(unsigned int n),
		 void (*after)(unsigned int n), unsigned int n)
{
	u64 best = ~0ULL, begin, took;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		if (before)
			before(n);
		begin = tsc();
		loop(n);
		took = tsc() - begin;
		if (after)
			after(n);
		best = took < best ? took : best;
	}
	return best;
}

/* Bytes that an object of a slab cache takes, with its share of what its slabs waste */
static long slab_bytes(const char *cache)
{
	char path[96], buf[64];
	long order, objects;

	snprintf(path, sizeof(path), "/sys/kernel/slab/%s/order", cache);
	if (!topo_read(path, buf, sizeof(buf)))
		return -1;
	order = strtol(buf, NULL, 10);
	snprintf(path, sizeof(path), "/sys/kernel/slab/%s/objs_per_slab", cache);
	if (!topo_read(path, buf, sizeof(buf)))
		return -1;
	objects = strtol(buf, NULL, 10);
	return objects > 0 ? (long)(PAGE << order) / objects : -1;
}

int main(int argc, char **argv)
{
	static const char *const caches[] = { "mm_struct", "vm_area_struct", "vma_lock" };
	struct topo topo;
	unsigned int i;
	u64 got;

	if (argc > 1) {
		fprintf(stderr, "insns: '%s': expected no argument\n", argv[1]);
		return 2;
	}
	if (topo_get(&topo) || topo_pin(topo.cpu[0]))
		tap_bail("cannot pin myself to a CPU");
	got = least(NULL, spin, NULL, 0);
	if (!tap_ok(got >= 2 * TURNS && got < 2 * TURNS + 100,
		    "the TSC counts instructions: %llu in a loop of %lu", got, 2 * TURNS))
		return tap_done();
	got = least(map_area, read_fault, unmap_area, 200);
	tap_ok(got, "read_fault: %llu instructions", got / 200);
	got = least(map_area, write_fault, unmap_area, 200);
	tap_ok(got, "write_fault: %llu instructions", got / 200);
	got = least(NULL, map_unmap, NULL, 5);
	tap_ok(got, "mmap_munmap: %llu instructions", got / 5);
	got = least(NULL, fork_wait, NULL, 1);
	tap_ok(got, "fork: %llu instructions", got);
	for (i = 0; i < sizeof(caches) / sizeof(*caches); i++)
		tap_diag("%s: %ld bytes", caches[i], slab_bytes(caches[i]));
	return tap_done();
}
