# SPDX-License-Identifier: Apache-2.0
"""Asks for one HTTP answer through every address that a system offers, until each came or the time is up.

The one argument is JSON: see question in bench.go. Says on stderr what is missing, and exits 1.
"""
import http.client
import json
import os
import socket
import ssl
import struct
import sys
import time

AAAA = 28
CONNECTING = 2  # seconds
ANSWERING = 12  # of which a pod may take 10


def resolve(server, host):
    """Returns the AAAA records that server gives for host (RFC 1035 section 4)."""
    query_id = int.from_bytes(os.urandom(2), "big")
    name = b"".join(bytes([len(label)]) + label.encode() for label in host.split(".")) + b"\0"
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
        s.settimeout(1)
        s.connect((server, 53))
        s.send(struct.pack(">6H", query_id, 0x0100, 1, 0, 0, 0) + name + struct.pack(">2H", AAAA, 1))
        reply = s.recv(4096)
    got_id, flags, _, answers, _, _ = struct.unpack_from(">6H", reply)
    if got_id != query_id or flags & 0xF:
        raise OSError("rcode %d" % (flags & 0xF))
    at, addresses = 12 + len(name) + 4, []
    for _ in range(answers):
        while reply[at] and reply[at] < 0xC0:
            at += reply[at] + 1
        at += 2 if reply[at] else 1
        kind, _, _, length = struct.unpack_from(">2HIH", reply, at)
        at += 10 + length
        if kind == AAAA:
            addresses.append(socket.inet_ntop(socket.AF_INET6, reply[at - 16:at]))
    return addresses


def connect(address, host, ca):
    """Returns a new connection, with TLS if there is a certificate to trust; the name that it must have is the host's."""
    port = 443 if ca else 80
    plain = socket.create_connection((address, port), timeout=CONNECTING)
    plain.settimeout(ANSWERING)
    connection = http.client.HTTPConnection(address, port)
    connection.sock = ssl.create_default_context(cafile=ca).wrap_socket(plain, server_hostname=host) if ca else plain
    return connection


def get(address, host, ca):
    """Makes one request on a new connection; raises unless the status is 200."""
    connection = connect(address, host, ca)
    try:
        connection.request("GET", "/", headers={"Host": host})
        status = connection.getresponse().status
        if status != 200:
            raise OSError("status %d" % status)
    finally:
        connection.close()


def missing(q):
    """Returns what does not work, or nothing."""
    wrong, addresses = [], q["addresses"] or []
    for server in (q["servers"] or []) + (["::1"] if q["resolve"] else []):
        try:
            addresses = resolve(server, q["host"])
            if len(addresses) != q["expect"]:
                wrong.append("%s gives %d addresses for %s, not %d" % (server, len(addresses), q["host"], q["expect"]))
        except OSError as e:
            wrong.append("asking %s for %s: %s" % (server, q["host"], e))
    if not addresses:
        wrong.append("no address to ask")
    for address in addresses:
        try:
            get(address, q["host"], q["ca"])
        except (OSError, http.client.HTTPException) as e:
            wrong.append("GET %s://[%s]/: %s" % ("https" if q["ca"] else "http", address, e))
    return wrong


q = json.loads(sys.argv[1])
end = time.monotonic() + q["seconds"]
while wrong := missing(q):
    if time.monotonic() > end:
        sys.exit("; ".join(wrong))
    time.sleep(0.1)
