# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2034
#
# What every script in ci/ shares: where built things are cached, one way to
# say what is going on, one way to fail.  Sourced, never run.

ci=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(dirname "$ci")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/numaspan
prog=${0##*/}
jobs=$(nproc)

say() { echo "$prog: $*" >&2; }
die() { say "$*"; exit 1; }
usage_error() { say "$*"; exit 2; }

# key_value OPTION VALUE: it has to be a key of spanvm's [span] and what that is
key_value() {
	[[ $2 =~ ^[a-z0-9_]+=[^[:cntrl:]]+$ ]] || usage_error "$1 '$2': expected KEY=VALUE"
}

# hash WORD...: a short name for what the words and standard input say
hash() { { printf '%s\n' "$@"; cat; } | sha256sum | cut -c1-16; }

# package_version PACKAGE: the installed version
package_version() {
	dpkg-query -W -f '${Version}' "$1" 2>/dev/null ||
		die "the package $1 is not installed: run ci/setup"
}

# logged FILE COMMAND...: run it with all output in FILE; on failure show its end
logged() {
	local log=$1
	shift
	"$@" >>"$log" 2>&1 && return
	tail -n 30 "$log" >&2
	die "failed: $* (the whole log: $log)"
}

# locked NAME: hold the lock NAME of the cache until this shell ends, so that
# two builds of one thing never run at once
locked() {
	mkdir -p "$cache"
	exec {lock_fd}>"$cache/$1.lock"
	flock -n "$lock_fd" && return
	say "waiting for another run to finish with $1"
	flock -w 3600 "$lock_fd" || die "another run has held $cache/$1.lock for an hour"
}

# own_apt FOLDER LOG: let the array apt be apt-get with sources and lists of its own
# in FOLDER, so that source packages and kernels can be fetched whatever the
# machine's sources are, and without a change to them
own_apt() {
	local suite type
	mkdir -p "$1/sources" "$1/lists/partial" "$1/cache"
	{
		for suite in "debian bookworm" "debian bookworm-updates" \
			"debian-security bookworm-security"; do
			for type in deb deb-src; do
				printf '%s [signed-by=%s] http://deb.debian.org/%s main\n' "$type" \
					/usr/share/keyrings/debian-archive-keyring.gpg "$suite"
			done
		done
	} >"$1/sources/debian.list"
	apt=(apt-get -q -o APT::Sandbox::User=root -o Dir::Etc::SourceList=/dev/null
		-o "Dir::Etc::SourceParts=$1/sources" -o "Dir::State::Lists=$1/lists"
		-o "Dir::Cache=$1/cache")
	logged "$2" "${apt[@]}" update
}

# prune KIND [N]: of the cache entries KIND-*, keep the N (four) used last
prune() {
	local old
	# shellcheck disable=SC2012 # our own names, and by time
	ls -dt "$cache/$1"-*/ | tail -n +$((${2:-4} + 1)) | while read -r old; do rm -rf "$old"; done
}

# guest_modules TREE DIR FOLDER...: build the modules of these folders for the kernel of a build
# tree; they are in DIR then, for --initrd-add
guest_modules() {
	local tree=$1 dir=$2 source
	shift 2
	source=$(mktemp -d)
	(cd "$top" && git ls-files modules bench/kmod-bench hv-companion/numaspan | xargs cp -t "$source" --parents)
	echo "obj-m += ${*/%//}" >"$source/Kbuild"
	make -s -C "$tree" M="$source" modules >&2
	mkdir -p "$dir"
	(cd "$source" && find "$@" -name '*.ko') | sed "s|^|$source/|" | xargs cp -t "$dir"
	rm -rf "$source"
}

# lock_modules TREE DIR: the locks' modules, with their tests and benchmark, and that kernel's KUnit
lock_modules() {
	guest_modules "$1" "$2" modules/pernode-rwsem modules/ccsynch bench/kmod-bench
	cp "$1/lib/kunit/kunit.ko" "$2/"
}

# guest_program NAME DIR: a program of this machine, with the libraries it wants, is in DIR then,
# for --initrd-add
guest_program() {
	local program file
	program=$(command -v "$1") || die "$1 is not installed: apt-get install $1"
	mkdir -p "$2/bin"
	cp -L "$program" "$2/bin/"
	ldd "$program" | { grep -o '/[^ ]*' || true; } | while read -r file; do
		cp -L --parents "$file" "$2/"
	done
}
