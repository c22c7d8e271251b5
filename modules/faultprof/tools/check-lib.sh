# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2034
#
# What faultprof's tests share: a folder to work in, results as TAP, and faults.  Sourced with
# the program as the first argument.
set -u

faultprof=$(realpath "${1-faultprof}")
tools=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
count=0 failed=0

result() {	# STATUS NAME
	count=$((count + 1))
	if [ "$1" = 0 ]; then
		echo "ok $count - $2"
	else
		failed=$((failed + 1))
		echo "not ok $count - $2"
		sed 's/^/# /' out err
	fi
}

# plan: the end
plan() {
	echo "1..$count"
	[ $failed = 0 ]
}

seconds=100
# fault NODE read|write|walk PAGE OFFSET [IP]: one more line of a trace
fault() {
	local kind=$2 ip=${5-ffffffff81000110}
	[ "$kind" != walk ] || kind='read walk'
	seconds=$((seconds + 1))
	printf '           cpu-%d-201     [000] d..1. %d.%06d: fault: span=5eed node=%d home=0 page=%d %s gpa=%x address=7f0000000000 ip=%s vcpu=%d ns=%d\n' \
		"$1" $((seconds / 10)) $((seconds % 10 * 1000)) "$1" $((0x$3)) "$kind" \
		$(((0x$3 << 12) + 0x$4)) "$ip" "$1" 10000
}
