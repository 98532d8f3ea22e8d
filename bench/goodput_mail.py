# SPDX-License-Identifier: Apache-2.0
"""One mail of 20 MB through the whole appliance, with one of its links impaired: rows mail_in_ and mail_out_.

The appliance is test/rig.sh's: the DPDK dataplane with its default policy on af_packet, a Linux client in front and a
Linux server behind. mail_in impairs the link to the client (the kernel sends, we receive), mail_out the one to the
server (we send). The time is that from the first byte of the body to the reply that the server took it.
"""
import os
import socket
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "test", "e2e"))
import e2e  # noqa: E402

LINE = b"m" * 990 + b"\r\n"
TIMEOUT_S = 300


def body(size):
    head = b"From: <a@client.example>\r\nSubject: goodput\r\n\r\n"
    return head + LINE * ((size - len(head)) // len(LINE))


def mail(which, wire, size, cc):
    """Mbit/s of one message."""
    option = "--wire" if which == "in" else "--backend-wire"
    with e2e.Rig("goodput-" + which, "--backend", "none", option, wire) as rig, \
            e2e.Server(rig, rcvbuf=None) as server:
        data = body(size)
        rig.wait_banner()
        with rig.client(timeout=TIMEOUT_S) as client:
            client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, cc.encode())
            client.ehlo()
            code, text = client.envelope()
            e2e.check(code == 250, "%d %s" % (code, text))
            code, text = client.cmd("DATA")
            e2e.check(code == 354, "%d %s" % (code, text))
            begin = time.monotonic()
            code, text = client.body(data, stuff=False)
            seconds = time.monotonic() - begin
            e2e.check(code == 250, "%d %s" % (code, text))
        e2e.check(any(m[2].endswith(data[-1000:]) for m in server.taken), "the server does not have it")
        return len(data) * 8 / seconds / 1e6
