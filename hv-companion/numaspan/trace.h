/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints numaspan:fault, numaspan:transfer and numaspan:invalidate.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM numaspan

#if !defined(NUMASPAN_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define NUMASPAN_TRACE_H

#include <linux/tracepoint.h>

#include "node.h"

TRACE_EVENT(fault,
	TP_PROTO(const struct ns_node *n, u64 page, unsigned long address, bool write,
		 const struct ns_access_info *info, u64 ns),
	TP_ARGS(n, page, address, write, info, ns),
	TP_STRUCT__entry(
		__field(u64, span)
		__field(u64, page)
		__field(u64, gpa)
		__field(unsigned long, address)
		__field(unsigned long, ip)
		__field(u64, ns)
		__field(u32, vcpu)
		__field(u8, node)
		__field(u8, home)
		__field(bool, write)
		__field(bool, walk)
		__field(bool, kvm)
	),
	TP_fast_assign(
		__entry->span = n->span_id;
		__entry->page = page;
		__entry->gpa = info->kvm ? info->gpa : 0;
		__entry->address = address;
		__entry->ip = info->ip;
		__entry->ns = ns;
		__entry->vcpu = info->vcpu;
		__entry->node = n->self;
		__entry->home = ns_home(n, page);
		__entry->write = write;
		__entry->walk = info->walk;
		__entry->kvm = info->kvm;
	),
	TP_printk("span=%llx node=%u home=%u page=%llu %s%s gpa=%llx address=%lx ip=%lx vcpu=%d ns=%llu",
		  __entry->span, __entry->node, __entry->home, __entry->page,
		  __entry->write ? "write" : "read", __entry->walk ? " walk" : "",
		  __entry->gpa, __entry->address, __entry->ip,
		  __entry->kvm ? (int)__entry->vcpu : -1, __entry->ns)
);

TRACE_EVENT(transfer,
	TP_PROTO(const struct ns_node *n, u64 page, u8 to, u8 grant),
	TP_ARGS(n, page, to, grant),
	TP_STRUCT__entry(
		__field(u64, span)
		__field(u64, page)
		__field(u8, node)
		__field(u8, to)
		__field(u8, grant)
	),
	TP_fast_assign(
		__entry->span = n->span_id;
		__entry->page = page;
		__entry->node = n->self;
		__entry->to = to;
		__entry->grant = grant;
	),
	TP_printk("span=%llx page=%llu node=%u to=%u grant=%s", __entry->span, __entry->page,
		  __entry->node, __entry->to,
		  __print_symbolic(__entry->grant, { NS_SHARED, "shared" },
				   { NS_OWNED, "owned" }, { NS_MODIFIED, "modified" }))
);

TRACE_EVENT(invalidate,
	TP_PROTO(const struct ns_node *n, u64 page, u8 why, u8 to),
	TP_ARGS(n, page, why, to),
	TP_STRUCT__entry(
		__field(u64, span)
		__field(u64, page)
		__field(u8, node)
		__field(u8, why)
		__field(u8, to)
	),
	TP_fast_assign(
		__entry->span = n->span_id;
		__entry->page = page;
		__entry->node = n->self;
		__entry->why = why;
		__entry->to = to;
	),
	TP_printk("span=%llx page=%llu node=%u why=%s to=%u", __entry->span, __entry->page,
		  __entry->node,
		  __print_symbolic(__entry->why, { NUMASPAN_INV, "write" },
				   { NUMASPAN_FWD_GETX, "write" }, { NUMASPAN_FWD_GETS, "read" },
				   { NUMASPAN_RECALL, "recall" }, { NS_EV_EVICT, "evict" }),
		  __entry->to)
);

#endif

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
