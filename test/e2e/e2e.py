# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: the rig, an SMTP client and mail servers inside its namespaces.

Only the standard library is used. Sockets are made inside a namespace by a short visit of the calling
thread (setns); the socket stays in the namespace where it was made, the thread goes back at once.
"""
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RIG = os.path.join(ROOT, "test", "rig.sh")
MAIL = os.path.join(ROOT, "test", "mail")
POLICY = os.path.join(ROOT, "test", "rig.d", "policy.yaml")
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def ns_socket(ns, family=socket.AF_INET, kind=socket.SOCK_STREAM):
    """A socket inside the network namespace `ns`."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open("/run/netns/" + ns, os.O_RDONLY)
    try:
        if _libc.setns(there, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns " + ns)
        try:
            return socket.socket(family, kind)
        finally:
            if _libc.setns(home, CLONE_NEWNET) != 0:
                os._exit(70)  # a thread in the wrong namespace must not go on
    finally:
        os.close(there)
        os.close(home)


def in_ns(ns):
    """The beginning of a command that runs inside a namespace (in a chroot, too)."""
    return ["nsenter", "--net=/run/netns/" + ns, "--"]


class Rig:
    """An appliance of its own, for as long as the `with` block lasts."""

    def __init__(self, name, *args):
        self.name = "e2e-" + name
        self.args = list(args)
        self.v = {}

    def __enter__(self):
        subprocess.run([RIG, "down", "--name", self.name], check=True)
        done = subprocess.run([RIG, "up", "--name", self.name] + self.args, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise RuntimeError("rig.sh up failed")
        self.v = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None or os.environ.get("E2E_KEEP_LOGS"):
            self.show_logs()
        subprocess.run([RIG, "down", "--name", self.name], check=False)

    def show_logs(self):
        for name in ("posternd.out", "dataplane.out"):
            path = os.path.join(self.v.get("RUN_DIR", "/nonexistent"), name)
            if os.path.exists(path):
                with open(path, errors="replace") as f:
                    for line in f.read().splitlines()[-15:]:
                        print("# %s: %s" % (name, line))

    def client(self, **kw):
        return Client(self.v["CLIENT_NS"], self.v["APPLIANCE_IP"], int(self.v["SMTP_PORT"]), **kw)

    def ctl(self, *args, timeout=10):
        """Runs the CLI: (exit status, output)."""
        done = subprocess.run([self.v["CTL"]] + list(args), stdin=subprocess.DEVNULL, text=True, timeout=timeout,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode, done.stdout

    def ctl_ok(self, *args):
        status, out = self.ctl(*args)
        check(status == 0, "postern %s: status %d: %s" % (" ".join(args), status, out.strip()))
        return out

    def ctl_json(self, *args):
        return json.loads(self.ctl_ok("--json", *args))

    def rig(self, *args):
        subprocess.run([RIG] + list(args) + ["--name", self.name], check=True, stdin=subprocess.DEVNULL)

    def pid(self, which):
        with open(os.path.join(self.v["RUN_DIR"], which + ".pid")) as f:
            return int(f.read())

    def kill(self, which):
        """kill -9, and waits until it is gone."""
        pid = self.pid(which)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_alive(pid), 5, which + " to end")

    def wait_banner(self, seconds=20):
        def banner():
            try:
                with self.client(timeout=3) as c:
                    return c.banner[0] == 220
            except (OSError, EOFError):
                return False
        wait_until(banner, seconds, "the banner")

    def mails(self):
        """The delivered messages: file name -> path."""
        new = os.path.join(self.v["MAILDIR"], "new")
        return {n: os.path.join(new, n) for n in os.listdir(new)} if os.path.isdir(new) else {}


def is_alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


class Client:
    """An SMTP client that sends exactly what it is told."""

    def __init__(self, ns, host, port, timeout=30, source=None, rcvbuf=None):
        self.sock = ns_socket(ns)
        self.sock.settimeout(timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        try:
            if source:
                self.sock.bind((source, 0))
            self.sock.connect((host, port))
            self.buffer = b""
            self.banner = self.reply()
        except BaseException:
            self.sock.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def line(self):
        while b"\n" not in self.buffer:
            more = self.sock.recv(65536)
            if not more:
                raise EOFError("connection closed; unread: %r" % self.buffer)
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.rstrip(b"\r").decode("latin-1")

    def reply(self):
        """(code, text) of one reply, its lines joined."""
        text = []
        while True:
            line = self.line()
            text.append(line[4:])
            if line[3:4] != "-":
                return int(line[:3]), "\n".join(text)

    def cmd(self, text):
        self.send(text.encode("latin-1") + b"\r\n")
        return self.reply()

    def ehlo(self):
        code, text = self.cmd("EHLO client.example")
        check(code == 250, "EHLO: %d %s" % (code, text))
        return self

    def envelope(self, sender="sender@client.example", rcpts=("user@example.com",), options=""):
        for text in ["MAIL FROM:<%s>%s" % (sender, options)] + ["RCPT TO:<%s>" % r for r in rcpts]:
            code, reply = self.cmd(text)
            if code != 250:
                return code, reply
        return 250, ""

    def message(self, data, stuff=True, **envelope):
        """A whole transaction; the reply that ended it."""
        code, text = self.envelope(**envelope)
        if code != 250:
            return code, text
        code, text = self.cmd("DATA")
        if code != 354:
            return code, text
        return self.body(data, stuff)

    def body(self, data, stuff=True):
        self.send((dot_stuff(data) if stuff else data) + b".\r\n")
        return self.reply()

    def quit(self):
        code, _ = self.cmd("QUIT")
        self.close()
        return code


def dot_stuff(data):
    if data.startswith(b"."):
        data = b"." + data
    return data.replace(b"\r\n.", b"\r\n..")


class Server:
    """A mail server in the rig's server namespace, one thread a connection, that misbehaves on request.

    Hooks are looked up by verb in `answers`: a reply line, or a function(server, verb, line) that gives
    one. None closes the connection. "." is the reply to the end of data. Everything that was taken with a
    2xx to the end of data is in `taken` as (sender, recipients, bytes).
    """

    def __init__(self, rig, answers=None, caps=("SIZE 52428800", "8BITMIME", "PIPELINING", "ENHANCEDSTATUSCODES"),
                 rcvbuf=65536):
        self.answers = dict(answers or {})
        self.caps = caps
        self.delay = {}          # verb -> seconds before its reply
        self.die_after = None    # bytes of a message, then the connection is gone
        self.reset = False       # gone by RST instead of FIN
        self.read_pause = 0      # seconds between two reads of a message
        self.taken = []
        self.seen = []           # every command line
        self.partial = 0         # messages that broke off
        self.lock = threading.Lock()
        self.listener = ns_socket(rig.v["SERVER_NS"])
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if rcvbuf:  # fixed, so that a server that does not read is felt soon
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.listener.bind((rig.v["BACKEND_IP"], int(rig.v["BACKEND_PORT"])))
        self.listener.listen(128)
        self.conns = set()
        self.closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.closed = True
        # shutdown wakes the thread that sits in accept; close alone would not.
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        with self.lock:
            conns = list(self.conns)
        for c in conns:
            self._gone(c)

    def _accept(self):
        while not self.closed:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.conns.add(conn)
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _gone(self, conn):
        with self.lock:
            self.conns.discard(conn)
        try:
            if self.reset:
                conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            else:
                conn.shutdown(socket.SHUT_RDWR)  # also wakes the thread that reads from it
        except OSError:
            pass
        try:
            conn.close()
        except OSError:
            pass

    def _answer(self, conn, verb, line, default, note=None):
        """Replies; `note` is called before a positive reply leaves, so that who sees the reply can see
        what was noted."""
        if verb in self.delay:
            time.sleep(self.delay[verb])
        answer = self.answers.get(verb, default)
        if callable(answer):
            answer = answer(self, verb, line)
        if answer is None:
            raise EOFError
        if note and answer[0] in "23":
            with self.lock:
                note()
        conn.sendall(answer.encode() + b"\r\n")
        return answer[0] in "23"

    def _serve(self, conn):
        try:
            with conn.makefile("rb") as f:
                self._session(conn, f)
        except (OSError, EOFError, ValueError):
            pass
        finally:
            self._gone(conn)

    def _session(self, conn, f):
        sender, rcpts = None, []
        self._answer(conn, "CONNECT", "", "220 backend.example ESMTP")
        while True:
            line = f.readline(4096)
            if not line:
                return
            text = line.decode("latin-1").rstrip("\r\n")
            with self.lock:
                self.seen.append(text)
            verb = text.split(" ")[0].split(":")[0].upper()
            if verb == "EHLO":
                caps = "\r\n".join("250-" + c for c in self.caps)
                self._answer(conn, verb, text, "250-backend.example\r\n" + caps + "\r\n250 HELP")
            elif verb == "MAIL":
                if self._answer(conn, verb, text, "250 2.1.0 Ok"):
                    sender, rcpts = text[10:].split(">")[0].lstrip("<"), []
            elif verb == "RCPT" and sender is None or verb == "DATA" and not rcpts:
                conn.sendall(b"503 5.5.1 Bad sequence of commands\r\n")
            elif verb == "RCPT":
                if self._answer(conn, verb, text, "250 2.1.5 Ok"):
                    rcpts.append(text[8:].split(">")[0].lstrip("<"))
            elif verb == "DATA":
                if self._answer(conn, verb, text, "354 go ahead"):
                    message = (sender, list(rcpts), self._data(f))
                    self._answer(conn, ".", "", "250 2.0.0 Ok: taken", lambda: self.taken.append(message))
                    sender, rcpts = None, []
            elif verb == "RSET":
                sender, rcpts = None, []
                self._answer(conn, verb, text, "250 2.0.0 Ok")
            elif verb == "QUIT":
                self._answer(conn, verb, text, "221 2.0.0 Bye")
                return
            else:
                self._answer(conn, verb, text, "250 2.0.0 Ok")

    def _data(self, f):
        """The message's bytes, dots unstuffed; raises when it breaks off."""
        out = bytearray()
        try:
            while True:
                line = f.readline()
                if not line.endswith(b"\n"):
                    raise EOFError
                if line == b".\r\n":
                    return bytes(out)
                out += line[1:] if line.startswith(b".") else line
                if self.read_pause:
                    time.sleep(self.read_pause)
                if self.die_after is not None and len(out) >= self.die_after:
                    raise EOFError
        except (OSError, EOFError):
            with self.lock:
                self.partial += 1
            raise


# --- messages ----------------------------------------------------------------------------------------

ADDED_BY_OTHERS = (b"return-path", b"x-original-to", b"delivered-to", b"received", b"x-postern-result")


def split_added(raw, first):
    """Splits what was delivered at the line that begins with `first` (the first line that the client
    sent). Gives (names of the header fields above it, the rest)."""
    at = 0 if raw.startswith(first) else raw.find(b"\n" + first) + 1
    if at == 0 and not raw.startswith(first):
        raise AssertionError("the message's own first line is not there: %r" % raw[:300])
    names = []
    for line in raw[:at].split(b"\n"):
        if line and line[:1] not in b" \t":
            names.append(line.split(b":", 1)[0].lower())
    return names, raw[at:]


def same_bytes(delivered, sent, first, crlf):
    """None when `delivered` is `sent` but for fields that servers add above it, else a reason."""
    names, rest = split_added(delivered, first)
    foreign = [n for n in names if n not in ADDED_BY_OTHERS]
    if foreign:
        return "unexpected fields above the message: %r" % foreign
    wanted = sent if crlf else sent.replace(b"\r\n", b"\n")
    if rest == wanted:
        return None
    at = next((i for i, (a, b) in enumerate(zip(rest, wanted)) if a != b), min(len(rest), len(wanted)))
    return "differs at byte %d of %d (got %d): %r instead of %r" % (
        at, len(wanted), len(rest), rest[max(0, at - 20):at + 40], wanted[max(0, at - 20):at + 40])


def simple(ident, lines=("Hello.",), subject="test"):
    head = ["X-Test-Id: %s" % ident, "From: <sender@client.example>", "To: <user@example.com>",
            "Subject: %s" % subject, "Date: Sat, 01 Aug 2026 12:00:00 +0000",
            "Message-ID: <%s@client.example>" % ident]
    return ("\r\n".join(head) + "\r\n\r\n" + "".join(l + "\r\n" for l in lines)).encode("latin-1")


def read_eml(name):
    """A message of test/mail with CRLF line ends."""
    with open(os.path.join(MAIL, name), "rb") as f:
        return f.read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def test_id(raw):
    """The X-Test-Id of a delivered message, or None."""
    for line in raw[:8192].split(b"\n"):
        if line.lower().startswith(b"x-test-id:"):
            return line.split(b":", 1)[1].strip().decode()
    return None


# --- running -----------------------------------------------------------------------------------------

class Skip(Exception):
    """Raised with a reason by a test that cannot run here."""


def check(condition, why):
    if not condition:
        raise AssertionError(why)


def wait_until(condition, seconds, what):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("waited %g s for %s" % (seconds, what))
        time.sleep(0.02)


class Run:
    """Runs tests of one file, prints a line each and the total."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        if os.geteuid() != 0:
            print("skip - %s: needs root" % os.path.basename(sys.argv[0]))
            print("0 passed, 0 failed, 1 skipped")
            sys.exit(0)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    def test(self, name, function, *args):
        begin = time.monotonic()
        try:
            note = function(*args)
        except Skip as reason:
            self.skipped += 1
            print("skip - %s: %s" % (name, reason), flush=True)
        except Exception as error:  # a test that breaks is a test that failed
            self.failed += 1
            print("not ok - %s: %s" % (name, error), flush=True)
            if not isinstance(error, AssertionError):
                for line in traceback.format_exc().splitlines():
                    print("#   " + line, flush=True)
        else:
            self.passed += 1
            took = time.monotonic() - begin
            print("ok - %s%s (%.1f s)" % (name, ": " + note if note else "", took), flush=True)

    def finish(self):
        total = "%d passed, %d failed" % (self.passed, self.failed)
        print(total + (", %d skipped" % self.skipped if self.skipped else ""), flush=True)
        # Threads of servers may still wait for somebody; they are daemons.
        sys.exit(1 if self.failed else 0)
