// SPDX-License-Identifier: GPL-2.0-only
/*
 * Records faults by perf: on a host its events numaspan:fault, in a guest its faultprof:dsm_fault,
 * until a command ends, or until interrupted.  What that lacks is said before perf starts; then
 * this program is perf.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faultprof.h"

#define DEBUGFS	"/sys/kernel/debug/faultprof/"

static bool has_event(const char *tracefs, const char *event)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/events/%s/id", tracefs, event);
	return !access(path, R_OK);
}

static const char *find_event(const char *tracefs)
{
	struct stat st;

	if (stat(tracefs, &st) || access(tracefs, R_OK | X_OK))
		fail("%s: %s: expected to be root", tracefs, strerror(errno));
	if (has_event(tracefs, "numaspan/fault"))
		return "numaspan:fault";
	if (!has_event(tracefs, "faultprof/dsm_fault"))
		fail("%s: no numaspan:fault, no faultprof:dsm_fault: expected %s", tracefs,
		     "a host with numaspan.ko, or a guest with faultprof.ko");
	if (!access(DEBUGFS "memory", F_OK) && access(DEBUGFS "ring", F_OK))
		fail("faultprof.ko has no fault ring: expected spanvm to have a fault_ring");
	return "faultprof:dsm_fault";
}

/**
 * record() - the command `faultprof record'
 * @argc:	of the command
 * @argv:	of the command
 *
 * Return: not at all if perf starts.
 */
int record(int argc, char **argv)
{
	static const struct option options[] = {
		{ "output", required_argument, NULL, 'o' },
		{ "tracefs", required_argument, NULL, 't' },
		{ }
	};
	const char *tracefs = "/sys/kernel/tracing", *output = "perf.data", *event;
	const char **perf = xzalloc((argc + 16) * sizeof(*perf));
	size_t n = 0;
	int o;

	while ((o = next_option(argc, argv, options)) != -1) {
		if (o == 1)
			usage_error("\"%s\": expected -- before the command", optarg);
		if (o == 'o')
			output = optarg;
		if (o == 't')
			tracefs = optarg;
	}
	event = find_event(tracefs);
	perf[n++] = "perf";
	perf[n++] = "record";
	perf[n++] = "-a";
	/* Hosts have no clock in common but the time; the guest's events bring their own. */
	if (!strcmp(event, "numaspan:fault")) {
		perf[n++] = "-k";
		perf[n++] = "CLOCK_REALTIME";
	}
	perf[n++] = "-e";
	perf[n++] = event;
	perf[n++] = "-o";
	perf[n++] = output;
	if (optind < argc)
		perf[n++] = "--";
	while (optind < argc)
		perf[n++] = argv[optind++];
	execvp("perf", (char **)perf);
	fail("perf cannot be run: %s: expected Debian's linux-perf", strerror(errno));
}
