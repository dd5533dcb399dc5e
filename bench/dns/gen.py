#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Zone and query-file generator.  gen.py OUTDIR [N1=1000] [N10=100] [NQ=200000]
Writes zone (bench.test) and query files in dnsperf format:
  q-main.txt  every name equally likely, AAAA, all positive
  q-one.txt   only names with 1 AAAA     q-ten.txt  only names with 10 AAAA
  q-mix.txt   80% positive, 10% wildcard, 5% NODATA (type A), 5% NXDOMAIN"""
import random, sys, os
out = sys.argv[1]; n1 = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
n10 = int(sys.argv[3]) if len(sys.argv) > 3 else 100
nq = int(sys.argv[4]) if len(sys.argv) > 4 else 200000
random.seed(42); os.makedirs(out, exist_ok=True)
one = lambda i: "svc-%07d.ns%03d" % (i, i % 997)
ten = lambda i: "hls-%07d.ns%03d" % (i, i % 997)
with open(out + "/bench.test.zone", "w") as f:
    f.write("$ORIGIN bench.test.\n$TTL 30\n"
            "@ 30 IN SOA ns1.bench.test. host.bench.test. 1 3600 600 86400 5\n"
            "@ 30 IN NS ns1.bench.test.\nns1 30 IN AAAA 2001:db8::1\n")
    for i in range(n1):
        f.write("%s 30 IN AAAA 2001:db8:1::%x:%x\n" % (one(i), i >> 16, i & 0xffff))
    for i in range(n10):
        for k in range(10):
            f.write("%s 30 IN AAAA 2001:db8:2:%x::%x:%x\n" % (ten(i), k + 1, i >> 16, i & 0xffff))
    if os.environ.get("NOWILD") != "1":
        f.write("*.wild 30 IN AAAA 2001:db8:3::1\n")
pick = lambda: (one(random.randrange(n1)) if random.randrange(n1 + n10) < n1 or not n10 else ten(random.randrange(n10)))
def q(name, fn):
    with open(out + "/" + name, "w") as f:
        for _ in range(nq): f.write("%s.bench.test %s\n" % fn())
q("q-main.txt", lambda: (pick(), "AAAA"))
q("q-one.txt", lambda: (one(random.randrange(n1)), "AAAA"))
if n10: q("q-ten.txt", lambda: (ten(random.randrange(n10)), "AAAA"))
def mix():
    r = random.random()
    if r < .80: return pick(), "AAAA"
    if r < .90: return "w%d.wild" % random.randrange(10**6), "AAAA"
    if r < .95: return pick(), "A"
    return "nx%d.none" % random.randrange(10**6), "AAAA"
q("q-mix.txt", mix)
