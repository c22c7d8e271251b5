// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which variables the code of a function names: by the displacements and constants in its
 * instructions that are addresses of variables.  It is not taken apart: a displacement behind a
 * byte that would say "relative to the instruction", and any four bytes that are an absolute
 * address, are believed.  Per-CPU variables have small addresses, as many a constant: four bytes
 * are one of these only where an instruction seems to load or add a constant or to address memory
 * by a register, and relative to the instruction.  What is computed elsewhere is not seen.  Nor is
 * it what a register points to: of a structure's members only the offsets are known.
 */
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

/* Opcodes that an address byte follows, of those that compilers use; two-byte ones without 0f */
static bool has_address(u8 opcode)
{
	static const u8 opcodes[] = {
		0x01, 0x03, 0x09, 0x0b, 0x21, 0x23, 0x29, 0x2b, 0x31, 0x33, 0x38, 0x39, 0x3a, 0x3b,
		0x63, 0x69, 0x80, 0x81, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8d,
		0xa3, 0xab, 0xb1, 0xb3, 0xb6, 0xb7, 0xbe, 0xbf, 0xc1, 0xc6, 0xc7, 0xf6, 0xf7, 0xff,
	};

	return memchr(opcodes, opcode, sizeof(opcodes));
}

/* Whether four bytes of an instruction may mean a per-CPU variable */
static bool may_be_percpu(const u8 *code, u64 i)
{
	const u8 mode = code[i - 1];

	/* mov and add to a register, add to %rax, or memory by a register, with an index or not */
	return (mode >= 0xc0 && mode <= 0xc7 && (code[i - 2] == 0xc7 || code[i - 2] == 0x81)) ||
	       (mode == 0x05 && code[i - 2] == 0x48) ||
	       ((mode & 0xc0) == 0x80 && (mode & 7) != 4 && has_address(code[i - 2])) ||
	       (i > 2 && (code[i - 2] & 0xc7) == 0x84 && has_address(code[i - 3]));
}

/* The per-CPU variable at a small address, of which code means words, and not the bytes between */
static const struct symbol *find_percpu(u64 address)
{
	const struct symbol *s = symbols_find_percpu(address);

	return s && (address - s->start) % sizeof(s32) == 0 ? s : NO_SYMBOL;
}

/**
 * code_variables() - the variables that a function names
 * @f:		the function
 * @seen:	called for each, as often as it is named, with the offset in it
 * @arg:	passed on
 */
void code_variables(const struct symbol *f,
		    void (*seen)(const struct symbol *s, u64 offset, void *arg), void *arg)
{
	const u8 *code = symbols_code(f);
	const struct symbol *s;
	u64 i, address;
	s32 value;

	if (!code)
		return;
	for (i = 2; i + sizeof(value) <= f->size; i++) {
		memcpy(&value, code + i, sizeof(value));
		/* The image and modules are in the last 2 GiB. */
		address = (s64)value;
		s = value < 0 ? symbols_find(address) :
		    may_be_percpu(code, i) ? find_percpu(address) : NO_SYMBOL;
		if (!s && (code[i - 1] & 0xc7) == 0x05) {
			address = f->start + i + sizeof(value) + constant_size(code[i - 2]) + value;
			s = symbols_find(address) ?: find_percpu(address);
		}
		/* At 0, which would be a per-CPU variable's address, is what means none. */
		if (s && s != f && s->link)
			seen(s, address - s->start, arg);
	}
}

/**
 * code_offsets() - the offsets, other than 0, at which a function addresses memory by registers
 * @f:		the function
 * @seen:	called for each, as often as there is one, with whether it takes four bytes, as from
 *		128 on: few others look like that
 * @arg:	passed on
 *
 * Any pointer is followed without an offset, and many a byte looks like it.
 */
void code_offsets(const struct symbol *f, void (*seen)(u64 offset, bool wide, void *arg),
		  void *arg)
{
	const u8 *code = symbols_code(f);
	s32 value;
	u64 i;

	if (!code)
		return;
	for (i = 3; i + sizeof(value) <= f->size; i++) {
		const bool index = (code[i - 2] & 7) == 4 && has_address(code[i - 3]);
		const u8 mode = index ? code[i - 2] : code[i - 1];

		if (!index && ((mode & 7) == 4 || !has_address(code[i - 2])))
			continue;
		memcpy(&value, code + i, sizeof(value));
		/* Compilers take four bytes only where one does not do; members are words. */
		if (mode >> 6 == 1 && code[i] && code[i] < 128 && code[i] % sizeof(value) == 0)
			seen(code[i], false, arg);
		else if (mode >> 6 == 2 && value >= 128 && value % sizeof(value) == 0)
			seen(value, true, arg);
	}
}
