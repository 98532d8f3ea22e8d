#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Many sessions at once, from Postfix's own load generator; and two workers.

E2E_MESSAGES sets how many messages (default 1000).
"""
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from e2e import Rig, Run, check, in_ns, same_bytes, simple, wait_until

MESSAGES = int(os.environ.get("E2E_MESSAGES", "1000"))


def smtp_source(rig, messages, sessions=50, size=4096, *more):
    """Runs smtp-source; gives the seconds that it took."""
    v = rig.v
    begin = time.monotonic()
    done = subprocess.run(in_ns(v["CLIENT_NS"]) + ["smtp-source", "-s", str(sessions), "-m", str(messages),
                           "-l", str(size), "-f", "load@client.example", "-t", "user@example.com", *more,
                           "%s:%s" % (v["APPLIANCE_IP"], v["SMTP_PORT"])], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    check(done.returncode == 0 and not done.stdout.strip(), "smtp-source: %d %s" % (done.returncode, done.stdout[:500]))
    return time.monotonic() - begin


def delivered_all(rig, before, messages):
    wait_until(lambda: len(rig.mails()) - before >= messages, 60, "%d messages in the maildir" % messages)
    time.sleep(0.5)
    got = len(rig.mails()) - before
    check(got == messages, "%d messages delivered, %d sent" % (got, messages))


def load(rig, kill_posternd, *more):
    before = len(rig.mails())
    if kill_posternd:
        killer = threading.Timer(0.5, lambda: rig.kill("posternd"))
        killer.start()
    took = smtp_source(rig, MESSAGES, 50, 4096, *more)
    if kill_posternd:
        killer.join()
        rig.rig("start", "posternd")
        wait_until(lambda: rig.ctl("status")[0] == 0, 10, "posternd")
    delivered_all(rig, before, MESSAGES)
    return "%d messages, %.0f a second" % (MESSAGES, MESSAGES / took)


def load_to_sink(rig):
    took = smtp_source(rig, MESSAGES)
    sink = rig.v["SINK_DIR"]
    wait_until(lambda: len(os.listdir(sink)) >= MESSAGES, 20, "%d files of the sink" % MESSAGES)
    check(len(os.listdir(sink)) == MESSAGES, "%d files" % len(os.listdir(sink)))
    return "%d messages, %.0f a second" % (MESSAGES, MESSAGES / took)


def sessions_end(rig):
    """Nothing is left open when the load is gone."""
    def open_sessions():
        return rig.ctl_json("stats")["gauges"]["sessions_open"]
    wait_until(lambda: open_sessions() == 0, 15, "all sessions to end")


def two_workers_deliver(rig):
    check(len(rig.ctl_json("status")["workers"]) == 2, "not two workers: " + rig.ctl_ok("status"))
    before = len(rig.mails())
    data = {("w%d" % i): simple("w%d" % i, ("worker " * 9,) * (i * 50)) for i in range(40)}
    errors = []

    def send(ident):
        try:
            with rig.client() as c:
                code, text = c.ehlo().message(data[ident])
                if code != 250:
                    errors.append("%d %s" % (code, text))
        except (OSError, EOFError) as error:
            errors.append(repr(error))
    threads = [threading.Thread(target=send, args=(i,)) for i in data]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(not errors, "%d errors: %s" % (len(errors), errors[:3]))
    delivered_all(rig, before, len(data))
    for path in rig.mails().values():
        with open(path, "rb") as f:
            raw = f.read()
        ident = raw.split(b"X-Test-Id: ")[1].split(b"\n")[0].decode()
        why = same_bytes(raw, data[ident], b"X-Test-Id", crlf=False)
        check(why is None, "%s: %s" % (ident, why))
    busy = [w["sessions"] for w in rig.ctl_json("stats", "--all")["per_worker"]]
    check(min(busy) > 0, "sessions of each worker: %r" % busy)
    return "sessions of each worker: %r" % busy


def main():
    run = Run()
    with Rig("load", "--backend", "postfix") as rig:
        run.test("smtp-source, 50 sessions, a connection for every message", load, rig, False)
        run.test("the same on kept connections", load, rig, False, "-d")
        run.test("the same while posternd is killed", load, rig, True)
        run.test("no session is left open", sessions_end, rig)
    with Rig("load", "--backend", "sink") as rig:
        run.test("smtp-source into smtp-sink", load_to_sink, rig)
    with Rig("workers", "--backend", "postfix", "--workers", "2") as rig:
        run.test("two workers deliver byte for byte", two_workers_deliver, rig)
        run.test("two workers under load", load, rig, False)
        run.test("no session is left open", sessions_end, rig)
    run.finish()


main()
