// SPDX-License-Identifier: GPL-2.0-only
/*
 * The vCPUs that run on this node: their threads, their exits, and interrupts that other
 * nodes sent for them.  A thread is stopped or asked for something by a flag, then
 * immediate_exit, then a signal; it clears immediate_exit before it reads the flags, so no
 * request is lost.
 */
#include <sched.h>
#include <time.h>

#include "spanvm.h"

/**
 * vcpu_call - an ioctl of a vCPU that has to succeed; use VCPU_CALL()
 * @v: the vCPU
 * @request: which
 * @arg: its argument
 * @what: its name
 *
 * Return: 0, or -1 after span_end().
 */
int vcpu_call(struct vcpu *v, unsigned long request, u64 arg, const char *what)
{
	if (ioctl(v->fd, request, arg) >= 0)
		return 0;
	return span_fail(v->vm, "CPU %u: %s: %s", v->index, what, strerror(errno));
}

/**
 * vcpu_set_msr - set a model-specific register
 * @v: the vCPU, which is not running
 * @index: which
 * @data: to what
 *
 * Return: 0, or -1 after span_end().
 */
int vcpu_set_msr(struct vcpu *v, u32 index, u64 data)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry msr;
	} m = { .head.nmsrs = 1, .msr = { .index = index, .data = data } };

	if (ioctl(v->fd, KVM_SET_MSRS, &m) == 1)
		return 0;
	return span_fail(v->vm, "CPU %u: cannot set MSR %x: %s", v->index, index, strerror(errno));
}

/**
 * vcpu_set_tsc_offset - the guest's TSC on a vCPU becomes the host's plus vmm.tsc_offset
 * @v: the vCPU, which is not running
 *
 * Return: 0, or -1 after span_end().
 */
int vcpu_set_tsc_offset(struct vcpu *v)
{
	u64 offset = atomic_load(&v->vm->tsc_offset);
	struct kvm_device_attr a = { .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uintptr_t)&offset };

	return VCPU_CALL(v, KVM_SET_DEVICE_ATTR, &a);
}

/**
 * vcpu_kicked - what a kicked vCPU has to do
 * @v: the vCPU, whose thread calls
 */
void vcpu_kicked(struct vcpu *v)
{
	if (atomic_exchange(&v->retime, false))
		vcpu_set_tsc_offset(v);
	if (v->real && v->vm->cfg->clear_end)
		guest_find_clear_code(v);
}

static struct kvm_segment flat(u8 type, u16 selector, bool code)
{
	return (struct kvm_segment){ .limit = ~0U, .selector = selector, .type = type,
		.present = 1, .s = 1, .g = 1, .l = code, .db = !code };
}

/**
 * vcpu_boot_state - put a vCPU at the 64-bit entry of a kernel
 * @v: the vCPU
 * @entry: its address
 * @boot_params: its argument
 * @cr3: page tables that map it to itself
 *
 * Return: 0, or -1 after span_end().
 */
int vcpu_boot_state(struct vcpu *v, u64 entry, u64 boot_params, u64 cr3)
{
	struct kvm_regs r = { .rip = entry, .rsi = boot_params, .rflags = 2 };
	struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct kvm_sregs s;

	if (VCPU_CALL(v, KVM_GET_SREGS, &s))
		return -1;
	s.cs = flat(11, 0x10, true);
	s.ds = flat(3, 0x18, false);
	s.es = s.ds;
	s.fs = s.ds;
	s.gs = s.ds;
	s.ss = s.ds;
	s.cr0 = 0x80000033;			/* PG, NE, ET, MP, PE */
	s.cr3 = cr3;
	s.cr4 = 0x20;				/* PAE */
	s.efer = 0x500;				/* LMA, LME */
	return VCPU_CALL(v, KVM_SET_SREGS, &s) || VCPU_CALL(v, KVM_SET_REGS, &r) ||
	       VCPU_CALL(v, KVM_SET_MP_STATE, &mp) ? -1 : 0;
}

static void vcpu_died(struct vcpu *v, const char *what, u64 detail)
{
	struct kvm_regs r = { 0 };

	ioctl(v->fd, KVM_GET_REGS, &r);
	span_fail(v->vm, "CPU %u: %s %llx at rip %llx", v->index, what, detail, r.rip);
}

static void do_io(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	u8 *data = (u8 *)run + run->io.data_offset;
	u32 i;

	if (run->io.port == PORT_CALL && run->io.direction == KVM_EXIT_IO_OUT && run->io.size == 4)
		guest_call(v, *(u32 *)data);
	for (i = 0; i < run->io.count; i++, data += run->io.size)
		io_access(v, false, run->io.port, data, run->io.size,
			  run->io.direction == KVM_EXIT_IO_OUT);
}

static void handle_exit(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	char why[40];

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		do_io(v);
		break;
	case KVM_EXIT_MMIO:
		io_access(v, true, run->mmio.phys_addr, run->mmio.data, run->mmio.len,
			  run->mmio.is_write);
		break;
	case KVM_EXIT_SHUTDOWN:
		snprintf(why, sizeof(why), "triple fault of CPU %u", v->index);
		span_request_reset(v->vm, why);
		break;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
	case KVM_EXIT_IOAPIC_EOI:
		break;
	case KVM_EXIT_FAIL_ENTRY:
		vcpu_died(v, "KVM_EXIT_FAIL_ENTRY",
			  run->fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		vcpu_died(v, "KVM_EXIT_INTERNAL_ERROR", run->internal.suberror);
		break;
	default:
		vcpu_died(v, "unexpected exit", run->exit_reason);
	}
}

static void run_failed(struct vcpu *v)
{
	char what[40];

	snprintf(what, sizeof(what), "KVM_RUN of CPU %u", v->index);
	if (errno == EFAULT)
		mem_failed(v->vm, what);
	else
		span_fail(v->vm, "%s: %s", what, strerror(errno));
}

/**
 * vcpu_main - the thread of a real vCPU
 * @arg: struct vcpu
 *
 * Return: NULL.
 */
void *vcpu_main(void *arg)
{
	struct vcpu *v = arg;
	struct vmm *vm = v->vm;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIG_KICK);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	/* What a vCPU does after a power-off or a reset is nobody's business. */
	while (!atomic_load(&vm->stopping) && !span_ended(vm) && !atomic_load(&vm->reset_asked)) {
		if (!ioctl(v->fd, KVM_RUN, 0)) {
			handle_exit(v);
		} else if (errno == EINTR) {
			v->run->immediate_exit = 0;
			atomic_thread_fence(memory_order_seq_cst);
			vcpu_kicked(v);
		} else if (errno != EAGAIN) {
			run_failed(v);
			break;
		}
	}
	return NULL;
}

/**
 * vcpu_kick - make a vCPU's thread look at its flags
 * @v: the vCPU, real or proxy
 */
void vcpu_kick(struct vcpu *v)
{
	if (!v->thread_up)
		return;
	atomic_thread_fence(memory_order_seq_cst);
	if (v->real)
		v->run->immediate_exit = 1;
	pthread_kill(v->thread, SIG_KICK);
}

static void pin(struct vcpu *v)
{
	const struct node_cfg *n = &v->vm->cfg->nodes[v->node];
	cpu_set_t set;
	int r;

	if (!v->real || !n->nr_pin)
		return;
	CPU_ZERO(&set);
	CPU_SET(n->pin[v->index - n->first_cpu], &set);
	r = pthread_setaffinity_np(v->thread, sizeof(set), &set);
	if (r)
		span_fail(v->vm, "cannot bind CPU %u to host CPU %u: %s", v->index,
			  n->pin[v->index - n->first_cpu], strerror(r));
}

/**
 * vcpus_start - start the threads of the real vCPUs or of the proxies
 * @vm: this node
 * @real: which
 *
 * Return: 0, or -1 after span_end().
 */
int vcpus_start(struct vmm *vm, bool real)
{
	u32 i;
	int r;

	for (i = 0; i < vm->cfg->nr_cpus; i++) {
		struct vcpu *v = &vm->cpus[i];
		char name[20];

		if (v->real != real)
			continue;
		if (!real && proxy_arm(v))
			return -1;
		r = pthread_create(&v->thread, NULL, real ? vcpu_main : proxy_main, v);
		if (r)
			return span_fail(vm, "cannot start a thread for CPU %u: %s", i,
					 strerror(r));
		v->thread_up = true;
		snprintf(name, sizeof(name), "%s-%u", real ? "cpu" : "proxy", i);
		pthread_setname_np(v->thread, name);
		pin(v);
	}
	return span_ended(vm) ? -1 : 0;
}

/**
 * vcpus_join - wait for all vCPU threads to end; vm->stopping is set
 * @vm: this node
 *
 * Return: 0, or -1 when one does not end in time.
 */
int vcpus_join(struct vmm *vm)
{
	struct timespec ts;
	int failed = 0;
	u32 i;

	if (!vm->cpus)
		return 0;
	for (i = 0; i < vm->cfg->nr_cpus; i++)
		vcpu_kick(&vm->cpus[i]);
	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += (vm->cfg->timeout_ms + 999) / 1000;
	for (i = 0; i < vm->cfg->nr_cpus; i++) {
		struct vcpu *v = &vm->cpus[i];

		if (!v->thread_up)
			continue;
		v->thread_up = pthread_timedjoin_np(v->thread, NULL, &ts);
		if (v->thread_up) {
			say(vm, "the thread of CPU %u did not end in %u ms", i,
			    vm->cfg->timeout_ms);
			failed = -1;
		}
	}
	return failed;
}

/**
 * vcpu_on_msi - another node sent an interrupt for a vCPU that runs here
 * @vm: this node
 * @from: the other node
 * @m: the message
 *
 * Return: false when the message is impossible.
 */
bool vcpu_on_msi(struct vmm *vm, u32 from, const union msg *m)
{
	const struct config *c = vm->cfg;
	const struct msg_msi *i = &m->msi;
	u32 cpu = i->apic_id & ((1U << c->apic_shift) - 1);

	if (i->apic_id >> c->apic_shift != c->node || cpu >= c->nodes[c->node].cpus || i->zero ||
	    (i->mode != MODE_FIXED && (i->mode < MODE_NMI || i->mode > MODE_SIPI)) ||
	    (i->mode == MODE_FIXED && i->vector < 16) || !vm->cpus)
		return false;
	if (span_ended(vm))
		return true;
	atomic_fetch_add(&vm->n_ipi_in, 1);
	if (vm_signal_msi(vm, i->apic_id, i->mode, i->vector))
		span_fail(vm, "interrupt %u of mode %u for CPU %x: %s", i->vector, i->mode,
			  i->apic_id, strerror(errno));
	return true;
}
