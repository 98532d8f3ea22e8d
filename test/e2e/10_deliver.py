#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real mail through the whole appliance into a real Postfix: bytes in = bytes out."""
import os
import queue
import random
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from e2e import (MAIL, Rig, Run, check, dot_stuff, read_eml, same_bytes, simple, test_id, wait_until)

SEED = int(os.environ.get("E2E_SEED", "20260801"))
MESSAGES = 200


def body_8bit(rng, size):
    """Lines of any length up to 998 bytes of anything but CR, LF and NUL; some begin with dots."""
    allowed = bytes(b for b in range(1, 256) if b not in (10, 13))
    table = bytes(allowed[i % len(allowed)] for i in range(256))
    out = bytearray()
    while len(out) < size:
        kind = rng.randrange(12)
        if kind == 0:
            line = b""
        elif kind == 1:
            line = b"."
        elif kind == 2:
            line = b".." + rng.randbytes(rng.randrange(30)).translate(table)
        elif kind == 3:
            line = rng.randbytes(998).translate(table)
        else:
            line = rng.randbytes(rng.randrange(1, 400)).translate(table)
        out += line + b"\r\n"
    return bytes(out)


def make_messages(rng):
    sizes = [0, 1, 2, 20 << 20, 20 << 20, 10 << 20, 5 << 20, 5 << 20, 1 << 20, 1 << 20]
    # Around the hold limit (256 KiB), where a message stops waiting and is cut through.
    sizes += [(256 << 10) + d for d in range(-1400, 1400, 200)]
    while len(sizes) < MESSAGES:
        sizes.append(rng.choice([rng.randrange(200), rng.randrange(4096), rng.randrange(65536),
                                 rng.randrange(1 << 20)]))
    rng.shuffle(sizes)
    for number, size in enumerate(sizes):
        body = body_8bit(rng, size)
        head = simple("m%d" % number, lines=(), subject="message %d" % number)
        head = head[:-2] + b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n"
        head += b"Content-Type: " + rng.choice([b"text/plain; charset=iso-8859-1", b"application/octet-stream"]) + b"\r\n\r\n"
        yield "m%d" % number, head + body


def send_all(rig, messages, errors, acked, lock):
    """Several messages a connection, with different cuts of the stream into writes."""
    rng = random.Random(SEED)
    while True:
        try:
            batch = [messages.get_nowait()]
        except queue.Empty:
            return
        try:
            with rig.client(timeout=120) as c:
                c.ehlo()
                while batch:
                    ident, data = batch.pop()
                    code, text = c.envelope(options=" BODY=8BITMIME SIZE=%d" % len(data))
                    check(code == 250, "%s: envelope: %d %s" % (ident, code, text))
                    code, text = c.cmd("DATA")
                    check(code == 354, "%s: DATA: %d %s" % (ident, code, text))
                    wire = dot_stuff(data) + b".\r\n"
                    at = 0
                    while at < len(wire):
                        # Odd cuts at the beginning, where the header is; large ones later.
                        step = rng.choice([1, 7, 100, 1460, 8192] if at < 8192 else [8191, 65536, 1 << 20])
                        c.send(wire[at:at + step])
                        at += step
                    code, text = c.reply()
                    check(code == 250, "%s (%d bytes): %d %s" % (ident, len(data), code, text))
                    with lock:
                        acked.add(ident)
                    if rng.random() < 0.8:
                        try:
                            batch.append(messages.get_nowait())
                        except queue.Empty:
                            pass
                check(c.quit() == 221, "QUIT")
        except Exception as error:  # collected, so that every failure is shown
            with lock:
                errors.append(str(error))


def byte_for_byte(rig):
    rng = random.Random(SEED)
    sent = dict(make_messages(rng))
    work = queue.Queue()
    for item in sent.items():
        work.put(item)
    before = set(rig.mails())
    errors, acked, lock = [], set(), threading.Lock()
    threads = [threading.Thread(target=send_all, args=(rig, work, errors, acked, lock)) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(not errors, "seed %d: %d errors, first: %s" % (SEED, len(errors), errors[:3]))
    check(len(acked) == MESSAGES, "only %d of %d were acknowledged" % (len(acked), MESSAGES))
    wait_until(lambda: len(set(rig.mails()) - before) >= MESSAGES, 60, "%d messages in the maildir" % MESSAGES)
    got = {}
    for name in set(rig.mails()) - before:
        with open(rig.mails()[name], "rb") as f:
            raw = f.read()
        ident = test_id(raw)
        check(ident is not None and ident not in got, "unknown or second message %r" % ident)
        got[ident] = raw
    for ident, data in sent.items():
        check(ident in got, ident + " is missing")
        why = same_bytes(got[ident], data, b"X-Test-Id: " + ident.encode(), crlf=False)
        check(why is None, "seed %d: %s: %s" % (SEED, ident, why))
    return "%d messages, %.0f MB" % (MESSAGES, sum(map(len, sent.values())) / 1e6)


def deliver_eml(rig, name):
    data = read_eml(name)
    before = set(rig.mails())
    with rig.client() as c:
        code, text = c.ehlo().message(data, options=" BODY=8BITMIME")
        check(code == 250, "%d %s" % (code, text))
        c.quit()
    new = wait_until(lambda: set(rig.mails()) - before, 20, "the message in the maildir")
    check(len(new) == 1, "%d messages" % len(new))
    with open(rig.mails()[new.pop()], "rb") as f:
        why = same_bytes(f.read(), data, data.split(b"\r\n", 1)[0], crlf=False)
    check(why is None, why)


def byte_by_byte(rig):
    """One message in which every byte is a segment of its own."""
    data = simple("single", lines=("..", ".", "a" * 40))
    before = set(rig.mails())
    with rig.client() as c:
        code, text = c.ehlo().envelope()
        check(code == 250, "%d %s" % (code, text))
        check(c.cmd("DATA")[0] == 354, "DATA")
        for i in dot_stuff(data) + b".\r\n":
            c.send(bytes([i]))
        code, text = c.reply()
        check(code == 250, "%d %s" % (code, text))
        c.quit()
    new = wait_until(lambda: set(rig.mails()) - before, 20, "the message in the maildir")
    with open(rig.mails()[new.pop()], "rb") as f:
        why = same_bytes(f.read(), data, b"X-Test-Id: single", crlf=False)
    check(why is None, why)


def pipelined(rig):
    """Two whole transactions and QUIT, written as PIPELINING (RFC 2920) allows."""
    before = set(rig.mails())
    with rig.client() as c:
        c.ehlo()
        for ident in ("p1", "p2"):
            c.send(b"MAIL FROM:<a@client.example>\r\nRCPT TO:<x@example.com>\r\nRCPT TO:<y@example.com>\r\nDATA\r\n")
            codes = [c.reply()[0] for _ in range(4)]
            check(codes == [250, 250, 250, 354], "replies %r" % codes)
            c.send(dot_stuff(simple(ident)) + b".\r\n" + (b"QUIT\r\n" if ident == "p2" else b""))
            check(c.reply()[0] == 250, ident)
        check(c.reply()[0] == 221, "QUIT")
    # Two recipients of one message are two files of the maildir.
    wait_until(lambda: len(set(rig.mails()) - before) == 4, 20, "both messages for both recipients")


def main():
    run = Run()
    with Rig("deliver", "--backend", "postfix") as rig:
        for name in sorted(n for n in os.listdir(MAIL) if n.startswith("ham-")):
            run.test(name + " arrives byte for byte", deliver_eml, rig, name)
        run.test("a segment for every byte", byte_by_byte, rig)
        run.test("pipelined transactions", pipelined, rig)
        run.test("200 messages up to 20 MB arrive byte for byte", byte_for_byte, rig)
    run.finish()


main()
