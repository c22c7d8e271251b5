// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the guest's memory outside the kernel's image was used for, as its module faultprof.ko says:
 * each CPU's own data by its variables, kernel stacks, struct pages, and the kind of what has no
 * name.  The names are made when an address is first asked for, and each object has one symbol,
 * so that two are the same if they are at the same place.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "faultprof.h"

#define MAGIC	"# faultprof memory 1"

/* In the order in which they are asked: a stack is of pages, too. */
enum kind { STACK, VMEMMAP, PAGES, NR_KINDS };

static struct table ranges[NR_KINDS];
static u64 cpu_base[MAX_CPUS];		/* plus one, so that 0 is none */
static struct symbol **made;
static size_t nr_made;

static void add(enum kind kind, u64 start, u64 size, const char *name)
{
	table_add(&ranges[kind], &(struct symbol){ .start = start, .size = size, .name = name });
}

/* One line.  False if it is none of those that are known. */
static bool add_line(const char *line)
{
	unsigned long long start, size, of;
	char text[64], name[96];
	int n, end = 0;

	if (sscanf(line, "node %llx %llx %d%n", &start, &size, &n, &end) == 3 && !line[end])
		return n >= 0 && n < MAX_NODES;
	if (sscanf(line, "percpu %llx %d%n", &start, &n, &end) == 2 && !line[end]) {
		if (n < 0 || n >= MAX_CPUS)
			return false;
		cpu_base[n] = start + 1;
		return true;
	}
	if (sscanf(line, "stack %llx %llx %d %63[^\n]%n", &start, &size, &n, text, &end) == 4 &&
	    !line[end] && size) {
		snprintf(name, sizeof(name), "stack of %s/%d", text, n);
		add(STACK, start, size, name);
		return true;
	}
	if (sscanf(line, "vmemmap %llx %llx %llx%n", &start, &size, &of, &end) == 3 &&
	    !line[end] && size) {
		add(VMEMMAP, start, size, "struct pages");
		return true;
	}
	if (sscanf(line, "pages %llx %llx %63s%n", &start, &size, text, &end) == 3 &&
	    !line[end] && size) {
		add(PAGES, start, size, text);
		return true;
	}
	return false;
}

/**
 * memory_read() - read what /sys/kernel/debug/faultprof/memory said
 * @path:	a copy of it
 */
void memory_read(const char *path)
{
	FILE *f = fopen(path, "re");
	unsigned long long nr = 0;
	char line[256];
	int i;

	if (!f)
		fail("%s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		const bool whole = strchr(line, '\n');

		line[strcspn(line, "\n")] = 0;
		if (!nr++ && strcmp(line, MAGIC))
			fail("%s: \"%.40s\": expected a copy of faultprof/memory", path, line);
		if (!whole || (*line != '#' && !add_line(line)))
			fail("%s:%llu: \"%.60s\": expected a whole line of faultprof/memory", path,
			     nr, line);
	}
	if (!nr)
		fail("%s: empty: expected a copy of faultprof/memory", path);
	fclose(f);
	for (i = 0; i < NR_KINDS; i++)
		table_sort(&ranges[i], 0);
}

/* The symbol of an object, made if it is new; @start is a physical address. */
static const struct symbol *make(const struct symbol *like)
{
	size_t i;

	for (i = 0; i < nr_made; i++)
		if (made[i]->start == like->start && made[i]->size == like->size &&
		    !strcmp(made[i]->name, like->name))
			return made[i];
	if (!(nr_made & (nr_made - 1)))
		made = xrealloc(made, (2 * nr_made + 1) * sizeof(*made));
	made[nr_made] = xzalloc(sizeof(**made));
	*made[nr_made] = *like;
	made[nr_made]->name = strdup(like->name);
	return made[nr_made++];
}

/* A variable that each CPU has for itself */
static const struct symbol *find_percpu(u64 gpa)
{
	struct symbol own;
	char name[256];
	int cpu;

	for (cpu = 0; cpu < MAX_CPUS; cpu++) {
		const struct symbol *s;

		if (!cpu_base[cpu] || gpa < cpu_base[cpu] - 1)
			continue;
		s = symbols_find_percpu(gpa - (cpu_base[cpu] - 1));
		if (!s)
			continue;
		snprintf(name, sizeof(name), "cpu%d:%s", cpu, s->name);
		own = *s;
		own.start += cpu_base[cpu] - 1;
		own.name = name;
		return make(&own);
	}
	return NO_SYMBOL;
}

/**
 * memory_find() - what lies at a guest-physical address that is not in the kernel's image
 * @gpa:	the address
 * @offset:	set to the offset in it
 *
 * Return: its symbol; that of a kind if the object has no name; NO_SYMBOL if nothing is known.
 */
const struct symbol *memory_find(u64 gpa, u64 *offset)
{
	const struct symbol *s = find_percpu(gpa);
	const struct symbol *r;
	enum kind kind;
	char name[128];

	for (kind = 0; !s && kind < NR_KINDS; kind++) {
		/* A page each: what lies on it cannot be told apart. */
		struct symbol page = { .start = gpa - gpa % PAGE_SIZE, .size = PAGE_SIZE,
			.name = name, .is_kind = kind == PAGES };

		r = table_find(&ranges[kind], gpa);
		if (!r)
			continue;
		snprintf(name, sizeof(name), kind == PAGES ? "(%s)" : "%s", r->name);
		s = make(&page);
	}
	*offset = s ? gpa - s->start : 0;
	return s;
}

/**
 * memory_cpus() - how many CPUs have per-CPU variables
 *
 * Return: the number; 1 if nobody has said.
 */
u32 memory_cpus(void)
{
	u32 nr = 0;
	int cpu;

	for (cpu = 0; cpu < MAX_CPUS; cpu++)
		nr += cpu_base[cpu] != 0;
	return nr ?: 1;
}

/**
 * memory_free() - the reverse of memory_read()
 */
void memory_free(void)
{
	size_t i;

	for (i = 0; i < NR_KINDS; i++)
		table_free(&ranges[i]);
	for (i = 0; i < nr_made; i++) {
		free((char *)made[i]->name);
		free(made[i]);
	}
	free(made);
}
