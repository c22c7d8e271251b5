// SPDX-License-Identifier: GPL-2.0-only
/*
 * numaspan.ko: guest memory that spans hosts, as a character device.  This file is the device:
 * open, ioctl, mmap, poll.  Every field that comes from user space is checked here or in node.c
 * before use.
 */
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "node.h"

bool ns_unsafe_tests;
module_param_named(unsafe_tests, ns_unsafe_tests, bool, 0444);
MODULE_PARM_DESC(unsafe_tests, "accept the flags that switch safety off, for tests (default: no)");

static int dev_open(struct inode *inode, struct file *f)
{
	struct ns_node *n = ns_node_alloc();

	if (!n)
		return -ENOMEM;
	f->private_data = n;
	/* Each node has its own mappings: unmapping its pages must not touch another's. */
	f->f_mapping = n->inode->i_mapping;
	return 0;
}

static int dev_release(struct inode *inode, struct file *f)
{
	ns_node_end(f->private_data);
	return 0;
}

static long do_connect(struct ns_node *n, const struct numaspan_connect *c)
{
	if (n->state != NUMASPAN_CREATED)
		return n->state == NUMASPAN_NEW ? -ENXIO : -EBUSY;
	if (c->reserved[0] || c->reserved[1] || c->node >= n->nr_nodes || c->node == n->self) {
		pr_notice("numaspan: connect: node %u: expected a peer below %u, reserved fields 0\n",
			  c->node, n->nr_nodes);
		return -EINVAL;
	}
	if (!n->transport->connect)
		return -EOPNOTSUPP;
	return n->transport->connect(n, c->node, c->fd);
}

static long do_connect_rdma(struct ns_node *n, const struct numaspan_connect_rdma *c)
{
	if (n->state != NUMASPAN_CREATED)
		return n->state == NUMASPAN_NEW ? -ENXIO : -EBUSY;
	if (c->reserved[0] || c->reserved[1] || c->node >= n->nr_nodes || c->node == n->self ||
	    c->flags & ~NUMASPAN_RDMA_DIAL) {
		pr_notice("numaspan: connect: node %u flags %x: expected a peer below %u, known flags, reserved fields 0\n",
			  c->node, c->flags, n->nr_nodes);
		return -EINVAL;
	}
	if (!n->transport->connect_rdma)
		return -EOPNOTSUPP;
	return n->transport->connect_rdma(n, c);
}

static long do_start(struct ns_node *n)
{
	if (n->state != NUMASPAN_CREATED)
		return n->state == NUMASPAN_NEW ? -ENXIO : -EBUSY;
	return ns_node_start(n);
}

static long do_stop(struct ns_node *n)
{
	if (n->state < NUMASPAN_RUNNING)
		return -ENXIO;
	ns_stop(n, NUMASPAN_R_STOP, n->self, "node %u was asked to stop", n->self);
	flush_work(&n->stop_work);
	return 0;
}

static long do_status(struct ns_node *n, void __user *arg)
{
	struct numaspan_status s;

	spin_lock(&n->status_lock);
	s = n->status;
	s.state = n->state;
	spin_unlock(&n->status_lock);
	if (s.state != NUMASPAN_STOPPED)
		s.peer = ~0U;
	return copy_to_user(arg, &s, sizeof(s)) ? -EFAULT : 0;
}

static long do_stats(struct ns_node *n, void __user *arg)
{
	struct numaspan_stats *s;
	u32 head[2];
	long err = 0;

	if (copy_from_user(head, arg, sizeof(head)))
		return -EFAULT;
	if (head[0] != NUMASPAN_ABI || head[1] != sizeof(*s)) {
		pr_notice("numaspan: stats: abi %u size %u: expected %u and %zu\n", head[0],
			  head[1], NUMASPAN_ABI, sizeof(*s));
		return -EINVAL;
	}
	/* Pairs with the release in ns_node_create(): the counters are there. */
	if (smp_load_acquire(&n->state) == NUMASPAN_NEW)
		return -ENXIO;
	s = kmalloc(sizeof(*s), GFP_KERNEL);
	if (!s)
		return -ENOMEM;
	ns_fill_stats(n, s);
	if (copy_to_user(arg, s, sizeof(*s)))
		err = -EFAULT;
	kfree(s);
	return err;
}

static long dev_ioctl(struct file *f, unsigned int cmd, unsigned long arg)
{
	union {
		struct numaspan_create create;
		struct numaspan_connect connect;
		struct numaspan_connect_rdma connect_rdma;
		struct numaspan_clear_code clear_code;
	} u;
	struct ns_node *n = f->private_data;
	void __user *p = (void __user *)arg;
	long ret;

	if (cmd == NUMASPAN_STATUS)
		return do_status(n, p);
	if (cmd == NUMASPAN_STATS)
		return do_stats(n, p);
	if (_IOC_SIZE(cmd) > sizeof(u))
		return -ENOTTY;
	if ((_IOC_DIR(cmd) & _IOC_WRITE) && copy_from_user(&u, p, _IOC_SIZE(cmd)))
		return -EFAULT;
	if (mutex_lock_killable(&n->ctl))
		return -EINTR;
	switch (cmd) {
	case NUMASPAN_CREATE:
		ret = n->state == NUMASPAN_NEW ? ns_node_create(n, &u.create) : -EBUSY;
		break;
	case NUMASPAN_CONNECT:
		ret = do_connect(n, &u.connect);
		break;
	case NUMASPAN_CONNECT_RDMA:
		ret = do_connect_rdma(n, &u.connect_rdma);
		break;
	case NUMASPAN_CLEAR_CODE:
		ret = n->state == NUMASPAN_NEW ? -ENXIO : ns_clear_code(n, &u.clear_code);
		break;
	case NUMASPAN_START:
		ret = do_start(n);
		break;
	case NUMASPAN_STOP:
		ret = do_stop(n);
		break;
	default:
		ret = -ENOTTY;
	}
	mutex_unlock(&n->ctl);
	/* The token's bytes. */
	memzero_explicit(&u, sizeof(u));
	return ret;
}

static int dev_mmap(struct file *f, struct vm_area_struct *vma)
{
	struct ns_node *n = f->private_data;

	if (READ_ONCE(n->state) != NUMASPAN_RUNNING)
		return -ENXIO;
	/* A private mapping would copy pages, and the copies would not be coherent. */
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (vma->vm_pgoff >= n->nr_pages || vma_pages(vma) > n->nr_pages - vma->vm_pgoff)
		return -ENXIO;
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTCOPY | VM_DONTDUMP | VM_MIXEDMAP | VM_NOHUGEPAGE);
	vma->vm_private_data = n;
	vma->vm_ops = &ns_vm_ops;
	return 0;
}

static __poll_t dev_poll(struct file *f, poll_table *wait)
{
	struct ns_node *n = f->private_data;

	poll_wait(f, &n->status_wq, wait);
	return ns_stopped(n) ? EPOLLERR | EPOLLHUP : 0;
}

static const struct file_operations dev_fops = {
	.owner = THIS_MODULE,
	.open = dev_open,
	.release = dev_release,
	.unlocked_ioctl = dev_ioctl,
	.mmap = dev_mmap,
	.poll = dev_poll,
};

static struct miscdevice dev = {
	.minor = MISC_DYNAMIC_MINOR, .name = "numaspan", .fops = &dev_fops, .mode = 0600,
};

static int __init ns_init(void)
{
	int err = ns_observe_init();

	if (err)
		return err;
	err = misc_register(&dev);
	if (err)
		ns_observe_exit();
	return err;
}

static void __exit ns_exit(void)
{
	misc_deregister(&dev);
	ns_observe_exit();
}

module_init(ns_init);
module_exit(ns_exit);
MODULE_DESCRIPTION("Guest memory that spans hosts");
MODULE_LICENSE("GPL");
