#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Bad configurations and bad options: each must make spanvm print exactly one line,
# which names the value and what was expected, and exit with 2.  Runs anywhere: nothing
# here gets as far as KVM.  Usage: config.sh [SPANVM]; the output is TAP.
set -u

spanvm=$(realpath "${1:-$(dirname "$0")/../spanvm}")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
count=0 failed=0

# A file that passes for a kernel: the fields that are checked, nothing else.
{
	head -c 510 /dev/zero
	printf '\x55\xaa\xeb\x6a'	# boot flag, jump over the header
	printf 'HdrS\x0f\x02'		# protocol 2.15
	head -c 46 /dev/zero
	printf '\x01\x00'		# xloadflags: 64-bit entry
	head -c 4000 /dev/zero
} >bzImage
head -c 32 /dev/urandom >key
chmod 600 key
echo initrd >initrd

result() {
	count=$((count + 1))
	if [ "$1" = 0 ]; then
		echo "ok $count - $2"
	else
		failed=$((failed + 1))
		echo "not ok $count - $2"
		sed 's/^/# /' err
	fi
}

good() {
	cat <<-EOF
		# a span
		[span]
		id = 0x1234abcd      # 64-bit
		key = $dir/key
		transport = tcp
		timeout = 10s
		kernel = $dir/bzImage
		initrd = $dir/initrd
		cmdline = console=ttyS0 nokaslr
		status_port = 0xf4
		hold = 0
		clear_page = yes
		system_map = $dir/System.map
		prefetch = 32
		fault_ring = 64
		policy = giantvm2020
		read_moves_ownership = yes
		serial_invalidation = no
		owner_at_node_0 = yes
		copies = yes
		sleep_waits = no
		[node 0]
		address = 10.0.0.1:7000
		memory = 256M
		cache = 64M
		cpus = 2
		[node 1]
		address = [fd00::2]:7000
		memory = 256M
		cpus = 2
	EOF
}

# expect NAME PATTERN OPTION...: spanvm OPTION... must refuse with one line like PATTERN
expect() {
	local name=$1 pattern=$2 status
	shift 2
	"$spanvm" "$@" >out 2>err </dev/null
	status=$?
	[ $status = 2 ] && [ "$(wc -l <err)" = 1 ] && [ ! -s out ] && grep -q -e "$pattern" err &&
		grep -q '^spanvm: .*expected' err
	result $? "$name"
}

# value NAME KEY OLD NEW PATTERN: the good configuration, with "KEY = OLD..." as "KEY = NEW";
# spanvm must name KEY and NEW (or what PATTERN says)
value() {
	good | sed "0,\|^$2 = $3.*|s||$2 = $4|" >conf
	good | cmp -s - conf && { echo "Bail out! $1 changes nothing"; exit 1; }
	expect "$1" "${5:-conf:[0-9]*: $2 \"$4\"}" --config conf --node 0
}

# without NAME LINE PATTERN: the good configuration without the first line that begins so
without() {
	good | sed "0,/^$2/{/^$2/d}" >conf
	expect "$1" "$3" --config conf --node 0
}

# with NAME LINE PATTERN: the good configuration and one line more
with() {
	{ good; printf '%b\n' "$2"; } >conf
	expect "$1" "$3" --config conf --node 0
}

# rdma NAME ADDRESSES0 ADDRESSES1 PATTERN: the good configuration over RDMA, with the nodes' rails
# if they are not empty
rdma() {
	good | sed -e 's|^transport = .*|transport = rdma|' -e "s|^\[node 0\]|&${2:+\nrdma = $2}|" \
		-e "s|^\[node 1\]|&${3:+\nrdma = $3}|" >conf
	expect "rdma: $1" "$4" --config conf --node 0
}

# map NAME LINE...: a System.map, and what makes it wrong
map() {
	local name=$1
	shift
	printf '%s\n' "$@" >"$dir/System.map$name"
}
map '' 'ffffffff814c3490 T __pfx_clear_page_rep' 'ffffffff814c34a0 T clear_page_rep' \
	'ffffffff814c34e0 T __pfx_clear_page_erms' 'ffffffff814c34f0 T clear_page_erms' \
	'ffffffff814c3500 T rep_stos_alternative'
map .other 'ffffffff814c34a0 T copy_page' 'ffffffff814c3500 T copy_page_regs'
map .short 'ffffffff814c34a0 T clear_page_rep'
map .low '00000000014c34a0 T clear_page_rep' '00000000014c3500 T rep_stos_alternative'
map .long 'ffffffff814c34a0 T clear_page_rep' 'ffffffff814c44a1 T rep_stos_alternative'

# The good configuration is refused for no reason of its own: only --node is wrong.
good >conf
expect "good configuration, node beyond the last" '"2": expected a node of conf, 0 to 1' \
	--config conf --node 2

# Options
expect "no options" 'no "--config"'
expect "no --node" 'no "--node"' --config conf
expect "unknown option" '"--frobnicate"' --config conf --frobnicate
expect "unknown short option" '"-x"' --config conf -x
expect "option without value" '"--node"' --config conf --node
expect "empty value" '"--console"' --config conf --node 0 --console ''
expect "--check-host and another" 'option "--check-host"' --check-host --config conf
expect "option twice" '"--node"' --config conf --node 0 --node 1
expect "argument" '"conf"' --node 0 conf
expect "--node not a number" '--node "one"' --config conf --node one
expect "--node negative" '--node "-1"' --config conf --node -1
expect "--node with a tail" '--node "0x"' --config conf --node 0x
expect "--node too big" '--node "64"' --config conf --node 64
expect "--config missing file" '"nowhere"' --config nowhere --node 0
expect "--config a folder" '"/"' --config / --node 0
expect "--kernel missing" '"nowhere"' --config conf --node 0 --kernel nowhere
expect "--kernel not a kernel" '"initrd"' --config conf --node 0 --kernel initrd
expect "--initrd missing" '"nowhere"' --config conf --node 0 --initrd nowhere
expect "--initrd a folder" '"/"' --config conf --node 0 --initrd /
expect "--append too long" '[0-9]* characters' --config conf --node 0 --append \
	"$(head -c 3000 /dev/zero | tr '\0' a)"
expect "--console cannot be written" '"/nowhere/x"' --config conf --node 0 --console /nowhere/x
expect "--data cannot be written" '"/nowhere/x"' --config conf --node 0 --data /nowhere/x
expect "--stats cannot be written" '"/nowhere/x"' --config conf --node 0 --stats /nowhere/x

# [span]
value "id zero" id 0x 0
value "id not a number" id 0x abc
value "id beyond 64 bits" id 0x 0x10000000000000000
value "key file missing" key / /nowhere/key
value "key is a folder" key / /tmp
head -c 31 key >short; chmod 600 short
value "key too short" key / "$dir/short"
head -c 4097 /dev/zero >long; chmod 600 long
value "key too long" key / "$dir/long"
cp key open; chmod 644 open
value "key readable for others" key / "$dir/open" 'mode 0600, not 0644'
value "transport unknown" transport tcp pigeon
value "timeout without a unit" timeout 10s 10
value "timeout too short" timeout 10s 99ms
value "timeout too long" timeout 10s 601s
value "timeout not a time" timeout 10s soon
value "kernel missing" kernel / /nowhere/bzImage 'kernel "/nowhere/bzImage"'
value "kernel not a kernel" kernel / "$dir/key" "kernel \"$dir/key\""
value "initrd missing" initrd / /nowhere/initrd 'initrd "/nowhere/initrd"'
value "cmdline too long" cmdline console "$(head -c 2048 /dev/zero | tr '\0' a)" '2048 characters'
value "status port out of range" status_port 0xf4 0x10000
value "status port zero" status_port 0xf4 0
value "status port of a serial port" status_port 0xf4 0x3f9
value "status port of the reset register" status_port 0xf4 0x602
value "hold too long" hold 0 1000001
value "hold not a number" hold 0 adaptive
value "prefetch too far" prefetch 32 257
value "prefetch not a number" prefetch 32 yes
value "fault_ring too long" fault_ring 64 4097
value "fault_ring a size" fault_ring 64 64K
value "clear_page neither yes nor no" clear_page yes 1
value "policy unknown" policy giantvm2020 giantvm2026
value "read_moves_ownership neither yes nor no" read_moves_ownership yes 1
value "serial_invalidation neither yes nor no" serial_invalidation no maybe
value "owner_at_node_0 neither yes nor no" owner_at_node_0 yes 0
value "copies not yes or no" copies yes 4
value "sleep_waits neither yes nor no" sleep_waits no 1us
value "system map missing" system_map / /nowhere/System.map
value "system map that is none" system_map / "$dir/key" "system_map \"$dir/key\""
value "system map without clear_page" system_map / "$dir/System.map.other"
value "system map that ends with clear_page" system_map / "$dir/System.map.short"
value "system map of no kernel" system_map / "$dir/System.map.low"
value "system map with too much of clear_page" system_map / "$dir/System.map.long"
value "system map without nokaslr" cmdline console console=ttyS0 'console=ttyS0": expected nokaslr'
without "no id" 'id =' 'no "id"'
without "no key" 'key =' 'no "key"'
without "no transport" 'transport =' 'no "transport"'
without "no kernel" 'kernel =' 'no "kernel"'

# [node N]
value "address without a port" address 10 10.0.0.1
value "port zero" address 10 10.0.0.1:0
value "port too big" address 10 10.0.0.1:65536
value "address not numeric" address 10 host.example:7000
value "address unix with tcp" address 10 unix:/tmp/x 'address "unix:/tmp/x"'
value "address unix, relative" address 10 unix:x
value "address unix, too long" address 10 "unix:/$(head -c 150 /dev/zero | tr '\0' a)" 'address "unix:/aaa'
value "IPv6 address without brackets" address 10 fd00::1:7000
value "IPv6 address that is none" address 10 '[fd00:::1]:7000' 'address "\[fd00:::1\]:7000"'
value "two nodes with one address" address 10 '[fd00::2]:7000' 'another than \[node 0\]'
value "memory not aligned" memory 256M 257M
value "memory in bytes, not aligned" memory 256M 268435457
value "memory zero" memory 256M 0
value "memory with a bad unit" memory 256M 256Q
value "memory beyond 64T" memory 256M 65T
value "memory not a number" memory 256M lots
value "memory of node 0 too small" memory 256M 32M 'at least 64M'
value "cache too small" cache 64M 128K
value "cache not aligned" cache 64M 1048577
value "cpus zero" cpus 2 0
value "cpus too many" cpus 2 65
value "cpus not a number" cpus 2 two
without "no address" 'address =' 'no "address"'
without "no memory" 'memory =' 'no "memory"'
without "no cpus" 'cpus =' 'no "cpus"'
with "pins of another number" 'pin = 0' 'pins 1 host CPUs: expected 2'
with "pin twice" 'pin = 1,1' 'pin "1,1"'
with "pin not a number" 'pin = a' 'pin "a"'
with "pin with an empty item" 'pin = 0,,1' 'pin "0,,1"'
with "pin beyond any host" 'pin = 0,1000000' 'pin "0,1000000"'
good | sed 's/^cpus = 2/&\npin = 1022,1023/' >conf
expect "pin not of this host" 'pin "1022": expected a CPU of this host' --config conf --node 0

# The file
with "unknown key of a node" 'colour = red' 'key "colour"'
with "key of [span] in a node" 'hold = 0' 'key "hold"'
with "key twice" 'cpus = 2' 'key "cpus"'
with "key without a value" 'cache =' 'cache ""'
with "line that is no key" 'hello' '"hello"'
with "section not closed" '[node 2' '"\[node 2"'
with "unknown section" '[nodes]' 'section "\[nodes\]"'
with "node number too big" '[node 64]' 'section "\[node 64\]"'
with "node number not a number" '[node x]' 'section "\[node x\]"'
with "[span] twice" '[span]' 'section "\[span\]"'
with "overlapping nodes" '[node 1]' 'section "\[node 1\]"'
with "gap in the nodes" '[node 3]\nmemory = 2M\ncpus = 1' 'no "\[node 2\]"'
with "NUL byte" 'a\0000b' 'without NUL'
{ echo 'id = 1'; good; } >conf
expect "key before any section" 'conf:1: key "id"' --config conf --node 0
good | sed '/^\[node 0\]/,$d' >conf
expect "no nodes" 'no "\[node 0\]"' --config conf --node 0
good | sed '/^\[span\]/,/^sleep_waits/d' >conf
expect "no [span]" 'no "\[span\]"' --config conf --node 0
: >conf
expect "empty file" 'no "\[span\]"' --config conf --node 0
good | sed '/^cpus/s/2/64/' >conf
for n in 2 3 4; do
	printf '[node %s]\naddress = 10.0.1.%s:7000\nmemory = 2M\ncpus = 64\n' $n $n
done >>conf
expect "too many cpus in all" 'at most 254 APIC ids' --config conf --node 0

# RDMA: good() has nodes of two families
a=10.9.0.1:7471 b=10.9.0.2:7471
rdma "addresses of two families" '' '' 'conf: \[node 1\] rdma "\[fd00::2\]:7000": expected the family'
rdma "rails of two families" $a '[fd09::2]:7471' 'rdma "\[fd09::2\]:7471": expected the family'
rdma "without a port" 10.9.0.1 $b 'conf:[0-9]*: rdma "10.9.0.1": expected IPV4:PORT'
rdma "a unix address" unix:/tmp/x $b 'conf:[0-9]*: rdma "unix:/tmp/x": expected IPV4:PORT'
rdma "a name" host:7471 $b 'conf:[0-9]*: rdma "host:7471": expected IPV4:PORT'
rdma "port 0" 10.9.0.1:0 $b 'conf:[0-9]*: rdma "10.9.0.1:0": expected IPV4:PORT'
rdma "a comma too many" $a, $b 'conf:[0-9]*: rdma "": expected IPV4:PORT'
rdma "five rails" $a,$a,$a,$a,$a $b 'rdma ".*": expected at most 4 addresses'
rdma "a rail that the other has not" $a,$a $b '\[node 1\] has 1 "rdma" addresses: expected 2'
with "rdma addresses with tcp" "rdma = $b" 'rdma "10.9.0.2:7471": expected none with this transport'

echo "1..$count"
[ $failed = 0 ]
