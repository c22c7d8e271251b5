// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's ACPI tables: RSDP, XSDT, FADT (hardware-reduced, with reset and sleep
 * registers), MADT, SRAT, SLIT and a DSDT with the two serial ports and \_S5.  They are
 * built in one buffer that is the guest's memory at a given address, RSDP first.
 * Hardware-reduced means that the guest has no legacy interrupts: every device says its
 * own in _CRS.  The boot flags say that there is no CMOS clock: without that Linux polls
 * absent ports.
 */
#include <string.h>

#include "spanvm.h"

#define SYSTEM_IO	1
#define FADT_LEN	276
#define FADT_WBINVD	BIT(0)
#define FADT_PROC_C1	BIT(2)
#define FADT_RESET	BIT(10)
#define FADT_HW_REDUCED	BIT(20)
#define BOOT_NO_VGA	BIT(2)
#define BOOT_NO_CMOS	BIT(5)

struct out {
	u8 *buf;
	size_t len, size;
	bool full;
};

static void put(struct out *o, u64 val, u32 bytes)
{
	for (; bytes; bytes--, val >>= 8) {
		if (o->len < o->size)
			o->buf[o->len++] = val;
		else
			o->full = true;
	}
}

static void put_bytes(struct out *o, const void *p, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		put(o, ((const u8 *)p)[i], 1);
}

static void set(struct out *o, size_t at, u64 val, u32 bytes)
{
	for (; bytes && at < o->size; bytes--, val >>= 8)
		o->buf[at++] = val;
}

static u8 checksum(const u8 *p, size_t n)
{
	u8 sum = 0;

	while (n--)
		sum += *p++;
	return -sum;
}

static size_t begin(struct out *o, const char *sig, u8 rev)
{
	size_t at;

	while (o->len % 16)
		put(o, 0, 1);
	at = o->len;
	put_bytes(o, sig, 4);
	put(o, 0, 4);			/* length */
	put(o, rev, 1);
	put(o, 0, 1);			/* checksum */
	put_bytes(o, "NUMASP", 6);
	put_bytes(o, "SPANVM  ", 8);
	put(o, 1, 4);
	put_bytes(o, "NSPN", 4);
	put(o, 1, 4);
	return at;
}

static void end(struct out *o, size_t at)
{
	set(o, at + 4, o->len - at, 4);
	if (!o->full)
		o->buf[at + 9] = checksum(o->buf + at, o->len - at);
}

/* AML of a serial port.  The number after an opcode that opens something is its length. */
static const u8 serial[] = {
	0x5b, 0x82, 50, 'C', 'O', 'M', 0,			/* Device */
	0x08, '_', 'H', 'I', 'D', 0x0c, 0x41, 0xd0, 0x05, 0x01,	/* EisaId ("PNP0501") */
	0x08, '_', 'U', 'I', 'D', 0x0a, 0,
	0x08, '_', 'C', 'R', 'S', 0x11, 22, 0x0a, 19,		/* Buffer (19) */
	0x47, 1, 0, 0, 0, 0, 1, 8,	/* IO, 16 bits decoded */
	0x89, 6, 0, 3, 1, 0, 0, 0, 0,	/* interrupt: consumer, edge, active high, exclusive */
	0x79, 0,			/* end, no checksum */
};

#define SCOPE_LEN	(7 + 2 * sizeof(serial))

static void put_serial(struct out *o, u8 uid, u16 port, u8 irq)
{
	size_t at = o->len;

	put_bytes(o, serial, sizeof(serial));
	set(o, at + 6, '0' + uid, 1);
	set(o, at + 23, uid, 1);
	set(o, at + 35, port, 2);
	set(o, at + 37, port, 2);
	set(o, at + 46, irq, 4);
}

static size_t dsdt(struct out *o)
{
	static const u8 scope[] = {
		0x10, 0x40 | SCOPE_LEN % 16, SCOPE_LEN / 16, '\\', '_', 'S', 'B', '_',
	};
	static const u8 s5[] = {
		0x08, '\\', '_', 'S', '5', '_', 0x12, 8, 4, 0x0a, SLEEP_S5, 0x0a, SLEEP_S5, 0, 0,
	};
	size_t at = begin(o, "DSDT", 2);

	put_bytes(o, scope, sizeof(scope));
	put_serial(o, 1, PORT_COM1, IRQ_COM1);
	put_serial(o, 2, PORT_COM2, IRQ_COM2);
	put_bytes(o, s5, sizeof(s5));
	end(o, at);
	return at;
}

static void gas(struct out *o, size_t at, u16 port)
{
	set(o, at, SYSTEM_IO | 8 << 8 | 0 << 16 | 1U << 24, 4);
	set(o, at + 4, port, 8);
}

static size_t fadt(struct out *o, u64 dsdt_gpa)
{
	size_t at = begin(o, "FACP", 6);

	while (o->len < at + FADT_LEN && !o->full)
		put(o, 0, 1);
	set(o, at + 40, dsdt_gpa, 4);
	set(o, at + 45, 4, 1);			/* profile: enterprise server */
	set(o, at + 109, BOOT_NO_VGA | BOOT_NO_CMOS, 2);
	set(o, at + 112, FADT_WBINVD | FADT_PROC_C1 | FADT_RESET | FADT_HW_REDUCED, 4);
	gas(o, at + 116, PORT_POWER + 2);
	set(o, at + 128, RESET_VALUE, 1);
	set(o, at + 131, 3, 1);			/* 6.3 */
	set(o, at + 140, dsdt_gpa, 8);
	gas(o, at + 244, PORT_POWER);
	gas(o, at + 256, PORT_POWER + 1);
	end(o, at);
	return at;
}

static u32 apic_id_of(const struct config *c, u32 node, u32 i)
{
	return node << c->apic_shift | i;
}

static size_t madt(struct out *o, const struct config *c)
{
	size_t at = begin(o, "APIC", 5);
	u32 n, i;

	put(o, 0xfee00000, 4);
	put(o, 0, 4);
	for (n = 0; n < c->nr_nodes; n++) {
		for (i = 0; i < c->nodes[n].cpus; i++) {
			put(o, 9 | 16 << 8, 4);	/* local x2APIC */
			put(o, apic_id_of(c, n, i), 4);
			put(o, 1, 4);
			put(o, c->nodes[n].first_cpu + i, 4);
		}
	}
	put(o, 1 | 12 << 8, 4);			/* IOAPIC 0 */
	put(o, IOAPIC_BASE, 4);
	put(o, 0, 4);
	end(o, at);
	return at;
}

static void srat_memory(struct out *o, u32 node, u64 gpa, u64 len)
{
	put(o, 1 | 40 << 8, 2);
	put(o, node, 4);
	put(o, 0, 2);
	put(o, gpa, 8);
	put(o, len, 8);
	put(o, 0, 4);
	put(o, 1, 4);
	put(o, 0, 8);
}

static size_t srat(struct out *o, const struct config *c)
{
	size_t at = begin(o, "SRAT", 3);
	u64 start, len, below;
	u32 n, i;

	put(o, 1, 4);
	put(o, 0, 8);
	for (n = 0; n < c->nr_nodes; n++) {
		for (i = 0; i < c->nodes[n].cpus; i++) {
			put(o, 2 | 24 << 8, 4);
			put(o, n, 4);
			put(o, apic_id_of(c, n, i), 4);
			put(o, 1, 4);
			put(o, 0, 8);
		}
		start = c->nodes[n].first_page * PAGE_SIZE;
		len = c->nodes[n].memory;
		below = start >= RAM_HOLE ? 0 : RAM_HOLE - start < len ? RAM_HOLE - start : len;
		if (below)
			srat_memory(o, n, start, below);
		if (len > below)
			srat_memory(o, n, page_to_gpa((start + below) / PAGE_SIZE), len - below);
	}
	end(o, at);
	return at;
}

static size_t slit(struct out *o, const struct config *c)
{
	size_t at = begin(o, "SLIT", 1);
	u32 i, j;

	put(o, c->nr_nodes, 8);
	for (i = 0; i < c->nr_nodes; i++)
		for (j = 0; j < c->nr_nodes; j++)
			put(o, i == j ? 10 : 20, 1);
	end(o, at);
	return at;
}

/**
 * acpi_build - build all tables
 * @c: the span's configuration
 * @buf: where, the RSDP comes first
 * @gpa: where the guest sees @buf
 * @size: of @buf
 *
 * Return: bytes used, or 0 when they do not fit.
 */
size_t acpi_build(const struct config *c, u8 *buf, u64 gpa, size_t size)
{
	struct out o = { .buf = buf, .size = size, .len = 48 };
	size_t table[4], at, xsdt;
	u32 i;

	at = dsdt(&o);
	table[0] = fadt(&o, gpa + at);
	table[1] = madt(&o, c);
	table[2] = srat(&o, c);
	table[3] = slit(&o, c);
	xsdt = begin(&o, "XSDT", 1);
	for (i = 0; i < ARRAY_SIZE(table); i++)
		put(&o, gpa + table[i], 8);
	end(&o, xsdt);
	if (o.full)
		return 0;
	memset(buf, 0, 48);
	memcpy(buf, "RSD PTR ", 8);
	memcpy(buf + 9, "NUMASP", 6);
	buf[15] = 2;
	buf[20] = 36;
	set(&o, 24, gpa + xsdt, 8);
	buf[8] = checksum(buf, 20);
	buf[32] = checksum(buf, 36);
	return o.len;
}
