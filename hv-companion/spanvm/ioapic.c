// SPDX-License-Identifier: GPL-2.0-only
/*
 * The I/O APIC of node 0 (KVM's irqchip is split: the local APICs are in the kernel, this
 * is not).  All pins are edge-triggered, as the DSDT says of every device: a rising line
 * sends the pin's message once.  A message for a vCPU of another node goes straight to
 * that node, not through its proxy.  All calls are under vmm.dev_lock.
 */
#include "spanvm.h"

#define SELECT		0x00	/* offsets in its page */
#define WINDOW		0x10
#define REG_ID		0x00	/* what is selected */
#define REG_VERSION	0x01
#define REG_RTE		0x10

static void deliver(struct vmm *vm, u32 pin)
{
	const struct config *c = vm->cfg;
	const __typeof__(vm->ioapic.redirtbl[0].fields) *e = &vm->ioapic.redirtbl[pin].fields;
	const u32 node = e->dest_id >> c->apic_shift;
	struct kvm_msi msi = {
		.address_lo = 0xfee00000 | e->dest_id << 12 | e->dest_mode << 2,
		.data = e->delivery_mode << 8 | e->vector,
	};
	struct msg_msi m = { .apic_id = e->dest_id, .vector = e->vector };

	if (!e->dest_mode && e->delivery_mode <= MODE_LOWEST && node && node < c->nr_nodes &&
	    (e->dest_id & ((1U << c->apic_shift) - 1)) < c->nodes[node].cpus && e->vector >= 16)
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
	struct kvm_ioapic_state *io = &vm->ioapic;
	bool rising = level && !(vm->irq_lines & BIT(pin));

	vm->irq_lines = (vm->irq_lines & ~BIT(pin)) | (u32)level << pin;
	if (rising && io->redirtbl[pin].fields.mask)
		io->irr |= BIT(pin);
	else if (rising)
		deliver(vm, pin);
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
	struct kvm_ioapic_state *io = &vm->ioapic;
	const u32 r = io->ioregsel, pin = (r - REG_RTE) / 2;

	if (off == SELECT)
		return r;
	if (off != WINDOW)
		return 0;
	if (r == REG_ID)
		return io->id;
	if (r == REG_VERSION)
		return 0x11 | (KVM_IOAPIC_NUM_PINS - 1) << 16;
	return pin < KVM_IOAPIC_NUM_PINS ? io->redirtbl[pin].bits >> (r & 1 ? 32 : 0) : 0;
}

/**
 * ioapic_write - the guest writes
 * @vm: this node
 * @off: offset in the page
 * @val: what
 */
void ioapic_write(struct vmm *vm, u64 off, u32 val)
{
	struct kvm_ioapic_state *io = &vm->ioapic;
	const u32 r = io->ioregsel, pin = (r - REG_RTE) / 2, shift = r & 1 ? 32 : 0;

	if (off == SELECT)
		io->ioregsel = val & 0xff;
	if (off != WINDOW)
		return;
	if (r == REG_ID)
		io->id = val & 0x0f000000;
	if (pin >= KVM_IOAPIC_NUM_PINS)
		return;
	io->redirtbl[pin].bits &= ~(0xffffffffULL << shift);
	io->redirtbl[pin].bits |= (u64)val << shift;
	io->redirtbl[pin].fields.delivery_status = 0;
	io->redirtbl[pin].fields.remote_irr = 0;
	/* An edge that came while the pin was masked is delivered now. */
	if (!io->redirtbl[pin].fields.mask && io->irr & BIT(pin)) {
		io->irr &= ~BIT(pin);
		deliver(vm, pin);
	}
}

/**
 * ioapic_reset - the state after power-on
 * @vm: this node, of which nothing is set yet
 */
void ioapic_reset(struct vmm *vm)
{
	u32 i;

	for (i = 0; i < KVM_IOAPIC_NUM_PINS; i++)
		vm->ioapic.redirtbl[i].fields.mask = 1;
}
