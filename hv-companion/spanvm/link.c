// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control connections between the spanvm processes: a full mesh, node i dials every
 * node below it and listens for those above.  Messages of one connection arrive in the
 * order sent (the proxies depend on it: INIT before SIPI).  Sending never blocks: what
 * the socket does not take is queued, and a peer for which too much is queued is lost.
 * Every message is checked for magic, epoch, sequence, type, length and checksum before its
 * handler sees it, and a handler that returns false has seen an impossible one; both end the
 * span.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spanvm.h"

#define OUT_MAX		(4U << 20)
#define HANDSHAKE_MS	3000
#define RETRY_MS	50

static bool on_setup(struct vmm *vm, u32 from, const union msg *m)
{
	if (from || vm->have_setup)
		return false;
	vm->setup = m->setup;
	vm->have_setup = true;
	return true;
}

static bool on_step(struct vmm *vm, u32 from, const union msg *m)
{
	if (vm->cfg->node || m->step.step != vm->peers[from].step + 1)
		return false;
	vm->peers[from].step = m->step.step;
	return true;
}

static bool on_go(struct vmm *vm, u32 from, const union msg *m)
{
	if (from || m->step.step != vm->step + 1)
		return false;
	vm->step = m->step.step;
	return true;
}

static bool on_stopped(struct vmm *vm, u32 from, const union msg *m)
{
	(void)m;
	vm->peers[from].stopped = true;
	return !vm->cfg->node;
}

static bool on_gone(struct vmm *vm, u32 from, const union msg *m)
{
	(void)m;
	vm->gone = true;
	return !from;
}

static const struct {
	const char *name;
	u32 len;
	bool (*fn)(struct vmm *vm, u32 from, const union msg *m);
} types[M_NR] = {
	[M_PING] = { "PING", sizeof(struct msg_ping), clock_on_ping },
	[M_PONG] = { "PONG", sizeof(struct msg_ping), clock_on_pong },
	[M_SETUP] = { "SETUP", sizeof(struct msg_setup), on_setup },
	[M_STEP] = { "STEP", sizeof(struct msg_step), on_step },
	[M_GO] = { "GO", sizeof(struct msg_step), on_go },
	[M_CLOCK] = { "CLOCK", sizeof(struct msg_clock), clock_on_clock },
	[M_AHEAD] = { "AHEAD", sizeof(struct msg_ahead), clock_on_ahead },
	[M_MSI] = { "MSI", sizeof(struct msg_msi), vcpu_on_msi },
	[M_IO] = { "IO", sizeof(struct msg_io), relay_on_io },
	[M_IO_DONE] = { "IO_DONE", sizeof(struct msg_io), relay_on_done },
	[M_STOP] = { "STOP", sizeof(struct msg_stop), span_on_stop },
	[M_STOPPED] = { "STOPPED", 0, on_stopped },
	[M_GONE] = { "GONE", 0, on_gone },
};

static void peer_lost(struct vmm *vm, u32 node, const char *why)
{
	struct peer *p = &vm->peers[node];

	pthread_mutex_lock(&p->lock);
	close(p->fd);
	p->fd = -1;
	pthread_mutex_unlock(&p->lock);
	span_fail(vm, "node %u is lost: %s", node, why);
}

/* The queue's head goes to the socket as far as it takes it; under p->lock.  What a broken
 * connection does not take is dropped: the reading side says why, after the peer's last words.
 */
static void flush_locked(struct peer *p)
{
	size_t done = 0;
	ssize_t n;

	while (done < p->out_len) {
		n = send(p->fd, p->out + done, p->out_len - done, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		done += n;
	}
	p->out_len -= done;
	if (p->out_len && errno != EAGAIN)
		p->out_len = 0;
	memmove(p->out, p->out + done, p->out_len);
}

static u32 hash(u32 sum, const u8 *p, size_t len)
{
	while (len--)
		sum = (sum ^ *p++) * 0x01000193;
	return sum;
}

/**
 * link_sum - the checksum of a message: FNV-1a, which every change of one byte changes
 * @h: the header, @h->len included
 * @payload: of that length
 *
 * Return: the checksum.  It is against broken hardware; who is at the other end is auth.c's.
 */
u32 link_sum(const struct msg_hdr *h, const void *payload)
{
	u32 sum = hash(0x811c9dc5, (const u8 *)h, offsetof(struct msg_hdr, sum));

	return hash(sum, payload, h->len);
}

/**
 * link_send - queue a message for another node, and send what goes without blocking
 * @vm: this node
 * @node: to whom
 * @type: what
 * @payload: of the length that the type has
 *
 * Any thread may call it.  A connection that broke is noticed by the event loop.
 */
void link_send(struct vmm *vm, u32 node, enum msg_type type, const void *payload)
{
	struct peer *p = &vm->peers[node];
	struct msg_hdr h = {
		.magic = MSG_MAGIC, .type = type, .len = types[type].len, .epoch = vm->incarnation,
	};
	bool wake;

	pthread_mutex_lock(&p->lock);
	if (p->fd < 0) {
		pthread_mutex_unlock(&p->lock);
		return;
	}
	if (p->out_len + sizeof(h) + h.len > p->out_size) {
		p->out_size = p->out_size ? p->out_size * 2 : 4096;
		p->out = realloc(p->out, p->out_size);
		if (!p->out || p->out_size > OUT_MAX) {
			p->out_len = 0;
			p->out_size = 0;
			pthread_mutex_unlock(&p->lock);
			span_fail(vm, "node %u is lost: it takes no messages, %u bytes are queued",
				  node, OUT_MAX);
			return;
		}
	}
	h.seq = p->seq_out++;
	h.sum = link_sum(&h, payload);
	memcpy(p->out + p->out_len, &h, sizeof(h));
	if (h.len)
		memcpy(p->out + p->out_len + sizeof(h), payload, h.len);
	p->out_len += sizeof(h) + h.len;
	flush_locked(p);
	wake = p->out_len;
	pthread_mutex_unlock(&p->lock);
	if (wake)
		wake_loop(vm);
}

/**
 * link_broadcast - link_send() to every other node
 * @vm: this node
 * @type: what
 * @payload: of the length that the type has
 */
void link_broadcast(struct vmm *vm, enum msg_type type, const void *payload)
{
	u32 i;

	for (i = 0; i < vm->cfg->nr_nodes; i++)
		if (i != vm->cfg->node)
			link_send(vm, i, type, payload);
}

/**
 * link_flush - send what is queued for a node
 * @vm: this node
 * @node: to whom
 */
void link_flush(struct vmm *vm, u32 node)
{
	struct peer *p = &vm->peers[node];

	pthread_mutex_lock(&p->lock);
	if (p->fd >= 0 && p->out_len)
		flush_locked(p);
	pthread_mutex_unlock(&p->lock);
}

/* One message out of p->in, or 0 when it is not whole yet. */
static size_t take(struct vmm *vm, u32 node, const u8 *buf, size_t len)
{
	struct peer *p = &vm->peers[node];
	struct msg_hdr h;
	union msg m;

	if (len < sizeof(h))
		return 0;
	memcpy(&h, buf, sizeof(h));
	if (h.magic != MSG_MAGIC || h.epoch != vm->incarnation || h.seq != p->seq_in ||
	    !h.type || h.type >= M_NR || h.len != types[h.type].len) {
		span_fail(vm, "node %u sent a bad message: magic %x type %u length %u number %u",
			  node, h.magic, h.type, h.len, h.seq);
		return 0;
	}
	if (len < sizeof(h) + h.len)
		return 0;
	if (h.sum != link_sum(&h, buf + sizeof(h))) {
		span_fail(vm, "node %u sent a bad message: checksum of a %s", node,
			  types[h.type].name);
		return 0;
	}
	p->seq_in++;
	memset(&m, 0, sizeof(m));
	memcpy(&m, buf + sizeof(h), h.len);
	if (!types[h.type].fn(vm, node, &m)) {
		span_fail(vm, "node %u sent a bad message: impossible %s", node,
			  types[h.type].name);
		return 0;
	}
	return sizeof(h) + h.len;
}

/**
 * link_read - take what a node sent, and handle it
 * @vm: this node
 * @node: from whom
 */
void link_read(struct vmm *vm, u32 node)
{
	struct peer *p = &vm->peers[node];
	size_t at = 0, used;
	ssize_t n;

	n = recv(p->fd, p->in + p->in_len, sizeof(p->in) - p->in_len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		peer_lost(vm, node, n ? strerror(errno) : "it closed the connection");
		return;
	}
	p->heard_ns = now_ns();
	p->in_len += n;
	while ((used = take(vm, node, p->in + at, p->in_len - at)))
		at += used;
	memmove(p->in, p->in + at, p->in_len - at);
	p->in_len -= at;
}

/**
 * link_tick - notice peers that have been silent for too long
 * @vm: this node
 * @now: the time
 */
void link_tick(struct vmm *vm, u64 now)
{
	const u64 limit = vm->cfg->timeout_ms * 1000000ULL;
	u32 i;

	for (i = 0; i < vm->cfg->nr_nodes; i++)
		if (vm->peers[i].fd >= 0 && now > vm->peers[i].heard_ns + limit)
			span_fail(vm, "node %u is lost: silent for %u ms", i, vm->cfg->timeout_ms);
}

static void set_nodelay(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static int listen_on(struct vmm *vm, const struct sv_addr *a)
{
	int one = 1, fd;
	mode_t mask;
	struct stat st;

	fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		goto fail;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (a->sa.sa_family == AF_UNIX && !lstat(a->un.sun_path, &st) && S_ISSOCK(st.st_mode))
		unlink(a->un.sun_path);
	mask = umask(0077);
	if (bind(fd, &a->sa, a->len)) {
		umask(mask);
		goto fail;
	}
	umask(mask);
	if (listen(fd, 2 * MAX_NODES))
		goto fail;
	vm->listen_fd = fd;
	return 0;
fail:
	span_end(vm, END_FAIL, 1, false, "cannot listen on %s: %s", a->text, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Waits for @fd (or none), a signal, or @until; true when @fd is ready. */
static bool wait_or_signal(struct vmm *vm, int fd, short events, u64 until)
{
	struct pollfd p[2] = {
		{ .fd = vm->signal_fd, .events = POLLIN }, { .fd = fd, .events = events },
	};
	u64 now = now_ns();

	if (now < until)
		poll(p, 2, (until - now) / 1000000 + 1);
	if (p[0].revents)
		loop_once(vm, 0);
	return p[1].revents;
}

/* One attempt to connect; a negative errno when it may be tried again. */
static int dial_once(struct vmm *vm, const struct sv_addr *a, u64 until)
{
	socklen_t len = sizeof(int);
	int fd, err = 0;

	fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, &a->sa, a->len)) {
		err = errno;
		if (err == EINPROGRESS) {
			err = ETIMEDOUT;
			if (wait_or_signal(vm, fd, POLLOUT, until))
				getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len);
		}
	}
	if (!err)
		return fd;
	close(fd);
	return -err;
}

static int dial(struct vmm *vm, u32 node, enum conn_role role, u64 until)
{
	const struct sv_addr *a = &vm->cfg->nodes[node].addr;
	int fd, r, last = ETIMEDOUT;

	while (!span_ended(vm)) {
		fd = dial_once(vm, a, until);
		r = fd < 0 ? fd : auth_dial(vm, fd, node, role, until);
		if (!r) {
			set_nodelay(fd);
			return fd;
		}
		if (fd >= 0)
			close(fd);
		if (r == -EACCES)
			break;
		if (now_ns() >= until) {
			span_end(vm, END_FAIL, 1, false,
				 "node %u at %s did not answer in %u ms: %s", node, a->text,
				 vm->cfg->timeout_ms, strerror(last));
			break;
		}
		if (r != -ETIMEDOUT)
			last = -r;
		/* Nothing tells when a peer begins to listen. */
		wait_or_signal(vm, -1, 0, now_ns() + RETRY_MS * 1000000ULL);
	}
	return -1;
}

static void describe(const struct sv_addr *a, char *buf, size_t size)
{
	char ip[46], port[16];

	if (a->sa.sa_family != AF_UNIX &&
	    !getnameinfo(&a->sa, a->len, ip, sizeof(ip), port, sizeof(port),
			 NI_NUMERICHOST | NI_NUMERICSERV))
		snprintf(buf, size, "%s port %s", ip, port);
	else
		snprintf(buf, size, "a local process");
}

static void accept_one(struct vmm *vm, u64 until)
{
	struct sv_addr from = { .len = sizeof(from.un) };
	u64 limit = now_ns() + HANDSHAKE_MS * 1000000ULL;
	enum conn_role role;
	char who[80];
	u32 node;
	int fd;

	fd = accept4(vm->listen_fd, &from.sa, &from.len, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	describe(&from, who, sizeof(who));
	if (auth_accept(vm, fd, who, limit < until ? limit : until, &node, &role)) {
		close(fd);
		return;
	}
	set_nodelay(fd);
	if (role == ROLE_CONTROL)
		vm->peers[node].fd = fd;
	else
		vm->peers[node].data_fd = fd;
}

/* The first node above us that is not connected yet, or 0. */
static u32 missing(const struct vmm *vm)
{
	u32 i;

	for (i = vm->cfg->node + 1; i < vm->cfg->nr_nodes; i++)
		if (vm->peers[i].fd < 0 ||
		    (vm->cfg->transport == NUMASPAN_TCP && vm->peers[i].data_fd < 0))
			return i;
	return 0;
}

/**
 * link_connect - connect to all other nodes of the span, and authenticate them
 * @vm: this node
 *
 * Return: 0, or -1 after span_end().
 */
int link_connect(struct vmm *vm)
{
	const u64 until = now_ns() + vm->cfg->timeout_ms * 1000000ULL;
	const u32 self = vm->cfg->node;
	u32 i;

	if (self + 1 < vm->cfg->nr_nodes && listen_on(vm, &vm->cfg->nodes[self].addr))
		return -1;
	for (i = 0; i < self; i++) {
		vm->peers[i].fd = dial(vm, i, ROLE_CONTROL, until);
		if (vm->peers[i].fd < 0)
			return -1;
		if (vm->cfg->transport != NUMASPAN_TCP)
			continue;
		vm->peers[i].data_fd = dial(vm, i, ROLE_DATA, until);
		if (vm->peers[i].data_fd < 0)
			return -1;
	}
	while ((i = missing(vm)) && !span_ended(vm)) {
		if (wait_or_signal(vm, vm->listen_fd, POLLIN, until))
			accept_one(vm, until);
		else if (now_ns() >= until)
			span_end(vm, END_FAIL, 1, false, "node %u did not connect in %u ms", i,
				 vm->cfg->timeout_ms);
	}
	link_unlisten(vm);
	for (i = 0; i < vm->cfg->nr_nodes; i++)
		vm->peers[i].heard_ns = now_ns();
	return span_ended(vm) ? -1 : 0;
}

/**
 * link_unlisten - stop listening: a running span takes no connections
 * @vm: this node
 */
void link_unlisten(struct vmm *vm)
{
	const struct sv_addr *a = &vm->cfg->nodes[vm->cfg->node].addr;

	if (vm->listen_fd < 0)
		return;
	close(vm->listen_fd);
	vm->listen_fd = -1;
	if (a->sa.sa_family == AF_UNIX)
		unlink(a->un.sun_path);
}

/**
 * link_close - close all connections
 * @vm: this node
 */
void link_close(struct vmm *vm)
{
	u32 i;

	link_unlisten(vm);
	for (i = 0; i < vm->cfg->nr_nodes; i++) {
		if (vm->peers[i].fd >= 0)
			close(vm->peers[i].fd);
		if (vm->peers[i].data_fd >= 0)
			close(vm->peers[i].data_fd);
		free(vm->peers[i].out);
	}
}
