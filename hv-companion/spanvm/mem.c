// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory: the mapping of an open /dev/numaspan, its KVM memory slots, and what becomes
 * of the span when an access to it fails.  Page N of the span is at offset N of the mapping; the
 * guest sees pages below 3 GiB at their own address and the rest from 4 GiB up.
 */
#include <sys/mman.h>

#include "spanvm.h"

#define DEVICE	"/dev/numaspan"

/**
 * page_to_gpa - where the guest sees a page of the span
 * @page: its number
 *
 * Return: the guest physical address.
 */
u64 page_to_gpa(u64 page)
{
	u64 off = page * PAGE_SIZE;

	return off < RAM_HOLE ? off : off - RAM_HOLE + RAM_HIGH;
}

/**
 * gpa_to_ptr - this process's address of guest memory
 * @vm: this node
 * @gpa: guest physical address
 * @len: bytes that have to be there
 *
 * Return: the address, or NULL when that is not all guest memory in one piece.
 */
void *gpa_to_ptr(struct vmm *vm, u64 gpa, u64 len)
{
	u64 off = gpa, total = vm->cfg->pages * PAGE_SIZE;

	if (gpa >= RAM_HIGH)
		off = gpa - RAM_HIGH + RAM_HOLE;
	else if (gpa >= RAM_HOLE || len > RAM_HOLE - gpa)
		return NULL;
	return off < total && len <= total - off ? vm->ram + off : NULL;
}

/* All rails to a node.  Who has the higher number dials, as on the control connection. */
static int connect_rdma(struct vmm *vm, u32 node)
{
	const struct node_cfg *me = &vm->cfg->nodes[vm->cfg->node], *peer = &vm->cfg->nodes[node];
	u32 i;

	for (i = 0; i < me->nr_rdma; i++) {
		struct numaspan_connect_rdma con = { .node = node };
		struct sv_addr local = me->rdma[i];

		if (vm->cfg->node > node) {
			con.flags = NUMASPAN_RDMA_DIAL;
			/* At the same place in both families. */
			local.in.sin_port = 0;
		}
		memcpy(con.local, &local.sa, local.len);
		memcpy(con.remote, &peer->rdma[i].sa, peer->rdma[i].len);
		if (ioctl(vm->mem_fd, NUMASPAN_CONNECT_RDMA, &con))
			return span_fail(vm, "%s: RDMA from %s to node %u at %s: %s", DEVICE,
					 me->rdma[i].text, node, peer->rdma[i].text,
					 strerror(errno));
	}
	return 0;
}

/**
 * mem_create - make this node's side of the span's memory; all nodes, before mem_start()
 * @vm: this node
 *
 * Return: 0, or -1 after span_end().
 */
int mem_create(struct vmm *vm)
{
	const struct config *c = vm->cfg;
	struct numaspan_create nc = {
		.abi = NUMASPAN_ABI, .size = sizeof(nc), .span_id = c->span_id,
		.epoch = vm->setup.epoch, .node = c->node, .nr_nodes = c->nr_nodes,
		.transport = c->transport, .timeout_ms = c->timeout_ms, .hold_us = c->hold_us,
		.cache_pages = c->nodes[c->node].cache / PAGE_SIZE, .prefetch = c->prefetch,
		.policy = c->policy,
	};
	u32 i;

	for (i = 0; i < c->nr_nodes; i++)
		nc.home_pages[i] = c->nodes[i].memory / PAGE_SIZE;
	auth_mac(c, "token", &c->span_id, sizeof(c->span_id), &vm->setup, sizeof(vm->setup),
		 nc.token);
	vm->mem_fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	if (vm->mem_fd < 0 || ioctl(vm->mem_fd, NUMASPAN_CREATE, &nc))
		return span_fail(vm, "%s: %s", DEVICE, strerror(errno));
	for (i = 0; i < c->nr_nodes && c->transport != NUMASPAN_LOOPBACK; i++) {
		struct numaspan_connect con = { .node = i, .fd = vm->peers[i].data_fd };

		if (i == c->node)
			continue;
		if (c->transport == NUMASPAN_RDMA) {
			if (connect_rdma(vm, i))
				return -1;
			continue;
		}
		if (ioctl(vm->mem_fd, NUMASPAN_CONNECT, &con))
			return span_fail(vm, "%s: does not take the peer, node %u: %s", DEVICE, i,
					 strerror(errno));
		close(vm->peers[i].data_fd);
		vm->peers[i].data_fd = -1;
	}
	return 0;
}

/**
 * mem_start - start the protocol and map the memory; after mem_create() on all nodes
 * @vm: this node
 *
 * Return: 0, or -1 after span_end().
 */
int mem_start(struct vmm *vm)
{
	const u64 size = vm->cfg->pages * PAGE_SIZE;

	if (ioctl(vm->mem_fd, NUMASPAN_START))
		return span_fail(vm, "%s: cannot start: %s", DEVICE, strerror(errno));
	vm->ram = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, vm->mem_fd,
		       0);
	if (vm->ram == MAP_FAILED) {
		vm->ram = NULL;
		return span_fail(vm, "cannot map %llu bytes of guest memory: %s", size,
				 strerror(errno));
	}
	return 0;
}

static int set_slot(struct vmm *vm, u32 slot, u64 gpa, u64 off, u64 len)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot, .guest_phys_addr = gpa, .memory_size = len,
		.userspace_addr = (uintptr_t)vm->ram + off,
	};

	return VM_CALL(vm, KVM_SET_USER_MEMORY_REGION, &r);
}

/**
 * mem_slots - give the mapping to the VM, and the fault ring
 * @vm: this node
 *
 * Return: 0, or -1 after span_end().
 */
int mem_slots(struct vmm *vm)
{
	const u64 size = vm->cfg->pages * PAGE_SIZE;

	if (set_slot(vm, 0, 0, 0, size < RAM_HOLE ? size : RAM_HOLE) ||
	    (size > RAM_HOLE && set_slot(vm, 1, RAM_HIGH, RAM_HOLE, size - RAM_HOLE)))
		return -1;
	return ring_open(vm);
}

/**
 * mem_failed - an access to guest memory failed, or the device says that its span stopped
 * @vm: this node
 * @what: the access, for the case that the device knows no reason
 *
 * The peers may be about to say a better reason over the control connection.
 */
void mem_failed(struct vmm *vm, const char *what)
{
	struct numaspan_status st = { 0 };
	const bool silent = ioctl(vm->mem_fd, NUMASPAN_STATUS, &st) || st.reason == NUMASPAN_R_NONE;

	st.text[sizeof(st.text) - 1] = 0;
	if (silent)
		span_fail(vm, "%s: guest memory failed", what);
	else if (st.reason == NUMASPAN_R_PEER_STOP || st.reason == NUMASPAN_R_PEER_LOST)
		span_end_weak(vm, "memory: %s", st.text);
	else
		span_fail(vm, "memory: %s", st.text);
}

/**
 * mem_stop - stop the protocol, so that no thread waits for a page any more
 * @vm: this node
 */
void mem_stop(struct vmm *vm)
{
	if (vm->mem_fd >= 0)
		ioctl(vm->mem_fd, NUMASPAN_STOP);
}

/**
 * mem_close - give the memory back
 * @vm: this node
 */
void mem_close(struct vmm *vm)
{
	if (vm->ram)
		munmap(vm->ram, vm->cfg->pages * PAGE_SIZE);
	close(vm->mem_fd);
	ring_close(vm);
}
