// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the guest says about itself, which this node's module uses: where its code is that clears
 * pages.  A guest that knows spanvm says so by a call (numaspan_guest.h).  For one that does not,
 * `system_map' does; that is believed once the guest's memory has the code there, so that no
 * other kernel's map, and no kernel that is somewhere else, makes pages turn to zeros.
 *
 * What is known lives as long as the open device, for one incarnation.
 */
#include <sys/uio.h>

#include "spanvm.h"

/* Where a kernel has its link address, if nokaslr keeps it from choosing another one. */
#define KERNEL_MAP	0xffffffff80000000ULL
#define LOOK_MS		250

/* mov $4096, %ecx; xor %eax, %eax; rep stosb, and the same by words */
static const u8 clear_bytes[] = { 0xb9, 0x00, 0x10, 0x00, 0x00, 0x31, 0xc0, 0xf3, 0xaa };
static const u8 clear_words[] = { 0xb9, 0x00, 0x02, 0x00, 0x00, 0x31, 0xc0, 0xf3, 0x48, 0xab };

static int say_clear_code(struct vmm *vm, u64 start, u64 end)
{
	struct numaspan_clear_code code = { .start = start, .end = end };

	return ioctl(vm->mem_fd, NUMASPAN_CLEAR_CODE, &code);
}

/**
 * guest_call - the guest calls, see numaspan_guest.h
 * @v: the vCPU, whose thread this is
 * @nr: NUMASPAN_CALL_*
 *
 * A call that means nothing is ignored, with one line in an incarnation.
 */
void guest_call(struct vcpu *v, u32 nr)
{
	struct vmm *vm = v->vm;
	struct kvm_regs r;

	if (VCPU_CALL(v, KVM_GET_REGS, &r))
		return;
	if (vm->cfg->clear_page && nr == NUMASPAN_CALL_CLEAR_CODE && r.rcx >= r.rbx &&
	    r.rcx - r.rbx <= PAGE_SIZE && !say_clear_code(vm, r.rbx, r.rcx))
		return;
	if (!atomic_exchange(&vm->odd_call, true))
		say(vm, "CPU %u calls %u with %llx and %llx: expected %u, at most 4096 bytes",
		    v->index, nr, r.rbx, r.rcx, NUMASPAN_CALL_CLEAR_CODE);
}

/**
 * guest_find_clear_code - believe the configuration's system_map, if it is the running kernel's
 * @v: a vCPU of this node, whose thread this is
 */
void guest_find_clear_code(struct vcpu *v)
{
	struct vmm *vm = v->vm;
	const struct config *c = vm->cfg;
	const u64 len = c->clear_end - c->clear_start;
	u8 code[PAGE_SIZE];
	struct iovec to = { code, len };
	struct iovec from = { gpa_to_ptr(vm, c->clear_start - KERNEL_MAP, len), len };

	/* Unlike an access, this only fails when the span has stopped. */
	if (!from.iov_base || atomic_load(&vm->clear_found) ||
	    process_vm_readv(getpid(), &to, 1, &from, 1, 0) != (ssize_t)len)
		return;
	if (memmem(code, len, clear_bytes, sizeof(clear_bytes)) ||
	    memmem(code, len, clear_words, sizeof(clear_words)))
		atomic_store(&vm->clear_found, !say_clear_code(vm, c->clear_start, c->clear_end));
}

/**
 * guest_tick - have a vCPU look for the code, as long as it has not been found
 * @vm: this node
 * @now: monotonic time
 */
void guest_tick(struct vmm *vm, u64 now)
{
	if (!vm->up || !vm->cfg->clear_end || now < vm->clear_next_ns ||
	    atomic_load(&vm->clear_found))
		return;
	vm->clear_next_ns = now + LOOK_MS * 1000000ULL;
	vcpu_kick(&vm->cpus[vm->cfg->nodes[vm->cfg->node].first_cpu]);
}

/**
 * guest_read_map - where a kernel has the code that clears pages
 * @path: its System.map
 * @start: the first byte
 * @end: behind the last one
 *
 * Return: whether it is there.
 */
bool guest_read_map(const char *path, u64 *start, u64 *end)
{
	FILE *f = fopen(path, "re");
	char line[512], name[512], type;
	bool last = false;
	u64 addr;

	*start = 0;
	*end = 0;
	/* By address: what comes after the last of these functions is its end. */
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx %c %511s", &addr, &type, name) != 3)
			break;
		if (last && !strncmp(name, "__pfx_", 6))
			continue;
		if (last)
			*end = addr;
		last = !strcmp(name, "clear_page_rep") || !strcmp(name, "clear_page_orig") ||
		       !strcmp(name, "clear_page_erms");
		if (last && !*start)
			*start = addr;
	}
	if (f)
		fclose(f);
	return *start >= KERNEL_MAP && *end > *start && *end - *start <= PAGE_SIZE;
}
