// SPDX-License-Identifier: GPL-2.0-only
/*
 * Keeps a virtual machine whose only vCPU never runs.  KVM patches its own code when the first
 * vCPU with a disabled local APIC comes and when the last one goes; an emulated host does not
 * always survive that while another of its CPUs runs the code.  While this program lives the
 * code stays as it is.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/kvm.h>

int main(void)
{
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);

	if (vm < 0 || ioctl(vm, KVM_ENABLE_CAP, &split) || ioctl(vm, KVM_CREATE_VCPU, 0) < 0) {
		perror("idle-vm");
		return 1;
	}
	/* The reader waits for this line: the code has been patched. */
	puts("idle");
	fflush(stdout);
	for (;;)
		pause();
}
