#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What our TCP puts on the wire, held against the RFCs: captures of transfers to and from the Linux kernel.

First our stack alone on the wire of bench/goodput.py, then the whole appliance in a rig. Clean, lossy and reordering wires, with tcpdump at both ends. Our segments are judged in
the capture at our end (test/capture/capcheck.py); the kernel's, at its end, are counted for comparison, because a
checker that the kernel cannot please is wrong. E2E_KEEP_PCAP=DIR keeps the captures.
"""
import argparse
import contextlib
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "bench"), os.path.join(ROOT, "test", "capture")]
sys.dont_write_bytecode = True
import capcheck  # noqa: E402
import capfile  # noqa: E402
import goodput  # noqa: E402
from e2e import Rig, Run, Server, check  # noqa: E402

LOADS = [goodput.Load("2mb", 1, 2 << 20), goodput.Load("20x50kb", 20, 50 << 10)]
CELLS = [goodput.Cell("clean", 0, 20, 0), goodput.Cell("loss3", 3, 20, 0), goodput.Cell("reorder", 0, 20, 5000)]
INSIDE = "198.51.100.10"  # of the appliance, towards the server (test/rig.sh)
NAME = "cap%d" % os.getpid()
SLACK_MS = 100  # a shared machine


def judge(path, address):
    checker = capcheck.Checker([capcheck.address_of(address)], SLACK_MS)
    last = 0
    for number, (time, data) in enumerate(capfile.read_capture(path), 1):
        checker.frame(number, time, data)
        last = time
    checker.finish(last)
    return checker


def transfers(bench, directory, kind, cell, load):
    mbit, _, complete = bench.transfer(kind, cell, load, 1)
    check(complete, "the transfer did not end within the cap (%.2f Mbit/s)" % mbit)
    check(bench.dropped == 0, "tcpdump lost %d frames" % bench.dropped)
    name = os.path.join(directory, "%s_%s_%s_1_" % (kind, load.name, cell.name))
    ours, linux = judge(name + "ours.pcap", goodput.OURS), judge(name + "left.pcap", goodput.LEFT)
    print("# %s %s %s: %.2f Mbit/s, %d segments of ours, %r; the kernel's %d show %r" % (
        kind, load.name, cell.name, mbit, ours.segments, dict(ours.seen), linux.segments, dict(linux.counts)))
    check(ours.segments > 0, "nothing of ours was captured")
    if cell.loss_percent:  # or it shows nothing
        wanted = "sack" if kind == "rx" else "rexmit"
        check(ours.seen[wanted] > 0, "no " + wanted + " in the capture")
    for frame, rule, text in ours.found[:20]:
        print("# frame %d: %s: %s" % (frame, rule, text))
    check(not ours.counts, "violations: %r" % dict(ours.counts))


def mails(directory, name, wire):
    """Messages through the appliance, judged on both of its sides."""
    lines = b"Subject: capture\r\n\r\n" + (b"x" * 98 + b"\r\n") * 5000
    with Rig("capture", "--backend", "none", "--wire", wire, "--backend-wire", wire) as rig, Server(rig) as server:
        rig.wait_banner()
        sides = []
        for side, address in (("outside", rig.v["APPLIANCE_IP"]), ("inside", INSIDE)):
            path = os.path.join(directory, "mail_%s_%s.pcap" % (name, side))
            # At the other end of the cable: what DPDK sends passes by tcpdump on its own interface.
            sides.append((side, address, path, goodput.Capture("pst-%s-wire" % rig.name, side + "-near", path)))
        for _ in range(3):
            with rig.client(timeout=60) as client:
                code, text = client.ehlo().message(lines)
                check(code == 250, "%d %s" % (code, text))
                client.quit()
        dropped = sum(capture.close() for _, _, _, capture in sides)
        check(len(server.taken) == 3, "%d messages arrived" % len(server.taken))
        check(dropped == 0, "tcpdump lost %d frames" % dropped)
    for side, address, path, _ in sides:
        found = judge(path, address)
        print("# %s %s: %d segments of ours, %r" % (name, side, found.segments, dict(found.seen)))
        for frame, rule, text in found.found[:20]:
            print("# %s frame %d: %s: %s" % (side, frame, rule, text))
        check(found.segments > 0, "nothing of ours was captured")
        check(not found.counts, "%s: violations: %r" % (side, dict(found.counts)))


def main():
    run = Run()
    with contextlib.ExitStack() as stack:
        directory = os.environ.get("E2E_KEEP_PCAP") or stack.enter_context(tempfile.TemporaryDirectory())
        args = argparse.Namespace(build=os.path.join(ROOT, "build", os.environ.get("VARIANT", "release")), cap=60,
                                  rate=100, window=1 << 20, cc="cubic", counters=False, verbose=False, pcap=directory)
        net = goodput.Net(NAME, args)
        stack.callback(goodput.clean_up, NAME)
        net.open()
        bench = goodput.Bench(net, args)
        for cell in CELLS:
            for load in LOADS:
                for kind, what in (("rx", "Linux to us"), ("tx", "us to Linux")):
                    run.test("%s, %s, %s" % (what, load.name, cell.name),
                             lambda k=kind, c=cell, l=load: transfers(bench, directory, k, c, l))
        for cell in CELLS:
            wire = " ".join(bench.impairments(cell, 1))
            run.test("mails through the appliance, " + cell.name, lambda c=cell, w=wire: mails(directory, c.name, w))
    run.finish()


main()
