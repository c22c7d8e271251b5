// SPDX-License-Identifier: GPL-2.0-only
/*
 * Says a profile: the pages by what they cost, then the dearest taken apart, object by place in the
 * code by node, as perf c2c does for cache lines; and all of it as JSON.
 */
#include <string.h>

#include "faultprof.h"

#define SPOTS	12	/* of a page, in the text */

static const char *const verdicts[NR_VERDICTS] = {
	[V_UNKNOWN] = "UNKNOWN", [V_FALSE] = "FALSE", [V_TRUE] = "TRUE", [V_MIXED] = "MIXED",
	[V_WALK] = "PAGE-WALK",
};

/* How to say what faults of an origin have cost */
static const struct unit {
	const char *event, *name, *whole, *json;
	double scale;
	int digits;
} units[] = {
	[SPAN] = { "faults", "ms", "time", "ns", 1e6, 3 },
	[NUMA] = { "samples", "Mcycles", "time", "cycles", 1e6, 3 },
	[KVM] = { "faults", "in all", "faults", "faults", 1, 0 },
};

/* That of the profile which is being said */
static const struct unit *unit;

static double percent(u64 part, u64 whole)
{
	return whole ? 100.0 * part / whole : 0;
}

static const char *name_of(const struct symbol *s, const char *none)
{
	return s ? s->name : none;
}

/* The object of most cost, and how many others there are */
static void print_objects(const struct page *p)
{
	const struct symbol *first = p->spots[0].object;
	size_t i, j, others = 0;

	for (i = 1; i < p->nr_spots; i++) {
		for (j = 0; j < i && p->spots[j].object != p->spots[i].object; j++)
			;
		others += j == i;
	}
	printf("%s", name_of(first, "no symbol"));
	if (others)
		printf(" and %zu more", others);
}

/* What of an object was accessed: ".member", or of one with pages anywhere "+0xPAGE"; or nothing */
static void member_name(const struct spot *s, char *buf, size_t len)
{
	if (s->object && s->object->is_paged)
		snprintf(buf, len, "+0x%llx", s->inner - s->inner % PAGE_SIZE);
	else if (s->object)
		dwarf_member(s->object, s->inner, buf, len);
	else
		*buf = 0;
}

/* "object.member" */
static const char *object_name(const struct spot *s, char *buf, size_t len)
{
	int n = snprintf(buf, len, "%s", name_of(s->object, "-"));

	if (n < (int)len)
		member_name(s, buf + n, len - n);
	return buf;
}

/* "function file:line" */
static const char *place_name(const struct spot *s, char *buf, size_t len)
{
	const char *slash = s->file ? strrchr(s->file, '/') : NULL;
	int n = snprintf(buf, len, "%s", name_of(s->function, "-"));

	if (s->file && n < (int)len)
		snprintf(buf + n, len - n, " %s:%d", slash ? slash + 1 : s->file, s->line);
	return buf;
}

/* Where the objects of a page are declared, each once */
static void print_declared(const struct page *p)
{
	const char *file;
	size_t i, j;
	int line;

	for (i = 0; i < p->nr_spots; i++) {
		for (j = 0; j < i && p->spots[j].object != p->spots[i].object; j++)
			;
		if (j < i || !p->spots[i].object)
			continue;
		file = dwarf_declared(p->spots[i].object, &line);
		if (file)
			printf("   %s: %s:%d\n", p->spots[i].object->name, file, line);
	}
}

static void print_page(const struct profile *pr, const struct page *p, size_t rank)
{
	char object[128], place[128];
	size_t i;
	u32 n;

	printf("\n%zu. page %llu", rank, p->nr);
	if (p->gpa)
		printf(" at %llx", p->gpa);
	printf(", home %u: %s", p->home, verdicts[p->verdict]);
	if (p->verdict == V_FALSE)
		printf(p->gain >= p->inner_gain ? " (of objects)" : " (inside an object)");
	printf(", confidence %.2f; apart: objects %.0f %%, their parts %.0f %% less faults\n",
	       p->confidence, 100 * p->gain, 100 * p->inner_gain);
	print_declared(p);
	printf("   %6s  %-36s %-40s", "offset", "object", "by");
	for (n = 0; n < pr->nr_nodes; n++)
		printf("  node %-2u r/w", n);
	printf("  %10s\n", unit->name);
	for (i = 0; i < p->nr_spots && i < SPOTS; i++) {
		const struct spot *s = &p->spots[i];

		printf("   0x%04x  %-36s %-40s", s->offset,
		       object_name(s, object, sizeof(object)),
		       place_name(s, place, sizeof(place)));
		for (n = 0; n < pr->nr_nodes; n++)
			printf("  %6llu/%-4llu", s->by[n].reads,
			       s->by[n].writes);
		printf("  %10.*f\n", unit->digits, s->all.ns / unit->scale);
	}
	if (i < p->nr_spots)
		printf("   ... and %zu places more\n", p->nr_spots - i);
}

/**
 * report_text() - print it
 * @p:		profile
 * @top:	how many pages
 */
void report_text(const struct profile *p, size_t top)
{
	u64 verdict_ns[NR_VERDICTS] = { 0 }, verdict_nr[NR_VERDICTS] = { 0 };
	const u64 all = count_faults(&p->all);
	size_t i;
	u32 n;

	unit = &units[p->origin];
	printf("%llu %s in %.3f s: %llu to read, %llu to write, %llu by page walks; ", all,
	       unit->event, p->span_ns / 1e9, p->all.reads, p->all.writes, p->all.walks);
	if (p->origin == KVM)
		printf("how long they took is not known\n");
	else
		printf("%.3f %s waited\n", p->all.ns / unit->scale, unit->name);
	if (p->origin == NUMA)
		printf("without %llu samples of what a node had itself\n", p->local);
	if (p->own || p->lost)
		printf("without %llu faults of the profiler itself, and %llu that were lost\n",
		       p->own, p->lost);
	for (n = 0; n < p->nr_nodes; n++)
		printf("node %u: %llu to read, %llu to write; %.*f %s\n", n, p->by[n].reads,
		       p->by[n].writes, unit->digits, p->by[n].ns / unit->scale, unit->name);
	printf("%zu pages; %.1f %% of the faults are at objects that have a name, ",
	       p->nr_pages, percent(p->named, all));
	printf("%.1f %% of those of the kernel's code, ", percent(p->kernel_named, p->kernel));
	printf("%.1f %% of the others\n", percent(p->named - p->kernel_named, all - p->kernel));
	for (i = 0; i < p->nr_pages; i++) {
		verdict_ns[p->pages[i].verdict] += p->pages[i].all.ns;
		verdict_nr[p->pages[i].verdict]++;
	}
	for (i = 0; i < NR_VERDICTS; i++)
		printf("%-9s %6llu pages %5.1f %% of the %s\n", verdicts[i],
		       verdict_nr[i], percent(verdict_ns[i], p->all.ns), unit->whole);

	printf("\n%4s %10s %4s %8s %8s %8s %10s %6s %-9s %5s  %s\n", "rank", "page", "home",
	       unit->event, "read", "write", unit->name, unit->whole, "verdict", "conf",
	       "objects");
	for (i = 0; i < p->nr_pages && i < top; i++) {
		const struct page *g = &p->pages[i];

		printf("%4zu %10llu %4u %8llu %8llu %8llu %10.*f %5.1f%% %-9s %5.2f  ", i + 1,
		       g->nr, g->home, count_faults(&g->all),
		       g->all.reads, g->all.writes, unit->digits,
		       g->all.ns / unit->scale, percent(g->all.ns, p->all.ns), verdicts[g->verdict],
		       g->confidence);
		print_objects(g);
		putchar('\n');
	}
	for (i = 0; i < p->nr_pages && i < top; i++)
		print_page(p, &p->pages[i], i + 1);
}

static void json_count(FILE *f, const struct count *c)
{
	fprintf(f, "\"reads\": %llu, \"writes\": %llu, \"walks\": %llu, \"ns\": %llu",
		c->reads, c->writes,
		c->walks, c->ns);
}

static void json_nodes(FILE *f, const struct count *by, u32 nr_nodes)
{
	u32 n;

	fprintf(f, "\"nodes\": [");
	for (n = 0; n < nr_nodes; n++) {
		fprintf(f, "%s{", n ? ", " : "");
		json_count(f, &by[n]);
		fputc('}', f);
	}
	fputc(']', f);
}

static void json_text(FILE *f, const char *key, const char *text)
{
	fprintf(f, "\"%s\": \"", key);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', f);
		if ((unsigned char)*text >= ' ')
			fputc(*text, f);
	}
	fprintf(f, "\", ");
}

static void json_name(FILE *f, const char *key, const struct symbol *s)
{
	if (s)
		json_text(f, key, s->name);
	else
		fprintf(f, "\"%s\": null, ", key);
}

static void json_page(FILE *f, const struct profile *pr, const struct page *p)
{
	char member[128];
	size_t i;

	fprintf(f, "  {\"page\": %llu, \"gpa\": %llu, \"home\": %u, ", p->nr,
		p->gpa, p->home);
	fprintf(f, "\"verdict\": \"%s\", \"confidence\": %.3f, ", verdicts[p->verdict],
		p->confidence);
	fprintf(f, "\"gain\": %.3f, \"inner_gain\": %.3f, ", p->gain, p->inner_gain);
	json_count(f, &p->all);
	fprintf(f, ",\n   ");
	json_nodes(f, p->by, pr->nr_nodes);
	fprintf(f, ",\n   \"spots\": [");
	for (i = 0; i < p->nr_spots; i++) {
		const struct spot *s = &p->spots[i];

		fprintf(f, "%s\n    {\"offset\": %u, ", i ? "," : "", s->offset);
		json_name(f, "object", s->object);
		member_name(s, member, sizeof(member));
		if (*member)
			json_text(f, "member", member);
		json_name(f, "function", s->function);
		if (s->file) {
			json_text(f, "file", s->file);
			fprintf(f, "\"line\": %d, ", s->line);
		}
		json_count(f, &s->all);
		fprintf(f, ", ");
		json_nodes(f, s->by, pr->nr_nodes);
		fputc('}', f);
	}
	fprintf(f, "]}");
}

/**
 * report_json() - write all of it to a file, whole or not at all
 * @p:		profile
 * @path:	the file
 */
void report_json(const struct profile *p, const char *path)
{
	FILE *f = file_begin("json", path);
	size_t i;

	fprintf(f, "{\"faults\": %llu, \"named\": %llu, \"span_ns\": %llu, ",
		count_faults(&p->all), p->named,
		p->span_ns);
	fprintf(f, "\"kernel\": %llu, \"kernel_named\": %llu, ", p->kernel, p->kernel_named);
	fprintf(f, "\"own\": %llu, \"lost\": %llu, ", p->own, p->lost);
	/* What the numbers of "ns" are, if not that */
	if (p->origin != SPAN)
		fprintf(f, "\"unit\": \"%s\", \"local\": %llu, ", units[p->origin].json,
			p->local);
	json_count(f, &p->all);
	fprintf(f, ",\n ");
	json_nodes(f, p->by, p->nr_nodes);
	fprintf(f, ",\n \"pages\": [\n");
	for (i = 0; i < p->nr_pages; i++) {
		json_page(f, p, &p->pages[i]);
		fprintf(f, "%s\n", i + 1 < p->nr_pages ? "," : "");
	}
	fprintf(f, "]}\n");
	file_end(f, "json", path);
}
