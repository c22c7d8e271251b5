// SPDX-License-Identifier: GPL-2.0-only
/*
 * The KVM virtual machine of one node: the VM, the guest's CPUID, and all vCPUs of the span by
 * their real APIC ids, whether they run here or are proxies.  Every vCPU starts in x2APIC mode and
 * with the same TSC offset; APIC ids are NODE << apic_shift | CPU: each node is one package.
 */
#include <asm/kvm_para.h>
#include <sys/mman.h>

#include "spanvm.h"

#define DUMMY_APIC_ID	255
#define MAX_CPUID	256
#define NR_TOPOLOGY	3
/* What KVM has to say, our own three leaves, and a CPU's topology */
#define CPUID_SIZE	(sizeof(struct kvm_cpuid2) + \
			 (MAX_CPUID + 3 + NR_TOPOLOGY) * sizeof(struct kvm_cpuid_entry2))
#define MSR_MISC_ENABLE	0x1a0
#define MSR_MTRR_DEF	0x2ff
#define APIC_X2		BIT(10)

/*
 * What the guest sees, but for its APIC id.  Cleared is what lets a guest change its TSC
 * by itself, what makes KVM write to guest memory behind a node's back or wake a remote
 * vCPU in ways that a proxy does not see, nested virtualisation, and AMD's own topology.
 */
#define REG(name)	offsetof(struct kvm_cpuid_entry2, name)
static const struct {
	u32 function;
	size_t reg;
	u32 keep, add;
} edits[] = {
	{ 1, REG(ebx), 0x0000ffff, 0 },
	/* Not MONITOR, VMX; x2APIC, TSC deadline, hypervisor */
	{ 1, REG(ecx), ~(BIT(3) | BIT(5)), BIT(21) | BIT(24) | BIT(31) },
	{ 1, REG(edx), ~0U, BIT(28) },
	{ 6, REG(eax), ~0U, BIT(2) },				/* ARAT */
	{ 7, REG(ebx), ~(BIT(1) | BIT(2)), 0 },			/* not TSC_ADJUST, SGX */
	{ 7, REG(ecx), ~BIT(16), 0 },		/* not LA57: one level less to walk */
	{ 0x80000001, REG(ecx), ~(BIT(2) | BIT(22)), 0 },	/* not SVM, TOPOEXT */
	{ 0x80000007, REG(edx), ~0U, BIT(8) },			/* invariant TSC */
	{ KVM_CPUID_FEATURES, REG(eax), BIT(KVM_FEATURE_NOP_IO_DELAY) |
	  BIT(KVM_FEATURE_CLOCKSOURCE2) | BIT(KVM_FEATURE_CLOCKSOURCE_STABLE_BIT), 0 },
};

static bool is_dropped(u32 function)
{
	static const u32 dropped[] = { 0x12, 0x1f, 0xb, 0x8000000a, 0x8000001d, 0x8000001e };
	u32 i;

	for (i = 0; i < ARRAY_SIZE(dropped); i++)
		if (dropped[i] == function)
			return true;
	return false;
}

static void edit_cpuid(struct kvm_cpuid2 *t, const struct config *c)
{
	struct kvm_cpuid_entry2 ours = { .function = 0x40000100, .eax = 0x40000102 };
	const struct kvm_cpuid_entry2 features = { .function = 0x40000101, .ebx = PORT_CALL,
		.eax = c->clear_page ? NUMASPAN_FEATURE_CLEAR_CODE : 0 };
	u32 i, j, *reg, n = 0;

	for (i = 0; i < t->nent; i++) {
		if (is_dropped(t->entries[i].function))
			continue;
		t->entries[n] = t->entries[i];
		for (j = 0; j < ARRAY_SIZE(edits); j++) {
			reg = (void *)&t->entries[n] + edits[j].reg;
			if (t->entries[n].function == edits[j].function && !t->entries[n].index)
				*reg = (*reg & edits[j].keep) | edits[j].add;
		}
		n++;
	}
	memcpy(&ours.ebx, NUMASPAN_SIGNATURE, 12);	/* ebx, ecx, edx */
	t->entries[n++] = ours;
	t->entries[n] = features;
	t->nent = n + ring_leaf(c, &t->entries[n]);
}

/**
 * vm_open - make the VM, without vCPUs, and the table of what the guest's CPUs can do
 * @vm: this node
 *
 * Return: 0, or -1 after span_end().
 */
int vm_open(struct vmm *vm)
{
	struct kvm_cpuid2 *t = xzalloc(CPUID_SIZE);

	vm->cpuid = t;
	vm->fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0);
	if (vm->fd < 0)
		return span_fail(vm, "KVM_CREATE_VM: %s", strerror(errno));
	t->nent = MAX_CPUID;
	if (ioctl(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, t))
		return span_fail(vm, "KVM_GET_SUPPORTED_CPUID: %s", strerror(errno));
	edit_cpuid(t, vm->cfg);
	return 0;
}

/**
 * vm_call - an ioctl of the VM that has to succeed; use VM_CALL()
 * @vm: this node
 * @request: which
 * @arg: its argument
 * @what: its name
 *
 * Return: 0, or -1 after span_end().
 */
int vm_call(struct vmm *vm, unsigned long request, u64 arg, const char *what)
{
	if (ioctl(vm->fd, request, arg) >= 0)
		return 0;
	return span_fail(vm, "%s: %s", what, strerror(errno));
}

static int set_cpuid(struct vcpu *v)
{
	const struct config *c = v->vm->cfg;
	const u32 cpus = c->nodes[v->node].cpus, shift = c->apic_shift;
	const struct kvm_cpuid_entry2 topology[NR_TOPOLOGY] = {
		{ .function = 0xb, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX, .index = 0,
		  .ebx = 1, .ecx = 0 | 1 << 8, .edx = v->apic_id },	/* threads */
		{ .function = 0xb, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX, .index = 1,
		  .eax = shift, .ebx = cpus, .ecx = 1 | 2 << 8, .edx = v->apic_id },	/* cores */
		{ .function = 0xb, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX, .index = 2,
		  .ecx = 2, .edx = v->apic_id },
	};
	struct kvm_cpuid2 *t = xzalloc(CPUID_SIZE);
	struct kvm_cpuid_entry2 *e;
	int r;

	memcpy(t, v->vm->cpuid, CPUID_SIZE);
	for (e = t->entries; e < t->entries + t->nent; e++) {
		if (e->function == 1)
			e->ebx |= v->apic_id << 24 | 1U << (16 + shift);
		else if (e->function == 4 && e->eax & 0x1f)
			e->eax = (e->eax & 0x3ffffff) | ((1U << shift) - 1) << 26;
		else if (e->function == 0x80000008)
			e->ecx = (e->ecx & ~0xf0ffU) | shift << 12 | (cpus - 1);
	}
	memcpy(e, topology, sizeof(topology));
	t->nent += NR_TOPOLOGY;
	r = VCPU_CALL(v, KVM_SET_CPUID2, t);
	free(t);
	return r;
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
	if (set_cpuid(v) || VCPU_CALL(v, KVM_GET_SREGS, &s))
		return -1;
	s.apic_base |= APIC_X2;
	if (VCPU_CALL(v, KVM_SET_SREGS, &s) ||
	    (vm->scale_tsc && VCPU_CALL(v, KVM_SET_TSC_KHZ, vm->setup.tsc_khz)) ||
	    vcpu_set_msr(v, MSR_MISC_ENABLE, 1) || vcpu_set_msr(v, MSR_MTRR_DEF, 0x800 | 6))
		return -1;
	return vcpu_set_tsc_offset(v);
}

/*
 * With APICv or AVIC active KVM never injects in software, and a proxy never sees an
 * interrupt.  A vCPU that blocks interrupts for a debugger inhibits it for the whole VM;
 * this one is never run.
 */
static int inhibit_apicv(struct vmm *vm)
{
	struct kvm_guest_debug dbg = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_BLOCKIRQ };

	if (vm->cfg->nr_nodes == 1 ||
	    (!host_param_is("kvm_intel", "enable_apicv", "Y1") &&
	     !host_param_is("kvm_amd", "avic", "Y1")))
		return 0;
	vm->dummy.fd = ioctl(vm->fd, KVM_CREATE_VCPU, DUMMY_APIC_ID);
	if (vm->dummy.fd < 0)
		return span_fail(vm, "KVM_CREATE_VCPU of one that never runs: %s", strerror(errno));
	return VCPU_CALL(&vm->dummy, KVM_SET_GUEST_DEBUG, &dbg) || vcpu_set_tsc_offset(&vm->dummy) ?
	       -1 : 0;
}

static int enable(struct vmm *vm, u32 cap, u64 arg, const char *what)
{
	struct kvm_enable_cap e = { .cap = cap, .args = { arg } };

	return vm_call(vm, KVM_ENABLE_CAP, (uintptr_t)&e, what);
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
	u32 n = 0, i;

	/* The first CPU boots on node 0; elsewhere its proxy has to wait for nothing less. */
	if (VM_CALL(vm, KVM_SET_TSS_ADDR, 0xfffbd000) ||
	    VM_CALL(vm, KVM_SET_BOOT_CPU_ID, c->node ? DUMMY_APIC_ID - 1 : 0) ||
	    ENABLE(vm, KVM_CAP_SPLIT_IRQCHIP, KVM_IOAPIC_NUM_PINS) ||
	    ENABLE(vm, KVM_CAP_X2APIC_API, x2apic) ||
	    ENABLE(vm, KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1) || mem_slots(vm))
		return -1;
	vm->cpus = xzalloc(c->nr_cpus * sizeof(*vm->cpus));
	for (i = 0; i < c->nr_cpus; i++) {
		n += i == c->nodes[n].first_cpu + c->nodes[n].cpus;
		vm->cpus[i] = (struct vcpu){ .vm = vm, .index = i, .node = n, .fd = -1,
			.apic_id = n << c->apic_shift | (i - c->nodes[n].first_cpu),
			.real = n == c->node };
	}
	for (i = 0; i < c->nr_cpus; i++)
		if (init_vcpu(&vm->cpus[i]))
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
 * Return: not 0 when KVM refuses, with errno.
 */
int vm_signal_msi(struct vmm *vm, u32 apic_id, u8 mode, u8 vector)
{
	struct kvm_msi msi = {
		.address_lo = 0xfee00000 | (apic_id & 0xff) << 12,
		.address_hi = apic_id & 0xffffff00,
		.data = mode << 8 | vector,
	};

	return ioctl(vm->fd, KVM_SIGNAL_MSI, &msi) < 0 ? -1 : 0;
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
		close(vm->cpus[i].fd);
	}
	free(vm->cpus);
	free(vm->cpuid);
	close(vm->dummy.fd);
	close(vm->fd);
}
