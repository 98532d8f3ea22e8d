#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One message stays one message: smuggling probes over the real wire.

The backend here takes any of LF.LF, CR.CR and their mixtures for an end of data if it ever sees one: it
is as gullible as the worst that was ever found. Postern must never hand it one.
"""
import itertools
import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from e2e import Rig, Run, Server, check, simple

SMUGGLED = "MAIL FROM:<evil@smuggled.example>%sRCPT TO:<victim@example.com>%sDATA%sSubject: smuggled%s%sx%s.%s"
LINE_ENDS = {"CRLF": b"\r\n", "LF": b"\n", "CR": b"\r", "CRCRLF": b"\r\r\n", "LFCR": b"\n\r", "NUL LF": b"\0\n",
             "CR NUL LF": b"\r\0\n", "none": b""}
# What a gullible server takes for an end of data.
GULLIBLE = re.compile(rb"(\r\n|\n|\r)\.(\r\n|\n|\r)")


class GullibleServer(Server):
    """Keeps raw bytes of each message as they are on the wire, dots still stuffed."""

    def _data(self, f):
        out = bytearray()
        while True:
            line = f.readline()
            if not line.endswith(b"\n"):
                raise EOFError
            if line == b".\r\n":
                return bytes(out)
            out += line


def probe(rig, server, before, after):
    """A message whose end looks like `before` . `after`, with another transaction behind it."""
    end = after.decode("latin-1") or "\r\n"
    evil = (SMUGGLED % ((end,) * 7)).encode("latin-1")
    data = simple("probe")[:-2] + before + b"." + after + evil
    server.taken.clear()
    server.seen.clear()
    with rig.client(timeout=20) as c:
        c.ehlo()
        code, text = c.envelope()
        check(code == 250, "envelope: %d %s" % (code, text))
        check(c.cmd("DATA")[0] == 354, "DATA")
        replies = []
        try:
            c.send(data)
            c.send(b"\r\n.\r\n")
            c.sock.settimeout(2)
            while True:
                replies.append(c.reply())
        except (OSError, EOFError):
            pass
    time.sleep(0.05)
    check(all("smuggled" not in line for line in server.seen), "the backend was told: %r" % server.seen)
    check(len(server.taken) <= 1, "%d messages at the backend" % len(server.taken))
    accepted = [r for r in replies if r[0] == 250]
    check(len(accepted) == len(server.taken), "%d accepted, %d taken" % (len(accepted), len(server.taken)))
    for _, _, raw in server.taken:
        check(not GULLIBLE.search(b"\r\n" + raw), "the backend could see an end of data in %r" % raw[-200:])
        check(not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", raw), "a bare CR, LF or NUL passed: %r" % raw[-200:])
    return replies


def all_probes(rig):
    accepted = refused = 0
    with GullibleServer(rig) as server:
        for (_, before), (_, after) in itertools.product(LINE_ENDS.items(), LINE_ENDS.items()):
            if before == b"\r\n" and after == b"\r\n":
                continue  # that one is an end of data
            replies = probe(rig, server, before, after)
            if any(code == 250 for code, _ in replies):
                accepted += 1
            else:
                refused += 1
    return "%d probes: %d refused, %d one harmless message" % (accepted + refused, refused, accepted)


def classic(rig, name, end):
    """The published ones must be refused, not merely be harmless."""
    with GullibleServer(rig) as server:
        replies = probe(rig, server, *end)
        check(not server.taken, "a message with %s was taken" % name)
        check(any(500 <= code <= 559 for code, _ in replies), "replies %r" % replies)
        return "%d %s" % replies[0]


def pipelined_behind(rig):
    """A true end of data with a true transaction behind it is two messages, with two envelopes."""
    with GullibleServer(rig) as server:
        with rig.client() as c:
            c.ehlo()
            check(c.envelope()[0] == 250, "envelope")
            check(c.cmd("DATA")[0] == 354, "DATA")
            c.send(simple("one") + b".\r\nMAIL FROM:<two@client.example>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
            codes = [c.reply()[0] for _ in range(4)]
            check(codes == [250, 250, 250, 354], "%r" % codes)
            check(c.body(simple("two"))[0] == 250, "second")
        check([t[:2] for t in server.taken] == [("sender@client.example", ["user@example.com"]),
                                               ("two@client.example", ["b@example.com"])], "%r" % server.taken)


def bare_ends_in_commands(rig):
    """Commands with bare LF or CR are not taken for two."""
    with GullibleServer(rig) as server:
        for end in (b"\n", b"\r", b"\0\r\n"):
            with rig.client(timeout=10) as c:
                c.ehlo()
                try:
                    c.send(b"MAIL FROM:<a@client.example>" + end + b"RCPT TO:<user@example.com>" + end + b"DATA\r\n")
                    c.sock.settimeout(1)
                    code, text = c.reply()
                    check(code >= 500, "%r in a command: %d %s" % (end, code, text))
                except (OSError, EOFError):
                    pass
        check(not [s for s in server.seen if s.upper().startswith(("MAIL", "RCPT", "DATA"))], "%r" % server.seen)


def postfix_sees_one(rig):
    """The same against the real Postfix of the rig, which is set to take bare line feeds."""
    before = set(rig.mails())
    taken = 0
    for end in ((b"\n", b"\n"), (b"\r", b"\r\n"), (b"\n", b"\r\n"), (b"\r\n", b"\n"), (b"\r\n", b"\r")):
        with rig.client(timeout=20) as c:
            c.ehlo()
            check(c.envelope()[0] == 250, "envelope")
            check(c.cmd("DATA")[0] == 354, "DATA")
            try:
                c.send(simple("postfix")[:-2] + end[0] + b"." + end[1] +
                       (SMUGGLED % (("\r\n",) * 7)).encode() + b"\r\n.\r\n")
                c.sock.settimeout(2)
                taken += c.reply()[0] == 250
            except (OSError, EOFError):
                pass
    time.sleep(1)
    new = set(rig.mails()) - before
    check(len(new) == taken, "%d accepted, %d delivered" % (taken, len(new)))
    for name in new:
        with open(rig.mails()[name], "rb") as f:
            check(b"victim" not in f.read().split(b"\n\n")[0], "a smuggled message was delivered")


def main():
    run = Run()
    with Rig("smuggle", "--backend", "none") as rig:
        for name, end in (("LF.LF", (b"\n", b"\n")), ("CR.CRLF", (b"\r", b"\r\n")), ("LF.CRLF", (b"\n", b"\r\n")),
                          ("CRLF.LF", (b"\r\n", b"\n")), ("CRLF.CR", (b"\r\n", b"\r"))):
            run.test("end of data as %s is refused" % name, classic, rig, name, end)
        run.test("every pair of odd line ends around a dot", all_probes, rig)
        run.test("bare line ends in commands", bare_ends_in_commands, rig)
        run.test("a true second transaction in the same segment", pipelined_behind, rig)
    with Rig("smuggle", "--backend", "postfix") as rig:
        run.test("Postfix never sees two messages", postfix_sees_one, rig)
    run.finish()


main()
