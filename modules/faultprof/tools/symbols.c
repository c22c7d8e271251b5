// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest kernel's functions and variables, from its vmlinux (libelf) or its System.map.  The
 * image is where it was linked to: a guest with KASLR has to be booted with nokaslr.
 */
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faultprof.h"

/* Where x86-64 has the image, and the physical address 0 in it */
#define KERNEL_MAP	0xffffffff80000000ULL

/* What of an object can be laid apart, if its members are not known */
#define BLOCK		64

static struct table image, percpu;
static u64 image_start, image_end;	/* _text, _end */
static u64 percpu_end;			/* __per_cpu_end; the section begins at 0 */
static Elf *vmlinux;
static int vmlinux_fd = -1;

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
 * symbols_each() - the symbols that a vmlinux defines, one after the other
 * @path:	it
 * @fd:		gets the open file
 * @seen:	called for each
 * @arg:	passed on
 *
 * Return: the ELF file, which the caller ends before it closes @fd.
 */
Elf *symbols_each(const char *path, int *fd,
		  void (*seen)(const struct elf_symbol *s, void *arg), void *arg)
{
	Elf_Scn *section = NULL;
	GElf_Shdr header;
	Elf *elf;

	*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0)
		fail("%s: %s", path, strerror(errno));
	elf_version(EV_CURRENT);
	elf = elf_begin(*fd, ELF_C_READ_MMAP, NULL);
	if (!elf || elf_kind(elf) != ELF_K_ELF)
		fail("%s: expected an ELF file, the kernel's vmlinux", path);
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
	return elf;
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
	vmlinux = symbols_each(path, &vmlinux_fd, add_symbol, NULL);
	finish(path);
	dwarf_read(vmlinux);
}

/**
 * symbols_free() - forget all symbols
 */
void symbols_free(void)
{
	table_free(&image);
	table_free(&percpu);
	dwarf_free();
	elf_end(vmlinux);
	if (vmlinux_fd >= 0)
		close(vmlinux_fd);
}

/**
 * symbols_elf() - the vmlinux that was read
 *
 * Return: it, until symbols_free(), or NULL.
 */
Elf *symbols_elf(void)
{
	return vmlinux;
}

/**
 * symbols_find() - what lies at a virtual address
 * @address:	the address
 *
 * Return: the symbol, or NO_SYMBOL.
 */
const struct symbol *symbols_find(u64 address)
{
	return table_find(&image, address);
}

/**
 * symbols_find_percpu() - what each CPU has at an offset in the image's per-CPU section
 * @offset:	the offset
 *
 * Return: the symbol, or NO_SYMBOL.
 */
const struct symbol *symbols_find_percpu(u64 offset)
{
	return offset < percpu_end ? table_find(&percpu, offset) : NO_SYMBOL;
}

/**
 * symbols_nth() - all symbols of the image in turn
 * @i:		from 0 on
 *
 * Return: the symbol, or NO_SYMBOL after the last.
 */
const struct symbol *symbols_nth(size_t i)
{
	return i < image.nr ? &image.symbol[i] : NO_SYMBOL;
}

/**
 * symbols_is_percpu() - whether each CPU has one
 * @s:		a variable of the image
 *
 * Return: whether it is a per-CPU variable, or an instance of one.
 */
bool symbols_is_percpu(const struct symbol *s)
{
	return s->link < KERNEL_MAP;
}

/**
 * symbols_section() - the section that the image has an object in
 * @s:		the object
 *
 * Return: its name, or NULL.
 */
const char *symbols_section(const struct symbol *s)
{
	Elf_Scn *section = NULL;
	GElf_Shdr header;
	size_t names;

	if (elf_getshdrstrndx(vmlinux, &names))
		return NULL;
	while ((section = elf_nextscn(vmlinux, section)))
		if (gelf_getshdr(section, &header) && header.sh_flags & SHF_ALLOC &&
		    s->link - header.sh_addr < header.sh_size)
			return elf_strptr(vmlinux, names, header.sh_name);
	return NULL;
}

/**
 * symbols_find_gpa() - what lies at a guest-physical address
 * @gpa:	the address; 0: none
 * @offset:	set to the offset in it
 *
 * Return: the symbol, or NO_SYMBOL.
 */
const struct symbol *symbols_find_gpa(u64 gpa, u64 *offset)
{
	const u64 address = gpa + KERNEL_MAP;
	const struct symbol *s;

	*offset = 0;
	if (!gpa)
		return NO_SYMBOL;
	if (gpa >= -KERNEL_MAP || address < image_start || address >= image_end)
		return memory_find(gpa, offset);
	s = symbols_find(address);
	if (s)
		*offset = address - s->start;
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
