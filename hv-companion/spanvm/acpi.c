// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's ACPI tables: RSDP, XSDT, FADT (hardware-reduced, with reset and sleep
 * registers), MADT, SRAT, SLIT and a DSDT with the two serial ports and \_S5.  They are
 * built in one buffer that is the guest's memory at a given address, RSDP first.
 * Hardware-reduced means that the guest has no legacy interrupts: every device says its
 * own in _CRS.  The boot flags say that there is no CMOS clock: without that Linux polls
 * absent ports.
 */
#include <assert.h>

#include "spanvm.h"

#define SYSTEM_IO	1
#define RSDP_LEN	36
#define FADT_LEN	276
#define FADT_WBINVD	BIT(0)
#define FADT_PROC_C1	BIT(2)
#define FADT_RESET	BIT(10)
#define FADT_HW_REDUCED	BIT(20)
#define BOOT_NO_VGA	BIT(2)
#define BOOT_NO_CMOS	BIT(5)

static_assert(4096 + MAX_CPUS * (16 + 24) + (MAX_NODES + 1) * 40 + MAX_NODES * MAX_NODES <=
	      ACPI_SIZE, "the largest span's tables fit");

struct out {
	u8 *buf;
	u64 gpa;		/* of @buf */
	size_t len;
};

struct header {
	char sig[4];
	u32 len;
	u8 rev, sum;
	char oem[6], oem_table[8];
	u32 oem_rev;
	char creator[4];
	u32 creator_rev;
};

static void put(struct out *o, const void *p, size_t n)
{
	memcpy(o->buf + o->len, p, n);
	o->len += n;
}

/* Most of what tables consist of: 32 bits each, or two fields in them */
#define PUT(o, ...) put(o, (const u32[]){ __VA_ARGS__ }, sizeof((const u32[]){ __VA_ARGS__ }))

static void set(u8 *p, u64 val, u32 bytes)
{
	memcpy(p, &val, bytes);
}

static u8 checksum(const void *p, size_t n)
{
	u8 sum = 0;

	while (n--)
		sum += ((const u8 *)p)[n];
	return -sum;
}

static void *begin(struct out *o, const char *sig, u8 rev)
{
	struct header h = { .rev = rev, .oem = "NUMASP", .oem_table = "SPANVM  ", .oem_rev = 1,
		.creator = "NSPN", .creator_rev = 1 };

	memcpy(h.sig, sig, sizeof(h.sig));
	o->len = (o->len + 15) & ~15UL;
	put(o, &h, sizeof(h));
	return o->buf + o->len - sizeof(h);
}

/* Returns where the guest sees the table. */
static u64 end(struct out *o, struct header *h)
{
	h->len = o->buf + o->len - (u8 *)h;
	h->sum = checksum(h, h->len);
	return o->gpa + ((u8 *)h - o->buf);
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
	u8 *aml = o->buf + o->len;

	put(o, serial, sizeof(serial));
	aml[6] = '0' + uid;
	aml[23] = uid;
	set(aml + 35, port, 2);
	set(aml + 37, port, 2);
	aml[46] = irq;
}

static u64 dsdt(struct out *o)
{
	static const u8 scope[] = {
		0x10, 0x40 | SCOPE_LEN % 16, SCOPE_LEN / 16, '\\', '_', 'S', 'B', '_',
	};
	static const u8 s5[] = {
		0x08, '\\', '_', 'S', '5', '_', 0x12, 8, 4, 0x0a, SLEEP_S5, 0x0a, SLEEP_S5, 0, 0,
	};
	void *t = begin(o, "DSDT", 2);

	put(o, scope, sizeof(scope));
	put_serial(o, 1, PORT_COM1, IRQ_COM1);
	put_serial(o, 2, PORT_COM2, IRQ_COM2);
	put(o, s5, sizeof(s5));
	return end(o, t);
}

static void gas(u8 *p, u16 port)
{
	set(p, SYSTEM_IO | 8 << 8 | 0 << 16 | 1U << 24, 4);
	set(p + 4, port, 8);
}

static u64 fadt(struct out *o, u64 dsdt_gpa)
{
	static const u8 zero[FADT_LEN - sizeof(struct header)];
	u8 *t = begin(o, "FACP", 6);

	put(o, zero, sizeof(zero));
	set(t + 40, dsdt_gpa, 4);
	t[45] = 4;				/* profile: enterprise server */
	set(t + 109, BOOT_NO_VGA | BOOT_NO_CMOS, 2);
	set(t + 112, FADT_WBINVD | FADT_PROC_C1 | FADT_RESET | FADT_HW_REDUCED, 4);
	gas(t + 116, PORT_POWER + 2);
	t[128] = RESET_VALUE;
	t[131] = 3;				/* 6.3 */
	set(t + 140, dsdt_gpa, 8);
	gas(t + 244, PORT_POWER);
	gas(t + 256, PORT_POWER + 1);
	return end(o, (void *)t);
}

static u64 madt(struct out *o, const struct config *c)
{
	void *t = begin(o, "APIC", 5);
	u32 n, i;

	PUT(o, 0xfee00000, 0);
	for (n = 0; n < c->nr_nodes; n++)
		for (i = 0; i < c->nodes[n].cpus; i++)	/* local x2APIC */
			PUT(o, 9 | 16 << 8, n << c->apic_shift | i, 1, c->nodes[n].first_cpu + i);
	PUT(o, 1 | 12 << 8, IOAPIC_BASE, 0);
	return end(o, t);
}

static void srat_memory(struct out *o, u32 node, u64 gpa, u64 len)
{
	PUT(o, 1 | 40 << 8 | node << 16, 0, gpa, gpa >> 32, len, len >> 32, 0, 1, 0, 0);
}

static u64 srat(struct out *o, const struct config *c)
{
	void *t = begin(o, "SRAT", 3);
	u64 start, len, below;
	u32 n, i;

	PUT(o, 1, 0, 0);
	for (n = 0; n < c->nr_nodes; n++) {
		for (i = 0; i < c->nodes[n].cpus; i++)
			PUT(o, 2 | 24 << 8, n, n << c->apic_shift | i, 1, 0, 0);
		start = c->nodes[n].first_page * PAGE_SIZE;
		len = c->nodes[n].memory;
		below = start >= RAM_HOLE ? 0 : RAM_HOLE - start < len ? RAM_HOLE - start : len;
		if (below)
			srat_memory(o, n, start, below);
		if (len > below)
			srat_memory(o, n, page_to_gpa((start + below) / PAGE_SIZE), len - below);
	}
	return end(o, t);
}

/*
 * Another machine is far: tasks that move take all that they touch with them.  Beyond a distance of
 * 30 (node_reclaim_distance; 32 on Zen) Linux does not fork, execute or wake them elsewhere.
 */
static u64 slit(struct out *o, const struct config *c)
{
	void *t = begin(o, "SLIT", 1);
	u32 i, j;

	PUT(o, c->nr_nodes, 0);
	for (i = 0; i < c->nr_nodes; i++)
		for (j = 0; j < c->nr_nodes; j++)
			put(o, i == j ? "\x0a" : "\x64", 1);
	return end(o, t);
}

/**
 * acpi_build - build all tables
 * @c: the span's configuration
 * @buf: where, ACPI_SIZE bytes; the RSDP comes first
 * @gpa: where the guest sees @buf
 */
void acpi_build(const struct config *c, u8 *buf, u64 gpa)
{
	struct out o = { .buf = buf, .gpa = gpa, .len = RSDP_LEN };
	u64 tables[4];
	void *xsdt;

	tables[0] = fadt(&o, dsdt(&o));
	tables[1] = madt(&o, c);
	tables[2] = srat(&o, c);
	tables[3] = slit(&o, c);
	xsdt = begin(&o, "XSDT", 1);
	put(&o, tables, sizeof(tables));
	memset(buf, 0, RSDP_LEN);
	/* Its checksum is where the NUL is; the last byte is the revision. */
	memcpy(buf, "RSD PTR \0NUMASP\2", 16);
	buf[20] = RSDP_LEN;
	set(buf + 24, end(&o, xsdt), 8);
	buf[8] = checksum(buf, 20);
	buf[32] = checksum(buf, RSDP_LEN);
}
