// SPDX-License-Identifier: GPL-2.0-only
/*
 * What came of a run: kept until the next, and shown as a line of the kernel's log, as TAP and
 * as JSON, whose rows are those of the project's other benchmarks.
 */
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/sort.h>

#include "bench.h"

/**
 * result_alloc - make an empty result
 * @config: of what; its @place is freed with the result, or at once
 *
 * Context: may sleep.
 * Return: the result, or NULL without memory.
 */
struct result *result_alloc(const struct config *config)
{
	struct result *r = kzalloc(sizeof(*r), GFP_KERNEL);

	if (!r) {
		kfree(config->place);
		return NULL;
	}
	r->config = *config;
	r->round = kvcalloc(config->rounds, sizeof(*r->round), GFP_KERNEL);
	r->thread = kvcalloc((size_t)config->rounds * config->threads, sizeof(*r->thread),
			     GFP_KERNEL);
	if (!r->round || !r->thread) {
		result_free(r);
		return NULL;
	}
	return r;
}

/**
 * result_free - forget a result
 * @r: it, or NULL
 *
 * Context: may sleep.
 */
void result_free(struct result *r)
{
	if (!r)
		return;
	kfree(r->config.place);
	kvfree(r->round);
	kvfree(r->thread);
	kfree(r);
}

/* A round is as it should be: right, unless it was to be found wrong. */
static bool passed(const struct result *r, unsigned int i)
{
	return r->round[i].right != r->config.expect_broken;
}

static unsigned int failed_rounds(const struct result *r)
{
	unsigned int i, n = 0;

	for (i = 0; i < r->rounds; i++)
		n += !passed(r, i);
	return n;
}

/**
 * result_verdict - did it go as it should?
 * @r: of a run whose rounds are done
 *
 * Context: any.
 * Return: 0, or -EIO when results were wrong, or right with a lock that is none.
 */
int result_verdict(const struct result *r)
{
	return failed_rounds(r) ? -EIO : 0;
}

/* A figure of a round */
typedef u64 (*figure_fn)(const struct result *r, unsigned int round, unsigned int thread);

/* All threads together come after the last of them. */
static const struct figures *of(const struct result *r, unsigned int round, unsigned int thread)
{
	if (thread == r->config.threads)
		return &r->round[round].all;
	return result_thread(r, round, thread);
}

static u64 ops_per_s(const struct result *r, unsigned int round, unsigned int thread)
{
	return of(r, round, thread)->ops_per_s;
}

static u64 p50(const struct result *r, unsigned int round, unsigned int thread)
{
	return of(r, round, thread)->p50;
}

static u64 p99(const struct result *r, unsigned int round, unsigned int thread)
{
	return of(r, round, thread)->p99;
}

static u64 longest(const struct result *r, unsigned int round, unsigned int thread)
{
	return of(r, round, thread)->max;
}

static u64 fairness(const struct result *r, unsigned int round, unsigned int thread)
{
	return r->round[round].fairness;
}

static u64 failed(const struct result *r, unsigned int round, unsigned int thread)
{
	return !passed(r, round);
}

/* What is shown; a thread has those with @threads. */
static const struct metric {
	const char *name, *unit;
	figure_fn figure;
	bool threads;
	bool ratio;	/* in 1/RATIO_ONE */
} metrics[] = {
	{ "ops_per_s", "ops/s", ops_per_s, true },
	{ "p50_ns", "ns", p50, true },
	{ "p99_ns", "ns", p99, true },
	{ "max_ns", "ns", longest, true },
	{ "fairness", "ratio", fairness, false, true },
	{ "failed", "rounds", failed, false },
};

struct spread {
	u64 median, min, max;
};

static int compare(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

/* A metric over all rounds, of which there is one at least; @thread: see of() */
static struct spread spread(const struct result *r, const struct metric *m, unsigned int thread)
{
	unsigned int i, n = r->rounds;
	u64 value[MAX_ROUNDS];

	for (i = 0; i < n; i++)
		value[i] = m->figure(r, i, thread);
	sort(value, n, sizeof(*value), compare, NULL);
	return (struct spread){
		.median = n % 2 ? value[n / 2] : (value[n / 2 - 1] + value[n / 2]) / 2,
		.min = value[0],
		.max = value[n - 1],
	};
}

/* As a decimal number, in @text */
static const char *number(char *text, size_t size, const struct metric *m, u64 value)
{
	if (m->ratio)
		scnprintf(text, size, "%llu.%04llu", value / RATIO_ONE, value % RATIO_ONE);
	else
		scnprintf(text, size, "%llu", value);
	return text;
}

/**
 * result_log - say in the kernel's log what came of it
 * @r: the result
 *
 * One line: NAME: rounds N, WHAT N, ... with the medians; and one for each round that failed.
 *
 * Context: may sleep.
 */
void result_log(const struct result *r)
{
	char line[416], text[32];
	size_t i, len;

	for (i = 0; i < r->rounds; i++)
		if (!passed(r, i))
			pr_err("%s: round %zu: %s%s\n", r->config.name, i + 1,
			       r->round[i].right ? "not found broken: " : "", r->round[i].what);
	len = scnprintf(line, sizeof(line), "rounds %u", r->rounds);
	for (i = 0; r->rounds && i < ARRAY_SIZE(metrics); i++) {
		const struct metric *m = &metrics[i];
		u64 value = spread(r, m, r->config.threads).median;

		if (m->figure == failed)
			value = failed_rounds(r);
		len += scnprintf(line + len, sizeof(line) - len, ", %s %s", m->name,
				 number(text, sizeof(text), m, value));
	}
	if (r->rounds)
		len += scnprintf(line + len, sizeof(line) - len, "; %s",
				 r->round[r->rounds - 1].what);
	pr_notice("%s: %s\n", r->config.name, line);
}

static void tap_figures(const struct result *r, struct seq_file *seq, unsigned int thread)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(metrics); i++) {
		const struct metric *m = &metrics[i];
		char text[32];

		if (thread == r->config.threads || m->threads)
			seq_printf(seq, " %s %s", m->name,
				   number(text, sizeof(text), m, spread(r, m, thread).median));
	}
	seq_putc(seq, '\n');
}

/**
 * result_tap - show a result as TAP: a test for each round, medians as comments
 * @r: the result
 * @seq: where
 *
 * Context: may sleep.
 */
void result_tap(const struct result *r, struct seq_file *seq)
{
	const struct config *c = &r->config;
	unsigned int i;

	for (i = 0; i < r->rounds; i++)
		seq_printf(seq, "%sok %u - %s: round %u: %s%s\n", passed(r, i) ? "" : "not ",
			   i + 1, c->name, i + 1, c->expect_broken ? "is to be wrong: " : "",
			   r->round[i].what);
	seq_printf(seq, "# %s: %u operations a thread, hold %u, think %u, %s\n", c->name,
		   c->ops, c->hold, c->think, c->packed ? "packed" : "spread");
	if (r->rounds) {
		seq_puts(seq, "# all:");
		tap_figures(r, seq, c->threads);
	}
	for (i = 0; r->rounds && i < c->threads; i++) {
		seq_printf(seq, "# thread %u, CPU %d, node %d:", i, c->place[i].cpu,
			   c->place[i].node);
		tap_figures(r, seq, i);
	}
	seq_printf(seq, "1..%u\n", c->rounds);
}

static void json_row(const struct result *r, struct seq_file *seq, const struct metric *m,
		     unsigned int thread)
{
	struct spread s = spread(r, m, thread);
	char prefix[24] = "", median[32], min[32], max[32];

	if (thread < r->config.threads)
		scnprintf(prefix, sizeof(prefix), "thread%u_", thread);
	number(median, sizeof(median), m, s.median);
	number(min, sizeof(min), m, s.min);
	number(max, sizeof(max), m, s.max);
	seq_printf(seq, "{\"config\": \"%s\", \"metric\": \"%s%s\", \"unit\": \"%s\", ",
		   r->config.name, prefix, m->name, m->unit);
	seq_printf(seq, "\"median\": %s, \"min\": %s, \"max\": %s, \"n\": %u}", median, min,
		   max, r->rounds);
}

/**
 * result_json - show a result as a line of JSON
 * @r: the result
 * @seq: where
 *
 * Context: may sleep.
 */
void result_json(const struct result *r, struct seq_file *seq)
{
	unsigned int thread, rows = 0;
	size_t i;

	seq_puts(seq, "{\"bench\": \"kmod\", \"rows\": [");
	/* All threads together first */
	for (i = 0; r->rounds && i < ARRAY_SIZE(metrics); i++) {
		if (rows++)
			seq_puts(seq, ", ");
		json_row(r, seq, &metrics[i], r->config.threads);
	}
	for (thread = 0; r->rounds && thread < r->config.threads; thread++)
		for (i = 0; i < ARRAY_SIZE(metrics); i++) {
			if (!metrics[i].threads)
				continue;
			seq_puts(seq, ", ");
			json_row(r, seq, &metrics[i], thread);
		}
	seq_puts(seq, "]}\n");
}
