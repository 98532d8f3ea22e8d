#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Verdicts, and changes of policy that act on sessions that are already open, within 100 ms."""
import json
import os
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from e2e import MAIL, POLICY, Rig, Run, check, in_ns, read_eml, same_bytes, simple, wait_until

LIMIT_MS = 100


def swaks(rig, eml, *more):
    """(exit status, transcript) of swaks sending a message file."""
    v = rig.v
    done = subprocess.run(in_ns(v["CLIENT_NS"]) + ["swaks", "--server", v["APPLIANCE_IP"],
                           "--port", v["SMTP_PORT"], "--ehlo", "client.example", "--from", "sender@client.example",
                           "--to", "user@example.com", "--data", "@" + os.path.join(MAIL, eml)] + list(more),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    return done.returncode, done.stdout.decode("latin-1")


def swaks_refused(rig, eml, words):
    before = set(rig.mails())
    status, out = swaks(rig, eml)
    check(status == 26, "swaks ended with %d, not 26 (refused at the end of data):\n%s" % (status, out[-600:]))
    check(words in out, "the reply does not say '%s':\n%s" % (words, out[-600:]))
    time.sleep(0.3)
    check(set(rig.mails()) == before, "a refused message was delivered")
    return [line for line in out.splitlines() if line.startswith("<** ")][0][4:]


def swaks_taken(rig, eml):
    before = set(rig.mails())
    status, out = swaks(rig, eml)
    check(status == 0, "swaks ended with %d:\n%s" % (status, out[-600:]))
    wait_until(lambda: len(set(rig.mails()) - before) == 1, 20, "the message in the maildir")


def rcpt_code(c, rcpt="user@example.com", sender="sender@client.example"):
    """The code that ends an envelope, and the session is ready for the next."""
    code, _ = c.envelope(sender=sender, rcpts=(rcpt,))
    c.cmd("RSET")
    return code


def within_limit(rig, command, probe, wanted):
    """Runs a CLI command while a session is open; how long until `probe` on it sees the change.

    The time runs from the instant at which the CLI was started to the reply that shows the change, so
    it holds all of the way: CLI, posternd, policy image, workers.
    """
    check(not wanted(probe()), "the change is in force before it was made")
    done = {}
    begin = time.monotonic()

    def cli():
        done["result"] = rig.ctl(*command)
        done["at"] = time.monotonic()
    t = threading.Thread(target=cli)
    t.start()
    end = begin + 5
    while True:
        seen = wanted(probe())
        now = time.monotonic()
        if seen:
            break
        check(now < end, "no effect within 5 s")
    t.join()
    status, out = done["result"]
    check(status == 0, "postern %s: %s" % (" ".join(command), out))
    after_cli = max(0.0, now - done["at"]) * 1000
    check(after_cli <= LIMIT_MS, "%.0f ms after the CLI had returned" % after_cli)
    return "%.0f ms from the start of the CLI, %.0f ms after its end" % ((now - begin) * 1000, after_cli)


def live_block(rig):
    with rig.client(source="192.0.2.2") as c, rig.client(source="192.0.2.3") as other:
        c.ehlo()
        other.ehlo()
        note = within_limit(rig, ("block", "add", "192.0.2.2"), lambda: rcpt_code(c), lambda code: 500 <= code <= 599)
        check(rcpt_code(other) == 250, "another address is refused, too")
        back = within_limit(rig, ("block", "del", "192.0.2.2"), lambda: rcpt_code(c), lambda code: code == 250)
        check(c.message(simple("blocked"))[0] == 250, "the session was dropped")
    return note + "; back: " + back


def live_agent(rig):
    phrase = read_eml("phrase-qp.eml")
    with rig.client() as c:
        c.ehlo()

        def probe():
            return c.message(phrase)[0]
        note = within_limit(rig, ("agent", "disable", "Content Filter"), probe, lambda code: code == 250)
        within_limit(rig, ("agent", "enable", "Content Filter"), probe, lambda code: code == 550)
    return note


def live_priority(rig):
    """A message that two agents refuse: who is asked first decides the reply."""
    phrase_and_exe = read_eml("exe-base64.eml").replace(
        b"It is attached.", b"It is attached, guaranteed lottery winner.")
    with rig.client() as c:
        c.ehlo()

        def probe():
            return c.message(phrase_and_exe)[1]
        check("content restrictions" in probe(), "Content Filter is not asked first")
        note = within_limit(rig, ("agent", "priority", "Attachment Filtering", "1"), probe,
                            lambda text: "unacceptable attachments" in text)
        order = [l for l in rig.ctl_ok("pipeline").splitlines() if l.startswith("OnEndOfData")][0]
        check(order.index("Attachment") < order.index("Content"), "the pipeline shows " + order)
        within_limit(rig, ("agent", "priority", "Attachment Filtering", "5"), probe,
                     lambda text: "content restrictions" in text)
    return note


def atomic_policy(rig):
    """A transaction runs on one policy from MAIL to its reply; the next one sees the change."""
    with rig.client(source="192.0.2.4") as c:
        c.ehlo()
        check(c.cmd("MAIL FROM:<a@client.example>")[0] == 250, "MAIL")
        check(c.cmd("RCPT TO:<user@example.com>")[0] == 250, "RCPT")
        rig.ctl_ok("block", "add", "192.0.2.4")
        time.sleep(0.3)
        check(c.cmd("RCPT TO:<second@example.com>")[0] == 250, "the transaction's policy changed under it")
        check(c.cmd("DATA")[0] == 354, "DATA")
        check(c.body(simple("atomic"))[0] == 250, "the message")
        check(rcpt_code(c) >= 500, "the next transaction does not see the block")
    rig.ctl_ok("block", "del", "192.0.2.4")


def change_during_transfer(rig):
    """A long transfer is not disturbed by changes of lists and priorities."""
    data = simple("long", lines=("t" * 98 for _ in range(20000)))
    before = set(rig.mails())
    with rig.client(timeout=60) as c:
        c.ehlo()
        check(c.envelope()[0] == 250, "envelope")
        check(c.cmd("DATA")[0] == 354, "DATA")
        step = len(data) // 20
        for i in range(0, len(data), step):
            c.send(data[i:i + step])
            if i == 5 * step:
                rig.ctl_ok("block", "add", "192.0.2.1")
            elif i == 9 * step:
                rig.ctl_ok("agent", "priority", "Attachment Filtering", "1")
            elif i == 13 * step:
                rig.ctl_ok("block", "del", "192.0.2.1")
                rig.ctl_ok("agent", "priority", "Attachment Filtering", "5")
            time.sleep(0.02)
        c.send(b".\r\n")
        code, text = c.reply()
        check(code == 250, "%d %s" % (code, text))
    new = wait_until(lambda: set(rig.mails()) - before, 20, "the message in the maildir")
    with open(rig.mails()[new.pop()], "rb") as f:
        why = same_bytes(f.read(), data, b"X-Test-Id: long", crlf=False)
    check(why is None, why)


def verdicts(run, rig):
    run.test("swaks: ham is taken", swaks_taken, rig, "ham-plain.eml")
    run.test("swaks: ham with attachment is taken", swaks_taken, rig, "ham-multipart.eml")
    run.test("swaks: phrase in quoted-printable", swaks_refused, rig, "phrase-qp.eml", "content restrictions")
    run.test("swaks: phrase in base64", swaks_refused, rig, "phrase-base64.eml", "content restrictions")
    run.test("swaks: .exe in base64", swaks_refused, rig, "exe-base64.eml", "unacceptable attachments")

    for name, kw in (("blocked sender", {"sender": "blocked@sender.example"}),
                     ("blocked recipient", {"rcpts": ("blocked@example.com",)})):
        def refused(kw=kw):
            with rig.client() as c:
                got, text = c.ehlo().envelope(**kw)
                check(550 <= got <= 559, "%d %s" % (got, text))
                return "%d %s" % (got, text)
        run.test(name, refused)


def log_explains(rig):
    """Every decision is in the message log, with the keys of the contract."""
    with rig.client() as c:
        check(c.ehlo().message(read_eml("phrase-qp.eml"), sender="logged@client.example")[0] >= 500, "not refused")
        c.quit()
    keys = "time session client direction helo tls auth from rcpt event agent action rule evidence reply bytes us".split()

    def lines():
        with open(rig.v["LOG_FILE"]) as f:
            rows = [json.loads(line) for line in f]
        return [r for r in rows if r["from"] == "logged@client.example" and r["action"] == "RejectMessage"]
    rows = wait_until(lines, 5, "the line in the log")
    missing = [k for k in keys if k not in rows[0]]
    check(not missing, "keys that are missing: %r" % missing)
    check(rows[0]["agent"] == "Content Filter" and rows[0]["event"] == "OnEndOfData", "%r" % rows[0])
    check(rows[0]["rule"] and rows[0]["evidence"], "no rule or evidence: %r" % rows[0])
    return "%s: %s" % (rows[0]["rule"], rows[0]["evidence"])


def cli_answers(rig):
    """The nouns of the contract, each with --json, and the exit codes."""
    for words in ("status", "agent list", "pipeline", "allow list", "block list", "policy show", "stats",
                  "session list", "log tail"):
        out = rig.ctl_ok("--json", *words.split())
        for line in out.splitlines() if words == "log tail" else [out]:
            json.loads(line)
        rig.ctl_ok(*words.split())
    status, out = rig.ctl("block", "add", "not-an-address")
    check(status == 1 and out.strip(), "refused: %d %r" % (status, out))
    status, _ = rig.ctl("no-such-noun")
    check(status == 2, "usage: %d" % status)
    status, out = rig.ctl("--help")
    check(status == 0 and "block" in out, "help: %d %r" % (status, out[:200]))


def session_listed(rig):
    with rig.client(source="192.0.2.5") as c:
        c.ehlo()
        check("192.0.2.5" in rig.ctl_ok("session", "list"), "an open session is not listed")
    wait_until(lambda: "192.0.2.5" not in rig.ctl_ok("session", "list"), 5, "the session to go")


# A session here is refused many times, and must not be closed for it.
CONFIG_EXTRA = """
limits:
  protocol_errors_max: 1000
  commands_max: 1000000
"""


def main():
    run = Run()
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f, open(POLICY) as policy:
        f.write(policy.read() + CONFIG_EXTRA)
        f.flush()
        tests(run, f.name)
    run.finish()


def tests(run, config):
    with Rig("live", "--backend", "postfix", "--config", config) as rig:
        verdicts(run, rig)
        run.test("the log explains a decision", log_explains, rig)
        run.test("the CLI's nouns, --json and exit codes", cli_answers, rig)
        run.test("session list", session_listed, rig)
        run.test("block add and del on an open session", live_block, rig)
        run.test("agent disable and enable on an open session", live_agent, rig)
        run.test("agent priority on an open session", live_priority, rig)
        run.test("a transaction runs on one policy", atomic_policy, rig)
        run.test("changes during a long transfer", change_during_transfer, rig)


main()
