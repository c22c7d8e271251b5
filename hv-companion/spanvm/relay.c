// SPDX-License-Identifier: GPL-2.0-only
/*
 * Port and memory-mapped I/O.  The devices are node 0's: an access on another node is sent
 * there, and its vCPU waits for the answer; what no device has reads as all ones and is
 * answered where it happens.  A vCPU has one access under way at most, named by a number
 * that it counts up, so a late answer cannot be taken for another.
 */
#include <time.h>

#include "spanvm.h"

enum device { D_NONE, D_COM1, D_COM2, D_RTC, D_POWER, D_STATUS, D_IOAPIC };

static const struct {
	bool mmio;
	u64 start, len;
	enum device dev;
} ranges[] = {
	{ false, PORT_COM1, 8, D_COM1 }, { false, PORT_COM2, 8, D_COM2 },
	{ false, PORT_RTC, 2, D_RTC }, { false, PORT_POWER, 3, D_POWER },
	{ true, IOAPIC_BASE, PAGE_SIZE, D_IOAPIC },
};

static enum device find_range(bool mmio, u64 addr, u32 *off)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		*off = addr - ranges[i].start;
		if (mmio == ranges[i].mmio && addr - ranges[i].start < ranges[i].len)
			return ranges[i].dev;
	}
	return D_NONE;
}

/**
 * port_is_taken - has a device this port?
 * @port: the port
 *
 * Return: whether one has.
 */
bool port_is_taken(u32 port)
{
	u32 off;

	return find_range(false, port, &off) != D_NONE || port == PORT_KBD ||
	       port - PORT_CALL < 4;
}

static enum device find(const struct config *c, bool mmio, u64 addr, u32 *off)
{
	if (!mmio && c->status_port >= 0 && addr == (u64)c->status_port)
		return D_STATUS;
	return find_range(mmio, addr, off);
}

static u8 bcd(u32 n)
{
	return n / 10 << 4 | n % 10;
}

static u8 rtc_read(u8 index)
{
	time_t now = time(NULL);
	struct tm tm = *gmtime_r(&now, &(struct tm){ 0 });
	const u8 regs[0x80] = {
		[0x00] = bcd(tm.tm_sec), [0x02] = bcd(tm.tm_min), [0x04] = bcd(tm.tm_hour),
		[0x06] = tm.tm_wday + 1, [0x07] = bcd(tm.tm_mday), [0x08] = bcd(tm.tm_mon + 1),
		[0x09] = bcd(tm.tm_year % 100), [0x32] = bcd(tm.tm_year / 100 + 19),
		[0x0a] = 0x26, [0x0b] = 0x02, [0x0d] = 0x80,	/* BCD, 24 hours, valid */
	};

	return regs[index];
}

/* On node 0. */
static u64 access_device(struct vmm *vm, enum device dev, u32 off, u64 val, bool write)
{
	GUARD(&vm->dev_lock);

	switch (dev) {
	case D_COM1:
	case D_COM2:
		if (!write)
			return uart_read(vm, &vm->uarts[dev == D_COM2], off);
		uart_write(vm, &vm->uarts[dev == D_COM2], off, val);
		break;
	case D_RTC:
		if (!write)
			return off ? rtc_read(vm->rtc_index) : 0xff;
		if (!off)
			vm->rtc_index = val & 0x7f;
		break;
	case D_POWER:
		if (write && off == 0 && (val & 0xff) >> 2 == (BIT(3) | SLEEP_S5))
			span_end(vm, END_POWEROFF, vm->status, true, "power-off");
		else if (write && off == 2 && (val & 0xff) == RESET_VALUE)
			span_request_reset(vm, "reset register");
		break;
	case D_STATUS:
		if (!write)
			return vm->status;
		vm->status = val & 0xff;
		break;
	case D_IOAPIC:
		if (!write)
			return ioapic_read(vm, off);
		ioapic_write(vm, off, val);
		break;
	case D_NONE:
		break;
	}
	return 0;
}

static void ask_node0(struct vcpu *v, struct msg_io *m)
{
	struct vmm *vm = v->vm;

	pthread_mutex_lock(&vm->relay_lock);
	m->id = ++v->io_id;
	v->io_wait = true;
	pthread_mutex_unlock(&vm->relay_lock);
	atomic_fetch_add(&vm->n_io_out, 1);
	link_send(vm, 0, M_IO, m);
	/* Bounded by the peer's heartbeats: without them the span ends. */
	pthread_mutex_lock(&vm->relay_lock);
	while (v->io_wait && !atomic_load(&vm->stopping))
		pthread_cond_wait(&vm->relay_cond, &vm->relay_lock);
	v->io_wait = false;
	m->data = v->io_data;
	pthread_mutex_unlock(&vm->relay_lock);
}

/**
 * io_access - a vCPU of this node accesses a port or a memory-mapped register
 * @v: the vCPU
 * @mmio: memory or port
 * @addr: its address
 * @data: what is written, or where what is read goes
 * @size: bytes, 1 to 8
 * @write: which of them
 */
void io_access(struct vcpu *v, bool mmio, u64 addr, void *data, u32 size, bool write)
{
	struct vmm *vm = v->vm;
	enum device dev;
	u64 val = 0;
	u32 off = 0;

	if (write)
		memcpy(&val, data, size);
	dev = find(vm->cfg, mmio, addr, &off);
	if (dev == D_NONE) {
		if (!write)
			memset(data, 0xff, size);
		else if (!mmio && addr == PORT_KBD && (val & 0xff) == 0xfe)
			span_request_reset(vm, "keyboard controller");
		return;
	}
	if (vm->cfg->node) {
		struct msg_io m = { .addr = addr, .data = val, .cpu = v->index, .mmio = mmio,
			.write = write, .size = size };

		ask_node0(v, &m);
		val = m.data;
	} else {
		val = access_device(vm, dev, off, val, write);
	}
	if (!write)
		memcpy(data, &val, size);
}

/**
 * relay_on_io - a vCPU of another node accesses a device of this one
 * @vm: this node
 * @from: the other node
 * @m: the message
 *
 * Return: false when the message is impossible.
 */
bool relay_on_io(struct vmm *vm, u32 from, const union msg *m)
{
	struct msg_io io = m->io;
	enum device dev;
	u32 off = 0;

	if (vm->cfg->node || io.cpu >= vm->cfg->nr_cpus || !vm->cpus ||
	    vm->cpus[io.cpu].node != from || io.mmio > 1 || io.write > 1 || !io.size ||
	    io.size > 8 || io.size & (io.size - 1))
		return false;
	dev = find(vm->cfg, io.mmio, io.addr, &off);
	if (dev == D_NONE)
		return false;
	atomic_fetch_add(&vm->n_io_in, 1);
	io.data = access_device(vm, dev, off, io.data, io.write);
	link_send(vm, from, M_IO_DONE, &io);
	return true;
}

/**
 * relay_on_done - node 0 answers an access
 * @vm: this node
 * @from: the other node
 * @m: the message
 *
 * Return: false when the message is impossible.
 */
bool relay_on_done(struct vmm *vm, u32 from, const union msg *m)
{
	const struct msg_io *io = &m->io;
	struct vcpu *v;

	if (from || io->cpu >= vm->cfg->nr_cpus || !vm->cpus)
		return false;
	v = &vm->cpus[io->cpu];
	GUARD(&vm->relay_lock);
	/* Not impossible when this node is ending: the vCPU has stopped to wait. */
	if (!v->real || !v->io_wait || v->io_id != io->id)
		return span_ended(vm);
	v->io_data = io->data;
	v->io_wait = false;
	pthread_cond_broadcast(&vm->relay_cond);
	return true;
}

/**
 * relay_abort - vCPUs that wait for an answer wait no more; vmm.stopping is set
 * @vm: this node
 */
void relay_abort(struct vmm *vm)
{
	GUARD(&vm->relay_lock);

	pthread_cond_broadcast(&vm->relay_cond);
}
