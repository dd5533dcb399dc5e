# SPDX-License-Identifier: Apache-2.0
"""Resolves names by a resolver that has just started, again and again.

The one argument is JSON: see lookupPlan in lookups.go. Each resolution is followed by others for the same name, which the
resolver then has. The load generator measures both, and leaves a directory each.
"""
import json
import os
import socket
import struct
import subprocess
import sys
import time

# What a resolver answers without asking anybody: version.bind TXT CH (RFC 4892), even if the answer is that it will not tell.
PROBE = struct.pack(">6H", 1, 0x0100, 1, 0, 0, 0) + b"\7version\4bind\0" + struct.pack(">2H", 16, 3)


def restart(unit):
    """Starts the resolver anew, with nothing cached, and returns when it answers."""
    subprocess.run(["systemctl", "restart", unit], check=True)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
            s.settimeout(0.2)
            try:
                s.connect(("::1", 53))
                s.send(PROBE)
                s.recv(4096)
                return
            except OSError:  # nobody listens yet
                time.sleep(0.02)
    sys.exit("%s does not answer within 20 s of its start" % unit)


q = json.loads(sys.argv[1])
for i in range(q["cold"]):
    for trial, host in sorted(q["hosts"].items()):
        if q["unit"]:
            restart(q["unit"])
        out = os.path.join(q["out"], trial, str(i))
        done = subprocess.run(
            [q["loadgen"], "dns", q["server"], "--name", host, "--type", "AAAA", "--recursion", "--connection", "new",
             "--rate", "40", "--duration", "300ms", "--client", q["client"], "--out", out, "-q", "-o", "json",
             "--max-lag", "0", "--max-cpu", "0"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit("loadgen: " + done.stderr.strip())
