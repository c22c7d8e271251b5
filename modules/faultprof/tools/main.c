// SPDX-License-Identifier: GPL-2.0-only
/*
 * faultprof: from the faults of a span to the objects that its pages move for.  This file is the
 * command line.
 */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "faultprof.h"

/**
 * fail() - one line on stderr, and the end with status 1
 * @fmt:	printf's
 */
void fail(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("faultprof: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

static void __noreturn __printf(1, 2) usage_error(const char *fmt, ...)
{
	va_list ap;

	fputs("faultprof: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs("; see faultprof --help\n", stderr);
	exit(2);
}

/**
 * xrealloc() - memory, or the end
 * @p:		what there is, or NULL
 * @n:		bytes
 *
 * Return: the memory.
 */
void *xrealloc(void *p, size_t n)
{
	p = realloc(p, n ?: 1);
	if (!p)
		fail("no memory for %zu bytes", n);
	return p;
}

/**
 * xzalloc() - zeroed memory, or the end
 * @n:		bytes
 *
 * Return: the memory.
 */
void *xzalloc(size_t n)
{
	return memset(xrealloc(NULL, n), 0, n);
}

static void help(void)
{
	puts("usage: faultprof report [OPTION]... FILE...\n"
	     "Which pages of a span move between its nodes, what lies on them, who moves them, and\n"
	     "whether that is false sharing.  FILE: events numaspan:fault of a host, as a perf.data\n"
	     "(perf record -a -k CLOCK_REALTIME -e numaspan:fault) or as text from perf script or\n"
	     "tracefs; one of each host.\n"
	     "  --vmlinux FILE  the guest's kernel, for the names of objects and functions\n"
	     "  --map FILE      its System.map instead\n"
	     "  --memory FILE   what else its memory holds: a copy of the guest's\n"
	     "                  /sys/kernel/debug/faultprof/memory (insmod faultprof.ko)\n"
	     "  --top N         pages in the text (20)\n"
	     "  --json FILE     all of it as JSON\n"
	     "A guest whose kernel has KASLR has to be booted with nokaslr.\n"
	     "Exit status: 0; 1 for an input that cannot be used; 2 for a wrong option.");
}

static int report(int argc, char **argv)
{
	static const struct option options[] = {
		{ "vmlinux", required_argument, NULL, 'v' },
		{ "map", required_argument, NULL, 'm' },
		{ "memory", required_argument, NULL, 'M' },
		{ "top", required_argument, NULL, 't' },
		{ "json", required_argument, NULL, 'j' },
		{ }
	};
	const char *vmlinux = NULL, *map = NULL, *memory = NULL, *json = NULL;
	unsigned long top = 20;
	struct faults faults = { };
	struct profile profile;
	int o, at = optind;
	char *end;

	opterr = 0;
	while ((o = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (o == ':')
			usage_error("option \"%s\": expected a value after it", argv[at]);
		if (o == '?')
			usage_error("option \"%s\": expected a known one", argv[at]);
		at = optind;
		if (o == 'v')
			vmlinux = optarg;
		if (o == 'm')
			map = optarg;
		if (o == 'M')
			memory = optarg;
		if (o == 'j')
			json = optarg;
		if (o == 't') {
			errno = 0;
			top = strtoul(optarg, &end, 10);
			if (*optarg < '0' || *optarg > '9' || *end || errno)
				usage_error("--top \"%s\": expected a number", optarg);
		}
	}
	if (vmlinux && map)
		usage_error("--map \"%s\": expected no --vmlinux beside it", map);
	if (optind == argc)
		usage_error("no FILE: expected a perf.data or a trace");
	if (vmlinux)
		symbols_read_vmlinux(vmlinux);
	if (map)
		symbols_read_map(map);
	if (memory)
		memory_read(memory);
	while (optind < argc)
		input_read(&faults, argv[optind++]);
	profile_make(&profile, &faults);
	if (json)
		report_json(&profile, json);
	report_text(&profile, top);
	profile_free(&profile);
	symbols_free();
	memory_free();
	free(faults.fault);
	if (fflush(stdout) || ferror(stdout))
		fail("standard output: %s", strerror(errno));
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		usage_error("no command: expected report");
	if (!strcmp(argv[1], "--help")) {
		help();
		return 0;
	}
	if (strcmp(argv[1], "report"))
		usage_error("command \"%s\": expected report", argv[1]);
	if (argc > 2 && !strcmp(argv[2], "--help")) {
		help();
		return 0;
	}
	return report(argc - 1, argv + 1);
}
