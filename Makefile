# SPDX-License-Identifier: GPL-2.0-only
#
# What a user types; each part has its own Makefile.
#
#	make		the module, spanvm and the programs
#	make demo	one guest over two emulated hosts, from nothing
#	make check	all tests
#	make soak	the long tests
#	make model	the models of the protocol and of ccsynch, and their planted bugs
#	make sim	the guest's locks, simulated: a table, and out/sim.json
#
# KDIR picks the kernel to build numaspan.ko for: by default the 6.12 kernel that Debian 12
# has, which is the emulated hosts'.

KDIR ?= $(shell ls -d /usr/src/linux-headers-6.12*-amd64 2>/dev/null | sort -V | tail -n 1)

# The packages first: which kernel there is to build for is known only then.
all: setup
	@$(MAKE) --no-print-directory modules spanvm programs

setup:
	@ci/setup

modules:
	@$(MAKE) --no-print-directory -C "$(KDIR)" M=$(CURDIR) modules

spanvm:
	@$(MAKE) --no-print-directory -C hv-companion/spanvm

programs:
	@$(MAKE) --no-print-directory -C bench/membench
	@$(MAKE) --no-print-directory -C bench/dsmsim
	@$(MAKE) --no-print-directory -C tests/guest
	@$(MAKE) --no-print-directory -C tests/dev
	@$(MAKE) --no-print-directory -C modules/faultprof/tools

demo: all
	@ci/demo

check: all
	@tests/run

soak: all
	@status=0; for test in tests/soak*; do $$test || status=1; done; exit $$status

model: setup
	@$(MAKE) --no-print-directory -C hv-companion/model check
	@$(MAKE) --no-print-directory -C modules/ccsynch/model check

sim: setup
	@$(MAKE) --no-print-directory -C bench/dsmsim
	@mkdir -p out
	@bench/dsmsim/dsmsim table --json out/sim.json

clean:
	$(MAKE) -C $(KDIR) M=$(CURDIR) clean
	for dir in hv-companion/spanvm hv-companion/fuzz hv-companion/model modules/ccsynch/model \
		bench/membench bench/dsmsim tests/guest tests/dev modules/faultprof/tools; do $(MAKE) -C $$dir clean; done
	rm -rf out

.PHONY: all setup modules spanvm programs demo check soak model sim clean
