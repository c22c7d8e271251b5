/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * The interface between spanvm and numaspan.ko.
 *
 * An open file of /dev/numaspan is one node of one span.  Its life:
 *
 *	open -> NUMASPAN_CREATE -> NUMASPAN_CONNECT or _CONNECT_RDMA (each peer)
 *	     -> NUMASPAN_START
 *	     -> mmap, KVM runs on the mapping -> NUMASPAN_STOP -> close
 *
 * Page N of the span's guest memory is at file offset N * 4096; node 0 is
 * home of the first home_pages[0] pages, node 1 of the next, and so on.
 *
 * When a span stops, for whatever reason, every mapping of it gives SIGBUS (KVM_RUN
 * fails with EFAULT), poll() gives POLLERR, and NUMASPAN_STATUS names the
 * reason.  All integers are in the host's byte order; reserved fields and
 * unknown flags must be zero.
 */
#ifndef _UAPI_NUMASPAN_H
#define _UAPI_NUMASPAN_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define NUMASPAN_ABI		3
#define NUMASPAN_MAX_NODES	64
#define NUMASPAN_TOKEN_LEN	32
#define NUMASPAN_REASON_LEN	120
#define NUMASPAN_TIME_BUCKETS	32

enum numaspan_transport {
	NUMASPAN_LOOPBACK	= 0,	/* peers are other open files of this host */
	NUMASPAN_TCP		= 1,	/* peers are connected sockets */
	NUMASPAN_RDMA		= 2,	/* peers are addresses of RDMA devices */
};

/*
 * What tests may switch off, one at a time, to see a test fail.  Accepted only if the
 * module was loaded with unsafe_tests=1.
 */
#define NUMASPAN_UNSAFE_NO_DRAIN	0x1	/* do not wait for references */
#define NUMASPAN_UNSAFE_NO_HOLD		0x2	/* give a page up at once */
#define NUMASPAN_UNSAFE_NO_INVAL	0x4	/* acknowledge one in 64 invalidations, no more */

/*
 * What published systems do otherwise, for a comparison on the same hardware: each by itself, or
 * all of them as GiantVM of 2020 does.  NUMASPAN_POLICY_PROTOCOL must be the same on all nodes.
 */
#define NUMASPAN_POLICY_READ_MOVES	0x1	/* who reads a page becomes its owner */
#define NUMASPAN_POLICY_SERIAL		0x2	/* sharers are invalidated one after the other */
#define NUMASPAN_POLICY_NODE_0		0x4	/* node 0 is home of all; no cache is bounded */
#define NUMASPAN_POLICY_COPY		0x8	/* contents are copied between page and message */
#define NUMASPAN_POLICY_SLEEP		0x10	/* who waits for a message sleeps between looks */
#define NUMASPAN_POLICY_PROTOCOL	0x7
#define NUMASPAN_POLICY_ALL		0x1f

struct numaspan_create {
	__u32 abi;		/* NUMASPAN_ABI */
	__u32 size;		/* sizeof(struct numaspan_create) */
	__u64 span_id;
	__u32 epoch;		/* this incarnation of the span; the same on all nodes */
	__u16 node;
	__u16 nr_nodes;		/* 1..64 */
	__u32 transport;	/* enum numaspan_transport */
	__u32 timeout_ms;	/* a silent peer is lost after this; 100..600000 */
	__u32 hold_us;		/* least time a node keeps a page; 0 = adaptive */
	__u32 unsafe;		/* NUMASPAN_UNSAFE_* */
	__u64 cache_pages;	/* most copies of remote pages kept here; >= 64 */
	__u64 home_pages[NUMASPAN_MAX_NODES];
	__u8 token[NUMASPAN_TOKEN_LEN];	/* derived from the key; equal on all nodes */
	__u32 prefetch;		/* most pages asked for ahead of sequential reads, 0..256 */
	__u32 policy;		/* NUMASPAN_POLICY_* */
	__u64 reserved[3];
};

struct numaspan_connect {
	__u32 node;		/* the peer */
	__s32 fd;		/* its socket, connected and authenticated */
	__u64 reserved[2];
};

#define NUMASPAN_RDMA_DIAL	0x1	/* this side connects, the other one listens */

/*
 * Once for each rail to a peer.  A listener is there when this returns, connections are
 * made by NUMASPAN_START.  Each side shows one half of the token, so both know it.
 */
struct numaspan_connect_rdma {
	__u32 node;		/* the peer */
	__u32 flags;		/* NUMASPAN_RDMA_* */
	__u8 local[28];		/* struct sockaddr_in or sockaddr_in6; port 0 if it dials */
	__u8 remote[28];	/* the same; who listens does not use it but in messages */
	__u64 reserved[2];
};

/*
 * Where the guest's kernel has the code that clears a page from its first byte to its last and does
 * nothing else: instruction pointers @start <= rip < @end, at most 4096 bytes, or 0 and 0 for none.
 * What such code is about to overwrite is not fetched: pages turn to zeros under whoever says so
 * wrongly.  In any state after NUMASPAN_CREATE, as often as it changes.
 */
struct numaspan_clear_code {
	__u64 start;
	__u64 end;
	__u64 reserved[2];
};

enum numaspan_state {
	NUMASPAN_NEW		= 0,	/* opened, not created */
	NUMASPAN_CREATED	= 1,
	NUMASPAN_RUNNING	= 2,
	NUMASPAN_STOPPED	= 3,
};

enum numaspan_reason {
	NUMASPAN_R_NONE		= 0,
	NUMASPAN_R_STOP		= 1,	/* NUMASPAN_STOP or close, here */
	NUMASPAN_R_PEER_STOP	= 2,	/* the peer said it stops */
	NUMASPAN_R_PEER_LOST	= 3,	/* its connection broke */
	NUMASPAN_R_PEER_TIMEOUT	= 4,	/* it was silent for timeout_ms */
	NUMASPAN_R_BAD_MESSAGE	= 5,	/* malformed, stale epoch, wrong span, bad checksum */
	NUMASPAN_R_PROTOCOL	= 6,	/* well-formed, impossible in this state */
	NUMASPAN_R_NO_MEMORY	= 7,
	NUMASPAN_R_DRAIN	= 8,	/* a page's references did not drain in time */
	NUMASPAN_R_DEVICE	= 9,	/* the RDMA device is gone, or has failed */
};

struct numaspan_status {
	__u32 state;		/* enum numaspan_state */
	__u32 reason;		/* enum numaspan_reason */
	__u32 peer;		/* the peer it is about, or ~0 */
	__u32 reserved;
	char text[NUMASPAN_REASON_LEN];	/* one line, NUL-terminated */
};

enum numaspan_msg {
	NUMASPAN_GETS = 0,	/* requester -> home: want to read */
	NUMASPAN_GETX,		/* requester -> home: want to write */
	NUMASPAN_EVICT,		/* owner -> home: take the page back */
	NUMASPAN_FWD_GETS,	/* home -> owner: send a copy to the requester */
	NUMASPAN_FWD_GETX,	/* home -> owner: send the page to the requester, forget it */
	NUMASPAN_RECALL,	/* home -> owner: send the page home, forget it */
	NUMASPAN_INV,		/* home -> sharer: forget it, acknowledge to the requester */
	NUMASPAN_GRANT,		/* home -> requester: permission, no contents */
	NUMASPAN_DATA,		/* owner -> requester: permission and contents */
	NUMASPAN_ACK,		/* sharer -> requester, or home if SERIAL: forgotten */
	NUMASPAN_DONE,		/* requester -> home: transaction over */
	NUMASPAN_PING,
	NUMASPAN_BYE,		/* this node stops; the reason follows */
	NUMASPAN_NR_MSGS
};

/*
 * What the time of a fault that waits for another node goes to.  FAULT is the sum of the others;
 * a part that a fault does not have is not counted: EXIT unless a guest's CPU has faulted, NETWORK
 * and INSTALL unless an answer came.
 */
enum numaspan_part {
	NUMASPAN_PART_FAULT = 0,
	NUMASPAN_PART_EXIT,	/* from KVM's tracepoint to the fault handler, GUP included */
	NUMASPAN_PART_PROTOCOL,	/* in the handler, and none of the next two */
	NUMASPAN_PART_NETWORK,	/* from the request to the last message that answers it */
	NUMASPAN_PART_INSTALL,	/* from there to the handler's return */
	NUMASPAN_NR_PARTS
};

struct numaspan_times {
	__u64 count;
	__u64 sum_ns;
	__u64 log2[NUMASPAN_TIME_BUCKETS];	/* bucket n: 2^n <= ns < 2^(n+1) */
};

struct numaspan_stats {
	__u32 abi;		/* in: NUMASPAN_ABI */
	__u32 size;		/* in: sizeof(struct numaspan_stats) */
	__u64 node;
	__u64 faults_read;	/* faults that the local node could not satisfy */
	__u64 faults_write;
	__u64 faults_walk;	/* those of them made by the hardware's page walk */
	__u64 faults_local;	/* faults satisfied without a message */
	__u64 transfers_in;	/* pages of contents */
	__u64 transfers_out;
	__u64 invalidations;	/* pages given up because another node writes */
	__u64 downgrades;	/* Modified pages that became Owned for a reader */
	__u64 upgrades;		/* write permission got without contents */
	__u64 bytes_in;
	__u64 bytes_out;
	__u64 msgs;		/* protocol messages sent to other nodes */
	__u64 msgs_out[16];	/* by enum numaspan_msg, to other nodes */
	__u64 msgs_in[16];
	__u64 prefetched;
	__u64 prefetch_used;
	__u64 cleared;		/* write permission got with zeros: the guest clears the page */
	__u64 evicted;
	__u64 cache_pages;	/* in use now */
	__u64 cache_peak;
	__u64 cache_limit;
	__u64 held;		/* give-ups put off by the hold */
	__u64 stolen;		/* grants taken away before a waiter used them */
	__u64 drain_waits;	/* give-ups put off by a page reference */
	__u64 stale;		/* messages dropped as stale */
	struct numaspan_times times[NUMASPAN_NR_PARTS];
	__u64 zeros_in;		/* pages got without contents: nobody had touched them */
	__u64 zeros_out;
	__u64 page_copies;	/* times a CPU copied a page's contents on its way */
	__u64 refused;		/* RDMA connections refused */
	__u64 reserved[4];
};

#define NUMASPAN_MAGIC_IOC	0xD5
#define NUMASPAN_CREATE		_IOW(NUMASPAN_MAGIC_IOC, 0, struct numaspan_create)
#define NUMASPAN_CONNECT	_IOW(NUMASPAN_MAGIC_IOC, 1, struct numaspan_connect)
#define NUMASPAN_START		_IO(NUMASPAN_MAGIC_IOC, 2)
#define NUMASPAN_STOP		_IO(NUMASPAN_MAGIC_IOC, 3)
#define NUMASPAN_STATUS		_IOR(NUMASPAN_MAGIC_IOC, 4, struct numaspan_status)
#define NUMASPAN_STATS		_IOWR(NUMASPAN_MAGIC_IOC, 5, struct numaspan_stats)
#define NUMASPAN_CONNECT_RDMA	_IOW(NUMASPAN_MAGIC_IOC, 6, struct numaspan_connect_rdma)
#define NUMASPAN_CLEAR_CODE	_IOW(NUMASPAN_MAGIC_IOC, 7, struct numaspan_clear_code)

#endif
