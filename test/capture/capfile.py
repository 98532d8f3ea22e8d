# SPDX-License-Identifier: Apache-2.0
"""Capture files (pcap, pcapng) and the frames in them: what capcheck.py reads, and what its self-test writes.

read_capture gives (seconds, bytes) of each frame, by time; parse gives the TCP segment in a frame (Ethernet, up to two VLAN
tags, IPv4, IPv6 with extension headers), or None. A frame that lies about its lengths is reported in `bad`.
"""
import collections
import struct

PCAP_MAGICS = {0xa1b2c3d4: 1e-6, 0xa1b23c4d: 1e-9}
SECTION, INTERFACE, PACKET, SIMPLE = 0x0a0d0d0a, 1, 6, 3
LINK_ETHERNET = 1
EXTENSION_HEADERS = (0, 43, 60)  # hop by hop, routing, destination options
EXTENSIONS_MAX = 8

Segment = collections.namedtuple(
    "Segment", "time src dst sport dport seq ack flags wnd options data bad has_ip_sum has_tcp_sum reserved")


class BadCapture(Exception):
    pass


def read_capture(path):
    with open(path, "rb") as f:
        data = f.read()
    # Frames of several processors are not always written in their order.
    return sorted(read_frames(data), key=lambda frame: frame[0])


def read_frames(data):
    if len(data) < 24:
        raise BadCapture("too short for a capture file")
    if struct.unpack("<I", data[:4])[0] == SECTION:
        return read_pcapng(data)
    for order in "<>":
        unit = PCAP_MAGICS.get(struct.unpack(order + "I", data[:4])[0])
        if unit:
            return read_pcap(data, order, unit)
    raise BadCapture("neither pcap nor pcapng")


def read_pcap(data, order, unit):
    if struct.unpack(order + "I", data[20:24])[0] & 0xffff != LINK_ETHERNET:
        raise BadCapture("not a capture of Ethernet")
    frames, at = [], 24
    while at + 16 <= len(data):
        s, part, n, whole = struct.unpack(order + "IIII", data[at:at + 16])
        at += 16
        if at + n > len(data):
            break  # the writer was ended within a frame
        if n < whole:
            raise BadCapture("frames were cut (tcpdump -s 0 keeps all of them)")
        frames.append((s + part * unit, data[at:at + n]))
        at += n
    return frames


def time_unit(options, order):
    """if_tsresol of an interface block: seconds of one tick."""
    at = 0
    while at + 4 <= len(options):
        code, n = struct.unpack(order + "HH", options[at:at + 4])
        if code == 0:
            break
        if code == 9 and n >= 1:
            v = options[at + 4]
            return 2.0 ** -(v & 0x7f) if v & 0x80 else 10.0 ** -v
        at += 4 + (n + 3) // 4 * 4
    return 1e-6


def read_pcapng(data):
    frames, units, order, at = [], [], "<", 0
    while at + 12 <= len(data):
        if struct.unpack("<I", data[at:at + 4])[0] == SECTION:
            order = "<" if data[at + 8:at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            units = []
        kind, n = struct.unpack(order + "II", data[at:at + 8])
        if n < 12 or n % 4 or at + n > len(data):
            break
        body = data[at + 8:at + n - 4]
        at += n
        if kind == INTERFACE:
            if struct.unpack(order + "H", body[:2])[0] != LINK_ETHERNET:
                raise BadCapture("not a capture of Ethernet")
            units.append(time_unit(body[8:], order))
        elif kind == PACKET:
            interface, high, low, size, whole = struct.unpack(order + "IIIII", body[:20])
            if size < whole:
                raise BadCapture("frames were cut (tcpdump -s 0 keeps all of them)")
            frames.append(((high << 32 | low) * units[interface], body[20:20 + size]))
        elif kind == SIMPLE:
            raise BadCapture("simple packet blocks carry no time")
    return frames


def write_pcap(path, frames):
    with open(path, "wb") as f:
        f.write(struct.pack("<IHHIIII", 0xa1b23c4d, 2, 4, 0, 0, 262144, LINK_ETHERNET))
        for t, data in frames:
            ns = round(t * 1e9)
            f.write(struct.pack("<IIII", ns // 10**9, ns % 10**9, len(data), len(data)) + data)


def write_pcapng(path, frames, order="<"):
    def block(kind, body):
        body += b"\0" * (-len(body) % 4)
        return struct.pack(order + "II", kind, len(body) + 12) + body + struct.pack(order + "I", len(body) + 12)
    with open(path, "wb") as f:
        f.write(block(SECTION, struct.pack(order + "IHHq", 0x1a2b3c4d, 1, 0, -1)))
        resolution = struct.pack(order + "HHBxxxHH", 9, 1, 9, 0, 0)
        f.write(block(INTERFACE, struct.pack(order + "HHI", LINK_ETHERNET, 0, 0) + resolution))
        for t, data in frames:
            ns = round(t * 1e9)
            head = struct.pack(order + "IIIII", 0, ns >> 32, ns & 0xffffffff, len(data), len(data))
            f.write(block(PACKET, head + data))


def checksum(data):
    """The Internet checksum over `data`; 0 when a right one is among it."""
    if len(data) & 1:
        data += b"\0"
    # The sum of 16-bit words modulo 0xffff is that of the whole as one number, for 2^16 is 1 there.
    total = int.from_bytes(data, "big") % 0xffff
    return 0xffff - total if total else (0xffff if not any(data) else 0)


def pseudo(src, dst, n):
    if len(src) == 4:
        return src + dst + struct.pack(">BBH", 0, 6, n)
    return src + dst + struct.pack(">II", n, 6)


def parse(time, frame):
    at, kind = 14, frame[12:14]
    for _ in range(2):
        if kind in (b"\x81\x00", b"\x88\xa8"):
            kind = frame[at + 2:at + 4]
            at += 4
    if kind == b"\x08\x00":
        return parse_v4(time, frame, at)
    if kind == b"\x86\xdd":
        return parse_v6(time, frame, at)
    return None


def parse_v4(time, frame, at):
    if len(frame) < at + 20 or frame[at] >> 4 != 4:
        return None
    head = (frame[at] & 15) * 4
    total, fragment = struct.unpack(">H2xH", frame[at + 2:at + 8])
    if frame[at + 9] != 6 or fragment & 0x3fff:
        return None
    bad = None
    if head < 20 or total < head + 20 or at + total > len(frame):
        return None
    has_sum = checksum(frame[at:at + head]) == 0
    return parse_tcp(time, frame[at + 12:at + 16], frame[at + 16:at + 20], frame[at + head:at + total], bad, has_sum)


def parse_v6(time, frame, at):
    if len(frame) < at + 40:
        return None
    size, following = struct.unpack(">HB", frame[at + 4:at + 7])
    src, dst = frame[at + 8:at + 24], frame[at + 24:at + 40]
    at += 40
    end = at + size
    if end > len(frame):
        return None
    for _ in range(EXTENSIONS_MAX):
        if following not in EXTENSION_HEADERS or at + 8 > end:
            break
        following, n = frame[at], frame[at + 1]
        at += 8 + 8 * n
    if following != 6 or at + 20 > end:
        return None
    return parse_tcp(time, src, dst, frame[at:end], None, True)


def parse_tcp(time, src, dst, seg, bad, has_ip_sum):
    sport, dport, seq, ack, off, flags, wnd = struct.unpack(">HHIIBBH", seg[:16])
    head = (off >> 4) * 4
    has_tcp_sum = checksum(pseudo(src, dst, len(seg)) + seg) == 0
    options = []
    if head < 20 or head > len(seg):
        bad, head = "data offset %d" % head, 20
    else:
        options, why = parse_options(seg[20:head])
        bad = bad or why
    return Segment(time, src, dst, sport, dport, seq, ack, flags & 0x3f, wnd, options, seg[head:], bad, has_ip_sum,
                   has_tcp_sum, off & 15)


def parse_options(raw):
    """([(kind, bytes)], what is wrong or None)"""
    found, at = [], 0
    while at < len(raw):
        kind = raw[at]
        if kind == 0:
            break
        if kind == 1:
            at += 1
            continue
        n = raw[at + 1] if at + 1 < len(raw) else 0
        if n < 2 or at + n > len(raw):
            return found, "option %d with length %d" % (kind, n)
        found.append((kind, raw[at + 2:at + n]))
        at += n
    return found, None
