// SPDX-License-Identifier: GPL-2.0-only
/*
 * Proxy vCPUs: a node's stand-ins for the vCPUs of other nodes.  A proxy's local APIC
 * receives what the vCPUs of this node send; its thread pulls each interrupt out and
 * forwards it to the node where the real vCPU runs.  A proxy never executes a guest
 * instruction.
 *
 * The signal SIG_PULL is pending on a proxy's thread from its start, and blocked but for
 * KVM_RUN in the pull.  Waiting is KVM_RUN in the state UNINITIALIZED, which returns when
 * an event is there.  The pull is KVM_RUN in the state RUNNABLE with SIG_PULL open: KVM
 * injects, sees the signal and cancels the entry, which leaves the event readable.  An
 * armed proxy has interrupts enabled; an INIT resets that, and so tells that it came.
 */
#include <time.h>

#include "spanvm.h"

#define MSR_X2APIC_EOI	0x80b
#define MSR_X2APIC_SPIV	0x80f
#define SPIV_ENABLED	0x1ff
#define RFLAGS_IF	0x200
#define RFLAGS_ARMED	(RFLAGS_IF | 0x2)
#define TEST_VECTOR	0xa5

static int fail(struct vcpu *v, const char *what, int error)
{
	return span_fail(v->vm, "proxy of CPU %u: %s: %s", v->index, what, strerror(error));
}

static int set_state(struct vcpu *v, u32 state)
{
	struct kvm_mp_state mp = { .mp_state = state };

	return VCPU_CALL(v, KVM_SET_MP_STATE, &mp);
}

/* Signals that are open while the vCPU is in KVM_RUN: the kick, and SIG_PULL or not. */
static int set_mask(struct vcpu *v, bool pull)
{
	u64 set = ~(1ULL << (SIG_KICK - 1));
	u32 m[3] = { sizeof(set) };	/* struct kvm_signal_mask: the length, then the set */

	if (pull)
		set &= ~(1ULL << (SIG_PULL - 1));
	memcpy(&m[1], &set, sizeof(set));
	return VCPU_CALL(v, KVM_SET_SIGNAL_MASK, m);
}

/**
 * proxy_arm - let a proxy's local APIC take interrupts; its thread does not run the vCPU
 * @v: the proxy
 *
 * Return: 0, or -1 after span_end().
 */
int proxy_arm(struct vcpu *v)
{
	struct kvm_regs r = { .rflags = RFLAGS_ARMED };

	return VCPU_CALL(v, KVM_SET_REGS, &r) || vcpu_set_msr(v, MSR_X2APIC_SPIV, SPIV_ENABLED) ?
	       -1 : 0;
}

static void forward(struct vcpu *v, u8 mode, u8 vector)
{
	struct vmm *vm = v->vm;
	struct msg_msi m = { .apic_id = v->apic_id, .mode = mode, .vector = vector };

	if (atomic_load(&vm->selftest)) {
		if (mode == MODE_FIXED && vector == TEST_VECTOR)
			atomic_fetch_add(&v->test_irq, 1);
		else if (mode == MODE_NMI)
			atomic_fetch_add(&v->test_nmi, 1);
		wake_loop(vm);
		return;
	}
	atomic_fetch_add(&vm->n_ipi_out, 1);
	link_send(vm, v->node, M_MSI, &m);
}

/* A kick is never delivered: it is taken off here, and the flags are read. */
static void kicked(struct vcpu *v)
{
	static const struct timespec none;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIG_KICK);
	sigtimedwait(&set, NULL, &none);
	vcpu_kicked(v);
}

/*
 * Waits for SIPI in the state INIT_RECEIVED.  The pending triple fault stops KVM before the
 * first instruction.
 */
static int wait_sipi(struct vcpu *v)
{
	struct kvm_vcpu_events ev = { .flags = KVM_VCPUEVENT_VALID_TRIPLE_FAULT,
		.triple_fault.pending = 1 };

	if (VCPU_CALL(v, KVM_SET_VCPU_EVENTS, &ev) || set_mask(v, false))
		return -1;
	while (!atomic_load(&v->vm->stopping)) {
		if (!ioctl(v->fd, KVM_RUN, 0))
			return v->run->exit_reason == KVM_EXIT_SHUTDOWN ? 0 :
			       fail(v, "unexpected exit while waiting for SIPI", EPROTO);
		if (errno == EINTR)
			kicked(v);
		else if (errno != EAGAIN)
			return fail(v, "KVM_RUN while waiting for SIPI", errno);
	}
	return -1;
}

/* An INIT came, and perhaps its SIPI. */
static int reset(struct vcpu *v)
{
	struct kvm_mp_state mp;
	struct kvm_sregs s;
	struct kvm_regs r;

	if (VCPU_CALL(v, KVM_GET_MP_STATE, &mp) || VCPU_CALL(v, KVM_GET_REGS, &r))
		return -1;
	/* INIT leaves the processor's signature in EDX; an armed proxy has 0 there. */
	if (!r.rdx || r.rflags & RFLAGS_IF)
		return fail(v, "not armed, and no INIT came", EPROTO);
	forward(v, MODE_INIT, 0);
	if (mp.mp_state == KVM_MP_STATE_INIT_RECEIVED) {
		if (wait_sipi(v))
			return -1;
	} else if (mp.mp_state != KVM_MP_STATE_RUNNABLE) {
		return fail(v, "unexpected state after INIT", EPROTO);
	}
	/* Armed first: once the real vCPU runs, others may send to it. */
	if (VCPU_CALL(v, KVM_GET_SREGS, &s) || proxy_arm(v))
		return -1;
	forward(v, MODE_SIPI, s.cs.base >> 12);
	return 0;
}

static bool armed(const struct vcpu *v)
{
	return v->run->if_flag;
}

/* Pulls until nothing is left; not 0 to end the thread. */
static int pull(struct vcpu *v)
{
	struct kvm_vcpu_events ev;

	if (set_state(v, KVM_MP_STATE_RUNNABLE) || set_mask(v, true))
		return -1;
	for (;;) {
		if (!ioctl(v->fd, KVM_RUN, 0))
			return fail(v, "it ran", EPROTO);
		if (errno != EINTR && errno != EAGAIN)
			return fail(v, "KVM_RUN that cancels", errno);
		if (!armed(v))
			return reset(v);
		if (VCPU_CALL(v, KVM_GET_VCPU_EVENTS, &ev))
			return -1;
		if (!ev.interrupt.injected && !ev.nmi.injected)
			return 0;
		if (ev.interrupt.injected) {
			if (vcpu_set_msr(v, MSR_X2APIC_EOI, 0))
				return -1;
			forward(v, MODE_FIXED, ev.interrupt.nr);
		}
		if (ev.nmi.injected)
			forward(v, MODE_NMI, 0);
		ev.flags = 0;
		ev.interrupt.injected = 0;
		ev.nmi.injected = 0;
		ev.nmi.masked = 0;
		if (VCPU_CALL(v, KVM_SET_VCPU_EVENTS, &ev))
			return -1;
	}
}

/**
 * proxy_main - the thread of a proxy
 * @arg: struct vcpu
 *
 * Return: NULL.
 */
void *proxy_main(void *arg)
{
	struct vcpu *v = arg;
	int error;

	pthread_kill(pthread_self(), SIG_PULL);
	while (!atomic_load(&v->vm->stopping)) {
		if (set_state(v, KVM_MP_STATE_UNINITIALIZED) || set_mask(v, false))
			break;
		error = ioctl(v->fd, KVM_RUN, 0) ? errno : EPROTO;
		if (error == EINTR) {
			kicked(v);
		} else if (error != EAGAIN) {
			fail(v, "KVM_RUN while waiting", error);
			break;
		}
		/* What arrived together with a kick is accepted already. */
		if (armed(v) ? error == EAGAIN && pull(v) : reset(v))
			break;
	}
	return NULL;
}

static bool all_came_back(struct vmm *vm)
{
	const struct vcpu *v;

	for (v = vm->cpus; v < vm->cpus + vm->cfg->nr_cpus; v++)
		if (!v->real && (atomic_load(&v->test_irq) != 1 || atomic_load(&v->test_nmi) != 1))
			return false;
	return true;
}

/**
 * proxy_selftest - send an interrupt and an NMI to every proxy, and see them come back
 * @vm: this node; the proxies' threads run, the guest does not
 *
 * Return: 0, or -1 after span_end().
 */
int proxy_selftest(struct vmm *vm)
{
	u32 i;

	for (i = 0; i < vm->cfg->nr_cpus; i++) {
		struct vcpu *v = &vm->cpus[i];

		if (!v->real && (vm_signal_msi(vm, v->apic_id, MODE_FIXED, TEST_VECTOR) ||
				 vm_signal_msi(vm, v->apic_id, MODE_NMI, 0)))
			return fail(v, "KVM_SIGNAL_MSI", errno);
	}
	if (!loop_until(vm, all_came_back, vm->cfg->timeout_ms, NULL))
		return 0;
	return span_fail(vm,
			 "self-test: an interrupt or NMI to a proxy did not come back once; is APICv, AVIC or vNMI active?");
}
