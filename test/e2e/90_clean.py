#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A rig leaves nothing behind: after down, after a failed up, after an interrupted up, and down twice."""
import os
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from e2e import RIG, Run, check, wait_until

NAME = "e2e-clean"


def leftovers():
    """Everything of our rig that could be found on the machine."""
    found = []
    if os.path.isdir("/run/netns"):
        found += ["namespace " + n for n in os.listdir("/run/netns") if n.startswith("pst-" + NAME + "-")]
    for base in ("/run/postern-rig", "/var/lib/postern-rig"):
        if os.path.exists(os.path.join(base, NAME)):
            found.append(os.path.join(base, NAME))
    for pid in (p for p in os.listdir("/proc") if p.isdigit()):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as f:
                command = f.read().replace(b"\0", b" ").decode("latin-1")
        except OSError:
            continue
        if "postern-rig/" + NAME + "/" in command + "/" and int(pid) != os.getpid():
            found.append("process %s %s" % (pid, command))
    return found


def dpdk_directories():
    return sorted(os.listdir("/var/run/dpdk")) if os.path.isdir("/var/run/dpdk") else []


def hugepages():
    with open("/proc/meminfo") as f:
        return [line.split()[1] for line in f if line.startswith(("HugePages_Total", "HugePages_Free"))]


def rig(*args, **kw):
    return subprocess.run([RIG, args[0], "--name", NAME] + list(args[1:]), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)


def check_clean():
    wait_until(lambda: not leftovers(), 5, "nothing to be left of the rig; there is %r" % leftovers())


def up_and_down():
    pages, directories = hugepages(), dpdk_directories()
    done = rig("up", "--backend", "postfix")
    check(done.returncode == 0, done.stdout[-800:])
    check(rig("up").returncode != 0, "a second `up` of the same name works")
    check(rig("down").returncode == 0, "down")
    check_clean()
    check(hugepages() == pages, "hugepages: %r before, %r after" % (pages, hugepages()))
    check(dpdk_directories() == directories, "directories of DPDK: %r" % dpdk_directories())
    check(rig("down").returncode == 0, "a second `down` fails")


def failed_up():
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
        f.write("server:\n  no_such_option: 1\n")
        f.flush()
        done = rig("up", "--backend", "none", "--config", f.name)
    check(done.returncode != 0, "`up` with a bad configuration works")
    check("no_such_option" in done.stdout, "the reason is not shown:\n" + done.stdout[-800:])
    check_clean()


def interrupted_up():
    for after in (0.3, 1.0, 2.0):
        p = subprocess.Popen([RIG, "up", "--name", NAME], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(after)
        p.send_signal(signal.SIGTERM)
        p.wait(60)
        if p.returncode == 0:  # it was faster than we
            rig("down")
        check_clean()


def killed_up():
    """kill -9 lets nobody clean up: `down` must be able to."""
    p = subprocess.Popen([RIG, "up", "--name", NAME], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL, start_new_session=True)
    time.sleep(1.0)
    p.kill()
    p.wait(60)
    check(rig("down").returncode == 0, "down")
    check_clean()


def main():
    run = Run()
    rig("down")
    run.test("up and down leave nothing", up_and_down)
    run.test("an `up` that fails leaves nothing and says why", failed_up)
    run.test("an interrupted `up` leaves nothing", interrupted_up)
    run.test("`down` clears what a killed `up` left", killed_up)
    rig("down")
    run.finish()


main()
