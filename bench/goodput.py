#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goodput of our TCP against the Linux kernel's, over a simulated wire; root only, cleans up after itself.

    bench/goodput.py BUILD_DIR OUT.json [--full] [--only NAME ..] [--loads 20mb|50x100kb ..] [--kinds rx|tx|aa ..] [--runs N]
                     [--cap SECONDS] [--rate MBIT] [--jobs N] [--window BYTES] [--seed N] [--cc NAME] [--counters] [--verbose] [--pcap DIR]

Per condition and workload, alternating, with the same seeds: Linux -> Linux (the baseline), Linux -> ours
(rows rx_: the client half) and ours -> Linux (rows tx_: the backend half). A transfer that takes longer
than the cap counts with what was acknowledged until then. README.md in this directory explains the rows.
"""
import argparse
import collections
import ctypes
import errno
import fcntl
import json
import multiprocessing
import os
import selectors
import signal
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import goodput_mail  # noqa: E402

CLONE_NEWNET = 0x40000000
SIOCOUTQ = 0x5411
SO_TIMESTAMPNS = 35
PORT = 2525
LEFT, RIGHT, OURS = "10.77.0.1", "10.77.0.2", "10.77.0.3"
READY_SECONDS = 10
MANY_RUNS = {0: 5, 1: 20, 3: 20, 10: 20}  # by loss, for one of one transfer
BLOCK = memoryview(b"p" * 262144)
libc = ctypes.CDLL(None, use_errno=True)

Cell = collections.namedtuple("Cell", "name loss_percent rtt_ms reorder_us")
Load = collections.namedtuple("Load", "name conns size")
LOADS = [Load("20mb", 1, 20 << 20), Load("50x100kb", 50, 100 << 10)]
FULL = [Cell("loss%d_rtt%d" % (loss, rtt), loss, rtt, 0) for rtt in (1, 20, 100) for loss in (0, 1, 3, 10)]
FULL += [Cell("reorder_rtt20", 0, 20, 5000), Cell("reorder_loss1_rtt20", 1, 20, 5000)]
# Whose 20 MB end within the cap: a mail has no part that would count.
MAIL_FULL = ["loss0_rtt1", "loss1_rtt1", "loss0_rtt20", "loss1_rtt20", "loss0_rtt100", "reorder_rtt20"]
MAIL_SHORT = ["loss0_rtt20"]
SHORT = ["loss0_rtt1", "loss0_rtt20", "loss1_rtt20", "loss3_rtt1", "reorder_rtt20"]


def ns_socket(ns):
    """A socket inside the network namespace; the calling thread visits it for a moment."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open("/run/netns/" + ns, os.O_RDONLY)
    try:
        if libc.setns(there, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns " + ns)
        try:
            return socket.socket()
        finally:
            if libc.setns(home, CLONE_NEWNET) != 0:
                os._exit(70)  # a thread in the wrong namespace must not go on
    finally:
        os.close(there)
        os.close(home)


def run(*command):
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def in_ns(ns):
    return ["nsenter", "--net=/run/netns/" + ns, "--"]


def end(process):
    """Ends a process of ours and gives what it still had to say."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.communicate(timeout=5)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[0]


class Net:
    """Four namespaces: the wire in the middle, two kernels and one stack of ours around it.

        left (kernel) ---- wire: simwire joins two of three ---- right (kernel)
                                                           \\---- ours (no address in the kernel)
    """
    ENDS = ("left", "right", "ours")

    def __init__(self, name, args):
        self.prefix = "pst-%s-" % name
        self.args = args

    def ns(self, end_name):
        return self.prefix + end_name

    def open(self):
        for name in ("wire",) + self.ENDS:
            run("ip", "netns", "add", self.ns(name))
            self.tune(self.ns(name))
        for name, address in zip(self.ENDS, (LEFT, RIGHT, None)):
            run("ip", "link", "add", "eth0", "netns", self.ns(name), "type", "veth", "peer", "name", name, "netns",
                self.ns("wire"))
            for ns, interface in ((name, "eth0"), ("wire", name)):
                enter = in_ns(self.ns(ns))
                run(*enter, "ethtool", "-K", interface, "tx", "off", "rx", "off", "sg", "off", "tso", "off", "gso",
                    "off", "gro", "off")
                if address and ns != "wire":
                    run(*enter, "ip", "address", "add", address + "/24", "dev", interface)
                # Where no kernel is to answer, it does not answer ARP either.
                arp = "on" if address and ns != "wire" else "off"
                run(*enter, "ip", "link", "set", interface, "arp", arp, "up")

    def tune(self, ns):
        """What Debian ships, whatever this machine has; nothing is remembered from one run to the next."""
        lines = ["echo 1 >net/ipv6/conf/all/disable_ipv6", "echo 1 >net/ipv6/conf/default/disable_ipv6",
                 "echo 1 >net/ipv4/tcp_no_metrics_save",
                 "echo 4096 131072 6291456 >net/ipv4/tcp_rmem", "echo 4096 16384 4194304 >net/ipv4/tcp_wmem"]
        run(*in_ns(ns), "sh", "-c", "cd /proc/sys && " + "\n".join(lines))

    def close(self):
        for name in ("wire",) + self.ENDS:
            if os.path.exists("/run/netns/" + self.ns(name)):
                subprocess.run(["ip", "netns", "delete", self.ns(name)], check=False)

    def start(self, ns, *command):
        """A program of ours; it says "ready" when it is."""
        p = subprocess.Popen(in_ns(self.ns(ns)) + list(command), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, text=True)
        return p

    def start_ready(self, ns, *command):
        p = self.start(ns, *command)
        line = p.stdout.readline()
        if line.strip() != "ready":
            end(p)
            raise RuntimeError("%s did not start" % command[0])
        return p


# --- the kernel's ends ------------------------------------------------------------------------------


class KernelSink:
    """Answers one byte as soon as it has `size` bytes of a connection."""

    def __init__(self, ns, address, size):
        self.size = size
        self.listener = ns_socket(ns)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((address, PORT))
        self.listener.listen(512)
        self.listener.setblocking(False)
        self.over = False
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        buffer = bytearray(1 << 20)
        sel = selectors.DefaultSelector()
        sel.register(self.listener, selectors.EVENT_READ, None)
        while not self.over:
            for key, _ in sel.select(0.1):
                if key.data is None:
                    conn, _ = self.listener.accept()
                    conn.setblocking(False)
                    sel.register(conn, selectors.EVENT_READ, [0])
                else:
                    self.read(sel, key, buffer)
        for key in list(sel.get_map().values()):
            key.fileobj.close()
        sel.close()

    def read(self, sel, key, buffer):
        try:
            n = key.fileobj.recv_into(buffer)
        except BlockingIOError:
            return
        except OSError:
            n = 0
        before = key.data[0]
        key.data[0] += n
        if before < self.size <= key.data[0]:
            key.fileobj.send(b"k")
        if n == 0:
            sel.unregister(key.fileobj)
            key.fileobj.close()

    def close(self):
        self.over = True
        self.thread.join()


def kernel_source(ns, address, load, cap_s, cc):
    """All connections at once; (bytes acknowledged, seconds, connections completed, seconds of each on average)."""
    sel = selectors.DefaultSelector()
    conns = [ns_socket(ns) for _ in range(load.conns)]
    sent, done = {}, {}
    begin = time.monotonic()
    for s in conns:
        s.setblocking(False)
        # Not by sysctl: outside of the first namespace that takes only what the machine allows to everybody.
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, cc.encode())
        sent[s] = 0
        if s.connect_ex((address, PORT)) not in (0, errno.EINPROGRESS):
            raise RuntimeError("connect")
        sel.register(s, selectors.EVENT_WRITE)
    while len(done) < load.conns and time.monotonic() - begin < cap_s:
        for key, _ in sel.select(0.05):
            s = key.fileobj
            if sent[s] < load.size:
                try:
                    sent[s] += s.send(BLOCK[:min(len(BLOCK), load.size - sent[s])])
                except BlockingIOError:
                    pass
                if sent[s] == load.size:
                    sel.modify(s, selectors.EVENT_READ)
            else:
                if s.recv(16) != b"k":
                    raise RuntimeError("the sink broke off")
                done[s] = time.monotonic() - begin
                sel.unregister(s)
    seconds = time.monotonic() - begin
    acked = 0
    for s in conns:
        queued = struct.unpack("i", fcntl.ioctl(s.fileno(), SIOCOUTQ, b"\0\0\0\0"))[0]
        acked += load.size if s in done else sent[s] - queued
        if s not in done:  # what is under way must not meet the next run
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()
    sel.close()
    return acked, seconds, len(done), (sum(done.values()) + seconds * (load.conns - len(done))) / load.conns


def typical(load, mbits):
    """One figure for the runs. How long 50 take is decided by the last one: about a round trip more or, when its SYN was
    lost, a second. A median of that is the toss of a coin, so it is all bytes by all seconds there."""
    if load.conns == 1 or not all(mbits):
        return statistics.median(mbits)
    return statistics.harmonic_mean(mbits)


def uncertainty(ours, base):
    """Standard error of the ratio of two harmonic means, as a part of it."""
    if min(len(ours), len(base)) < 2 or not all(ours + base):
        return 0.0
    square = 0.0
    for mbits in (ours, base):
        times = [1 / m for m in mbits]
        square += (statistics.stdev(times) / statistics.mean(times)) ** 2 / len(times)
    return square ** 0.5


# --- one transfer -----------------------------------------------------------------------------------


class Capture:
    """tcpdump at one end of the wire.

    A frame reaches our stack and tcpdump one after the other, so an answer may stand in the file before what it
    answers. One socket anywhere that wants timestamps makes the kernel note when a frame arrived, whoever reads it;
    by that time the frames can be put in order.
    """

    def __init__(self, ns, interface, path):
        self.stamps = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.stamps.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.p = subprocess.Popen(in_ns(ns) + ["tcpdump", "-i", interface, "-n", "-s", "0", "-B", "65536", "-w", path,
                                               "--time-stamp-precision=nano", "-Z", "root", "tcp"],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        said = ""
        for line in self.p.stderr:
            if "listening on" in line:
                return
            said += line
        raise RuntimeError("tcpdump: " + said)

    def close(self):
        """Frames that tcpdump had no room for."""
        if self.p.returncode is not None:
            return 0
        self.stamps.close()
        self.p.send_signal(signal.SIGINT)
        said = self.p.communicate(timeout=20)[1]
        return sum(int(line.split()[0]) for line in said.splitlines() if "dropped by kernel" in line)


class Bench:
    def __init__(self, net, args):
        self.net = net
        self.args = args
        self.captures = []
        self.dropped = 0  # frames missing in captures

    def captures_open(self, kind, cell, load, seed):
        if not self.args.pcap:
            return
        for ns in ("left", "right" if kind == "base" else "ours"):
            name = "%s_%s_%s_%d_%s.pcap" % (kind, load.name, cell.name, seed, ns)
            self.captures.append(Capture(self.net.ns(ns), "eth0", os.path.join(self.args.pcap, name)))

    def captures_close(self):
        while self.captures:
            self.dropped += self.captures.pop().close()

    def wire(self, cell, other, seed):
        return self.net.start_ready("wire", os.path.join(self.args.build, "test/sim/simwire"), "--a", "left", "--b", other,
                                    *self.impairments(cell, seed))

    def impairments(self, cell, seed):
        """As arguments of simwire."""
        rate_kbit = self.args.rate * 1000
        queue = max(256, rate_kbit * cell.rtt_ms // 8 // 1500)  # one bandwidth-delay product, beyond the pipe
        delay_us = cell.rtt_ms * 500
        pipe = rate_kbit * delay_us // 8000 // 1500 if rate_kbit else 16384
        command = ["--delay-us", delay_us, "--loss-ppm", cell.loss_percent * 10000,
                   "--rate-kbit", rate_kbit, "--queue-frames", queue + pipe, "--seed", seed]
        if cell.reorder_us:
            command += ["--reorder-ppm", 10000, "--reorder-us", cell.reorder_us]
        return [str(c) for c in command]

    def peer(self, role, load):
        command = [os.path.join(self.args.build, "test/sim/simpeer"), "--if", "eth0", "--addr", OURS, "--peer", LEFT,
                   "--role", role, "--bytes", load.size, "--conns", load.conns, "--port", PORT, "--window",
                   self.args.window, "--cap-ms", int(self.args.cap * 1000)]
        if self.args.counters:
            command += ["--counters", 1]
        start = self.net.start_ready if role == "sink" else self.net.start
        return start("ours", *map(str, command))

    def transfer(self, kind, cell, load, seed):
        """Mbit/s of payload, those of one connection on average, and whether all of it arrived before the cap."""
        kind = "base" if kind == "aa" else kind
        wire = self.wire(cell, "right" if kind == "base" else "ours", seed)
        try:
            self.captures_open(kind, cell, load, seed)
            if kind == "base":
                sink = KernelSink(self.net.ns("right"), RIGHT, load.size)
                try:
                    acked, seconds, done, each = kernel_source(self.net.ns("left"), RIGHT, load, self.args.cap, self.args.cc)
                finally:
                    sink.close()
            elif kind == "rx":
                sink = self.peer("sink", load)
                try:
                    acked, seconds, done, each = kernel_source(self.net.ns("left"), OURS, load, self.args.cap, self.args.cc)
                    self.captures_close()  # while somebody answers
                finally:
                    end(sink)
            else:
                acked, seconds, done, each = self.ours_to_kernel(load)
        finally:
            self.captures_close()
            said = end(wire)
        if self.args.verbose:
            print("# %s %s %s seed %d: %.3f s, %d of %d done, %.2f Mbit/s; wire %s" % (
                kind, cell.name, load.name, seed, seconds, done, load.conns, acked * 8 / seconds / 1e6, said.strip()), flush=True)
        return acked * 8 / seconds / 1e6, load.size * 8 / each / 1e6, done == load.conns

    def mail(self, cell):
        """Rows of the whole appliance."""
        seen = {"base": [], "in": [], "out": []}
        for r in range(self.args.runs):
            wire = " ".join(self.impairments(cell, self.args.seed + r))
            seen["base"].append(self.transfer("base", cell, LOADS[0], self.args.seed + r)[0])
            for which in ("in", "out"):
                try:
                    seen[which].append(goodput_mail.mail(which, wire, LOADS[0].size, self.args.cc))
                except (AssertionError, RuntimeError, OSError, EOFError) as e:
                    print("goodput: mail %s %s: %s" % (which, cell.name, e), file=sys.stderr, flush=True)
                    seen[which].append(0.0)
        base = statistics.median(seen["base"])
        return [("mail_%s_20mb_%s" % (which, cell.name), statistics.median(seen[which]), base, "")
                for which in ("in", "out")]

    def ours_to_kernel(self, load):
        sink = KernelSink(self.net.ns("left"), LEFT, load.size)
        try:
            source = self.peer("source", load)
            result = json.loads(source.stdout.readline())
            self.captures_close()  # while it lingers
            source.communicate(timeout=READY_SECONDS)
            if result["failed"]:
                raise RuntimeError("%d connections failed" % result["failed"])
            return result["bytes"], result["us"] / 1e6, result["done"], result["each_us"] / 1e6
        finally:
            sink.close()

    def cell(self, cell):
        """Rows of one condition: (name, ours, baseline, which were complete)."""
        rows = []
        for load in (load for load in LOADS if load.name in self.args.loads):
            kinds = ["base"] + self.args.kinds
            seen = {kind: [] for kind in kinds}  # of each run: all connections together, one on average
            whole = {kind: True for kind in kinds}
            # The last of many connections decides, and chance decides which: more runs, they are short.
            many = MANY_RUNS[cell.loss_percent] if self.args.full else 3
            for r in range(self.args.runs * (many if load.conns > 1 else 1)):
                for kind in kinds:
                    try:
                        mbit, each, complete = self.transfer(kind, cell, load, self.args.seed + r)
                    except (RuntimeError, ValueError, OSError, subprocess.SubprocessError) as e:
                        print("goodput: %s %s %s: %s" % (kind, cell.name, load.name, e), file=sys.stderr, flush=True)
                        mbit, each, complete = 0.0, 0.0, False
                    seen[kind].append((mbit, each))
                    whole[kind] &= complete
            capped = {kind: "" if whole[kind] and whole["base"] else ", capped" for kind in kinds}
            for i, name in enumerate((load.name, "each_of_" + load.name)[:1 if load.conns == 1 else 2]):
                base = [s[i] for s in seen["base"]]
                for kind in self.args.kinds:
                    ours = [s[i] for s in seen[kind]]
                    note = "%.1f..%.1f, Linux %.1f..%.1f" % (min(ours), max(ours), min(base), max(base))
                    if load.conns > 1:
                        note += ", +-%.1f %%" % (100 * uncertainty(ours, base))
                    rows.append(("%s_%s_%s" % (kind, name, cell.name), typical(load, ours), typical(load, base),
                                 note + capped[kind]))
        return rows


worker_net = None


def worker_open(args):
    global worker_net
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker_net = Net("gp%d-%d" % (os.getppid(), os.getpid()), args)
    worker_net.open()


def worker_cell(args, cell, is_mail):
    bench = Bench(worker_net, args)
    return bench.mail(cell) if is_mail else bench.cell(cell)


def clean_up(run_name):
    """Namespaces of one run, by name; what runs in them ends first, by id."""
    for name in os.listdir("/run/netns") if os.path.isdir("/run/netns") else []:
        if not name.startswith("pst-%s-" % run_name):
            continue
        pids = subprocess.run(["ip", "netns", "pids", name], stdout=subprocess.PIPE, text=True, check=False).stdout
        for p in pids.split():
            os.kill(int(p), signal.SIGKILL)
        subprocess.run(["ip", "netns", "delete", name], check=False)


def is_fast(cell):
    return cell.loss_percent == 0 or cell.loss_percent <= 3 and cell.rtt_ms == 1


def measure(args, cells, jobs, is_mail=False):
    rows = []
    with multiprocessing.Pool(jobs, worker_open, (args,)) as pool:
        for w in [pool.apply_async(worker_cell, (args, c, is_mail)) for c in cells]:
            for row in w.get():
                rows.append(row)
                name, ours, base, note = row
                print("%-34s %10.2f %-8s %10.2f %8.3f  %s" % (name, ours, "Mbit/s", base, ours / base if base else 0,
                                                              note), flush=True)
        # Leaving alone would terminate them: one that dies with the queue's lock leaves the others waiting for ever.
        pool.close()
        pool.join()
    return rows


def write(rows, path):
    with open(path, "w") as f:
        out = [{"name": name, "value": round(ours, 3), "unit": "Mbit/s", "baseline": "Linux to Linux, same wire, same seeds",
                "baseline_value": round(base, 3), "ratio": round(ours / base, 5) if base else 0}
               for name, ours, base, _ in rows]
        f.write("[\n" + ",\n".join("  " + json.dumps(r) for r in out) + "\n]\n")


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("out")
    p.add_argument("--full", action="store_true")
    p.add_argument("--only", nargs="+", default=[], help="names of conditions")
    p.add_argument("--loads", nargs="*", choices=[load.name for load in LOADS], default=[load.name for load in LOADS])
    p.add_argument("--kinds", nargs="+", choices=["rx", "tx", "aa"], default=["rx", "tx"],
                   help="aa: Linux to Linux once more, to see what chance does to a ratio")
    p.add_argument("--runs", type=int)
    p.add_argument("--cap", type=float, help="seconds of one transfer")
    p.add_argument("--rate", type=int, default=100, help="of the wire in Mbit/s; 0: no limit")
    p.add_argument("--jobs", type=int, default=6, help="slow conditions measured at once")
    p.add_argument("--window", type=int, default=4 << 20)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--cc", default="cubic", help="congestion control of the kernels")
    p.add_argument("--no-mail", action="store_true", help="without the rows of the whole appliance")
    p.add_argument("--counters", action="store_true")
    p.add_argument("--pcap", help="a directory for captures at both ends of each transfer")
    p.add_argument("--verbose", action="store_true")
    args = p.parse_args()
    args.runs = args.runs or (3 if args.full else 1)
    args.cap = args.cap or (60 if args.full else 8)
    return args


def main():
    args = arguments()
    wanted = [c for c in FULL if c.name in args.only or not args.only and (args.full or c.name in SHORT)]
    if not wanted:
        sys.exit("no such condition; there are: " + " ".join(c.name for c in FULL))
    rows = []
    print("%-34s %10s %-8s %10s %8s  %s" % ("name", "value", "unit", "baseline", "ratio",
                                            "least and most of the runs, standard error of the ratio"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.nice(-10)
    try:
        # Where loss keeps the line nearly idle several conditions fit on the machine at once.
        for cells, jobs in (([c for c in wanted if is_fast(c)], 1), ([c for c in wanted if not is_fast(c)], args.jobs)):
            if cells:
                rows += measure(args, cells, min(jobs, len(cells)))
        mails = [c for c in wanted if c.name in (MAIL_FULL if args.full or args.only else MAIL_SHORT)]
        if mails and not args.no_mail:
            rows += measure(args, mails, 1, True)
    finally:
        clean_up("gp%d" % os.getpid())
    write(rows, args.out)
    sys.exit(0 if all(base > 0 and ours > 0 for _, ours, base, _ in rows) else 1)


if __name__ == "__main__":
    main()
