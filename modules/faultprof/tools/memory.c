// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the guest's memory outside the kernel's image was used for, as its module faultprof.ko says:
 * each CPU's own data by its variables, kernel stacks, slab objects by their cache, modules,
 * struct pages, and the kind of what has no name.  Where modules' sections are loaded to, /sys has
 * said, with a line of grep's for each.  The names are made when an address is first asked for, and
 * each object has one symbol, so that two are the same if they are at the same place.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "faultprof.h"

#define MAGIC	"# faultprof memory 1"

/* What lies before that is no address of the kernel's: hashed, perhaps */
#define KERNEL_LEAST	0xffff800000000000ULL

/* In the order in which they are asked: a stack is of pages, too. */
enum kind { STACK, SLAB, MAPPED, VMEMMAP, BOOT, PAGES, NR_KINDS };

/* A slab; its objects lie one behind the other from @first on. */
struct slab {
	u32 first, stride;
	const char *cache;
};

/* A section of a module, and where the guest has it */
struct section {
	char *module, *name;
	u64 address;
};

/* What the objects of a slab cache are of; one for each cache, and what --struct says */
struct cache {
	char *name;
	const char *type;
};

/* Symbols that were made, by a hash of their address */
#define MADE		65536

struct made {
	struct symbol symbol;
	struct made *next;
};

static struct table ranges[NR_KINDS];
static struct table allocated;		/* of each CPU's own memory, by the offset in it */
static struct table vmalloced;		/* by virtual address */
static char boot_caller[64];		/* who has asked for what is reserved next */
static u64 cpu_base[MAX_CPUS];		/* plus one, so that 0 is none */
static struct made *made[MADE];
static struct slab *slabs;
static size_t nr_slabs;
static struct section *sections;
static size_t nr_sections;
static struct cache *caches;
static size_t nr_caches;

/* Caches whose name is not that of the structure */
static const char *const cache_types[][2] = {
	{ "cred_jar", "cred" }, { "files_cache", "files_struct" }, { "filp", "file" },
	{ "fs_cache", "fs_struct" }, { "inode_cache", "inode" },
	{ "kernfs_node_cache", "kernfs_node" }, { "mnt_cache", "mount" },
	{ "proc_inode_cache", "proc_inode" }, { "radix_tree_node", "xa_node" },
	{ "shmem_inode_cache", "shmem_inode_info" }, { "sighand_cache", "sighand_struct" },
	{ "signal_cache", "signal_struct" }, { "sock_inode_cache", "socket_alloc" },
};

static void add(enum kind kind, u64 start, u64 size, const char *name)
{
	table_add(&ranges[kind], &(struct symbol){ .start = start, .size = size, .name = name });
}

/* The cache of a name, made if it is new */
static struct cache *cache_of(const char *name)
{
	struct cache *c;
	size_t i;

	for (i = 0; i < nr_caches; i++)
		if (!strcmp(caches[i].name, name))
			return &caches[i];
	caches = xrealloc(caches, (nr_caches + 1) * sizeof(*caches));
	c = &caches[nr_caches++];
	*c = (struct cache){ .name = strdup(name) };
	c->type = c->name;
	for (i = 0; i < ARRAY_SIZE(cache_types); i++)
		if (!strcmp(cache_types[i][0], name))
			c->type = cache_types[i][1];
	return c;
}

static void add_slab(u64 start, u64 size, const struct slab *slab)
{
	struct symbol s = { .start = start, .size = size, .name = slab->cache };

	/* Room for a power of two */
	if (!(nr_slabs & (nr_slabs - 1)))
		slabs = xrealloc(slabs, (2 * nr_slabs + 1) * sizeof(*slabs));
	slabs[nr_slabs] = *slab;
	s.link = nr_slabs++;
	table_add(&ranges[SLAB], &s);
}

static void add_section(const char *module, const char *name, u64 address)
{
	sections = xrealloc(sections, (nr_sections + 1) * sizeof(*sections));
	sections[nr_sections++] = (struct section){ strdup(module), strdup(name), address };
}

/* One line of what modules have.  False if it is none of those that are known. */
static bool add_module_line(const char *line)
{
	unsigned long long start, size, at;
	char module[64], name[128];
	struct symbol s;
	int end = 0;

	if (sscanf(line, "mapped %llx %llx %llx%n", &start, &size, &at, &end) == 3 &&
	    !line[end] && size) {
		s = (struct symbol){ .start = start, .size = size, .link = at,
				     .name = at >= KERNEL_MAP ? "module" : "vmalloc" };
		table_add(&ranges[MAPPED], &s);
		return true;
	}
	if (sscanf(line, "module-percpu %llx %llx %63s%n", &start, &size, module, &end) == 3 &&
	    !line[end] && size) {
		add_section(module, ".data..percpu", start);
		return true;
	}
	if (sscanf(line, "/sys/module/%63[^/]/sections/%127[^/:]:0x%llx%n", module, name, &start,
		   &end) == 3 && !line[end]) {
		add_section(module, name, start);
		return true;
	}
	return false;
}

/* What most of it is for, nobody knows but who asked for it; who has been named has its name. */
static void add_allocated(u64 start, u64 size, const char *name)
{
	struct symbol s = { .start = start, .size = size, .name = name };
	char number[32];
	size_t i;

	for (i = 0; i < allocated.nr; i++)
		if (allocated.symbol[i].start == start)
			return;
	snprintf(number, sizeof(number), "dynamic#%llx", start);
	if (!strcmp(name, "-"))
		s.name = number;
	table_add(&allocated, &s);
}

/*
 * One line of the kernel's log of a boot with memblock=debug, or of /proc/vmallocinfo of one with
 * no_hash_pointers.  False if it is neither.
 */
static bool add_allocation(const char *line)
{
	unsigned long long start, last, size;
	const char *p = line, *word;
	char by[64], name[80];
	struct symbol s;
	int end = 0;

	if (sscanf(line, "0x%llx-0x%llx %llu %63[^+ ]%n", &start, &last, &size, by, &end) == 4) {
		if (last <= start || start < KERNEL_LEAST)
			return false;
		snprintf(name, sizeof(name), "vmalloc of %s", by);
		s = (struct symbol){ .start = start, .size = last - start, .name = name };
		if (strcmp(by, "unpurged"))
			table_add(&vmalloced, &s);
		return true;
	}
	if (*p == '[' && strstr(p, "] "))
		p = strstr(p, "] ") + 2;
	if (strncmp(p, "memblock_", 9))
		return false;
	word = strrchr(p, ' ');
	if (sscanf(p, "memblock_%*[a-z_]: %llu bytes %n", &size, &end) == 1 && end && word) {
		snprintf(boot_caller, sizeof(boot_caller), "%.*s", (int)strcspn(word + 1, "+"),
			 word + 1);
		return true;
	}
	if (sscanf(p, "memblock_%63[a-z_]: [0x%llx-0x%llx] %n", by, &start, &last, &end) != 3 ||
	    !end || last < start)
		return false;
	if (!strcmp(by, "reserve")) {
		p += end;
		snprintf(by, sizeof(by), "%.*s", (int)strcspn(p, "+"), p);
		snprintf(name, sizeof(name), "boot memory of %s",
			 strncmp(by, "memblock_", 9) ? by : boot_caller);
		add(BOOT, start, last + 1 - start, name);
	}
	return true;
}

/* One line.  False if it is none of those that are known. */
static bool add_line(const char *line)
{
	unsigned long long start, size, of;
	u32 first, stride, object;
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
	if (sscanf(line, "percpu-object %llx %llx %63[^\n]%n", &start, &size, text, &end) == 3 &&
	    !line[end] && size) {
		add_allocated(start, size, text);
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
	if (sscanf(line, "slab %llx %llx %x %x %x %63[^\n]%n", &start, &size, &first, &stride,
		   &object, text, &end) == 6 && !line[end] && size && stride) {
		add_slab(start, size, &(struct slab){ first, stride, cache_of(text)->name });
		return true;
	}
	return add_module_line(line) || add_allocation(line);
}

/**
 * memory_read() - read what /sys/kernel/debug/faultprof/memory said
 * @path:	a copy of it, and of /sys/module's sections, as grep -H has them
 */
void memory_read(const char *path)
{
	FILE *f = fopen(path, "re");
	unsigned long long nr = 0;
	char line[512];
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
	table_sort(&allocated, 0);
	table_sort(&vmalloced, 0);
}

/* The symbol of an object, made if it is new; @start is a physical address. */
static const struct symbol *make(const struct symbol *like)
{
	struct made **slot = &made[like->start * 0x9e3779b97f4a7c15ULL >> 48], *m;

	for (m = *slot; m; m = m->next)
		if (m->symbol.start == like->start && m->symbol.size == like->size &&
		    !strcmp(m->symbol.name, like->name))
			return &m->symbol;
	m = xzalloc(sizeof(*m));
	m->symbol = *like;
	m->symbol.name = strdup(like->name);
	m->next = *slot;
	*slot = m;
	return &m->symbol;
}

/* A variable that each CPU has for itself, or what was allocated for each */
static const struct symbol *find_percpu(u64 gpa)
{
	struct symbol own;
	char name[256];
	int cpu;

	for (cpu = 0; cpu < MAX_CPUS; cpu++) {
		const struct symbol *s;

		if (!cpu_base[cpu] || gpa < cpu_base[cpu] - 1)
			continue;
		s = symbols_find_percpu(gpa - (cpu_base[cpu] - 1)) ?:
		    table_find(&allocated, gpa - (cpu_base[cpu] - 1));
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

/* The object of a slab: by its cache and its number in the slab */
static const struct symbol *find_object(const struct symbol *range, u64 gpa)
{
	const struct slab *slab = &slabs[range->link];
	const u64 nr = (gpa - range->start - slab->first) / slab->stride;
	char name[96];

	if (gpa - range->start < slab->first)
		return NO_SYMBOL;
	snprintf(name, sizeof(name), "%s#%llu", slab->cache, nr);
	return make(&(struct symbol){
		.start = range->start + slab->first + nr * slab->stride, .size = slab->stride,
		.name = name, .cache = slab->cache });
}

/* A page: what lies on it cannot be told apart. */
static const struct symbol *find_page(const struct symbol *range, u64 gpa, bool is_kind)
{
	char name[128];

	snprintf(name, sizeof(name), is_kind ? "(%s)" : "%s", range->name);
	return make(&(struct symbol){ .start = gpa - gpa % PAGE_SIZE, .size = PAGE_SIZE,
				      .name = name, .is_kind = is_kind });
}

/* Whether memory that was allocated at boot still is; nobody says so of what is not there. */
static bool still_reserved(u64 gpa)
{
	const struct symbol *r = table_find(&ranges[PAGES], gpa);

	return !r || !strcmp(r->name, "reserved");
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
	u64 at;

	for (kind = 0; !s && kind < NR_KINDS; kind++) {
		r = table_find(&ranges[kind], gpa);
		if (!r)
			continue;
		if (kind == SLAB)
			s = find_object(r, gpa);
		if (kind == MAPPED) {
			/* Its symbol is at the address that it was loaded to. */
			at = r->link + (gpa - r->start);
			s = symbols_find(at) ?: table_find(&vmalloced, at);
			if (s) {
				*offset = at - s->start;
				return s;
			}
		}
		if (kind == BOOT && still_reserved(gpa))
			s = make(r);
		if (!s && kind != SLAB && kind != BOOT)
			s = find_page(r, gpa, kind == PAGES || kind == MAPPED);
	}
	*offset = s ? gpa - s->start : 0;
	return s;
}

/**
 * memory_section() - where the guest has a section of a module
 * @module:	its name
 * @section:	the section's; of that of per-CPU variables it is the offset in a CPU's own data
 *
 * Return: the address, or 0.
 */
u64 memory_section(const char *module, const char *section)
{
	size_t i;

	for (i = 0; i < nr_sections; i++)
		if (!strcmp(sections[i].module, module) && !strcmp(sections[i].name, section))
			return sections[i].address;
	return 0;
}

/**
 * memory_set_type() - what the objects of a slab cache are of
 * @option:	--struct's CACHE=TYPE
 */
void memory_set_type(const char *option)
{
	const char *type = strchr(option, '=');
	char name[64];

	if (!type || type == option || !type[1] || type - option >= (int)sizeof(name))
		usage_error("--struct \"%s\": expected CACHE=TYPE", option);
	snprintf(name, sizeof(name), "%.*s", (int)(type - option), option);
	cache_of(name)->type = type + 1;
}

/**
 * memory_type() - what the objects of a slab cache are of
 * @cache:	its name
 *
 * Return: the name of a structure, which need not be there.
 */
const char *memory_type(const char *cache)
{
	return cache_of(cache)->type;
}

/**
 * memory_has_type() - whether the objects of any slab cache are of a structure
 * @type:	the structure's name
 *
 * Return: whether any is.
 */
bool memory_has_type(const char *type)
{
	size_t i;

	for (i = 0; i < nr_caches && strcmp(caches[i].type, type); i++)
		;
	return i < nr_caches;
}

/**
 * memory_objects() - how many objects a slab cache has room for
 * @cache:	its name
 *
 * Return: the number.
 */
u64 memory_objects(const char *cache)
{
	const struct symbol *s = ranges[SLAB].symbol;
	u64 nr = 0;
	size_t i;

	for (i = 0; i < ranges[SLAB].nr; i++)
		if (!strcmp(s[i].name, cache))
			nr += s[i].size / slabs[s[i].link].stride;
	return nr;
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
	struct made *m;
	size_t i;

	for (i = 0; i < NR_KINDS; i++)
		table_free(&ranges[i]);
	table_free(&allocated);
	table_free(&vmalloced);
	for (i = 0; i < MADE; i++) {
		while ((m = made[i])) {
			made[i] = m->next;
			free((char *)m->symbol.name);
			free(m);
		}
	}
	for (i = 0; i < nr_sections; i++) {
		free(sections[i].module);
		free(sections[i].name);
	}
	free(sections);
	for (i = 0; i < nr_caches; i++)
		free(caches[i].name);
	free(caches);
	free(slabs);
}
