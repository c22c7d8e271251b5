// SPDX-License-Identifier: GPL-2.0-only
/*
 * One time for all nodes.  Node 0's TSC and kvmclock are the span's.  Each ping bounds the
 * difference of two hosts' TSCs, for the answer was made between question and receipt; the
 * middle of what all pings leave is taken, and every vCPU of the span gets the offset that
 * makes its guest TSC node 0's.  kvmclock is set by a loop of KVM_SET_CLOCK and
 * KVM_GET_CLOCK that learns its own delay.  Once a second both are measured again, and a
 * TSC that is provably off is corrected: a node that is behind steps forward, and one that
 * is ahead asks node 0 to, for the guest's clocks never go back.
 */
#include "spanvm.h"

#define PINGS_AT_START	64
#define PINGS_A_ROUND	8
#define CLOCK_ROUNDS	64
#define CLOCK_GOOD_NS	100
#define CLOCK_FAIR_NS	1000
#define CLOCK_STEP_NS	5000	/* a difference that a running span corrects */
#define MAX_STEP_NS	100000000	/* a node asks for no more at once */

/**
 * host_tsc - the host's time stamp counter
 *
 * Return: it.
 */
u64 host_tsc(void)
{
	u64 tsc;

	__builtin_ia32_lfence();
	tsc = __builtin_ia32_rdtsc();
	__builtin_ia32_lfence();
	return tsc;
}

static s64 tsc_to_ns(const struct vmm *vm, s64 tsc)
{
	return (s64)((__int128)tsc * 1000000 / vm->setup.tsc_khz);
}

static void ping(struct vmm *vm, u32 node)
{
	struct msg_ping m = { .sent = host_tsc() };

	link_send(vm, node, M_PING, &m);
}

/**
 * clock_on_ping - another node wants an answer
 * @vm: this node
 * @from: the other node
 * @m: the message
 *
 * Return: true.
 */
bool clock_on_ping(struct vmm *vm, u32 from, const union msg *m)
{
	struct msg_ping pong = { .sent = m->ping.sent, .tsc = host_tsc() };

	link_send(vm, from, M_PONG, &pong);
	return true;
}

/* All vCPUs take the new offset as soon as they leave the guest. */
static void step_tsc(struct vmm *vm, u64 by)
{
	u32 i;

	atomic_fetch_add(&vm->tsc_offset, by);
	vm->clock.steps++;
	if (vm->dummy.fd >= 0)
		vcpu_set_tsc_offset(&vm->dummy);
	for (i = 0; i < vm->cfg->nr_cpus; i++) {
		atomic_store(&vm->cpus[i].retime, true);
		vcpu_kick(&vm->cpus[i]);
	}
}

static void round_over(struct vmm *vm)
{
	struct clock_state *cs = &vm->clock;
	s64 diff = atomic_load(&vm->tsc_offset) - cs->master.tsc_offset;
	const s64 most = (s64)(MAX_STEP_NS / 1000000) * vm->setup.tsc_khz;
	struct msg_ahead m = { 0 };

	cs->drift_tsc = diff < cs->low ? cs->low - diff : diff > cs->high ? cs->high - diff : 0;
	if (cs->drift_tsc > 0) {
		step_tsc(vm, cs->drift_tsc);
	} else if (cs->drift_tsc < 0) {
		m.tsc = -cs->drift_tsc < most ? -cs->drift_tsc : most;
		link_send(vm, 0, M_AHEAD, &m);
	}
}

/**
 * clock_on_pong - another node answers
 * @vm: this node
 * @from: the other node
 * @m: the message
 *
 * Return: false when the message is impossible.
 */
bool clock_on_pong(struct vmm *vm, u32 from, const union msg *m)
{
	struct clock_state *cs = &vm->clock;
	u64 now = host_tsc(), rtt = now - m->ping.sent;
	s64 low = m->ping.tsc - now, high = m->ping.tsc - m->ping.sent;

	if (m->ping.sent > now)
		return false;
	if (from || cs->pongs >= cs->wanted)
		return true;
	if (!cs->pongs || low > cs->low)
		cs->low = low;
	if (!cs->pongs || high < cs->high)
		cs->high = high;
	if (!cs->rtt_tsc || rtt < cs->rtt_tsc)
		cs->rtt_tsc = rtt;
	if (++cs->pongs < cs->wanted)
		ping(vm, 0);
	else if (vm->up && vm->cfg->transport == NUMASPAN_TCP)
		round_over(vm);
	return true;
}

static bool measured(struct vmm *vm)
{
	return vm->clock.pongs >= vm->clock.wanted;
}

/**
 * clock_agree_tsc - find the TSC offset of this node; after setup
 * @vm: this node
 *
 * Return: 0, or -1 after span_end().
 */
int clock_agree_tsc(struct vmm *vm)
{
	struct clock_state *cs = &vm->clock;
	int khz = ioctl(vm->fd, KVM_GET_TSC_KHZ, 0);
	s64 off = (s64)khz - vm->setup.tsc_khz;

	atomic_store(&vm->tsc_offset, vm->setup.tsc_offset);
	cs->master.tsc_offset = vm->setup.tsc_offset;
	if (!vm->cfg->node)
		return 0;
	cs->wanted = PINGS_AT_START;
	cs->pongs = 0;
	ping(vm, 0);
	if (loop_until(vm, measured, vm->cfg->timeout_ms, "node 0 did not answer all pings"))
		return -1;
	/* On one host there is one TSC. */
	if (vm->cfg->transport != NUMASPAN_TCP)
		return 0;
	atomic_store(&vm->tsc_offset, vm->setup.tsc_offset + cs->low + (cs->high - cs->low) / 2);
	/* Within 250 ppm KVM takes two frequencies for one; so do we, and correct. */
	if (llabs(off) * 4000 <= vm->setup.tsc_khz)
		return 0;
	vm->scale_tsc = ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL) > 0;
	if (!vm->scale_tsc)
		say(vm, "warning: TSC of %d kHz here, %u at node 0, and KVM cannot scale it", khz,
		    vm->setup.tsc_khz);
	return 0;
}

/* False while KVM's clock does not follow the TSC, as when vCPUs take a new TSC offset. */
static bool read_clock(struct vmm *vm, struct kvm_clock_data *d)
{
	const u32 want = KVM_CLOCK_TSC_STABLE | KVM_CLOCK_HOST_TSC;

	memset(d, 0, sizeof(*d));
	return !ioctl(vm->fd, KVM_GET_CLOCK, d) && (d->flags & want) == want;
}

static int need_clock(struct vmm *vm, struct kvm_clock_data *d)
{
	if (read_clock(vm, d))
		return 0;
	return span_fail(vm,
			 "KVM's clock does not follow the TSC (flags %x): expected a host with a stable TSC as clocksource (tsc=reliable)",
			 d->flags);
}

/* What kvmclock should be when the host's TSC is @tsc. */
static u64 target(const struct vmm *vm, u64 tsc)
{
	const struct msg_clock *m = &vm->clock.master;

	return m->clock_ns + tsc_to_ns(vm, tsc + atomic_load(&vm->tsc_offset) - m->guest_tsc);
}

static int set_clock(struct vmm *vm)
{
	struct clock_state *cs = &vm->clock;
	struct kvm_clock_data d;
	u32 i;

	for (i = 0; i < CLOCK_ROUNDS; i++) {
		memset(&d, 0, sizeof(d));
		d.clock = target(vm, host_tsc()) + cs->feed_ns;
		if (VM_CALL(vm, KVM_SET_CLOCK, &d) || need_clock(vm, &d))
			return -1;
		cs->error_ns = target(vm, d.host_tsc) - d.clock;
		if (llabs(cs->error_ns) <= (i < CLOCK_ROUNDS / 2 ? CLOCK_GOOD_NS : CLOCK_FAIR_NS))
			break;
		cs->feed_ns += cs->error_ns;
	}
	return 0;
}

static void tell_clock(struct vmm *vm, const struct kvm_clock_data *d)
{
	struct msg_clock m = { .clock_ns = d->clock, .tsc_offset = atomic_load(&vm->tsc_offset) };

	m.guest_tsc = d->host_tsc + m.tsc_offset;
	link_broadcast(vm, M_CLOCK, &m);
}

static bool have_clock(struct vmm *vm)
{
	return vm->clock.have_clock;
}

/**
 * clock_agree_kvm - set kvmclock to node 0's; all vCPUs exist, none has run
 * @vm: this node
 *
 * Return: 0, or -1 after span_end().
 */
int clock_agree_kvm(struct vmm *vm)
{
	struct kvm_clock_data d = { 0 };

	if (vm->cfg->nr_nodes == 1)
		return 0;
	if (vm->cfg->node) {
		if (loop_until(vm, have_clock, vm->cfg->timeout_ms, "node 0 did not say its clock"))
			return -1;
		return set_clock(vm);
	}
	/* Setting it makes KVM look at whether all TSCs match. */
	if (VM_CALL(vm, KVM_SET_CLOCK, &d) || need_clock(vm, &d))
		return -1;
	tell_clock(vm, &d);
	return 0;
}

/**
 * clock_on_clock - node 0 says its clock
 * @vm: this node
 * @from: the other node
 * @m: the message
 *
 * Return: false when the message is impossible.
 */
bool clock_on_clock(struct vmm *vm, u32 from, const union msg *m)
{
	struct clock_state *cs = &vm->clock;
	struct msg_ahead ahead = { 0 };
	struct kvm_clock_data d;

	if (from)
		return false;
	cs->master = m->clock;
	cs->have_clock = true;
	/* What cannot be read now is in the next second. */
	if (!vm->up || span_ended(vm) || !read_clock(vm, &d))
		return true;
	cs->error_ns = target(vm, d.host_tsc) - d.clock;
	if (cs->error_ns > CLOCK_STEP_NS) {
		cs->steps++;
		set_clock(vm);
	} else if (cs->error_ns < -CLOCK_STEP_NS) {
		ahead.clock_ns = -cs->error_ns < MAX_STEP_NS ? -cs->error_ns : MAX_STEP_NS;
		link_send(vm, 0, M_AHEAD, &ahead);
	}
	return true;
}

/**
 * clock_on_ahead - a node's clock is ahead of node 0's
 * @vm: this node
 * @from: the other node
 * @m: the message
 *
 * Return: false when the message is impossible.
 */
bool clock_on_ahead(struct vmm *vm, u32 from, const union msg *m)
{
	struct kvm_clock_data d;

	/* Nobody is ahead before the clocks have been set. */
	if (vm->cfg->node || !vm->up || tsc_to_ns(vm, m->ahead.tsc) > MAX_STEP_NS ||
	    (s64)m->ahead.tsc < 0 || m->ahead.clock_ns > MAX_STEP_NS)
		return false;
	if (span_ended(vm))
		return true;
	if (m->ahead.tsc)
		step_tsc(vm, m->ahead.tsc);
	if (m->ahead.clock_ns && read_clock(vm, &d)) {
		d.flags = 0;
		d.clock += m->ahead.clock_ns + tsc_to_ns(vm, host_tsc() - d.host_tsc);
		ioctl(vm->fd, KVM_SET_CLOCK, &d);
		vm->clock.steps++;
	}
	return true;
}

/**
 * clock_tick - once a second: heartbeats, and a new measurement
 * @vm: this node
 * @now: the time
 */
void clock_tick(struct vmm *vm, u64 now)
{
	u32 every_ms = vm->cfg->timeout_ms / 4 < 1000 ? vm->cfg->timeout_ms / 4 : 1000;
	struct clock_state *cs = &vm->clock;
	struct kvm_clock_data d;
	u32 i;

	if (now < cs->next_ns)
		return;
	cs->next_ns = now + every_ms * 1000000ULL;
	if (measured(vm)) {
		cs->pongs = 0;
		cs->wanted = PINGS_A_ROUND;
	}
	for (i = 0; i < vm->cfg->nr_nodes; i++)
		if (i != vm->cfg->node)
			ping(vm, i);
	if (!vm->cfg->node && vm->up && !span_ended(vm) && read_clock(vm, &d))
		tell_clock(vm, &d);
}
