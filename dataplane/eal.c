// SPDX-License-Identifier: Apache-2.0
// eal: DPDK's command line, and worker memory. Runs in the main thread, but for the mem_source.

#include "dataplane/eal.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <numa.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_log.h>
#include <rte_pci.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "control/base/siphash.h"

// --- arguments ---

// Begins the next argument; the caller adds to it.
static struct strbuf
arg_begin(struct eal_args *a)
{
	struct strbuf b;

	CHECK(a->count < EAL_ARGS_MAX);
	strbuf_init(&b, a->text[a->count], EAL_ARG_SIZE);
	a->argv[a->count] = a->text[a->count];
	a->count++;
	return b;
}

static void
arg_add(struct eal_args *a, const char *text)
{
	struct strbuf b = arg_begin(a);

	strbuf_add_str(&b, text);
}

static bool
cpu_is_worker(const struct policy_view *v, uint32_t cpu)
{
	for (uint32_t i = 0; i < v->count[POLICY_CORES]; i++)
		if (v->cores[i].cpu == cpu)
			return true;
	return false;
}

// The main thread may run on every CPU of ours that no worker has; if there is none, on all of
// them.
static void
add_main_cpus(struct strbuf *b, const struct policy_view *v, const cpu_set_t *ours)
{
	uint32_t count = 0;

	for (uint32_t pass = 0; pass < 2 && count == 0; pass++)
		for (uint32_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
			if (!CPU_ISSET(cpu, ours) || (pass == 0 && cpu_is_worker(v, cpu)))
				continue;
			strbuf_addf(b, "%s%u", count++ > 0 ? "," : "", cpu);
		}
}

static bool
add_cores(struct eal_args *a, const struct policy_view *v, struct strbuf *why)
{
	cpu_set_t ours;

	CPU_ZERO(&ours);
	if (sched_getaffinity(0, sizeof(ours), &ours) != 0) {
		strbuf_add_str(why, "cannot read the CPU affinity");
		return false;
	}
	struct strbuf b = arg_begin(a);
	strbuf_add_str(&b, "--lcores=0@(");
	add_main_cpus(&b, v, &ours);
	strbuf_add_str(&b, ")");
	for (uint32_t i = 0; i < v->count[POLICY_CORES]; i++) {
		uint32_t cpu = v->cores[i].cpu;
		if (cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, &ours)) {
			strbuf_addf(why, "core %u: this machine or process has no such CPU", cpu);
			return false;
		}
		strbuf_addf(&b, ",%u@%u", i + 1, cpu);
	}
	if (b.truncated)
		strbuf_add_str(why, "too many CPUs for DPDK's argument");
	return !b.truncated;
}

static bool
device_is_pci(const char *device)
{
	struct rte_pci_addr addr;

	return rte_pci_addr_parse(device, &addr) == 0;
}

static bool
device_text(const struct policy_view *v, uint32_t i, char *to, uint32_t size, struct strbuf *why)
{
	struct span s = policy_text(v, v->ports[i].device);
	struct strbuf b;

	strbuf_init(&b, to, size);
	strbuf_add(&b, s);
	if (s.n > 0 && !b.truncated && span_find(s, 0) < 0)
		return true;
	strbuf_addf(why, "port %u: its device is empty or too long", i);
	return false;
}

static bool
device_is_same(const char *a, const char *b)
{
	struct rte_pci_addr pa, pb;

	if (rte_pci_addr_parse(a, &pa) == 0 && rte_pci_addr_parse(b, &pb) == 0)
		return rte_pci_addr_cmp(&pa, &pb) == 0;
	return strcmp(a, b) == 0;
}

// Several ports are VLANs of one device: DPDK is told of it once.
static bool
device_was_before(const struct policy_view *v, uint32_t i, const char *device)
{
	char other[EAL_ARG_SIZE - 64], text[64];
	struct strbuf why;

	strbuf_init(&why, text, sizeof(text));
	for (uint32_t j = 0; j < i; j++)
		if (device_text(v, j, other, sizeof(other), &why) && device_is_same(other, device))
			return true;
	return false;
}

// --- checks before DPDK starts ---

static bool
device_is_af_packet(struct span device)
{
	return span_starts_nocase(device, SPAN_LIT("net_af_packet")) ||
	       span_starts_nocase(device, SPAN_LIT("eth_af_packet"));
}

static bool
iface_check(struct span value, struct strbuf *why)
{
	char name[IF_NAMESIZE];
	struct strbuf b;

	strbuf_init(&b, name, sizeof(name));
	strbuf_add(&b, value);
	if (!b.truncated && value.n > 0 && if_nametoindex(name) != 0)
		return true;
	strbuf_add_str(why, "interface ");
	strbuf_add(why, value);
	strbuf_add_str(why, " does not exist");
	return false;
}

bool
eal_device_check(const char *device, struct strbuf *why)
{
	static const char *const keys[] = {"iface",   "qpairs",  "qdisc_bypass",
					   "blocksz", "framesz", "framecnt"};
	struct span rest = span_str(device);
	bool has_iface = false;

	if (!device_is_af_packet(rest))
		return true;
	for (int64_t comma; (comma = span_find(rest, ',')) >= 0;) { // each takes some of it off
		rest = span_from(rest, (uint32_t)comma + 1);
		int64_t end = span_find(rest, ',');
		struct span arg = end < 0 ? rest : span_sub(rest, 0, (uint32_t)end);
		int64_t eq = span_find(arg, '=');
		struct span key = eq < 0 ? arg : span_sub(arg, 0, (uint32_t)eq);
		bool is_known = false;
		for (uint32_t i = 0; i < ARRAY_LEN(keys); i++)
			is_known = is_known || span_eq(key, span_str(keys[i]));
		if (!is_known) {
			strbuf_add_str(why, "net_af_packet has no argument \"");
			strbuf_add(why, key);
			strbuf_add_str(why, "\"");
			return false;
		}
		if (!span_eq(key, SPAN_LIT("iface")))
			continue;
		has_iface = true;
		if (!iface_check(eq < 0 ? SPAN_NONE : span_from(arg, (uint32_t)eq + 1), why))
			return false;
	}
	if (!has_iface)
		strbuf_add_str(why, "net_af_packet needs iface=NAME");
	return has_iface;
}

// One kind of hugepages, "hugepages-2048kB": free pages times size, in KiB.
static uint64_t
hugepages_free_kib(const char *dir, const char *kind)
{
	char path[PATH_MAX], text[32];
	struct span name = span_str(kind);
	struct strbuf b;
	uint64_t kib, pages;

	if (!span_starts_nocase(name, SPAN_LIT("hugepages-")) || name.n < 13)
		return 0;
	if (!span_u64(span_sub(name, 10, name.n - 12), UINT32_MAX, &kib))
		return 0;
	strbuf_init(&b, path, sizeof(path));
	strbuf_addf(&b, "%s/%s/free_hugepages", dir, kind);
	int fd = b.truncated ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t n = read(fd, text, sizeof(text));
	close(fd);
	struct span number = span_of(text, n > 0 ? (uint32_t)n : 0);
	if (number.n > 0 && number.p[number.n - 1] == '\n')
		number.n--;
	return span_u64(number, UINT32_MAX, &pages) ? kib * pages : 0;
}

int64_t
eal_hugepages_free_mib(const char *dir)
{
	DIR *d = opendir(dir);
	uint64_t kib = 0;

	if (d == NULL)
		return -1;
	for (struct dirent *e; (e = readdir(d)) != NULL;)
		kib += hugepages_free_kib(dir, e->d_name);
	closedir(d);
	return (int64_t)(kib / 1024);
}

bool
eal_check(const struct policy_view *v, struct strbuf *why)
{
	const struct policy_settings *s = v->settings;
	char device[EAL_ARG_SIZE - 64];

	for (uint32_t i = 0; i < v->count[POLICY_PORTS]; i++) {
		if (!device_text(v, i, device, sizeof(device), why))
			return false;
		uint32_t before = why->len;
		if (eal_device_check(device, why))
			continue;
		CHECK(why->len > before);
		strbuf_add_str(why, " (machine.ports ");
		strbuf_add(why, policy_text(v, v->ports[i].name));
		strbuf_add_str(why, ")");
		return false;
	}
	int64_t mib =
		s->machine_hugepages ? eal_hugepages_free_mib("/sys/kernel/mm/hugepages") : -1;
	if (mib < 0 || (uint64_t)mib >= s->machine_memory_mib)
		return true;
	strbuf_addf(why,
		    "machine.hugepages is true and machine.memory_mib %u, but only %lld MiB of "
		    "hugepages are free",
		    s->machine_memory_mib, (long long)mib);
	return false;
}

// af_packet: one queue pair a worker. Frames shorter than framesz would be cut off in silence: 2
// KiB hold every frame of 1518 bytes and the ring's own header.
static void
add_vdev(struct eal_args *a, const char *device, uint32_t workers)
{
	struct span s = span_str(device);
	struct strbuf b = arg_begin(a);

	strbuf_addf(&b, "--vdev=%s", device);
	if (!device_is_af_packet(s))
		return;
	if (memmem(s.p, s.n, "qpairs=", 7) == NULL)
		strbuf_addf(&b, ",qpairs=%u", workers);
	if (memmem(s.p, s.n, "framesz=", 8) == NULL)
		strbuf_add_str(&b, ",framesz=2048");
	if (memmem(s.p, s.n, "framecnt=", 9) == NULL)
		strbuf_add_str(&b, ",framecnt=1024");
}

static bool
add_devices(struct eal_args *a, const struct policy_view *v, struct strbuf *why)
{
	char device[EAL_ARG_SIZE - 64];
	bool has_pci = false;

	for (uint32_t i = 0; i < v->count[POLICY_PORTS]; i++) {
		if (!device_text(v, i, device, sizeof(device), why))
			return false;
		if (device_was_before(v, i, device))
			continue;
		if (device_is_pci(device)) {
			has_pci = true;
			arg_add(a, "-a");
			arg_add(a, device);
		} else {
			add_vdev(a, device, v->count[POLICY_CORES]);
		}
	}
	if (!has_pci)
		arg_add(a, "--no-pci");
	return true;
}

bool
eal_args_build(struct eal_args *a, const struct policy_view *v, const char *run_dir,
	       struct strbuf *why)
{
	const struct siphash_key key = {0, 0};
	const struct policy_settings *s = v->settings;
	struct strbuf b;

	a->count = 0;
	strbuf_init(&b, a->run_dir, sizeof(a->run_dir));
	strbuf_add_str(&b, run_dir);
	if (b.truncated) {
		strbuf_add_str(why, "the path of the run directory is too long");
		return false;
	}
	arg_add(a, "postern-dataplane");
	b = arg_begin(a);
	strbuf_addf(&b, "--file-prefix=postern-%016lx",
		    (unsigned long)siphash13(key, run_dir, strlen(run_dir)));
	// No files of its own, nothing left behind; --in-memory cannot be had without hugepages
	// (22.11).
	arg_add(a, s->machine_hugepages ? "--in-memory" : "--no-shconf");
	arg_add(a, "--no-telemetry");
	arg_add(a, "--log-level=warning");
	if (!s->machine_hugepages)
		arg_add(a, "--no-huge");
	arg_add(a, "-m");
	b = arg_begin(a);
	strbuf_add_u64(&b, s->machine_memory_mib);
	arg_add(a, "--main-lcore=0");
	if (!add_cores(a, v, why) || !add_devices(a, v, why))
		return false;
	a->argv[a->count] = NULL;
	return true;
}

bool
eal_start(struct eal_args *a, struct strbuf *why)
{
	char *argv[EAL_ARGS_MAX + 1]; // DPDK reorders the list

	memcpy(argv, a->argv, sizeof(argv));
	(void)rte_openlog_stream(stderr); // not syslog
	// DPDK makes a directory for each prefix even when it has nothing to put there: let it be
	// below ours.
	if (setenv("RUNTIME_DIRECTORY", a->run_dir, 1) != 0) {
		strbuf_add_str(why, "no memory");
		return false;
	}
	int rc = rte_eal_init((int)a->count, argv);
	if (rc >= 0)
		return true;
	strbuf_addf(why, "DPDK does not start: %s; its arguments:", rte_strerror(rte_errno));
	for (uint32_t i = 1; i < a->count; i++)
		strbuf_addf(why, " %s", a->argv[i]);
	return false;
}

void
eal_stop(void)
{
	char dir[PATH_MAX];
	struct strbuf b;

	strbuf_init(&b, dir, sizeof(dir));
	strbuf_add_str(&b, rte_eal_get_runtime_dir());
	(void)rte_eal_cleanup();
	// Both are empty: DPDK's directory and its parent, which it made too.
	char *slash = strrchr(dir, '/');
	if (b.truncated || slash == NULL || rmdir(dir) != 0)
		return;
	*slash = 0;
	(void)rmdir(dir);
}

bool
eal_port_find(const struct policy_view *v, uint32_t i, uint16_t *id, struct strbuf *why)
{
	char device[EAL_ARG_SIZE - 64];
	struct rte_pci_addr addr;

	if (!device_text(v, i, device, sizeof(device), why))
		return false;
	if (rte_pci_addr_parse(device, &addr) == 0) {
		rte_pci_device_name(&addr, device, sizeof(device));
	} else {
		char *comma = strchr(device, ',');
		if (comma != NULL)
			*comma = 0;
	}
	if (rte_eth_dev_get_port_by_name(device, id) == 0)
		return true;
	struct span name = policy_text(v, v->ports[i].name);
	strbuf_addf(why, "port %.*s: DPDK has no device %s%s", SPAN_FMT(name), device,
		    device_is_pci(device) ? " (is it bound to vfio-pci?)" : "");
	return false;
}

// --- memory ---

int
eal_cpu_node(uint32_t cpu)
{
	return numa_available() < 0 ? -1 : numa_node_of_cpu((int)cpu);
}

static size_t
pages(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (size + page - 1) / page * page;
}

// Pages are zero and come from the node when they are touched first, so a large pool that is never
// filled costs nothing.
static void *
memory_get(struct mem_source *src, size_t size, const char *name)
{
	struct eal_memory *m = CONTAINER_OF(src, struct eal_memory, source);
	void *p;

	CHECK(size > 0);
	CHECK(name != NULL);
	p = mmap(NULL, pages(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	if (size >= 2u << 20)
		(void)madvise(p, pages(size),
			      MADV_HUGEPAGE); // fewer TLB misses where the kernel can
	if (m->node >= 0)
		numa_tonode_memory(p, pages(size), m->node);
	m->bytes += pages(size);
	return p;
}

static void
memory_put(struct mem_source *src, void *p, size_t size)
{
	struct eal_memory *m = CONTAINER_OF(src, struct eal_memory, source);

	if (p == NULL)
		return;
	CHECK(m->bytes >= pages(size));
	m->bytes -= pages(size);
	int rc = munmap(p, pages(size));
	CHECK(rc == 0);
}

void
eal_memory_init(struct eal_memory *m, int node)
{
	m->source = (struct mem_source){.get = memory_get, .put = memory_put};
	m->node = numa_available() < 0 ? -1 : node;
	m->bytes = 0;
}

uint64_t
eal_memory_available_mib(void)
{
	char line[128];
	unsigned long long kib = 0;
	FILE *f = fopen("/proc/meminfo", "re");

	if (f == NULL)
		return 0;
	for (uint32_t i = 0; i < 16 && fgets(line, sizeof(line), f) != NULL; i++) {
		if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			break;
	}
	(void)fclose(f);
	return kib >> 10;
}
