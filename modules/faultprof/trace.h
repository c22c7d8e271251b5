/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoint faultprof:dsm_fault, a fault of any node as its host has said it.  Its own time and
 * number count: events come some time after the faults, node by node.  In a node's numbers a gap
 * is as many faults that were lost.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM faultprof

#if !defined(FAULTPROF_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define FAULTPROF_TRACE_H

#include <linux/tracepoint.h>

#include "fault_ring.h"
#include "ring.h"

TRACE_EVENT_FN(dsm_fault,
	TP_PROTO(u8 node, const struct fault_ring_record *rec, u64 time, bool own),
	TP_ARGS(node, rec, time, own),
	TP_STRUCT__entry(
		__field(u64, seq)
		__field(u64, time)
		__field(u64, page)
		__field(u64, gpa)
		__field(u64, ip)
		__field(u64, ns)
		__field(s32, vcpu)
		__field(u8, node)
		__field(u8, home)
		__field(bool, write)
		__field(bool, walk)
		__field(bool, own)
	),
	TP_fast_assign(
		__entry->seq = rec->seq;
		__entry->time = time;
		__entry->page = rec->page;
		__entry->gpa = rec->gpa;
		__entry->ip = rec->ip;
		__entry->ns = rec->ns;
		__entry->vcpu = rec->flags & FAULT_RING_GUEST ? (s32)rec->vcpu : -1;
		__entry->node = node;
		__entry->home = rec->home;
		__entry->write = rec->flags & FAULT_RING_WRITE;
		__entry->walk = rec->flags & FAULT_RING_WALK;
		__entry->own = own;
	),
	TP_printk("seq=%llu node=%u home=%u page=%llu %s%s%s gpa=%llx ip=%llx vcpu=%d ns=%llu time=%llu",
		  __entry->seq, __entry->node, __entry->home, __entry->page,
		  __entry->write ? "write" : "read", __entry->walk ? " walk" : "",
		  __entry->own ? " own" : "", __entry->gpa, __entry->ip, __entry->vcpu,
		  __entry->ns, __entry->time),
	faultprof_ring_start, faultprof_ring_stop
);

#endif

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
