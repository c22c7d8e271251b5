// SPDX-License-Identifier: GPL-2.0-only
/*
 * The TCP transport: one connected socket a peer, handed in by spanvm, which has authenticated it.
 *
 * A thread a peer receives and delivers.  A message is sent by the task that has it, without
 * blocking; what the socket does not take is queued, and a second thread a peer sends the queue.
 * So no receiver ever waits for a sender, and two nodes cannot block each other with full sockets.
 * Whoever handed the socket in may still use it, and has it locked while he sends or receives pages
 * of the span: a page fault must not wait for its own task.  So a message waits for the socket's
 * lock for ticks at most, and is then queued; if the lock stays taken, the peer is out of time.
 *
 * Invariants: the socket's lock is waited for without end by the threads only, which hold no other
 * lock then; sequence numbers are given and bytes enter the socket in the same order, both under
 * ns_link.tx; while ns_link.queue is not empty or the sender is at work, nothing overtakes it.
 */
#include <linux/file.h>
#include <linux/highmem.h>
#include <linux/kthread.h>
#include <linux/net.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/tcp.h>
#include <net/sock.h>
#include <net/tcp.h>

#include "node.h"
#include "wire.h"

#define NS_SOCK_BUF	(4 << 20)

struct ns_letter {
	struct list_head list;
	unsigned int sent;		/* bytes that have gone */
	unsigned int len;		/* bytes after the header */
	const char *data;		/* those bytes */
	struct page *page;		/* they are in this page, which is the letter's */
	struct ns_wire w;
	char text[];			/* or here */
};

/* One peer. */
struct ns_link {
	struct ns_node *n;
	u8 peer;
	struct socket *sock;
	struct task_struct *rx;
	struct task_struct *sender;
	u32 rx_seq;

	struct mutex tx;		/* guards what follows */
	u32 tx_seq;
	bool sending;			/* the sender has taken letters off the queue */
	bool closed;			/* nothing is sent any more */
	struct list_head queue;
	wait_queue_head_t wq;
};

struct ns_links {
	struct ns_link peer[NUMASPAN_MAX_NODES];
};

static struct ns_link *link_of(struct ns_node *n, u8 peer)
{
	struct ns_links *links = n->link;

	return &links->peer[peer];
}

static int tcp_connect_peer(struct ns_node *n, u32 peer, int fd)
{
	struct ns_links *links;
	struct socket *sock;
	struct ns_link *l;
	int err;

	if (!n->link) {
		links = kvzalloc(sizeof(*links), GFP_KERNEL);
		if (!links)
			return -ENOMEM;
		n->link = links;
	}
	l = link_of(n, peer);
	if (l->sock)
		return -EEXIST;
	sock = sockfd_lookup(fd, &err);
	if (!sock)
		return err;
	/* An upper layer such as TLS would be by-passed: what should be encrypted would not be. */
	if (sock->type != SOCK_STREAM || sock->sk->sk_protocol != IPPROTO_TCP ||
	    sock->sk->sk_state != TCP_ESTABLISHED || inet_csk(sock->sk)->icsk_ulp_ops) {
		pr_notice("numaspan: connect: file %d: expected a plain TCP connection\n", fd);
		sockfd_put(sock);
		return -ENOTCONN;
	}
	l->n = n;
	l->peer = peer;
	mutex_init(&l->tx);
	INIT_LIST_HEAD(&l->queue);
	init_waitqueue_head(&l->wq);
	tcp_sock_set_nodelay(sock->sk);
	sock->sk->sk_allocation = GFP_NOFS;
	sock->sk->sk_sndtimeo = MAX_SCHEDULE_TIMEOUT;
	sock->sk->sk_rcvtimeo = MAX_SCHEDULE_TIMEOUT;
	lock_sock(sock->sk);
	sock->sk->sk_userlocks |= SOCK_SNDBUF_LOCK;
	WRITE_ONCE(sock->sk->sk_sndbuf, NS_SOCK_BUF);
	release_sock(sock->sk);
	l->sock = sock;
	return 0;
}

/* Receive exactly @len bytes: 0, or an error (EOF is -ECONNRESET). */
static int receive(struct ns_link *l, void *buf, size_t len)
{
	struct kvec iov = { .iov_base = buf, .iov_len = len };
	struct msghdr msg = { .msg_flags = MSG_WAITALL | MSG_NOSIGNAL };
	int ret;

	while (iov.iov_len) {
		ret = kernel_recvmsg(l->sock, &msg, &iov, 1, iov.iov_len, msg.msg_flags);
		if (ret <= 0)
			return ret ?: -ECONNRESET;
		iov.iov_base += ret;
		iov.iov_len -= ret;
		WRITE_ONCE(l->n->heard[l->peer], jiffies);
	}
	return 0;
}

/* Receive and deliver one message; *@spare is a page to receive contents into, or NULL. */
static int receive_one(struct ns_link *l, struct page **spare)
{
	struct ns_node *n = l->n;
	char text[NUMASPAN_REASON_LEN] = "";
	struct ns_wire w;
	struct page *none = NULL, **contents = &none;
	struct ns_msg m = {};
	const char *why;
	void *data = text;
	u64 index;
	int err;

	err = receive(l, &w, sizeof(w));
	if (err)
		return err;
	if (ns_wire_decode(n, &w, l->peer, l->rx_seq, &index, &m, &why))
		goto bad;
	if (ns_msg_has_page(m.type) && w.len) {
		contents = spare;
		*spare = ns_spare_page(n, *spare);
		if (!*spare)
			return -ENOMEM;
		ns_count(n, page_copies);
		data = page_address(*spare);
	}
	err = receive(l, data, le32_to_cpu(w.len));
	if (err)
		return err;
	if (ns_wire_check_data(&w, data, &why))
		goto bad;
	l->rx_seq++;
	ns_receive(n, l->peer, index, &m, text, contents);
	if (none)
		put_page(none);
	return 0;
bad:
	ns_stop(n, NUMASPAN_R_BAD_MESSAGE, l->peer, "bad message from node %u: %s", l->peer, why);
	return -EBADMSG;
}

/* After a stop, take what still comes, lest the peer's last words be answered by a reset. */
static void receive_rest(struct ns_link *l)
{
	char buf[256];

	while (!kthread_should_stop()) {
		struct kvec iov = { .iov_base = buf, .iov_len = sizeof(buf) };
		struct msghdr msg = { .msg_flags = MSG_NOSIGNAL };

		if (kernel_recvmsg(l->sock, &msg, &iov, 1, sizeof(buf), msg.msg_flags) <= 0)
			return;
	}
}

static int receiver(void *arg)
{
	struct ns_link *l = arg;
	struct ns_node *n = l->n;
	struct page *spare = NULL;
	int err = 0;

	while (!err && !ns_stopped(n))
		err = receive_one(l, &spare);
	if (spare)
		put_page(spare);
	if (err)
		ns_stop(n, NUMASPAN_R_PEER_LOST, l->peer, "connection to node %u was lost (%d)",
			l->peer, err);
	receive_rest(l);
	/* kthread_stop() needs a thread that is still there. */
	set_current_state(TASK_INTERRUPTIBLE);
	while (!kthread_should_stop()) {
		schedule();
		set_current_state(TASK_INTERRUPTIBLE);
	}
	__set_current_state(TASK_RUNNING);
	return 0;
}

static bool trylock_sock(struct sock *sk)
{
	bool locked;

	spin_lock_bh(&sk->sk_lock.slock);
	locked = !sock_owned_by_user_nocheck(sk);
	if (locked) {
		sk->sk_lock.owned = 1;
		mutex_acquire(&sk->sk_lock.dep_map, 0, 1, _RET_IP_);
	}
	spin_unlock_bh(&sk->sk_lock.slock);
	return locked;
}

/* Push bytes of @lt into the locked socket: 0 when all have gone, -EAGAIN, or an error. */
static int push(struct ns_link *l, struct ns_letter *lt, int flags)
{
	const unsigned int total = sizeof(lt->w) + lt->len;

	while (lt->sent < total) {
		struct msghdr msg = { .msg_flags = flags | MSG_NOSIGNAL };
		unsigned int head = min_t(unsigned int, lt->sent, sizeof(lt->w));
		unsigned int tail = lt->sent - head;
		struct kvec iov[2] = {
			{ .iov_base = (void *)&lt->w + head, .iov_len = sizeof(lt->w) - head },
			{ .iov_base = (void *)lt->data + tail, .iov_len = lt->len - tail },
		};
		int ret = kernel_sendmsg_locked(l->sock->sk, &msg, iov, 2, total - lt->sent);

		if (ret < 0)
			return ret;
		lt->sent += ret;
	}
	return 0;
}

static void free_letter(struct ns_letter *lt)
{
	if (lt->page)
		put_page(lt->page);
	kfree(lt);
}

static int sender(void *arg)
{
	struct ns_link *l = arg;
	struct ns_node *n = l->n;

	while (!kthread_should_stop()) {
		struct ns_letter *lt;
		int err;

		wait_event_interruptible(l->wq, kthread_should_stop() ||
					 !list_empty_careful(&l->queue));
		mutex_lock(&l->tx);
		lt = list_first_entry_or_null(&l->queue, struct ns_letter, list);
		if (lt)
			list_del(&lt->list);
		l->sending = lt;
		mutex_unlock(&l->tx);
		if (!lt)
			continue;
		lock_sock(l->sock->sk);
		err = push(l, lt, 0);
		release_sock(l->sock->sk);
		free_letter(lt);
		if (err)
			ns_stop(n, NUMASPAN_R_PEER_LOST, l->peer,
				"cannot send to node %u (%d)", l->peer, err);
	}
	return 0;
}

/* Queue what of @head the socket did not take.  The contents may change afterwards: copy them. */
static int queue_rest(struct ns_link *l, const struct ns_letter *head)
{
	struct ns_letter *lt = kmalloc(sizeof(*lt) + (head->page ? 0 : head->len), GFP_KERNEL);

	if (!lt)
		return -ENOMEM;
	*lt = *head;
	if (head->page) {
		lt->page = alloc_page(GFP_KERNEL);
		if (!lt->page) {
			kfree(lt);
			return -ENOMEM;
		}
		copy_highpage(lt->page, head->page);
		ns_count(l->n, page_copies);
		lt->data = page_address(lt->page);
	} else {
		memcpy(lt->text, head->data, head->len);
		lt->data = lt->text;
	}
	list_add_tail(&lt->list, &l->queue);
	wake_up(&l->wq);
	return 0;
}

static void transmit(struct ns_link *l, u64 index, const struct ns_msg *m, struct page *page,
		     const char *text, unsigned int len)
{
	struct ns_letter lt = {
		.len = len, .page = page, .data = page ? page_address(page) : text,
	};
	struct sock *sk = l->sock->sk;
	int err = -EAGAIN;

	mutex_lock(&l->tx);
	if (l->closed) {
		mutex_unlock(&l->tx);
		return;
	}
	ns_wire_encode(l->n, &lt.w, l->peer, l->tx_seq++, index, m, lt.data, len);
	if (page)
		ns_count(l->n, page_copies);
	l->closed = m->type == NUMASPAN_BYE;
	/* Whoever has the socket's lock may wait for this very task. */
	if (!l->sending && list_empty(&l->queue) &&
	    wait_event_timeout(sk->sk_lock.wq, trylock_sock(sk), 2)) {
		err = push(l, &lt, MSG_DONTWAIT);
		release_sock(sk);
	}
	if (err == -EAGAIN)
		err = queue_rest(l, &lt);
	mutex_unlock(&l->tx);
	if (err == -ENOMEM)
		ns_stop(l->n, NUMASPAN_R_NO_MEMORY, l->n->self, "no memory to queue a message");
	else if (err)
		ns_stop(l->n, NUMASPAN_R_PEER_LOST, l->peer, "cannot send to node %u (%d)",
			l->peer, err);
}

static void tcp_send(struct ns_node *n, u8 to, u64 index, const struct ns_msg *m, struct page *page)
{
	transmit(link_of(n, to), index, m, page, NULL, page ? PAGE_SIZE : 0);
}

static void tcp_say(struct ns_node *n, u8 to, const struct ns_msg *m, const char *text)
{
	if (n->link && link_of(n, to)->sock)
		transmit(link_of(n, to), 0, m, NULL, text, strlen(text));
}

static int tcp_start(struct ns_node *n)
{
	unsigned int i;

	for (i = 0; i < n->nr_nodes; i++) {
		if (i != n->self && (!n->link || !link_of(n, i)->sock)) {
			pr_notice("numaspan: start: node %u is not connected\n", i);
			return -ENOTCONN;
		}
	}
	for (i = 0; i < n->nr_nodes; i++) {
		struct ns_link *l;
		struct task_struct *t;

		if (i == n->self)
			continue;
		l = link_of(n, i);
		n->heard[i] = jiffies;
		t = kthread_run(sender, l, "numaspan-tx/%u-%u", n->self, i);
		if (IS_ERR(t))
			return PTR_ERR(t);
		l->sender = t;
		t = kthread_run(receiver, l, "numaspan-rx/%u-%u", n->self, i);
		if (IS_ERR(t))
			return PTR_ERR(t);
		l->rx = t;
	}
	return 0;
}

static void tcp_stop(struct ns_node *n)
{
	struct ns_letter *lt, *tmp;
	unsigned int i;

	for (i = 0; n->link && i < n->nr_nodes; i++) {
		struct ns_link *l = link_of(n, i);

		if (!l->sock)
			continue;
		kernel_sock_shutdown(l->sock, SHUT_RDWR);
		if (l->sender)
			kthread_stop(l->sender);
		if (l->rx)
			kthread_stop(l->rx);
		list_for_each_entry_safe(lt, tmp, &l->queue, list)
			free_letter(lt);
		sockfd_put(l->sock);
	}
	kvfree(n->link);
	n->link = NULL;
}

const struct ns_transport ns_tcp = {
	.name = "tcp",
	.connect = tcp_connect_peer,
	.start = tcp_start,
	.send = tcp_send,
	.say = tcp_say,
	.tick = ns_peers_tick,
	.bye = ns_peers_bye,
	.stop = tcp_stop,
};
