# SPDX-License-Identifier: Apache-2.0
"""Asks DNS servers for the AAAA records of one name, again and again, and tells each span in which a server's answers were equal.

The one argument is JSON: see watching in answers.go. A line of output is JSON too: the server, the instants in nanoseconds at
which the first and the last reply of a span came, and what they held. A server that gives no reply for a second, or refuses,
has a span of silence.
"""
import json
import select
import socket
import struct
import sys
import time

AAAA = 28
PATIENCE = 10**9  # nanoseconds without a reply


def question(name):
    labels = name.rstrip(".").split(".")
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0" + struct.pack(">2H", AAAA, 1)


def addresses(reply, asked):
    """Returns what a reply holds: its addresses in order, or its response code (RFC 1035 section 4)."""
    _, flags, _, count, _, _ = struct.unpack_from(">6H", reply)
    if flags & 0xF:
        return "rcode %d" % (flags & 0xF)
    at, found = 12 + len(asked), []
    for _ in range(count):
        while reply[at] and reply[at] < 0xC0:
            at += reply[at] + 1
        at += 2 if reply[at] else 1
        kind, _, _, length = struct.unpack_from(">2HIH", reply, at)
        at += 10 + length
        if kind == AAAA:
            found.append(socket.inet_ntop(socket.AF_INET6, reply[at - 16:at]))
    return sorted(found)


class Server:
    def __init__(self, address, asked):
        self.address, self.asked, self.id = address, asked, 0
        self.socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.connect((address, 53))
        self.heard = time.time_ns()
        self.content, self.first, self.last = None, 0, 0

    def ask(self, now):
        self.id = (self.id + 1) & 0xFFFF
        try:
            self.socket.send(struct.pack(">6H", self.id, 0x0100, 1, 0, 0, 0) + self.asked)
        except OSError:  # what an earlier query has met: nobody listens, or there is no way
            self.be("silent", now)
        if now - self.heard > PATIENCE:
            self.be("silent", now)

    def hear(self):
        try:
            reply = self.socket.recv(4096)
            now = time.time_ns()
            content = addresses(reply, self.asked)
        except OSError:
            return self.be("silent", time.time_ns())
        except (IndexError, struct.error):
            content = "malformed"
        self.heard = now
        self.be(content, now)

    def be(self, content, now):
        if content != self.content:
            self.tell()
            self.content, self.first = content, now
        self.last = now

    def tell(self):
        if self.content is not None:
            print(json.dumps({"server": self.address, "from_ns": self.first, "until_ns": self.last, "content": self.content}), flush=True)


q = json.loads(sys.argv[1])
servers = [Server(a, question(q["name"])) for a in q["servers"]]
by_socket = {s.socket: s for s in servers}
tick = time.time_ns()
while tick < q["until_ns"]:
    for s in servers:
        s.ask(time.time_ns())
    tick += q["every_ns"]
    while (left := tick - time.time_ns()) > 0:
        for ready in select.select(list(by_socket), [], [], left / 1e9)[0]:
            by_socket[ready].hear()
for s in servers:
    s.tell()
