// SPDX-License-Identifier: GPL-2.0-only
/*
 * Nodes of a span for test programs: see span.h.  Nothing here retries: a call of the module that
 * should work and does not is the end of the test.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "span.h"

/**
 * span_args() - arguments of NUMASPAN_CREATE that are in order
 * @c:			filled in
 * @nr_nodes:		nodes
 * @pages_per_node:	home pages of each
 * @cache_pages:	bound on copies of remote pages
 */
void span_args(struct numaspan_create *c, int nr_nodes, u64 pages_per_node, u64 cache_pages)
{
	static unsigned int epoch;
	int i;

	memset(c, 0, sizeof(*c));
	c->abi = NUMASPAN_ABI;
	c->size = sizeof(*c);
	/* Two runs at once, and two spans of one run, must not meet. */
	c->span_id = SPAN_ID ^ ((u64)getpid() << 32);
	c->epoch = ++epoch;
	c->nr_nodes = nr_nodes;
	c->transport = NUMASPAN_LOOPBACK;
	c->timeout_ms = 10000;
	c->cache_pages = cache_pages;
	for (i = 0; i < nr_nodes; i++)
		c->home_pages[i] = pages_per_node;
	memset(c->token, 0x5a, sizeof(c->token));
}

/**
 * span_open() - a new node
 *
 * Return: its file.
 */
int span_open(void)
{
	int fd = open(SPAN_DEVICE, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		tap_bail("%s: %s; is numaspan.ko loaded?", SPAN_DEVICE, strerror(errno));
	return fd;
}

/**
 * span_create() - a node that is created
 * @c:		arguments; @c->node does not matter
 * @node:	which node
 *
 * Return: its file.
 */
int span_create(const struct numaspan_create *c, int node)
{
	struct numaspan_create mine = *c;
	int fd = span_open();

	mine.node = node;
	if (ioctl(fd, NUMASPAN_CREATE, &mine))
		tap_bail("node %d: NUMASPAN_CREATE: %s", node, strerror(errno));
	return fd;
}

/**
 * span_tcp_pair() - the two ends of a TCP connection on this host
 * @sock:	the ends
 */
void span_tcp_pair(int sock[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	sock[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (l < 0 || sock[0] < 0 || bind(l, (void *)&a, sizeof(a)) || listen(l, 1) ||
	    getsockname(l, (void *)&a, &len) || connect(sock[0], (void *)&a, sizeof(a)))
		tap_bail("TCP connection over 127.0.0.1: %s", strerror(errno));
	sock[1] = accept(l, NULL, NULL);
	if (sock[1] < 0)
		tap_bail("accept on 127.0.0.1: %s", strerror(errno));
	close(l);
}

/**
 * span_connect() - hand a socket to a node
 * @fd:		the node's file
 * @peer:	who is at its other end
 * @sock:	socket
 *
 * Return: 0 or an error number.
 */
int span_connect(int fd, int peer, int sock)
{
	struct numaspan_connect c = { .node = peer, .fd = sock };

	return ioctl(fd, NUMASPAN_CONNECT, &c) ? errno : 0;
}

static void put_addr(unsigned char *to, const char *ip, int port)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };

	if (inet_pton(AF_INET, ip, &in.sin_addr) == 1)
		memcpy(to, &in, sizeof(in));
	else if (inet_pton(AF_INET6, ip, &in6.sin6_addr) == 1)
		memcpy(to, &in6, sizeof(in6));
	else
		tap_bail("address '%s': expected IPv4 or IPv6", ip);
}

/**
 * span_connect_rdma() - tell a node the way to another; the higher one dials
 * @fd:		the node's file
 * @peer:	the other
 * @self:	the node
 * @ip:		its address, of an RDMA device
 * @peer_ip:	the other's
 *
 * Return: 0 or an error number.
 */
int span_connect_rdma(int fd, int peer, int self, const char *ip, const char *peer_ip)
{
	struct numaspan_connect_rdma c = {
		.node = peer, .flags = self > peer ? NUMASPAN_RDMA_DIAL : 0,
	};

	put_addr(c.local, ip, self > peer ? 0 : SPAN_RDMA_PORT + self);
	put_addr(c.remote, peer_ip, SPAN_RDMA_PORT + peer);
	return ioctl(fd, NUMASPAN_CONNECT_RDMA, &c) ? errno : 0;
}

/**
 * span_rdma_ip() - the address of this host's RDMA device
 *
 * Return: what the environment has in SPAN_RDMA.
 */
const char *span_rdma_ip(void)
{
	return getenv("SPAN_RDMA") ?: "10.9.0.1";
}

static void *start_one(void *arg)
{
	int fd = *(const int *)arg;

	return (void *)(long)(ioctl(fd, NUMASPAN_START) ? errno : 0);
}

/**
 * span_start() - start nodes, all at once because each may wait for the others
 * @fd:		their files
 * @n:		how many
 *
 * Return: 0, or the error number of one that failed.
 */
int span_start(const int *fd, int n)
{
	pthread_t t[SPAN_MAX];
	int i, err = 0;
	void *ret;

	for (i = 0; i < n; i++)
		if (pthread_create(&t[i], NULL, start_one, (void *)&fd[i]))
			tap_bail("no thread to start node %d", i);
	for (i = 0; i < n; i++) {
		pthread_join(t[i], &ret);
		if (ret)
			err = (int)(long)ret;
	}
	return err;
}

/**
 * span_map() - a node's view of the span
 * @fd:		its file
 * @pages:	pages of the span
 *
 * Return: the mapping.
 */
char *span_map(int fd, u64 pages)
{
	void *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		tap_bail("mmap of %llu pages of the span: %s", pages, strerror(errno));
	return p;
}

static void connect_all(struct span *s)
{
	const char *ip = span_rdma_ip();
	int sock[2], i, j, err;

	for (i = 0; i < s->args.nr_nodes; i++) {
		for (j = i + 1; j < s->args.nr_nodes; j++) {
			if (s->args.transport == NUMASPAN_RDMA) {
				err = span_connect_rdma(s->fd[i], j, i, ip, ip);
				if (!err)
					err = span_connect_rdma(s->fd[j], i, j, ip, ip);
				if (err)
					tap_bail("nodes %d and %d: NUMASPAN_CONNECT_RDMA at %s: %s",
						 i, j, ip, strerror(err));
				continue;
			}
			span_tcp_pair(sock);
			err = span_connect(s->fd[i], j, sock[0]);
			if (!err)
				err = span_connect(s->fd[j], i, sock[1]);
			if (err)
				tap_bail("nodes %d and %d: NUMASPAN_CONNECT: %s", i, j,
					 strerror(err));
			close(sock[0]);
			close(sock[1]);
		}
	}
}

/**
 * span_up() - all nodes of a span in this process, running and mapped
 * @s:		span; @s->args is set
 */
void span_up(struct span *s)
{
	int i, err;

	s->self = -1;
	s->pages = 0;
	for (i = 0; i < s->args.nr_nodes; i++) {
		s->fd[i] = span_create(&s->args, i);
		s->pages += s->args.home_pages[i];
	}
	if (s->args.transport != NUMASPAN_LOOPBACK)
		connect_all(s);
	err = span_start(s->fd, s->args.nr_nodes);
	if (err)
		tap_bail("NUMASPAN_START: %s", strerror(err));
	for (i = 0; i < s->args.nr_nodes; i++)
		s->map[i] = span_map(s->fd[i], s->pages);
}

/**
 * span_down() - unmap and close the nodes of this process
 * @s:		span
 */
void span_down(struct span *s)
{
	int i;

	for (i = 0; i < s->args.nr_nodes; i++) {
		if (s->self >= 0 && i != s->self)
			continue;
		munmap(s->map[i], s->pages * PAGE);
		close(s->fd[i]);
	}
}

asm(".pushsection .text\n\t"
	".globl span_clear\n"
	"span_clear:\n\t"
	"mov %rsi, %rcx\n\t"
	"xor %eax, %eax\n\t"
	"shr $3, %rcx\n\t"
	"rep stosq\n\t"
	"ret\n"
	"span_clear_end:\n\t"
	".popsection");

/**
 * span_clears() - span_clear() is code that clears pages, as a guest's kernel has it
 * @fd:		a node's file
 */
void span_clears(int fd)
{
	struct numaspan_clear_code c = {
		.start = (u64)span_clear, .end = (u64)span_clear_end,
	};

	if (ioctl(fd, NUMASPAN_CLEAR_CODE, &c))
		tap_bail("NUMASPAN_CLEAR_CODE: %s", strerror(errno));
}

/**
 * span_stats() - a node's counters
 * @fd:		its file
 * @st:		filled in
 */
void span_stats(int fd, struct numaspan_stats *st)
{
	memset(st, 0, sizeof(*st));
	st->abi = NUMASPAN_ABI;
	st->size = sizeof(*st);
	if (ioctl(fd, NUMASPAN_STATS, st))
		tap_bail("NUMASPAN_STATS: %s", strerror(errno));
}

/**
 * span_status() - a node's state, and why it stopped
 * @fd:		its file
 * @st:		filled in
 */
void span_status(int fd, struct numaspan_status *st)
{
	memset(st, 0, sizeof(*st));
	if (ioctl(fd, NUMASPAN_STATUS, st))
		tap_bail("NUMASPAN_STATUS: %s", strerror(errno));
}

/**
 * span_wait_stopped() - wait until a node has stopped
 * @fd:		its file
 * @timeout_ms:	bound
 * @st:		filled in
 *
 * Return: true if it has.
 */
bool span_wait_stopped(int fd, int timeout_ms, struct numaspan_status *st)
{
	struct pollfd p = { .fd = fd };

	poll(&p, 1, timeout_ms);
	span_status(fd, st);
	return st->state == NUMASPAN_STOPPED;
}

/**
 * span_copies() - how often a CPU has copied contents on their way
 * @s:		span
 * @what:	set to the counts, and to what was expected if they are not that
 *
 * Return: true if it was as often as the transport has to.
 */
bool span_copies(const struct span *s, char what[SPAN_TEXT])
{
	static const char * const expect[] = {
		"one a transfer", "two a transfer, more where a socket was full", "none",
	};
	u64 in = 0, out = 0, copies = 0, more, least;
	struct numaspan_stats st;
	bool good;
	int i;

	for (i = 0; i < s->args.nr_nodes; i++) {
		if (s->self >= 0 && i != s->self)
			continue;
		span_stats(s->fd[i], &st);
		in += st.transfers_in;
		out += st.transfers_out;
		copies += st.page_copies;
	}
	/* By NUMASPAN_POLICY_COPY: from and to each message, and within RDMA */
	more = s->args.policy & NUMASPAN_POLICY_COPY ? in + out : 0;
	least = more + (s->args.transport == NUMASPAN_TCP ? in + out : out);
	if (s->args.transport == NUMASPAN_RDMA)
		good = copies == 2 * more && in + out;
	else if (s->args.transport == NUMASPAN_LOOPBACK)
		good = copies == least;
	else
		good = copies >= least && copies <= least + out;
	snprintf(what, SPAN_TEXT, "%llu copies of contents by a CPU, %llu sent, %llu got%s%s%s",
		 copies, out, in, more ? ", by the policy" : "", good ? "" : ": expected ",
		 good ? "" : expect[s->args.transport]);
	return good;
}

/**
 * span_reason() - a reason's name
 * @reason:	enum numaspan_reason
 *
 * Return: the name without its prefix.
 */
const char *span_reason(unsigned int reason)
{
	static const char * const name[] = {
		"NONE", "STOP", "PEER_STOP", "PEER_LOST", "PEER_TIMEOUT", "BAD_MESSAGE",
		"PROTOCOL", "NO_MEMORY", "DRAIN", "DEVICE",
	};

	return reason < sizeof(name) / sizeof(*name) ? name[reason] : "unknown";
}

static const struct span *watched;

static void on_sigbus(int sig)
{
	struct numaspan_status st;
	int i;

	for (i = 0; i < watched->args.nr_nodes; i++) {
		if (watched->self >= 0 && i != watched->self)
			continue;
		span_status(watched->fd[i], &st);
		if (st.state == NUMASPAN_STOPPED)
			tap_diag("node %d stopped: %s: %s", i, span_reason(st.reason), st.text);
	}
	tap_bail("signal %d: an access to the span failed", sig);
}

/**
 * span_catch_sigbus() - from now on an access that fails ends the program with the reason
 * @s:		span, stays alive
 */
void span_catch_sigbus(const struct span *s)
{
	watched = s;
	signal(SIGBUS, on_sigbus);
}

/**
 * span_number() - an option's number; a bad one ends the program with status 2
 * @prog:	program
 * @option:	option
 * @s:		its value
 * @min:	least
 * @max:	most
 *
 * Return: the number.
 */
long span_number(const char *prog, const char *option, const char *s, long min, long max)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(s, &end, 10);
	if (end == s || *end || errno || v < min || v > max) {
		fprintf(stderr, "%s: %s '%s': expected a number from %ld to %ld\n", prog, option, s,
			min, max);
		exit(2);
	}
	return v;
}

/**
 * span_choice() - an option that is one of some words; another ends the program with status 2
 * @prog:	program
 * @option:	option
 * @s:		its value
 * @names:	words
 * @n:		how many, two or more
 *
 * Return: the index of the word.
 */
int span_choice(const char *prog, const char *option, const char *s, const char * const *names,
		int n)
{
	int i;

	for (i = 0; i < n; i++)
		if (!strcmp(s, names[i]))
			return i;
	fprintf(stderr, "%s: %s '%s': expected %s", prog, option, s, names[0]);
	for (i = 1; i < n; i++)
		fprintf(stderr, "%s %s", i < n - 1 ? "," : " or", names[i]);
	fputc('\n', stderr);
	exit(2);
}

/**
 * span_transport() - the option --transport; a bad one ends the program with status 2
 * @prog:	program
 * @s:		its value
 *
 * Return: enum numaspan_transport.
 */
int span_transport(const char *prog, const char *s)
{
	static const char * const names[] = { "loopback", "tcp", "rdma" };

	return span_choice(prog, "--transport", s, names, 3);
}

/**
 * span_policy() - the option --policy; a bad one ends the program with status 2
 * @prog:	program
 * @s:		its value
 *
 * Return: NUMASPAN_POLICY_* bits.
 */
int span_policy(const char *prog, const char *s)
{
	static const char * const names[] = {
		"numaspan", "read-moves", "serial", "node-0", "copy", "sleep", "giantvm2020",
	};
	static const int bits[] = {
		0, NUMASPAN_POLICY_READ_MOVES, NUMASPAN_POLICY_SERIAL, NUMASPAN_POLICY_NODE_0,
		NUMASPAN_POLICY_COPY, NUMASPAN_POLICY_SLEEP, NUMASPAN_POLICY_ALL,
	};

	return bits[span_choice(prog, "--policy", s, names, 7)];
}
