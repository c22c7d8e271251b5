# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What the test groups share: TAP for shell, programs on emulated hosts, guests.
# Sourced, never run.  Results go to standard output, all else to standard error.
# A group that stops early has failed, whatever it had said before.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
tests=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../ci/lib.sh
. "$tests/../ci/lib.sh"

group=${0##*/}
work=$top/out/tests/$group.d
count=0
rm -rf "$work"
mkdir -p "$work"

# At the end of a group: no emulator is left, and a failure shows the ends of the logs.
finish() {
	local status=$?
	trap - EXIT
	main_shell || exit $status
	if [ $status != 0 ] && [ -n "${cluster-}" ]; then
		cluster_report >&2 || true
		[ -z "${span_jobs-}" ] || span_report >&2 || true
	fi
	cluster_down || true
	echo "1..$count"
	exit $status
}
trap finish EXIT
trap 'exit 143' INT TERM

failures=0
ok() { echo "ok $((count += 1)) - $*"; }
not_ok() {
	echo "not ok $((count += 1)) - $*"
	failures=$((failures + 1))
}
skip() { echo "ok $((count += 1)) - $1 # SKIP $2"; }
note() { sed 's/^/# /'; }

# check NAME COMMAND...: a test that passes if the command does; it says nothing
# unless it fails
check() {
	local name=$1 status=0 said
	shift
	said=$("$@" 2>&1) || status=$?
	if [ $status = 0 ]; then
		ok "$name"
	else
		not_ok "$name"
		echo "status $status of: $*" | note
		tail -n 40 <<<"$said" | note
	fi
}

# at_most NAME VALUE BOUND
at_most() {
	if [ "$2" -le "$3" ]; then
		ok "$1: $2 (at most $3)"
	else
		not_ok "$1: $2, expected at most $3"
	fi
}

# tap LABEL STATUS <TAP: the tests of a program, under our numbers; a program that
# ended before its plan, or said less than its status does, is one more failure
tap() {
	local line n=0 bad=0 plan='' bail=''
	echo "-- $1"
	while IFS= read -r line; do
		case $line in
		'ok '*)
			n=$((n + 1))
			echo "ok $((count += 1)) - $1: ${line#ok * - }" ;;
		'not ok '*)
			n=$((n + 1)) bad=$((bad + 1))
			not_ok "$1: ${line#not ok * - }" ;;
		1..*) plan=${line#1..} ;;
		'Bail out!'*) bail=": $line" ;;
		*) echo "# ${line#\# }" ;;
		esac
	done
	if [ "$plan" != "$n" ] || { [ "$2" != 0 ] && [ $bad = 0 ]; }; then
		not_ok "$1: ended with status $2 after $n of ${plan:-?} tests$bail"
	fi
}

# program LABEL SECONDS HOST COMMAND...: run a test program on a host
program() {
	local label=$1 status=0
	host_exec -t "$2" "${@:3}" >"$work/program.out" || status=$?
	tap "$label" $status <"$work/program.out"
}

# program_fails LABEL SECONDS HOST COMMAND...: run a test program that must find a fault
program_fails() {
	local label=$1 status=0
	host_exec -t "$2" "${@:3}" >"$work/program.out" || status=$?
	if [ $status = 1 ] && grep -q -E '^(not ok|Bail out!)' "$work/program.out"; then
		ok "$label: the test fails, as it must"
		grep -E '^(not ok|Bail out!)' "$work/program.out" | note
	else
		not_ok "$label: the test should have failed, its status is $status"
		note <"$work/program.out"
	fi
}

# bare_host OPTION...: one emulated host with the module and the device programs
bare_host() {
	local file
	for file in tests/dev/{devcount,devstress,devlife} hv-companion/numaspan/numaspan.ko; do
		[ -e "$top/$file" ] || die "$file is not built: run make"
	done
	cluster_up "$work/cluster" --hosts 1 "$@"
	cluster_push "$top"/tests/dev/dev{count,stress,life} \
		"$top"/hv-companion/numaspan/numaspan{,-rdma}.ko
}

# device_tests TRANSPORT: what the bare device does over a transport: in one process, and in
# two, as two hosts would have it
device_tests() {
	local first status=0
	program "counts" 60 0 /share/devcount --transport "$1"
	program "10^6 accesses" 240 0 /share/devstress --transport "$1" --ops 1000000 --burst 200
	program "three nodes" 60 0 \
		/share/devstress --transport "$1" --ops 60000 --burst 100 --nodes 3
	program "a small cache" 60 0 \
		/share/devstress --transport "$1" --ops 60000 --burst 100 --cache 64 --pages 512
	program "page references" 60 0 \
		/share/devstress --transport "$1" --ops 20000 --pages 8 --pin
	program "pages cleared" 60 0 \
		/share/devstress --transport "$1" --ops 60000 --clear --cache 64
	program "counts, giantvm2020" 60 0 /share/devcount --transport "$1" --policy giantvm2020
	program "three nodes, giantvm2020" 60 0 \
		/share/devstress --transport "$1" --ops 20000 --burst 100 --nodes 3 --policy giantvm2020

	# Two processes, each one node, an address between them
	host_spawn 0 /share/devstress --transport "$1" --ops 30000 --burst 100 --node 0 \
		--listen 127.0.0.1:7000
	first=$job
	program "node 1 of two processes" 60 0 /share/devstress --transport "$1" --ops 30000 \
		--burst 100 --node 1 --connect 127.0.0.1:7000
	host_wait 0 "$first" 60 || status=$?
	tap "node 0 of two processes" $status <"$(job_dir 0 "$first")/out"
}

# hosts_are_well: their logs hold no complaint
hosts_are_well() {
	local said
	if said=$(cluster_warnings); then
		not_ok "the hosts' logs are clean"
		note <<<"$said"
	else
		ok "the hosts' logs are clean"
	fi
}

# module_goes LABEL: rmmod works, on every host that lives, at once
module_goes() {
	local i
	for ((i = 0; i < $(cat "$cluster/hosts"); i++)); do
		! host_alive "$i" || check "$1: rmmod on host $i" host_rmmod "$i"
	done
}

# spanvm_gone LABEL HOST: none is left on a host (1 is pidof's status for that, no other)
spanvm_gone() {
	check "$1: no process is left on host $2" host_exec "$2" sh -c 'pidof spanvm; [ $? = 1 ]'
}

# said_by MODULE: put into $said what a module has said last in host 0's log
said_by() {
	said=$(grep -h "${1//-/_}: " "$cluster/host0/kernel.log" | tail -n 1 | tr -d '\r' || true)
	said=${said##*"${1//-/_}: "}
}

# torture MODULE PARAMETER...: load it on host 0, which runs it to its end, and unload it; what it
# counted is in $said, its status in $status
torture() {
	status=0
	host_exec -t 120 0 insmod "/share/$1.ko" "${@:2}" >&2 || status=$?
	said_by "$1"
	[ $status != 0 ] || host_exec 0 rmmod "$1"
}

# counted WHAT: its number in what was said last
counted() { sed -n "s/.*[ ,]$1 \([0-9]*\).*/\1/p" <<<"$said"; }

# refused MODULE PARAMETER... WHAT: insmod fails with EINVAL and the module says WHAT, no more;
# busybox's insmod tries twice
refused() {
	local module=$1 what=${*: -1} log=$cluster/host0/kernel.log status=0 before new
	before=$(wc -l <"$log")
	host_exec 0 insmod "/share/$module.ko" "${@:2:$#-2}" 2>"$work/refused" || status=$?
	new=$(tail -n +$((before + 1)) "$log" | tr -d '\r' | sed -n "s/.*${module//-/_}: //p" | sort -u)
	if [ $status != 0 ] && [ "$new" = "$what" ] && grep -q 'Invalid argument' "$work/refused"; then
		ok "refused: $new"
	else
		not_ok "${*:1:$#-1}: expected a refusal that says '$what': status $status: $new"
		note <"$work/refused"
	fi
}

# guest_prepare COMMAND...: what a guest needs that runs COMMAND, by the span_* settings
guest_prepare() {
	cluster=$work/cluster
	mkdir -p "$cluster/share"
	span_install "${kernel-}"
	span_config >"$cluster/share/span.conf"
	guest_initrd "$cluster/share/initrd.gz" "" "$@"
}

# guest_hosts [OPTION...]: the emulated hosts for it, with the module; cluster_up has the options
guest_hosts() {
	cluster_up "$work/cluster" --hosts "$span_hosts" --host-cpus "$(span_host_cpus)" \
		--host-mem "$(span_host_mem)" "$@"
	span_load
}

# guest_prepare_busy: a guest that is always at work on all nodes, and says so
guest_prepare_busy() {
	# shellcheck disable=SC2016
	guest_prepare sh -c '
		n=0
		while membench --size 64K --iterations 1 --json >/dev/null; do
			n=$((n + 1))
			echo "tick $n"
		done
		echo "membench failed"'
}

busy_within=150	# s, a guest's boot

# guest_is_busy LABEL: wait until it is at work
guest_is_busy() {
	wait_line "$cluster/share/data0" '^tick 2$' $busy_within >/dev/null || {
		span_report >&2
		die "$1: the guest did not come to work within $busy_within s"
	}
}

soon=30	# s; a fault may wait for two time-outs of 10 s

# node_ends LABEL NODE BEGIN: within $soon seconds of second BEGIN the node has ended with
# status 1, and says why
node_ends() {
	local status=0 line
	host_wait "$(span_host "$2")" "${span_jobs[$2]}" "$soon" || status=$?
	check "$1: node $2 ends with status 1: $status" test $status = 1
	at_most "$1: seconds until node $2 ended" $((SECONDS - $3)) "$soon"
	line=$(node_err "$2" | grep "^spanvm: node $2: " | tail -n 1)
	check "$1: it says why: $line" test -n "$line"
}

# mem_free I: KiB that a host has left, without its caches
mem_free() {
	# Pages on CPUs' own lists are free, too: some MiB, sometimes.
	# shellcheck disable=SC2016 # for the host's shell
	host_exec "$1" sh -c 'echo 3 >/proc/sys/vm/drop_caches
		free=$(sed -n "s/^MemFree: *\([0-9]*\).*/\1/p" /proc/meminfo)
		for count in $(sed -n "s/^ *count: *//p" /proc/zoneinfo); do
			free=$((free + 4 * count))
		done
		echo $free'
}

# guest_thrice TRANSPORT ROUNDS: a guest over two hosts, three times in a row on the same hosts, the
# second time with as many rounds of litmus; afterwards no process is left, no memory is lost,
# and the logs are clean
guest_thrice() {
	local commands run host status free=()
	span_hosts=2 span_transport=$1 span_cpus=1
	guest_prepare true
	guest_hosts --time-shift 2	# a page takes milliseconds
	commands=(
		'membench --topology; membench --size 1M --iterations 2'
		"litmus --rounds $2 --timeout 250 shapes atomics split pte futex"
		'membench --size 512K --iterations 3 --json'
	)
	for run in 0 1 2; do
		guest_initrd "$cluster/share/initrd.gz" "" sh -c "${commands[run]}"
		status=0
		span_start
		# Within the group's own bound; where every page takes long, litmus took 300 s once.
		span_wait $((run == 1 ? 450 : 300)) || status=$?
		cp "$cluster/share/data0" "$work/run$run.out"
		if [ $run = 1 ]; then
			tap "litmus" $status <"$work/run$run.out"
		else
			check "run $((run + 1)) ends well: status $status" test $status = 0
			check "run $((run + 1)): checksums" grep -q '"checksums": "ok"' "$work/run$run.out"
		fi
		[ $status = 0 ] || span_report >&2
		for host in 0 1; do
			spanvm_gone "run $((run + 1))" $host
		done
		module_goes "run $((run + 1))"
		for host in 0 1; do free[host + 2 * run]=$(mem_free $host); done
		[ $run = 2 ] || span_load
	done
	check "the guest sees two nodes" grep -q '^nodes: 2$' "$work/run0.out"
	for host in 0 1; do
		at_most "KiB that host $host lost between the first run and the third" \
			$((free[host] - free[host + 4])) 4096
	done
	hosts_are_well
}

# rdma_counts: what a guest's two nodes counted over RDMA: no CPU copied a page's contents
rdma_counts() {
	local node stats
	for node in 0 1; do
		stats=$cluster/share/stats$node
		check "node $node: contents came and went: $(total "$stats" transfers_in) in, $(total "$stats" transfers_out) out" \
			test "$(total "$stats" transfers_in)" -gt 0 -a "$(total "$stats" transfers_out)" -gt 0
		check "node $node: no CPU copied any" test "$(total "$stats" page_copies)" = 0
		check "node $node: nobody was refused" test "$(total "$stats" refused)" = 0
		check "node $node: no receive was missing" test "$(host_exec $node sh -c \
			'cat /sys/class/infiniband/rxe0/ports/1/hw_counters/*_rnr_err' |
			awk '{ n += $1 } END { print n }')" = 0
	done
}

# fault_begin TRANSPORT TIMEOUT [OPTION...]: hosts for a guest that is at work; cluster_up has the
# options
fault_begin() {
	span_hosts=2 span_transport=$1 span_timeout=$2
	guest_prepare_busy
	guest_hosts "${@:3}"
}

# fault_start LABEL: a new span, at work
fault_start() {
	span_start
	guest_is_busy "$1"
}

# fault_tests: a host that stands still for 5 s, a spanvm that is killed, a cable that is pulled, a
# host that dies
fault_tests() {
	local last begin
	fault_start stall
	last=$(tail -n 1 "$cluster/share/data0" | cut -d' ' -f2)
	host_pause 1
	# Five seconds are what the test is about.
	sleep 5
	host_resume 1
	check "stall: after 5 s without a host the guest goes on" \
		wait_line "$cluster/share/data0" "^tick $((last + 3))$" 60

	begin=$SECONDS
	host_exec 1 killall -9 spanvm
	node_ends "spanvm killed" 0 "$begin"
	host_wait 1 "${span_jobs[1]}" 20 || true
	module_goes "spanvm killed"

	span_load
	fault_start cable
	begin=$SECONDS
	link_cut 0 1
	node_ends "cable pulled" 0 "$begin"
	node_ends "cable pulled" 1 "$begin"
	link_restore 0 1
	module_goes "cable pulled"

	span_load
	fault_start "host killed"
	begin=$SECONDS
	host_kill 1
	node_ends "host killed" 0 "$begin"
	check "host killed: host 0 lives" host_exec 0 true
	module_goes "host killed"
	hosts_are_well
}

# run_guest SECONDS OPTION... -- COMMAND...: ci/cluster run with a bound
run_guest() {
	local seconds=$1
	shift
	# Its own bound is for the guest; hosts boot before and end after.
	timeout -k 20 $((seconds + 100)) "$ci/cluster" run --timeout "$seconds" "$@"
}

# kernel_program LABEL OPTION... -- COMMAND...: run a test program in a kernel by itself; the
# options are ci/kernel's.  What it said stays in $work/kernel.out.
kernel_program() {
	local label=$1 status=0
	shift
	"$ci/kernel" "$@" >"$work/kernel.out" 2>"$work/kernel.err" || status=$?
	tap "$label" $status <"$work/kernel.out"
	note <"$work/kernel.err"
}

# The scheduler of 6.12 loses count of the bandwidth of CPUs' fair servers where CPUs go and come, and
# warns of that where SCHED_DEBUG is configured, as Debian has it; and counts such a server as one more
# task of a CPU that goes, whose list of tasks has its stopper alone: what kernel_bug is then.
# shellcheck disable=SC2034 # used by others
cpus_go_bug='WARNING: .* at (kernel/sched/deadline\.c:[0-9]+ )?(inactive_task_timer|task_non_contending)|WARNING: .* at (kernel/sched/core\.c:[0-9]+ )?sched_cpu_dying'

# went_alone LOG: a CPU that went had no task but its stopper, as far as the kernel listed any
# shellcheck disable=SC2317 # called by check
went_alone() { ! grep -E 'pid: [0-9]+, name: ' "$1" | grep -v 'name: migration/'; }

# A shell script, for sh -c: a command runs while CPUs 1 and 3 go and come; it says how often
# shellcheck disable=SC2016,SC2034 # for another shell, and used by others
cpus_go='
	"$@" &
	times=0
	while kill -0 $! 2>/dev/null; do
		for cpu in 1 3; do
			for online in 0 1; do
				echo $online >/sys/devices/system/cpu/cpu$cpu/online || exit 99
			done
			times=$((times + 1))
		done
	done
	echo "# CPUs went and came: $times"
	wait $!'

# kunit LABEL OPTION...: KUnit's tests of the locks, all of them, in a kernel that has them
# and for which lock_modules are in $work/add; on a machine whose third node has no memory
kunit() {
	local label=$1
	shift
	# shellcheck disable=SC2016 # for the guest's shell
	kernel_program "$label" --bare-nodes 1 --initrd-add "$work/add" "$@" -- sh -c '
		insmod /kunit.ko enable=1 || exit
		for module in /*-kunit.ko; do
			insmod "$module" || exit
		done
		dmesg | sed -n "s/^\[[^]]*\]     \(ok [0-9]*\|not ok [0-9]*\|1\.\.\)/\1 -/p" |
			awk "/^1/ { plan += \$2; next } { print } END { print \"1..\" plan }" FS=-
		! dmesg | grep -q "\]     not ok"'
	check "$label: none was skipped" test "$(grep -c SKIP "$work/kernel.out" || true)" = 0
}

# insns NAME OPTION...: the instructions that insns counts in a kernel, put into the array NAME,
# by what they are for
insns() {
	local -n counts=$1
	local line
	kernel_program "instructions, $1" "${@:2}" --icount --cpus 1 --mem 128 -- insns
	while read -r line; do
		# shellcheck disable=SC2034 # the caller's
		counts[${line%%:*}]=$(grep -o '[0-9]*' <<<"${line#*:}")
	done < <(sed -n 's/^ok [0-9]* - \([a-z_]*: [0-9]*\) instructions$/\1/p' "$work/kernel.out")
	grep '^# .* bytes' "$work/kernel.out" || true
}

# insns_like WHAT OURS STOCK: no figure of the array OURS is more than 1 % above that in STOCK
insns_like() {
	local -n here=$2 stock=$3
	local name bound
	for name in read_fault write_fault mmap_munmap fork; do
		bound=${stock[$name]-0}
		at_most "$1: $name: instructions, where stock takes $bound" "${here[$name]-none}" \
			$((bound * 101 / 100))
	done
}

# node_stat FILE NODE KEY: a counter of one node; total FILE KEY: the sum over all nodes
node_stat() { grep -o "\"$3\": *[0-9]*" "$1" | awk -v n="$2" 'NR == n + 1 { print $NF }'; }
total() { grep -o "\"$2\": *[0-9]*" "$1" | awk '{ sum += $NF } END { printf "%.0f\n", sum }'; }

# node_err N: what spanvm of a node said
node_err() { cat "$(job_dir "$(span_host "$1")" "${span_jobs[$1]}")/err"; }
