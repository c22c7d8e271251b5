// SPDX-License-Identifier: GPL-2.0-only
/*
 * faultprof patch: writes what layout.c has chosen as patches, one for each change, that git am
 * takes and a person can review: what was recorded, what is predicted, what it costs, and
 * the command that made it.  Nobody signs them off here.  The folder gets all of them or none.
 * A change that those before it have made already gets none.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "faultprof.h"

#define MAX_MEMORY	16384	/* KiB */
#define WINDOW		1000	/* us */
#define SUBJECT		64	/* columns */
#define MESSAGE		72

static char **command;
static char name[256], email[256];

/* A line that git says */
static void git_config(const char *key, char *value, size_t len)
{
	char line[64];
	FILE *f;

	snprintf(line, sizeof(line), "git config --get %s", key);
	f = popen(line, "re");
	if (!f || !fgets(value, len, f))
		*value = 0;
	if (f)
		pclose(f);
	value[strcspn(value, "\n")] = 0;
	if (!*value)
		fail("git config %s: not set: expected who writes the patches", key);
}

/* What a change to a file is filed under */
static void subsystem(const char *file, char *buf, size_t len)
{
	const char *slash = strchr(file, '/');
	const char *next = slash ? strchr(slash + 1, '/') : NULL;
	const bool inner = !strncmp(file, "kernel/", 7) || !strncmp(file, "drivers/", 8);

	if (inner && next)
		snprintf(buf, len, "%.*s", (int)(next - slash - 1), slash + 1);
	else if (!strncmp(file, "arch/", 5) && next)
		snprintf(buf, len, "%.*s", (int)(next - slash - 1), slash + 1);
	else if (slash && (!strncmp(file, "lib/", 4) || inner))
		snprintf(buf, len, "%.*s", (int)strcspn(slash + 1, "."), slash + 1);
	else
		snprintf(buf, len, "%.*s", (int)strcspn(file, "/."), file);
}

/* The same as a word of C, which no other group has */
static void group_name(const struct layout *l, size_t nr, char *buf, size_t len)
{
	char other[64];
	u32 before = 0;
	size_t i;
	char *s;

	subsystem(l->objects[l->changes[nr].objects[0]].where.file, buf, len);
	for (i = 0; i < nr; i++) {
		if (l->changes[i].nr < 2)
			continue;
		subsystem(l->objects[l->changes[i].objects[0]].where.file, other, sizeof(other));
		before += !strcmp(other, buf);
	}
	for (s = buf; *s; s++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", *s))
			*s = '_';
	if (before)
		snprintf(s, len - (s - buf), "_%u", before + 1);
}

static struct object *object_of(const struct layout *l, size_t nr, size_t i)
{
	return &l->objects[l->changes[nr].objects[i]];
}

static const char *name_of(const struct object *o)
{
	return *o->label ? o->label : o->where.name ?: o->symbol->name;
}

/* "time: keep jiffies_lock, jiffies_seq and 2 more on one page" */
static void subject_of(const struct layout *l, size_t nr, char *buf, size_t len)
{
	const struct change *c = &l->changes[nr];
	const struct object *first = object_of(l, nr, 0);
	size_t i;
	int n;

	subsystem(first->where.file, buf, len);
	n = strlen(buf);
	if (c->nr == 1 && (first->part ? first->part->element : !!first->symbol->cache)) {
		snprintf(buf + n, len - n, ": isolate each object of %s on its own page",
			 name_of(first));
		return;
	}
	if (c->nr == 1) {
		snprintf(buf + n, len - n, ": isolate %s on %s", name_of(first),
			 first->symbol->size > PAGE_SIZE ? "pages of its own" : "its own page");
		return;
	}
	n += snprintf(buf + n, len - n, ": keep %s", first->where.name);
	for (i = 1; i < c->nr; i++) {
		const char *next = object_of(l, nr, i)->where.name;

		if (n + strlen(next) + strlen(", and 99 more on one page") > SUBJECT)
			break;
		n += snprintf(buf + n, len - n, "%s%s", i + 1 < c->nr ? ", " : " and ", next);
	}
	if (i < c->nr)
		n += snprintf(buf + n, len - n, " and %zu more", c->nr - i);
	snprintf(buf + n, len - n, " on one page");
}

static void write_command(FILE *f)
{
	u32 column = fprintf(f, "Made by: faultprof");
	char **word;

	for (word = command; *word; word++) {
		if (column + strlen(*word) + 3 > MESSAGE)
			column = fprintf(f, " \\\n ") - 3;
		column += fprintf(f, " %s", *word);
	}
	fprintf(f, "\n");
}

/* What a place is called, if it is not a group */
static const char *place_of(const struct object *o)
{
	return o->part ? "member" : o->symbol->cache ? "cache" : "alone";
}

/* Edits the source so that an object is alone, or in a group. */
static bool place_object(struct object *o, const char *group, char *why, size_t len)
{
	const bool module = symbols_is_module(o->symbol);
	char words[80];

	if (o->part)
		return source_place_member(&o->where, &o->part->next, why, len);
	if (o->symbol->cache)
		return source_place_cache(o->symbol->cache, &o->where.file, why, len);
	/* The kernel's linker script knows its groups, and each has an attribute. */
	snprintf(words, sizeof(words), module ? "(%.64s)" : "_%.64s", group ?: "");
	return source_place(&o->where, o->percpu, group ? words : ALONE, why, len);
}

static void write_message(const struct layout *l, size_t nr, const char *group, FILE *f)
{
	const struct change *c = &l->changes[nr];
	const u64 before = nr ? l->changes[nr - 1].left : l->replayed;
	size_t i;

	if (c->nr == 1)
		fprintf(f, "Its page moves between nodes for what else is on it.\n");
	else
		fprintf(f, "Whoever accesses one of them mostly accesses the others, too, and\n"
			"waits for each page that another node has.\n");
	fprintf(f, "\nFaults%38s %10s\n", "before", "predicted");
	fprintf(f, "  %-32s %9llu %10llu\n", "all, by replay", before, c->left);
	fprintf(f, "  %-32s %9llu %10llu\n", c->nr == 1 ? "at it" : "at them", c->own_faults,
		c->own_left);
	for (i = 0; c->nr > 1 && i < c->nr; i++)
		fprintf(f, "    %-30s %9llu\n", object_of(l, nr, i)->where.name,
			object_of(l, nr, i)->faults);
	if (object_of(l, nr, 0)->part)
		fprintf(f, "\nIts structure grows by whole pages, wherever there is one.\n");
	fprintf(f, "\n%llu faults were recorded, and are %llu by replay. Memory: %llu KiB.\n\n",
		l->faults, l->replayed, c->memory / 1024);
	write_command(f);
	fputc('\n', f);
	for (i = 0; i < c->nr; i++)
		fprintf(f, "Page-layout: %s %s\n", group ?: place_of(object_of(l, nr, i)),
			name_of(object_of(l, nr, i)));
}

/* One patch, as git format-patch writes it */
static void write_patch(const struct layout *l, size_t nr, const char *dir, const char *date)
{
	const struct change *c = &l->changes[nr];
	char subject[256], path[4224], slug[64], group[64], why[160];
	bool bad;
	size_t i, n;
	FILE *f;

	subject_of(l, nr, subject, sizeof(subject));
	for (i = n = 0; subject[i] && n < 52; i++) {
		if (strchr(" :,/", subject[i])) {
			if (n && slug[n - 1] != '-')
				slug[n++] = '-';
		} else {
			slug[n++] = subject[i];
		}
	}
	slug[n] = 0;
	snprintf(path, sizeof(path), "%s/%04u-%s.patch", dir, (u32)nr + 1, slug);
	group_name(l, nr, group, sizeof(group));
	for (i = 0; i < c->nr; i++)
		if (!place_object(object_of(l, nr, i), c->nr > 1 ? group : ALONE, why,
				  sizeof(why)))
			fail("%s: %s", name_of(object_of(l, nr, i)), why);
	if (c->nr > 1 && !symbols_is_module(object_of(l, nr, 0)->symbol))
		source_add_group(group);
	if (!source_changed()) {
		printf("%5s  %10llu %10llu %8s  %s: those before do that, too\n", "-",
		       c->own_faults, c->own_left, "-", subject);
		return;
	}
	f = fopen(path, "we");
	if (!f)
		fail("%s: %s", path, strerror(errno));
	fprintf(f, "From %040d Mon Sep 17 00:00:00 2001\nFrom: %s <%s>\nDate: %s\n", 0, name,
		email, date);
	fprintf(f, "Subject: [PATCH %zu/%zu] %s\n\n", nr + 1, l->nr_changes, subject);
	write_message(l, nr, c->nr > 1 ? group : NULL, f);
	fprintf(f, "---\n");
	source_write(f);
	source_keep();
	bad = ferror(f);
	if (fclose(f) || bad)
		fail("%s: %s", path, strerror(errno));
	printf("%5zu  %10llu %10llu %8llu  %s\n", nr + 1, c->own_faults, c->own_left,
	       c->memory / 1024, subject);
}

/* A folder beside the one that is asked for, which it will be when all is in it */
static void make_folder(const char *output, char *dir, size_t len)
{
	if (snprintf(dir, len, "%s.new-XXXXXX", output) >= (int)len)
		fail("--output %.100s: expected a shorter name", output);
	if (!mkdtemp(dir) || chmod(dir, 0755))
		fail("--output %s: %s", output, strerror(errno));
}

static void write_patches(const struct layout *l, const char *output)
{
	char dir[4096], date[64];
	const time_t now = time(NULL);
	size_t i;

	make_folder(output, dir, sizeof(dir));
	printf("%llu faults, %llu by replay; %llu with %zu changes for %llu KiB\n", l->faults,
	       l->replayed, l->left, l->nr_changes, l->memory / 1024);
	if (!l->nr_changes) {
		rmdir(dir);
		return;
	}
	strftime(date, sizeof(date), "%a, %d %b %Y %T %z", localtime(&now));
	printf("\n%5s  %10s %10s %8s\n", "patch", "faults", "predicted", "KiB");
	for (i = 0; i < l->nr_changes; i++)
		write_patch(l, i, dir, date);
	if (rename(dir, output))
		fail("--output %s: %s; the patches are in %s", output, strerror(errno), dir);
}

/* Another object that must not part from this one; NULL if there is none */
static const struct object *companion_of(const struct layout *l, const struct object *o)
{
	size_t i;

	for (i = 0; i < l->nr_objects && i < CANDIDATES; i++)
		if (l->objects[i].with == o->with && &l->objects[i] != o)
			return &l->objects[i];
	return NULL;
}

/* Why an object stays where it is */
static void print_reason(const struct layout *l, const struct object *o)
{
	const u64 gain = l->left > o->alone ? l->left - o->alone : 0;
	const struct object *with = companion_of(l, o);

	if (*o->refused)
		printf("%s", o->refused);
	else if (gain >= l->least)
		printf("would save %llu, over --max-memory: it takes %llu KiB", gain,
		       o->memory / 1024);
	else if (with)
		printf("it stays with %s, and together they would save %llu", name_of(with), gain);
	else if (o->left < l->least)
		printf("%llu of them would be left", o->left);
	else if (10 * gain < 3 * o->left)
		printf("TRUE sharing: of its own faults it would save %llu", gain);
	else
		printf("would save %llu, expected %llu or more", gain, l->least);
	if (o->parts)
		printf("; not split, %s", o->parts);
	printf("\n");
}

static void print_left_alone(const struct layout *l)
{
	size_t i;

	printf("\nstay where they are:\n%-32s %8s  why\n", "object", "faults");
	for (i = 0; i < l->nr_objects && l->objects[i].faults >= l->least; i++) {
		const struct object *o = &l->objects[i];

		if (o->unit)
			continue;
		printf("%-32s %8llu  ", name_of(o), o->faults);
		print_reason(l, o);
	}
}

/* Where an object stands in the source.  NULL, or why it is not known, or cannot be changed. */
static const char *find_object(struct object *o)
{
	static const char *const known[] = { ".data", ".bss", ".data..percpu" };
	static char why[96];
	const char *section;
	size_t i;

	if (o->part) {
		o->where = o->part->where;
		o->part->next.file = source_name(o->part->next.file);
	} else if (!o->symbol->cache && !dwarf_definition(o->symbol, &o->where)) {
		return "no debugging information says where it is defined";
	}
	o->where.file = source_name(o->where.file);
	o->where.extern_file = source_name(o->where.extern_file);
	o->where.unit = source_name(o->where.unit);
	if (o->part)
		return o->part->refused;
	if (o->symbol->cache)
		return NULL;
	section = symbols_section(o->symbol);
	for (i = 0; i < ARRAY_SIZE(known) && (!section || strcmp(section, known[i])); i++)
		;
	snprintf(why, sizeof(why), "it is in the section %s", section ?: "of nothing");
	return i < ARRAY_SIZE(known) ? NULL : why;
}

/* Whether an object, or what it is a member of, is one of some names */
static bool is_left(const struct object *o, const char **left, size_t nr)
{
	const char *label = name_of(o);
	const char *whole = o->symbol->cache ?: o->symbol->name;
	size_t i;

	for (i = 0; i < nr; i++)
		if (!strcmp(left[i], label) || !strcmp(left[i], whole))
			return true;
	return false;
}

/* Each name has to be one of an object's, or it would be left for nothing. */
static void check_left(const struct layout *l, const char **left, size_t nr)
{
	size_t i, j;

	for (i = 0; i < nr; i++) {
		for (j = 0; j < l->nr_objects && !is_left(&l->objects[j], &left[i], 1); j++)
			;
		if (j == l->nr_objects)
			fail("--leave %s: no faults there: expected an object that has some",
			     left[i]);
	}
}

/* Whether the place of an object can be changed */
static void check_object(struct object *o, bool left)
{
	const char *why = left ? "--leave says so" : find_object(o);

	if (why)
		snprintf(o->refused, sizeof(o->refused), "%s", why);
	else
		place_object(o, ALONE, o->refused, sizeof(o->refused));
	o->fixed = *o->refused && !left;
	source_undo();
}

/* A folder that is not there, or has nothing in it */
static void check_output(const char *output)
{
	const struct dirent *d;
	DIR *dir = opendir(output);
	u32 n = 0;

	if (!dir && errno == ENOENT)
		return;
	if (!dir)
		fail("--output %s: %s", output, strerror(errno));
	while ((d = readdir(dir)))
		n++;
	closedir(dir);
	if (n > 2)
		fail("--output %s: expected an empty folder, or none", output);
}

/**
 * patch() - the command of that name
 * @argc:	its words, with its name
 * @argv:	they
 *
 * Return: the exit status.
 */
int patch(int argc, char **argv)
{
	static const struct option options[] = {
		{ "vmlinux", required_argument, NULL, 'v' },
		{ "memory", required_argument, NULL, 'M' },
		{ "module", required_argument, NULL, 'o' },
		{ "struct", required_argument, NULL, 'T' },
		{ "source", required_argument, NULL, 's' },
		{ "output", required_argument, NULL, 'O' },
		{ "max-memory", required_argument, NULL, 'm' },
		{ "window", required_argument, NULL, 'w' },
		{ "leave", required_argument, NULL, 'l' },
		{ }
	};
	const char *source = NULL, *output = NULL;
	static const char **inputs, **left;
	u64 max_memory = MAX_MEMORY, window = WINDOW;
	struct faults faults = { };
	struct guest guest = { };
	struct layout layout;
	size_t nr = 0, nr_left = 0, i;
	int o;

	inputs = xzalloc(argc * sizeof(*inputs));
	left = xzalloc(argc * sizeof(*left));
	/* getopt_long() reorders the words. */
	command = xzalloc((argc + 1) * sizeof(*command));
	memcpy(command, argv, argc * sizeof(*command));
	while ((o = next_option(argc, argv, options)) != -1) {
		if (o == 1)
			inputs[nr++] = optarg;
		guest_option(&guest, o);
		if (o == 's')
			source = optarg;
		if (o == 'O')
			output = optarg;
		if (o == 'm')
			max_memory = number_option("max-memory", optarg, 0, 1 << 30);
		if (o == 'w')
			window = number_option("window", optarg, 0, 1000000000);
		if (o == 'l')
			left[nr_left++] = optarg;
	}
	for (; optind < argc; optind++)
		inputs[nr++] = argv[optind];
	if (!guest.vmlinux || !source || !output)
		usage_error("no --%s: expected it", !guest.vmlinux ? "vmlinux" :
			    !source ? "source" : "output");
	if (!nr)
		usage_error("no FILE: expected a perf.data or a trace");
	git_config("user.name", name, sizeof(name));
	git_config("user.email", email, sizeof(email));
	check_output(output);
	source_open(source, guest.nr_modules);
	guest_read(&guest);
	if (!dwarf_known())
		fail("%s: no debugging information: expected a kernel with CONFIG_DEBUG_INFO",
		     guest.vmlinux);
	for (i = 0; i < nr; i++)
		input_read(&faults, inputs[i]);
	layout_read(&layout, &faults, window * 1000);
	check_left(&layout, left, nr_left);
	do {
		for (i = 0; i < layout.nr_objects && i < CANDIDATES; i++)
			check_object(&layout.objects[i],
				     is_left(&layout.objects[i], left, nr_left));
	} while (layout_join(&layout, &faults));
	layout_choose(&layout, max_memory * 1024);
	write_patches(&layout, output);
	print_left_alone(&layout);
	layout_free(&layout);
	source_close();
	guest_free(&guest);
	free(faults.fault);
	free(inputs);
	free(left);
	free(command);
	return 0;
}
