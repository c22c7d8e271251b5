// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which variables the code of a function names: by the displacements and constants in its
 * instructions that are addresses of variables.  It is not taken apart: a displacement behind a
 * byte that would say "relative to the instruction", and any four bytes that are an absolute
 * address, are believed.  What is computed elsewhere is not seen.
 */
#include <gelf.h>
#include <string.h>

#include "faultprof.h"

/* Where constants follow a displacement: how many bytes, by the opcode before the address byte */
static u32 constant_size(u8 opcode)
{
	switch (opcode) {
	case 0x6b: case 0x80: case 0x82: case 0x83: case 0xc0: case 0xc1: case 0xc6: case 0xba:
		return 1;
	case 0x69: case 0x81: case 0xc7:
		return 4;
	default:
		return 0;
	}
}

/**
 * code_variables() - the variables of the image that a function names, but for per-CPU ones
 * @elf:	the kernel
 * @f:		the function
 * @seen:	called for each, as often as it is named
 * @arg:	passed on
 */
void code_variables(Elf *elf, const struct symbol *f,
		    void (*seen)(const struct symbol *s, void *arg), void *arg)
{
	Elf_Scn *section = NULL;
	const struct symbol *s;
	GElf_Shdr header;
	Elf_Data *data;
	const u8 *code;
	s32 value;
	u64 i;

	while ((section = elf_nextscn(elf, section)))
		if (gelf_getshdr(section, &header) && header.sh_flags & SHF_EXECINSTR &&
		    f->start - header.sh_addr < header.sh_size)
			break;
	data = section ? elf_rawdata(section, NULL) : NULL;
	if (!data || data->d_size < f->start + f->size - header.sh_addr)
		return;
	code = (const u8 *)data->d_buf + (f->start - header.sh_addr);
	for (i = 2; i + sizeof(value) <= f->size; i++) {
		memcpy(&value, code + i, sizeof(value));
		/* The image is in the last 2 GiB. */
		s = value < 0 ? symbols_find((s64)value) : NO_SYMBOL;
		if (!s && (code[i - 1] & 0xc7) == 0x05)
			s = symbols_find(f->start + i + sizeof(value) +
					 constant_size(code[i - 2]) + value);
		if (s && s != f)
			seen(s, arg);
	}
}
