// SPDX-License-Identifier: GPL-2.0-only
/*
 * What debugging information (libdw) adds to the names: the member of a variable, or of a slab
 * object, that lies at an offset, where the variable is declared, and the source line of an
 * instruction.  It is that of a vmlinux and of modules, each at its own addresses.  One without it
 * is no error; then nothing is known here.
 */
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <stdlib.h>
#include <string.h>

#include "faultprof.h"

#define DEPTH	32	/* of types in types */

/* A variable and its DIE */
struct variable {
	u64 address;
	Dwarf *dwarf;
	Dwarf_Off die;
};

/* A structure that slab objects are of; the first of its name */
struct type {
	char *name;
	Dwarf *dwarf;
	Dwarf_Off die;
};

static Dwarf **dwarfs;
static size_t nr_dwarfs;
static struct variable *variables;
static size_t nr_variables;
static struct type *types;
static size_t nr_types;

static const struct type *find_type(const char *name)
{
	size_t i;

	for (i = 0; name && i < nr_types; i++)
		if (!strcmp(types[i].name, name))
			return &types[i];
	return NULL;
}

static void add_type(Dwarf *dwarf, Dwarf_Die *die)
{
	const char *name = dwarf_diename(die);

	if (!name || dwarf_hasattr(die, DW_AT_declaration) || !memory_has_type(name) ||
	    find_type(name))
		return;
	types = xrealloc(types, (nr_types + 1) * sizeof(*types));
	types[nr_types++] = (struct type){ strdup(name), dwarf, dwarf_dieoffset(die) };
}

static void add_variable(Dwarf *dwarf, Dwarf_Die *die)
{
	Dwarf_Attribute attribute;
	Dwarf_Op *op;
	size_t nr;

	/* At one address for ever, not on a stack or in a register */
	if (!dwarf_attr(die, DW_AT_location, &attribute) ||
	    dwarf_getlocation(&attribute, &op, &nr) || nr != 1 || op->atom != DW_OP_addr)
		return;
	if (!(nr_variables & (nr_variables - 1)))
		variables = xrealloc(variables, (2 * nr_variables + 1) * sizeof(*variables));
	variables[nr_variables++] = (struct variable){ op->number, dwarf,
						       dwarf_dieoffset(die) };
}

/* A unit's variables, those that are static in its functions included, and its structures */
static void add_children(Dwarf *dwarf, Dwarf_Die *parent, int depth)
{
	Dwarf_Die die;

	if (depth > DEPTH || dwarf_child(parent, &die))
		return;
	do {
		switch (dwarf_tag(&die)) {
		case DW_TAG_variable:
			add_variable(dwarf, &die);
			break;
		case DW_TAG_structure_type:
			add_type(dwarf, &die);
			break;
		case DW_TAG_subprogram:
		case DW_TAG_lexical_block:
			add_children(dwarf, &die, depth + 1);
		}
	} while (!dwarf_siblingof(&die, &die));
}

static int by_address(const void *a, const void *b)
{
	const struct variable *x = a, *y = b;

	return (x->address > y->address) - (x->address < y->address);
}

/**
 * dwarf_read() - read the debugging information of a file, if it has any
 * @elf:	it, as vmlinux is or module.c makes it; stays open until dwarf_free()
 */
void dwarf_read(Elf *elf)
{
	Dwarf *dwarf = dwarf_begin_elf(elf, DWARF_C_READ, NULL);
	Dwarf_Off at = 0, next;
	size_t header;

	if (dwarf) {
		dwarfs = xrealloc(dwarfs, (nr_dwarfs + 1) * sizeof(*dwarfs));
		dwarfs[nr_dwarfs++] = dwarf;
	}
	while (dwarf && !dwarf_nextcu(dwarf, at, &next, &header, NULL, NULL, NULL)) {
		Dwarf_Die unit;

		if (dwarf_offdie(dwarf, at + header, &unit))
			add_children(dwarf, &unit, 0);
		at = next;
	}
	if (nr_variables)
		qsort(variables, nr_variables, sizeof(*variables), by_address);
}

/**
 * dwarf_free() - the reverse
 */
void dwarf_free(void)
{
	size_t i;

	free(variables);
	for (i = 0; i < nr_types; i++)
		free(types[i].name);
	free(types);
	for (i = 0; i < nr_dwarfs; i++)
		dwarf_end(dwarfs[i]);
	free(dwarfs);
}

static bool find(const struct symbol *s, Dwarf_Die *die)
{
	const struct variable key = { .address = s->link };
	const struct variable *v;

	/* What the kernel has allocated is not in its debugging information. */
	if (!nr_variables || !s->link)
		return false;
	v = bsearch(&key, variables, nr_variables, sizeof(key), by_address);
	return v && dwarf_offdie(v->dwarf, v->die, die);
}

/* The type that a DIE names, without typedef, const and volatile */
static bool type_of(Dwarf_Die *die, Dwarf_Die *type)
{
	Dwarf_Attribute attribute;

	return dwarf_attr_integrate(die, DW_AT_type, &attribute) &&
	       dwarf_formref_die(&attribute, type) && !dwarf_peel_type(type, type);
}

/* What an object is of: a variable's type, or that of a slab cache's objects */
static bool object_type(const struct symbol *s, Dwarf_Die *type)
{
	const struct type *t;
	Dwarf_Die die;

	if (!s->cache)
		return find(s, &die) && type_of(&die, type);
	t = find_type(memory_type(s->cache));
	return t && dwarf_offdie(t->dwarf, t->die, type);
}

static u64 size_of(Dwarf_Die *type)
{
	Dwarf_Word size;

	return dwarf_aggregate_size(type, &size) ? 0 : size;
}

static u64 offset_of(Dwarf_Die *member)
{
	Dwarf_Attribute attribute;
	Dwarf_Word n;

	if (dwarf_attr(member, DW_AT_data_member_location, &attribute) &&
	    !dwarf_formudata(&attribute, &n))
		return n;
	if (dwarf_attr(member, DW_AT_data_bit_offset, &attribute) &&
	    !dwarf_formudata(&attribute, &n))
		return n / 8;
	return 0;
}

/* The member of a structure or union at @offset; false if there is none. */
static bool member_at(Dwarf_Die *type, u64 offset, Dwarf_Die *member)
{
	Dwarf_Die die, inner;

	if (dwarf_child(type, &die))
		return false;
	do {
		if (dwarf_tag(&die) != DW_TAG_member || !type_of(&die, &inner) ||
		    offset - offset_of(&die) >= size_of(&inner))
			continue;
		*member = die;
		return true;
	} while (!dwarf_siblingof(&die, &die));
	return false;
}

/* One step into a type: ".member" or "[index]" to @name.  False if there is none. */
static bool step(Dwarf_Die *type, u64 *offset, char *name, size_t len, u64 *start)
{
	Dwarf_Die inner, member;
	u64 size;

	*name = 0;
	*start = 0;
	switch (dwarf_tag(type)) {
	case DW_TAG_array_type:
		if (!type_of(type, &inner))
			return false;
		size = size_of(&inner);
		if (!size || size == size_of(type))
			return false;
		snprintf(name, len, "[%llu]", *offset / size);
		*start = *offset / size * size;
		break;
	case DW_TAG_structure_type:
	case DW_TAG_union_type:
		if (!member_at(type, *offset, &member) || !type_of(&member, &inner))
			return false;
		*start = offset_of(&member);
		if (dwarf_diename(&member))
			snprintf(name, len, ".%s", dwarf_diename(&member));
		break;
	default:
		return false;
	}
	*offset -= *start;
	*type = inner;
	return true;
}

/**
 * dwarf_member() - which member of an object lies at an offset
 * @s:		a variable or a slab object
 * @offset:	in it
 * @name:	gets it, as ".lock" or "[2].head.next"; empty if nothing is known
 * @len:	room there
 *
 * Return: the offset at which the outermost of these members begins, or @offset if there is none.
 */
u64 dwarf_member(const struct symbol *s, u64 offset, char *name, size_t len)
{
	u64 start, first = offset;
	size_t used = 0;
	Dwarf_Die type;
	int depth;

	*name = 0;
	if (!object_type(s, &type))
		return offset;
	for (depth = 0; depth < DEPTH && used + 1 < len; depth++) {
		if (!step(&type, &offset, name + used, len - used, &start))
			break;
		if (!depth)
			first = start;
		used += strlen(name + used);
	}
	return first;
}

/**
 * dwarf_declared() - where an object is declared
 * @s:		a variable; of a slab object it is the type that is, or where it was asked for
 * @line:	set to the line
 *
 * Return: the file, or NULL if that is not known.
 */
const char *dwarf_declared(const struct symbol *s, int *line)
{
	Dwarf_Die die;

	if (s->file) {
		*line = s->line;
		return s->file;
	}
	if (!(s->cache ? object_type(s, &die) : find(s, &die)) || dwarf_decl_line(&die, line))
		return NULL;
	return dwarf_decl_file(&die);
}

/* A file's name as it is from the top of the tree that the unit was built in */
static const char *in_tree(Dwarf_Die *die, const char *file)
{
	Dwarf_Attribute attribute;
	const char *top = NULL;
	Dwarf_Die unit;

	if (!file)
		return NULL;
	if (dwarf_diecu(die, &unit, NULL, NULL) && dwarf_attr(&unit, DW_AT_comp_dir, &attribute))
		top = dwarf_formstring(&attribute);
	if (top && !strncmp(file, top, strlen(top)) && file[strlen(top)] == '/')
		file += strlen(top) + 1;
	while (!strncmp(file, "./", 2))
		file += 2;
	return file;
}

/**
 * dwarf_definition() - where a variable stands in the source
 * @s:		the variable
 * @d:		set to that
 *
 * Return: whether it is known.
 */
bool dwarf_definition(const struct symbol *s, struct definition *d)
{
	Dwarf_Die die, declaration, unit;
	Dwarf_Attribute attribute;

	memset(d, 0, sizeof(*d));
	if (!find(s, &die) || dwarf_decl_line(&die, &d->line))
		return false;
	d->name = dwarf_diename(&die);
	d->file = in_tree(&die, dwarf_decl_file(&die));
	if (dwarf_diecu(&die, &unit, NULL, NULL) && dwarf_diename(&unit))
		d->unit = in_tree(&unit, dwarf_diename(&unit));
	if (dwarf_attr(&die, DW_AT_specification, &attribute) &&
	    dwarf_formref_die(&attribute, &declaration) &&
	    !dwarf_decl_line(&declaration, &d->extern_line))
		d->extern_file = in_tree(&declaration, dwarf_decl_file(&declaration));
	return d->name && d->file;
}

static void define(Dwarf_Die *die, struct definition *d)
{
	*d = (struct definition){ .name = dwarf_diename(die) };
	d->file = in_tree(die, dwarf_decl_file(die));
	if (!d->file || dwarf_decl_line(die, &d->line))
		d->name = NULL;
}

/* The member behind one, which begins where that one does not */
static bool next_member(Dwarf_Die *member, Dwarf_Die *next)
{
	*next = *member;
	while (!dwarf_siblingof(next, next))
		if (dwarf_tag(next) == DW_TAG_member && offset_of(next) != offset_of(member))
			return true;
	return false;
}

static bool first_member(Dwarf_Die *type, Dwarf_Die *member)
{
	return dwarf_tag(type) == DW_TAG_structure_type && member_at(type, 0, member);
}

/**
 * dwarf_part() - what of an object could be laid apart by its type
 * @s:		a variable or a slab object
 * @offset:	in it
 * @p:		set to the part with this offset
 *
 * Return: whether it is a structure, or an array of such, with that part.
 */
bool dwarf_part(const struct symbol *s, u64 offset, struct part *p)
{
	Dwarf_Die type, inner, member, next;
	u64 size;

	memset(p, 0, sizeof(*p));
	if (!object_type(s, &type))
		return false;
	p->nr = 1;
	if (dwarf_tag(&type) == DW_TAG_array_type) {
		if (!type_of(&type, &inner) || !first_member(&inner, &member))
			return false;
		size = size_of(&inner);
		if (!size || offset >= size_of(&type))
			return false;
		p->nr = size_of(&type) / size;
		p->start = offset / size * size;
		p->end = p->start + size;
		p->element = true;
		snprintf(p->name, sizeof(p->name), "[]");
	} else {
		if (dwarf_tag(&type) != DW_TAG_structure_type ||
		    !member_at(&type, offset, &member))
			return false;
		p->start = offset_of(&member);
		snprintf(p->name, sizeof(p->name), ".%s", dwarf_diename(&member) ?: "-");
		p->end = size_of(&type);
		if (next_member(&member, &next)) {
			p->end = offset_of(&next);
			define(&next, &p->next);
		}
		if (dwarf_hasattr(&member, DW_AT_data_bit_offset) ||
		    dwarf_hasattr(&member, DW_AT_bit_size))
			p->refused = "it is a bit field";
	}
	define(&member, &p->where);
	if (!p->where.name)
		p->refused = "its member has no name";
	return true;
}

/**
 * dwarf_units() - the source files that were compiled
 * @seen:	called for each
 * @arg:	passed on
 */
void dwarf_units(void (*seen)(const char *file, void *arg), void *arg)
{
	Dwarf_Off at, next;
	size_t header, i;
	Dwarf_Die unit;

	for (i = 0; i < nr_dwarfs; i++)
		for (at = 0; !dwarf_nextcu(dwarfs[i], at, &next, &header, NULL, NULL, NULL);
		     at = next)
			if (dwarf_offdie(dwarfs[i], at + header, &unit) && dwarf_diename(&unit))
				seen(in_tree(&unit, dwarf_diename(&unit)), arg);
}

/**
 * dwarf_known() - whether there is debugging information
 *
 * Return: whether any file has variables in it.
 */
bool dwarf_known(void)
{
	return nr_variables;
}

/**
 * dwarf_line() - the source of an instruction
 * @ip:		its address
 * @line:	set to the line
 *
 * Return: the file, or NULL if that is not known.
 */
const char *dwarf_line(u64 ip, int *line)
{
	Dwarf_Line *where;
	Dwarf_Die unit;
	size_t i;

	for (i = 0; i < nr_dwarfs && !dwarf_addrdie(dwarfs[i], ip, &unit); i++)
		;
	if (i == nr_dwarfs)
		return NULL;
	where = dwarf_getsrc_die(&unit, ip);
	return where && !dwarf_lineno(where, line) ? dwarf_linesrc(where, NULL, NULL) : NULL;
}
