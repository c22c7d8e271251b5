// SPDX-License-Identifier: GPL-2.0-only
/*
 * numaspan-rdma.ko, the RDMA transport: connections by rdma_cm, messages by SEND on any InfiniBand
 * or RoCE device, soft-RoCE included.  No CPU touches a page's contents but for their checksum: a
 * page is sent from where it is, and the page that it is received into becomes the guest's page.
 *
 * To each peer go pairs of connections: one for messages (even numbers), one for those with
 * contents (odd), so that no invalidation waits behind a page; a group of CPUs uses one pair.
 * A thread polls a connection, and sleeps after a while without messages; a task that waits for
 * a page polls for a short time itself.  Nothing depends on the order of messages; sequence
 * numbers are a connection's own.
 *
 * Invariants: a side never has more sends in flight than the other has receives posted
 * (ns_conn.credits, given back in the immediate data of each message; the last is kept for one
 * that only gives back).  What may not go yet is queued as its page, not as a copy: nobody writes
 * to it before the transaction has ended, which needs this message received.  Completions are
 * handled under ns_conn.rx, sends made under ns_conn.tx, the inner lock.
 */
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <crypto/algapi.h>
#include <rdma/ib_cm.h>
#include <rdma/rdma_cm.h>

#include "node.h"
#include "wire.h"

#define NS_HELLO_MAGIC	0x5044524e	/* "NRDP" */
#define NS_DEPTH	64		/* messages in flight, a power of two */
#define NS_CONNS	16		/* most to a peer */
#define NS_HEAD		256		/* room for a header and a text */
#define NS_LINGER_MS	1000		/* most that the last words may take */
#define NS_SLEEP_US	128		/* most between looks, where receivers sleep */
#define NS_RESOLVE_MS	500		/* for one try to find a neighbour */
#define NS_WR_SEND	BIT_ULL(32)	/* in wr_id, above a send's number or a receive's slot */

/* A connection's private data; a request has room for 56 bytes. */
struct ns_hello {
	__le64 span_id;
	__le32 magic;
	__le32 epoch;
	u8 version;
	u8 from;
	u8 to;
	u8 nr;			/* of the connection */
	u8 token[NUMASPAN_TOKEN_LEN / 2];
	u8 policy;		/* NUMASPAN_POLICY_PROTOCOL */
};

/* A message on its way out. */
struct ns_letter {
	struct list_head list;
	u64 index;
	struct ns_msg m;
	struct page *page;
	u32 len;		/* of what follows the header */
	char text[NUMASPAN_REASON_LEN];
};

/* A page that the device may read or write. */
struct ns_slot {
	struct page *page;
	u64 dma;
	bool mapped;
};

struct ns_conn {
	struct list_head list;
	struct ns_node *n;
	u8 peer;
	u8 nr;
	bool dial;
	bool taken;			/* a peer's connection, or ours, is in the making */
	bool up;
	bool again;			/* its neighbour has not been found yet */
	bool event;			/* there may be completions */
	const char *broken;		/* why */
	struct sockaddr_storage local, remote;
	struct rdma_cm_id *id;
	struct ib_pd *pd;
	struct ib_cq *cq;
	char *head;			/* NS_DEPTH headers to send, then as many to receive */
	u64 head_dma;
	bool mapped;
	struct ns_slot out[NS_DEPTH], in[NS_DEPTH];
	struct task_struct *thread;
	wait_queue_head_t wq;

	struct mutex rx;		/* guards completions */
	bool closed;
	u32 rx_seq;
	atomic_t owed;			/* receives posted that the peer does not know of */
	atomic_t credits;		/* receives posted by the peer */

	struct mutex tx;		/* guards what follows */
	u32 tx_seq;
	u32 begun, ended;		/* sends, ever */
	bool silent;			/* nothing is sent any more */
	struct list_head queue;
};

struct ns_rdma {
	struct ns_node *n;
	struct mutex mx;		/* guards the end */
	bool closing;
	int failed;
	wait_queue_head_t wq;		/* one is up or has failed, or its last words are said */
	struct work_struct gone;
	struct rdma_cm_id *listener[NS_CONNS];
	struct list_head conns;
	struct ns_conn *conn[NUMASPAN_MAX_NODES][NS_CONNS];	/* the same */
};

static unsigned int groups = 1, poll_us = 20, idle_us = 50;

static int set_param(const char *val, const struct kernel_param *kp)
{
	unsigned int min = kp->arg == &groups, max = min ? NS_CONNS / 2 : 10000;
	int err = param_set_uint_minmax(val, kp, min, max);

	if (err)
		pr_notice("numaspan: %s=%s: expected a number from %u to %u\n", kp->name, val, min,
			  max);
	return err;
}

static const struct kernel_param_ops param_ops = { .set = set_param, .get = param_get_uint };

module_param_cb(groups, &param_ops, &groups, 0644);
MODULE_PARM_DESC(groups, "CPU groups with connections of their own, as on the other hosts: 1 to 8 (1)");
module_param_cb(poll_us, &param_ops, &poll_us, 0644);
MODULE_PARM_DESC(poll_us, "how long a task polls for its page before it sleeps: 0 to 10000 us (20)");
module_param_cb(idle_us, &param_ops, &idle_us, 0644);
MODULE_PARM_DESC(idle_us, "how long a receiver polls before it sleeps: 0 to 10000 us (50)");

static bool has_pages(const struct ns_conn *c)
{
	return c->nr & 1;
}

static void on_completion(struct ib_cq *cq, void *arg)
{
	struct ns_conn *c = arg;

	WRITE_ONCE(c->event, true);
	wake_up(&c->wq);
}

/* Nothing more will come; the thread says so when it has taken what came before. */
static void now_broken(struct ns_conn *c, const char *why)
{
	/* Pairs with receiver(). */
	smp_store_release(&c->broken, why);
	on_completion(NULL, c);
}

static void conn_lost(struct ns_conn *c, const char *why)
{
	WRITE_ONCE(c->broken, why);
	ns_stop(c->n, NUMASPAN_R_PEER_LOST, c->peer, "connection to node %u was lost (%s)",
		c->peer, why);
}

static void unmap(struct ns_conn *c, struct ns_slot *s, enum dma_data_direction dir)
{
	if (s->mapped)
		ib_dma_unmap_page(c->id->device, s->dma, PAGE_SIZE, dir);
	s->mapped = false;
}

static int map(struct ns_conn *c, struct ns_slot *s, struct ib_sge *sge,
	       enum dma_data_direction dir)
{
	s->dma = ib_dma_map_page(c->id->device, s->page, 0, PAGE_SIZE, dir);
	s->mapped = !ib_dma_mapping_error(c->id->device, s->dma);
	*sge = (struct ib_sge){ s->dma, PAGE_SIZE, c->pd->local_dma_lkey };
	return s->mapped ? 0 : -ENOMEM;
}

/* ---- sending, under c->tx ---- */

static bool may_send(const struct ns_conn *c, int reserve)
{
	return c->up && c->begun - c->ended < NS_DEPTH && atomic_read(&c->credits) > reserve;
}

/* Post a send, of the credits alone without @lt. */
static int post(struct ns_conn *c, const struct ns_letter *lt)
{
	u32 nr = c->begun++, at = nr % NS_DEPTH * NS_HEAD;
	struct ns_slot *s = &c->out[nr % NS_DEPTH];
	struct ns_wire *w = (void *)(c->head + at);
	struct ib_sge sge[2] = { { c->head_dma + at, sizeof(*w), c->pd->local_dma_lkey } };
	struct ib_send_wr wr = {
		.wr_id = nr | NS_WR_SEND, .sg_list = sge, .opcode = IB_WR_SEND_WITH_IMM,
	};

	/* A completion is for all sends before it, too. */
	if (!(nr % (NS_DEPTH / 4)))
		wr.send_flags = IB_SEND_SIGNALED;
	if (lt) {
		wr.num_sge = 1;
		ns_wire_encode(c->n, w, c->peer, c->tx_seq++, lt->index, &lt->m,
			       lt->page ? page_address(lt->page) : lt->text, lt->len);
		if (lt->page) {
			s->page = lt->page;
			get_page(s->page);
			if (map(c, s, &sge[wr.num_sge++], DMA_TO_DEVICE))
				return -ENOMEM;
		} else {
			memcpy(w + 1, lt->text, lt->len);
			sge[0].length += lt->len;
		}
		ib_dma_sync_single_for_device(c->id->device, sge[0].addr, sge[0].length,
					      DMA_BIDIRECTIONAL);
		/* Somebody may wait for the page's references to go, the end for the last words. */
		if (lt->page || lt->m.type == NUMASPAN_BYE)
			wr.send_flags = IB_SEND_SIGNALED;
	}
	wr.ex.imm_data = cpu_to_be32(atomic_xchg(&c->owed, 0));
	atomic_dec(&c->credits);
	return ib_post_send(c->id->qp, &wr, NULL);
}

static void free_letter(struct ns_letter *lt)
{
	if (lt->page)
		put_page(lt->page);
	kfree(lt);
}

static void post_queued(struct ns_conn *c)
{
	struct ns_letter *lt;
	int err = 0;

	while (!err && may_send(c, 1) && !list_empty(&c->queue)) {
		lt = list_first_entry(&c->queue, struct ns_letter, list);
		list_del(&lt->list);
		err = post(c, lt);
		free_letter(lt);
	}
	/* Nothing has taken the credits along: say so when it is half of them. */
	if (!err && !c->silent && atomic_read(&c->owed) >= NS_DEPTH / 2 && may_send(c, 0))
		err = post(c, NULL);
	if (err)
		conn_lost(c, "cannot send");
}

static void transmit(struct ns_conn *c, const struct ns_letter *lt)
{
	struct ns_letter *copy = kmemdup(lt, sizeof(*lt), GFP_KERNEL | __GFP_NOFAIL);

	if (copy->page)
		get_page(copy->page);
	mutex_lock(&c->tx);
	if (c->silent) {
		free_letter(copy);
	} else {
		list_add_tail(&copy->list, &c->queue);
		c->silent = lt->m.type == NUMASPAN_BYE;
		post_queued(c);
	}
	mutex_unlock(&c->tx);
}

static void rdma_send(struct ns_node *n, u8 to, u64 index, const struct ns_msg *m,
		      struct page *page)
{
	struct ns_letter lt = {
		.index = index, .m = *m, .page = page, .len = page ? PAGE_SIZE : 0,
	};
	struct ns_rdma *r = n->link;
	unsigned int nr = 2;

	while (nr < NS_CONNS && r->conn[to][nr])
		nr += 2;
	if (page && (n->policy & NUMASPAN_POLICY_COPY))
		lt.page = ns_copy_page(n, page);
	if (lt.page || !page)
		transmit(r->conn[to][2 * raw_smp_processor_id() % nr + !!page], &lt);
	if (lt.page && lt.page != page)
		put_page(lt.page);
}

static void rdma_say(struct ns_node *n, u8 to, const struct ns_msg *m, const char *text)
{
	struct ns_letter lt = { .m = *m, .len = strlen(text) };
	struct ns_rdma *r = n->link;
	struct ns_conn *c;
	unsigned int i;

	strscpy(lt.text, text, sizeof(lt.text));
	if (r && r->conn[to][0])
		transmit(r->conn[to][0], &lt);
	/* Where one is broken the last words may be lost, too: end others, so that it shows. */
	for (i = 1; r && m->type == NUMASPAN_BYE && i < NS_CONNS && r->conn[to][i]; i++) {
		c = r->conn[to][i];
		mutex_lock(&c->tx);
		if (c->up && (c->broken || r->conn[to][0]->broken))
			rdma_disconnect(c->id);
		mutex_unlock(&c->tx);
	}
}

/* ---- completions, under c->rx ---- */

/* Sends up to number @last have ended. */
static void sent(struct ns_conn *c, u32 last)
{
	struct ns_rdma *r = c->n->link;

	mutex_lock(&c->tx);
	for (; (s32)(last - c->ended) >= 0; c->ended++) {
		struct ns_slot *s = &c->out[c->ended % NS_DEPTH];

		unmap(c, s, DMA_TO_DEVICE);
		if (s->page)
			put_page(s->page);
		s->page = NULL;
	}
	post_queued(c);
	mutex_unlock(&c->tx);
	if (c->silent)
		wake_up_all(&r->wq);
}

/* Give the device what it receives the next message of a slot into. */
static int post_receive(struct ns_conn *c, u32 slot)
{
	struct ib_sge sge[2] = {
		{ c->head_dma + (NS_DEPTH + slot) * NS_HEAD,
		  has_pages(c) ? sizeof(struct ns_wire) : NS_HEAD, c->pd->local_dma_lkey },
	};
	struct ib_recv_wr wr = { .wr_id = slot, .sg_list = sge, .num_sge = 1 + has_pages(c) };
	struct ns_slot *s = &c->in[slot];

	if (has_pages(c)) {
		s->page = ns_spare_page(c->n, s->page);
		if (!s->page || map(c, s, &sge[1], DMA_FROM_DEVICE))
			return -ENOMEM;
	}
	ib_dma_sync_single_for_device(c->id->device, sge[0].addr, sge[0].length,
				      DMA_BIDIRECTIONAL);
	return ib_post_recv(c->id->qp, &wr, NULL);
}

/* Take a message; what is wrong with it, or NULL. */
static const char *receive(struct ns_conn *c, const struct ib_wc *wc)
{
	u32 at = (NS_DEPTH + (u32)wc->wr_id) * NS_HEAD, more = be32_to_cpu(wc->ex.imm_data), len;
	struct ns_wire *w = (void *)(c->head + at);
	struct ns_slot *s = &c->in[(u32)wc->wr_id];
	char text[NUMASPAN_REASON_LEN] = "";
	struct page *none = NULL;
	struct ns_msg m = {};
	const char *why;
	u64 index;

	ib_dma_sync_single_for_cpu(c->id->device, c->head_dma + at, NS_HEAD, DMA_BIDIRECTIONAL);
	unmap(c, s, DMA_FROM_DEVICE);
	if (!(wc->wc_flags & IB_WC_WITH_IMM) || more > NS_DEPTH ||
	    atomic_add_return(more, &c->credits) > NS_DEPTH)
		return "credits that there are not";
	if (!wc->byte_len)
		return NULL;
	if (wc->byte_len < sizeof(*w))
		return "half a header";
	if (ns_wire_decode(c->n, w, c->peer, c->rx_seq, &index, &m, &why))
		return why;
	len = le32_to_cpu(w->len);
	if (wc->byte_len != sizeof(*w) + len || has_pages(c) != !!(len & PAGE_SIZE))
		return "length is not what came";
	if (!has_pages(c))
		memcpy(text, w + 1, len);
	if (ns_wire_check_data(w, s->page ? page_address(s->page) : text, &why))
		return why;
	c->rx_seq++;
	if (s->page && (c->n->policy & NUMASPAN_POLICY_COPY))
		none = ns_copy_page(c->n, s->page);
	ns_receive(c->n, c->peer, index, &m, text, s->page && !none ? &s->page : &none);
	if (none)
		put_page(none);
	return NULL;
}

static void complete_one(struct ns_conn *c, const struct ib_wc *wc)
{
	const char *why;

	if (wc->status != IB_WC_SUCCESS) {
		now_broken(c, ib_wc_status_msg(wc->status));
	} else if (wc->wr_id & NS_WR_SEND) {
		sent(c, (u32)wc->wr_id);
	} else {
		why = receive(c, wc);
		if (why)
			ns_stop(c->n, NUMASPAN_R_BAD_MESSAGE, c->peer,
				"bad message from node %u: %s", c->peer, why);
		if (ns_stopped(c->n))
			return;
		if (post_receive(c, (u32)wc->wr_id))
			conn_lost(c, "cannot receive");
		atomic_inc(&c->owed);
	}
}

/* Handle what there is, a few at most; how many there were. */
static int poll_conn(struct ns_conn *c)
{
	struct ib_wc wc[4];
	int nr = c->closed ? 0 : ib_poll_cq(c->cq, ARRAY_SIZE(wc), wc), i;

	for (i = 0; i < nr; i++)
		complete_one(c, &wc[i]);
	if (nr > 0) {
		mutex_lock(&c->tx);
		post_queued(c);
		mutex_unlock(&c->tx);
	}
	return nr;
}

/* A task that waits for a page need not wait for a thread to be woken, too. */
static void rdma_poll(struct ns_node *n, struct ns_page *p, bool write)
{
	u64 end = ktime_get_ns() + READ_ONCE(poll_us) * NSEC_PER_USEC;
	bool once = n->policy & NUMASPAN_POLICY_SLEEP;
	struct ns_rdma *r = n->link;
	struct ns_conn *c;

	while (!ns_access_ready(n, p, write) && (once || ktime_get_ns() < end) &&
	       !need_resched()) {
		list_for_each_entry(c, &r->conns, list) {
			if (!mutex_trylock(&c->rx))
				continue;
			poll_conn(c);
			mutex_unlock(&c->rx);
		}
		if (once)
			break;
		cpu_relax();
	}
}

/*
 * The connection is broken, and all that came over it is taken.  A peer that closes has had its
 * last words, on the first connection, acknowledged before: they are the reason then.
 */
static void take_last_words(struct ns_conn *c)
{
	struct ns_rdma *r = c->n->link;
	struct ns_conn *first = r->conn[c->peer][0];
	unsigned int i;

	if (c != first) {
		mutex_lock(&first->rx);
		for (i = 0; i < 2 * NS_DEPTH && poll_conn(first) > 0; i++)
			;
		mutex_unlock(&first->rx);
	}
	conn_lost(c, c->broken);
}

static int receiver(void *arg)
{
	struct ns_conn *c = arg;
	u64 last = ktime_get_ns();
	const char *broken;
	unsigned int us = 0;
	int nr;

	while (!kthread_should_stop()) {
		/* Before the look at the queue: what came before it broke is there then. */
		broken = smp_load_acquire(&c->broken);
		mutex_lock(&c->rx);
		nr = poll_conn(c);
		mutex_unlock(&c->rx);
		cond_resched();
		if (nr > 0) {
			last = ktime_get_ns();
			us = 0;
			continue;
		}
		if (broken)
			take_last_words(c);
		if (c->n->policy & NUMASPAN_POLICY_SLEEP) {
			us = us % NS_SLEEP_US + 1;
			usleep_range(us, us + 1);
			continue;
		}
		if (ktime_get_ns() - last < READ_ONCE(idle_us) * NSEC_PER_USEC)
			continue;
		WRITE_ONCE(c->event, false);
		if (ib_req_notify_cq(c->cq, IB_CQ_NEXT_COMP | IB_CQ_REPORT_MISSED_EVENTS) <= 0)
			wait_event_interruptible(c->wq, READ_ONCE(c->event) ||
						 kthread_should_stop());
	}
	return 0;
}

/* The queue pair or the completion queue has failed, says the device; the thread ends the span. */
static void on_error(struct ib_event *ev, void *arg)
{
	struct ns_conn *c = arg;

	if (ev->event == IB_EVENT_COMM_EST || ev->event == IB_EVENT_QP_LAST_WQE_REACHED)
		return;
	now_broken(c, ib_event_msg(ev->event));
}

/* ---- connections ---- */

/* The device's part of a connection; what was made is freed by close_conn() in any case. */
static int open_conn(struct ns_conn *c)
{
	const size_t size = 2 * NS_DEPTH * NS_HEAD;
	struct ib_device *dev = c->id->device;
	struct ib_cq_init_attr cq = {
		.cqe = 2 * NS_DEPTH + 1, .comp_vector = c->nr % dev->num_comp_vectors,
	};
	struct ib_qp_init_attr qp = {
		.event_handler = on_error,
		.qp_context = c,
		.cap = { .max_send_wr = NS_DEPTH, .max_recv_wr = NS_DEPTH, .max_send_sge = 2,
			 .max_recv_sge = 2 },
		.qp_type = IB_QPT_RC,
	};
	int err = 0;
	u32 i;

	/* iWARP has no immediate data. */
	if (!rdma_cap_ib_cm(dev, c->id->port_num))
		return -EOPNOTSUPP;
	c->head = kzalloc(size, GFP_KERNEL);
	if (!c->head)
		return -ENOMEM;
	c->head_dma = ib_dma_map_single(dev, c->head, size, DMA_BIDIRECTIONAL);
	c->mapped = !ib_dma_mapping_error(dev, c->head_dma);
	if (!c->mapped)
		return -ENOMEM;
	c->pd = ib_alloc_pd(dev, 0);
	if (IS_ERR(c->pd))
		return PTR_ERR(c->pd);
	c->cq = ib_create_cq(dev, on_completion, on_error, c, &cq);
	if (IS_ERR(c->cq))
		return PTR_ERR(c->cq);
	qp.send_cq = c->cq;
	qp.recv_cq = c->cq;
	err = rdma_create_qp(c->id, c->pd, &qp);
	for (i = 0; !err && i < NS_DEPTH; i++)
		err = post_receive(c, i);
	atomic_set(&c->credits, NS_DEPTH);
	return err;
}

/* What to say when connecting or accepting. */
static void fill_hello(const struct ns_conn *c, struct ns_hello *h, struct rdma_conn_param *par)
{
	const struct ns_node *n = c->n;
	/* 8 tries of 4.096 us * 2^x take no less than the time-out: a stall is no loss. */
	u64 try = n->timeout_ms * NSEC_PER_MSEC / (8 * 4096);

	rdma_set_ack_timeout(c->id, clamp(fls64(try), 14, 31));

	*h = (struct ns_hello){
		.span_id = cpu_to_le64(n->span_id), .magic = cpu_to_le32(NS_HELLO_MAGIC),
		.epoch = cpu_to_le32(n->epoch), .version = NS_WIRE_VERSION, .from = n->self,
		.to = c->peer, .nr = c->nr, .policy = n->policy & NUMASPAN_POLICY_PROTOCOL,
	};
	/* Each side shows half of the token, so that each knows that the other has it. */
	memcpy(h->token, n->token + (c->dial ? 0 : sizeof(h->token)), sizeof(h->token));
	*par = (struct rdma_conn_param){
		.private_data = h, .private_data_len = sizeof(*h), .retry_count = 7,
		.rnr_retry_count = 7,
	};
}

/* What is wrong with the hello of a side that dials or does not, or NULL. */
static const char *take_hello(const struct ns_node *n, const struct rdma_conn_param *par,
			      bool dials, struct ns_hello *h)
{
	if (par->private_data_len < sizeof(*h))
		return "no numaspan connection";
	memcpy(h, par->private_data, sizeof(*h));
	if (le32_to_cpu(h->magic) != NS_HELLO_MAGIC)
		return "no numaspan connection";
	if (h->version != NS_WIRE_VERSION)
		return "another protocol version";
	if (le64_to_cpu(h->span_id) != n->span_id)
		return "another span's id";
	if (le32_to_cpu(h->epoch) != n->epoch)
		return "another epoch of the span";
	if (h->policy != (n->policy & NUMASPAN_POLICY_PROTOCOL))
		return "another policy";
	if (crypto_memneq(h->token, n->token + (dials ? 0 : sizeof(h->token)), sizeof(h->token)))
		return "wrong token";
	if (h->to != n->self || h->from >= n->nr_nodes || h->nr >= NS_CONNS)
		return "wrong node or connection number";
	return NULL;
}

static void refuse(struct ns_node *n, struct rdma_cm_id *id, const char *why)
{
	ns_count(n, refused);
	pr_notice_ratelimited("numaspan: span %llx node %u: refused RDMA connection with %pISpc: %s\n",
			      n->span_id, n->self, &id->route.addr.dst_addr, why);
}

static void conn_failed(struct ns_conn *c, int err, const char *why)
{
	struct ns_rdma *r = c->n->link;

	pr_notice("numaspan: span %llx node %u: RDMA connection with node %u: %s (%d)\n",
		  c->n->span_id, c->n->self, c->peer, why, err);
	r->failed = err;
	wake_up_all(&r->wq);
}

static void device_gone(struct ns_rdma *r, struct ib_device *dev)
{
	r->failed = -ENODEV;
	wake_up_all(&r->wq);
	ns_stop(r->n, NUMASPAN_R_DEVICE, r->n->self, "RDMA device %s is gone",
		dev_name(&dev->dev));
	/* It waits for us to let go of it, and this handler has to end first. */
	queue_work(system_unbound_wq, &r->gone);
}

static int on_conn_event(struct rdma_cm_id *id, struct rdma_cm_event *ev)
{
	struct ns_conn *c = id->context;
	struct ns_rdma *r = c->n->link;
	const char *why = "cannot set it up";
	struct rdma_conn_param par;
	struct ns_hello h;
	int err = 0;

	/* Pairs with the handler's lock in close_conn(). */
	if (READ_ONCE(r->closing))
		return 0;
	switch (ev->event) {
	case RDMA_CM_EVENT_ADDR_RESOLVED:
		err = open_conn(c) ?: rdma_resolve_route(id, c->n->timeout_ms);
		break;
	case RDMA_CM_EVENT_ROUTE_RESOLVED:
		fill_hello(c, &h, &par);
		err = rdma_connect_locked(id, &par);
		break;
	case RDMA_CM_EVENT_ESTABLISHED:
		why = c->dial ? take_hello(c->n, &ev->param.conn, false, &h) : NULL;
		if (why) {
			refuse(c->n, id, why);
			err = -EKEYREJECTED;
			break;
		}
		mutex_lock(&c->tx);
		c->up = true;
		post_queued(c);
		mutex_unlock(&c->tx);
		wake_up_all(&r->wq);
		break;
	case RDMA_CM_EVENT_DISCONNECTED:
		now_broken(c, "the peer has closed it");
		break;
	case RDMA_CM_EVENT_DEVICE_REMOVAL:
		device_gone(r, id->device);
		break;
	case RDMA_CM_EVENT_ADDR_ERROR:
		WRITE_ONCE(c->again, true);
		wake_up_all(&r->wq);
		break;
	case RDMA_CM_EVENT_ADDR_CHANGE:
	case RDMA_CM_EVENT_TIMEWAIT_EXIT:
		break;
	default:
		err = ev->status < 0 ? ev->status : -ECONNREFUSED;
		why = ev->event == RDMA_CM_EVENT_REJECTED ? rdma_reject_msg(id, ev->status) :
		      rdma_event_msg(ev->event);
	}
	if (err)
		conn_failed(c, err, why);
	return 0;
}

/* Events of a listener; @id is it or, for a request, the new connection. */
static int on_listen_event(struct rdma_cm_id *id, struct rdma_cm_event *ev)
{
	struct ns_rdma *r = id->context;
	struct rdma_conn_param par;
	struct ns_conn *c = NULL;
	struct ns_hello h;
	const char *why;
	int err;

	if (ev->event == RDMA_CM_EVENT_DEVICE_REMOVAL && !READ_ONCE(r->closing))
		device_gone(r, id->device);
	if (ev->event != RDMA_CM_EVENT_CONNECT_REQUEST)
		return 0;
	why = take_hello(r->n, &ev->param.conn, true, &h);
	if (!why) {
		c = r->conn[h.from][h.nr];
		if (!c || c->dial || cmpxchg(&c->taken, false, true))
			why = "connected already, or not expected";
	}
	if (why) {
		refuse(r->n, id, why);
		rdma_reject(id, NULL, 0, IB_CM_REJ_CONSUMER_DEFINED);
		return -EKEYREJECTED;
	}
	c->id = id;
	id->context = c;
	id->event_handler = on_conn_event;
	fill_hello(c, &h, &par);
	err = open_conn(c) ?: rdma_accept(id, &par);
	if (err) {
		conn_failed(c, err, "cannot set it up");
		rdma_reject(id, NULL, 0, IB_CM_REJ_CONSUMER_DEFINED);
	}
	return 0;
}

/* Listen at an address, if this node does not do so yet. */
static int listen_at(struct ns_rdma *r, struct sockaddr_storage *addr)
{
	struct rdma_cm_id *id;
	unsigned int i;
	int err;

	for (i = 0; i < NS_CONNS && r->listener[i]; i++)
		if (!memcmp(&r->listener[i]->route.addr.src_addr, addr, sizeof(*addr)))
			return 0;
	if (i == NS_CONNS)
		return -ENOSPC;
	id = rdma_create_id(current->nsproxy->net_ns, on_listen_event, r, RDMA_PS_TCP, IB_QPT_RC);
	if (IS_ERR(id))
		return PTR_ERR(id);
	err = rdma_bind_addr(id, (struct sockaddr *)addr);
	if (!err)
		err = id->device ? rdma_listen(id, NS_CONNS) : -ENODEV;
	if (err)
		rdma_destroy_id(id);
	else
		r->listener[i] = id;
	return err;
}

static bool good_addr(const struct sockaddr_storage *a, bool port)
{
	/* The port is at the same place in both families. */
	return (a->ss_family == AF_INET || a->ss_family == AF_INET6) &&
	       !((struct sockaddr_in *)a)->sin_port == !port;
}

static void gone_work(struct work_struct *work);

static int rdma_connect_peer(struct ns_node *n, const struct numaspan_connect_rdma *con)
{
	bool dials = con->flags & NUMASPAN_RDMA_DIAL;
	struct sockaddr_storage local = {}, remote = {};
	unsigned int i, more = 2 * READ_ONCE(groups);
	struct ns_rdma *r = n->link;
	struct ns_conn *c;
	int err;

	memcpy(&local, con->local, sizeof(con->local));
	memcpy(&remote, con->remote, sizeof(con->remote));
	if (!good_addr(&local, !dials) || !good_addr(&remote, true) ||
	    local.ss_family != remote.ss_family) {
		pr_notice("numaspan: connect: from %pISpc to %pISpc: expected IP addresses of one family, with ports but where this side connects from\n",
			  &local, &remote);
		return -EINVAL;
	}
	if (!r) {
		r = kvzalloc(sizeof(*r), GFP_KERNEL);
		if (!r)
			return -ENOMEM;
		r->n = n;
		mutex_init(&r->mx);
		init_waitqueue_head(&r->wq);
		INIT_WORK(&r->gone, gone_work);
		INIT_LIST_HEAD(&r->conns);
		n->link = r;
	}
	for (i = 0; i < NS_CONNS && r->conn[con->node][i]; i++)
		;
	if (i + more > NS_CONNS) {
		pr_notice("numaspan: connect: node %u: %u connections: expected at most %u\n",
			  con->node, i + more, NS_CONNS);
		return -ENOSPC;
	}
	err = dials ? 0 : listen_at(r, &local);
	if (err) {
		pr_notice("numaspan: connect: cannot listen at %pISpc: expected a free address of an RDMA device (%d)\n",
			  &local, err);
		return err;
	}
	for (; more; more--, i++) {
		c = kzalloc(sizeof(*c), GFP_KERNEL);
		if (!c)
			return -ENOMEM;
		c->n = n;
		c->peer = con->node;
		c->nr = i;
		c->dial = dials;
		c->local = local;
		c->remote = remote;
		init_waitqueue_head(&c->wq);
		mutex_init(&c->rx);
		mutex_init(&c->tx);
		INIT_LIST_HEAD(&c->queue);
		r->conn[con->node][i] = c;
		list_add_tail(&c->list, &r->conns);
	}
	return 0;
}

/* Wait for a connection, at most *@left jiffies; -EAGAIN: its neighbour was not found in time. */
static int wait_up(struct ns_rdma *r, struct ns_conn *c, long *left)
{
	*left = wait_event_killable_timeout(r->wq, r->failed || READ_ONCE(c->up) ||
					    READ_ONCE(c->again), *left);
	if (*left > 0 && !r->failed)
		return c->up ? 0 : -EAGAIN;
	pr_notice("numaspan: span %llx node %u: no RDMA connection %u with node %u in %u ms\n",
		  c->n->span_id, c->n->self, c->nr, c->peer, c->n->timeout_ms);
	return r->failed ?: *left < 0 ? -EINTR : -ETIMEDOUT;
}

static int dial(struct ns_rdma *r, struct ns_conn *c, long *left)
{
	struct rdma_cm_id *id = rdma_create_id(current->nsproxy->net_ns, on_conn_event, c,
					       RDMA_PS_TCP, IB_QPT_RC);
	int err;

	if (IS_ERR(id))
		return PTR_ERR(id);
	c->id = id;
	/* rdma_cm may miss the neighbour's answer, and looks again when the time is up. */
	do {
		c->again = false;
		mutex_lock(&r->mx);
		err = r->closing ? -ENODEV :
			rdma_resolve_addr(id, (struct sockaddr *)&c->local,
					  (struct sockaddr *)&c->remote, NS_RESOLVE_MS);
		mutex_unlock(&r->mx);
		err = err ?: wait_up(r, c, left);
	} while (err == -EAGAIN);
	return err;
}

static int rdma_start(struct ns_node *n)
{
	long left = msecs_to_jiffies(n->timeout_ms);
	struct ns_rdma *r = n->link;
	struct task_struct *t;
	struct ns_conn *c;
	unsigned int i;
	int err = 0;

	for (i = 0; i < n->nr_nodes; i++) {
		if (i != n->self && (!r || !r->conn[i][0])) {
			pr_notice("numaspan: start: node %u is not connected\n", i);
			return -ENOTCONN;
		}
	}
	if (!r)
		return 0;
	list_for_each_entry(c, &r->conns, list)
		if (!err && c->dial)
			err = dial(r, c, &left);
	list_for_each_entry(c, &r->conns, list)
		if (!err)
			err = wait_up(r, c, &left);
	if (err)
		return err;
	mutex_lock(&r->mx);
	list_for_each_entry(c, &r->conns, list) {
		n->heard[c->peer] = jiffies;
		t = r->closing ? ERR_PTR(-ENODEV) :
			kthread_run(receiver, c, "numaspan-rx/%u-%u", n->self, c->peer);
		if (IS_ERR(t))
			err = PTR_ERR(t);
		else
			c->thread = t;
	}
	mutex_unlock(&r->mx);
	return err;
}

/* ---- the end ---- */

static bool all_said(struct ns_conn *c)
{
	return !c->up || c->broken || !c->silent ||
	       (list_empty_careful(&c->queue) && READ_ONCE(c->begun) == READ_ONCE(c->ended));
}

/* Give up all that a connection has of its device; who still sends finds it silent. */
static void close_conn(struct ns_rdma *r, struct ns_conn *c)
{
	struct ib_device *dev = c->id ? c->id->device : NULL;
	struct ns_letter *lt, *tmp;
	unsigned int i;

	if (c->thread) {
		wait_event_timeout(r->wq, all_said(c), msecs_to_jiffies(NS_LINGER_MS));
		kthread_stop(c->thread);
	}
	mutex_lock(&c->rx);
	c->closed = true;
	mutex_unlock(&c->rx);
	mutex_lock(&c->tx);
	c->silent = true;
	c->up = false;
	mutex_unlock(&c->tx);
	list_for_each_entry_safe(lt, tmp, &c->queue, list)
		free_letter(lt);
	INIT_LIST_HEAD(&c->queue);
	if (!c->id)
		return;
	/* A handler that runs ends first, the next sees that we are closing. */
	rdma_lock_handler(c->id);
	rdma_unlock_handler(c->id);
	rdma_disconnect(c->id);
	if (c->id->qp)
		rdma_destroy_qp(c->id);
	if (!IS_ERR_OR_NULL(c->cq))
		ib_destroy_cq(c->cq);
	if (!IS_ERR_OR_NULL(c->pd))
		ib_dealloc_pd(c->pd);
	for (i = 0; i < NS_DEPTH; i++) {
		unmap(c, &c->out[i], DMA_TO_DEVICE);
		unmap(c, &c->in[i], DMA_FROM_DEVICE);
		if (c->out[i].page)
			put_page(c->out[i].page);
		if (c->in[i].page)
			put_page(c->in[i].page);
	}
	if (c->mapped)
		ib_dma_unmap_single(dev, c->head_dma, 2 * NS_DEPTH * NS_HEAD, DMA_BIDIRECTIONAL);
	kfree(c->head);
	/* The device may go when the last of these has. */
	rdma_destroy_id(c->id);
}

static void close_all(struct ns_rdma *r)
{
	struct ns_conn *c;
	unsigned int i;

	mutex_lock(&r->mx);
	if (!r->closing) {
		WRITE_ONCE(r->closing, true);
		for (i = 0; i < NS_CONNS && r->listener[i]; i++)
			rdma_destroy_id(r->listener[i]);
		list_for_each_entry(c, &r->conns, list)
			close_conn(r, c);
	}
	mutex_unlock(&r->mx);
}

static void gone_work(struct work_struct *work)
{
	struct ns_rdma *r = container_of(work, struct ns_rdma, gone);

	flush_work(&r->n->stop_work);
	close_all(r);
}

static void rdma_stop(struct ns_node *n)
{
	struct ns_rdma *r = n->link;
	struct ns_conn *c, *tmp;

	if (!r)
		return;
	close_all(r);
	flush_work(&r->gone);
	list_for_each_entry_safe(c, tmp, &r->conns, list)
		kfree(c);
	kvfree(r);
	n->link = NULL;
}

/* For tests: an error of the queue pair, a completion queue that overruns, a bad remote access. */
static int rdma_damage(struct ns_node *n, u32 peer, const char *how)
{
	struct ns_rdma *r = n->link;
	struct ns_conn *c = r->conn[peer][1];
	struct ib_qp_attr attr = { .qp_state = IB_QPS_ERR };
	struct ib_sge sge = { c->head_dma, sizeof(struct ns_wire) };
	struct ib_rdma_wr wr = {
		.wr = { .opcode = IB_WR_RDMA_WRITE, .sg_list = &sge, .num_sge = 1 }, .rkey = ~0U,
	};
	int err = -EINVAL;

	mutex_lock(&c->tx);
	if (!c->up) {
		err = -ESHUTDOWN;
	} else if (!strcmp(how, "qp")) {
		err = ib_modify_qp(c->id->qp, &attr, IB_QP_STATE);
	} else if (!strcmp(how, "cq")) {
		err = ib_resize_cq(c->cq, 1);
	} else if (!strcmp(how, "access")) {
		sge.lkey = c->pd->local_dma_lkey;
		err = ib_post_send(c->id->qp, &wr.wr, NULL);
	}
	mutex_unlock(&c->tx);
	return err;
}

static const struct ns_transport ns_rdma = {
	.name = "rdma",
	.owner = THIS_MODULE,
	.connect_rdma = rdma_connect_peer,
	.start = rdma_start,
	.send = rdma_send,
	.say = rdma_say,
	.poll = rdma_poll,
	.tick = ns_peers_tick,
	.bye = ns_peers_bye,
	.stop = rdma_stop,
	.damage = rdma_damage,
};

static int __init rdma_init(void)
{
	ns_transport_set(NUMASPAN_RDMA, &ns_rdma);
	return 0;
}

static void __exit rdma_exit(void)
{
	ns_transport_set(NUMASPAN_RDMA, NULL);
}

module_init(rdma_init);
module_exit(rdma_exit);
MODULE_DESCRIPTION("Guest memory that spans hosts: the RDMA transport");
MODULE_LICENSE("GPL");
