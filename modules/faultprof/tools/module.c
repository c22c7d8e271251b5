// SPDX-License-Identifier: GPL-2.0-only
/*
 * A module of the guest, from its file: its sections get the addresses that the guest loaded them
 * to, as memory.c knows them, and what refers to them is relocated as the guest's loader did, so
 * that its symbols, code and debugging information are as those of an image.  What refers to other
 * files stays as it is in the file.
 */
#include <gelf.h>
#include <stdlib.h>
#include <string.h>

#include "faultprof.h"

/* Where sections are that the guest has not, or not any more; no section of it lies there. */
#define NOWHERE		0x8000000000000000ULL

/* What symbols_each() passes on */
struct module {
	Elf *elf;
	struct table table[2];	/* what is in its memory, and what each CPU has */
};

static bool is_percpu(Elf *elf, const GElf_Shdr *header)
{
	size_t names;

	return !elf_getshdrstrndx(elf, &names) &&
	       !strcmp(elf_strptr(elf, names, header->sh_name) ?: "", ".data..percpu");
}

/* Gives each section its address; returns how many have one. */
static u32 place_sections(Elf *elf, const char *module)
{
	Elf_Scn *section = NULL;
	GElf_Shdr header;
	size_t names;
	u32 nr = 0;

	if (elf_getshdrstrndx(elf, &names))
		return 0;
	while ((section = elf_nextscn(elf, section))) {
		if (!gelf_getshdr(section, &header) || !(header.sh_flags & SHF_ALLOC))
			continue;
		header.sh_addr = memory_section(module,
						elf_strptr(elf, names, header.sh_name) ?: "");
		nr += header.sh_addr != 0;
		header.sh_addr = header.sh_addr ?: NOWHERE;
		gelf_update_shdr(section, &header);
	}
	return nr;
}

/* The address of a symbol; false if it is another file's. */
static bool address_of(Elf *elf, const GElf_Sym *s, u64 *address)
{
	GElf_Shdr header;
	Elf_Scn *section;

	*address = s->st_value;
	if (s->st_shndx == SHN_UNDEF || s->st_shndx >= SHN_LORESERVE)
		return s->st_shndx == SHN_ABS;
	section = elf_getscn(elf, s->st_shndx);
	if (!section || !gelf_getshdr(section, &header))
		return false;
	/* What is not loaded has no address, and is referred to from where it begins. */
	*address += header.sh_addr;
	return true;
}

static void relocate_one(Elf *elf, const GElf_Rela *r, Elf_Data *symbols, u64 base, Elf_Data *data)
{
	u8 *at = (u8 *)data->d_buf + r->r_offset;
	u64 value;
	GElf_Sym s;
	u32 size;

	if (!gelf_getsym(symbols, GELF_R_SYM(r->r_info), &s) || !address_of(elf, &s, &value))
		return;
	value += r->r_addend;
	switch (GELF_R_TYPE(r->r_info)) {
	case R_X86_64_PC64:
		value -= base + r->r_offset;
		size = 8;
		break;
	case R_X86_64_64:
		size = 8;
		break;
	case R_X86_64_PC32:
	case R_X86_64_PLT32:
		value -= base + r->r_offset;
		size = 4;
		break;
	case R_X86_64_32:
	case R_X86_64_32S:
		size = 4;
		break;
	default:
		return;
	}
	if (r->r_offset <= data->d_size && size <= data->d_size - r->r_offset)
		memcpy(at, &value, size);
}

/* What a section of relocations is about is changed in memory. */
static void relocate(Elf *elf, const GElf_Shdr *header, Elf_Data *relocations)
{
	Elf_Scn *target = elf_getscn(elf, header->sh_info);
	Elf_Scn *table = elf_getscn(elf, header->sh_link);
	Elf_Data *data, *symbols;
	GElf_Shdr of;
	GElf_Rela r;
	size_t i;

	data = target ? elf_rawdata(target, NULL) : NULL;
	symbols = table ? elf_getdata(table, NULL) : NULL;
	if (!data || !data->d_buf || !symbols || !relocations || !gelf_getshdr(target, &of) ||
	    of.sh_type == SHT_NOBITS)
		return;
	for (i = 0; gelf_getrela(relocations, i, &r); i++)
		relocate_one(elf, &r, symbols, of.sh_addr, data);
}

static void add(const struct elf_symbol *s, void *arg)
{
	struct module *m = arg;
	GElf_Shdr header;
	Elf_Scn *section;
	u64 start;

	section = s->section < SHN_LORESERVE ? elf_getscn(m->elf, s->section) : NULL;
	if (s->type > STT_FUNC || !*s->name || !strncmp(s->name, "__pfx_", 6) || !section ||
	    !gelf_getshdr(section, &header) || !(header.sh_flags & SHF_ALLOC) ||
	    header.sh_addr == NOWHERE || !s->size)
		return;
	start = header.sh_addr + s->start;
	table_add(&m->table[is_percpu(m->elf, &header)],
		  &(struct symbol){ .start = start, .size = s->size, .link = start,
				    .name = s->name });
}

/**
 * module_read() - the symbols of a module
 * @path:	its file, named as it is
 *
 * What the guest's memory holds has to be known.
 */
void module_read(const char *path)
{
	const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	struct module m = { };
	Elf_Scn *section = NULL;
	GElf_Shdr header;
	GElf_Ehdr file;
	char name[64];
	size_t i;
	int fd;

	/* The kernel's name for it */
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(base, "."), base);
	for (i = 0; name[i]; i++)
		if (name[i] == '-')
			name[i] = '_';
	m.elf = symbols_open(path, "a module of the guest's", &fd);
	if (!gelf_getehdr(m.elf, &file) || file.e_type != ET_REL || file.e_machine != EM_X86_64)
		fail("%s: expected an x86-64 module, as *.ko", path);
	if (!place_sections(m.elf, name))
		fail("%s: --memory has no /sys/module/%s/sections: expected them", path, name);
	while ((section = elf_nextscn(m.elf, section)))
		if (gelf_getshdr(section, &header) && header.sh_type == SHT_RELA)
			relocate(m.elf, &header, elf_getdata(section, NULL));
	symbols_each(m.elf, add, &m);
	for (i = 0; i < ARRAY_SIZE(m.table); i++)
		table_sort(&m.table[i], 0);
	symbols_add_module(m.elf, fd, path, m.table);
}
