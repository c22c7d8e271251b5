// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a host must offer to be part of a span, as one list: a node that starts, and --check, stop
 * at the first thing that is missing; --check-host goes through all of them, says how to mend each,
 * and looks at what only some spans need besides.  Nothing is changed here.
 */
#include <glob.h>
#include <stdarg.h>
#include <sys/utsname.h>

#include "spanvm.h"

static const struct {
	int cap, mask;
	const char *name;
} caps[] = {
	{ KVM_CAP_IMMEDIATE_EXIT, 1, "KVM_CAP_IMMEDIATE_EXIT" },
	{ KVM_CAP_MP_STATE, 1, "KVM_CAP_MP_STATE" },
	{ KVM_CAP_SIGNAL_MSI, 1, "KVM_CAP_SIGNAL_MSI" },
	{ KVM_CAP_SPLIT_IRQCHIP, 1, "KVM_CAP_SPLIT_IRQCHIP" },
	{ KVM_CAP_SET_BOOT_CPU_ID, 1, "KVM_CAP_SET_BOOT_CPU_ID" },
	{ KVM_CAP_TSC_DEADLINE_TIMER, 1, "KVM_CAP_TSC_DEADLINE_TIMER" },
	{ KVM_CAP_X2APIC_API, 3, "KVM_CAP_X2APIC_API" },
	{ KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1, "KVM_CAP_X86_TRIPLE_FAULT_EVENT" },
	{ KVM_CAP_ADJUST_CLOCK, KVM_CLOCK_TSC_STABLE | KVM_CLOCK_HOST_TSC,
	  "KVM_CAP_ADJUST_CLOCK with TSC_STABLE and HOST_TSC" },
};

static const struct {
	const char *module, *name, *values;
	bool proxies;		/* matters to them only */
	bool fatal;
	const char *why;
} params[] = {
	{ "kvm_amd", "npt", "N0", false, true,
	  "expected on (shadow paging misses remote writes)" },
	{ "kvm_intel", "ept", "N0", false, true,
	  "expected on (shadow paging misses remote writes)" },
	{ "kvm_intel", "unrestricted_guest", "N0", false, true,
	  "expected on (proxies need it)" },
	{ "kvm_amd", "vnmi", "Y1", true, true,
	  "expected vnmi=0 (proxies cannot see an NMI otherwise)" },
	{ "kvm_intel", "eptad", "Y1", true, false,
	  "page walks are writes; expected eptad=0" },
};

/* Where the list is gone through: by host_check(), or, if @all, by host_report(). */
struct round {
	struct vmm *vm;
	bool all;
	u32 missing;
};

/**
 * host_param_is - does a parameter of a loaded module begin with one of some letters?
 * @module: its name
 * @name: the parameter's
 * @values: the letters
 *
 * Return: whether it does.
 */
bool host_param_is(const char *module, const char *name, const char *values)
{
	char path[128];
	FILE *f;
	int ch;

	snprintf(path, sizeof(path), "/sys/module/%s/parameters/%s", module, name);
	f = fopen(path, "re");
	ch = f ? fgetc(f) : EOF;
	if (f)
		fclose(f);
	return ch > 0 && strchr(values, ch);
}

/* One thing of the list.  False if the round is to end: @needed is missing, and one is enough. */
static bool __printf(5, 6) item(struct round *r, bool good, bool needed, const char *mend,
				const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	r->missing += !good && needed;
	if (r->all)
		printf("%-8s %s%s%s\n", good ? "ok" : needed ? "missing" : "warning", text,
		       good ? "" : ": ", good ? "" : mend);
	else if (!good)
		say(r->vm, "%s%s", needed ? "" : "warning: ", text);
	return good || !needed || r->all;
}

static bool check_caps(struct round *r)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(caps); i++) {
		int have = ioctl(r->vm->kvm_fd, KVM_CHECK_EXTENSION, caps[i].cap);
		bool good = have >= 0 && (have & caps[i].mask) == caps[i].mask;

		if (!item(r, good, true, "use a kernel from 6.1 on, and the TSC as clocksource",
			  "/dev/kvm: expected %s%s", caps[i].name,
			  good ? "" : ", which this host does not have"))
			return false;
	}
	return true;
}

static bool check_params(struct round *r)
{
	char path[64], mend[80];
	u32 i;

	for (i = 0; i < ARRAY_SIZE(params); i++) {
		bool on = strchr(params[i].values, 'Y'), bad;

		snprintf(path, sizeof(path), "/sys/module/%s", params[i].module);
		if (access(path, F_OK))
			continue;
		bad = host_param_is(params[i].module, params[i].name, params[i].values);
		snprintf(mend, sizeof(mend), "modprobe -r %s; modprobe %s %s=%d", params[i].module,
			 params[i].module, params[i].name, !on);
		if (!r->all && params[i].proxies && r->vm->cfg->nr_nodes == 1)
			continue;
		if (!item(r, !bad, params[i].fatal, mend, "%s %s is %s%s%s", params[i].module,
			  params[i].name, on == bad ? "on" : "off", bad ? ": " : "",
			  bad ? params[i].why : ""))
			return false;
	}
	return true;
}

static bool check_needed(struct round *r)
{
	struct vmm *vm = r->vm;
	bool bad;

	vm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (!item(r, vm->kvm_fd >= 0, true,
		  "modprobe kvm_intel or kvm_amd; if that fails, switch virtualisation on in the BIOS",
		  "/dev/kvm: %s", vm->kvm_fd < 0 ? strerror(errno) : "can be opened"))
		return false;
	if (vm->kvm_fd >= 0 &&
	    (!item(r, ioctl(vm->kvm_fd, KVM_GET_API_VERSION, 0) == KVM_API_VERSION, true,
		   "use a kernel from 6.1 on", "/dev/kvm: expected API version %d",
		   KVM_API_VERSION) ||
	     !check_caps(r)))
		return false;
	bad = access("/dev/numaspan", R_OK | W_OK);
	return item(r, !bad, true, "insmod numaspan.ko", "/dev/numaspan: %s%s",
		    bad ? strerror(errno) : "can be opened",
		    bad ? " (is numaspan.ko loaded?)" : "") && check_params(r);
}

/**
 * host_check - does this host have what a span needs?
 * @vm: this node; its kvm_fd is opened
 *
 * Return: 0, or -1 after one line on stderr.
 */
int host_check(struct vmm *vm)
{
	struct round r = { .vm = vm };

	return check_needed(&r) ? 0 : -1;
}

/* Is the first line of a file @want?  @line gets it, or why there is none. */
static bool file_says(const char *path, const char *want, char *line, int len)
{
	FILE *f = fopen(path, "re");

	snprintf(line, len, "%s", f ? "" : strerror(errno));
	if (f && fgets(line, len, f))
		line[strcspn(line, "\n")] = 0;
	if (f)
		fclose(f);
	return f && !strncmp(line, want, strlen(want));
}

/* Only transport = rdma needs these. */
static void check_rdma(struct round *r)
{
	char line[64];
	bool good;
	glob_t g;
	size_t i;

	glob("/sys/class/infiniband/*/ports/*/state", 0, NULL, &g);
	item(r, g.gl_pathc, false, "only transport = rdma needs one: see docs/rdma.md",
	     "RDMA device: %zu ports", g.gl_pathc);
	for (i = 0; i < g.gl_pathc; i++) {
		good = file_says(g.gl_pathv[i], "4:", line, sizeof(line));
		item(r, good, false, "is the cable plugged, does a subnet manager (opensm) run?",
		     "%s: %s", g.gl_pathv[i], line);
	}
	if (g.gl_pathc)
		item(r, !access("/sys/module/numaspan_rdma", F_OK), false,
		     "insmod numaspan-rdma.ko", "numaspan-rdma.ko: loaded");
	globfree(&g);
	glob("/sys/kernel/iommu_groups/*/type", 0, NULL, &g);
	for (good = true, i = 0; i < g.gl_pathc; i++)
		good &= !file_says(g.gl_pathv[i], "DMA", line, sizeof(line)) ||
			!strcmp(line, "DMA-FQ");
	item(r, good, false, "boot with iommu=pt: each page that is sent is mapped and unmapped",
	     "IOMMU: %zu groups%s", g.gl_pathc, good ? "" : ", strict ones among them");
	globfree(&g);
}

/**
 * host_report - say of each thing that a span may need whether this host has it
 * @vm: a node without configuration
 *
 * Return: 0, or -1 if something is missing that every span needs.
 */
int host_report(struct vmm *vm)
{
	struct round r = { .vm = vm, .all = true };
	unsigned int major = 0, minor = 0;
	struct utsname u;
	char line[64];
	bool good;

	good = !uname(&u) && sscanf(u.release, "%u.%u", &major, &minor) == 2 && major == 6 &&
	       minor >= 1 && minor <= 12;
	item(&r, good, false, "numaspan.ko is tested with 6.1 to 6.12", "kernel %s", u.release);
	check_needed(&r);
	good = file_says("/sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc",
			 line, sizeof(line));
	item(&r, good, true, "boot with tsc=reliable, if the TSC is (constant_tsc, nonstop_tsc)",
	     "clocksource: %s", line);
	check_rdma(&r);
	printf("spanvm: %u prerequisites are missing\n", r.missing);
	return r.missing ? -1 : 0;
}
