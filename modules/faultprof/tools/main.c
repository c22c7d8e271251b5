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
#include <unistd.h>

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

/**
 * usage_error() - one line on stderr, and the end with status 2
 * @fmt:	printf's
 */
void usage_error(const char *fmt, ...)
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

static const char *new_name(const char *option, const char *path)
{
	static char name[4096];

	if (snprintf(name, sizeof(name), "%s.new", path) >= (int)sizeof(name))
		fail("--%s %.100s: expected a shorter name", option, path);
	return name;
}

/**
 * file_begin() - begin a file that will be there whole or not at all
 * @option:	that names it
 * @path:	its name
 *
 * Return: what it is written to.
 */
FILE *file_begin(const char *option, const char *path)
{
	FILE *f = fopen(new_name(option, path), "we");

	if (!f)
		fail("--%s %s: %s", option, path, strerror(errno));
	return f;
}

/**
 * file_end() - give the file its name
 * @f:		what file_begin() returned
 * @option:	that names it
 * @path:	its name
 */
void file_end(FILE *f, const char *option, const char *path)
{
	const char *name = new_name(option, path);
	bool bad = ferror(f);

	if (fclose(f) || bad || rename(name, path)) {
		int err = errno;

		unlink(name);
		fail("--%s %s: %s", option, path, strerror(err));
	}
}

/**
 * next_option() - getopt_long(), for options that have one meaning
 * @argc:	of the command
 * @argv:	of the command
 * @options:	those it knows
 *
 * Return: the option's val, 1 for a word that belongs to none, -1 after the last.  A wrong one
 * ends the program.
 */
int next_option(int argc, char **argv, const struct option *options)
{
	const int at = optind;
	int o;

	opterr = 0;
	o = getopt_long(argc, argv, "-:", options, NULL);
	if (o == ':')
		usage_error("option \"%s\": expected a value after it", argv[at]);
	if (o == '?')
		usage_error("option \"%s\": expected a known one", argv[at]);
	return o;
}

/**
 * number_option() - the number that an option is given
 * @name:	the option
 * @text:	its value
 * @least:	the least it may be
 * @most:	the most
 *
 * Return: the number.  A wrong one ends the program.
 */
u64 number_option(const char *name, const char *text, u64 least, u64 most)
{
	char *end;
	u64 n;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || n < least || n > most)
		usage_error("--%s \"%s\": expected a number from %llu to %llu", name, text, least,
			    most);
	return n;
}

/**
 * guest_option() - an option that may be v, M, o or T, for what says what a guest was
 * @g:		what they say
 * @o:		what next_option() returned
 */
void guest_option(struct guest *g, int o)
{
	if (o == 'v')
		g->vmlinux = optarg;
	if (o == 'M')
		g->memory = optarg;
	if (o == 'T')
		memory_set_type(optarg);
	if (o != 'o')
		return;
	g->modules = xrealloc(g->modules, (g->nr_modules + 1) * sizeof(*g->modules));
	g->modules[g->nr_modules++] = optarg;
}

/**
 * guest_read() - read what the options name
 * @g:		what they say
 */
void guest_read(const struct guest *g)
{
	size_t i;

	if (g->nr_modules && !g->memory)
		usage_error("--module \"%s\": expected --memory, too", g->modules[0]);
	/* It says what types are asked for, and where modules are. */
	if (g->memory)
		memory_read(g->memory);
	if (g->vmlinux)
		symbols_read_vmlinux(g->vmlinux);
	if (g->map)
		symbols_read_map(g->map);
	for (i = 0; i < g->nr_modules; i++)
		module_read(g->modules[i]);
}

/**
 * guest_free() - the reverse
 * @g:		what the options say
 */
void guest_free(struct guest *g)
{
	symbols_free();
	memory_free();
	free(g->modules);
}

static void help(void)
{
	puts("usage: faultprof record [--output FILE] [-- COMMAND...]\n"
	     "       faultprof report [OPTION]... FILE...\n"
	     "       faultprof patch --vmlinux FILE --source DIR --output DIR [OPTION]... FILE...\n"
	     "       faultprof verify [OPTION]...\n"
	     "record: has perf record the events numaspan:fault of a host, or faultprof:dsm_fault in a\n"
	     "guest, until COMMAND ends or Ctrl-C.\n"
	     "  --output FILE   perf.data if not given\n"
	     "  --tracefs DIR   where that is mounted (/sys/kernel/tracing)\n"
	     "report: which pages of a span move between its nodes, what lies on them, who moves\n"
	     "them, and whether that is false sharing.  FILE: events numaspan:fault of a host, as a\n"
	     "perf.data (perf record -a -k CLOCK_REALTIME -e numaspan:fault) or as text from perf\n"
	     "script or tracefs; one of each host.  Or events faultprof:dsm_fault, from the guest.\n"
	     "Or of others: kvm:kvm_page_fault, one FILE of each host; or what perf mem record -a\n"
	     "--phys-data has of a NUMA machine.\n"
	     "  --vmlinux FILE  the guest's kernel, for the names of objects and functions\n"
	     "  --map FILE      its System.map instead\n"
	     "  --memory FILE   what else its memory holds: copies of the guest's\n"
	     "                  /sys/kernel/debug/faultprof/memory (insmod faultprof.ko), and of\n"
	     "                  what grep -H . /sys/module/*/sections/.[a-z]* says there\n"
	     "  --module FILE   a module of the guest's, *.ko; with --memory; may be given again\n"
	     "  --struct CACHE=TYPE\n"
	     "                  what the objects of a slab cache are of, if not of the structure of\n"
	     "                  its name; may be given again\n"
	     "  --top N         pages in the text (20)\n"
	     "  --json FILE     all of it as JSON\n"
	     "  --svg FILE      a picture: the dearest pages over time, and node by node\n"
	     "  --perf-data FILE\n"
	     "                  all faults for perf report, perf mem report and perf c2c report\n"
	     "patch: writes patches that let variables have pages of their own, or share one.\n"
	     "  --vmlinux, --memory, --module, --struct as above; what is to be patched has\n"
	     "                  debugging information\n"
	     "  --source DIR    the tree that it was built from, with the series' page layout\n"
	     "  --output DIR    gets the patches, for git am; may not hold anything\n"
	     "  --max-memory N  KiB that all of them may cost (16384)\n"
	     "  --window US     what a CPU accesses within that, without the time it waits, it\n"
	     "                  accesses together (1000)\n"
	     "  --leave OBJECT  not to be moved, as the list of what stays has it; may be given again\n"
	     "verify: whether patches are what they should be; what it is given, it looks at.\n"
	     "  --patches DIR   them; with --source DIR: they apply and checkpatch is content\n"
	     "  --build         with --source, configured: what they touch builds, too\n"
	     "  --vmlinux FILE  built with them: where they have put their variables\n"
	     "  --before FILE... --after FILE...\n"
	     "                  recordings of faults, or spanvm's counters, without and with them:\n"
	     "                  at least five each, and fewer faults with them by the median\n"
	     "  --least N       recordings a side (5)\n"
	     "A guest whose kernel has KASLR has to be booted with nokaslr.\n"
	     "Exit status: 0; 1 for an input that cannot be used; 2 for a wrong option.");
}

static int report(int argc, char **argv)
{
	static const struct option options[] = {
		{ "vmlinux", required_argument, NULL, 'v' },
		{ "memory", required_argument, NULL, 'M' },
		{ "module", required_argument, NULL, 'o' },
		{ "struct", required_argument, NULL, 'T' },
		{ "map", required_argument, NULL, 'm' },
		{ "top", required_argument, NULL, 't' },
		{ "json", required_argument, NULL, 'j' },
		{ "svg", required_argument, NULL, 's' },
		{ "perf-data", required_argument, NULL, 'p' },
		{ }
	};
	struct guest guest = { };
	const char *json = NULL, *picture = NULL, *perf_data = NULL;
	const char **files = xzalloc(argc * sizeof(*files));
	size_t top = 20, nr_files = 0, i;
	struct faults faults = { };
	struct profile profile;
	int o;

	while ((o = next_option(argc, argv, options)) != -1) {
		if (o == 1)
			files[nr_files++] = optarg;
		guest_option(&guest, o);
		if (o == 'm')
			guest.map = optarg;
		if (o == 'j')
			json = optarg;
		if (o == 's')
			picture = optarg;
		if (o == 'p')
			perf_data = optarg;
		if (o == 't')
			top = number_option("top", optarg, 0, 1000000);
	}
	for (; optind < argc; optind++)
		files[nr_files++] = argv[optind];
	if (guest.vmlinux && guest.map)
		usage_error("--map \"%s\": expected no --vmlinux beside it", guest.map);
	if (!nr_files)
		usage_error("no FILE: expected a perf.data or a trace");
	guest_read(&guest);
	for (i = 0; i < nr_files; i++)
		input_read(&faults, files[i]);
	profile_make(&profile, &faults);
	if (json)
		report_json(&profile, json);
	if (picture)
		svg_write(&profile, &faults, picture);
	if (perf_data)
		perfdata_write(&profile, &faults, perf_data);
	report_text(&profile, top);
	profile_free(&profile);
	guest_free(&guest);
	free(faults.fault);
	free(files);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(int argc, char **argv);
	} commands[] = {
		{ "record", record }, { "report", report }, { "patch", patch },
		{ "verify", verify },
	};
	int status;
	size_t i;

	if (argc < 2)
		usage_error("no command: expected record, report, patch or verify");
	if (!strcmp(argv[1], "--help") || (argc > 2 && !strcmp(argv[2], "--help"))) {
		help();
		return 0;
	}
	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[1], commands[i].name))
			continue;
		status = commands[i].run(argc - 1, argv + 1);
		if (fflush(stdout) || ferror(stdout))
			fail("standard output: %s", strerror(errno));
		return status;
	}
	usage_error("command \"%s\": expected record, report, patch or verify", argv[1]);
}
