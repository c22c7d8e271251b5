/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the parts of faultprof share.  Data flows one way: input.c reads faults, samples.c makes
 * them of what others have recorded; symbols.c knows the guest's kernel, module.c its modules,
 * dwarf.c the types of both, memory.c where modules were loaded to and what is allocated; profile.c
 * gathers the faults by page and object and judges each page; report.c says it.  Whatever is wrong
 * with an input ends the program with one line and status 1 before anything is written; a wrong
 * option with status 2.
 */
#ifndef FAULTPROF_H
#define FAULTPROF_H

#include <getopt.h>
#include <libelf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s32 s32;
typedef __s64 s64;

#define __printf(f, a)	__attribute((format(printf, f, a)))
#define __noreturn	__attribute((noreturn))

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof(*(a)))

#define PAGE_SIZE	4096
/* Where x86-64 has the image, and the physical address 0 in it; modules lie behind */
#define KERNEL_MAP	0xffffffff80000000ULL
#define MAX_NODES	64
#define MAX_CPUS	4096
#define MAX_VCPU	65535	/* by APIC id */

/**
 * struct fault - an access of a node that another node had to be asked for
 * @time_ns:	when it was over, by the clock of the trace
 * @ns:		how long it took, in what its origin says
 * @page:	number of the page in the span
 * @gpa:	guest-physical address, with its offset in the page; 0: not by the guest
 * @ip:		the guest's instruction pointer
 * @vcpu:	the guest's CPU by APIC id, or -1
 * @node:	whose access
 * @home:	the page's home
 * @write:	to write
 * @walk:	by the hardware's walk of the guest's page tables
 */
struct fault {
	u64 time_ns;
	u64 ns;
	u64 page;
	u64 gpa;
	u64 ip;
	int vcpu;
	u8 node;
	u8 home;
	bool write;
	bool walk;
};

/* Where faults come from, and so, what each says that it took */
enum origin {
	SPAN,			/* a span's: ns */
	NUMA,			/* samples of perf mem: cycles */
	KVM,			/* page faults of KVM on hosts: nothing, so that each counts 1 */
};

/**
 * struct faults - those of all inputs
 * @fault:	they
 * @nr:		how many
 * @room:	for how many
 * @origin:	of all of them
 * @hosts:	how many have said theirs, if it is KVM
 * @own:	those of the profiler itself, which are left out
 * @lost:	those that a guest's recordings lack
 * @local:	samples that are no faults, as the node had what it accessed
 */
struct faults {
	struct fault *fault;
	size_t nr, room;
	enum origin origin;
	u32 hosts;
	u64 own, lost, local;
};

/**
 * struct symbol - a function or variable of the guest's kernel, or other memory
 * @start:	its first address
 * @size:	bytes; that of one without a size ends where the next begins
 * @link:	the address that debugging information has for it
 * @name:	its name
 * @cache:	the name of the slab cache that it is an object of, one for all of its; or NULL
 * @file:	the source that asked for its memory, or NULL: that is not known
 * @line:	there
 * @is_kind:	the name is not of one object but of a kind
 * @is_paged:	its pages lie anywhere: an offset in it says which one is meant
 */
struct symbol {
	u64 start;
	u64 size;
	u64 link;
	const char *name;
	const char *cache;
	const char *file;
	int line;
	bool is_kind;
	bool is_paged;
};

/* Memory that nothing is known of */
#define NO_SYMBOL	NULL

enum verdict { V_UNKNOWN, V_FALSE, V_TRUE, V_MIXED, V_WALK, NR_VERDICTS };

struct count {
	u64 reads, writes, walks, ns;
};

/**
 * struct spot - the accesses of one page to one object, at one offset, from one place in the code
 * @object:	what lies there, or NO_SYMBOL
 * @inner:	offset in it
 * @part:	offset at which the part of the object begins that could be laid apart
 * @function:	what the instruction belongs to, or NO_SYMBOL
 * @file:	its source; NULL if not known
 * @line:	there
 * @offset:	in the page
 * @by:		by node, as many as struct profile has
 * @all:	of all nodes
 */
struct spot {
	const struct symbol *object, *function;
	u64 inner, part;
	const char *file;
	int line;
	u32 offset;
	struct count *by;
	struct count all;
};

/**
 * struct page - all that is known of a page
 * @nr:		its number in the span
 * @gpa:	guest-physical address of its first byte; 0 if no fault says it
 * @home:	its home
 * @by:		by node
 * @all:	of all nodes
 * @spots:	dearest first
 * @verdict:	why it moves
 * @confidence:	0 to 1
 * @gain:	share of its faults that would be gone if its objects lay on pages of their own
 * @inner_gain:	the same, if the parts of each object did, too
 */
struct page {
	u64 nr;
	u64 gpa;
	u8 home;
	struct count *by;
	struct count all;
	struct spot *spots;
	size_t nr_spots;
	enum verdict verdict;
	double confidence, gain, inner_gain;
	size_t first, end;	/* its faults */
};

/**
 * struct profile - the faults by page
 * @pages:	dearest first
 * @all:	of all pages
 * @by:		by node
 * @named:	faults at objects that have a name
 * @kernel:	faults of the kernel's code, or of who knows what
 * @kernel_named: of these those at objects that have a name
 * @nr_nodes:	the highest node that is named, plus one
 * @span_ns:	from the first fault to the last
 * @own:	of the profiler itself, left out of all these
 * @lost:	that the recordings lack
 * @local:	samples that are no faults
 * @origin:	of all
 */
struct profile {
	struct page *pages;
	size_t nr_pages;
	struct count all;
	struct count *by;
	u64 named;
	u64 kernel, kernel_named;
	u32 nr_nodes;
	u64 span_ns, own, lost, local;
	enum origin origin;
};

/**
 * struct msi - the state of a page at its nodes, in a replay
 * @readers:	nodes that have it
 * @writer:	the only one, which may write; else -1
 */
struct msi {
	u64 readers;
	int writer;
};

/**
 * msi_access() - an access to a page
 * @m:		its state, which becomes that behind the access
 * @node:	who accesses it
 * @write:	and how
 *
 * Return: whether it is a fault.
 */
static inline bool msi_access(struct msi *m, u32 node, bool write)
{
	const bool miss = write ? m->writer != (int)node : !(m->readers & 1ULL << node);

	if (miss) {
		m->readers = (write ? 0 : m->readers) | 1ULL << node;
		m->writer = write ? (int)node : -1;
	}
	return miss;
}

/**
 * struct definition - where a variable stands in the source; names from the top of its tree
 * @name:		as it is there
 * @file:		that defines it
 * @line:		there
 * @extern_file:	that declares it before, or NULL
 * @extern_line:	there
 * @unit:		the file that was compiled, which may include @file; or NULL
 */
struct definition {
	const char *name, *file, *extern_file, *unit;
	int line, extern_line;
};

/**
 * struct part - what of an object can be laid apart by its type
 * @start:	offset of it in the object
 * @end:	where the part behind it begins, or the object ends
 * @nr:		how many parts alike the object has
 * @name:	".member"; "[]" for the elements of an array, which are one part each
 * @element:	it is an element of an array
 * @where:	the member in the source; of an element, its first
 * @next:	the member behind it; its name is NULL if there is none, and for an element
 * @refused:	why it cannot be laid apart, or NULL
 */
struct part {
	u64 start, end, nr;
	char name[64];
	bool element;
	struct definition where, next;
	const char *refused;
};

/**
 * struct object - what may get another place
 *
 * That is a variable, which may be per CPU; a member of a structure, of which there may be several,
 * or the elements of an array; or the objects of a slab cache.
 *
 * @symbol:	it, or the first instance that was seen of it, or of what it is a member of
 * @part:	what of @symbol it is, or NULL for all of that
 * @label:	its name, if it is not a variable
 * @where:	in the source
 * @refused:	why its place cannot be changed; empty if it can
 * @faults:	at it
 * @remote:	of these, those of nodes that are not its home
 * @left:	of these, predicted
 * @alone:	all faults, predicted with all changes and it on pages of its own
 * @memory:	bytes that pages of its own take
 * @parts:	why it is not split; NULL if that was not to be, or it was
 * @percpu:	each CPU has one
 * @fixed:	the source does not let it move
 * @with:	the first object that has to move if it does
 * @unit:	the change that it is part of, plus one; 0: none
 */
struct object {
	const struct symbol *symbol;
	struct part *part;
	char label[128];
	struct definition where;
	char refused[160];
	u64 faults, remote, left, alone, memory;
	const char *parts;
	bool percpu, fixed;
	size_t with, unit;
};

/**
 * struct change - objects that get pages of their own, all on one if there are more than one
 * @objects:	indices of its objects
 * @nr:		how many
 * @memory:	bytes
 * @left:	all faults, predicted with this change and those before it
 * @own_faults:	those at its objects
 * @own_left:	of these, predicted
 */
struct change {
	size_t *objects, nr;
	u64 memory, left, own_faults, own_left;
};

/**
 * struct whole - what is not split, as its parts cannot move
 * @of:		the cache, or the link of the variable
 * @why:	which of them cannot, and why
 */
struct whole {
	u64 of;
	char why[256];
};

/**
 * struct layout - what should lie elsewhere
 * @objects:	all that were seen, by faults
 * @changes:	in the order in which they were chosen
 * @faults:	all
 * @replayed:	of these, by replay as things are
 * @left:	predicted with all changes
 * @memory:	bytes for all of them
 * @least:	faults that a change has to save
 * @window_ns:	what a CPU accesses within that, its waiting not counted, it accesses together
 * @whole:	what is not split
 * @nr_whole:	how many
 */
struct layout {
	struct object *objects;
	size_t nr_objects;
	struct change *changes;
	size_t nr_changes;
	struct whole *whole;
	size_t nr_whole;
	u64 window_ns;
	u64 faults, replayed, left, memory, least;
};

/* main.c */
void __noreturn __printf(1, 2) fail(const char *fmt, ...);
void __noreturn __printf(1, 2) usage_error(const char *fmt, ...);
FILE *file_begin(const char *option, const char *path);
void file_end(FILE *f, const char *option, const char *path);
int next_option(int argc, char **argv, const struct option *options);
u64 number_option(const char *name, const char *text, u64 least, u64 most);
void *xrealloc(void *p, size_t n);
void *xzalloc(size_t n);

static inline u64 count_faults(const struct count *c)
{
	return c->reads + c->writes;
}

/**
 * struct guest - the files that say what a guest was
 * @vmlinux:	its kernel, or NULL
 * @map:	its System.map, or NULL
 * @memory:	what faultprof.ko said in it, or NULL
 * @modules:	those of modules
 * @nr_modules:	how many
 */
struct guest {
	const char *vmlinux, *map, *memory, **modules;
	size_t nr_modules;
};

void guest_option(struct guest *g, int o);
void guest_read(const struct guest *g);
void guest_free(struct guest *g);

/* input.c */
void input_read(struct faults *f, const char *path);

/* samples.c */
void samples_begin(void);
bool samples_header(const char *line);
const char *samples_event(const char *line);
const char *samples_memory(const char *line, const char *event, struct fault *f, bool *moved);
const char *samples_kvm(const char *words, u8 node, struct fault *f);
void samples_homes(struct faults *f);

/* table.c */
struct table {
	struct symbol *symbol;
	size_t nr, room;
};

void table_add(struct table *t, const struct symbol *s);
void table_sort(struct table *t, u64 end);
const struct symbol *table_find(const struct table *t, u64 address);
void table_free(struct table *t);

/* symbols.c */
/* A symbol as an ELF file has it; @type is STT_* */
struct elf_symbol {
	const char *name;
	u64 start, size;
	u32 section, type;
};

Elf *symbols_open(const char *path, const char *what, int *fd);
void symbols_each(Elf *elf, void (*seen)(const struct elf_symbol *s, void *arg), void *arg);
void symbols_read_vmlinux(const char *path);
void symbols_read_map(const char *path);
void symbols_add_module(Elf *elf, int fd, const char *path, const struct table *t);
void symbols_free(void);
const struct symbol *symbols_find(u64 address);
const struct symbol *symbols_find_accessed(const struct fault *f, u64 *offset);
bool symbols_is_kernel_code(u64 ip);
const struct symbol *symbols_find_percpu(u64 offset);
u64 symbols_part(const struct symbol *s, u64 offset);
const struct symbol *symbols_nth(size_t i);
bool symbols_is_percpu(const struct symbol *s);
bool symbols_is_module(const struct symbol *s);
const char *symbols_section(const struct symbol *s);
const u8 *symbols_code(const struct symbol *f);
const char *symbols_module_code(size_t i, u64 *start, u64 *size);
bool symbols_image(u64 *start, u64 *end);
bool symbols_build_id(u8 *id, size_t size);

/* module.c */
void module_read(const char *path);

/* memory.c */
void memory_read(const char *path);
const struct symbol *memory_find(u64 gpa, u64 *offset);
const struct symbol *memory_find_reused(u64 gpa, bool by_process, u64 *offset);
u32 memory_cpus(void);
u64 memory_section(const char *module, const char *section);
void memory_set_type(const char *option);
const char *memory_type(const char *cache);
bool memory_has_type(const char *type);
u64 memory_objects(const char *cache);
void memory_free(void);

/* dwarf.c */
void dwarf_read(Elf *elf);
void dwarf_free(void);
u64 dwarf_member(const struct symbol *s, u64 offset, char *name, size_t len);
const char *dwarf_declared(const struct symbol *s, int *line);
const char *dwarf_line(u64 ip, int *line);
bool dwarf_definition(const struct symbol *s, struct definition *d);
bool dwarf_part(const struct symbol *s, u64 offset, struct part *p);
void dwarf_units(void (*seen)(const char *file, void *arg), void *arg);
bool dwarf_known(void);

/* code.c */
void code_variables(const struct symbol *f,
		    void (*seen)(const struct symbol *s, u64 offset, void *arg), void *arg);
void code_offsets(const struct symbol *f, void (*seen)(u64 offset, bool wide, void *arg),
		  void *arg);

/* profile.c */
void profile_make(struct profile *p, struct faults *f);
void profile_free(struct profile *p);

/* report.c */
void report_text(const struct profile *p, size_t top);
void report_json(const struct profile *p, const char *path);

/* svg.c */
void svg_write(const struct profile *p, const struct faults *f, const char *path);

/* perfdata.c */
void perfdata_write(const struct profile *p, const struct faults *f, const char *path);

/* layout.c */
#define CANDIDATES	256	/* the dearest objects, which may be moved */
void layout_read(struct layout *l, struct faults *f, u64 window_ns);
bool layout_join(struct layout *l, struct faults *f);
void layout_choose(struct layout *l, u64 max_memory);
void layout_free(struct layout *l);

/* source.c */
#define ALONE	NULL	/* a group's name */
void source_open(const char *path, bool module);
bool source_place(const struct definition *d, bool percpu, const char *group, char *why,
		  size_t len);
bool source_place_member(const struct definition *d, const struct definition *next, char *why,
			 size_t len);
bool source_place_cache(const char *cache, const char **file, char *why, size_t len);
const char *source_name(const char *file);
bool source_changed(void);
void source_add_group(const char *group);
void source_write(FILE *f);
void source_keep(void);
void source_undo(void);
void source_close(void);

/* record.c */
int record(int argc, char **argv);

/* patch.c */
int patch(int argc, char **argv);

/* verify.c */
int verify(int argc, char **argv);

#endif
