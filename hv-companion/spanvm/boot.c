// SPDX-License-Identifier: GPL-2.0-only
/*
 * Puts a Linux bzImage, its initrd, its command line, the ACPI tables and boot_params into
 * node 0's memory, and gives the first vCPU the state that the 64-bit boot protocol asks
 * for.  Only node 0 does this, after the memory has started; everything lies below node
 * 0's end and below 3 GiB.
 */
#include <asm/bootparam.h>
#include <sys/stat.h>

#include "spanvm.h"

#define PARAMS_GPA	0x7000ULL
#define TABLES_GPA	0x10000ULL	/* PML4, PDPT, four page directories */
#define CMDLINE_GPA	0x20000ULL
#define LOWMEM_END	0x9fc00ULL
#define BIOS_GPA	0xffff0ULL
#define HIGHMEM		0x100000ULL
#define KERNEL_GPA	0x1000000ULL
#define HDR_MAGIC	0x53726448	/* "HdrS" */
#define SETUP_OFF	0x1f1
#define ENTRY64		0x200

/* The part of the file that the checks below read. */
static int read_header(const char *path, struct setup_header *h)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	u8 buf[4096];
	ssize_t n = read(fd, buf, sizeof(buf));
	size_t len;

	close(fd);
	if (n < SETUP_OFF + (ssize_t)sizeof(*h))
		return -1;
	memset(h, 0, sizeof(*h));
	/* The header ends where the jump at its offset 0x200 leads. */
	len = 0x202 + buf[0x201] - SETUP_OFF;
	memcpy(h, buf + SETUP_OFF, len < sizeof(*h) ? len : sizeof(*h));
	return h->boot_flag == 0xaa55 && h->header == HDR_MAGIC && h->version >= 0x020c &&
	       h->xloadflags & XLF_KERNEL_64 ? 0 : -1;
}

/**
 * boot_check_kernel - is a file a kernel that can be booted?
 * @path: the file
 *
 * Return: whether it is.
 */
bool boot_check_kernel(const char *path)
{
	struct setup_header h;

	return !read_header(path, &h);
}

static s64 file_size(struct vmm *vm, const char *path)
{
	struct stat st;

	if (!stat(path, &st))
		return st.st_size;
	return span_fail(vm, "cannot read %s: %s", path, strerror(errno));
}

static int load(struct vmm *vm, const char *path, off_t from, u64 gpa, u64 len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	u8 *p = gpa_to_ptr(vm, gpa, len);
	ssize_t n;

	if (fd < 0)
		return span_fail(vm, "cannot read %s: %s", path, strerror(errno));
	if (!p || gpa + len > vm->cfg->nodes[0].memory)
		span_fail(vm, "%s of %llu bytes does not fit in node 0's memory", path, len);
	for (; len && !span_ended(vm); p += n, from += n, len -= n) {
		n = pread(fd, p, len < HUGE_SIZE ? len : HUGE_SIZE, from);
		if (n <= 0) {
			span_fail(vm, "cannot read %s: %s", path,
				  n ? strerror(errno) : "it is shorter than expected");
			break;
		}
	}
	close(fd);
	return len ? -1 : 0;
}

static int load_kernel(struct vmm *vm, struct setup_header *h)
{
	const char *path = vm->cfg->kernel;
	s64 size = file_size(vm, path), skip;

	if (size < 0)
		return -1;
	if (read_header(path, h))
		return span_fail(vm, "cannot read kernel %s", path);
	skip = ((h->setup_sects ? h->setup_sects : 4) + 1) * 512;
	if (size <= skip)
		return span_fail(vm, "kernel %s is truncated", path);
	if (h->init_size < size - skip)
		h->init_size = size - skip;
	return load(vm, path, skip, KERNEL_GPA, size - skip);
}

/* As high as it may be; below is what the kernel needs to unpack itself. */
static int load_initrd(struct vmm *vm, struct setup_header *h)
{
	u64 top = vm->cfg->nodes[0].memory < RAM_HOLE ? vm->cfg->nodes[0].memory : RAM_HOLE;
	s64 size = file_size(vm, vm->cfg->initrd);

	if (size < 0)
		return -1;
	if (top > (u64)h->initrd_addr_max + 1)
		top = (u64)h->initrd_addr_max + 1;
	if (KERNEL_GPA + h->init_size + size + PAGE_SIZE > top)
		return span_fail(vm,
				 "initrd of %lld bytes does not fit in node 0's memory beside the kernel",
				 size);
	h->ramdisk_image = (top - size) & ~(PAGE_SIZE - 1);
	h->ramdisk_size = size;
	return load(vm, vm->cfg->initrd, 0, h->ramdisk_image, size);
}

/* What is memory (1) and what is not (2). */
static void build_map(struct boot_params *bp, u64 total, u64 ring)
{
	const u64 low = total < RAM_HOLE ? total : RAM_HOLE;

	bp->e820_table[0] = (struct boot_e820_entry){ 0, LOWMEM_END, 1 };
	bp->e820_table[1] = (struct boot_e820_entry){ LOWMEM_END, HIGHMEM - LOWMEM_END, 2 };
	bp->e820_table[2] = (struct boot_e820_entry){ HIGHMEM, low - HIGHMEM, 1 };
	bp->e820_table[3] = (struct boot_e820_entry){ RAM_HIGH, total - low, 1 };
	bp->e820_entries = total > low ? 4 : 3;
	if (ring)
		bp->e820_table[bp->e820_entries++] = (struct boot_e820_entry){ RING_GPA, ring, 2 };
}

/* An identity map of the first 4 GiB in 2 MiB pages. */
static void build_tables(u64 *t)
{
	u32 i;

	memset(t, 0, 6 * PAGE_SIZE);
	t[0] = (TABLES_GPA + PAGE_SIZE) | 3;
	for (i = 0; i < 4; i++)
		t[512 + i] = (TABLES_GPA + (2 + i) * PAGE_SIZE) | 3;
	for (i = 0; i < 2048; i++)
		t[1024 + i] = i * HUGE_SIZE | 0x83;
}

/*
 * What is where a BIOS begins.  A Linux that could have been booted by EFI, but was not, and
 * finds hardware-reduced ACPI, reboots by a jump to it.
 */
static const u8 bios[] = {
	0xba, (PORT_POWER + 2) & 0xff, (PORT_POWER + 2) >> 8,	/* mov $PORT_POWER + 2, %dx */
	0xb0, RESET_VALUE,					/* mov $RESET_VALUE, %al */
	0xee,							/* out %al, (%dx) */
	0xf4,							/* hlt */
};

/**
 * boot_load - fill node 0's memory, and prepare vCPU 0
 * @vm: this node, which is node 0
 *
 * Return: 0, or -1 after span_end().
 */
int boot_load(struct vmm *vm)
{
	const struct config *c = vm->cfg;
	struct boot_params bp;

	memset(&bp, 0, sizeof(bp));
	if (load_kernel(vm, &bp.hdr))
		return -1;
	if (strlen(c->cmdline) > bp.hdr.cmdline_size)
		return span_fail(vm, "command line is longer than the kernel's %u",
				 bp.hdr.cmdline_size);
	if (c->initrd && load_initrd(vm, &bp.hdr))
		return -1;
	bp.hdr.type_of_loader = 0xff;
	bp.hdr.cmd_line_ptr = CMDLINE_GPA;
	bp.acpi_rsdp_addr = ACPI_GPA;
	build_map(&bp, c->pages * PAGE_SIZE, ring_size(c));
	memcpy(gpa_to_ptr(vm, PARAMS_GPA, sizeof(bp)), &bp, sizeof(bp));
	memcpy(gpa_to_ptr(vm, CMDLINE_GPA, 2048), c->cmdline, strlen(c->cmdline) + 1);
	memcpy(gpa_to_ptr(vm, BIOS_GPA, sizeof(bios)), bios, sizeof(bios));
	build_tables(gpa_to_ptr(vm, TABLES_GPA, 6 * PAGE_SIZE));
	acpi_build(c, gpa_to_ptr(vm, ACPI_GPA, ACPI_SIZE), ACPI_GPA);
	return vcpu_boot_state(&vm->cpus[0], KERNEL_GPA + ENTRY64, PARAMS_GPA, TABLES_GPA);
}
