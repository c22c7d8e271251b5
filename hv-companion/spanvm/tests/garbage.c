// SPDX-License-Identifier: GPL-2.0-only
/*
 * Messages that no node would send, on the control connection of a spanvm that has no KVM: its
 * own code, all of it, with a node at work and a socket to a peer that is this program.  Each
 * lie ends with a span that has ended for the reason the table names; then --messages of them
 * at random, which must all end with a reason, and nothing else.  Last the handshake with
 * every byte damaged once, whatever is damaged, the two sides never both accept; and strangers
 * who know all of an honest handshake but the key, and strangers who say nothing.
 */
#define main spanvm_main
#include "../main.c"
#undef main
#include <getopt.h>
#include <sched.h>
#include <sys/socket.h>

/* Both have these. */
#undef __printf
#define now_ns tap_now_ns
#include "../../../tests/tap.h"
#undef now_ns

#define NODES		3
#define LAST_WORD	8	/* bytes that end the handshake: the acceptor's, for the dialer */
#define TSC_KHZ		1000000
#define SHAKE_NS	60000000000ULL	/* bound on a handshake; none comes near it */
#define DRAIN_LIMIT	100000	/* turns of the event loop; each takes what is there */

static struct config config;
static struct vmm *vm;
static int sock;		/* the peer's end */
static u32 peer, seq;
static u64 seed;
static long sent;

/* Node @node is up, with @from at the other end of a socket. */
static void up(u32 node, u32 from)
{
	int pair[2];
	u32 i;

	config.node = node;
	begin(vm);
	vm->kvm_fd = -1;
	vm->setup.tsc_khz = TSC_KHZ;
	vm->setup.epoch = 1;
	vm->clock.next_ns = ~0ULL;
	vm->up = true;
	vm->cpus = xzalloc(config.nr_cpus * sizeof(*vm->cpus));
	for (i = 0; i < config.nr_cpus; i++)
		vm->cpus[i] = (struct vcpu){ .vm = vm, .index = i, .apic_id = i, .fd = -1,
			.node = i, .real = i == node };
	uart_reset(vm);
	ioapic_reset(vm);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair))
		tap_bail("socketpair: %s", strerror(errno));
	peer = from;
	vm->peers[peer].fd = pair[0];
	vm->peers[peer].heard_ns = now_ns();
	sock = pair[1];
	seq = 0;
}

static void down(void)
{
	link_close(vm);
	free(vm->cpus);
	if (sock >= 0)
		close(sock);
	sock = -1;
}

/* The node handles what has been sent; what it answers is thrown away. */
static void drain(void)
{
	struct pollfd p = { .events = POLLIN };
	char junk[8192];
	long turns = 0;

	do {
		if (++turns > DRAIN_LIMIT)
			tap_bail("the node never comes to an end of what was sent");
		loop_once(vm, 0);
		while (sock >= 0 && recv(sock, junk, sizeof(junk), 0) > 0)
			;
		p.fd = vm->peers[peer].fd;
	} while (!span_ended(vm) && p.fd >= 0 && poll(&p, 1, 0) > 0);
}

static void send_bytes(const void *data, size_t len)
{
	const char *p = data;
	ssize_t n;

	sent++;
	while (len && !span_ended(vm)) {
		n = send(sock, p, len, MSG_NOSIGNAL);
		if (n < 0) {
			drain();
			continue;
		}
		p += n;
		len -= n;
	}
}

struct packet {
	struct msg_hdr h;
	union msg m;
};

static const u32 lengths[M_NR] = {
	[M_PING] = sizeof(struct msg_ping), [M_PONG] = sizeof(struct msg_ping),
	[M_SETUP] = sizeof(struct msg_setup), [M_STEP] = sizeof(struct msg_step),
	[M_GO] = sizeof(struct msg_step), [M_CLOCK] = sizeof(struct msg_clock),
	[M_AHEAD] = sizeof(struct msg_ahead), [M_MSI] = sizeof(struct msg_msi),
	[M_IO] = sizeof(struct msg_io), [M_IO_DONE] = sizeof(struct msg_io),
	[M_STOP] = sizeof(struct msg_stop),
};

static void seal(struct packet *p)
{
	p->h.sum = link_sum(&p->h, &p->m);
}

static struct packet honest(u32 type, const union msg *m)
{
	struct packet p;

	memset(&p, 0, sizeof(p));
	p.h = (struct msg_hdr){ .magic = MSG_MAGIC, .type = type, .len = lengths[type],
		.seq = seq++, .epoch = vm->incarnation };
	if (m)
		memcpy(&p.m, m, p.h.len);
	seal(&p);
	return p;
}

static void send_packet(const struct packet *p)
{
	u8 buf[sizeof(*p)];

	memcpy(buf, &p->h, sizeof(p->h));
	memcpy(buf + sizeof(p->h), &p->m, p->h.len);
	send_bytes(buf, sizeof(p->h) + p->h.len);
}

/* What no node sends with a header that is in order: @to hears it from @from. */
static const struct {
	const char *name;
	u32 to, from, type;
	union msg m;
	const char *expect;
} lies[] = {
	{ "a second setup", 1, 0, M_SETUP, { .setup.epoch = 1 }, "impossible SETUP" },
	{ "a setup that is not node 0's", 1, 2, M_SETUP, { .setup.epoch = 1 }, "impossible SETUP" },
	{ "a step that is skipped", 0, 1, M_STEP, { .step.step = 2 }, "impossible STEP" },
	{ "a step told to another than node 0", 2, 1, M_STEP, { .step.step = 1 },
	  "impossible STEP" },
	{ "leave to go from another than node 0", 1, 2, M_GO, { .step.step = 1 }, "impossible GO" },
	{ "leave to go too far", 1, 0, M_GO, { .step.step = 7 }, "impossible GO" },
	{ "an answer before the question", 1, 0, M_PONG, { .ping.sent = ~0ULL },
	  "impossible PONG" },
	{ "the clock of another than node 0", 1, 2, M_CLOCK, { }, "impossible CLOCK" },
	{ "ahead of another than node 0", 1, 2, M_AHEAD, { }, "impossible AHEAD" },
	{ "a TSC too far ahead", 0, 1, M_AHEAD, { .ahead.tsc = 1ULL << 40 }, "impossible AHEAD" },
	{ "a TSC that goes back", 0, 1, M_AHEAD, { .ahead.tsc = 1ULL << 63 }, "impossible AHEAD" },
	{ "a clock too far ahead", 0, 1, M_AHEAD, { .ahead.clock_ns = ~0ULL }, "impossible AHEAD" },
	{ "an interrupt for another node", 0, 1, M_MSI, { .msi = { 1, 0, 32, 0 } },
	  "impossible MSI" },
	{ "an interrupt for no CPU", 0, 1, M_MSI, { .msi = { ~0U, 0, 32, 0 } }, "impossible MSI" },
	{ "an interrupt of a reserved vector", 0, 1, M_MSI, { .msi = { 0, 0, 15, 0 } },
	  "impossible MSI" },
	{ "an interrupt of an unknown mode", 0, 1, M_MSI, { .msi = { 0, 3, 32, 0 } },
	  "impossible MSI" },
	{ "an interrupt with padding", 0, 1, M_MSI, { .msi = { 0, 0, 32, 1 } }, "impossible MSI" },
	{ "an access to a device of another than node 0", 1, 2, M_IO,
	  { .io = { .addr = PORT_COM1, .cpu = 2, .size = 1 } }, "impossible IO" },
	{ "an access by a CPU that is not there", 0, 1, M_IO,
	  { .io = { .addr = PORT_COM1, .cpu = ~0U, .size = 1 } }, "impossible IO" },
	{ "an access by another node's CPU", 0, 1, M_IO,
	  { .io = { .addr = PORT_COM1, .cpu = 2, .size = 1 } }, "impossible IO" },
	{ "an access of three bytes", 0, 1, M_IO,
	  { .io = { .addr = PORT_COM1, .cpu = 1, .size = 3 } }, "impossible IO" },
	{ "an access of no bytes", 0, 1, M_IO, { .io = { .addr = PORT_COM1, .cpu = 1 } },
	  "impossible IO" },
	{ "an access of 16 bytes", 0, 1, M_IO,
	  { .io = { .addr = PORT_COM1, .cpu = 1, .size = 16 } }, "impossible IO" },
	{ "an access that neither reads nor writes", 0, 1, M_IO,
	  { .io = { .addr = PORT_COM1, .cpu = 1, .size = 1, .write = 2 } }, "impossible IO" },
	{ "an access to neither port nor memory", 0, 1, M_IO,
	  { .io = { .addr = PORT_COM1, .cpu = 1, .size = 1, .mmio = 2 } }, "impossible IO" },
	{ "an access to no device", 0, 1, M_IO, { .io = { .addr = 0x80, .cpu = 1, .size = 1 } },
	  "impossible IO" },
	{ "an access to a port beyond 16 bits", 0, 1, M_IO,
	  { .io = { .addr = 0x1000003f8, .cpu = 1, .size = 1 } }, "impossible IO" },
	{ "an answer that nobody waits for", 1, 0, M_IO_DONE, { .io = { .cpu = 1, .size = 1 } },
	  "impossible IO_DONE" },
	{ "an answer for another node's CPU", 1, 0, M_IO_DONE, { .io = { .cpu = 2, .size = 1 } },
	  "impossible IO_DONE" },
	{ "an answer for no CPU", 1, 0, M_IO_DONE, { .io = { .cpu = ~0U } }, "impossible IO_DONE" },
	{ "an end of no kind", 0, 1, M_STOP, { .stop.kind = END_NONE }, "impossible STOP" },
	{ "an end of an unknown kind", 0, 1, M_STOP, { .stop.kind = ~0U }, "impossible STOP" },
	{ "a status beyond 255", 1, 0, M_STOP, { .stop = { .kind = END_FAIL, .status = 256 } },
	  "impossible STOP" },
	{ "a power-off by another than node 0", 0, 1, M_STOP, { .stop.kind = END_POWEROFF },
	  "impossible STOP" },
	{ "a step twice", 0, 1, M_STEP, { .step.step = 0 }, "impossible STEP" },
	{ "leave to go, to node 0", 0, 1, M_GO, { .step.step = 1 }, "impossible GO" },
};

/* Damage of the header; the rest of the message is honest. */
static const struct {
	const char *name;
	const char *expect;
} broken[] = {
	{ "another magic", "magic" }, { "type 0", "type 0" }, { "an unknown type", "type" },
	{ "a wrong length", "length" }, { "a number twice", "number 0" },
	{ "a number too high", "number" }, { "another incarnation", "magic" },
	{ "a wrong checksum", "checksum of a PING" }, { "a damaged content", "checksum of a PING" },
};

static void send_broken(u32 kind)
{
	struct packet p = honest(M_PING, NULL);
	const u32 r = next_random(&seed);

	switch (kind) {
	case 0:
		p.h.magic ^= 1U << r % 32;
		break;
	case 1:
		p.h.type = 0;
		break;
	case 2:
		p.h.type = M_NR + r % (65536 - M_NR);
		break;
	case 3:
		p.h.len += 1 + r % 65535;
		break;
	case 4:
		send_packet(&p);
		break;
	case 5:
		p.h.seq += 1 + r % 1000;
		break;
	case 6:
		p.h.epoch ^= 1U << r % 32;
		break;
	case 7:
		p.h.sum ^= 1U << r % 32;
		send_packet(&p);
		return;
	case 8:
		p.m.ping.sent ^= 1ULL << r % 64;
		send_packet(&p);
		return;
	}
	/* Not the payload of the length it claims: the header alone must be enough. */
	p.h.sum = link_sum(&(struct msg_hdr){ .magic = p.h.magic, .type = p.h.type, .seq = p.h.seq,
			   .epoch = p.h.epoch }, NULL);
	send_bytes(&p.h, sizeof(p.h));
}

static void expect_end(const char *name, const char *want)
{
	drain();
	if (!tap_ok(atomic_load(&vm->end) == END_FAIL && vm->end_status == 1 &&
		    strstr(vm->end_text, want), "%s: %s", name, vm->end_text))
		tap_diag("expected: %s", want);
	down();
}

static void test_lies(void)
{
	struct packet p;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(lies); i++) {
		up(lies[i].to, lies[i].from);
		p = honest(lies[i].type, &lies[i].m);
		send_packet(&p);
		expect_end(lies[i].name, lies[i].expect);
	}
	for (i = 0; i < ARRAY_SIZE(broken); i++) {
		up(i % 2, !(i % 2));
		send_broken(i);
		expect_end(broken[i].name, broken[i].expect);
	}
	up(0, 1);
	p = honest(M_STOP, NULL);
	send_bytes(&p, 1 + next_random(&seed) % (sizeof(p.h) - 1));
	close(sock);
	sock = -1;
	expect_end("half a message", "node 1 is lost: it closed the connection");
	up(0, 1);
	p = honest(M_AHEAD, NULL);
	vm->up = false;
	vm->setup.tsc_khz = 0;
	send_packet(&p);
	expect_end("a clock ahead before there is one", "impossible AHEAD");
}

/* What a node may well send to this one now; now and then anything. */
static struct packet plausible(void)
{
	static const u16 addrs[] = {
		PORT_COM1, PORT_COM2, PORT_RTC, PORT_COM1, 0xf4, PORT_COM2, PORT_POWER, PORT_COM1,
	};
	static const u8 to_node0[] = {
		M_PING, M_PONG, M_STEP, M_AHEAD, M_IO, M_IO, M_IO, M_STEP,
	};
	static const u8 from_node0[] = {
		M_PING, M_PONG, M_CLOCK, M_GO, M_PING, M_PONG, M_CLOCK, M_CLOCK,
	};
	const u64 r = next_random(&seed);
	u32 type = (config.node ? from_node0 : to_node0)[r % 8], i;
	struct packet p;

	if (!(r >> 3 & 31))
		type = 1 + (r >> 8) % (M_NR - 1);
	p = honest(type, NULL);
	for (i = 0; i < p.h.len; i++)
		((u8 *)&p.m)[i] = next_random(&seed);
	if (type == M_STEP || type == M_GO)
		p.m.step.step = 1 + (type == M_STEP ? vm->peers[peer].step : vm->step);
	if (type == M_PONG)
		p.m.ping.sent = host_tsc() - (r >> 40);
	if (type == M_AHEAD)
		p.m.ahead = (struct msg_ahead){ r >> 40 & 0xffff, r >> 44 & 0xffff };
	if (type == M_MSI)
		p.m.msi = (struct msg_msi){ config.node, 0, 16 + r % 240, 0 };
	if (type == M_STOP)
		p.m.stop.kind = r >> 16 & 3;
	if (type == M_STOP)
		p.m.stop.status = r >> 18 & 0xff;
	if (type == M_IO) {
		p.m.io = (struct msg_io){ .cpu = peer, .size = 1 << (r >> 10) % 4,
			.write = r >> 12 & 1, .mmio = r >> 13 & 1, .data = r >> 20,
			.addr = IOAPIC_BASE + (r >> 16) % 3 * 0x10 };
		if (!p.m.io.mmio)
			p.m.io.addr = addrs[(r >> 16) % 8] + (r >> 40) % 2;
	}
	seal(&p);
	return p;
}

static void deceive(u32 most)
{
	struct packet p;
	u32 n;

	for (n = 0; n < most && !span_ended(vm); n++) {
		p = plausible();
		send_packet(&p);
		if (p.h.type == M_STEP || p.h.type == M_GO || !(n % 8))
			drain();
	}
}

/*
 * Messages in order, until the node finds one that is not; if it believes them all, damaged ones.
 * It may end the span because it was told to, and it may find that it has no KVM.
 */
static void test_random(long most)
{
	unsigned long ends = 0, told = 0, wrong = 0, handled = 0;
	u32 junk[64], i;

	for (sent = 0; sent < most; ends++) {
		up(ends & 1, ends & 1 ? 0 : 1 + (ends >> 1) % 2);
		deceive(100);
		drain();
		handled += vm->peers[peer].seq_in;
		while (!span_ended(vm)) {
			for (i = 0; i < ARRAY_SIZE(junk); i++)
				junk[i] = next_random(&seed);
			if (ends % 3)
				send_broken(ends % ARRAY_SIZE(broken));
			else
				send_bytes(junk, 1 + next_random(&seed) % sizeof(junk));
			drain();
		}
		if (atomic_load(&vm->end) == END_FAIL && vm->end_status == 1)
			wrong += !strstr(vm->end_text, "sent a bad message: ") &&
				 !strstr(vm->end_text, "ended the span: ") &&
				 !strstr(vm->end_text, "interrupt ");
		else
			told++;
		down();
	}
	tap_ok(!wrong && told && handled > 4 * ends,
	       "%ld messages on %lu connections: %lu without a name", sent, ends, wrong);
	tap_diag("%lu were handled, %lu spans ended as they were told to", handled, told);
}

/* ---- the handshake ---- */

static u8 recorded[4096];	/* what the dialer of an honest handshake said */
static size_t nr_recorded;

/* A node at its handshake with another; its socket leads to the test. */
struct side {
	struct vmm vm;
	struct config c;
	struct shake s;
	int end;		/* the test's, of this side's socket */
	int result;		/* AUTH_MORE while it goes on */
};

static struct side *side_new(u32 node)
{
	struct side *d = xzalloc(sizeof(*d));
	int pair[2];

	d->c = config;
	d->c.node = node;
	d->vm.cfg = &d->c;
	begin(&d->vm);
	d->vm.wake_fd = vm->wake_fd;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		tap_bail("socketpair: %s", strerror(errno));
	d->s = (struct shake){ .fd = pair[0], .dialed = node, .role = node ? ROLE_CONTROL : 0,
		.who = "the dialer" };
	d->end = pair[1];
	d->result = AUTH_MORE;
	return d;
}

static void side_free(struct side *d)
{
	close(d->s.fd);
	close(d->end);
	free(d);
}

/* Carries a byte that @d said to @other; false when it says no more. */
static bool carry(struct side *d, struct side *other, u8 flip, bool record)
{
	u8 byte;

	if (recv(d->end, &byte, 1, 0) != 1) {
		shutdown(other->end, SHUT_WR);
		return false;
	}
	if (record)
		recorded[nr_recorded++ % sizeof(recorded)] = byte;
	byte ^= flip;
	send(other->end, &byte, 1, MSG_NOSIGNAL);
	return true;
}

/*
 * Byte @at, of those in both directions in their order, is damaged.  Returns the bytes that the
 * handshake took.
 */
static long shake(long at, u8 flip, int *dial, int *accept)
{
	struct side *d[2] = { side_new(0), side_new(1) };
	struct pollfd p[4];
	u32 i, open = 2;
	long carried = 0;

	for (i = 0; i < 2; i++)
		p[2 + i] = (struct pollfd){ .fd = d[i]->end, .events = POLLIN };
	while (open) {
		for (i = 0; i < 2; i++)
			p[i] = (struct pollfd){ .fd = d[i]->result == AUTH_MORE ? d[i]->s.fd : -1,
				.events = d[i]->s.want ? POLLIN : POLLOUT };
		if (poll(p, 4, 20000) <= 0)
			tap_bail("a handshake that stands still");
		for (i = 0; i < 2; i++) {
			if (!p[i].revents)
				continue;
			d[i]->result = auth_step(&d[i]->vm, &d[i]->s);
			if (d[i]->result != AUTH_MORE)
				shutdown(d[i]->s.fd, SHUT_RDWR);
		}
		for (i = 0; i < 2; i++) {
			if (!p[2 + i].revents)
				continue;
			if (carry(d[i], d[!i], carried == at ? flip : 0, i && at < 0)) {
				carried++;
				break;
			}
			p[2 + i].fd = -1;
			open--;
		}
	}
	*accept = d[0]->result;
	*dial = d[1]->result;
	side_free(d[0]);
	side_free(d[1]);
	return carried;
}

static void test_handshake(void)
{
	int dial, accept, both = 0, fooled = 0;
	long total, at;

	total = shake(-1, 0, &dial, &accept);
	tap_ok(!dial && !accept && total > 250, "an honest handshake of %ld bytes", total);
	for (at = 0; at < total; at++) {
		shake(at, 1U << next_random(&seed) % 8, &dial, &accept);
		both += !dial && !accept;
		fooled += !accept && at < total - LAST_WORD;
	}
	tap_ok(!both, "each of its bytes damaged once: accepted by both sides %d times", both);
	tap_ok(!fooled, "and by the acceptor %d times", fooled);
}

/* Does node 0 accept who says @len bytes, whatever it answers? */
static bool accepts(const u8 *p, size_t len)
{
	struct shake s = { .who = "a stranger" };
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || write(pair[1], p, len) != (ssize_t)len)
		tap_bail("socketpair: %s", strerror(errno));
	shutdown(pair[1], SHUT_WR);
	s.fd = pair[0];
	do {
		r = auth_step(vm, &s);
	} while (r == AUTH_MORE);
	close(pair[0]);
	close(pair[1]);
	return !r;
}

/* Who has no key may have heard an honest handshake, and say parts of it. */
static void test_strangers(long most)
{
	long n, accepted = 0;
	u8 buf[512];
	size_t from, i;

	config.node = 0;
	begin(vm);
	tap_ok(!accepts(recorded, nr_recorded), "a recorded handshake of %zu bytes is refused",
	       nr_recorded);
	for (n = 0; n < most; n++) {
		from = n % 8 ? next_random(&seed) % (nr_recorded + 1) : 0;
		memcpy(buf, recorded, from);
		for (i = from; i < sizeof(buf); i++)
			buf[i] = next_random(&seed);
		accepted += accepts(buf, next_random(&seed) % (sizeof(buf) + 1));
	}
	tap_ok(!accepted, "%ld strangers: %ld accepted", most, accepted);
	down();
}

/* A connection to where node 0 listens, as soon as it does. */
static int visit(void)
{
	const struct sv_addr *a = &config.nodes[0].addr;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	u64 until = now_ns() + SHAKE_NS;

	if (fd < 0)
		tap_bail("socket: %s", strerror(errno));
	while (connect(fd, &a->sa, a->len)) {
		if ((errno != ENOENT && errno != ECONNREFUSED) || now_ns() > until)
			tap_bail("connect: %s", strerror(errno));
		sched_yield();
	}
	return fd;
}

/* Node @node connects to node 0; returns the socket, or -1. */
static int join(u32 node, enum conn_role role)
{
	struct side *d = side_new(node);
	struct pollfd p = { .fd = visit() };
	int r;

	d->s.role = role;
	dup2(p.fd, d->s.fd);
	do {
		p.events = d->s.want ? POLLIN : POLLOUT;
		r = poll(&p, 1, 60000) == 1 ? auth_step(&d->vm, &d->s) : -ETIMEDOUT;
	} while (r == AUTH_MORE);
	side_free(d);
	if (!r)
		return p.fd;
	close(p.fd);
	return -1;
}

static void *connecting(void *result)
{
	*(int *)result = link_connect(vm);
	return NULL;
}

/*
 * More connections that say nothing than node 0 keeps, and then its own nodes: these join, while
 * node 0 still has as many of the silent as it can, and it has dropped the oldest.
 */
static void test_silent(void)
{
	int silent[3 * MAX_NODES], joined[4] = { -1, -1, -1, -1 }, result = 1;
	u32 i, dropped = 0, in_order = 0, left = 0;
	struct pollfd p;
	pthread_t t;

	config.node = 0;
	begin(vm);
	config.nodes[0].addr.un.sun_family = AF_UNIX;
	config.nodes[0].addr.len = sizeof(config.nodes[0].addr.un);
	snprintf(config.nodes[0].addr.un.sun_path, sizeof(config.nodes[0].addr.un.sun_path),
		 "/tmp/spanvm-silent.%d", getpid());
	if (pthread_create(&t, NULL, connecting, &result))
		tap_bail("no thread");
	for (i = 0; i < ARRAY_SIZE(silent); i++)
		silent[i] = visit();
	joined[0] = join(2, ROLE_CONTROL);
	joined[1] = join(2, ROLE_DATA);
	for (i = 0; i < ARRAY_SIZE(silent); i++) {
		p = (struct pollfd){ .fd = silent[i], .events = POLLIN };
		if (!poll(&p, 1, 0))
			continue;
		in_order += i == dropped;
		dropped++;
	}
	tap_ok(joined[0] >= 0 && joined[1] >= 0,
	       "%zu connections that say nothing do not keep node 2 out", ARRAY_SIZE(silent));
	tap_ok(dropped == ARRAY_SIZE(silent) + 1 - 2 * MAX_NODES && in_order == dropped,
	       "to let it in, node 0 drops those that are too many, the oldest: %u, %u in order",
	       dropped, in_order);
	joined[2] = join(1, ROLE_DATA);
	joined[3] = join(1, ROLE_CONTROL);
	pthread_join(t, NULL);
	for (i = 0; i < ARRAY_SIZE(silent); i++) {
		p = (struct pollfd){ .fd = silent[i], .events = POLLIN };
		left += !poll(&p, 1, 0);
		close(silent[i]);
	}
	tap_ok(!result && !left, "all nodes are there: %d; of the silent %u are left", result,
	       left);
	for (i = 0; i < ARRAY_SIZE(joined); i++)
		close(joined[i]);
	down();
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "messages", required_argument, NULL, 'm' },
		{ "seed", required_argument, NULL, 's' },
		{ }
	};
	long messages = 100000;
	u32 i;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'm')
			messages = atol(optarg);
		else if (c == 's')
			seed = mix64(atol(optarg));
		else
			return 2;
	}
	config = (struct config){ .span_id = 1, .key_len = 32, .transport = NUMASPAN_TCP,
		.timeout_ms = 600000, .status_port = 0xf4, .nr_nodes = NODES };
	for (i = 0; i < NODES; i++) {
		config.nodes[i] = (struct node_cfg){ .memory = 64ULL << 20, .cpus = 1,
			.first_cpu = i };
		config.nr_cpus++;
	}
	vm = xzalloc(sizeof(*vm));
	vm->cfg = &config;
	vm->console.fd = -1;
	vm->data.fd = -1;
	set_signals(vm);
	test_lies();
	test_random(messages);
	test_handshake();
	test_strangers(messages);
	test_silent();
	return tap_done();
}
