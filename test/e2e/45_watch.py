#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Looking at one session: `session show`, a capture of both halves, and the trace of one that went wrong."""
import os
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from e2e import Rig, Run, Server, check, simple, wait_until


def only_session(rig):
    rows = rig.ctl_json("session", "list")
    check(len(rows) == 1, "%d sessions" % len(rows))
    return rows[0]["session"]


def frames(path):
    """The Ethernet frames of a pcapng file."""
    with open(path, "rb") as f:
        data = f.read()
    found, at = [], 0
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        check(size >= 12 and struct.unpack_from("<I", data, at + size - 4)[0] == size, "block at %d" % at)
        if kind == 6:
            length = struct.unpack_from("<I", data, at + 20)[0]
            found.append(data[at + 28:at + 28 + length])
        at += size
    return found


def show_and_capture(rig):
    with Server(rig) as s:
        with rig.client() as c:
            c.ehlo()
            ident = only_session(rig)
            path = rig.ctl_json("session", "capture", ident, "--for", "2s")["file"]
            data = simple("watched", lines=("captured " * 8 for _ in range(400)))
            code, text = c.message(data)
            check(code == 250, "%d %s" % (code, text))
            shown = rig.ctl_json("session", "show", ident)
            check(len(s.taken) == 1, "not delivered")
        what = [r["what"] for r in shown["trace"]]
        for word in ("in", "out", "command", "reply", "backend"):
            check(word in what, "no \"%s\" in the trace" % word)
        check(shown["connections"][0]["state"] == "ESTABLISHED", "state %r" % (shown["connections"],))
    time.sleep(3.5)
    got = frames(path)
    size = os.path.getsize(path)
    time.sleep(0.5)
    check(os.path.getsize(path) == size, "the capture did not end")
    os.unlink(path)
    sides = {(f[26:30], f[30:34]) for f in got}
    check(len(sides) == 4, "both directions of both halves: %r" % sides)
    body = b"".join(f for f in got)
    check(b"captured captured" in body and b"RCPT TO" in body, "the message is not in the capture")
    check(max(len(f) for f in got) > 1400, "frames are cut")
    return "%d frames" % len(got)


def anomaly(rig):
    with Server(rig) as s:
        s.die_after = 10
        with rig.client(timeout=60) as c:
            code, text = c.ehlo().message(simple("lost"))
            check(400 <= code < 500, "%d %s" % (code, text))
    wait_until(lambda: len(rig.ctl_json("trace", "list")) == 1, 5, "the anomaly")
    ident = rig.ctl_json("trace", "list")[0]["session"]
    shown = rig.ctl_json("trace", "show", ident)
    check(any(r["what"] == "command" and r["value"] == "DATA" for r in shown["trace"]), "no DATA: %r" % shown["trace"])
    check(any(c["half"] == "backend" for c in shown["connections"]), "no backend half")
    session = shown["session"]
    for key, want in (("helo", "client.example"), ("from", "sender@client.example"), ("rcpt", "user@example.com")):
        check(session[key] == want, "%s of another: %r" % (key, session))


def main():
    run = Run()
    with Rig("watch", "--backend", "none") as rig:
        run.test("session show, and a capture of both halves", show_and_capture, rig)
        run.test("a backend that dies leaves its trace", anomaly, rig)
    run.finish()


main()
