# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash source-path=SCRIPTDIR
#
# The emulated hosts of the test bench, as functions for tests and for
# ci/cluster.  Sourced by bash scripts with set -euo pipefail; needs no
# privileges.  A cluster is a folder:
#
#	share/			seen by every host as /share
#	share/hostI/done	a line `ready ...`, then `JOB STATUS` as jobs end
#	share/hostI/jobs/JOB/	cmd, in, out, err, pid, status of one job
#	hostI/kernel.log	the host's console; pid, qmp.*, qemu.log: its emulator
#
# Nothing here sleeps to wait: a wait follows a file until a line appears, its
# time is up, or the emulator it is about has died.

# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# What a host's kernel must never say
host_trouble='WARNING:|BUG:|Oops|general protection|Kernel panic|unable to handle|Call Trace'
host_trouble+='|INFO: task .* blocked|rcu.* detected|refcount_t:|possible .*deadlock|lockdep is turned off'
host_trouble+='|Bad page|Out of memory|soft lockup|hard LOCKUP|list_(add|del) corruption|UBSAN|KASAN|KCSAN'
host_trouble+='|Bad rss-counter|suspicious RCU usage|non-static key'

# CPUs in lockstep: none is so many instructions, or nanoseconds, ahead of another
quantum=1000

# But what a test expects of it: in the environment, a pattern of a warning that says nothing of us
kernel_bug=${kernel_bug-}

# quoted WORD...: the words as one line of POSIX shell
quoted() {
	local word out=()
	for word; do out+=("'${word//\'/\'\\\'\'}'"); done
	printf '%s\n' "${out[*]}"
}

# number OPTION VALUE MIN MAX: the value, an option's, put into $value
number() {
	if ! [[ $2 =~ ^[0-9]{1,7}$ ]] || ! ((10#$2 >= $3 && 10#$2 <= $4)); then
		usage_error "$1 '$2': expected a number from $3 to $4"
	fi
	# shellcheck disable=SC2034 # the caller's
	value=$((10#$2))
}

# wait_line FILE REGEX SECONDS [PID]: wait for a line in a growing file; print it.
# Status 1: PID died first; 124: the time is up.
wait_line() {
	local status=0
	[ -e "$1" ] || : >>"$1"
	# shellcheck disable=SC2016
	setpriv --pdeathsig TERM timeout "$3" bash -c \
		'grep -m 1 -E -e "$2" < <(exec tail -n +1 -s 0.2 -f ${3:+--pid="$3"} "$1")' \
		wait_line "$1" "$2" "${4-}" || status=$?
	return $status
}

# main_shell: is this no subshell?  One that a signal meets right after its fork runs the traps of its
# parent, which are to clean up once, at the end.
main_shell() { [ "$BASHPID" = "$$" ]; }

# end_jobs PID...: end background jobs of this shell (a name that is no number: none).  Killed: between its
# fork and what it is to run a job may lose other signals.
end_jobs() {
	local pid
	for pid; do
		[ "$pid" != none ] || continue
		kill -KILL "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
}

# host_pid I: the process of host I's emulator
host_pid() { cat "$cluster/host$1/pid"; }

# host_alive I: the process is there, and no other has got its number since
host_alive() { [ "$(readlink "/proc/$(host_pid "$1")/cwd")" = "$cluster/host$1" ]; }

# machine_args CPUS NODES MIB TCG [BARE]: put into the array machine what the emulator is told of
# any machine: CPUs and memory in equal parts on NUMA nodes, but that the last BARE nodes have no
# memory; TCG: options of the translator; in walk_load the rule for page walks
machine_args() {
	local cpus=$1 nodes=$2 mem=$3 full=$(($2 - ${5:-0})) j numa
	# shellcheck disable=SC2054 # commas are QEMU's
	machine=(
		-nodefaults -no-user-config -display none -no-reboot
		-L /usr/share/seabios -L /usr/share/qemu
		-machine q35,hpet=off,smm=off,vmport=off,i8042=off
		-accel "tcg,tb-size=256,$4"
		# Off: monitor, for QEMU's MWAIT spins, where HLT sleeps; xsave, for guests set XCR0
		# without KVM noticing and lose registers; la57, one more level
		# of page tables to walk; smap, whose stac and clac each end a translated block
		-cpu "max,svm=on,npt=on,la57=off,smap=off,umip=off,pku=off,xsave=off,monitor=off,x-walk-load=$walk_load"
		-smp "$cpus,sockets=$nodes" -m "$mem"
	)
	for ((j = 0; nodes > 1 && j < nodes; j++)); do
		numa=node,nodeid=$j,cpus=$((j * cpus / nodes))-$(((j + 1) * cpus / nodes - 1))
		if ((j < full)); then
			machine+=(-object "memory-backend-ram,id=ram$j,size=$((mem / full))M")
			numa+=,memdev=ram$j
		fi
		machine+=(-numa "$numa")
	done
}

# host_boot I: start host I's emulator, with what cluster_up has found out.  The emulation
# of code that a kernel changes while it boots fails now and then (1 in some dozen
# boots, in alternatives or jump labels), so cluster_up tries again.
host_boot() {
	local i=$1 j args machine
	rm -rf "$cluster/share/host$i" "$cluster/host$i"
	mkdir -p "$cluster/share/host$i/jobs" "$cluster/host$i"
	: >"$cluster/share/host$i/done"
	pushd "$cluster/host$i" >/dev/null || return
	mkfifo agent.in agent.out qmp.in qmp.out
	machine_args "$cpus" "$nodes" "$mem" "$tcg"
	# shellcheck disable=SC2054 # commas are QEMU's
	args=(
		"${machine[@]}" "${icount[@]}"
		-chardev "file,id=console,path=kernel.log" -serial chardev:console
		-chardev "pipe,id=agent,path=agent" -serial chardev:agent
		-chardev "pipe,id=qmp,path=qmp" -mon chardev=qmp,mode=control
		-fsdev "local,id=share,path=../share,security_model=none,multidevs=remap"
		-device virtio-9p-pci,fsdev=share,mount_tag=share
		-kernel "$image/vmlinuz" -initrd "$image/initramfs.gz"
		-append "$(host_cmdline "$i" "$append")"
	)
	# One cable for each pair of hosts
	for ((j = 0; j < hosts; j++)); do
		[ "$j" != "$i" ] || continue
		args+=(-netdev "dgram,id=net$j,local.type=unix,local.path=../cable$i$j,remote.type=unix,remote.path=../cable$j$i"
			-device "virtio-net-pci,id=nic$j,netdev=net$j,mac=52:54:00:00:0$i:0$j,romfile=")
	done
	"${bound[@]}" cat qmp.out >qmp.log &
	disown $!
	"${bound[@]}" "$emulator" "${args[@]}" >qemu.log 2>&1 </dev/null &
	echo $! >pid
	disown $!	# no part of the caller's wait, no message when killed
	popd >/dev/null || return
}

# cluster_up DIR [--hosts N] [--walk intel|amd] [--host-cpus C] [--host-mem MIB]
#	[--host-nodes K] [--host-append STR] [--time-shift S | --lockstep] [--detach]: boot N hosts, with the
# folder DIR, and wait until each takes jobs.  Without --detach they die with the calling
# shell.  A host has K NUMA nodes, which share its CPUs and memory equally.  In the hosts
# time passes 2^S times slower than outside; with --lockstep it is counted in instructions, and
# a host's CPUs advance side by side.
cluster_up() {
	local hosts=1 walk=intel cpus=2 mem=512 nodes=1 append='' slow=0 bound=(setpriv --pdeathsig KILL)
	local i tries emulator image walk_load lockstep='' tcg icount=()
	cluster=$(realpath -m "$1")
	shift
	while [ $# -gt 0 ]; do
		case $1 in
		--hosts) hosts=$2 ;;
		--walk) walk=$2 ;;
		--host-cpus) cpus=$2 ;;
		--host-mem) mem=$2 ;;
		--host-nodes) nodes=$2 ;;
		--host-append) append=$2 ;;
		--time-shift) slow=$2 ;;
		--lockstep) lockstep=1; shift; continue ;;
		--detach) bound=(setsid); shift; continue ;;
		*) die "cluster_up: '$1': unknown option" ;;
		esac
		shift 2
	done
	case $walk in intel) walk_load=on ;; amd) walk_load=off ;; esac
	tcg=thread=multi,x-time-shift=$slow
	if [ -n "$lockstep" ]; then
		tcg=thread=single,x-quantum=$quantum
		icount=(-icount shift=0)
	fi
	emulator=$("$ci/emulator")
	image=$("$ci/host-image")
	mkdir -p "$cluster/share"
	echo "$hosts" >"$cluster/hosts"
	for ((i = 0; i < hosts; i++)); do host_boot "$i"; done
	for ((i = 0; i < hosts; i++)); do
		tries=3
		until wait_line "$cluster/share/host$i/done" '^ready' 120 "$(host_pid "$i")" >/dev/null; do
			if ((--tries == 0)) || host_alive "$i"; then
				cluster_report >&2
				die "host $i did not boot within 120 s"
			fi
			say "host $i's kernel died while booting, before anything of ours ran: once more"
			host_boot "$i"
		done
		echo '{"execute": "qmp_capabilities"}' 1<>"$cluster/host$i/qmp.in"
	done
}

# emulated_cmdline: what a kernel's command line says on any emulated machine
emulated_cmdline() {
	local words=(
		console=ttyS0
		panic=-1		# a panic ends the emulator
		tsc=reliable		# all CPUs' TSCs are the machine's; KVM's clock needs it
		tsc_early_khz=1000000	# the emulator's TSC counts ns; KVM loads before a measurement ends
		rcupdate.rcu_cpu_stall_timeout=120	# a busy machine is no fault of the kernel
		no_timer_check
		mitigations=off
		random.trust_cpu=on	# do not wait for entropy
	)
	echo "${words[*]}"
}

# host_cmdline I EXTRA: a host's kernel command line
host_cmdline() {
	local words=(
		"host=$1"		# for init: which host this is
		"$(emulated_cmdline)"
		loglevel=6 nmi_watchdog=0
		nokaslr audit=0 apparmor=0
		cryptomgr.notests
		kvm_amd.avic=0		# what the proxy vCPUs need
	)
	echo "${words[*]} $2"
}

# host_qmp I COMMAND [ARGUMENTS]: have host I's emulator do something, and wait
# until it has
host_qmp() {
	local id=qmp$RANDOM$RANDOM dir=$cluster/host$1
	host_alive "$1" || die "host $1 is not running"
	printf '{"execute": "%s", "arguments": {%s}, "id": "%s"}\n' "$2" "${3-}" "$id" 1<>"$dir/qmp.in"
	wait_line "$dir/qmp.log" "\"id\": \"$id\"" 20 "$(host_pid "$1")" >"$dir/qmp.reply" ||
		die "host $1's emulator did not answer $2 within 20 s"
	! grep -q '"error"' "$dir/qmp.reply" || die "host $1: $2: $(cat "$dir/qmp.reply")"
}

# link_cut I J, link_restore I J: pull or plug the cable between two hosts, at I's end
link_cut() { host_qmp "$1" set_link "\"name\": \"nic$2\", \"up\": false"; }
link_restore() { host_qmp "$1" set_link "\"name\": \"nic$2\", \"up\": true"; }

# host_pause I, host_resume I: stop the whole host, as if time stood still in it
host_pause() { kill -STOP "$(host_pid "$1")"; }
host_resume() { kill -CONT "$(host_pid "$1")"; }

# host_kill I: as if its plug was pulled; returns when it is gone
host_kill() {
	local pid
	host_alive "$1" || return 0
	pid=$(host_pid "$1")
	kill -KILL "$pid" 2>/dev/null || return 0
	timeout 20 tail -s 0.1 --pid="$pid" -f /dev/null ||
		die "host $1: its emulator, process $pid, was killed and is still there after 20 s"
}

# host_spawn I COMMAND...: start a job on host I (standard input: file $host_stdin,
# if set), put its name in $job
host_spawn() {
	local i=$1 dir
	shift
	host_alive "$i" || { say "host $i is not running"; return 125; }
	dir=$(mktemp -d "$cluster/share/host$i/jobs/XXXXXX")
	job=${dir##*/}
	chmod 755 "$dir"
	cp "${host_stdin:-/dev/null}" "$dir/in"
	quoted "$@" >"$dir/cmd"
	echo "$job" 1<>"$cluster/host$i/agent.in"
}

# host_wait I JOB SECONDS: wait until a job has ended; its exit status is ours.
# 124: the time is up; 125: the host died.
host_wait() {
	local status=0
	wait_line "$cluster/share/host$1/done" "^$2 " "$3" "$(host_pid "$1")" >/dev/null || status=$?
	case $status in
	0) return "$(cat "$cluster/share/host$1/jobs/$2/status")" ;;
	124) say "host $1: not ended within $3 s: $(head -c 200 "$cluster/share/host$1/jobs/$2/cmd")"
		return 124 ;;
	*) say "host $1 died: $(head -c 200 "$cluster/share/host$1/jobs/$2/cmd")"
		return 125 ;;
	esac
}

# job_dir I JOB: where a job's out and err are
job_dir() { echo "$cluster/share/host$1/jobs/$2"; }

# host_exec [-t SECONDS] I COMMAND...: run a command on host I to its end; its
# output, error output and exit status are ours
host_exec() {
	local seconds=60 i status=0 dir
	if [ "$1" = -t ]; then
		seconds=$2
		shift 2
	fi
	i=$1
	shift
	host_spawn "$i" "$@" || return
	host_wait "$i" "$job" "$seconds" || status=$?
	dir=$(job_dir "$i" "$job")
	cat "$dir/err" >&2 2>/dev/null || true
	cat "$dir/out" 2>/dev/null || true
	return $status
}

# host_signal I JOB SIGNAL: send a signal to the process of a job
host_signal() { host_exec "$1" kill "-$3" "$(cat "$(job_dir "$1" "$2")/pid")"; }

# cluster_push FILE...: put files where every host sees them, in /share
cluster_push() { cp -r --reflink=auto "$@" "$cluster/share/"; }

# cluster_open DIR: take up a cluster that another process has brought up
cluster_open() {
	cluster=$(realpath "$1")
	[ -e "$cluster/hosts" ] || die "'$1': expected the folder of a cluster"
}

# complaints LOG: print what a kernel complained about, if anything; true if there was something
complaints() {
	kernel_bug=$kernel_bug awk '
		ENVIRON["kernel_bug"] != "" && $0 ~ ENVIRON["kernel_bug"] { skip = 1; next }
		/---\[ end trace/ { skip = 0 }
		!skip { print NR ":" $0 }' "$1" |
		grep -E -A 30 -e "$host_trouble" | head -n 60
	[ "${PIPESTATUS[1]}" != 1 ]
}

# cluster_warnings: print what the hosts' kernels complained about, if anything;
# true if there was something
cluster_warnings() {
	local i found=1
	for ((i = 0; i < $(cat "$cluster/hosts"); i++)); do
		complaints "$cluster/host$i/kernel.log" | sed "s/^/host $i: /" && found=0
	done
	return $found
}

# cluster_report: the end of every log there is, for a report of a failure
cluster_report() {
	local i file
	for ((i = 0; i < $(cat "$cluster/hosts"); i++)); do
		for file in "$cluster/host$i/kernel.log" "$cluster/host$i/qemu.log"; do
			[ -s "$file" ] || continue
			echo "--- the end of host $i's ${file##*/}"
			tail -n 20 "$file"
		done
	done
}

# cluster_down: end all hosts; their logs stay
cluster_down() {
	local i
	[ -e "${cluster-}/hosts" ] || return 0
	for ((i = 0; i < $(cat "$cluster/hosts"); i++)); do
		[ ! -e "$cluster/host$i/pid" ] || host_kill "$i"
	done
}

# guest_initrd FILE DIR|'' COMMAND...: an initrd that runs COMMAND in the guest;
# what is in DIR lies on top
guest_initrd() {
	local file=$1 add=$2 root name
	shift 2
	root=$(mktemp -d)
	mkdir -p "$root/bin"
	cp "$(command -v busybox)" "$root/bin/busybox"
	ln -s busybox "$root/bin/sh"
	cp "$ci/guest/init" "$root/init"
	# What the command does not name would only be unpacked.
	for name in bench/membench/membench tests/guest/{litmus,storm,insns,stackmap,clears,tables}; do
		[[ $* != *"${name##*/}"* ]] || [ ! -e "$top/$name" ] || cp "$top/$name" "$root/bin/"
	done
	[ -z "$add" ] || cp -a "$add/." "$root/"
	quoted exec "$@" | sed "s/^'exec'/exec/" >"$root/cmd"
	(cd "$root" && find . -print0 | LC_ALL=C sort -z | cpio -0 -o -H newc --quiet -R 0:0) |
		gzip -1 >"$file"
	rm -rf "$root"
}

# The span that the functions below run; a test sets what it needs otherwise.
span_nodes=2 span_cpus=1 span_mem=256 span_cache=64 span_hosts=1
span_transport=loopback span_append='' span_extra='' span_module_args=''
span_pin=''	# not empty: each vCPU has an emulated CPU of its own
span_isolate=1	# not empty: the guest's scheduler leaves the CPUs of all nodes but 0 alone
span_timeout=30	# s; a busy machine may stand still for a while

# span_host N: the host of node N
span_host() { echo $(($1 % span_hosts)); }

# span_host_mem: MiB that a host needs for its nodes, itself and the shared files
span_host_mem() {
	local cache=$span_cache
	# Then any node may hold everything.
	[[ ! $span_extra =~ "policy = giantvm2020"|"owner_at_node_0 = yes" ]] ||
		cache=$(((span_nodes - 1) * span_mem))
	# shellcheck disable=SC2017 # nodes of a host, rounded up
	echo $(((span_nodes + span_hosts - 1) / span_hosts * (span_mem + cache + 32) + 384))
}

# span_host_cpus: emulated CPUs of a host: one for each vCPU that runs there, and
# one for all that serves them
span_host_cpus() {
	# shellcheck disable=SC2017 # nodes of a host, rounded up
	echo $(((span_nodes + span_hosts - 1) / span_hosts * span_cpus + 1))
}

# span_cpus_of N: the emulated CPUs of node N's vCPUs, where none has two
span_cpus_of() {
	local nth=$(($1 / span_hosts)) first
	first=$((nth * span_cpus))
	seq -s , $first $((first + span_cpus - 1))
}

# span_cmdline: the guest's command line
span_cmdline() {
	local words=(
		console=ttyS0
		tsc=reliable	# spanvm keeps the TSCs together; testing that bounces a page
		pci=off		# there is no PCI: do not probe for it
		no_timer_check	# there is no PIT behind the IOAPIC
		hashdist=0	# keep the big hash tables, which boot fills, on the node that boots
		rcupdate.rcu_cpu_stall_timeout=120	# a busy machine is no fault of the guest
		panic=0		# stop at a panic, so that it can be seen
		random.trust_cpu=on
		mitigations=off	# they are costly to emulate twice
	)
	words+=("irqaffinity=0-$((span_cpus - 1))")	# the devices are on node 0
	# The scheduler's balancing reads every CPU's runqueue: 90 % of all transfers
	# of an idle guest, were the CPUs of other nodes not left out of it.
	((span_nodes == 1)) || [ -z "$span_isolate" ] ||
		words+=("isolcpus=$span_cpus-$((span_nodes * span_cpus - 1))")
	echo "${words[*]} $span_append"
}

# span_install [KERNEL]: put the module, spanvm and the guest kernel into the
# shared folder, and make the span's key
span_install() {
	local spanvm=$top/hv-companion/spanvm/spanvm module=$top/hv-companion/numaspan/numaspan.ko
	local file kernel=${1-}
	for file in "$spanvm" "$module"; do
		[ -e "$file" ] || die "${file#"$top"/} is not built: run make"
	done
	case $kernel in
	'') kernel=$("$ci/guest-kernel") ;;
	debian) kernel=$("$ci/host-image")/vmlinuz ;;
	esac
	mkdir -p "$cluster/share/lib"
	cp "$spanvm" "$module" "$cluster/share/"
	[ "$span_transport" != rdma ] || cp "${module%.ko}-rdma.ko" "$cluster/share/"
	cp "$kernel" "$cluster/share/bzImage"
	{ ldd "$spanvm" 2>/dev/null || true; } | { grep -o "/[^ ]*" || true; } | while read -r file; do
		cp -L "$file" "$cluster/share/lib/"
	done
	(umask 077 && head -c 32 /dev/urandom >"$cluster/share/key")
}

# span_config: write the span's configuration file, the same for all hosts
span_config() {
	local n address
	cat <<-EOF
		[span]
		id = 0x$(od -An -N8 -tx8 /dev/urandom | tr -d ' ')
		key = /share/key
		transport = $span_transport
		timeout = ${span_timeout}s
		kernel = /share/bzImage
		initrd = /share/initrd.gz
		cmdline = $(span_cmdline)
		status_port = 0xf4
		$span_extra
	EOF
	for ((n = 0; n < span_nodes; n++)); do
		case $span_transport in
		tcp | rdma) address=10.0.0.$(($(span_host "$n") + 1)):$((7000 + n)) ;;
		*) address=unix:/tmp/node$n ;;
		esac
		cat <<-EOF
			[node $n]
			address = $address
			memory = ${span_mem}M
			cache = ${span_cache}M
			cpus = $span_cpus
			${span_pin:+pin = $(span_cpus_of "$n")}
		EOF
		[ "$span_transport" != rdma ] ||
			echo "rdma = 10.9.0.$(($(span_host "$n") + 1)):$((7471 + n))"
	done
}

# host_rdma I: a soft-RoCE device on host I, if it has none yet; see ci/host/rdma-up
host_rdma() {
	host_exec "$1" rdma-up || die "host $1: no soft-RoCE device"
}

# host_rmmod I: the module goes, and that of the RDMA transport before it
host_rmmod() {
	host_exec "$1" sh -c '{ [ ! -e /sys/module/numaspan_rdma ] || rmmod numaspan_rdma; } &&
		rmmod numaspan'
}

# span_load, span_unload: the module, on every host
span_load() {
	local i
	for ((i = 0; i < span_hosts; i++)); do
		[ "$span_transport" != rdma ] || host_rdma "$i"
		# shellcheck disable=SC2086
		host_exec "$i" insmod /share/numaspan.ko $span_module_args ||
			die "host $i: numaspan.ko did not load"
		[ "$span_transport" != rdma ] || host_exec "$i" insmod /share/numaspan-rdma.ko ||
			die "host $i: numaspan-rdma.ko did not load"
	done
}
span_unload() {
	local i
	for ((i = 0; i < span_hosts; i++)); do
		host_rmmod "$i" || die "host $i: rmmod numaspan failed"
	done
}

# span_start: start spanvm of every node; their jobs are in span_jobs
span_start() {
	local n
	span_jobs=()
	for ((n = 0; n < span_nodes; n++)); do
		: >"$cluster/share/console$n"
		: >"$cluster/share/data$n"
		host_spawn "$(span_host "$n")" /share/spanvm --config /share/span.conf --node "$n" \
			--console "/share/console$n" --data "/share/data$n" --stats "/share/stats$n"
		span_jobs+=("$job")
	done
}

# span_wait SECONDS: wait until all nodes' spanvm have ended, the others within 30 s of the first.
# The status is the guest's; 124: time is up; 125: the guest panicked, or the nodes disagree.
# What went wrong is said, with a line for each process that hung.
span_wait() {
	local n pid status result='' panic
	local -A node=()
	for ((n = 0; n < span_nodes; n++)); do
		host_wait "$(span_host "$n")" "${span_jobs[n]}" "$1" &
		node[$!]=$n
	done
	wait_line "$cluster/share/console0" 'Kernel panic' "$1" >/dev/null &
	panic=$!
	while ((${#node[@]} > 0)); do
		status=0
		wait -n -p pid || status=$?
		case $pid in
		"$panic")
			panic=none
			[ "$status" = 0 ] || continue
			say "the guest panicked: $(grep -m 1 'Kernel panic' "$cluster/share/console0")"
			result=125
			break ;;
		*)
			n=${node[$pid]-}
			[ -n "$n" ] || continue
			unset "node[$pid]"
			[ "$status" = 0 ] || sed "s/^/node $n: /" \
				"$(job_dir "$(span_host "$n")" "${span_jobs[n]}")/err" >&2
			if [ -z "$result" ]; then
				result=$status
				# From now on they have less time.
				for pid in "${!node[@]}"; do
					n=${node[$pid]}
					end_jobs "$pid"
					unset "node[$pid]"
					host_wait "$(span_host "$n")" "${span_jobs[n]}" 30 &
					node[$!]=$n
				done
			elif [ "$status" = 124 ]; then
				result=124
			elif [ "$result" != "$status" ] && [ "$result" != 124 ]; then
				say "node $n ended with status $status, another with $result"
				result=125
			fi ;;
		esac
	done
	end_jobs "$panic" "${!node[@]}"
	return "${result:-125}"
}

# span_stats: all nodes' counters, a JSON array
span_stats() {
	local n separator='['
	for ((n = 0; n < span_nodes; n++)); do
		printf '%s\n' "$separator"
		cat "$cluster/share/stats$n"
		separator=,
	done
	echo ']'
}

# host_cpus I: where a host's CPUs are: in the guest, if they run it
host_cpus() {
	host_qmp "$1" human-monitor-command '"command-line": "info registers -a"'
	sed 's/\\r\\n/\n/g' "$cluster/host$1/qmp.reply" |
		sed -n -e 's/^.*\(CPU#[0-9]*\).*/\1/p' -e 's/^\(RIP=[0-9a-f]*\).*\(CPL=.\).*\(HLT=.\).*/\1 \2 \3/p' |
		paste -d ' ' - -
}

# span_report: what is known of a span that failed, once
span_report() {
	local n dir i
	[ "${span_reported-}" != "${span_jobs[*]}" ] || return 0
	span_reported=${span_jobs[*]}
	for ((n = 0; n < span_nodes; n++)); do
		dir=$(job_dir "$(span_host "$n")" "${span_jobs[n]}")
		echo "--- node $n, on host $(span_host "$n"): spanvm $([ -e "$dir/status" ] && echo "ended with status $(cat "$dir/status")" || echo "has not ended"); the end of what it said"
		tail -n 5 "$dir/err"
	done
	echo "--- the guest's data: $(wc -l <"$cluster/share/data0") lines; the end of the last"
	tail -n 3 "$cluster/share/data0" | tr -c '[:print:]\n' '?' | cut -c 1-200
	echo "--- the end of the guest's console"
	tail -n 20 "$cluster/share/console0"
	for ((i = 0; i < $(cat "$cluster/hosts"); i++)); do
		host_alive "$i" || continue
		echo "--- host $i's CPUs"
		(host_cpus "$i") || true
	done
}
