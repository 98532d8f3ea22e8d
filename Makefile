# SPDX-License-Identifier: Apache-2.0
# One non-recursive Makefile. Directories are flat and listed by wildcard: a new .c file needs no edit
# here. Everything is written below build/<variant>/. `make help` lists the targets.

VARIANT ?= release# debug asan ubsan cov fuzz
B       := build/$(VARIANT)
Q       := $(if $(V),,@)
CFLAGS  ?= -O2 -g
ifeq ($(VARIANT),fuzz)
CC      := clang
else ifeq ($(origin CC),default)
CC      := gcc
endif

WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wwrite-strings \
           -Wpointer-arith -Wno-missing-field-initializers $(if $(WERROR),-Werror)
VAR_release :=
VAR_debug := -O0 -DPOSTERN_DCHECK
VAR_asan  := -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -DPOSTERN_DCHECK
VAR_ubsan := -O1 -fsanitize=undefined -fno-sanitize-recover=all -DPOSTERN_DCHECK
VAR_cov   := -O0 --coverage
VAR_fuzz  := -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -DPOSTERN_DCHECK
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE -I. -MMD -MP -fno-strict-aliasing -fstack-protector-strong \
             $(WARN) $(CFLAGS) $(VAR_$(VARIANT))
LDFLAGS_ALL = $(LDFLAGS) $(filter -fsanitize% --coverage,$(VAR_$(VARIANT)))

# Third-party headers come in by -isystem: their warnings are not ours.
sys      = $(patsubst -I%,-isystem %,$(shell pkg-config --cflags $(1) 2>/dev/null))
libs     = $(shell pkg-config --libs $(1) 2>/dev/null)
PKGS    := libdpdk libhs numa criterion yaml-0.1 jansson sqlite3
MISSING := $(strip $(foreach p,$(PKGS),$(if $(shell pkg-config --exists $(p) && echo y),,$(p))))

# --- what is made of what -------------------------------------------------------------------------
BASE    := $(wildcard control/base/*.c control/abi/*.c)
CLI     := control/cli.c $(wildcard control/cli_*.c)
CONTROL := $(filter-out control/main.c $(CLI),$(wildcard control/*.c))
SCAN    := $(wildcard scanner/*.c scanner/agents/*.c)
# The files of the dataplane that may see rte_ types; all others compile with a bare compiler.
DPDK    := $(wildcard dataplane/boot.c dataplane/eal.c dataplane/ifaces.c dataplane/port_dpdk.c)
PLANE   := $(filter-out dataplane/main.c $(DPDK),$(wildcard dataplane/*.c))
SIM     := $(wildcard test/sim/lib/*.c)

obj      = $(patsubst %.c,$(B)/%.o,$(1))
$(call obj,$(DPDK)): LIB_CFLAGS = $(call sys,libdpdk) -DALLOW_EXPERIMENTAL_API
$(B)/test/dpdk/%.o: LIB_CFLAGS = $(call sys,libdpdk) -DALLOW_EXPERIMENTAL_API
$(B)/scanner/match.o $(B)/control/pattern_compile.o: LIB_CFLAGS = $(call sys,libhs)

LIBS_control := $(call libs,yaml-0.1 jansson sqlite3) $(shell pkg-config --libs libhs) -lpthread
LIBS_cli     := $(call libs,jansson)
LIBS_scan    := -lhs_runtime -lstdc++ -lm
LIBS_dpdk     = $(call libs,libdpdk) -lnuma -lpthread

.DEFAULT_GOAL := all
all: $(B)/postern $(B)/posternd $(B)/postern-dataplane ## both daemons and the CLI

$(B)/posternd: $(call obj,control/main.c $(CONTROL) $(BASE))
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_control)
	@echo "  LINK $@"
$(B)/postern: $(call obj,$(CLI) $(BASE))
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_cli)
	@echo "  LINK $@"
$(B)/postern-dataplane: $(call obj,dataplane/main.c $(DPDK) $(PLANE) $(SCAN) $(BASE))
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_dpdk) $(LIBS_scan)
	@echo "  LINK $@"

$(B)/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(LIB_CFLAGS) -c $< -o $@
	@echo "  CC   $<"
.SECONDARY:

# Objects depend on the flags they were made with; missing libraries stop here with the line that helps.
$(B)/flags: FORCE
	$(if $(MISSING),$(error missing libraries: $(MISSING). Run: sudo deploy/install-deps.sh))
	@mkdir -p $(B)
	@echo '$(CC) $(ALL_CFLAGS)' | cmp -s - $@ || echo '$(CC) $(ALL_CFLAGS)' >$@

# --- tests ----------------------------------------------------------------------------------------
# test/unit/AREA_*.c link with what their area may see: base, control, scan, plane, dpdk.
UNIT    := $(patsubst test/unit/%.c,$(B)/test/unit/%,$(wildcard test/unit/*.c))

UNIT_AREA_base    := $(BASE)
UNIT_AREA_control := $(CONTROL) $(filter-out control/cli.c,$(CLI)) $(BASE)
UNIT_AREA_scan    := $(SCAN) $(BASE) $(wildcard control/pattern_compile.c)
UNIT_AREA_plane   := $(PLANE) $(SCAN) $(BASE) $(SIM) $(wildcard control/pattern_compile.c)
UNIT_AREA_dpdk    := $(DPDK) $(PLANE) $(SCAN) $(BASE) $(SIM) $(wildcard control/pattern_compile.c)
UNIT_LINK_base    :=
UNIT_LINK_control  = $(LIBS_control)
UNIT_LINK_scan     = $(shell pkg-config --libs libhs)
UNIT_LINK_plane    = $(shell pkg-config --libs libhs) -lm
UNIT_LINK_dpdk     = $(LIBS_dpdk) $(shell pkg-config --libs libhs)
$(B)/test/unit/%.o: LIB_CFLAGS = $(call sys,criterion)
$(B)/test/unit/dpdk_%.o: LIB_CFLAGS = $(call sys,criterion libdpdk) -DALLOW_EXPERIMENTAL_API
$(B)/test/unit/scan_match.o: LIB_CFLAGS = $(call sys,criterion libhs)
$(B)/test/unit/scan_scan.o: LIB_CFLAGS = $(call sys,criterion libhs)

define unit_rule
$(B)/test/unit/$(1)_%: $(B)/test/unit/$(1)_%.o $(call obj,$(UNIT_AREA_$(1)))
	$$(Q)$$(CC) $$(LDFLAGS_ALL) -o $$@ $$^ $$(call libs,criterion) $$(UNIT_LINK_$(1))
	@echo "  LINK $$@"
endef
$(foreach a,base control scan plane dpdk,$(eval $(call unit_rule,$(a))))

# Fuzz targets: test/fuzz/AREA_NAME.c with seeds in test/fuzz/NAME.in/. Without libFuzzer the same file
# is linked with replay.c, which runs the seeds: that is what `make test` does.
FUZZ      := $(wildcard test/fuzz/base_*.c test/fuzz/scan_*.c test/fuzz/plane_*.c)
FUZZ_BINS := $(patsubst test/fuzz/%.c,$(B)/test/fuzz/%,$(FUZZ))
FUZZ_MAIN := $(if $(filter fuzz,$(VARIANT)),,$(B)/test/fuzz/replay.o)
define fuzz_rule
$(B)/test/fuzz/$(1)_%: $(B)/test/fuzz/$(1)_%.o $(call obj,$(UNIT_AREA_$(1))) $(FUZZ_MAIN)
	$$(Q)$$(CC) $$(LDFLAGS_ALL) $(if $(filter fuzz,$(VARIANT)),-fsanitize=fuzzer) -o $$@ $$^ $$(UNIT_LINK_$(1))
	@echo "  LINK $$@"
endef
$(foreach a,base scan plane,$(eval $(call fuzz_rule,$(a))))

RUNNERS := $(patsubst test/%.c,$(B)/test/%,$(wildcard test/smtp/smtp_run.c test/tcp/pkt_run.c test/sim/*.c))
$(B)/test/tcp/pkt_run: $(call obj,$(filter-out %_run.c,$(wildcard test/tcp/pkt_*.c)))
$(RUNNERS): $(B)/test/%: $(B)/test/%.o $(call obj,$(UNIT_AREA_plane))
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(UNIT_LINK_plane)
	@echo "  LINK $@"

# Programs of the end-to-end tests that are too fast or too many for Python: attackers and clients.
LOAD    := $(patsubst test/%.c,$(B)/test/%,$(wildcard test/load/*.c))
$(LOAD): $(B)/test/%: $(B)/test/%.o $(call obj,$(BASE))
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^
	@echo "  LINK $@"

tests: $(UNIT) $(FUZZ_BINS) $(RUNNERS) $(LOAD) all ## build what `make test` runs
test: tests ## layers, headers, units, scripts, seeds, simulation: no root, no hugepages
	$(Q)test/make-test.sh $(B)
soak: $(RUNNERS) ## the property tests over 100,000 seeds, then longer ones: about half an hour
	$(Q)test/sim/many.sh $(B) 100000
	$(Q)test/sim/many.sh $(B) 5000 -L
asan ubsan cov: ## make test in that variant
	$(Q)$(MAKE) --no-print-directory test VARIANT=$@
fuzz: ## make fuzz T=NAME S=SECONDS: libFuzzer on one target (clang)
	$(Q)test/fuzz/fuzz.sh "$(T)" "$(S)"

# --- benchmarks -----------------------------------------------------------------------------------
BENCHES := $(patsubst bench/%.c,$(B)/bench/%,$(wildcard bench/bench_*.c))
BENCH_LIB := $(filter-out $(wildcard bench/bench_*.c),$(wildcard bench/*.c))
$(B)/bench/bench_pipeline.o $(B)/bench/bench_micro.o: LIB_CFLAGS = $(call sys,libhs)
$(BENCHES): $(B)/bench/%: $(B)/bench/%.o $(call obj,$(BENCH_LIB) $(UNIT_AREA_plane))
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(UNIT_LINK_plane)
	@echo "  LINK $@"
bench: $(BENCHES) $(B)/test/sim/simwire $(B)/test/sim/simpeer ## all benchmarks, or BENCH=NAME; writes build/bench/NAME.json
	$(Q)bench/run.sh $(B) "$(BENCH)"

# --- the rest -------------------------------------------------------------------------------------
PREFIX  ?= /usr
UNITDIR ?= $(PREFIX)/lib/systemd/system
UNITS   := $(wildcard deploy/systemd/*.service)
INSTALLED = $(PREFIX)/bin/postern $(PREFIX)/sbin/posternd $(PREFIX)/sbin/postern-dataplane \
            $(patsubst deploy/systemd/%,$(UNITDIR)/%,$(UNITS)) /etc/postern/postern.yaml.example \
            /etc/logrotate.d/postern
install: all ## files only, below DESTDIR; enables and starts nothing, keeps a postern.yaml that is there
	install -D -m 755 $(B)/postern $(DESTDIR)$(PREFIX)/bin/postern
	install -D -m 755 $(B)/posternd $(DESTDIR)$(PREFIX)/sbin/posternd
	install -D -m 755 $(B)/postern-dataplane $(DESTDIR)$(PREFIX)/sbin/postern-dataplane
	install -D -m 644 deploy/postern.yaml $(DESTDIR)/etc/postern/postern.yaml.example
	install -D -m 644 deploy/postern.logrotate $(DESTDIR)/etc/logrotate.d/postern
	install -d $(DESTDIR)$(UNITDIR)
	for u in $(UNITS); do \
		sed 's|^\(Exec[A-Za-z]*=\)/usr/|\1$(PREFIX)/|' $$u >$(B)/unit.tmp && \
		install -m 644 $(B)/unit.tmp $(DESTDIR)$(UNITDIR)/$${u##*/} || exit 1; \
	done
uninstall: ## removes what install put there; leaves postern.yaml, the message log and the database
	rm -f $(addprefix $(DESTDIR),$(INSTALLED))
	[ ! -d $(DESTDIR)/etc/postern ] || rmdir --ignore-fail-on-non-empty $(DESTDIR)/etc/postern
demo: ## what deploy/demo.sh runs once the packages are there
	deploy/demo.sh
check: ## static analysis and formatting
	$(Q)test/check.sh
clean: ## removes build/
	rm -rf build
help: ## this table
	@sed -n 's/^\([a-z][a-z -]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

-include $(shell find $(B) -name '*.d' 2>/dev/null)
.PHONY: all tests test soak asan ubsan cov fuzz bench install uninstall demo check clean help FORCE
