#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A backend that dies, refuses, dawdles or is not there: the client hears it, and nothing is lost."""
import os
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from e2e import POLICY, Rig, Run, Server, check, same_bytes, simple, wait_until

# Short patience, so that the tests of it are short.
CONFIG_EXTRA = """
timeouts:
  backend_connect_s: 2
  backend_banner_s: 4
  backend_command_s: 4
  backend_data_s: 4
  backend_block_s: 4
  backend_final_s: 4
  backend_idle_s: 2
"""

BIG = 3 << 20  # beyond the hold limit: cut through while it arrives


def big(ident):
    return simple(ident, lines=("x" * 76 for _ in range(BIG // 78)))


def transaction(rig, data, **kw):
    """The reply that ended it, whatever command that was."""
    with rig.client(timeout=60) as c:
        return c.ehlo().message(data, **kw)


def expect(rig, data, low, high, server=None, **kw):
    code, text = transaction(rig, data, **kw)
    check(low <= code <= high, "the client got %d %s, not %d..%d" % (code, text, low, high))
    if server is not None:
        check(not server.taken, "the backend says that it took a message")
    return "%d %s" % (code, text.split("\n")[0][:60])


def delivers(rig, ident="fine"):
    with Server(rig) as s:
        data = simple(ident)
        code, text = transaction(rig, data)
        check(code == 250, "%d %s" % (code, text))
        check(len(s.taken) == 1, "%d messages at the backend" % len(s.taken))
        sender, rcpts, got = s.taken[0]
        check((sender, rcpts) == ("sender@client.example", ["user@example.com"]), "envelope %r" % ((sender, rcpts),))
        why = same_bytes(got, data, b"X-Test-Id", crlf=True)
        check(why is None, why)


def dies(rig, data, after, reset):
    with Server(rig) as s:
        s.die_after, s.reset = after, reset
        note = expect(rig, data, 451, 451, s)
        check(s.partial >= 1, "the backend did not die in the middle")
    delivers(rig)  # and the appliance is as good as before
    return note


def dies_before_final_reply(rig, data):
    """It has the whole message and goes without a word: nobody may say 250."""
    with Server(rig, {".": None}) as s:
        note = expect(rig, data, 451, 451, s)
    delivers(rig)
    return note


def answers(rig, verb, answer, low, high, data=None):
    with Server(rig, {verb: answer}) as s:
        return expect(rig, data or simple("a"), low, high, s)


def second_recipient_refused(rig):
    def rcpt(server, verb, line):
        return "550 5.1.1 unknown" if "nobody" in line else "250 2.1.5 Ok"
    with Server(rig, {"RCPT": rcpt}) as s:
        with rig.client() as c:
            c.ehlo()
            check(c.cmd("MAIL FROM:<a@client.example>")[0] == 250, "MAIL")
            check(c.cmd("RCPT TO:<user@example.com>")[0] == 250, "first RCPT")
            code, text = c.cmd("RCPT TO:<nobody@example.com>")
            check(500 <= code <= 559, "second RCPT: %d %s" % (code, text))
            check(c.cmd("DATA")[0] == 354, "DATA")
            check(c.body(simple("r"))[0] == 250, "end of data")
            c.quit()
        check([t[1] for t in s.taken] == [["user@example.com"]], "recipients %r" % [t[1] for t in s.taken])


def nobody_there(rig):
    note = expect(rig, simple("n"), 421, 459)
    delivers(rig)
    return note


def slow_but_alive(rig):
    with Server(rig) as s:
        for verb in ("CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "."):
            s.delay[verb] = 1.0
        code, text = transaction(rig, simple("slow"))
        check(code == 250, "%d %s" % (code, text))
        check(len(s.taken) == 1, "%d messages" % len(s.taken))


def too_slow(rig, verb, data=None):
    with Server(rig) as s:
        s.delay[verb] = 30
        begin = time.monotonic()
        note = expect(rig, data or simple("late"), 421, 459, s)
        took = time.monotonic() - begin
        check(took < 20, "the answer took %.0f s" % took)
    return note


def stops_reading(rig):
    """It stops in the middle of a large message: the client hears 451 after the time set, not never."""
    with Server(rig) as s:
        s.read_pause = 30
        note = expect(rig, big("stuck"), 421, 459, s)
    return note


def slow_reader(rig):
    """Backpressure: a backend that reads slowly slows the client down, and everything arrives."""
    with Server(rig) as s:
        s.read_pause = 0.0002
        data = big("pressure")
        code, text = transaction(rig, data)
        check(code == 250, "%d %s" % (code, text))
        why = same_bytes(s.taken[0][2], data, b"X-Test-Id", crlf=True)
        check(why is None, why)


def client_goes_away(rig, data, at):
    """The client leaves in mid-message: the backend must not see an end of data."""
    with Server(rig) as s:
        with rig.client() as c:
            c.ehlo()
            check(c.envelope()[0] == 250, "envelope")
            check(c.cmd("DATA")[0] == 354, "DATA")
            c.send(data[:at])
            time.sleep(0.2)
        wait_until(lambda: not s.conns, 10, "the backend's connection to end or idle out")
        check(not s.taken, "the backend took half a message")
    delivers(rig)


def kept_connection_dies(rig):
    """A kept connection that the backend closed meanwhile costs the next message nothing."""
    with Server(rig) as s:
        with rig.client() as c:
            c.ehlo()
            check(c.message(simple("k1"))[0] == 250, "first message")
            with s.lock:
                conns = list(s.conns)
            for conn in conns:
                conn.shutdown(2)
                s._gone(conn)
            time.sleep(0.1)
            code, text = c.message(simple("k2"))
            check(code == 250, "second message: %d %s" % (code, text))
        check(len(s.taken) == 2, "%d messages" % len(s.taken))


def flaky(rig):
    """A backend that dies at every third message, under load: acknowledged = taken, exactly."""
    count = {"n": 0}
    lock = threading.Lock()

    def final(server, verb, line):
        with lock:
            count["n"] += 1
            return None if count["n"] % 3 == 0 else "250 2.0.0 Ok"
    acked, other = set(), []

    def worker(number):
        for i in range(20):
            ident = "f%d-%d" % (number, i)
            try:
                code, text = transaction(rig, simple(ident))
            except (OSError, EOFError) as error:
                code, text = 0, str(error)
            with lock:
                if code == 250:
                    acked.add(ident)
                else:
                    other.append((code, text))
    with Server(rig, {".": final}) as s:
        threads = [threading.Thread(target=worker, args=(n,)) for n in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        taken = [t[2].split(b"X-Test-Id: ")[1].split(b"\r\n")[0].decode() for t in s.taken]
    check(len(taken) == len(set(taken)), "a message was taken twice")
    check(set(taken) == acked, "taken but not acknowledged: %r; acknowledged but not taken: %r" %
          (sorted(set(taken) - acked)[:3], sorted(acked - set(taken))[:3]))
    check(all(400 <= code < 500 for code, _ in other), "odd replies %r" % other[:3])
    check(acked and other, "the test tested nothing: %d acknowledged, %d refused" % (len(acked), len(other)))
    return "%d acknowledged, %d told to try again" % (len(acked), len(other))


def main():
    run = Run()
    with open(POLICY) as f:
        config = f.read() + CONFIG_EXTRA
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
        f.write(config)
        f.flush()
        with Rig("backend", "--backend", "none", "--config", f.name) as rig:
            t = run.test
            t("a backend of our own delivers", delivers, rig)
            t("no backend there: 4xx, and mail flows when it comes", nobody_there, rig)
            t("backend closes in the middle of a held message", dies, rig, simple("d", ("y" * 70,) * 1000), 20000, False)
            t("backend closes in the middle of a large message", dies, rig, big("d"), 1 << 20, False)
            t("backend resets in the middle of a large message", dies, rig, big("d"), 1 << 20, True)
            t("backend closes instead of its final reply", dies_before_final_reply, rig, simple("d"))
            t("the same with a large message", dies_before_final_reply, rig, big("d"))
            t("backend closes at once", answers, rig, "CONNECT", None, 421, 459)
            t("backend greets with 554", answers, rig, "CONNECT", "554 5.3.2 go away", 421, 599)
            t("4xx to MAIL", answers, rig, "MAIL", "452 4.3.1 full", 452, 452)
            t("5xx to MAIL", answers, rig, "MAIL", "553 5.1.8 no", 553, 553)
            t("4xx to RCPT", answers, rig, "RCPT", "450 4.2.1 later", 450, 450)
            t("5xx to RCPT", answers, rig, "RCPT", "550 5.1.1 unknown", 550, 550)
            t("4xx to DATA", answers, rig, "DATA", "451 4.3.0 later", 400, 499)
            t("5xx to DATA", answers, rig, "DATA", "554 5.5.1 no", 500, 599)
            t("4xx to the end of data", answers, rig, ".", "452 4.3.1 full", 452, 452)
            t("5xx to the end of data", answers, rig, ".", "552 5.3.4 too big", 552, 552)
            t("5xx to the end of a large message", answers, rig, ".", "554 5.6.0 no", 554, 554, big("e"))
            t("nonsense to the end of data", answers, rig, ".", "hello there", 421, 459)
            t("one recipient of two refused", second_recipient_refused, rig)
            t("a slow backend is waited for", slow_but_alive, rig)
            t("silence to EHLO", too_slow, rig, "EHLO")
            t("silence to RCPT", too_slow, rig, "RCPT")
            t("silence to the end of data", too_slow, rig, ".")
            t("a backend that stops reading", stops_reading, rig)
            t("a backend that reads slowly", slow_reader, rig)
            t("client leaves in a held message", client_goes_away, rig, simple("c", ("z" * 70,) * 100), 3000)
            t("client leaves in a large message", client_goes_away, rig, big("c"), 2 << 20)
            t("a kept connection that has died", kept_connection_dies, rig)
            t("a backend that dies at every third message", flaky, rig)
            t("and it still delivers", delivers, rig)
    run.finish()


main()
