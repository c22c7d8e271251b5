// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the guest's memory outside the kernel's image was used for, as its module faultprof.ko says:
 * each CPU's own data by its variables, kernel stacks, slab objects by their cache, modules,
 * struct pages, processes' memory and files' pages, and the kind of what has no name.  Where
 * modules' sections are loaded to, /sys has said, with a line of grep's for each.  Most names are
 * made when an address is first asked for, and each object has one symbol, so that two are the same
 * if they are at the same place.
 *
 * The module may have been asked several times: the last copy that says what an address is used for
 * holds, but for what is free in it and was not in one before.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "faultprof.h"

#define MAGIC	"# faultprof memory 1"

/* What lies before that is no address of the kernel's: hashed, perhaps */
#define KERNEL_LEAST	0xffff800000000000ULL

/* In the order in which they are asked: a stack is of pages, too. */
enum kind { STACK, SLAB, MAPPED, VMEMMAP, BOOT, OWNED, SITE, PAGES, NR_KINDS };

/* What the module said at one time, and what was appended to that */
struct copy {
	struct table ranges[NR_KINDS];
	struct table allocated;		/* of each CPU's own memory, by the offset in it */
	struct table vmalloced;		/* by virtual address */
};

/* A slab; its objects lie one behind the other from @first on. */
struct slab {
	u32 first, stride;
	const char *cache;
};

/* Where the kernel's code asked for memory; one for each place */
struct site {
	char *file;
	int line;
	char function[64];
};

/* Pages of a process's memory or of a file, and where in that */
struct owned {
	const struct symbol *by;
	u64 offset;
};

/* A file; where it is mounted is known for those that a process has mapped. */
struct file {
	u32 major, minor;
	u64 inode;
	char *name;
	struct symbol symbol;
	struct file *next;
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

/* Symbols that were made, by a hash of their address and name */
#define MADE		65536

#define FILES		4096

struct made {
	struct symbol symbol;
	struct made *next;
};

static struct copy *copies, *newest;	/* the one that is read */
static size_t nr_copies;
static char boot_caller[64];		/* who has asked for what is reserved next */
static u64 cpu_base[MAX_CPUS];		/* plus one, so that 0 is none */
static struct made *made[MADE];
static struct slab *slabs;
static size_t nr_slabs;
static struct site *sites;
static size_t nr_sites;
static struct owned *owned;
static size_t nr_owned;
static struct file *files[FILES];	/* by a hash of their inode */
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
	table_add(&newest->ranges[kind],
		  &(struct symbol){ .start = start, .size = size, .name = name });
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
	table_add(&newest->ranges[SLAB], &s);
}

static void add_site(u64 start, u64 size, const char *function, const char *file, int line)
{
	struct symbol s = { .start = start, .size = size, .name = "site" };
	size_t i;

	for (i = 0; i < nr_sites; i++)
		if (sites[i].line == line && !strcmp(sites[i].file, file) &&
		    !strcmp(sites[i].function, function))
			break;
	if (i == nr_sites) {
		sites = xrealloc(sites, ++nr_sites * sizeof(*sites));
		sites[i] = (struct site){ .file = strdup(file), .line = line };
		snprintf(sites[i].function, sizeof(sites[i].function), "%s", function);
	}
	s.link = i;
	table_add(&newest->ranges[SITE], &s);
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
		table_add(&newest->ranges[MAPPED], &s);
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

	for (i = 0; i < newest->allocated.nr; i++)
		if (newest->allocated.symbol[i].start == start)
			return;
	snprintf(number, sizeof(number), "dynamic#%llx", start);
	if (!strcmp(name, "-"))
		s.name = number;
	table_add(&newest->allocated, &s);
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
			table_add(&newest->vmalloced, &s);
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

/* The symbol of an object, made if it is new; @start is a physical address, or 0. */
static const struct symbol *make(const struct symbol *like)
{
	u64 hash = like->start;
	const char *p;
	struct made **slot, *m;

	for (p = like->name; *p; p++)
		hash = (hash ^ (unsigned char)*p) * 0x100000001b3ULL;
	slot = &made[hash * 0x9e3779b97f4a7c15ULL >> 48];
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

/*
 * What the module has printed as one word, as it was, but for what is not to be printed; false if
 * it could not have printed it
 */
static bool unescape(char *word)
{
	char *to = word;
	u32 c;

	for (; *word; word++) {
		if (*word != '\\') {
			*to++ = *word;
			continue;
		}
		if (strspn(word + 1, "01234567") < 3)
			return false;
		c = (word[1] - '0') * 64 + (word[2] - '0') * 8 + (word[3] - '0');
		if (c > 255)
			return false;
		if (c < ' ' || c == 127) {
			memmove(to, word, 4);
			to += 4;
		} else {
			*to++ = c;
		}
		word += 3;
	}
	*to = 0;
	return true;
}

/* Whether pages can lie there, and be those of what has an offset */
static bool are_pages(u64 start, u64 size, u64 offset)
{
	return size && !((start | size | offset) % PAGE_SIZE) && start + size > start &&
	       offset + size > offset;
}

static void add_owned(u64 start, u64 size, u64 offset, const struct symbol *by)
{
	struct symbol s = { .start = start, .size = size, .name = by->name };

	/* Room for a power of two */
	if (!(nr_owned & (nr_owned - 1)))
		owned = xrealloc(owned, (2 * nr_owned + 1) * sizeof(*owned));
	owned[nr_owned] = (struct owned){ by, offset };
	s.link = nr_owned++;
	table_add(&newest->ranges[OWNED], &s);
}

/* The symbol of a part of a process's memory; NULL if there is no such part */
static const struct symbol *area_of(const char *comm, int pid, const char *part)
{
	const char *of = strchr(part, ':');
	const struct symbol *s;
	char *name;

	if (!strcmp(part, "heap") || !strcmp(part, "stack")) {
		if (asprintf(&name, "%s/%d %s", comm, pid, part) < 0)
			fail("no memory for a name");
	} else if (!strncmp(part, "anonymous:", 10) && of[1] &&
		   !of[1 + strspn(of + 1, "0123456789abcdef")]) {
		if (asprintf(&name, "%s/%d anonymous %s", comm, pid, of + 1) < 0)
			fail("no memory for a name");
	} else if (!strncmp(part, "copy:", 5) && of[1]) {
		if (asprintf(&name, "%s/%d copy of %s", comm, pid, of + 1) < 0)
			fail("no memory for a name");
	} else {
		return NULL;
	}
	s = make(&(struct symbol){ .size = UINT64_MAX, .name = name, .is_paged = true });
	free(name);
	return s;
}

/* The symbol of a file; of its names one from the root is best, and then the last. */
static const struct symbol *file_of(u32 major, u32 minor, u64 inode, const char *name)
{
	struct file **slot = &files[inode % FILES], *f;

	for (f = *slot; f; f = f->next)
		if (f->inode == inode && f->major == major && f->minor == minor)
			break;
	if (!f) {
		f = xzalloc(sizeof(*f));
		*f = (struct file){ major, minor, inode, strdup(name), { }, *slot };
		f->symbol = (struct symbol){ .size = UINT64_MAX, .name = "", .is_paged = true };
		*slot = f;
	} else if (*name == '/' || *f->name != '/') {
		free(f->name);
		f->name = strdup(name);
	}
	return &f->symbol;
}

/* One line of what is a process's or a file's.  False if it is none of those that are known. */
static bool add_owned_line(const char *line)
{
	unsigned long long start, size, offset, inode;
	char *name = NULL, *part = NULL;
	const struct symbol *s = NULL;
	u32 major, minor;
	int pid, end = 0;

	if (sscanf(line, "user %llx %llx %llx %d %ms %ms%n", &start, &size, &offset, &pid, &name,
		   &part, &end) == 6) {
		if (!line[end] && pid > 0 && unescape(name) && unescape(part))
			s = area_of(name, pid, part);
	} else if (sscanf(line, "file %llx %llx %llx %u:%u %llu %ms%n", &start, &size, &offset,
			  &major, &minor, &inode, &part, &end) == 7) {
		if (!line[end] && unescape(part))
			s = file_of(major, minor, inode, part);
	}
	free(name);
	free(part);
	if (!s || !are_pages(start, size, offset))
		return false;
	add_owned(start, size, offset, s);
	return true;
}

/* One line.  False if it is none of those that are known. */
static bool add_line(const char *line)
{
	unsigned long long start, size, of;
	u32 first, stride, object;
	char text[64], name[96], file[256];
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
	if (sscanf(line, "site %llx %llx %63s %255[^: ]:%d%n", &start, &size, text, file, &n,
		   &end) == 5 && !line[end] && size && start + size > start && n > 0) {
		add_site(start, size, text, file, n);
		return true;
	}
	return add_owned_line(line) || add_module_line(line) || add_allocation(line);
}

static void add_copy(void)
{
	copies = xrealloc(copies, (nr_copies + 1) * sizeof(*copies));
	newest = &copies[nr_copies++];
	memset(newest, 0, sizeof(*newest));
	*boot_caller = 0;
}

/*
 * Pages that several lines have, as several processes may, are those of the line that begins first:
 * what table_find() looks at must not overlap.
 */
static void part_owned(struct table *t)
{
	u64 end = 0, cut;
	size_t i, n = 0;

	for (i = 0; i < t->nr; i++) {
		struct symbol *s = &t->symbol[i];

		cut = end > s->start ? end - s->start : 0;
		if (cut >= s->size) {
			free((char *)s->name);
			continue;
		}
		s->start += cut;
		s->size -= cut;
		owned[s->link].offset += cut;
		end = s->start + s->size;
		t->symbol[n++] = *s;
	}
	t->nr = n;
}

/* Files have their names when all of them are known. */
static void name_files(void)
{
	struct file *f;
	size_t i, len;
	char *name;
	int n;

	for (i = 0; i < FILES; i++) {
		for (f = files[i]; f; f = f->next) {
			len = strlen(f->name);
			/* "TYPE:-" has no name in its file system, "-" too long a one. */
			if (f->name[len - 1] == '-' && (len == 1 || f->name[len - 2] == ':'))
				n = asprintf(&name, "page cache of %.*sinode %llu of %u:%u",
					     (int)len - 1, f->name, f->inode, f->major, f->minor);
			else
				n = asprintf(&name, "page cache of %s", f->name);
			if (n < 0)
				fail("no memory for a name");
			f->symbol.name = name;
		}
	}
}

/**
 * memory_read() - read what /sys/kernel/debug/faultprof/memory said
 * @path:	copies of it, and of /sys/module's sections, as grep -H has them
 */
void memory_read(const char *path)
{
	FILE *f = fopen(path, "re");
	unsigned long long nr = 0;
	size_t room = 0, i;
	char *line = NULL;
	ssize_t len;
	int kind;

	if (!f)
		fail("%s: %s", path, strerror(errno));
	while ((len = getline(&line, &room, f)) > 0) {
		const bool whole = line[len - 1] == '\n' && strlen(line) == (size_t)len;

		line[strcspn(line, "\n")] = 0;
		if (!strcmp(line, MAGIC))
			add_copy();
		if (!nr++ && !newest)
			fail("%s: \"%.40s\": expected a copy of faultprof/memory", path, line);
		if (!whole || (*line != '#' && !add_line(line)))
			fail("%s:%llu: \"%.60s\": expected a whole line of faultprof/memory", path,
			     nr, line);
	}
	if (!nr)
		fail("%s: empty: expected a copy of faultprof/memory", path);
	free(line);
	fclose(f);
	name_files();
	for (i = 0; i < nr_copies; i++) {
		for (kind = 0; kind < NR_KINDS; kind++)
			table_sort(&copies[i].ranges[kind], 0);
		part_owned(&copies[i].ranges[OWNED]);
		table_sort(&copies[i].allocated, 0);
		table_sort(&copies[i].vmalloced, 0);
	}
}

/* A variable that each CPU has for itself, or what was allocated for each */
static const struct symbol *find_percpu(const struct copy *c, u64 gpa)
{
	struct symbol own;
	char name[256];
	int cpu;

	for (cpu = 0; cpu < MAX_CPUS; cpu++) {
		const struct symbol *s;

		if (!cpu_base[cpu] || gpa < cpu_base[cpu] - 1)
			continue;
		s = symbols_find_percpu(gpa - (cpu_base[cpu] - 1)) ?:
		    table_find(&c->allocated, gpa - (cpu_base[cpu] - 1));
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

/* A symbol with who asked for what begins there, if that is known */
static const struct symbol *make_of(const struct copy *c, struct symbol *s)
{
	const struct symbol *asked = table_find(&c->ranges[SITE], s->start);
	const struct site *site;
	char name[192];

	if (!asked || asked->start != s->start)
		return make(s);
	site = &sites[asked->link];
	snprintf(name, sizeof(name), "%s of %s", s->name, site->function);
	s->name = name;
	s->file = site->file;
	s->line = site->line;
	return make(s);
}

/* The object of a slab: by its cache and its number in the slab */
static const struct symbol *find_object(const struct copy *c, const struct symbol *range, u64 gpa)
{
	const struct slab *slab = &slabs[range->link];
	const u64 nr = (gpa - range->start - slab->first) / slab->stride;
	char name[96];

	if (gpa - range->start < slab->first)
		return NO_SYMBOL;
	snprintf(name, sizeof(name), "%s#%llu", slab->cache, nr);
	return make_of(c, &(struct symbol){
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
static bool still_reserved(const struct copy *c, u64 gpa)
{
	const struct symbol *r = table_find(&c->ranges[PAGES], gpa);

	return !r || !strcmp(r->name, "reserved");
}

static bool is_free(const struct symbol *s)
{
	return s->is_kind && !strcmp(s->name, "(free)");
}

/* What lies there by one copy */
static const struct symbol *find_in(const struct copy *c, u64 gpa, u64 *offset)
{
	const struct symbol *s = find_percpu(c, gpa);
	const struct symbol *r;
	enum kind kind;
	u64 at;

	for (kind = 0; !s && kind < NR_KINDS; kind++) {
		r = table_find(&c->ranges[kind], gpa);
		if (!r)
			continue;
		if (kind == SLAB)
			s = find_object(c, r, gpa);
		if (kind == MAPPED) {
			/* Its symbol is at the address that it was loaded to. */
			at = r->link + (gpa - r->start);
			s = symbols_find(at) ?: table_find(&c->vmalloced, at);
			if (s) {
				*offset = at - s->start;
				return s;
			}
		}
		if (kind == OWNED) {
			*offset = owned[r->link].offset + (gpa - r->start);
			return owned[r->link].by;
		}
		if (kind == BOOT && still_reserved(c, gpa))
			s = make(r);
		if (kind == SITE) {
			struct symbol pages = { .start = r->start, .size = r->size,
						.name = "pages" };

			s = make_of(c, &pages);
		}
		if (!s && kind != SLAB && kind != BOOT)
			s = find_page(r, gpa, kind == PAGES || kind == MAPPED);
	}
	*offset = s ? gpa - s->start : 0;
	return s;
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
	const struct symbol *s, *unused = NO_SYMBOL;
	size_t i;

	for (i = nr_copies; i; i--) {
		s = find_in(&copies[i - 1], gpa, offset);
		if (s && !is_free(s))
			return s;
		unused = unused ?: s;
	}
	*offset = unused ? gpa - unused->start : 0;
	return unused;
}

/**
 * memory_find_reused() - what has come to where the kernel's image was, and is no longer
 * @gpa:	guest-physical address in the image
 * @by_process:	it was not the kernel's code that accessed it, so that it was something else
 * @offset:	set to the offset in it
 *
 * Return: as memory_find(); NO_SYMBOL if it is of the image, or may have been.
 */
const struct symbol *memory_find_reused(u64 gpa, bool by_process, u64 *offset)
{
	const struct symbol *s;

	if (!newest || still_reserved(newest, gpa))
		return NO_SYMBOL;
	s = memory_find(gpa, offset);
	return s && is_free(s) && !by_process ? NO_SYMBOL : s;
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
	const struct table *t;
	const struct symbol *s;
	u64 nr = 0;
	size_t i;

	if (!newest)
		return 0;
	t = &newest->ranges[SLAB];
	s = t->symbol;
	for (i = 0; i < t->nr; i++)
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
	struct file *f;
	size_t i;
	int kind;

	for (i = 0; i < nr_copies; i++) {
		for (kind = 0; kind < NR_KINDS; kind++)
			table_free(&copies[i].ranges[kind]);
		table_free(&copies[i].allocated);
		table_free(&copies[i].vmalloced);
	}
	free(copies);
	for (i = 0; i < MADE; i++) {
		while ((m = made[i])) {
			made[i] = m->next;
			free((char *)m->symbol.name);
			free(m);
		}
	}
	for (i = 0; i < FILES; i++) {
		while ((f = files[i])) {
			files[i] = f->next;
			free((char *)f->symbol.name);
			free(f->name);
			free(f);
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
	for (i = 0; i < nr_sites; i++)
		free(sites[i].file);
	free(sites);
	free(slabs);
	free(owned);
}
