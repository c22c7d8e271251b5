// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest kernel's functions and variables, from its vmlinux (libelf) or its System.map, and what
 * module.c adds of its modules.  The image is where it was linked to: a guest with KASLR has to be
 * booted with nokaslr.  Modules lie behind it, and what each CPU has of them behind what it has of
 * the image, so that an address is in one of them at most.
 */
#include <elfutils/libdwelf.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faultprof.h"

/* What of an object can be laid apart, if its members are not known */
#define BLOCK		64

/* A file, with its sections at the guest's addresses */
struct elf_file {
	Elf *elf;
	int fd;
	const char *path;
};

static struct table image, percpu;
static struct table *modules;		/* two of each: what is in its memory, and per CPU */
static size_t nr_modules;
static u64 image_start, image_end;	/* _text, _end */
static u64 percpu_end;			/* __per_cpu_end; the section begins at 0 */
static struct elf_file *elf_files;	/* vmlinux, if it is one of them, is the first */
static size_t nr_elf_files;

static void add(u64 start, u64 size, const char *name)
{
	if (!strcmp(name, "_text"))
		image_start = start;
	if (!strcmp(name, "_end"))
		image_end = start;
	if (!strcmp(name, "__per_cpu_end"))
		percpu_end = start;
	/* Not a thing but a place: section ends, padding before functions, modules' tables */
	if (!*name || !strncmp(name, "__pfx_", 6) || !strncmp(name, "__ksymtab_", 10) ||
	    !strncmp(name, "__kstrtab", 9) || !strncmp(name, "__per_cpu_", 10))
		return;
	table_add(start < KERNEL_MAP ? &percpu : &image,
		  &(struct symbol){ .start = start, .size = size, .link = start, .name = name });
}

static void finish(const char *path)
{
	if (!image_start || image_end <= image_start)
		fail("%s: no _text and _end: expected a kernel's, as vmlinux or System.map", path);
	table_sort(&image, image_end);
	table_sort(&percpu, percpu_end);
}

/**
 * symbols_read_map() - the symbols of a System.map
 * @path:	it
 */
void symbols_read_map(const char *path)
{
	char line[1024], name[512], type;
	FILE *f = fopen(path, "re");
	unsigned long long address;

	if (!f)
		fail("%s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx %c %511s", &address, &type, name) != 3)
			fail("%s: \"%.40s\": expected a System.map", path,
			     strtok(line, "\n") ?: "");
		add(address, 0, name);
	}
	fclose(f);
	finish(path);
}

/**
 * symbols_open() - open an ELF file
 * @path:	it
 * @what:	it should be
 * @fd:		gets the open file
 *
 * What is changed of it in memory is not written.
 *
 * Return: it, which the caller ends before it closes @fd.
 */
Elf *symbols_open(const char *path, const char *what, int *fd)
{
	Elf *elf;

	*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0)
		fail("%s: %s", path, strerror(errno));
	elf_version(EV_CURRENT);
	elf = elf_begin(*fd, ELF_C_READ_MMAP_PRIVATE, NULL);
	if (!elf || elf_kind(elf) != ELF_K_ELF)
		fail("%s: expected an ELF file, %s", path, what);
	return elf;
}

/**
 * symbols_each() - the symbols that an ELF file defines, one after the other
 * @elf:	it
 * @seen:	called for each
 * @arg:	passed on
 */
void symbols_each(Elf *elf, void (*seen)(const struct elf_symbol *s, void *arg), void *arg)
{
	Elf_Scn *section = NULL;
	GElf_Shdr header;

	while ((section = elf_nextscn(elf, section))) {
		Elf_Data *data;
		GElf_Sym sym;
		size_t i;

		if (!gelf_getshdr(section, &header) || header.sh_type != SHT_SYMTAB)
			continue;
		data = elf_getdata(section, NULL);
		for (i = 0; data && i < data->d_size / header.sh_entsize; i++) {
			struct elf_symbol s;

			if (!gelf_getsym(data, i, &sym) || sym.st_shndx == SHN_UNDEF)
				continue;
			s = (struct elf_symbol){
				.name = elf_strptr(elf, header.sh_link, sym.st_name),
				.start = sym.st_value, .size = sym.st_size,
				.section = sym.st_shndx, .type = GELF_ST_TYPE(sym.st_info),
			};
			if (s.name)
				seen(&s, arg);
		}
	}
}

static void add_file(Elf *elf, int fd, const char *path)
{
	elf_files = xrealloc(elf_files, (nr_elf_files + 1) * sizeof(*elf_files));
	elf_files[nr_elf_files++] = (struct elf_file){ elf, fd, path };
	dwarf_read(elf);
}

static void add_symbol(const struct elf_symbol *s, void *unused)
{
	(void)unused;
	if (s->type <= STT_FUNC)
		add(s->start, s->size, s->name);
}

/**
 * symbols_read_vmlinux() - the symbols of a vmlinux
 * @path:	it
 */
void symbols_read_vmlinux(const char *path)
{
	int fd;
	Elf *elf = symbols_open(path, "the kernel's vmlinux", &fd);

	symbols_each(elf, add_symbol, NULL);
	finish(path);
	add_file(elf, fd, path);
}

/**
 * symbols_add_module() - the symbols of a module
 * @elf:	it, with its sections at the guest's addresses
 * @fd:		its file; both are closed by symbols_free()
 * @path:	the name of that
 * @t:		two tables, sorted: what is in its memory, and what each CPU has
 */
void symbols_add_module(Elf *elf, int fd, const char *path, const struct table *t)
{
	modules = xrealloc(modules, (nr_modules + 1) * 2 * sizeof(*modules));
	memcpy(&modules[2 * nr_modules++], t, 2 * sizeof(*t));
	add_file(elf, fd, path);
}

/**
 * symbols_free() - forget all symbols
 */
void symbols_free(void)
{
	size_t i;

	table_free(&image);
	table_free(&percpu);
	for (i = 0; i < 2 * nr_modules; i++)
		table_free(&modules[i]);
	free(modules);
	dwarf_free();
	for (i = 0; i < nr_elf_files; i++) {
		elf_end(elf_files[i].elf);
		close(elf_files[i].fd);
	}
	free(elf_files);
}

/* What modules have at an address; @which of their tables */
static const struct symbol *find_module(u64 address, int which)
{
	const struct symbol *s = NO_SYMBOL;
	size_t i;

	for (i = 0; i < nr_modules && !s; i++)
		s = table_find(&modules[2 * i + which], address);
	return s;
}

/**
 * symbols_find() - what lies at a virtual address
 * @address:	the address
 *
 * Return: the symbol, or NO_SYMBOL.
 */
const struct symbol *symbols_find(u64 address)
{
	return table_find(&image, address) ?: find_module(address, 0);
}

/**
 * symbols_find_percpu() - what each CPU has at an offset in its own data
 * @offset:	the offset
 *
 * Return: the symbol, or NO_SYMBOL.
 */
const struct symbol *symbols_find_percpu(u64 offset)
{
	return offset < percpu_end ? table_find(&percpu, offset) : find_module(offset, 1);
}

/**
 * symbols_nth() - all symbols of the image and of modules' memory in turn
 * @i:		from 0 on
 *
 * Return: the symbol, or NO_SYMBOL after the last.
 */
const struct symbol *symbols_nth(size_t i)
{
	const struct table *t = &image;
	size_t n;

	for (n = 0; n < nr_modules && i >= t->nr; n++) {
		i -= t->nr;
		t = &modules[2 * n];
	}
	return i < t->nr ? &t->symbol[i] : NO_SYMBOL;
}

/**
 * symbols_is_percpu() - whether each CPU has one
 * @s:		a variable
 *
 * Return: whether it is a per-CPU variable, or an instance of one.
 */
bool symbols_is_percpu(const struct symbol *s)
{
	return s->link < KERNEL_MAP && !s->cache;
}

/**
 * symbols_is_module() - whether a module has it
 * @s:		a variable
 *
 * Return: whether it is one of a module, and not of the image.
 */
bool symbols_is_module(const struct symbol *s)
{
	return s->link && find_module(s->link, symbols_is_percpu(s));
}

/**
 * symbols_module_code() - where the guest has a module's code
 * @i:		which one, from 0 on
 * @start:	set to its first address
 * @size:	set to how much there is, which may be nothing
 *
 * Return: the module's file; NULL after the last.
 */
const char *symbols_module_code(size_t i, u64 *start, u64 *size)
{
	const struct elf_file *f = &elf_files[nr_elf_files - nr_modules + i];
	Elf_Scn *section = NULL;
	GElf_Shdr header;
	const char *name;
	size_t names;

	if (i >= nr_modules)
		return NULL;
	*start = 0;
	*size = 0;
	if (elf_getshdrstrndx(f->elf, &names))
		return f->path;
	while ((section = elf_nextscn(f->elf, section))) {
		if (!gelf_getshdr(section, &header))
			continue;
		name = elf_strptr(f->elf, names, header.sh_name);
		if (!name || strcmp(name, ".text"))
			continue;
		*start = header.sh_addr;
		*size = header.sh_size;
	}
	return f->path;
}

/* The section of an object, and the file that has it; NULL if there is none */
static Elf_Scn *section_of(const struct symbol *s, GElf_Shdr *header, Elf **elf)
{
	Elf_Scn *section;
	size_t i;

	for (i = 0; i < nr_elf_files; i++) {
		*elf = elf_files[i].elf;
		section = NULL;
		while ((section = elf_nextscn(*elf, section)))
			if (gelf_getshdr(section, header) && header->sh_flags & SHF_ALLOC &&
			    s->link - header->sh_addr < header->sh_size)
				return section;
	}
	return NULL;
}

/**
 * symbols_section() - the section that its file has an object in
 * @s:		the object
 *
 * Return: its name, or NULL.
 */
const char *symbols_section(const struct symbol *s)
{
	GElf_Shdr header;
	size_t names;
	Elf *elf;

	return section_of(s, &header, &elf) && !elf_getshdrstrndx(elf, &names) ?
	       elf_strptr(elf, names, header.sh_name) : NULL;
}

/**
 * symbols_code() - the code of a function
 * @f:		the function
 *
 * Return: as many bytes as @f has; NULL if it has no code.
 */
const u8 *symbols_code(const struct symbol *f)
{
	GElf_Shdr header;
	Elf_Scn *section;
	Elf_Data *data;
	Elf *elf;

	section = section_of(f, &header, &elf);
	data = section && header.sh_flags & SHF_EXECINSTR ? elf_rawdata(section, NULL) : NULL;
	if (!data || data->d_size < f->link + f->size - header.sh_addr)
		return NULL;
	return (const u8 *)data->d_buf + (f->link - header.sh_addr);
}

/**
 * symbols_image() - where the kernel's image is
 * @start:	set to its first address
 * @end:	set to the address behind it
 *
 * Return: whether that is known.
 */
bool symbols_image(u64 *start, u64 *end)
{
	*start = image_start;
	*end = image_end;
	return image_start;
}

/**
 * symbols_build_id() - what tells the kernel from others
 * @id:		gets the first bytes of it, and zeros if it has less
 * @size:	how many
 *
 * Return: whether it has a build id.
 */
bool symbols_build_id(u8 *id, size_t size)
{
	const void *found;
	ssize_t n;

	if (nr_elf_files == nr_modules)
		return false;
	n = dwelf_elf_gnu_build_id(elf_files[0].elf, &found);
	if (n <= 0)
		return false;
	if (size) {
		memset(id, 0, size);
		memcpy(id, found, (size_t)n < size ? (size_t)n : size);
	}
	return true;
}

/**
 * symbols_is_kernel_code() - whether an instruction is the kernel's, or who knows whose
 * @ip:		its address, or 0
 *
 * Return: whether it is.
 */
bool symbols_is_kernel_code(u64 ip)
{
	return (s64)ip <= 0;
}

/**
 * symbols_find_accessed() - what lies where a fault was
 * @f:		the fault
 * @offset:	set to the offset in it
 *
 * A process has no access to what the kernel's image has for the boot.
 *
 * Return: the symbol, or NO_SYMBOL.
 */
const struct symbol *symbols_find_accessed(const struct fault *f, u64 *offset)
{
	const u64 address = f->gpa + KERNEL_MAP;
	const struct symbol *s;

	*offset = 0;
	if (!f->gpa)
		return NO_SYMBOL;
	if (f->gpa >= -KERNEL_MAP || address < image_start || address >= image_end)
		return memory_find(f->gpa, offset);
	/* What is there for the boot only is given back after it. */
	s = memory_find_reused(f->gpa, !symbols_is_kernel_code(f->ip), offset);
	if (s)
		return s;
	s = symbols_find(address);
	*offset = s ? address - s->start : 0;
	return s;
}

/**
 * symbols_part() - what of an object could be laid apart from the rest of it
 * @s:		the object
 * @offset:	in it
 *
 * Return: where the part with this offset begins: an outermost member, or 64 bytes.
 */
u64 symbols_part(const struct symbol *s, u64 offset)
{
	char name[256];
	u64 start = dwarf_member(s, offset, name, sizeof(name));

	return *name ? start : offset / BLOCK * BLOCK;
}
