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

/* AML.  A package length is always written in its four-byte form. */
static size_t aml_open(struct out *o)
{
	size_t at = o->len;

	put(o, 0, 4);
	return at;
}

static void aml_close(struct out *o, size_t at)
{
	size_t n = o->len - at;

	set(o, at, 0xc0 | (n & 0xf), 1);
	set(o, at + 1, n >> 4, 3);
}

static void aml_serial(struct out *o, const char *name, u8 uid, u16 port, u8 irq)
{
	size_t dev, buf, size;

	put(o, 0x825b, 2);			/* Device */
	dev = aml_open(o);
	put_bytes(o, name, 4);
	put(o, 0x08, 1);			/* Name (_HID, EisaId ("PNP0501")) */
	put_bytes(o, "_HID\x0c\x41\xd0\x05\x01", 9);
	put(o, 0x08, 1);
	put_bytes(o, "_UID\x0a", 5);
	put(o, uid, 1);
	put(o, 0x08, 1);
	put_bytes(o, "_CRS\x11", 5);		/* Buffer */
	buf = aml_open(o);
	put(o, 0x0a, 1);
	size = o->len;
	put(o, 0, 1);
	put(o, 0x0147, 2);			/* IO, 16 bits decoded */
	put(o, port, 2);
	put(o, port, 2);
	put(o, 1, 1);
	put(o, 8, 1);
	put(o, 0x000689, 3);			/* extended interrupt, 6 bytes */
	put(o, 0x03, 1);			/* consumer, edge, active high, exclusive */
	put(o, 1, 1);
	put(o, irq, 4);
	put(o, 0x0079, 2);			/* end, no checksum */
	set(o, size, o->len - size - 1, 1);
	aml_close(o, buf);
	aml_close(o, dev);
}

static size_t dsdt(struct out *o)
{
	size_t at = begin(o, "DSDT", 2), scope;

	put(o, 0x10, 1);			/* Scope (\_SB) */
	scope = aml_open(o);
	put_bytes(o, "\\_SB_", 5);
	aml_serial(o, "COM1", 1, PORT_COM1, IRQ_COM1);
	aml_serial(o, "COM2", 2, PORT_COM2, IRQ_COM2);
	aml_close(o, scope);
	put(o, 0x08, 1);			/* Name (\_S5, Package () { 5, 5, 0, 0 }) */
	put_bytes(o, "\\_S5_\x12", 6);
	scope = aml_open(o);
	put(o, 4, 1);
	put(o, 0x0a | SLEEP_S5 << 8, 2);
	put(o, 0x0a | SLEEP_S5 << 8, 2);
	put(o, 0, 2);
	aml_close(o, scope);
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
