// SPDX-License-Identifier: GPL-2.0-only
/*
 * The page-fault side: what the mm calls when a user of guest memory (KVM through GUP, its
 * emulator, vhost, a process) touches a page that its page table does not allow.
 *
 * A page is handed out locked, with permission checked under its lock; the engine takes the
 * page lock before it unmaps, so permission holds until the page table entry is in place.  A
 * fault waits in ->fault only, where it can drop the mm's lock; page_mkwrite never waits.
 */
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>

#include "compat.h"
#include "node.h"
#include "trace.h"

/*
 * Wait until ns_access() has something to say; bounded by the span's time-out.
 * Return: above 0; 0 when the time is up; below 0 at a signal.
 */
static long wait_turn(struct ns_node *n, struct ns_page *p, bool write, bool room, bool intr,
		      bool locked)
{
	long left = msecs_to_jiffies(n->timeout_ms) * 2;
	wait_queue_head_t *wq = room ? &n->cache_wq : ns_page_wq(n, p);

#define READY	(room ? ns_stopped(n) || atomic_long_read(&n->cache_used) < n->cache_limit : \
		 ns_access_ready(n, p, write))
	if (!room && (n->policy & NUMASPAN_POLICY_SLEEP))
		left = ns_sleep_wait(n, p, NULL, write, intr, locked, left);
	else if (intr)
		left = wait_event_interruptible_timeout(*wq, READY, left);
	else
		left = wait_event_killable_timeout(*wq, READY, left);
#undef READY
	return left;
}

/* A fault's times, of ktime_get_ns(): when it began, asked last, and had its last answer, or 0. */
struct times {
	u64 start, asked, answered;
	u64 network;	/* from asking to the answers, so far */
};

/* Has an answer come since @t->asked, or the one before? */
static void answered(struct times *t, const struct ns_page *p)
{
	u64 at = READ_ONCE(p->granted_ns);

	if (at <= t->asked)
		return;
	t->network += at - t->asked;
	t->asked = at;
	t->answered = at;
}

static void account(struct ns_node *n, struct ns_page *p, struct vm_fault *vmf, bool write,
		    const struct ns_access_info *info, struct times *t)
{
	u64 now = ktime_get_ns(), ns = now - t->start, exit = 0, install = 0;
	u64 avg = READ_ONCE(n->latency_ns);

	answered(t, p);
	/* An estimate: concurrent faults may overwrite each other. */
	WRITE_ONCE(n->latency_ns, avg ? avg - avg / 16 + ns / 16 : ns);
	if (info->kvm) {
		exit = t->start - info->exit_ns;
		ns_observe_time(n, NUMASPAN_PART_EXIT, exit);
	}
	if (t->answered) {
		install = now - t->answered;
		ns_observe_time(n, NUMASPAN_PART_NETWORK, t->network);
		ns_observe_time(n, NUMASPAN_PART_INSTALL, install);
	}
	ns_observe_time(n, NUMASPAN_PART_PROTOCOL, ns - t->network - install);
	ns_observe_time(n, NUMASPAN_PART_FAULT, exit + ns);
	if (info->walk)
		ns_count(n, faults_walk);
	if (write)
		ns_count(n, faults_write);
	else
		ns_count(n, faults_read);
	trace_fault(n, p->index, vmf->address, write, info, ns);
}

static vm_fault_t ns_vm_fault(struct vm_fault *vmf)
{
	bool write = vmf->flags & FAULT_FLAG_WRITE;
	bool nowait = vmf->flags & FAULT_FLAG_RETRY_NOWAIT;
	bool retry = vmf->flags & FAULT_FLAG_ALLOW_RETRY;
	bool intr = nowait || (vmf->flags & FAULT_FLAG_INTERRUPTIBLE);
	enum ns_event access = write ? NS_EV_WRITE : NS_EV_READ;
	struct ns_node *n = vmf->vma->vm_private_data;
	struct ns_access_info info;
	bool missed = false, unlocked = false, observed = false, prefetched;
	vm_fault_t ret = VM_FAULT_SIGBUS;
	struct times t = { .start = ktime_get_ns(), .asked = U64_MAX };
	struct ns_page *p;
	struct page *page;
	int err;

	if (vmf->pgoff >= n->nr_pages || ns_stopped(n))
		return VM_FAULT_SIGBUS;
	p = ns_page_get(n, vmf->pgoff);
	if (!p)
		return VM_FAULT_OOM;

	if (write && ns_clears_pages(n)) {
		ns_observe_access(vmf, &info);
		observed = true;
		if (ns_is_clear(n, &info))
			access = NS_EV_CLEAR;
	}
	for (;;) {
		long left;

		answered(&t, p);
		t.asked = ktime_get_ns();
		err = ns_access(n, p, access, &page);
		if (!err || err == -ENOMEM || ns_stopped(n))
			break;
		if (!missed) {
			if (!observed)
				ns_observe_access(vmf, &info);
			ns_hold_wait(n, p, info.token, t.start);
			missed = true;
			if (!write)
				ns_prefetch(n, p->index);
		}
		/* While the lock is held: it keeps the transport from ending. */
		if (n->transport->poll && err == -EAGAIN)
			n->transport->poll(n, p, write);
		if (ns_access_ready(n, p, write) && err == -EAGAIN)
			continue;
		/*
		 * With NOWAIT, KVM would queue an asynchronous fault, and that one asks for
		 * write whatever the guest did: waiting here is cheaper.  The lock stays, as
		 * NOWAIT demands.
		 */
		if (retry && !nowait) {
			kref_get(&n->ref);
			release_fault_lock(vmf);
			unlocked = true;
		}
		left = wait_turn(n, p, write, err == -EBUSY, intr, !unlocked);
		if (!left) {
			ns_stop(n, NUMASPAN_R_PEER_TIMEOUT, ns_home(n, p->index),
				"page %llu: no answer from its home, node %u, in %u ms",
				p->index, ns_home(n, p->index), 2 * n->timeout_ms);
			break;
		}
		if (left < 0) {
			ret = retry ? VM_FAULT_RETRY : VM_FAULT_SIGBUS;
			break;
		}
		/* Nothing keeps the transport from ending now: the access starts over. */
		if (unlocked) {
			ret = VM_FAULT_RETRY;
			break;
		}
	}
	if (missed && (!err || ret == VM_FAULT_RETRY))
		account(n, p, vmf, write, &info, &t);
	if (unlocked) {
		ns_node_put(n);
		return VM_FAULT_RETRY;
	}
	if (err == -ENOMEM)
		return VM_FAULT_OOM;
	if (err)
		return ret;

	spin_lock(&p->lock);
	if (!p->fresh && !missed)
		ns_count(n, faults_local);
	prefetched = p->prefetched;
	if (prefetched)
		ns_prefetch_over(n, p, true);
	if (p->fresh)
		ns_hold_used(n, p, ktime_get_ns());
	/* Map for writing at once what nobody else has: it saves the second fault. */
	if (p->c.state == NS_MODIFIED)
		vmf->flags |= FAULT_FLAG_WRITE;
	spin_unlock(&p->lock);
	if (prefetched)
		ns_prefetch(n, p->index);
	vmf->page = page;
	return VM_FAULT_LOCKED;
}

/* May @page be mapped for writing?  Then it is locked on return. */
static bool lock_writable(struct ns_node *n, struct ns_page *p, struct page *page)
{
	bool ok;

	lock_page(page);
	spin_lock(&p->lock);
	ok = p->page == page && ns_cache_allows(&p->c, true) && !ns_stopped(n);
	if (ok && p->fresh)
		ns_hold_used(n, p, ktime_get_ns());
	spin_unlock(&p->lock);
	if (!ok)
		unlock_page(page);
	return ok;
}

/**
 * ns_upgrade_over() - need who writes to a copy wait no more?
 * @n:		node
 * @p:		the page's entry
 * @page:	the copy
 *
 * It has its permission, or its copy goes to another node that writes.  That node waits until
 * nobody refers to the copy, and the fault does.
 *
 * Context: any, p->lock not held.
 */
bool ns_upgrade_over(struct ns_node *n, struct ns_page *p, struct page *page)
{
	bool lost;

	spin_lock(&p->lock);
	lost = p->page != page || p->c.closing != NS_CLOSING_NO;
	spin_unlock(&p->lock);
	return lost || ns_access_ready(n, p, true);
}

/*
 * A page mapped for reading is written to.  The mm's lock cannot be dropped here, so the wait
 * is as long as a fault usually takes, and then the access starts over in ->fault.  The request
 * has to go out here: readers on this node may map the page again before ->fault sees the
 * writer.
 */
static vm_fault_t ns_vm_page_mkwrite(struct vm_fault *vmf)
{
	struct ns_node *n = vmf->vma->vm_private_data;
	struct ns_page *p = ns_page_get(n, vmf->pgoff);
	struct ns_access_info info;
	struct times t = {};
	u64 usual;

	if (!p)
		return VM_FAULT_OOM;
	if (lock_writable(n, p, vmf->page))
		return VM_FAULT_LOCKED;
	t.start = ktime_get_ns();
	ns_observe_access(vmf, &info);
	ns_hold_wait(n, p, info.token, t.start);
	t.asked = ktime_get_ns();
	if (!ns_stopped(n))
		ns_request(n, p, NS_EV_WRITE);
	if (n->transport->poll)
		n->transport->poll(n, p, true);
	usual = min_t(u64, READ_ONCE(n->latency_ns), 10 * NSEC_PER_MSEC);
	if (n->policy & NUMASPAN_POLICY_SLEEP)
		ns_sleep_wait(n, p, vmf->page, true, true, true, nsecs_to_jiffies(2 * usual) + 1);
	else
		wait_event_interruptible_timeout(*ns_page_wq(n, p),
						 ns_upgrade_over(n, p, vmf->page),
						 nsecs_to_jiffies(2 * usual) + 1);
	if (lock_writable(n, p, vmf->page)) {
		account(n, p, vmf, true, &info, &t);
		return VM_FAULT_LOCKED;
	}
	unmap_mapping_pages(n->inode->i_mapping, vmf->pgoff, 1, false);
	return VM_FAULT_NOPAGE;
}

/* Nothing to map around a fault; that this exists lets faults run under the VMA's own lock. */
static vm_fault_t ns_vm_map_pages(struct vm_fault *vmf, pgoff_t start, pgoff_t end)
{
	return 0;
}

const struct vm_operations_struct ns_vm_ops = {
	.fault = ns_vm_fault, .map_pages = ns_vm_map_pages, .page_mkwrite = ns_vm_page_mkwrite,
};
