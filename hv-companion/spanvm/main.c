// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of one node: bring the span up step by step with the other nodes, run the
 * event loop, take it down, and again after a reset.  A span ends once, by span_end(),
 * which any thread may call; the first reason counts.  A power-off or reset is decided by
 * node 0 and is orderly: every node stops its vCPUs before any node stops its memory.  A
 * failure is not: each node lets go at once.  Every wait is bounded.
 */
#include <err.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>

#include "spanvm.h"

#define WEAK_MS		500
#define IDLE_MS		250

/* What all nodes do together: three steps up, and one down. */
enum { STEP_MEMORY = 1, STEP_STARTED, STEP_READY, STEP_STOPPED };

/**
 * now_ns - monotonic time
 *
 * Return: nanoseconds.
 */
u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/**
 * xzalloc - zeroed memory, or the end
 * @n: bytes
 *
 * Return: the memory.
 */
void *xzalloc(size_t n)
{
	void *p = calloc(1, n);

	if (!p)
		errx(1, "no memory for %zu bytes", n);
	return p;
}

/**
 * say - one line on stderr
 * @vm: this node
 * @fmt: printf's
 *
 * Return: -1, for the caller to return where the line says what is wrong.
 */
int say(struct vmm *vm, const char *fmt, ...)
{
	char line[512];
	va_list ap;
	int n;

	n = snprintf(line, sizeof(line), "spanvm: node %u: ", vm->cfg->node);
	va_start(ap, fmt);
	vsnprintf(line + n, sizeof(line) - n, fmt, ap);
	va_end(ap);
	fprintf(stderr, "%s\n", line);
	return -1;
}

/**
 * wake_loop - make the event loop look at everything again
 * @vm: this node
 */
void wake_loop(struct vmm *vm)
{
	if (eventfd_write(vm->wake_fd, 1) && errno != EAGAIN)
		abort();
}

/**
 * span_ended - has this node's span ended, for whatever reason?
 * @vm: this node
 *
 * Return: whether it has.
 */
bool span_ended(struct vmm *vm)
{
	return atomic_load(&vm->end) != END_NONE;
}

/**
 * span_end - end the span; use span_fail() and span_end_weak() where they do
 * @vm: this node
 * @kind: how it ends; END_NONE: it fails in a moment, if nothing else ends it before
 * @status: exit status
 * @tell: the other nodes do not know yet
 * @fmt: the reason, one line
 *
 * The first reason counts.
 *
 * Return: -1, for the caller to return.
 */
int span_end(struct vmm *vm, enum end_kind kind, u32 status, bool tell, const char *fmt, ...)
{
	va_list ap;

	GUARD(&vm->end_lock);
	if (span_ended(vm) || (kind == END_NONE && vm->weak_ns))
		return -1;
	va_start(ap, fmt);
	vsnprintf(vm->end_text, sizeof(vm->end_text), fmt, ap);
	va_end(ap);
	vm->end_status = status;
	vm->end_tell = tell;
	if (kind == END_NONE)
		vm->weak_ns = now_ns() + WEAK_MS * 1000000ULL;
	atomic_store(&vm->end, kind);
	wake_loop(vm);
	return -1;
}

/**
 * span_request_reset - the guest wants to be reset
 * @vm: this node
 * @why: how it said so
 */
void span_request_reset(struct vmm *vm, const char *why)
{
	struct msg_stop m = { .kind = END_RESET };

	snprintf(m.text, sizeof(m.text), "the guest is reset: %s", why);
	if (vm->cfg->node) {
		link_send(vm, 0, M_STOP, &m);
		atomic_store(&vm->reset_asked, true);
	} else {
		span_end(vm, END_RESET, 0, true, "%s", m.text);
	}
}

/**
 * span_on_stop - another node ends the span, or asks node 0 to reset it
 * @vm: this node
 * @from: the other node
 * @m: the message
 *
 * Return: false when the message is impossible.
 */
bool span_on_stop(struct vmm *vm, u32 from, const union msg *m)
{
	const struct msg_stop *s = &m->stop;
	char text[TEXT_LEN];
	u32 i;

	if (s->kind < END_POWEROFF || s->kind > END_FAIL || s->status > 255 ||
	    (from && s->kind == END_POWEROFF))
		return false;
	for (i = 0; i < sizeof(text) - 1 && s->text[i]; i++)
		text[i] = s->text[i] >= ' ' && s->text[i] <= '~' ? s->text[i] : '?';
	text[i] = 0;
	if (s->kind == END_FAIL)
		span_end(vm, END_FAIL, 1, false, "node %u ended the span: %s", from, text);
	else if (!from || !vm->cfg->node)
		span_end(vm, s->kind, s->status, from, "%s", text);
	return true;
}

static void on_signal(struct vmm *vm)
{
	struct signalfd_siginfo si;

	while (read(vm->signal_fd, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo == SIGUSR1)
			vm->want_stats = true;
		else
			span_fail(vm, "stopped by SIG%s", sigabbrev_np(si.ssi_signo));
	}
}

static void check_weak(struct vmm *vm, u64 now)
{
	GUARD(&vm->end_lock);

	if (vm->weak_ns && now >= vm->weak_ns && !span_ended(vm))
		atomic_store(&vm->end, END_FAIL);
}

enum { P_SIGNAL, P_WAKE, P_MEM, P_CONSOLE, P_DATA, P_INPUT, P_PEERS };

static void fill_polls(struct vmm *vm, struct pollfd *p)
{
	u32 i;

	p[P_SIGNAL] = (struct pollfd){ .fd = vm->signal_fd, .events = POLLIN };
	p[P_WAKE] = (struct pollfd){ .fd = vm->wake_fd, .events = POLLIN };
	p[P_MEM].fd = vm->ram && !span_ended(vm) && !vm->weak_ns ? vm->mem_fd : -1;
	p[P_CONSOLE] = (struct pollfd){ .fd = sink_poll_fd(&vm->console), .events = POLLOUT };
	p[P_DATA] = (struct pollfd){ .fd = sink_poll_fd(&vm->data), .events = POLLOUT };
	p[P_INPUT] = (struct pollfd){ .fd = vm->up && console_wants_input(vm) ? STDIN_FILENO : -1,
		.events = POLLIN };
	for (i = 0; i < vm->cfg->nr_nodes; i++)
		p[P_PEERS + i] = (struct pollfd){ .fd = vm->peers[i].fd,
			.events = POLLIN | (vm->peers[i].out_len ? POLLOUT : 0) };
}

/**
 * loop_once - wait for something to happen, or for a time, and handle it
 * @vm: this node
 * @until_ns: return by then
 */
void loop_once(struct vmm *vm, u64 until_ns)
{
	struct pollfd p[P_PEERS + MAX_NODES] = { 0 };
	u64 now = now_ns();
	eventfd_t n;
	int ms = until_ns > now ? (until_ns - now + 999999) / 1000000 : 0;
	u32 i;

	fill_polls(vm, p);
	poll(p, P_PEERS + vm->cfg->nr_nodes, ms < IDLE_MS ? ms : IDLE_MS);
	if (p[P_SIGNAL].revents)
		on_signal(vm);
	if (p[P_WAKE].revents && eventfd_read(vm->wake_fd, &n) && errno != EAGAIN)
		abort();
	for (i = 0; i < vm->cfg->nr_nodes; i++)
		link_event(vm, i, p[P_PEERS + i].revents);
	if (p[P_MEM].revents & (POLLERR | POLLHUP))
		mem_failed(vm, "device");
	if (p[P_CONSOLE].revents)
		console_drain(vm, &vm->console);
	if (p[P_DATA].revents)
		console_drain(vm, &vm->data);
	if (p[P_INPUT].revents)
		console_input(vm);
	now = now_ns();
	check_weak(vm, now);
	if (vm->setup.tsc_khz) {
		link_tick(vm, now);
		clock_tick(vm, now);
		guest_tick(vm, now);
	}
	if (vm->want_stats && vm->up) {
		vm->want_stats = false;
		stats_write(vm);
	}
}

/**
 * loop_until - run the event loop until a condition holds
 * @vm: this node
 * @done: the condition
 * @limit_ms: how long at most
 * @else_fail: NULL, or what to end the span with when the time is over, as "X did not come"
 *
 * Return: 0; -1 when the span ended before, or the time is over.
 */
int loop_until(struct vmm *vm, bool (*done)(struct vmm *vm), u32 limit_ms, const char *else_fail)
{
	const u64 until = now_ns() + limit_ms * 1000000ULL;

	for (;;) {
		if (span_ended(vm) && !vm->closing)
			return -1;
		if (done(vm))
			return 0;
		if (now_ns() >= until)
			return else_fail ? span_fail(vm, "%s in %u ms", else_fail, limit_ms) : -1;
		loop_once(vm, until);
	}
}

static u32 step_wanted;

/* Who is lost has ended the span, or takes no step any more. */
static bool all_reached(struct vmm *vm)
{
	u32 i;

	if (vm->cfg->node)
		return vm->step >= step_wanted || vm->peers[0].fd < 0;
	for (i = 1; i < vm->cfg->nr_nodes; i++)
		if (vm->peers[i].fd >= 0 && vm->peers[i].step < step_wanted)
			return false;
	return true;
}

/* Waits until all nodes have come to a step; node 0 counts them. */
static int together(struct vmm *vm, u32 step, u32 limit_ms, const char *else_fail)
{
	struct msg_step m = { .step = step };
	int r;

	step_wanted = step;
	if (vm->cfg->node)
		link_send(vm, 0, M_STEP, &m);
	r = loop_until(vm, all_reached, limit_ms, else_fail);
	if (!vm->cfg->node && (!r || vm->closing)) {
		vm->step = step;
		link_broadcast(vm, M_GO, &m);
	}
	return r;
}

static bool have_setup(struct vmm *vm)
{
	return vm->setup.epoch;
}

/* Node 0 says what this incarnation is; the others check that they can be part of it. */
static int set_up(struct vmm *vm)
{
	u8 digest[MAC_LEN];

	if (vm_open(vm))
		return -1;
	auth_digest(vm->cpuid->entries, vm->cpuid->nent * sizeof(vm->cpuid->entries[0]), digest);
	if (!vm->cfg->node) {
		memcpy(vm->setup.cpuid, digest, sizeof(digest));
		auth_random(vm->setup.seed, sizeof(vm->setup.seed));
		auth_random(&vm->setup.epoch, sizeof(vm->setup.epoch));
		vm->setup.epoch |= 1;
		vm->setup.tsc_offset = -host_tsc();
		vm->setup.tsc_khz = ioctl(vm->fd, KVM_GET_TSC_KHZ, 0);
		link_broadcast(vm, M_SETUP, &vm->setup);
		return 0;
	}
	if (loop_until(vm, have_setup, vm->cfg->timeout_ms, "node 0 did not say its setup"))
		return -1;
	if (!memcmp(vm->setup.cpuid, digest, sizeof(digest)) && vm->setup.tsc_khz)
		return 0;
	return span_fail(vm,
			 "this host's CPU features differ from node 0's: expected hosts with the same CPUID");
}

static int bring_up(struct vmm *vm)
{
	const u32 limit_ms = 6 * vm->cfg->timeout_ms;

	if (link_connect(vm) || set_up(vm) || clock_agree_tsc(vm) || mem_create(vm) ||
	    together(vm, STEP_MEMORY, limit_ms, "not all nodes made their memory") ||
	    mem_start(vm) ||
	    together(vm, STEP_STARTED, limit_ms, "not all nodes started their memory") ||
	    vm_create(vm))
		return -1;
	uart_reset(vm);
	ioapic_reset(vm);
	atomic_store(&vm->selftest, true);
	if (vcpus_start(vm, false) || proxy_selftest(vm))
		return -1;
	atomic_store(&vm->selftest, false);
	if (clock_agree_kvm(vm) || (!vm->cfg->node && boot_load(vm)) ||
	    together(vm, STEP_READY, limit_ms, "not all nodes were ready to boot"))
		return -1;
	vm->up = true;
	return vcpus_start(vm, true);
}

static bool all_sent(struct vmm *vm)
{
	u32 i;

	for (i = 0; i < vm->cfg->nr_nodes; i++)
		if (vm->peers[i].fd >= 0 && vm->peers[i].out_len)
			return false;
	return sink_poll_fd(&vm->console) < 0 && sink_poll_fd(&vm->data) < 0;
}

static void take_down(struct vmm *vm)
{
	enum end_kind kind = atomic_load(&vm->end);
	struct msg_stop m = { .kind = kind, .status = vm->end_status };

	memcpy(m.text, vm->end_text, sizeof(m.text));
	vm->closing = true;
	if (vm->end_tell)
		link_broadcast(vm, M_STOP, &m);
	if (kind == END_FAIL || (kind == END_RESET && !vm->cfg->node))
		say(vm, "%s", vm->end_text);
	if (kind == END_FAIL)
		mem_stop(vm);
	atomic_store(&vm->stopping, true);
	relay_abort(vm);
	/* A thread that does not end may still use everything: leave that to the kernel. */
	if (vcpus_join(vm))
		_exit(1);
	/* All nodes' vCPUs stop before any node's memory does. */
	if (kind != END_FAIL && together(vm, STEP_STOPPED, vm->cfg->timeout_ms, NULL))
		say(vm, "not all nodes stopped in %u ms", vm->cfg->timeout_ms);
	if (kind != END_RESET && vm->up)
		stats_write(vm);
	loop_until(vm, all_sent, 1000, NULL);
	mem_stop(vm);
	vm_destroy(vm);
	mem_close(vm);
	link_close(vm);
}

/* Everything that lives for one incarnation. */
static void begin(struct vmm *vm)
{
	u32 i;

	memset(&vm->end_lock, 0, sizeof(*vm) - offsetof(struct vmm, end_lock));
	pthread_mutex_init(&vm->end_lock, NULL);
	pthread_mutex_init(&vm->dev_lock, NULL);
	pthread_mutex_init(&vm->relay_lock, NULL);
	pthread_cond_init(&vm->relay_cond, NULL);
	for (i = 0; i < MAX_NODES; i++) {
		vm->peers[i].fd = -1;
		vm->peers[i].data_fd = -1;
		pthread_mutex_init(&vm->peers[i].lock, NULL);
	}
	vm->fd = -1;
	vm->mem_fd = -1;
	vm->dummy = (struct vcpu){ .vm = vm, .index = ~0U, .fd = -1 };
	vm->listen_fd = -1;
}

static void nothing(int sig)
{
}

static void set_signals(struct vmm *vm)
{
	struct sigaction sa = { .sa_handler = nothing };
	sigset_t set, loop;

	sigaction(SIG_KICK, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&loop);
	sigaddset(&loop, SIGTERM);
	sigaddset(&loop, SIGINT);
	sigaddset(&loop, SIGUSR1);
	set = loop;
	sigaddset(&set, SIG_KICK);
	sigaddset(&set, SIG_PULL);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	vm->signal_fd = signalfd(-1, &loop, SFD_NONBLOCK | SFD_CLOEXEC);
	vm->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (vm->signal_fd < 0 || vm->wake_fd < 0)
		err(1, "signalfd, eventfd");
}

int main(int argc, char **argv)
{
	struct config *c = xzalloc(sizeof(*c));
	struct vmm *vm = xzalloc(sizeof(*vm));
	int status;

	config_load(c, argc, argv);
	vm->cfg = c;
	begin(vm);
	if (c->check_host)
		return host_report(vm) ? 1 : 0;
	if (host_check(vm))
		return 1;
	if (c->check) {
		puts("spanvm: configuration and host are in order");
		return 0;
	}
	set_signals(vm);
	if (console_open(vm))
		return 1;
	for (;; vm->incarnation++) {
		if (!bring_up(vm))
			while (!span_ended(vm))
				loop_once(vm, now_ns() + IDLE_MS * 1000000ULL);
		status = atomic_load(&vm->end) == END_RESET ? -1 : (int)vm->end_status;
		take_down(vm);
		if (status >= 0)
			return status;
		begin(vm);
	}
}
