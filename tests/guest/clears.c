// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory of one node, cleared by a CPU of another.  A process on the first node's CPU fills most
 * free memory of that node and ends; one on the last node's CPU then gets some of it, which the
 * kernel clears for it there.  How that is paid for is in the span's counters.
 */
#define _GNU_SOURCE
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../bench/membench/topo.h"
#include "../tap.h"
#include "access.h"

#define PAGE	4096UL

static struct topo topo;

/* Memory of the first node by a CPU of node @at: zero but for the word of each page written to. */
static bool use(size_t size, int at)
{
	unsigned long mask[TOPO_NODES / 64 + 1] = { };
	bool good = true;
	size_t i;
	int cpu;
	char *p;

	for (cpu = 0; topo.node[cpu] != at; cpu++)
		;
	if (topo_pin(topo.cpu[cpu]))
		tap_bail("CPU %d does not take this process", topo.cpu[cpu]);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mask[topo.id[0] / 64] = 1UL << topo.id[0] % 64;
	if (p == MAP_FAILED || syscall(SYS_mbind, p, size, MPOL_BIND, mask, TOPO_NODES + 1, 0))
		tap_bail("%zu bytes of node %d: %s", size, topo.id[0], strerror(errno));
	for (i = 0; i < size; i += PAGE)
		store64(p + i, ~0UL);
	for (i = 0; i < size; i += 8)
		good &= load64(p + i) == (i % PAGE ? 0 : ~0UL);
	memset(p, 0xa5, size);
	return good;
}

static bool child(size_t size, int at)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid)
		_exit(use(size, at) ? 0 : 1);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		tap_bail("no process: %s", strerror(errno));
	return !status;
}

int main(int argc, char **argv)
{
	size_t size, most;
	bool good;

	if (argc != 2 || topo_parse_size(argv[1], &size) || !size || size % PAGE) {
		fprintf(stderr, "clears: '%s': expected a size, a multiple of 4K, as 4M\n",
			argc == 2 ? argv[1] : "");
		return 2;
	}
	if (topo_get(&topo) || topo.nr_nodes < 2)
		tap_bail("two nodes are needed");
	/* What is free and was never touched holds nothing that could be fetched. */
	most = topo_mem_kib(topo.id[0], "MemFree:") / 8 * 7 * 1024;
	if (most < size)
		tap_bail("%zu bytes can be filled: expected at least %zu", most, size);
	tap_diag("%zu bytes filled", most);
	good = child(most / PAGE * PAGE, 0);
	good &= child(size, topo.nr_nodes - 1);
	tap_ok(good, "%zu bytes of node %d, filled there and cleared on node %d, are zero", size,
	       topo.id[0], topo.id[topo.nr_nodes - 1]);
	return tap_done();
}
