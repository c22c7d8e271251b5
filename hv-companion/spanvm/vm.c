// SPDX-License-Identifier: GPL-2.0-only
/*
 * The KVM virtual machine of one node: what the host must offer, the VM, the guest's
 * CPUID, and all vCPUs of the span by their real APIC ids, whether they run here or are
 * proxies.  Every vCPU starts in x2APIC mode and with the same TSC offset; APIC ids are
 * NODE << apic_shift | CPU, so that each node is one package.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "spanvm.h"

#define DUMMY_APIC_ID	255
#define MAX_CPUID	256
#define MSR_MISC_ENABLE	0x1a0
#define MSR_MTRR_DEF	0x2ff
#define APIC_X2		BIT(10)

static const struct {
	int cap, mask;
	const char *name;
} caps[] = {
	{ KVM_CAP_IMMEDIATE_EXIT, 1, "KVM_CAP_IMMEDIATE_EXIT" },
	{ KVM_CAP_MP_STATE, 1, "KVM_CAP_MP_STATE" },
	{ KVM_CAP_SIGNAL_MSI, 1, "KVM_CAP_SIGNAL_MSI" },
	{ KVM_CAP_SPLIT_IRQCHIP, 1, "KVM_CAP_SPLIT_IRQCHIP" },
	{ KVM_CAP_SET_BOOT_CPU_ID, 1, "KVM_CAP_SET_BOOT_CPU_ID" },
	{ KVM_CAP_TSC_DEADLINE_TIMER, 1, "KVM_CAP_TSC_DEADLINE_TIMER" },
	{ KVM_CAP_X2APIC_API, 3, "KVM_CAP_X2APIC_API" },
	{ KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1, "KVM_CAP_X86_TRIPLE_FAULT_EVENT" },
	{ KVM_CAP_ADJUST_CLOCK, KVM_CLOCK_TSC_STABLE | KVM_CLOCK_HOST_TSC,
	  "KVM_CAP_ADJUST_CLOCK with TSC_STABLE and HOST_TSC" },
};

#define AMD	"/sys/module/kvm_amd/parameters/"
#define INTEL	"/sys/module/kvm_intel/parameters/"

static bool param_is(const char *path, const char *values)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char ch = 0;

	if (fd < 0)
		return false;
	if (read(fd, &ch, 1) != 1)
		ch = 0;
	close(fd);
	return ch && strchr(values, ch);
}

static bool param_off(const char *path)
{
	return param_is(path, "N0");
}

static bool param_on(const char *path)
{
	return param_is(path, "Y1");
}

static int check_params(struct vmm *vm)
{
	const char *why = NULL;

	if (param_off(AMD "npt"))
		why = "kvm_amd npt is off: expected on (shadow paging misses remote writes)";
	else if (param_off(INTEL "ept"))
		why = "kvm_intel ept is off: expected on (shadow paging misses remote writes)";
	else if (param_off(INTEL "unrestricted_guest"))
		why = "kvm_intel unrestricted_guest is off: expected on (proxies need it)";
	else if (vm->cfg->nr_nodes > 1 && param_on(AMD "vnmi"))
		why = "kvm_amd vnmi is on: expected vnmi=0 (proxies cannot see an NMI otherwise)";
	if (why) {
		say(vm, "%s", why);
		return -1;
	}
	if (vm->cfg->nr_nodes > 1 && param_on(INTEL "eptad"))
		say(vm, "warning: kvm_intel eptad is on: page walks are writes; expected eptad=0");
	return 0;
}

/**
 * host_check - does this host have what a span needs?
 * @vm: this node; its kvm_fd is opened
 *
 * Return: 0, or -1 after one line on stderr.
 */
int host_check(struct vmm *vm)
{
	u32 i;

	vm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm_fd < 0) {
		say(vm, "/dev/kvm: %s", strerror(errno));
		return -1;
	}
	if (ioctl(vm->kvm_fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION) {
		say(vm, "/dev/kvm: expected API version %d", KVM_API_VERSION);
		return -1;
	}
	for (i = 0; i < ARRAY_SIZE(caps); i++) {
		int have = ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, caps[i].cap);

		if (have < 0 || (have & caps[i].mask) != caps[i].mask) {
			say(vm, "/dev/kvm: expected %s, which this host does not have",
			    caps[i].name);
			return -1;
		}
	}
	if (access("/dev/numaspan", R_OK | W_OK)) {
		say(vm, "/dev/numaspan: %s (is numaspan.ko loaded?)", strerror(errno));
		return -1;
	}
	return check_params(vm);
}

static struct kvm_cpuid_entry2 *entry(struct kvm_cpuid2 *t, u32 function, u32 index)
{
	u32 i;

	for (i = 0; i < t->nent; i++)
		if (t->entries[i].function == function && t->entries[i].index == index)
			return &t->entries[i];
	return NULL;
}

static struct kvm_cpuid_entry2 *add_entry(struct kvm_cpuid2 *t, u32 function, u32 index, u32 flags)
{
	struct kvm_cpuid_entry2 *e = entry(t, function, index);

	if (!e) {
		if (t->nent == MAX_CPUID)
			return &t->entries[0];
		e = &t->entries[t->nent++];
	}
	memset(e, 0, sizeof(*e));
	e->function = function;
	e->index = index;
	e->flags = flags;
	return e;
}

static void drop_function(struct kvm_cpuid2 *t, u32 function)
{
	u32 i, n = 0;

	for (i = 0; i < t->nent; i++)
		if (t->entries[i].function != function)
			t->entries[n++] = t->entries[i];
	t->nent = n;
}

/*
 * What the guest sees, but for its APIC id.  Cleared is what lets a guest change its TSC
 * by itself, what makes KVM write to guest memory behind a node's back or wake a remote
 * vCPU in ways that a proxy does not see, nested virtualisation, and AMD's own topology.
 */
static void edit_cpuid(struct kvm_cpuid2 *t)
{
	static const u32 dropped[] = { 0x12, 0x1f, 0xb, 0x8000000a, 0x8000001d, 0x8000001e };
	struct kvm_cpuid_entry2 *e;
	u32 i;

	e = entry(t, 1, 0);
	if (e) {
		e->ebx &= 0x0000ffff;
		e->ecx |= BIT(21) | BIT(24) | BIT(31);	/* x2APIC, TSC deadline, hypervisor */
		e->ecx &= ~(BIT(3) | BIT(5));		/* MONITOR, VMX */
		e->edx |= BIT(28);
	}
	e = entry(t, 6, 0);
	if (e)
		e->eax |= BIT(2);			/* ARAT */
	e = entry(t, 7, 0);
	if (e) {
		e->ebx &= ~(BIT(1) | BIT(2));		/* TSC_ADJUST, SGX */
		e->ecx &= ~BIT(16);			/* LA57: one level less to walk */
	}
	e = entry(t, 0x80000001, 0);
	if (e)
		e->ecx &= ~(BIT(2) | BIT(22));		/* SVM, TOPOEXT */
	e = entry(t, 0x80000007, 0);
	if (e)
		e->edx |= BIT(8);			/* invariant TSC */
	e = entry(t, 0x40000001, 0);
	if (e)
		e->eax &= BIT(1) | BIT(3) | BIT(24);	/* I/O delay, clock, stable clock */
	for (i = 0; i < ARRAY_SIZE(dropped); i++)
		drop_function(t, dropped[i]);
	e = add_entry(t, 0x40000100, 0, 0);
	e->eax = 0x40000100;
	memcpy(&e->ebx, "NUMA", 4);
	memcpy(&e->ecx, "SPAN", 4);
}

/**
 * vm_open - make the VM, without vCPUs, and the table of what the guest's CPUs can do
 * @vm: this node
 *
 * Return: 0, or -1 after span_end().
 */
int vm_open(struct vmm *vm)
{
	struct kvm_cpuid2 *t;

	vm->fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0);
	if (vm->fd < 0)
		return span_fail(vm, "KVM_CREATE_VM: %s", strerror(errno));
	t = xzalloc(sizeof(*t) + MAX_CPUID * sizeof(t->entries[0]));
	t->nent = MAX_CPUID;
	vm->cpuid = t;
	if (ioctl(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, t))
		return span_fail(vm, "KVM_GET_SUPPORTED_CPUID: %s", strerror(errno));
	edit_cpuid(t);
	return 0;
}

static int call(struct vmm *vm, int fd, unsigned long request, u64 arg, const char *what)
{
	if (ioctl(fd, request, arg) >= 0)
		return 0;
	return span_fail(vm, "%s: %s", what, strerror(errno));
}

#define CALL(vm, fd, request, arg) call(vm, fd, request, (uintptr_t)(arg), #request)

static int set_cpuid(struct vcpu *v)
{
	const struct config *c = v->vm->cfg;
	const u32 cpus = c->nodes[v->node].cpus, shift = c->apic_shift;
	const size_t size = sizeof(struct kvm_cpuid2) +
			    MAX_CPUID * sizeof(struct kvm_cpuid_entry2);
	struct kvm_cpuid2 *t = xzalloc(size);
	struct kvm_cpuid_entry2 *e;
	u32 i;
	int r;

	memcpy(t, v->vm->cpuid, size);
	for (i = 0; i < t->nent; i++) {
		e = &t->entries[i];
		if (e->function == 1)
			e->ebx |= v->apic_id << 24 | 1U << (16 + shift);
		else if (e->function == 4 && e->eax & 0x1f)
			e->eax = (e->eax & 0x3ffffff) | ((1U << shift) - 1) << 26;
		else if (e->function == 0x80000008)
			e->ecx = (e->ecx & ~0xf0ffU) | shift << 12 | (cpus - 1);
	}
	e = add_entry(t, 0xb, 0, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
	e->ebx = 1;
	e->ecx = 0 | 1 << 8;			/* threads */
	e->edx = v->apic_id;
	e = add_entry(t, 0xb, 1, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
	e->eax = shift;
	e->ebx = cpus;
	e->ecx = 1 | 2 << 8;			/* cores */
	e->edx = v->apic_id;
	e = add_entry(t, 0xb, 2, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
	e->ecx = 2;
	e->edx = v->apic_id;
	r = CALL(v->vm, v->fd, KVM_SET_CPUID2, t);
	free(t);
	return r;
}

/**
 * vm_set_msr - set a model-specific register
 * @fd: the vCPU
 * @index: which
 * @data: to what
 *
 * Return: 0, or -1 with errno.
 */
int vm_set_msr(int fd, u32 index, u64 data)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry msr;
	} m = { .head.nmsrs = 1, .msr = { .index = index, .data = data } };

	return ioctl(fd, KVM_SET_MSRS, &m) == 1 ? 0 : -1;
}

static int init_vcpu(struct vcpu *v)
{
	struct vmm *vm = v->vm;
	int size = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	struct kvm_sregs s;

	v->fd = ioctl(vm->fd, KVM_CREATE_VCPU, v->apic_id);
	if (v->fd < 0)
		return span_fail(vm, "KVM_CREATE_VCPU of CPU %u: %s", v->index, strerror(errno));
	v->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED) {
		v->run = NULL;
		return span_fail(vm, "mmap of struct kvm_run: %s", strerror(errno));
	}
	if (set_cpuid(v) || CALL(vm, v->fd, KVM_GET_SREGS, &s))
		return -1;
	s.apic_base |= APIC_X2;
	if (CALL(vm, v->fd, KVM_SET_SREGS, &s) ||
	    (vm->scale_tsc && CALL(vm, v->fd, KVM_SET_TSC_KHZ, vm->setup.tsc_khz)))
		return -1;
	if (!vm_set_msr(v->fd, MSR_MISC_ENABLE, 1) &&
	    !vm_set_msr(v->fd, MSR_MTRR_DEF, 0x800 | 6) &&
	    !vcpu_set_tsc_offset(v->fd, atomic_load(&vm->tsc_offset)))
		return 0;
	return span_fail(vm, "MSRs and TSC offset of CPU %u: %s", v->index, strerror(errno));
}

/*
 * With APICv or AVIC active KVM never injects in software, and a proxy never sees an
 * interrupt.  A vCPU that blocks interrupts for a debugger inhibits it for the whole VM;
 * this one is never run.
 */
static int inhibit_apicv(struct vmm *vm)
{
	struct kvm_guest_debug dbg = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_BLOCKIRQ };

	if (vm->cfg->nr_nodes == 1 || (!param_on(INTEL "enable_apicv") && !param_on(AMD "avic")))
		return 0;
	vm->dummy_fd = ioctl(vm->fd, KVM_CREATE_VCPU, DUMMY_APIC_ID);
	if (vm->dummy_fd >= 0 && !ioctl(vm->dummy_fd, KVM_SET_GUEST_DEBUG, &dbg) &&
	    !vcpu_set_tsc_offset(vm->dummy_fd, atomic_load(&vm->tsc_offset)))
		return 0;
	return span_fail(vm, "cannot switch APIC virtualisation off for the guest: %s",
			 strerror(errno));
}

static int enable(struct vmm *vm, u32 cap, u64 arg, const char *what)
{
	struct kvm_enable_cap e = { .cap = cap, .args = { arg } };

	return call(vm, vm->fd, KVM_ENABLE_CAP, (uintptr_t)&e, what);
}

#define ENABLE(vm, cap, arg) enable(vm, cap, arg, #cap)

/**
 * vm_create - set the VM up and make all its vCPUs
 * @vm: this node; memory is mapped, setup is known
 *
 * Return: 0, or -1 after span_end().
 */
int vm_create(struct vmm *vm)
{
	const struct config *c = vm->cfg;
	const u32 x2apic = KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK;
	u32 n, i, k = 0;

	/* The first CPU boots on node 0; elsewhere its proxy has to wait for nothing less. */
	if (CALL(vm, vm->fd, KVM_SET_TSS_ADDR, 0xfffbd000) ||
	    CALL(vm, vm->fd, KVM_SET_BOOT_CPU_ID, c->node ? DUMMY_APIC_ID - 1 : 0) ||
	    ENABLE(vm, KVM_CAP_SPLIT_IRQCHIP, KVM_IOAPIC_NUM_PINS) ||
	    ENABLE(vm, KVM_CAP_X2APIC_API, x2apic) ||
	    ENABLE(vm, KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1))
		return -1;
	if (mem_slots(vm))
		return -1;
	vm->cpus = xzalloc(c->nr_cpus * sizeof(*vm->cpus));
	for (n = 0; n < c->nr_nodes; n++) {
		for (i = 0; i < c->nodes[n].cpus; i++, k++) {
			struct vcpu *v = &vm->cpus[k];

			*v = (struct vcpu){ .vm = vm, .index = k, .node = n, .fd = -1,
				.apic_id = n << c->apic_shift | i, .real = n == c->node };
		}
	}
	for (k = 0; k < c->nr_cpus; k++)
		if (init_vcpu(&vm->cpus[k]))
			return -1;
	return inhibit_apicv(vm);
}

/**
 * vm_signal_msi - deliver an interrupt to a local APIC of this VM, real or proxy
 * @vm: this node
 * @apic_id: physical x2APIC id
 * @mode: delivery mode: 0 fixed, 4 NMI, 5 INIT, 6 SIPI
 * @vector: its vector
 *
 * Return: negative errno when KVM refuses.
 */
int vm_signal_msi(struct vmm *vm, u32 apic_id, u8 mode, u8 vector)
{
	struct kvm_msi msi = {
		.address_lo = 0xfee00000 | (apic_id & 0xff) << 12,
		.address_hi = apic_id & 0xffffff00,
		.data = mode << 8 | vector,
	};

	return ioctl(vm->fd, KVM_SIGNAL_MSI, &msi) < 0 ? -errno : 0;
}

/**
 * vm_destroy - close the VM; its threads have ended
 * @vm: this node
 */
void vm_destroy(struct vmm *vm)
{
	int size = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	u32 i;

	for (i = 0; vm->cpus && i < vm->cfg->nr_cpus; i++) {
		if (vm->cpus[i].run)
			munmap(vm->cpus[i].run, size);
		if (vm->cpus[i].fd >= 0)
			close(vm->cpus[i].fd);
	}
	free(vm->cpus);
	free(vm->cpuid);
	if (vm->dummy_fd >= 0)
		close(vm->dummy_fd);
	if (vm->fd >= 0)
		close(vm->fd);
}
