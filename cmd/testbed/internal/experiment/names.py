# SPDX-License-Identifier: Apache-2.0
"""Waits until every server answers the AAAA question for every name with an address, and fails when it does not in time.

The one argument is JSON: see naming in records.go. Answers are not looked at beyond that: what they hold is judged later.
"""
import json
import select
import socket
import struct
import sys
import time

q = json.loads(sys.argv[1])
deadline = time.monotonic() + q["seconds"]


def question(number, name):
    labels = name.rstrip(".").split(".")
    encoded = b"".join(bytes([len(label)]) + label.encode() for label in labels)
    return struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + encoded + b"\0" + struct.pack(">2H", 28, 1)


for server in q["servers"]:
    missing = set(range(len(q["names"])))
    asker = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    asker.connect((server, 53))
    while missing:
        for number in sorted(missing):
            try:
                asker.send(question(number, q["names"][number]))
                if select.select([asker], [], [], 0.5)[0]:
                    reply = asker.recv(4096)
                    # RFC 1035 section 4.1.1: no error, and an answer.
                    if len(reply) >= 12 and not reply[3] & 0xF and struct.unpack(">H", reply[6:8])[0]:
                        missing.discard(struct.unpack(">H", reply[:2])[0])
            except OSError:  # nobody listens there yet
                time.sleep(0.2)
            if time.monotonic() > deadline:
                some = ", ".join(q["names"][n] for n in sorted(missing)[:5])
                sys.exit("%s does not answer with %d of %d names within %g s: %s" % (server, len(missing), len(q["names"]), q["seconds"], some))
        if missing:
            time.sleep(0.2)  # a server tells nobody when it has got a name
