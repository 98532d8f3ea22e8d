# SPDX-License-Identifier: Apache-2.0
"""capcheck's self-test: a clean capture passes, and each rule finds the one thing that is doctored for it.

The clean capture is a conversation in which our end (OURS) does everything that has a rule: it sends, sends again,
acknowledges in pairs and late, reports SACK and D-SACK blocks, closes, resets. It is made over IPv4, over IPv6 and
inside a VLAN, and written as pcap and as pcapng. A doctor changes segments before or bytes after they are made.
"""
import os
import struct
import tempfile

import capcheck
from capcheck import ACK, FIN, MSS, PSH, RST, SACK, SACK_OK, SYN, TIMESTAMP, WSCALE
from capfile import checksum, pseudo, read_capture, write_pcap, write_pcapng

PEER_MAC, OUR_MAC = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2"
PEER4, OURS4 = bytes([192, 0, 2, 1]), bytes([192, 0, 2, 10])
PEER6, OURS6 = capcheck.address_of("2001:db8::1"), capcheck.address_of("2001:db8::10")
ISN = {"peer": 0xfffff000, "ours": 0x7ffffff0}  # both wrap, as a number and as a signed one
FULL = 1448
SHIFT = 6


class Seg:
    """One segment; seq, ack and SACK blocks are distances from the ISNs."""

    def __init__(self, t, by, flags, seq, ack, data=b"", wnd=1024, **options):
        self.t, self.by, self.flags, self.seq, self.ack, self.data, self.wnd = t, by, flags, seq, ack, data, wnd
        self.options = options
        self.port = 40000
        self.reserved = 0
        self.raw_options = b""

    @property
    def other(self):
        return "ours" if self.by == "peer" else "peer"

    def option_bytes(self):
        o, out = self.options, b""
        if "mss" in o:
            out += struct.pack(">BBH", MSS, 4, o["mss"])
        if "sack_ok" in o:
            out += bytes([SACK_OK, 2])
        if "ts" in o:
            out += struct.pack(">BBII", TIMESTAMP, 10, *o["ts"])
        if "wscale" in o:
            out += bytes([WSCALE, 3, o["wscale"]])
        if "sack" in o:
            base = ISN[self.other]
            edges = [(base + e) & 0xffffffff for block in o["sack"] for e in block]
            out += struct.pack(">BB%dI" % len(edges), SACK, 2 + 4 * len(edges), *edges)
        out += self.raw_options
        return out + b"\1" * (-len(out) % 4)

    def tcp(self, src, dst):
        options = self.option_bytes()
        ports = (self.port, 25) if self.by == "peer" else (25, self.port)
        seq = (ISN[self.by] + self.seq) & 0xffffffff
        ack = (ISN[self.other] + self.ack) & 0xffffffff if self.ack is not None else 0
        off = (5 + len(options) // 4) << 4 | self.reserved
        head = struct.pack(">HHIIBBHHH", *ports, seq, ack, off, self.flags, self.wnd, 0, 0) + options
        whole = head + self.data
        total = checksum(pseudo(src, dst, len(whole)) + whole)
        return whole[:16] + struct.pack(">H", total) + whole[18:]

    def frame(self, family, vlan):
        peer, ours = (PEER4, OURS4) if family == 4 else (PEER6, OURS6)
        src, dst = (peer, ours) if self.by == "peer" else (ours, peer)
        macs = OUR_MAC + PEER_MAC if self.by == "peer" else PEER_MAC + OUR_MAC
        tcp = self.tcp(src, dst)
        if family == 4:
            head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0x4000, 64, 6, 0) + src + dst
            ip = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
        else:
            # With an empty header of destination options, for somebody has to read past one.
            extension = bytes([6, 0, 1, 4, 0, 0, 0, 0])
            ip = struct.pack(">IHBB", 6 << 28, len(tcp) + 8, 60, 64) + src + dst + extension
        kind = b"\x08\x00" if family == 4 else b"\x86\xdd"
        tag = b"\x81\x00\x00\x07" if vlan else b""
        return macs + tag + kind + ip + tcp


def pattern(first, n):
    return bytes((i * 7 + (i >> 8)) & 0xff for i in range(first, first + n))


def conversation():
    """The clean one. Names of segments that doctors need are their indices here."""
    segs, names = [], {}
    clock = {"t": 1000.0, "peer": 100, "ours": 900}
    seen = {"peer": 0, "ours": 0}

    def add(name, by, flags, seq, ack, n=0, after_ms=100, **o):
        other = "ours" if by == "peer" else "peer"
        clock["t"] += after_ms / 1000
        clock[by] += 5
        o.setdefault("ts", (clock[by], seen[by]))
        seg = Seg(clock["t"], by, flags, seq, ack, pattern(seq, n), **o)
        seen[other] = clock[by]
        names[name] = len(segs)
        segs.append(seg)

    add("syn", "peer", SYN, 0, None, wnd=64240, mss=1460, sack_ok=1, wscale=4)
    add("synack", "ours", SYN | ACK, 0, 1, wnd=65535, mss=1460, sack_ok=1, wscale=SHIFT, after_ms=1)
    add("open", "peer", ACK, 1, 1, wnd=181)
    add("banner", "ours", PSH | ACK, 1, 1, 100, after_ms=1)
    add("banner acked", "peer", ACK, 1, 101, wnd=181)
    at = [1 + i * FULL for i in range(10)]
    add("a", "peer", ACK, at[0], 101, FULL, wnd=181)
    add("b", "peer", ACK, at[1], 101, FULL, after_ms=1, wnd=181)
    add("ab acked", "ours", ACK, 101, at[2], after_ms=1)
    add("d", "peer", ACK, at[3], 101, FULL, wnd=181)
    add("d sacked", "ours", ACK, 101, at[2], sack=[(at[3], at[4])], after_ms=1)
    add("f", "peer", ACK, at[5], 101, FULL, wnd=181)
    add("f sacked", "ours", ACK, 101, at[2], sack=[(at[5], at[6]), (at[3], at[4])], after_ms=1)
    add("c", "peer", ACK, at[2], 101, FULL, wnd=181)
    add("c acked", "ours", ACK, 101, at[4], sack=[(at[5], at[6])], after_ms=1)
    add("e", "peer", ACK, at[4], 101, FULL, wnd=181)
    add("e acked", "ours", ACK, 101, at[6], after_ms=1)
    add("e again", "peer", ACK, at[4], 101, FULL, wnd=181)
    add("e dsacked", "ours", ACK, 101, at[6], sack=[(at[4], at[5])], after_ms=1)
    add("small", "peer", PSH | ACK, at[6], 101, 10, wnd=181)
    more = at[6] + 10
    add("small acked", "ours", ACK, 101, more, after_ms=40)
    add("x", "ours", ACK, 101, more, FULL)
    add("y", "ours", ACK, 101 + FULL, more, FULL, after_ms=1)
    add("y sacked", "peer", ACK, more, 101, sack=[(101 + FULL, 101 + 2 * FULL)], wnd=181)
    add("x again", "ours", ACK, 101, more, FULL, after_ms=1)
    mine = 101 + 2 * FULL
    add("xy acked", "peer", ACK, more, mine, wnd=0)
    add("probe", "ours", ACK, mine, more, 1, after_ms=300)
    add("probe refused", "peer", ACK, more, mine, wnd=0)
    add("opened", "peer", ACK, more, mine, wnd=80)
    add("z", "ours", PSH | ACK, mine, more, 1280)
    add("z acked", "peer", ACK, more, mine + 1280, wnd=181)
    mine += 1280
    add("fin", "ours", FIN | ACK, mine, more)
    add("fin acked", "peer", FIN | ACK, more, mine + 1, wnd=181)
    add("peer fin acked", "ours", ACK, mine + 1, more + 1, after_ms=1)
    # A connection of its own: refused, and one that is broken off.
    for name, port in (("refused", 40001), ("broken", 40002)):
        first = len(segs)
        add(name + " syn", "peer", SYN, 0, None, wnd=64240, mss=1460)
        if name == "refused":
            add(name + " rst", "ours", RST | ACK, 0, 1, wnd=0, after_ms=1)
            segs[-1].seq = -ISN["ours"]
        else:
            add(name + " synack", "ours", SYN | ACK, 0, 1, wnd=60000, mss=1460, after_ms=1)
            add(name + " open", "peer", ACK, 1, 1, wnd=60000)
            add(name + " data", "ours", ACK, 1, 1, 50, wnd=60000, after_ms=1)
            add(name + " rst", "ours", RST | ACK, 51, 1, wnd=0)
        for s in segs[first:]:
            s.port = port
            del s.options["ts"]
    return segs, names


# --- doctors: each is given the segments by name, or the finished frames ----------------------------


def on(name, **changes):
    """Sets attributes of one segment; a tuple value (what, by) adds."""
    def change(segs, names):
        s = segs[names[name]]
        for key, value in changes.items():
            if key in ("sack", "ts", "mss", "wscale", "sack_ok"):
                s.options[key] = value
            else:
                setattr(s, key, value)
    return change


def moved(name, **by):
    def change(segs, names):
        for key, n in by.items():
            setattr(segs[names[name]], key, getattr(segs[names[name]], key) + n)
    return change


def without(*which):
    def change(segs, names):
        for i in sorted((names[w] for w in which), reverse=True):
            del segs[i]
    return change


def without_option(name, *options):
    def change(segs, names):
        for o in options:
            del segs[names[name]].options[o]
    return change


def ts_by(name, val=0, ecr=0):
    def change(segs, names):
        s = segs[names[name]]
        s.options["ts"] = (s.options["ts"][0] + val, s.options["ts"][1] + ecr)
    return change


def extra_after(name, seg_of):
    """A copy of a segment, changed, 1 ms behind it."""
    def change(segs, names):
        s = segs[names[name]]
        segs.insert(names[name] + 1, seg_of(s))
    return change


def peer_copy(s, **changes):
    c = Seg(s.t + 0.001, s.by, s.flags, s.seq, s.ack, s.data, s.wnd, **s.options)
    c.port = s.port
    for key, value in changes.items():
        setattr(c, key, value)
    return c


def burst(count):
    """So many full segments in one go, and one ACK for all of them."""
    def change(segs, names):
        i = names["small acked"]
        s = segs[i]
        s.wnd = 4096
        t0, first = s.t, s.ack
        added = []
        for k in range(count):
            c = Seg(t0 + 0.0001 * (k + 1), "peer", ACK, first + k * FULL, 101, pattern(0, FULL), 181,
                    ts=segs[names["small"]].options["ts"])
            added.append(c)
        last = Seg(t0 + 0.02, "ours", ACK, 101, first + count * FULL, b"", 4096, ts=s.options["ts"])
        del segs[i + 1:]
        segs += added + [last]
    return change


def flip(name, from_end):
    """A bit of the finished frame; from_end counts bytes from its end, None: a byte of the IP header."""
    def change(frames, names):
        t, f = frames[names[name]]
        f = bytearray(f)
        at = 14 + 8 if from_end is None else len(f) - from_end
        f[at] ^= 1
        frames[names[name]] = (t, bytes(f))
    change.on_frames = True
    return change


AT = [1 + i * FULL for i in range(10)]
DOCTORS = [  # rule, what is done
    ("ip-checksum", flip("banner", None)),
    ("tcp-checksum", flip("banner", 1)),
    ("header", on("banner", raw_options=b"\x08\x0b\0\0")),
    ("header", on("banner", reserved=4)),
    ("flags", on("banner", flags=PSH)),
    ("flags", on("synack", flags=SYN | ACK | FIN)),
    ("syn-options", on("banner", mss=1460)),
    ("syn-options", on("ab acked", wscale=SHIFT)),
    ("syn-options", on("synack", wscale=15)),
    ("syn-options", on("broken synack", sack_ok=1)),
    ("syn-seq", extra_after("synack", lambda s: peer_copy(s, seq=s.seq + 1))),
    ("mss", on("syn", mss=1400)),
    ("beyond-edge", on("opened", wnd=79)),
    ("beyond-edge", on("open", wnd=0)),
    ("edge-retracted", on("d sacked", wnd=1000)),
    ("seq-gap", moved("y", seq=1)),
    ("after-fin", extra_after("fin acked", lambda s: Seg(s.t + 0.001, "ours", ACK, segs_fin(), s.seq + 1, b"late", 1024,
                                                           ts=(s.options["ts"][1], s.options["ts"][0])))),
    ("rexmit-differs", on("x again", data=pattern(102, FULL))),
    ("ack-unsent", moved("small acked", ack=1)),
    ("ack-backwards", moved("small acked", ack=-20)),
    ("ack-late", without("small acked")),
    ("ack-second", moved("ab acked", t=0.055)),
    ("ack-stretch", burst(65)),
    ("ack-ooo", without("d sacked")),
    ("ack-ooo", without("c acked")),
    ("ack-ooo", without("e dsacked")),
    ("sack-permitted", without_option("syn", "sack_ok")),
    ("sack-shape", on("d sacked", sack=[(AT[3], AT[4] + 1)])),
    ("sack-shape", on("d sacked", sack=[(AT[4], AT[3])])),
    ("sack-shape", on("d sacked", sack=[(AT[2], AT[4])])),
    ("sack-shape", on("f sacked", sack=[(AT[5], AT[6]), (AT[5] + 9, AT[6])])),
    ("sack-received", on("f sacked", sack=[(AT[5] - 1, AT[6]), (AT[3], AT[4])])),
    ("sack-newest", on("f sacked", sack=[(AT[3], AT[4]), (AT[5], AT[6])])),
    ("sack-missing", on("f sacked", sack=[(AT[3], AT[4])])),
    ("dsack", on("e acked", sack=[(AT[4], AT[5])])),
    ("dsack", on("e dsacked", sack=[(AT[4], AT[5] + 1)])),
    ("ts-missing", without_option("banner", "ts")),
    ("ts-unasked", without_option("syn", "ts")),
    ("ts-backwards", ts_by("ab acked", val=-100)),
    ("ts-echo", ts_by("ab acked", ecr=1)),
    ("ts-echo", ts_by("ab acked", ecr=-20)),
    ("rst", moved("broken rst", seq=1)),
    ("rst", moved("broken rst", seq=-51)),
    ("rst", moved("refused rst", ack=9)),
]


def segs_fin():
    return 101 + 2 * FULL + 1280 + 1


def make(family=4, vlan=False, doctor=None):
    segs, names = conversation()
    if doctor and not getattr(doctor, "on_frames", False):
        doctor(segs, names)
    frames = [(s.t, s.frame(family, vlan)) for s in segs]
    if doctor and getattr(doctor, "on_frames", False):
        doctor(frames, names)
    return frames


def rules_found(frames):
    ours = [OURS4, OURS6]
    checker = capcheck.Checker(ours)
    for number, (t, data) in enumerate(frames, 1):
        checker.frame(number, t, data)
    checker.finish(frames[-1][0] + 1)
    return checker


def through_files(directory, failures):
    """A capture must read as it was written, whatever the format."""
    frames = make()
    path = os.path.join(directory, "x")
    for name, write in (("pcap", write_pcap), ("pcapng", write_pcapng),
                        ("big-endian pcapng", lambda p, f: write_pcapng(p, f, ">"))):
        write(path, frames)
        back = read_capture(path)
        if [d for _, d in back] != [d for _, d in frames] or \
           any(abs(a[0] - b[0]) > 1e-6 for a, b in zip(back, frames)):
            failures.append("%s: not what was written" % name)
    return 3


def self_test():
    failures, tests = [], 0
    with tempfile.TemporaryDirectory() as directory:
        tests += through_files(directory, failures)
    for family, vlan in ((4, False), (4, True), (6, False), (6, True)):
        tests += 1
        checker = rules_found(make(family, vlan))
        if checker.counts or checker.segments != sum(1 for s in conversation()[0] if s.by == "ours"):
            failures.append("the clean capture (IPv%d%s): %d segments, %r" % (
                family, ", VLAN" if vlan else "", checker.segments, checker.found))
    tests += 1
    if rules_found(make(doctor=burst(64))).counts:
        failures.append("a burst of 64 full segments that is acknowledged at once")
    for i, (rule, doctor) in enumerate(DOCTORS):
        tests += 1
        found = rules_found(make(6 if i % 2 and rule != "ip-checksum" else 4, False, doctor))
        if rule not in found.counts:
            failures.append("doctored for %s (number %d), found only %r" % (rule, i, dict(found.counts)))
    for rule in sorted(set(capcheck.RULES) - {r for r, _ in DOCTORS}):
        failures.append("no capture is doctored for the rule " + rule)
        tests += 1
    for f in failures:
        print("not ok - " + f)
    if not failures:
        print("ok - capcheck finds what is doctored")
    print("%d passed, %d failed" % (tests - len(failures), len(failures)))
    return 1 if failures else 0
