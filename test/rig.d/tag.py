#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A switch's access port in user space: tag.py INSIDE WIRE VLAN

Frames that come out of INSIDE get an 802.1Q tag on their way to WIRE; those that come from WIRE with that
tag lose it on their way to INSIDE, all others are dropped. Not every kernel has VLAN devices. Started by
test/rig.sh in a namespace of its own; it ends with that.
"""
import select
import socket
import struct
import sys

SOL_PACKET, PACKET_AUXDATA, PACKET_OUTGOING, TP_STATUS_VLAN_VALID = 263, 8, 4, 1 << 4


def tap(name):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.bind((name, 0))
    s.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    return s


def receive(s):
    """(VLAN or None, the frame without its tag), or None for what we have sent ourselves."""
    frame, more, _, sender = s.recvmsg(65536, 256)
    if sender[2] == PACKET_OUTGOING:
        return None
    for level, kind, data in more:  # the kernel has taken the tag off and says so
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, tci = struct.unpack_from("=I12xH", data)
            if status & TP_STATUS_VLAN_VALID:
                return tci & 0xfff, frame
    if frame[12:14] == b"\x81\0":
        return struct.unpack_from("!H", frame, 14)[0] & 0xfff, frame[:12] + frame[16:]
    return None, frame


def main():
    inside, wire, vlan = tap(sys.argv[1]), tap(sys.argv[2]), int(sys.argv[3])
    tag = struct.pack("!HH", 0x8100, vlan)
    while True:
        for s in select.select([inside, wire], [], [])[0]:
            got = receive(s)
            try:
                if got is not None and s is inside and got[0] is None:
                    wire.send(got[1][:12] + tag + got[1][12:])
                elif got is not None and s is wire and got[0] == vlan:
                    inside.send(got[1])
            except OSError:
                pass  # a full queue loses frames, as on any wire


main()
