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
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "spanvm.h"

#define OUT_MAX		(4U << 20)
#define MAX_PENDING	(2 * MAX_NODES)	/* handshakes that others began */
#define HANDSHAKE_PART	4	/* of the time-out, for each of them */
#define RETRY_MS	50	/* nothing tells when a peer begins to listen */

static bool on_setup(struct vmm *vm, u32 from, const union msg *m)
{
	if (from || vm->setup.epoch || !m->setup.epoch)
		return false;
	vm->setup = m->setup;
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
};

static void peer_lost(struct vmm *vm, u32 node, const char *why)
{
	struct peer *p = &vm->peers[node];

	GUARD(&p->lock);

	close(p->fd);
	p->fd = -1;
	span_fail(vm, "node %u is lost: %s", node, why);
}

/* The queue's head goes to the socket as far as it takes it; under p->lock.  What a broken
 * connection does not take is dropped: the reading side says why, after the peer's last words.
 */
static void flush_locked(struct peer *p)
{
	ssize_t n = send(p->fd, p->out, p->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0)
		n = errno == EAGAIN || errno == EINTR ? 0 : p->out_len;
	p->out_len -= n;
	memmove(p->out, p->out + n, p->out_len);
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
	GUARD(&p->lock);

	if (p->fd < 0)
		return;
	if (p->out_len + sizeof(h) + h.len > p->out_size) {
		p->out_size = p->out_size ? p->out_size * 2 : 4096;
		p->out = realloc(p->out, p->out_size);
		if (!p->out || p->out_size > OUT_MAX) {
			p->out_len = 0;
			p->out_size = 0;
			span_fail(vm, "node %u is lost: it takes no messages, %u bytes are queued",
				  node, OUT_MAX);
			return;
		}
	}
	h.seq = p->seq_out++;
	h.sum = link_sum(&h, payload);
	memcpy(p->out + p->out_len, &h, sizeof(h));
	memcpy(p->out + p->out_len + sizeof(h), payload, h.len);
	p->out_len += sizeof(h) + h.len;
	flush_locked(p);
	if (p->out_len)
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

/* Handles one message; returns its length, or 0 when it is not whole yet or not to be believed. */
static size_t take(struct vmm *vm, u32 node, const u8 *buf, size_t len)
{
	struct peer *p = &vm->peers[node];
	struct msg_hdr h;
	union msg m = { };

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
	p->seq_in++;
	memcpy(&m, buf + sizeof(h), h.len);
	if (h.sum != link_sum(&h, &m))
		span_fail(vm, "node %u sent a bad message: checksum of a %s", node,
			  types[h.type].name);
	else if (!types[h.type].fn(vm, node, &m))
		span_fail(vm, "node %u sent a bad message: impossible %s", node,
			  types[h.type].name);
	else
		return sizeof(h) + h.len;
	return 0;
}

static void flush_out(struct peer *p)
{
	GUARD(&p->lock);

	if (p->fd >= 0 && p->out_len)
		flush_locked(p);
}

/**
 * link_event - send what is queued for a node; take what it sent, and handle it
 * @vm: this node
 * @node: the other
 * @events: what poll() says of the connection
 */
void link_event(struct vmm *vm, u32 node, short events)
{
	struct peer *p = &vm->peers[node];
	size_t at = 0, used;
	ssize_t n;

	if (events & POLLOUT)
		flush_out(p);
	if (!(events & ~POLLOUT))
		return;
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

static void listen_on(struct vmm *vm, const struct sv_addr *a)
{
	const int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const mode_t mask = umask(0077);
	struct stat st;
	int one = 1;

	if (a->sa.sa_family == AF_UNIX && !lstat(a->un.sun_path, &st) && S_ISSOCK(st.st_mode))
		unlink(a->un.sun_path);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, &a->sa, a->len) || listen(fd, 2 * MAX_NODES))
		span_fail(vm, "cannot listen on %s: %s", a->text, strerror(errno));
	umask(mask);
	if (!span_ended(vm))
		vm->listen_fd = fd;
	else
		close(fd);
}

/* A running span takes no connections. */
static void unlisten(struct vmm *vm)
{
	const struct sv_addr *a = &vm->cfg->nodes[vm->cfg->node].addr;

	if (vm->listen_fd >= 0 && a->sa.sa_family == AF_UNIX)
		unlink(a->un.sun_path);
	close(vm->listen_fd);
	vm->listen_fd = -1;
}

/**
 * link_fd - where the connection of a role to a peer is kept
 * @vm: this node
 * @node: the peer
 * @role: the role
 *
 * Return: the place of the descriptor, which is -1 while there is none.
 */
int *link_fd(struct vmm *vm, u32 node, enum conn_role role)
{
	return role == ROLE_CONTROL ? &vm->peers[node].fd : &vm->peers[node].data_fd;
}

/* A handshake is over, with a connection or for the reason @r; a dial is tried again later. */
static void finish(struct vmm *vm, struct shake *s, int r)
{
	int one = 1;

	if (!r) {
		setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		*link_fd(vm, s->peer, s->role) = s->fd;
	} else {
		if (!s->dialed && r != -EACCES)
			say(vm, "refused %s: handshake not completed (%s)", s->who, strerror(-r));
		close(s->fd);
	}
	s->fd = -1;
	s->error = -r;
	s->until_ns = !s->dialed ? 0 : r ? now_ns() + RETRY_MS * 1000000ULL : ~0ULL;
}

static void dial(struct vmm *vm, struct shake *s, u64 until)
{
	const struct sv_addr *a = &vm->cfg->nodes[s->peer].addr;

	s->got = 0;
	s->want = 0;
	s->until_ns = until;
	s->fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0 || (connect(s->fd, &a->sa, a->len) && errno != EINPROGRESS))
		finish(vm, s, -errno);
}

/* Who comes takes a free slot, or the place of who has been here longest without a proof. */
static void accept_one(struct vmm *vm, struct shake *pending)
{
	struct sv_addr from = { .len = sizeof(from.un) };
	int fd = accept4(vm->listen_fd, &from.sa, &from.len, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct shake *s = pending;
	char ip[46], port[16];
	u32 i;

	if (fd < 0)
		return;
	for (i = 1; i < MAX_PENDING; i++)
		if (pending[i].until_ns < s->until_ns)
			s = &pending[i];
	if (s->fd >= 0)
		finish(vm, s, -EUSERS);
	*s = (struct shake){ .fd = fd, .who = "a local process",
		.until_ns = now_ns() + vm->cfg->timeout_ms * (1000000ULL / HANDSHAKE_PART) };
	if (from.sa.sa_family != AF_UNIX &&
	    !getnameinfo(&from.sa, from.len, ip, sizeof(ip), port, sizeof(port),
			 NI_NUMERICHOST | NI_NUMERICSERV))
		snprintf(s->who, sizeof(s->who), "%s port %s", ip, port);
}

/* Takes every handshake as far as it goes now, and waits for more; the pending are the last. */
static void shake_all(struct vmm *vm, struct shake *shakes, u32 nr, u64 until)
{
	struct pollfd p[2 + 2 * MAX_NODES + MAX_PENDING];
	u64 now = now_ns(), next = until;
	struct shake *s;
	u32 i;
	int r;

	for (i = 0; i < nr; i++) {
		s = &shakes[i];
		if (s->fd >= 0 && s->until_ns <= now)
			finish(vm, s, -ETIMEDOUT);
		else if (s->dialed && s->until_ns <= now)
			dial(vm, s, until);
		p[i] = (struct pollfd){ .fd = s->fd, .events = s->want ? POLLIN : POLLOUT };
		if (s->until_ns > now && s->until_ns < next)
			next = s->until_ns;
	}
	p[nr] = (struct pollfd){ .fd = vm->listen_fd, .events = POLLIN };
	p[nr + 1] = (struct pollfd){ .fd = vm->signal_fd, .events = POLLIN };
	poll(p, nr + 2, next > now ? (next - now) / 1000000 + 1 : 0);
	for (i = 0; i < nr; i++) {
		r = p[i].revents ? auth_step(vm, &shakes[i]) : AUTH_MORE;
		if (r != AUTH_MORE)
			finish(vm, &shakes[i], r);
	}
	if (p[nr].revents)
		accept_one(vm, &shakes[nr - MAX_PENDING]);
	if (p[nr + 1].revents)
		loop_once(vm, 0);
}

/* The first node that is not connected yet, or this one. */
static u32 missing(const struct vmm *vm)
{
	u32 i;

	for (i = 0; i < vm->cfg->nr_nodes; i++)
		if (i != vm->cfg->node &&
		    (vm->peers[i].fd < 0 ||
		     (vm->cfg->transport == NUMASPAN_TCP && vm->peers[i].data_fd < 0)))
			return i;
	return vm->cfg->node;
}

/**
 * link_connect - connect to all other nodes of the span, and authenticate them
 * @vm: this node
 *
 * Return: 0, or -1 after span_end().
 */
int link_connect(struct vmm *vm)
{
	const struct config *c = vm->cfg;
	const u64 until = now_ns() + c->timeout_ms * 1000000ULL;
	const u32 dials = c->transport == NUMASPAN_TCP ? 2 * c->node : c->node;
	const u32 nr = dials + MAX_PENDING;
	struct shake *shakes = xzalloc(nr * sizeof(*shakes));
	u32 i;

	for (i = 0; i < nr; i++)
		shakes[i].fd = -1;
	for (i = 0; i < dials; i++) {
		shakes[i].dialed = true;
		shakes[i].peer = i % c->node;
		shakes[i].role = i < c->node ? ROLE_CONTROL : ROLE_DATA;
	}
	if (c->node + 1 < c->nr_nodes)
		listen_on(vm, &c->nodes[c->node].addr);
	while ((i = missing(vm)) != c->node && !span_ended(vm)) {
		if (now_ns() < until)
			shake_all(vm, shakes, nr, until);
		else if (i < c->node)
			span_fail(vm, "node %u at %s did not answer in %u ms: %s", i,
				  c->nodes[i].addr.text, c->timeout_ms,
				  strerror(shakes[i].error ?: ETIMEDOUT));
		else
			span_fail(vm, "node %u did not connect in %u ms", i, c->timeout_ms);
	}
	unlisten(vm);
	for (i = 0; i < nr; i++)
		close(shakes[i].fd);
	free(shakes);
	for (i = 0; i < c->nr_nodes; i++)
		vm->peers[i].heard_ns = now_ns();
	return span_ended(vm) ? -1 : 0;
}

/**
 * link_close - close all connections
 * @vm: this node
 */
void link_close(struct vmm *vm)
{
	u32 i;

	for (i = 0; i < vm->cfg->nr_nodes; i++) {
		close(vm->peers[i].fd);
		close(vm->peers[i].data_fd);
		free(vm->peers[i].out);
	}
}
