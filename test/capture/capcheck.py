#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks what a TCP sends against the RFCs, from a capture that was taken at its own interface.

    test/capture/capcheck.py [--ours ADDRESS ..] [--slack-ms N] [--burst N] FILE ..
    test/capture/capcheck.py --self-test

One line a violation, "FILE:FRAME: RULE: what", the first --most of each rule; exit status 1 when there is any. Only
what the addresses of --ours send is judged (default: everybody, which is right for a capture of both ends alone
when nothing was lost or delayed between them and the capture). RULES below is the list of what is checked.

What a receiver must do at once may take --slack-ms here, for test machines are busy; segments that arrive within that
time count as one burst, in which one ACK may answer up to --burst full segments.
"""
import argparse
import collections
import os
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
from capfile import BadCapture, parse, read_capture  # noqa: E402

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
MSS, WSCALE, SACK_OK, SACK, TIMESTAMP = 2, 3, 4, 5, 8
OPTION_SIZES = {MSS: 2, WSCALE: 1, SACK_OK: 0, TIMESTAMP: 8}
DELACK_MS = 40
NEWEST_KEPT = BURST_KEPT = 64
KEEP_BYTES = 64 << 20  # of a stream, for the comparison of retransmissions

RULES = {
    "ip-checksum": "the IPv4 header's checksum is right",
    "tcp-checksum": "the TCP checksum is right",
    "header": "offset, options and reserved bits make sense",
    "flags": "no SYN with FIN or RST, nothing without ACK but SYN and RST",
    "syn-options": "MSS, window scale and SACK permitted on SYN only; in SYN-ACK only what was offered; shift <= 14",
    "syn-seq": "a repeated SYN keeps its sequence number",
    "mss": "no segment larger than the peer's MSS, options included",
    "beyond-edge": "no data beyond the edge that the peer advertised, one byte of probe excepted",
    "edge-retracted": "the advertised edge never goes back by more than the scale's rounding",
    "seq-gap": "no data beyond what follows the data sent before",
    "after-fin": "no data behind a FIN, and the FIN stays where it was",
    "rexmit-differs": "retransmitted bytes are the bytes sent before",
    "ack-unsent": "nothing is acknowledged that was not sent",
    "ack-backwards": "the acknowledgement never goes back",
    "ack-late": "data in order is acknowledged within the delayed-ACK time",
    "ack-second": "every second full segment is acknowledged at once",
    "ack-stretch": "an ACK covers no more full segments than a burst holds",
    "ack-ooo": "a segment out of order, or a second time, is answered at once",
    "sack-permitted": "SACK only when both ends permitted it",
    "sack-shape": "blocks are not empty, do not overlap, lie within what was sent, above the ACK (first of D-SACK not)",
    "sack-received": "a block covers bytes that have arrived",
    "sack-newest": "the first block holds the segment that caused the ACK",
    "sack-missing": "what arrives out of order within the edge is reported (who is short of memory may throw it away)",
    "dsack": "a D-SACK names bytes that arrived twice",
    "ts-missing": "timestamps, once agreed, are on every segment but RST",
    "ts-unasked": "no timestamps unless both ends sent them on SYN",
    "ts-backwards": "TSval never goes back",
    "ts-echo": "TSecr is the TSval of a segment that arrived, and never goes back",
    "rst": "a RST has a sequence number that its cause explains",
}


def signed(n):
    n &= 0xffffffff
    return n - (1 << 32) if n & 0x80000000 else n


class Ranges:
    """Disjoint [start, end) in order; few at a time."""

    def __init__(self):
        self.list = []

    def add(self, start, end):
        out = []
        for s, e in self.list:
            if e < start or s > end:
                out.append((s, e))
            else:
                start, end = min(s, start), max(e, end)
        out.append((start, end))
        self.list = sorted(out)

    def holds(self, start, end):
        return any(s <= start and end <= e for s, e in self.list)


class Side:
    """One end of a flow: what it sent (as a sender), and what it was sent (as a receiver)."""

    def __init__(self):
        self.isn = None          # sequence numbers below are distances from it
        self.sent_end = 0        # of everything that takes sequence space
        self.fin = None
        self.edge = 0            # that it advertised, furthest
        self.edge_exact = False  # known without guessing the scale: the SYN was seen
        self.ack = None          # highest that it sent
        self.offers = {}         # options of its SYN
        self.shift = 0           # of the windows that it advertises
        self.stream = bytearray()
        self.tsval = None
        self.tsecr = None
        self.is_reset = False
        # as a receiver
        self.got = Ranges()
        self.next = 1            # first byte that has not arrived in order
        self.twice = Ranges()
        self.tsvals = set()
        self.newest = collections.deque(maxlen=NEWEST_KEPT)  # arrivals out of order: (start, end, time)
        self.unacked = collections.deque()  # arrivals in order: [end, full, time, frame]
        self.owed = None         # an answer is due: (time, frame)
        self.full = 0            # payload of a full segment
        self.heard = collections.deque(maxlen=BURST_KEPT)    # ACK fields that arrived lately, raw


class Flow:
    def __init__(self, key):
        self.key = key
        self.side = {key[0]: Side(), key[1]: Side()}
        self.has_syn = False

    def both(self, option):
        return all(option in s.offers for s in self.side.values())


class Checker:
    def __init__(self, ours=(), slack_ms=50, burst=64, most=10):
        self.ours = set(ours)
        self.slack = slack_ms / 1000
        self.burst = burst
        self.most = most
        self.flows = {}
        self.found = []          # (frame, rule, text)
        self.counts = collections.Counter()
        self.seen = collections.Counter()  # what the judged did that is not seen in every capture
        self.segments = 0

    def fail(self, frame, rule, text):
        assert rule in RULES
        self.counts[rule] += 1
        if self.counts[rule] <= self.most:
            self.found.append((frame, rule, text))

    def is_ours(self, address):
        return not self.ours or address in self.ours

    # --- one frame ---

    def frame(self, number, time, data):
        s = parse(time, data)
        if s is None:
            return
        me, peer = (s.src, s.sport), (s.dst, s.dport)
        judged = self.is_ours(s.src)
        self.segments += judged
        if judged:
            self.check_header(number, s)
        if not (s.has_ip_sum and s.has_tcp_sum) or s.bad:
            return  # it is dropped by whoever gets it
        key = (min(me, peer), max(me, peer))
        flow = self.flows.get(key)
        if flow is None or s.flags & SYN and self.is_new(flow, me, s):
            if flow is not None:
                self.overdue(flow, time)
            flow = self.flows[key] = Flow(key)
        self.segment(number, flow, flow.side[me], flow.side[peer], s, judged)

    @staticmethod
    def is_new(flow, me, s):
        """A SYN that begins another connection of the same four numbers."""
        side = flow.side[me]
        if s.flags & ACK or side.isn is None or side.isn == s.seq:
            return False
        return any(x.is_reset or x.fin is not None for x in flow.side.values())

    def check_header(self, n, s):
        if not s.has_ip_sum:
            self.fail(n, "ip-checksum", "wrong")
        if not s.has_tcp_sum:
            self.fail(n, "tcp-checksum", "wrong")
        if s.bad:
            self.fail(n, "header", s.bad)
        if s.reserved:
            self.fail(n, "header", "reserved bits %x" % s.reserved)
        if s.flags & SYN and s.flags & (FIN | RST) or not s.flags & (ACK | SYN | RST):
            self.fail(n, "flags", "%02x" % s.flags)

    def segment(self, n, flow, me, peer, s, judged):
        options = dict(s.options)
        self.overdue(flow, s.time)
        if s.flags & RST:
            if judged:
                self.check_rst(n, flow, me, peer, s)
            me.is_reset = True
            for x in (me, peer):
                x.unacked.clear()
                x.owed = None
            return
        if s.flags & SYN:
            self.syn(n, flow, me, peer, s, options, judged)
        if me.isn is None:  # begun before the capture
            me.isn = (s.seq - 1) & 0xffffffff
            me.sent_end = 1
        start = me.sent_end + signed(s.seq - me.isn - me.sent_end)
        first = start + (1 if s.flags & SYN else 0)
        end = first + len(s.data) + (1 if s.flags & FIN else 0)
        if judged:
            self.check_options(n, flow, s, options)
            self.check_send(n, me, peer, s, first, end, option_bytes(s))
            self.check_timestamps(n, flow, me, s, options)
        ack = None
        if s.flags & ACK and peer.isn is not None:
            ack = peer.sent_end + signed(s.ack - peer.isn - peer.sent_end)
            if judged:
                self.check_ack(n, flow, me, peer, s, ack, options)
            self.acknowledge(me, ack)
        self.keep(me, s, first)
        me.sent_end = max(me.sent_end, end)
        if s.flags & FIN:
            me.fin = end - 1 if me.fin is None else me.fin
        self.arrive(n, peer, s, first, end, options)
        if s.flags & ACK:
            peer.heard.append(s.ack)
        if ack is not None:
            self.advertise(me, s, ack)

    # --- the sender's part ---

    def syn(self, n, flow, me, peer, s, options, judged):
        flow.has_syn = True
        if me.isn is not None and me.isn != s.seq:
            if judged:
                self.fail(n, "syn-seq", "%u after %u" % (s.seq, me.isn))
            return
        me.isn = s.seq
        me.offers = options
        me.edge_exact = True
        if judged and s.flags & ACK:
            for option in (WSCALE, SACK_OK, TIMESTAMP):
                if option in options and option not in peer.offers:
                    self.fail(n, "syn-options", "option %d was not offered" % option)
        if judged and options.get(WSCALE, b"\0")[:1] > b"\x0e":
            self.fail(n, "syn-options", "window shift %d" % options[WSCALE][0])
        if flow.both(WSCALE):
            for x in (me, peer):
                x.shift = min(x.offers[WSCALE][0], 14) if x.offers[WSCALE] else 0

    def check_options(self, n, flow, s, options):
        for kind, value in s.options:
            if kind in OPTION_SIZES and OPTION_SIZES[kind] != len(value):
                self.fail(n, "header", "option %d of %d bytes" % (kind, len(value)))
            if kind in (MSS, WSCALE, SACK_OK) and not s.flags & SYN:
                self.fail(n, "syn-options", "option %d without SYN" % kind)
        if SACK in options and s.flags & SYN:
            self.fail(n, "syn-options", "SACK blocks on a SYN")

    def check_send(self, n, me, peer, s, first, end, options_size):
        size = len(s.data)
        if size and MSS in peer.offers and len(peer.offers[MSS]) == 2:
            most = int.from_bytes(peer.offers[MSS], "big")
            if size + options_size > most:
                self.fail(n, "mss", "%d bytes and %d of options, MSS %d" % (size, options_size, most))
        if first > me.sent_end and (size or s.flags & FIN) and not s.flags & SYN:
            self.fail(n, "seq-gap", "%d, but only %d were sent" % (first, me.sent_end))
        if me.fin is not None and (size and first + size > me.fin or s.flags & FIN and end - 1 != me.fin):
            self.fail(n, "after-fin", "to %d, FIN at %d" % (end, me.fin))
        if size and peer.edge_exact and first + size > peer.edge:
            is_probe = size == 1 and first <= peer.edge
            if not is_probe:
                self.fail(n, "beyond-edge", "to %d, edge %d" % (first + size, peer.edge))
        self.seen["rexmit"] += bool(size and first < me.sent_end)
        old = me.stream[first - 1:first - 1 + size]
        if size and first >= 1 and old != s.data[:len(old)]:
            self.fail(n, "rexmit-differs", "bytes from %d" % first)

    @staticmethod
    def keep(me, s, first):
        at = first - 1
        if at == len(me.stream) and at + len(s.data) <= KEEP_BYTES:
            me.stream += s.data
        elif 0 <= at < len(me.stream) < at + len(s.data) <= KEEP_BYTES:
            me.stream += s.data[len(me.stream) - at:]

    def check_timestamps(self, n, flow, me, s, options):
        value = options.get(TIMESTAMP)
        if value is None or len(value) != 8:
            if value is None and flow.both(TIMESTAMP):
                self.fail(n, "ts-missing", "flags %02x" % s.flags)
            return
        if not s.flags & SYN and flow.has_syn and not flow.both(TIMESTAMP):
            self.fail(n, "ts-unasked", "flags %02x" % s.flags)
        val, ecr = int.from_bytes(value[:4], "big"), int.from_bytes(value[4:], "big")
        if me.tsval is not None and signed(val - me.tsval) < 0:
            self.fail(n, "ts-backwards", "%u after %u" % (val, me.tsval))
        me.tsval = val
        if s.flags & ACK:
            if flow.has_syn and ecr not in me.tsvals:
                self.fail(n, "ts-echo", "%u was never received" % ecr)
            elif me.tsecr is not None and signed(ecr - me.tsecr) < 0:
                self.fail(n, "ts-echo", "%u after %u" % (ecr, me.tsecr))
            else:
                me.tsecr = ecr

    def check_rst(self, n, flow, me, peer, s):
        """In answer to a segment for nobody, or in the window of its own connection (RFC 9293 3.5.2, 3.10)."""
        if me.isn is None or not flow.has_syn:
            if s.flags & ACK and s.seq == 0 and peer.isn is not None:
                if (peer.isn + peer.sent_end - s.ack) & 0xffffffff not in (0, 1):
                    self.fail(n, "rst", "acknowledges %u, which was not sent" % s.ack)
            elif not s.flags & ACK and s.seq not in me.heard:
                self.fail(n, "rst", "sequence number %u is not that of an ACK that it answers" % s.seq)
            return
        at = me.sent_end + signed(s.seq - me.isn - me.sent_end)
        low = peer.ack if peer.ack is not None else 0
        if s.seq in me.heard:  # the answer to a segment that was unacceptable
            return
        if not low <= at <= me.sent_end:
            self.fail(n, "rst", "sequence number %d, acknowledged %d, sent %d" % (at, low, me.sent_end))

    # --- the receiver's part ---

    def advertise(self, me, s, ack):
        wnd = s.wnd if s.flags & SYN else s.wnd << me.shift
        if me.edge < ack + wnd:
            me.edge = ack + wnd

    def check_ack(self, n, flow, me, peer, s, ack, options):
        if ack > peer.sent_end:
            self.fail(n, "ack-unsent", "%d, but only %d were sent" % (ack, peer.sent_end))
        if me.ack is not None and ack < me.ack:
            self.fail(n, "ack-backwards", "%d after %d" % (ack, me.ack))
        shift = 0 if s.flags & SYN else me.shift
        edge = ack + (s.wnd << shift)
        is_over = peer.fin is not None and ack > peer.fin  # nothing can come any more, the window says nothing
        if me.edge_exact and not is_over and me.edge - edge >= 1 << shift:
            self.fail(n, "edge-retracted", "%d after %d" % (edge, me.edge))
        full = sum(1 for u in me.unacked if u[1] and u[0] <= ack)
        if full > self.burst:
            self.fail(n, "ack-stretch", "%d full segments" % full)
        if SACK in options:
            self.check_sack(n, flow, me, peer, s, ack, options[SACK])

    def check_sack(self, n, flow, me, peer, s, ack, raw):
        if flow.has_syn and not flow.both(SACK_OK):
            self.fail(n, "sack-permitted", "SACK blocks without SACK permitted")
        if not raw or len(raw) % 8 or len(raw) > 32:
            self.fail(n, "header", "SACK option of %d bytes" % len(raw))
            return
        blocks = []
        for i in range(0, len(raw), 4):
            v = int.from_bytes(raw[i:i + 4], "big")
            blocks.append(peer.sent_end + signed(v - peer.isn - peer.sent_end))
        blocks = list(zip(blocks[::2], blocks[1::2]))
        first = blocks[0]
        # RFC 2883: the first block is below the ACK, or within the second.
        is_dsack = first[0] < ack or len(blocks) > 1 and blocks[1][0] <= first[0] and first[1] <= blocks[1][1]
        self.seen["dsack" if is_dsack else "sack"] += 1
        if is_dsack:
            if first[0] >= first[1] or not me.twice.holds(*first):
                self.fail(n, "dsack", "%d..%d did not arrive twice" % first)
            blocks = blocks[1:]
        for i, (start, end) in enumerate(blocks):
            if start >= end or end > peer.sent_end or start <= ack:
                self.fail(n, "sack-shape", "%d..%d; ACK %d, sent %d" % (start, end, ack, peer.sent_end))
            elif any(start < e and b < end for b, e in blocks[:i]):
                self.fail(n, "sack-shape", "%d..%d overlaps another block" % (start, end))
            elif not me.got.holds(start, end):
                self.fail(n, "sack-received", "%d..%d did not arrive" % (start, end))
        # The segments of the last burst may be answered one by one.
        late = [x for x in me.newest if s.time - x[2] <= self.slack] or list(me.newest)[-1:]
        late = [x for x in late if x[0] >= ack]
        if not blocks or is_dsack or not late:
            return
        if not any(start <= x[0] and x[1] <= end for x in late for start, end in blocks):
            self.fail(n, "sack-missing", "%d..%d, ACK %d" % (late[-1][:2] + (ack,)))
        elif not any(blocks[0][0] <= x[0] and x[1] <= blocks[0][1] for x in late):
            self.fail(n, "sack-newest", "%d..%d is first, %d..%d came last" % (blocks[0] + late[-1][:2]))

    @staticmethod
    def acknowledge(me, ack):
        me.ack = ack if me.ack is None else max(me.ack, ack)
        while me.unacked and me.unacked[0][0] <= ack:
            me.unacked.popleft()
        me.owed = None

    @staticmethod
    def arrive(n, me, s, first, end, options):
        """A segment reaches `me`."""
        if TIMESTAMP in options and len(options[TIMESTAMP]) == 8:
            me.tsvals.add(int.from_bytes(options[TIMESTAMP][:4], "big"))
        if end <= first or s.flags & SYN:
            return
        fits = not me.edge_exact or end <= me.edge
        size = len(s.data)
        me.full = max(me.full, size)
        if end <= me.next or me.got.holds(first, end):
            me.twice.add(first, end)
            me.owed = me.owed or (s.time, n)
            if first > me.next:  # again, but it is what causes the next ACK
                me.newest.append((first, end, s.time))
        elif first > me.next:
            me.owed = me.owed or (s.time, n)
            if fits:
                me.newest.append((first, end, s.time))
        elif fits:
            is_gap = any(b > me.next for b, _ in me.got.list)
            me.unacked.append([end, size == me.full and size >= 500, s.time, n])
            if is_gap:  # it fills one (RFC 5681 4.2)
                me.owed = me.owed or (s.time, n)
        else:
            me.owed = me.owed or (s.time, n)
        if first < me.next < end:
            me.twice.add(first, me.next)
        for b, e in me.got.list:
            if max(b, first) < min(e, end):
                me.twice.add(max(b, first), min(e, end))
        if fits:
            me.got.add(first, end)
            for b, e in me.got.list:
                if b <= me.next < e:
                    me.next = e
            me.got.list = [(b, e) for b, e in me.got.list if e > me.next - (1 << 20)]

    def overdue(self, flow, now):
        """What an end should have answered before `now`."""
        for address, me in flow.side.items():
            if not flow.has_syn or not self.is_ours(address[0]) or me.is_reset:
                continue  # what is left of an earlier connection may be nobody's by now
            if me.owed is not None and now - me.owed[0] > self.slack:
                self.fail(me.owed[1], "ack-ooo", "no answer within %d ms" % ((now - me.owed[0]) * 1000))
                me.owed = None
            if me.unacked and now - me.unacked[0][2] > DELACK_MS / 1000 + self.slack:
                age = (now - me.unacked[0][2]) * 1000
                self.fail(me.unacked[0][3], "ack-late", "not acknowledged within %d ms" % age)
                me.unacked.clear()
            full = [u for u in me.unacked if u[1]][1:2]
            if full and now - full[0][2] > self.slack:
                self.fail(full[0][3], "ack-second", "not acknowledged within %d ms" % ((now - full[0][2]) * 1000))
                me.unacked.clear()

    def finish(self, now):
        for flow in self.flows.values():
            self.overdue(flow, now)


def option_bytes(s):
    """The option bytes of a segment as they count against the MSS (RFC 6691), padding included."""
    n = sum(2 + len(value) for _, value in s.options)
    return (n + 3) // 4 * 4


def address_of(text):
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def check_file(path, args):
    checker = Checker([address_of(a) for a in args.ours], args.slack_ms, args.burst, args.most)
    last = 0
    for number, (time, data) in enumerate(read_capture(path), 1):
        checker.frame(number, time, data)
        last = time
    checker.finish(last)
    for frame, rule, text in checker.found:
        print("%s:%d: %s: %s" % (path, frame, rule, text))
    total = sum(checker.counts.values())
    print("# %s: %d segments judged in %d flows, %s; %d violations%s" % (
        path, checker.segments, len(checker.flows), dict(checker.seen), total,
        "" if not total else " (" + ", ".join("%s %d" % c for c in sorted(checker.counts.items())) + ")"))
    if checker.segments == 0:
        print("%s: nothing to judge" % path)
        return False
    return total == 0


def main():
    p = argparse.ArgumentParser(description="Checks TCP segments in capture files.")
    p.add_argument("--ours", nargs="+", default=[], metavar="ADDRESS")
    p.add_argument("--slack-ms", type=int, default=50)
    p.add_argument("--burst", type=int, default=64)
    p.add_argument("--most", type=int, default=10)
    p.add_argument("--self-test", action="store_true")
    p.add_argument("files", nargs="*")
    args = p.parse_args()
    if args.self_test:
        import doctor
        sys.exit(doctor.self_test())
    if not args.files:
        p.error("no capture file")
    try:
        sys.exit(0 if all([check_file(f, args) for f in args.files]) else 1)
    except (BadCapture, OSError) as e:
        sys.exit("capcheck: %s" % e)


if __name__ == "__main__":
    main()
