#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Processes die by kill -9 while mail flows, and come back in any order."""
import os
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from e2e import Rig, Run, check, is_alive, simple, test_id, wait_until


class Flow:
    """Mail from four clients until told to stop; knows what was acknowledged."""

    def __init__(self, rig, prefix):
        self.rig, self.prefix = rig, prefix
        self.acked, self.errors = [], []
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(4)]

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for t in self.threads:
            t.join(60)

    def _run(self, number):
        count = 0
        while not self.stop.is_set():
            try:
                with self.rig.client(timeout=8) as c:
                    c.ehlo()
                    for _ in range(5):
                        ident = "%s-%d-%d" % (self.prefix, number, count)
                        count += 1
                        # Of several sizes, so that the instant of death meets all stages.
                        lines = ("w" * 60,) * (1, 20, 400, 8000)[count % 4]
                        code, text = c.message(simple(ident, lines))
                        with self.lock:
                            if code == 250:
                                self.acked.append(ident)
                            else:
                                self.errors.append("%d %s" % (code, text))
                        if self.stop.is_set():
                            break
                    c.quit()
            except (OSError, EOFError, AssertionError) as error:
                with self.lock:
                    self.errors.append(repr(error))
                time.sleep(0.05)

    def count(self):
        with self.lock:
            return len(self.acked)

    def wait_more(self, n, seconds, what):
        have = self.count()
        wait_until(lambda: self.count() >= have + n, seconds, what)


def delivered(rig):
    ids = set()
    for path in rig.mails().values():
        with open(path, "rb") as f:
            ids.add(test_id(f.read(8192)))
    return ids


def all_there(rig, acked):
    wait_until(lambda: set(acked) <= delivered(rig), 30, "every acknowledged message in the maildir")


def posternd_killed(rig):
    before = rig.pid("dataplane")
    with Flow(rig, "pd") as flow:
        flow.wait_more(20, 30, "mail to flow")
        rig.kill("posternd")
        flow.wait_more(60, 30, "mail to flow without posternd")
        status, _ = rig.ctl("status")
        check(status != 0, "the CLI says that all is well while posternd is dead")
        rig.rig("start", "posternd")
        wait_until(lambda: rig.ctl("status")[0] == 0, 10, "the CLI to work again")
        flow.wait_more(20, 30, "mail to flow after the restart")
    check(not flow.errors, "%d errors: %s" % (len(flow.errors), flow.errors[:3]))
    check(rig.pid("dataplane") == before and is_alive(before), "the dataplane did not live on")
    all_there(rig, flow.acked)
    return "%d messages, no error" % len(flow.acked)


def changes_persist(rig):
    rig.ctl_ok("block", "add", "198.18.7.0/24")
    rig.ctl_ok("agent", "disable", "Sender Filter")
    pipeline = rig.ctl_ok("pipeline")
    rig.kill("posternd")
    rig.rig("start", "posternd")
    wait_until(lambda: rig.ctl("status")[0] == 0, 10, "the CLI to work again")
    check("198.18.7.0/24" in rig.ctl_ok("block", "list"), "the block list entry is gone")
    check(rig.ctl_ok("pipeline") == pipeline, "the pipeline is another one")
    with rig.client() as c:
        code, text = c.ehlo().message(simple("persist"), sender="blocked@sender.example")
        check(code == 250, "the disabled agent decided: %d %s" % (code, text))
    rig.ctl_ok("agent", "enable", "Sender Filter")
    rig.ctl_ok("block", "del", "198.18.7.0/24")


def commands_after_restart(rig):
    """A change made after the restart reaches the dataplane that never stopped."""
    with rig.client(source="192.0.2.7") as c:
        c.ehlo()
        check(c.envelope()[0] == 250, "before the block")
        c.cmd("RSET")
        rig.ctl_ok("block", "add", "192.0.2.7")
        wait_until(lambda: c.envelope()[0] != 250 or c.cmd("RSET")[0] != 250, 5, "the block")
    rig.ctl_ok("block", "del", "192.0.2.7")


def dataplane_killed(rig):
    control = rig.pid("posternd")
    with Flow(rig, "dp") as flow:
        for _ in range(3):
            flow.wait_more(20, 30, "mail to flow")
            rig.kill("dataplane")
            rig.rig("start", "dataplane")
            rig.wait_banner()
        flow.wait_more(20, 30, "mail to flow after the last restart")
    all_there(rig, flow.acked)
    check(rig.pid("posternd") == control and is_alive(control), "posternd did not live on")
    rig.ctl_ok("status")
    return "%d acknowledged, all delivered; %d broken off" % (len(flow.acked), len(flow.errors))


def both_killed(rig):
    rig.kill("posternd")
    rig.kill("dataplane")
    rig.rig("start", "dataplane")
    time.sleep(1)
    rig.rig("start", "posternd")
    rig.wait_banner()
    with rig.client() as c:
        code, text = c.ehlo().message(simple("both"))
        check(code == 250, "mail after both died: %d %s" % (code, text))
    wait_until(lambda: rig.ctl("status")[0] == 0, 10, "the CLI")


def dataplane_without_posternd(rig):
    """A dataplane that starts while posternd is dead takes the last policy from the region, or waits."""
    rig.kill("posternd")
    rig.kill("dataplane")
    rig.rig("start", "dataplane")
    time.sleep(2)
    check(is_alive(rig.pid("dataplane")), "the dataplane gave up")
    rig.rig("start", "posternd")
    rig.wait_banner()


def start_order(run):
    with Rig("order", "--backend", "postfix", "--no-start") as rig:
        def dataplane_first():
            rig.rig("start", "dataplane")
            time.sleep(1.5)
            check(is_alive(rig.pid("dataplane")), "the dataplane does not wait for posternd")
            rig.rig("start", "posternd")
            rig.wait_banner()
            with rig.client() as c:
                check(c.banner[0] == 220, "the banner: %d %s" % c.banner)
                code, text = c.ehlo().message(simple("order"))
                check(code == 250, "mail: %d %s" % (code, text))
            all_there(rig, ["order"])
        run.test("dataplane first, posternd later", dataplane_first)

        def orderly_stop():
            for which in ("dataplane", "posternd"):
                pid = rig.pid(which)
                rig.rig("stop", which)
                check(not is_alive(pid), which + " runs on")
            rig.rig("start", "posternd")
            rig.rig("start", "dataplane")
            rig.wait_banner()
        run.test("both stopped in order and started again", orderly_stop)


def main():
    run = Run()
    with Rig("restart", "--backend", "postfix") as rig:
        run.test("posternd killed while mail flows", posternd_killed, rig)
        run.test("a restarted posternd reaches open sessions", commands_after_restart, rig)
        run.test("changes made with the CLI survive a kill", changes_persist, rig)
        run.test("dataplane killed three times while mail flows", dataplane_killed, rig)
        run.test("both killed, dataplane started first", both_killed, rig)
        run.test("dataplane started while posternd is dead", dataplane_without_posternd, rig)
    start_order(run)
    run.finish()


main()
