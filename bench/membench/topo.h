/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The CPUs and NUMA nodes that the running kernel shows in sysfs, for membench and the litmus
 * tests.  Online CPUs, not the affinity mask, are what counts: isolated CPUs are not in the mask.
 * A kernel without NUMA is one node, number 0, with all CPUs.
 */
#ifndef MEMBENCH_TOPO_H
#define MEMBENCH_TOPO_H

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOPO_CPUS	1024
#define TOPO_NODES	64

/**
 * struct topo - what the kernel shows
 * @nr_cpus:	online CPUs
 * @cpu:	their numbers, ascending
 * @node:	index into @id for each of @cpu
 * @nr_nodes:	online nodes
 * @id:		their numbers, ascending
 * @numa:	the kernel has NUMA nodes in sysfs
 */
struct topo {
	int nr_cpus;
	int cpu[TOPO_CPUS];
	int node[TOPO_CPUS];
	int nr_nodes;
	int id[TOPO_NODES];
	bool numa;
};

/**
 * topo_parse_list() - the numbers in a list like "0-3,7"
 * @s:		list
 * @out:	numbers
 * @max:	room in @out
 *
 * Return: how many, or -1 if @s is no such list.
 */
static inline int topo_parse_list(const char *s, int *out, int max)
{
	int n = 0;

	while (*s && *s != '\n') {
		char *end;
		long a = strtol(s, &end, 10), b = a;

		if (end == s || a < 0 || a >= TOPO_CPUS)
			return -1;
		if (*end == '-') {
			s = end + 1;
			b = strtol(s, &end, 10);
			if (end == s || b < a || b >= TOPO_CPUS)
				return -1;
		}
		for (; a <= b; a++) {
			if (n == max)
				return -1;
			out[n++] = a;
		}
		if (*end == ',')
			end++;
		else if (*end && *end != '\n')
			return -1;
		s = end;
	}
	return n;
}

static inline bool topo_read(const char *path, char *buf, size_t len)
{
	FILE *f = fopen(path, "r");
	bool got = f && fgets(buf, len, f);

	if (f)
		fclose(f);
	return got;
}

/**
 * topo_get() - read what the kernel shows
 * @t:	filled in
 *
 * Return: 0, or -1 if sysfs is not there.
 */
static inline int topo_get(struct topo *t)
{
	int list[TOPO_CPUS], i, j, k, n;
	char buf[4096], path[96];

	memset(t, 0, sizeof(*t));
	if (!topo_read("/sys/devices/system/cpu/online", buf, sizeof(buf)))
		return -1;
	t->nr_cpus = topo_parse_list(buf, t->cpu, TOPO_CPUS);
	if (t->nr_cpus < 1)
		return -1;
	t->nr_nodes = 1;
	if (!topo_read("/sys/devices/system/node/online", buf, sizeof(buf)))
		return 0;
	n = topo_parse_list(buf, t->id, TOPO_NODES);
	if (n < 1)
		return -1;
	t->nr_nodes = n;
	t->numa = true;
	for (i = 0; i < t->nr_nodes; i++) {
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cpulist", t->id[i]);
		if (!topo_read(path, buf, sizeof(buf)))
			continue;
		n = topo_parse_list(buf, list, TOPO_CPUS);
		for (j = 0; j < n; j++)
			for (k = 0; k < t->nr_cpus; k++)
				if (t->cpu[k] == list[j])
					t->node[k] = i;
	}
	return 0;
}

/**
 * topo_mem_kib() - one figure of a node's or the machine's meminfo
 * @node:	node number, or -1 for the machine
 * @what:	for example "MemTotal:"
 *
 * Return: KiB, or -1 if there is no such line.
 */
static inline long topo_mem_kib(int node, const char *what)
{
	char path[96] = "/proc/meminfo", buf[256], *p;
	long kib = -1;
	FILE *f;

	if (node >= 0)
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/meminfo", node);
	f = fopen(path, "r");
	if (!f)
		return -1;
	while (kib < 0 && fgets(buf, sizeof(buf), f)) {
		p = strstr(buf, what);
		if (p)
			kib = strtol(p + strlen(what), NULL, 10);
	}
	fclose(f);
	return kib;
}

/**
 * topo_pin() - run the calling thread on one CPU
 * @cpu:	its number
 *
 * Return: 0 or an error number.
 */
static inline int topo_pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? errno : 0;
}

/**
 * topo_parse_size() - bytes from "64M" and the like
 * @s:		digits and an optional K, M, G (powers of 1024)
 * @out:	bytes
 *
 * Return: 0, or -1 if @s is no such size or does not fit.
 */
static inline int topo_parse_size(const char *s, size_t *out)
{
	unsigned long long v;
	int shift = 0;
	char *end;

	errno = 0;
	v = strtoull(s, &end, 10);
	if (end == s || errno || *s == '-')
		return -1;
	if (*end == 'K')
		shift = 10;
	else if (*end == 'M')
		shift = 20;
	else if (*end == 'G')
		shift = 30;
	if (shift)
		end++;
	if (*end || (v << shift) >> shift != v)
		return -1;
	*out = v << shift;
	return 0;
}

#endif
