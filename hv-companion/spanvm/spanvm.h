/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the parts of spanvm share: the configuration, the state of one node, and the
 * functions that other files call.  One process is one node of one span.  The main
 * thread runs the event loop (links, console, signals, time); each real vCPU and each
 * proxy vCPU has a thread.  A span that is reset is taken down and built anew: what lives
 * for one incarnation is in struct vmm below its line, and is zero between two of them.
 */
#ifndef SPANVM_H
#define SPANVM_H

/* What nearly every part needs; its own file includes what else one does. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/un.h>
#include <unistd.h>

#include "../numaspan/include/uapi/numaspan.h"
#include "../numaspan/include/uapi/numaspan_guest.h"

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s64 s64;

#define SPANVM_VERSION		"0.1"
#define LINK_VERSION		2
#define PAGE_SIZE		4096ULL
#define HUGE_SIZE		(2ULL << 20)
#define MAX_NODES		NUMASPAN_MAX_NODES
#define MAX_CPUS		254	/* xAPIC's limit: no interrupt remapping in the guest */
#define RAM_HOLE		0xc0000000ULL
#define RING_GPA		0xd0000000ULL
#define RAM_HIGH		0x100000000ULL
#define IOAPIC_BASE		0xfec00000ULL
#define NONCE_LEN		32
#define MAC_LEN			32
#define TEXT_LEN		160

#define PORT_COM1		0x3f8
#define PORT_COM2		0x2f8
#define PORT_RTC		0x70
#define PORT_KBD		0x64
#define PORT_POWER		0x600	/* +0 sleep control, +1 sleep status, +2 reset */
#define PORT_CALL		0x610	/* 4 ports, see numaspan_guest.h */
#define IRQ_COM1		4
#define IRQ_COM2		3
#define RESET_VALUE		1
#define SLEEP_S5		5

#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))
#define __printf(f, a)		__attribute((format(printf, f, a)))
#define BIT(n)			(1U << (n))
#define BIT_ULL(n)		(1ULL << (n))
#define __noreturn		__attribute((noreturn))

static inline pthread_mutex_t *guard_begin(pthread_mutex_t *lock)
{
	pthread_mutex_lock(lock);
	return lock;
}

static inline void guard_end(pthread_mutex_t **lock)
{
	pthread_mutex_unlock(*lock);
}

/* Holds a lock until the end of the block. */
#define GUARD(lock) pthread_mutex_t *guard __attribute((cleanup(guard_end))) = guard_begin(lock)

struct sv_addr {
	char text[112];
	socklen_t len;
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
	};
};

#define MAX_RAILS		4

struct node_cfg {
	struct sv_addr addr;
	struct sv_addr rdma[MAX_RAILS];
	u32 nr_rdma;
	u64 memory, cache, first_page;
	u32 cpus, first_cpu;
	u32 nr_pin;
	u16 pin[MAX_CPUS];
};

struct config {
	const char *file;
	u64 span_id;
	u8 key[4096];
	size_t key_len;
	u32 transport;		/* enum numaspan_transport */
	u32 timeout_ms;
	const char *kernel, *initrd;
	char *cmdline;
	int status_port;	/* -1: none */
	u32 hold_us, prefetch;
	u32 fault_ring;		/* pages; 0: none */
	bool giantvm;		/* policy = giantvm2020 */
	u32 policy;		/* NUMASPAN_POLICY_* */
	bool clear_page;	/* the guest may say where it clears pages; or: */
	u64 clear_start, clear_end;	/* by system_map */
	u32 nr_nodes, node;	/* node: which one this process is */
	struct node_cfg nodes[MAX_NODES];
	u64 pages;		/* of the whole span */
	u32 nr_cpus, apic_shift;
	const char *console, *data, *stats;
	bool check, check_host;
};

/* Control messages: what spanvm processes say to each other once authenticated. */
#define MSG_MAGIC		0x6d767073
enum msg_type {
	M_PING = 1, M_PONG, M_SETUP, M_STEP, M_GO, M_CLOCK, M_AHEAD, M_MSI, M_IO, M_IO_DONE,
	M_STOP, M_NR
};

struct msg_hdr {
	u32 magic;
	u16 type, len;		/* len: of the payload */
	u32 seq, epoch;
	u32 sum;		/* of all that is before it, and of the payload */
};

struct msg_ping { u64 sent, tsc; };
struct msg_setup { u8 seed[32], cpuid[MAC_LEN]; u64 tsc_offset; u32 epoch, tsc_khz; };
struct msg_step { u32 step; };
struct msg_clock { u64 clock_ns, guest_tsc, tsc_offset; };
struct msg_ahead { u64 tsc, clock_ns; };
struct msg_msi { u32 apic_id; u8 mode, vector; u16 zero; };
struct msg_io { u64 addr, data; u32 cpu, id; u8 mmio, write, size, zero[5]; };
struct msg_stop { u32 kind, status; char text[TEXT_LEN]; };

union msg {
	struct msg_ping ping;
	struct msg_setup setup;
	struct msg_step step;
	struct msg_clock clock;
	struct msg_ahead ahead;
	struct msg_msi msi;
	struct msg_io io;
	struct msg_stop stop;
};

/* How an interrupt is delivered, as a local APIC names it. */
enum { MODE_FIXED, MODE_LOWEST, MODE_NMI = 4, MODE_INIT, MODE_SIPI };

enum end_kind { END_NONE, END_POWEROFF, END_RESET, END_FAIL };

enum conn_role { ROLE_CONTROL = 1, ROLE_DATA = 2 };

/* What the dialer says first, and the acceptor answers with. */
struct hello {
	u32 magic, version;	/* these two never move */
	u64 span_id;
	u32 from, to, role, incarnation;
	u8 digest[MAC_LEN];
	u8 nonce[NONCE_LEN];
};

/* A refusal and the acceptor's last word end before the MAC, the dialer's before the hello. */
struct proof {
	u32 magic, verdict;
	u8 mac[MAC_LEN];
	struct hello hello;
};

#define AUTH_MORE		1

/* A connection in the making. */
struct shake {
	int fd;			/* -1: none */
	bool dialed;		/* by this node */
	u32 peer;		/* the node at the other end, once it has proved that it is */
	enum conn_role role;
	u64 until_ns;		/* then it is over; a dial without a socket: is tried again */
	int error;		/* that ended the last try */
	char who[80];		/* came from there */
	struct hello mine;
	size_t got, want;	/* bytes of @in; wants 0 before the first step */
	union {
		u8 bytes[sizeof(struct hello) + sizeof(struct proof)];
		struct { struct proof proof, last; } answer;
		struct { struct hello hello; struct proof proof; } question;
	} in;
};

struct peer {
	int fd, data_fd;	/* -1: none */
	pthread_mutex_t lock;	/* the output side */
	u8 *out;
	size_t out_len, out_size;
	u32 seq_out, seq_in;
	u8 in[4096];
	size_t in_len;
	u64 heard_ns;
	u32 step;		/* the last M_STEP from it */
};

struct vcpu {
	struct vmm *vm;
	u32 index, apic_id, node;
	bool real, thread_up;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	atomic_bool retime;	/* the TSC offset has to be set again */
	/* an access that another node answers; under vmm.relay_lock */
	u32 io_id;
	bool io_wait;
	u64 io_data;
	/* proxies: what came back in the self-test */
	atomic_uint test_irq, test_nmi;
};

/* Output to a file, emptied by the event loop. */
struct sink {
	int fd;
	u32 head, tail;
	u8 buf[65536];
};

struct uart {
	u8 reg[8], divisor[2];	/* as last written */
	bool thre_pending;
	u8 rx[256];
	u32 rx_head, rx_tail;
	u32 irq;
	struct sink *sink;
};

struct clock_state {
	s64 low, high;			/* bounds of node 0's TSC - ours, in this round */
	u32 pongs, wanted;		/* of this round */
	u64 rtt_tsc;			/* least RTT ever */
	s64 drift_tsc, error_ns;	/* last measured */
	s64 feed_ns;			/* delay of KVM_SET_CLOCK, learnt */
	u64 steps;
	bool have_clock;
	struct msg_clock master;
	u64 next_ns;
};

struct vmm {
	struct config *cfg;
	int wake_fd, signal_fd, listen_fd, kvm_fd;
	struct sink console, data;
	bool input_open;
	u32 incarnation;
	u32 status;		/* by status_port; a reset does not change it */
	bool want_stats;
	/* one incarnation */
	pthread_mutex_t end_lock;
	atomic_int end;		/* enum end_kind */
	bool end_tell;
	u32 end_status;
	char end_text[TEXT_LEN];
	u64 weak_ns;		/* not 0: then the span fails, if it has not ended by then */
	atomic_bool stopping;
	struct peer peers[MAX_NODES];
	u32 step;		/* the last M_GO, or node 0's own */
	bool closing, up;
	atomic_bool reset_asked;
	struct msg_setup setup;	/* of an epoch that is not 0, once it is known */
	int fd, mem_fd;
	u8 *ram;
	struct ring *ring;
	struct vcpu *cpus;
	struct vcpu dummy;	/* never runs */
	atomic_ullong tsc_offset;
	bool scale_tsc;
	atomic_bool selftest;
	struct kvm_cpuid2 *cpuid;
	pthread_mutex_t dev_lock, relay_lock;
	pthread_cond_t relay_cond;
	struct uart uarts[2];
	struct kvm_ioapic_state ioapic;
	u32 irq_lines;		/* their levels */
	u8 rtc_index;
	struct clock_state clock;
	atomic_bool clear_found, odd_call;
	u64 clear_next_ns;
	atomic_ullong n_ipi_out, n_ipi_in, n_io_out, n_io_in;
};

/* main.c */
int span_end(struct vmm *vm, enum end_kind kind, u32 status, bool tell, const char *fmt, ...)
	__printf(5, 6);
/* With a reason that the other nodes have to be told, and one that they may better */
#define span_fail(vm, ...)	span_end(vm, END_FAIL, 1, true, __VA_ARGS__)
#define span_end_weak(vm, ...)	span_end(vm, END_NONE, 1, true, __VA_ARGS__)
void span_request_reset(struct vmm *vm, const char *why);
bool span_ended(struct vmm *vm);
bool span_on_stop(struct vmm *vm, u32 from, const union msg *m);
void wake_loop(struct vmm *vm);
void loop_once(struct vmm *vm, u64 until_ns);
int loop_until(struct vmm *vm, bool (*done)(struct vmm *vm), u32 limit_ms, const char *else_fail);
u64 now_ns(void);
int say(struct vmm *vm, const char *fmt, ...) __printf(2, 3);
void *xzalloc(size_t n);

/* config.c */
void config_load(struct config *c, int argc, char **argv);
void config_digest(const struct config *c, u8 digest[MAC_LEN]);

/* auth.c */
void auth_mac(const struct config *c, const char *label, const void *a, size_t alen,
	      const void *b, size_t blen, u8 mac[MAC_LEN]);
void auth_digest(const void *p, size_t len, u8 out[MAC_LEN]);
void auth_random(void *p, size_t len);
int auth_step(struct vmm *vm, struct shake *s);

/* link.c */
int link_connect(struct vmm *vm);
int *link_fd(struct vmm *vm, u32 node, enum conn_role role);
u32 link_sum(const struct msg_hdr *h, const void *payload);
void link_send(struct vmm *vm, u32 node, enum msg_type type, const void *payload);
void link_broadcast(struct vmm *vm, enum msg_type type, const void *payload);
void link_event(struct vmm *vm, u32 node, short events);
void link_tick(struct vmm *vm, u64 now);
void link_close(struct vmm *vm);

/* mem.c */
int mem_create(struct vmm *vm);
int mem_start(struct vmm *vm);
int mem_slots(struct vmm *vm);
void mem_failed(struct vmm *vm, const char *what);
void mem_stop(struct vmm *vm);
void mem_close(struct vmm *vm);
u64 page_to_gpa(u64 page);
void *gpa_to_ptr(struct vmm *vm, u64 gpa, u64 len);

/* boot.c, acpi.c */
bool boot_check_kernel(const char *path);
int boot_load(struct vmm *vm);
void acpi_build(const struct config *c, u8 *buf, u64 gpa);
#define ACPI_GPA		0xe0000ULL
#define ACPI_SIZE		0x10000ULL

/* host.c */
bool host_param_is(const char *module, const char *name, const char *values);
int host_check(struct vmm *vm);
int host_report(struct vmm *vm);

/* vm.c */
int vm_create(struct vmm *vm);
int vm_open(struct vmm *vm);
int vm_call(struct vmm *vm, unsigned long request, u64 arg, const char *what);
#define VM_CALL(vm, request, arg)	vm_call(vm, request, (uintptr_t)(arg), #request)
int vm_signal_msi(struct vmm *vm, u32 apic_id, u8 mode, u8 vector);
void vm_destroy(struct vmm *vm);

/* vcpu.c, proxy.c */
#define SIG_KICK		(SIGRTMIN + 0)
#define SIG_PULL		(SIGRTMIN + 1)
int vcpu_call(struct vcpu *v, unsigned long request, u64 arg, const char *what);
#define VCPU_CALL(v, request, arg)	vcpu_call(v, request, (uintptr_t)(arg), #request)
int vcpu_set_msr(struct vcpu *v, u32 index, u64 data);
int vcpu_set_tsc_offset(struct vcpu *v);
void vcpu_kicked(struct vcpu *v);
int vcpu_boot_state(struct vcpu *v, u64 entry, u64 boot_params, u64 cr3);
void *vcpu_main(void *arg);
void vcpu_kick(struct vcpu *v);
int vcpus_start(struct vmm *vm, bool real);
int vcpus_join(struct vmm *vm);
int proxy_arm(struct vcpu *v);
void *proxy_main(void *arg);
int proxy_selftest(struct vmm *vm);
bool vcpu_on_msi(struct vmm *vm, u32 from, const union msg *m);

/* relay.c */
void io_access(struct vcpu *v, bool mmio, u64 addr, void *data, u32 size, bool write);
bool relay_on_io(struct vmm *vm, u32 from, const union msg *m);
bool relay_on_done(struct vmm *vm, u32 from, const union msg *m);
void relay_abort(struct vmm *vm);
bool port_is_taken(u32 port);

/* guest.c */
void guest_call(struct vcpu *v, u32 nr);
void guest_find_clear_code(struct vcpu *v);
void guest_tick(struct vmm *vm, u64 now);
bool guest_read_map(const char *path, u64 *start, u64 *end);

/* ring.c */
u64 ring_size(const struct config *c);
int ring_open(struct vmm *vm);
void ring_close(struct vmm *vm);
u32 ring_leaf(const struct config *c, struct kvm_cpuid_entry2 *features);

/* ioapic.c, uart.c */
void ioapic_set(struct vmm *vm, u32 pin, bool level);
u32 ioapic_read(struct vmm *vm, u64 off);
void ioapic_write(struct vmm *vm, u64 off, u32 val);
void ioapic_reset(struct vmm *vm);
void uart_reset(struct vmm *vm);
u8 uart_read(struct vmm *vm, struct uart *u, u32 reg);
void uart_write(struct vmm *vm, struct uart *u, u32 reg, u8 val);
int console_open(struct vmm *vm);
void console_drain(struct vmm *vm, struct sink *s);
void console_input(struct vmm *vm);
bool console_wants_input(struct vmm *vm);
int sink_poll_fd(const struct sink *s);

/* clock.c */
u64 host_tsc(void);
int clock_agree_tsc(struct vmm *vm);
int clock_agree_kvm(struct vmm *vm);
void clock_tick(struct vmm *vm, u64 now);
bool clock_on_ping(struct vmm *vm, u32 from, const union msg *m);
bool clock_on_pong(struct vmm *vm, u32 from, const union msg *m);
bool clock_on_clock(struct vmm *vm, u32 from, const union msg *m);
bool clock_on_ahead(struct vmm *vm, u32 from, const union msg *m);

/* stats.c */
void stats_write(struct vmm *vm);

#endif
