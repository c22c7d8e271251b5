// SPDX-License-Identifier: GPL-2.0-only
/*
 * What debugging information (libdw) adds to the names: the member of a variable that lies at an
 * offset, where the variable is declared, and the source line of an instruction.  A vmlinux
 * without it is no error; then nothing is known here.
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
	Dwarf_Off die;
};

static Dwarf *dwarf;
static struct variable *variables;
static size_t nr_variables;

static void add_variable(Dwarf_Die *die)
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
	variables[nr_variables++] = (struct variable){ op->number, dwarf_dieoffset(die) };
}

/* A unit's variables, those that are static in its functions included */
static void add_children(Dwarf_Die *parent, int depth)
{
	Dwarf_Die die;

	if (depth > DEPTH || dwarf_child(parent, &die))
		return;
	do {
		switch (dwarf_tag(&die)) {
		case DW_TAG_variable:
			add_variable(&die);
			break;
		case DW_TAG_subprogram:
		case DW_TAG_lexical_block:
			add_children(&die, depth + 1);
		}
	} while (!dwarf_siblingof(&die, &die));
}

static int by_address(const void *a, const void *b)
{
	const struct variable *x = a, *y = b;

	return (x->address > y->address) - (x->address < y->address);
}

/**
 * dwarf_read() - read the debugging information of a vmlinux, if it has any
 * @elf:	it; stays open until dwarf_free()
 */
void dwarf_read(Elf *elf)
{
	Dwarf_Off at = 0, next;
	size_t header;

	dwarf = dwarf_begin_elf(elf, DWARF_C_READ, NULL);
	while (dwarf && !dwarf_nextcu(dwarf, at, &next, &header, NULL, NULL, NULL)) {
		Dwarf_Die unit;

		if (dwarf_offdie(dwarf, at + header, &unit))
			add_children(&unit, 0);
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
	free(variables);
	dwarf_end(dwarf);
}

static bool find(const struct symbol *s, Dwarf_Die *die)
{
	const struct variable key = { .address = s->link };
	const struct variable *v;

	/* What the kernel has allocated is not in its debugging information. */
	if (!nr_variables || !s->link)
		return false;
	v = bsearch(&key, variables, nr_variables, sizeof(key), by_address);
	return v && dwarf_offdie(dwarf, v->die, die);
}

/* The type that a DIE names, without typedef, const and volatile */
static bool type_of(Dwarf_Die *die, Dwarf_Die *type)
{
	Dwarf_Attribute attribute;

	return dwarf_attr_integrate(die, DW_AT_type, &attribute) &&
	       dwarf_formref_die(&attribute, type) && !dwarf_peel_type(type, type);
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
 * dwarf_member() - which member of a variable lies at an offset
 * @s:		the variable
 * @offset:	in it
 * @name:	gets it, as ".lock" or "[2].head.next"; empty if nothing is known
 * @len:	room there
 *
 * Return: the offset at which the outermost of these members begins, or @offset if there is none.
 */
u64 dwarf_member(const struct symbol *s, u64 offset, char *name, size_t len)
{
	u64 start, first = offset;
	Dwarf_Die die, type;
	size_t used = 0;
	int depth;

	*name = 0;
	if (!find(s, &die) || !type_of(&die, &type))
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
 * dwarf_declared() - where a variable is declared
 * @s:		the variable
 * @line:	set to the line
 *
 * Return: the file, or NULL if that is not known.
 */
const char *dwarf_declared(const struct symbol *s, int *line)
{
	Dwarf_Die die;

	return find(s, &die) && !dwarf_decl_line(&die, line) ? dwarf_decl_file(&die) : NULL;
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
	Dwarf_Die die, declaration;
	Dwarf_Attribute attribute;

	memset(d, 0, sizeof(*d));
	if (!find(s, &die) || dwarf_decl_line(&die, &d->line))
		return false;
	d->name = dwarf_diename(&die);
	d->file = in_tree(&die, dwarf_decl_file(&die));
	if (dwarf_attr(&die, DW_AT_specification, &attribute) &&
	    dwarf_formref_die(&attribute, &declaration) &&
	    !dwarf_decl_line(&declaration, &d->extern_line))
		d->extern_file = in_tree(&declaration, dwarf_decl_file(&declaration));
	return d->name && d->file;
}

/**
 * dwarf_known() - whether there is debugging information
 *
 * Return: whether the vmlinux has any variables in it.
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

	if (!dwarf || !dwarf_addrdie(dwarf, ip, &unit))
		return NULL;
	where = dwarf_getsrc_die(&unit, ip);
	return where && !dwarf_lineno(where, line) ? dwarf_linesrc(where, NULL, NULL) : NULL;
}
