#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""IPv6 on both sides, several addresses of one port, and a VLAN: mail, lists, log and CLI as over IPv4."""
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from e2e import (MAIL, POLICY, Rig, Run, check, in_ns, ns_socket, same_bytes, simple, test_id, wait_until)

SECOND_IP = "192.0.2.11"
SECOND_IP6 = "2001:db8:1::11"

# A backend on IPv6 only, and two addresses of each family outside.
NETWORKS = """
machine:
  cores: [%d]
  memory_mib: 256
  hugepages: false
  idle_yield: true
  ports:
    - name: outside
      device: "net_af_packet0,iface=outside"
      address: 2001:db8:1::10/64
      addresses: ["%s/64", 192.0.2.10/24, %s/24]
      gateway6: 2001:db8:1::fe
    - name: inside
      device: "net_af_packet1,iface=inside"
      address: 2001:db8:2::10/64
      gateway6: fe80::1
backends:
  - name: mail6
    address: 2001:db8:2::20
    tcp_port: 25
    direction: inbound
""" % (min(1, os.cpu_count() - 1), SECOND_IP6, SECOND_IP)


# A VLAN and an untagged network on one device.
SHARED_IP = "198.18.0.10"
SHARED = """
machine:
  cores: [%d]
  memory_mib: 256
  hugepages: false
  idle_yield: true
  ports:
    - name: tagged
      device: "net_af_packet0,iface=outside"
      vlan: 77
      address: 192.0.2.10/24
      addresses: ["2001:db8:1::10/64"]
    - name: untagged
      device: "net_af_packet0,iface=outside"
      address: %s/24
    - name: inside
      device: "net_af_packet1,iface=inside"
      address: 198.51.100.10/24
listeners:
  - {port: tagged, tcp_port: 25, direction: inbound}
  - {port: untagged, tcp_port: 25, direction: inbound}
""" % (min(1, os.cpu_count() - 1), SHARED_IP)


def ping6(rig, host, size):
    """An echo request; the kernel makes the checksum and looks at that of the answer."""
    with ns_socket(rig.v["CLIENT_NS"], socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as s:
        s.settimeout(3)
        data = bytes(i & 0xff for i in range(size))
        request = struct.pack("!BBHHH", 128, 0, 0, 0x7067, size) + data
        s.sendto(request, (host, 0))
        end = time.monotonic() + 3
        while time.monotonic() < end:
            answer, sender = s.recvfrom(65536)
            if answer[:2] == b"\x81\0" and sender[0] == host and answer[4:] == request[4:]:
                return
    raise AssertionError("no echo of %d bytes" % size)


def pings(rig):
    for size in (0, 1, 56, 1400, 1452):
        ping6(rig, rig.v["APPLIANCE_IP6"], size)


def swaks6(rig):
    before = set(rig.mails())
    done = subprocess.run(in_ns(rig.v["CLIENT_NS"]) + [
        "swaks", "-6", "--server", rig.v["APPLIANCE_IP6"], "--port", rig.v["SMTP_PORT"], "--ehlo", "client.example",
        "--from", "sender@client.example", "--to", "user@example.com",
        "--data", "@" + os.path.join(MAIL, "ham-plain.eml")],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    check(done.returncode == 0, "swaks ended with %d:\n%s" % (done.returncode, done.stdout.decode("latin-1")[-600:]))
    wait_until(lambda: len(set(rig.mails()) - before) == 1, 20, "the message in the maildir")


def message_of(ident, size):
    return simple(ident, lines=("%07d " % i + "x" * 68 for i in range(size // 78)))


def send(rig, host, ident, size, sent, errors):
    data = message_of(ident, size)
    try:
        for patience in range(20):
            with rig.client(host, timeout=60) as c:
                if c.banner[0] == 421 and patience < 19:  # a busy machine sheds new sessions
                    time.sleep(0.2)
                    continue
                code, text = c.ehlo().message(data)
                check(code == 250, "%s: %d %s" % (ident, code, text))
                c.quit()
                break
        sent[ident] = data
    except Exception as error:  # collected, so that every failure is shown
        errors.append("%s: %s" % (ident, error))


def delivered(rig, before, count):
    """Identity -> bytes of what has arrived since."""
    wait_until(lambda: len(set(rig.mails()) - before) >= count, 30, "%d messages in the maildir" % count)
    got = {}
    for name in set(rig.mails()) - before:
        with open(rig.mails()[name], "rb") as f:
            raw = f.read()
        got[test_id(raw)] = raw
    return got


def pressure(rig):
    """What the appliance has shed, should that be why a message failed."""
    rows = [l.split()[:2] for l in rig.ctl_ok("stats").splitlines()
            if l.startswith(("shed", "pressed", "sessions_refused", "tcp_syn_shed"))]
    return ", ".join(" ".join(r) for r in rows if r[1:] != ["0"]) or "nothing was shed"


def byte_for_byte(rig, hosts, each):
    """Many messages at once to every address; what arrives is what was sent."""
    before, sent, errors = set(rig.mails()), {}, []
    sizes = [100, 3000, 70000, 300000, 2 << 20]
    threads = [threading.Thread(target=send, args=(rig, host, "h%dn%d" % (h, n), sizes[n % len(sizes)], sent, errors))
               for n in range(each) for h, host in enumerate(hosts)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(not errors, "%d errors, first: %s; %s" % (len(errors), errors[:3], pressure(rig)))
    got = delivered(rig, before, len(sent))
    for ident, data in sent.items():
        check(ident in got, ident + " is missing")
        why = same_bytes(got[ident], data, b"X-Test-Id: " + ident.encode(), crlf=False)
        check(why is None, "%s: %s" % (ident, why))
    return "%d messages, %.1f MB" % (len(sent), sum(map(len, sent.values())) / 1e6)


def received_line(rig):
    """RFC 5321 4.1.3: the address in the Received: field and in HELO is an IPv6 literal."""
    before = set(rig.mails())
    with rig.client(rig.v["APPLIANCE_IP6"], source="2001:db8:1::4") as c:
        check(c.banner[0] == 220, "banner %r" % (c.banner,))
        code, text = c.cmd("EHLO [IPv6:2001:db8:1::4]")
        check(code == 250, "EHLO with a literal: %d %s" % (code, text))
        check(c.message(simple("received"), sender="a@[IPv6:2001:db8:1::4]")[0] == 250, "the message")
    raw = delivered(rig, before, 1)["received"]
    wanted = b"from [IPv6:2001:db8:1::4] ([IPv6:2001:db8:1::4])"
    check(wanted in raw, "no '%s' in %r" % (wanted.decode(), raw[:600]))
    return wanted.decode()


def rcpt_code(rig, host, source):
    with rig.client(host, source=source) as c:
        return c.ehlo().envelope()[0]


def lists(rig):
    """Single addresses and networks; a list of one family says nothing about the other."""
    v6, v4 = rig.v["APPLIANCE_IP6"], rig.v["APPLIANCE_IP"]
    rows = [("2001:db8:1::2", {"2001:db8:1::2": False, "2001:db8:1::3": True, "192.0.2.2": True}),
            ("2001:db8:1::/64", {"2001:db8:1::2": False, "2001:db8:1::3": False, "192.0.2.2": True}),
            ("::/0", {"2001:db8:1::2": False, "192.0.2.2": True}),
            ("192.0.2.2", {"2001:db8:1::2": True, "192.0.2.2": False})]
    for prefix, clients in rows:
        rig.ctl_ok("block", "add", prefix)
        check(prefix in rig.ctl_ok("block", "list"), "not listed: " + prefix)
        for source, is_taken in clients.items():
            code = rcpt_code(rig, v6 if ":" in source else v4, source)
            check((code == 250) == is_taken, "%s is blocked, %s got %d" % (prefix, source, code))
        rig.ctl_ok("block", "del", prefix)
    rig.ctl_ok("block", "add", "2001:db8:1::/64")
    rig.ctl_ok("allow", "add", "2001:db8:1::3")
    check(rcpt_code(rig, v6, "2001:db8:1::3") == 250, "the allow list does not win")
    rig.ctl_ok("allow", "del", "2001:db8:1::3")
    rig.ctl_ok("block", "del", "2001:db8:1::/64")


def listed_and_logged(rig):
    with rig.client(rig.v["APPLIANCE_IP6"], source="2001:db8:1::5") as c:
        c.ehlo()
        check("[2001:db8:1::5]:" in rig.ctl_ok("session", "list"), "an open session is not listed")
        check(c.envelope(rcpts=("blocked@example.com",))[0] >= 550, "a blocked recipient is taken")
        c.quit()

    def rows():
        with open(rig.v["LOG_FILE"]) as f:
            return [r for r in map(json.loads, f) if "2001:db8:1::5" in str(r.get("client"))]
    row = wait_until(rows, 5, "the line in the log")[0]
    check(row["client"].startswith("[2001:db8:1::5]:"), "client %r" % row["client"])
    return row["client"]


def backend_is_v6(rig):
    """It is up when the appliance's own address has passed the second of its detection of duplicates."""
    def row():
        lines = rig.ctl_ok("status").splitlines()
        return [l for l in lines if "[2001:db8:2::20]:25" in l and " up " in l]
    return wait_until(row, 10, "the backend to be up")[0]


def untagged_is_silent(rig):
    """What comes without the tag is for another network, whose host we are not."""
    ns, end = rig.v["CLIENT_NS"], "wire"
    subprocess.run(in_ns(ns) + ["ip", "addr", "add", "192.0.2.200/32", "dev", end], check=True)
    subprocess.run(in_ns(ns) + ["ip", "route", "add", "192.0.2.10/32", "dev", end, "src", "192.0.2.200"], check=True)
    try:
        with rig.client(timeout=2):
            raise AssertionError("an untagged client is answered")
    except OSError as error:
        return str(error)
    finally:
        subprocess.run(in_ns(ns) + ["ip", "route", "del", "192.0.2.10/32", "dev", end], check=True)
        subprocess.run(in_ns(ns) + ["ip", "addr", "del", "192.0.2.200/32", "dev", end], check=True)


def shared_device(rig):
    ns = rig.v["CLIENT_NS"]
    subprocess.run(in_ns(ns) + ["ip", "addr", "add", "198.18.0.1/24", "dev", "wire"], check=True)
    return byte_for_byte(rig, [rig.v["APPLIANCE_IP"], rig.v["APPLIANCE_IP6"], SHARED_IP], 5)


def with_config(text, name, *args):
    """A rig with more in its configuration, for as long as the `with` block lasts."""
    f = tempfile.NamedTemporaryFile("w", suffix=".yaml")
    with open(POLICY) as policy:
        f.write(policy.read() + text)
    f.flush()
    rig = Rig(name, "--backend", "postfix", "--config", f.name, *args)
    rig.config = f  # stays as long as the rig
    return rig


def main():
    run = Run()
    with Rig("ipv6", "--backend", "postfix") as rig:
        v4, v6 = rig.v["APPLIANCE_IP"], rig.v["APPLIANCE_IP6"]
        run.test("echo requests over IPv6", pings, rig)
        run.test("swaks over IPv6", swaks6, rig)
        run.test("both families at once, byte for byte", byte_for_byte, rig, [v4, v6], 15)
        run.test("Received: and HELO with IPv6 literals", received_line, rig)
        run.test("allow and block lists of both families", lists, rig)
        run.test("session list and log", listed_and_logged, rig)
    with with_config(NETWORKS, "ipv6-backend") as rig:
        run.test("status shows a backend on IPv6", backend_is_v6, rig)
        run.test("every address of a port, to a backend on IPv6", byte_for_byte, rig,
                 [rig.v["APPLIANCE_IP"], SECOND_IP, rig.v["APPLIANCE_IP6"], SECOND_IP6], 5)
    with Rig("ipv6-vlan", "--backend", "postfix", "--vlan", "77") as rig:
        run.test("a VLAN, both families", byte_for_byte, rig, [rig.v["APPLIANCE_IP"], rig.v["APPLIANCE_IP6"]], 5)
        run.test("without the tag nobody answers", untagged_is_silent, rig)
    with with_config(SHARED, "ipv6-shared", "--vlan", "77") as rig:
        run.test("a VLAN and an untagged network on one device", shared_device, rig)
    if os.cpu_count() > 1:
        with Rig("ipv6-workers", "--backend", "postfix", "--workers", "2") as rig:
            run.test("two workers, both families", byte_for_byte, rig,
                     [rig.v["APPLIANCE_IP"], rig.v["APPLIANCE_IP6"]], 10)
    run.finish()


main()
