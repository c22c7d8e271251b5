// SPDX-License-Identifier: GPL-2.0-only
/*
 * dsmsim: locks on a simulated machine whose nodes share memory by pages.
 *
 * The command line; the work is done in table.c and explore.c.  Exit status: 0; 1 when what was
 * explored is broken, or a run failed; 2 for a wrong command line, with one line that says why.
 */
#include <stdarg.h>

#include "broken.h"
#include "explore.h"
#include "sim.h"
#include "table.h"

static const struct lock_ops * const locks[] = {
	&lock_rwsem, &lock_percpu, &lock_array, &lock_pernode, &lock_vma,
	&lock_qspin, &lock_tas, &lock_ticket, &lock_mcs, &lock_cohort, &lock_cc, &lock_ccsynch,
};

static __printf(1, 2) __noreturn void usage_error(const char *fmt, ...)
{
	va_list args;

	fputs("dsmsim: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	exit(2);
}

static void usage(void)
{
	puts("usage: dsmsim table [--json FILE] [COST]...\n"
	     "       dsmsim --json FILE [COST]...\n"
	     "       dsmsim run LOCK/WORKLOAD/nN/tT [COST]...\n"
	     "       dsmsim explore [--schedules K] [--seed S] [--from I] [--lock LOCK |\n"
	     "                      --break NAME] [--no-asserts] [--trace]\n"
	     "       dsmsim breaks\n"
	     "locks: rwsem percpu array pernode; with counter or list: qspin tas ticket mcs\n"
	     "cohort cc ccsynch; to explore only: vma\n"
	     "workloads: read100 read99 read90 read50 read0 hammer; counter list\n"
	     "costs, ns: --transfer --upgrade --hold --line --hit --relax --sleep --wake\n"
	     "--ipi; and --jitter, percent of a transfer or upgrade");
}

static u64 number(const char *option, const char *text, u64 least)
{
	char *end;
	u64 value;

	if (!text)
		usage_error("%s: expected a number after it", option);
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || value < least)
		usage_error("%s %s: expected a number from %llu", option, text, least);
	return value;
}

static const struct lock_ops *find_lock(const char *name, size_t len)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(locks); i++)
		if (strlen(locks[i]->name) == len && !strncmp(locks[i]->name, name, len))
			return locks[i];
	return NULL;
}

static const struct lock_ops *find_break(const char *name)
{
	const struct broken *b;

	for (b = broken; b->ops; b++)
		if (!strcmp(b->ops->name, name))
			return b->ops;
	usage_error("--break %s: expected one of those that `dsmsim breaks` lists", name);
}

static bool cost_option(const char *option, const char *value)
{
	static const struct {
		const char *name;
		u64 *cost;
	} costs[] = {
		{ "--transfer", &sim_costs.transfer }, { "--upgrade", &sim_costs.upgrade },
		{ "--hold", &sim_costs.hold }, { "--line", &sim_costs.line },
		{ "--jitter", &sim_costs.jitter },
		{ "--hit", &sim_costs.hit }, { "--relax", &sim_costs.relax },
		{ "--sleep", &sim_costs.sleep }, { "--wake", &sim_costs.wake },
		{ "--ipi", &sim_costs.ipi },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(costs); i++) {
		if (strcmp(costs[i].name, option))
			continue;
		*costs[i].cost = number(option, value, 0);
		if (*costs[i].cost > 1000000000)
			usage_error("%s %s: expected no more than 1000000000", option, value);
		if (sim_costs.jitter > 100)
			usage_error("%s %s: expected a percentage, 0 to 100", option, value);
		return true;
	}
	return false;
}

static int cmd_explore(char **arg)
{
	struct explore what = { .lock = &lock_pernode, .schedules = 200000, .seed = 1,
				.asserts = true };

	for (; *arg; arg++) {
		if (!strcmp(*arg, "--trace")) {
			what.trace = true;
			continue;
		}
		if (!strcmp(*arg, "--no-asserts")) {
			what.asserts = false;
			continue;
		}
		if (!strcmp(*arg, "--schedules")) {
			what.schedules = number(*arg, arg[1], 1);
		} else if (!strcmp(*arg, "--seed")) {
			what.seed = number(*arg, arg[1], 0);
		} else if (!strcmp(*arg, "--from")) {
			what.first = number(*arg, arg[1], 0);
		} else if (!strcmp(*arg, "--break")) {
			what.lock = find_break(arg[1] ? arg[1] : "");
		} else if (!strcmp(*arg, "--lock")) {
			what.lock = arg[1] ? find_lock(arg[1], strlen(arg[1])) : NULL;
			if (!what.lock)
				usage_error("--lock %s: expected one of those that `dsmsim "
					    "--help` lists", arg[1] ? arg[1] : "");
		} else {
			usage_error("%s: expected --schedules, --seed, --from, --lock, "
				    "--break, --no-asserts or --trace", *arg);
		}
		arg++;
	}
	if (!explore(&what))
		return 1;
	printf("%s: %llu schedules of seed %llu, all clean\n", what.lock->name, what.schedules,
	       what.seed);
	return 0;
}

static int cmd_table(char **arg, const char *json)
{
	for (; *arg; arg += 2) {
		if (!strcmp(*arg, "--json") && arg[1])
			json = arg[1];
		else if (!cost_option(*arg, arg[1]))
			usage_error("%s: expected --json FILE or a cost such as --transfer NS",
				    *arg);
	}
	return table(json) ? 0 : 1;
}

static int cmd_run(char **arg)
{
	struct table_run run = { 0 };
	const char *config = *arg, *slash, *work;
	char end;

	if (!config)
		usage_error("run: expected LOCK/WORKLOAD/nN/tT after it");
	slash = strchr(config, '/');
	run.lock = slash ? find_lock(config, slash - config) : NULL;
	work = run.lock ? slash + 1 : NULL;
	slash = work ? strchr(work, '/') : NULL;
	run.work = slash ? table_workload(work, slash - work) : NULL;
	if (!run.work || sscanf(slash, "/n%d/t%d%c", &run.nodes, &run.threads, &end) != 2 ||
	    run.nodes < 1 || run.nodes > 8 || run.threads < run.nodes ||
	    run.threads > SIM_THREADS)
		usage_error("%s: expected LOCK/WORKLOAD/nN/tT with N of 1 to 8 and T of N to "
			    "64", config);
	if (!table_fits(&run))
		usage_error("%s: expected a lock for that workload: see `dsmsim --help`",
			    config);
	for (arg++; *arg; arg += 2)
		if (!cost_option(*arg, arg[1]))
			usage_error("%s: expected a cost such as --transfer NS", *arg);
	return table_one(&run) ? 0 : 1;
}

int main(int argc, char **argv)
{
	const struct broken *b;

	if (argc < 2)
		usage_error("expected a command: table, run, explore or breaks");
	if (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help")) {
		usage();
		return 0;
	}
	if (!strcmp(argv[1], "explore"))
		return cmd_explore(argv + 2);
	if (!strcmp(argv[1], "run"))
		return cmd_run(argv + 2);
	if (!strcmp(argv[1], "table"))
		return cmd_table(argv + 2, NULL);
	if (!strcmp(argv[1], "--json")) {
		if (argc < 3)
			usage_error("--json: expected a file after it");
		return cmd_table(argv + 3, argv[2]);
	}
	if (!strcmp(argv[1], "breaks")) {
		for (b = broken; b->ops; b++)
			printf("%s: %s\n", b->ops->name, b->what);
		return 0;
	}
	usage_error("%s: expected a command: table, run, explore or breaks", argv[1]);
}
