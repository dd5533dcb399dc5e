#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""behind.py PORT PRIMARY_PORT : how many serials of bench.test the server on ::1 is behind its primary, asked right after it"""
import socket, struct, sys
def serial(port):
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.settimeout(2)
    name = b"\5bench\4test\0"
    s.sendto(struct.pack(">6H", 7, 0, 1, 0, 0, 0) + name + struct.pack(">2H", 6, 1), ("::1", port))
    reply = s.recv(4096)
    at = 12 + len(name) + 4 + 2  # behind the question, and the pointer that is the owner
    if not struct.unpack(">H", reply[6:8])[0] or reply[at - 2] < 0xC0: raise ValueError("no SOA")
    size, = struct.unpack(">H", reply[at + 8:at + 10])
    return struct.unpack(">I", reply[at + 10 + size - 20:at + 10 + size - 16])[0]
try:
    mine = serial(int(sys.argv[1])); print((serial(int(sys.argv[2])) - mine) % 2**32)
except (OSError, ValueError): print("-")
