# SPDX-License-Identifier: Apache-2.0
"""Watches something on a node for some seconds, and prints what changed and when, by the node's own clock.

observe.py SECONDS MODE ARGUMENT...: lines "EVENT BEFORE AFTER", in nanoseconds: it was not so before BEFORE, and so at AFTER.
It knows nothing of faults and shares no code with them.
"""
import errno, http.client, os, select, socket, struct, subprocess, sys, time

end = time.time_ns() + int(float(sys.argv[1]) * 1e9)
now = time.time_ns


def say(event, before, after):
    print(event, before, after, flush=True)


def sample(look, pause=0.0003):
    """Prints every value that look() returns anew."""
    last, before = look(), now()
    while before < end:
        time.sleep(pause)
        began = now()
        value = look()
        if value != last:
            say(value, before, now())
            last = value
        before = began


def process(*pids):
    """gone: a process has ended."""
    poll = select.poll()
    for pid in pids:
        poll.register(os.pidfd_open(int(pid)), select.POLLIN)
    left = len(pids)
    while left and now() < end:
        before = now()
        for fd, _ in poll.poll(100):
            say("gone", before, now())
            poll.unregister(fd)
            left -= 1


def file(path):
    """What a file says."""

    def look():
        try:
            with open(path) as f:
                return f.read().strip().replace("\n", ",") or "empty"
        except OSError as e:
            return errno.errorcode[e.errno]

    sample(look)


def cgroup(path):
    """frozen or thawed: the last line of cgroup.events, or freezer.state."""

    def look():
        with open(path) as f:
            return "frozen" if f.read().split()[-1] in ("1", "FROZEN") else "thawed"

    sample(look)


def room(directory):
    """full or room: whether a megabyte is free. Nothing is written: that would make room when it is deleted."""

    def look():
        s = os.statvfs(directory)
        return "room" if s.f_bavail * s.f_frsize >= 1 << 20 else "full"

    sample(look)


def link(device):
    """down or up, as the kernel tells those who listen."""
    index = socket.if_nametoindex(device)
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    s.bind((0, 1))  # RTMGRP_LINK
    s.settimeout(0.1)
    last = "up"
    while now() < end:
        try:
            data = s.recv(65536)
        except TimeoutError:
            continue
        at = now()
        while len(data) >= 16:
            length, kind = struct.unpack_from("=IH", data)
            if kind == 16:  # RTM_NEWLINK
                _, _, i, flags, _ = struct.unpack_from("=BxHiII", data, 16)
                state = "up" if flags & 1 else "down"
                if i == index and state != last:
                    say(state, at, at)
                    last = state
            data = data[(length + 3) & ~3 :]


def speak(address, port):
    """Sends the time, every millisecond."""
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    while now() < end:
        try:
            s.sendto(str(now()).encode(), (address, int(port)))
        except OSError as e:
            say("refused-" + errno.errorcode[e.errno], now(), now())
            time.sleep(0.05)
        time.sleep(0.001)


def hear(port, which="own", gap="0.3"):
    """silent and heard: by the arrival of datagrams, or by the sender's clock (theirs); silent is who is so for a while."""
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.bind(("::", int(port)))
    s.settimeout(float(gap))
    last = None
    heard = True
    while now() < end:
        try:
            data, _ = s.recvfrom(100)
        except TimeoutError:
            if last is not None and heard:
                say("silent", last, last)
                heard = False
            continue
        at = int(data) if which == "theirs" else now()
        if not heard:
            say("heard", at, at)
            heard = True
        last = at


def ask(address, slow):
    """slow and fast: how a pod answers requests, by when they were sent."""
    slow = float(slow)
    c = http.client.HTTPConnection(address, 80, timeout=10)
    last, before = "fast", now()
    while now() < end:
        at = now()
        c.request("GET", "/")
        c.getresponse().read()
        state = "slow" if now() - at > slow * 1e9 else "fast"
        if state != last:
            say(state, before, at)
            last = state
        before = at
        time.sleep(0.0005)


def reach(address):
    """heard and silent: whether connections to a pod come about."""
    last, before = "heard", now()
    while before < end:
        at = now()
        try:
            socket.create_connection((address, 80), timeout=0.05).close()
            state = "heard"
        except OSError:
            state = "silent"
        if state != last:
            say(state, before, at if state == "silent" else now())
            last = state
        before = at
        time.sleep(0.0005)


def watch(path, pattern):
    """seen: the API server tells its watchers something."""
    p = subprocess.Popen(["kubectl", "get", "--raw", path], stdout=subprocess.PIPE)
    text = b""
    try:
        while now() < end:
            if not select.select([p.stdout], [], [], 0.1)[0]:
                continue
            more = os.read(p.stdout.fileno(), 1 << 20)
            at = now()
            if not more:
                return
            *lines, text = (text + more).split(b"\n")
            if any(pattern.encode() in line for line in lines):
                say("seen", at, at)
    finally:
        p.kill()


globals()[sys.argv[2]](*sys.argv[3:])
