// SPDX-License-Identifier: GPL-2.0-only
/*
 * How many page tables a first touch brings: one in a process that has been on one node; in one
 * that runs on more as many as lie in a row before it on the same node, as far as the mapping goes.
 * Where huge pages may be, one; and all are gone with their mappings.  It does not count that
 * others look at the process from another node.  --stock: always one.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "../../bench/membench/topo.h"
#include "../tap.h"

#define TABLE		(2UL << 20)	/* what a page table maps */
#define MOST		16		/* tables at a time */
#define ROUNDS		1000		/* changes of the node */
#define LOOKS		200		/* at this process from another node */
#define GIB		(512 * TABLE)	/* what a page of entries for tables maps */

static struct topo topo;

/* Run on a CPU, by its number among those that are online, from now on. */
static void pin(int nth)
{
	if (topo_pin(topo.cpu[nth]))
		tap_bail("cannot run on CPU %d", topo.cpu[nth]);
}

/* Page tables of this process */
static long tables(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[256];
	long kb = -1;

	while (f && fgets(line, sizeof(line), f) && sscanf(line, "VmPTE: %ld kB", &kb) != 1)
		;
	if (kb < 0)
		tap_bail("no VmPTE in /proc/self/status");
	fclose(f);
	return kb / 4;
}

/* How many page tables touching the first page of the mapping's Nth table brings */
static long touch(char *map, unsigned long nth)
{
	long before = tables();

	map[nth * TABLE] = 1;
	return tables() - before;
}

/* A mapping that begins a GiB, so that its tables are entered in one page */
static char *map_tables(unsigned long nr)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	char *p = mmap(NULL, 2 * GIB, PROT_NONE, flags, -1, 0);
	char *at = (char *)(((unsigned long)p + GIB - 1) & ~(GIB - 1));

	if (p == MAP_FAILED || munmap(p, 2 * GIB) ||
	    mmap(at, nr * TABLE, PROT_READ | PROT_WRITE, flags | MAP_FIXED_NOREPLACE, -1, 0) != at)
		tap_bail("mmap: %s", strerror(errno));
	return at;
}

static void unmap(char *map, unsigned long nr)
{
	if (munmap(map, nr * TABLE))
		tap_bail("munmap: %s", strerror(errno));
}

/*
 * Change the address space now here, now on the last node, until the kernel has noted that; how
 * often that took, or ROUNDS.
 */
static int spread(void)
{
	long got = 1;
	int round;
	char *p;

	for (round = 0; round < ROUNDS && got == 1; round++) {
		pin(round % 2 ? 0 : topo.nr_cpus - 1);
		p = map_tables(4);
		touch(p, 0);
		touch(p, 1);
		got = touch(p, 2);
		unmap(p, 4);
	}
	pin(0);
	return round;
}

/* A child on the last node: reads where its parent says. */
static void look(int where, int done)
{
	struct iovec there = { .iov_len = 1 }, here = { .iov_len = 1 };
	char c;

	pin(topo.nr_cpus - 1);
	here.iov_base = &c;
	while (read(where, &there.iov_base, sizeof(there.iov_base)) == sizeof(there.iov_base))
		if (process_vm_readv(getppid(), &here, 1, &there, 1, 0) != 1 || c != 1 ||
		    write(done, &c, 1) != 1)
			_exit(1);
	_exit(0);
}

/* What a touch brings after others have looked, now and then, at what this process did before */
static long looked_at(void)
{
	int where[2], done[2], round, status;
	long got = 1;
	pid_t pid;
	char *p, c;

	if (pipe(where) || pipe(done))
		tap_bail("pipe: %s", strerror(errno));
	pid = fork();
	if (!pid) {
		close(where[1]);
		look(where[0], done[1]);
	}
	close(done[1]);
	for (round = 0; pid > 0 && round < LOOKS && got == 1; round++) {
		p = map_tables(4);
		touch(p, 0);
		touch(p, 1);
		if (write(where[1], &p, sizeof(p)) != sizeof(p) || read(done[0], &c, 1) != 1)
			tap_bail("the process that looks at this one has ended");
		got = touch(p, 2);
		unmap(p, 4);
	}
	close(where[1]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		tap_bail("fork: %s", strerror(errno));
	return got;
}

/* Kernels with little memory begin with it switched off. */
static bool allow_huge_pages(void)
{
	FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "we");

	return f && fputs("madvise", f) >= 0 && !fclose(f);
}

int main(int argc, char **argv)
{
	const bool stock = argc == 2 && !strcmp(argv[1], "--stock");
	const unsigned long nr = 64;
	long got, want, before, sum, row;
	char *map;
	int moves;

	if (argc > 1 && !stock) {
		fprintf(stderr, "tables: '%s': expected --stock, or no argument\n", argv[1]);
		return 2;
	}
	if (topo_get(&topo) || topo.nr_nodes < 2)
		tap_bail("expected two nodes");
	pin(0);
	map = map_tables(nr);
	touch(map, 0);
	got = touch(map, 1);
	tap_ok(got == 1, "on one node, a touch brings %ld: expected 1", got);
	unmap(map, nr);
	got = looked_at();
	tap_ok(got == 1, "looked at from another node, %ld: expected 1", got);
	moves = spread();
	tap_ok((moves < ROUNDS) != stock, "%s after %d changes of the node",
	       moves < ROUNDS ? "more" : "no more", moves);

	map = map_tables(nr);
	touch(map, 0);
	before = tables();
	touch(map, nr - 2);
	for (row = 32; row < (long)nr; row += want) {
		/* As many as before, but for the one that is there */
		want = stock || row == 32 ? 1 : row - 32 > MOST ? MOST : row - 32;
		got = touch(map, row);
		sum = want - (row <= (long)nr - 2 && row + want > (long)nr - 2);
		if (!tap_ok(got == sum, "after %ld in a row, %ld: expected %ld", row - 32, got,
			    sum))
			break;
	}
	unmap(map, nr);

	map = map_tables(6);
	for (row = 0; row < 4; row++)
		touch(map, row);
	pin(topo.nr_cpus - 1);
	got = touch(map, 4);
	tap_ok(got == 1, "after 4 of another node, %ld: expected 1", got);
	pin(0);
	unmap(map, 6);

	map = map_tables(5);
	for (row = 0; row < 4; row++)
		touch(map, row);
	got = touch(map, 4);
	tap_ok(got == 1, "at the mapping's end, %ld: expected 1", got);
	unmap(map, 5);

	map = map_tables(nr);
	touch(map, nr - 1);
	for (sum = 0, row = 0; row < (long)nr - 1; row++) {
		got = touch(map, row);
		sum += got;
		if (got > MOST || sum <= row)
			break;
	}
	tap_ok(row == (long)nr - 1 && sum == row, "one after the other: %ld, expected %ld", sum,
	       (long)nr - 1);
	unmap(map, nr);

	map = map_tables(nr);
	touch(map, 0);
	touch(map, 1);
	if (!allow_huge_pages() || madvise(map, nr * TABLE, MADV_HUGEPAGE)) {
		tap_skip("where huge pages may be", "this kernel has none");
	} else {
		got = touch(map, 2);
		tap_ok(got == 1, "where huge pages may be, %ld: expected 1", got);
	}
	unmap(map, nr);
	map = map_tables(nr);
	touch(map, 0);
	tap_ok(tables() <= before, "all are gone with their mappings: %ld, before %ld", tables(),
	       before);
	unmap(map, nr);
	return tap_done();
}
