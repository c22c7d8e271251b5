// SPDX-License-Identifier: GPL-2.0-only
/*
 * The I/O APIC of node 0 (KVM's irqchip is split: the local APICs are in the kernel, this
 * is not).  All pins are edge-triggered, as the DSDT says of every device: a rising line
 * sends the pin's message once.  A message for a vCPU of another node goes straight to
 * that node, not through its proxy.  All calls are under vmm.dev_lock.
 */
#include <string.h>
#include <sys/ioctl.h>

#include "spanvm.h"

#define REG_ID		0x00
#define REG_VERSION	0x01
#define REG_RTE		0x10
#define RTE_MASKED	BIT_ULL(16)
#define RTE_PENDING	BIT_ULL(12)
#define RTE_REMOTE_IRR	BIT_ULL(14)
#define RTE_LOGICAL	BIT_ULL(11)
#define MODE_LOWEST	1

static void deliver(struct vmm *vm, u64 rte)
{
	const struct config *c = vm->cfg;
	const u32 dest = rte >> 56;
	const u8 mode = rte >> 8 & 7, vector = rte;
	const u32 node = dest >> c->apic_shift;
	struct kvm_msi msi = {
		.address_lo = 0xfee00000 | dest << 12 | (rte & RTE_LOGICAL ? 4 : 0),
		.data = mode << 8 | vector,
	};
	struct msg_msi m = { .apic_id = dest, .vector = vector };

	if (!(rte & RTE_LOGICAL) && mode <= MODE_LOWEST && node && node < c->nr_nodes &&
	    (dest & ((1U << c->apic_shift) - 1)) < c->nodes[node].cpus && vector >= 16)
		link_send(vm, node, M_MSI, &m);
	else
		ioctl(vm->fd, KVM_SIGNAL_MSI, &msi);
}

/**
 * ioapic_set - a device sets the level of its line
 * @vm: this node
 * @pin: the line
 * @level: its new level
 */
void ioapic_set(struct vmm *vm, u32 pin, bool level)
{
	struct ioapic *io = &vm->ioapic;
	bool rising = level && !io->level[pin];

	io->level[pin] = level;
	if (!rising)
		return;
	if (io->rte[pin] & RTE_MASKED)
		io->rte[pin] |= RTE_PENDING;
	else
		deliver(vm, io->rte[pin]);
}

/**
 * ioapic_read - the guest reads
 * @vm: this node
 * @off: offset in the page
 *
 * Return: the register.
 */
u32 ioapic_read(struct vmm *vm, u64 off)
{
	struct ioapic *io = &vm->ioapic;
	u32 r = io->select;

	if (off == 0)
		return r;
	if (off != 0x10)
		return 0;
	if (r == REG_ID)
		return io->id;
	if (r == REG_VERSION)
		return 0x11 | (IOAPIC_PINS - 1) << 16;
	if (r < REG_RTE || r >= REG_RTE + 2 * IOAPIC_PINS)
		return 0;
	return (io->rte[(r - REG_RTE) / 2] & ~RTE_PENDING) >> (r & 1 ? 32 : 0);
}

/**
 * ioapic_write - the guest writes
 * @vm: this node
 * @off: offset in the page
 * @val: what
 */
void ioapic_write(struct vmm *vm, u64 off, u32 val)
{
	struct ioapic *io = &vm->ioapic;
	u32 r = io->select;
	u64 *rte;

	if (off == 0)
		io->select = val & 0xff;
	if (off != 0x10)
		return;
	if (r == REG_ID)
		io->id = val & 0x0f000000;
	if (r < REG_RTE || r >= REG_RTE + 2 * IOAPIC_PINS)
		return;
	rte = &io->rte[(r - REG_RTE) / 2];
	if (r & 1) {
		*rte = (*rte & 0xffffffff) | (u64)val << 32;
		return;
	}
	*rte = (*rte & (0xffffffff00000000ULL | RTE_PENDING)) |
	       (val & ~(u32)(RTE_PENDING | RTE_REMOTE_IRR));
	/* An edge that came while the pin was masked is delivered now. */
	if (!(*rte & RTE_MASKED) && *rte & RTE_PENDING) {
		*rte &= ~RTE_PENDING;
		deliver(vm, *rte);
	}
}

/**
 * ioapic_reset - the state after power-on
 * @vm: this node
 */
void ioapic_reset(struct vmm *vm)
{
	u32 i;

	memset(&vm->ioapic, 0, sizeof(vm->ioapic));
	for (i = 0; i < IOAPIC_PINS; i++)
		vm->ioapic.rte[i] = RTE_MASKED;
}
