# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What the models' checks share: searches with Spin, and what is expected of them, as TAP.
# Sourced, never run, in the model's directory; `model' is the model's file.

count=0
failed=0

result() {	# STATUS NAME [FILE]
	count=$((count + 1))
	if [ "$1" = 0 ]; then
		echo "ok $count - $2"
		return
	fi
	failed=$((failed + 1))
	echo "not ok $count - $2"
	[ -z "${3-}" ] || tail -n 30 "$3" | sed 's/^/# /'
}

# search DIR TIME "MODEL OPTIONS" "COMPILER OPTIONS" [OPTION...]: what pan says is in DIR/said
search() {
	local dir=build/$1 time=$2 options=$3 compiler=$4
	shift 4
	# Without it Spin keeps what it needs for weak fairness.
	case " $* " in *" -f "*) ;; *) compiler+=" -DNOFAIR" ;; esac
	rm -rf "$dir"
	mkdir -p "$dir"
	# shellcheck disable=SC2154 # set by who sources this
	cp "$model" "$dir"
	# shellcheck disable=SC2086
	(cd "$dir" && spin -a $options "$model" && gcc -w -DMEMLIM=8000 $compiler -o pan pan.c &&
		timeout "$time" ./pan "$@") >"$dir/said" 2>&1 || echo "status $?" >>"$dir/said"
}

# clean DIR NAME: the search ended, left nothing out, and found no error
clean() {
	local said=build/$1/said states status=0
	states=$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' "$said")
	grep -q 'errors: 0$' "$said" || status=1
	! grep -q -e 'too small' -e 'out of memory' -e '^status' -e '^error' "$said" || status=1
	[ "${states:-0}" -ge 10000 ] || status=1
	result $status "$2: ${states:-no} states" "$said"
	[ $status = 0 ] || [ ! -e "build/$1/$model.trail" ] ||
		(cd "build/$1" && ./pan -r 2>&1 | tail -n 60 | sed 's/^/# /')
}

# found DIR NAME: the search ended with an error of the model
found() {
	local said=build/$1/said
	grep -q 'errors: 1$' "$said" &&
		grep -q -e 'assertion violated' -e 'non-progress cycle' -e 'invalid end state' "$said"
	result $? "$2" "$said"
}

# reached NUMBER DIR NAME: the search in DIR has been at the place
reached() {
	grep -qx "reached $1" "build/$2/said"
	result $? "reached: $3" "build/$2/said"
}

# defines PREFIX: numbers and words of the defines that begin with PREFIX_
defines() {
	sed -n "s|^#define $1_[A-Z_]*[[:space:]]*\([0-9]*\)[[:space:]]*/\* \(.*\) \*/|\1 \2|p" "$model"
}

# finish: the plan, and the status
finish() {
	echo "1..$count"
	[ "$failed" = 0 ]
}
