#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""sum.py CSV... : min/median/max per server, ratios to knot-w1 and coredns (medians)"""
import sys, csv, statistics as st, collections
rows = collections.OrderedDict(); by = {}
for fn in sys.argv[1:]:
    seen = collections.Counter()
    for r in csv.reader(open(fn)):
        if len(r) >= 17:
            rows.setdefault(r[0], []).append(r); by[r[0], fn, seen[r[0]]] = r; seen[r[0]] += 1
def col(n, i):
    v = []
    for r in rows[n]:
        try: v.append(float(r[i]))
        except ValueError: pass
    return v or [float('nan')]
mmm = lambda v, f="%.2f": "/".join(f % x for x in (min(v), st.median(v), max(v)))
med = lambda n, i: st.median(col(n, i))
print("n rounds:", {n: len(r) for n, r in rows.items()})
print("%-13s %-24s %-18s %-7s %-24s %-18s %-7s %-7s %-7s %s" % ("server", "dnsperf qps min/med/max", "us/q", "user us", "blast qps", "us/q", "user", "xKnot", "xCoreDNS", "p50/p99(med) rss MB load s len fg"))
for n in rows:
    print("%-13s %-24s %-18s %-7.2f %-24s %-18s %-7.2f %-7.2f %-7.2f %s" % (n, mmm(col(n,1), "%.0f"), mmm(col(n,2)), med(n,15), mmm(col(n,5), "%.0f"), mmm(col(n,6)), med(n,16),
      med(n,6)/med('knot-w1',6) if 'knot-w1' in rows else 0, med('coredns',6)/med(n,6) if 'coredns' in rows else 0,
      "%.0f/%.0f(min p99 %.0f) rss=%.1f load=%.2f len=%.0f fg=%s" % (med(n,7), med(n,8), min(col(n,8)), med(n,10)/1024, med(n,11), med(n,13), mmm(col(n,14), "%.0f"))))

print("\nblast us/q: best (min) and ratio of bests; and median of the same-round ratios [min..max]")
bk, bc = min(col('knot-w1',6)) if 'knot-w1' in rows else None, min(col('coredns',6)) if 'coredns' in rows else None
for n in rows:
    def paired(ref, inv):
        if ref not in rows: return "-"
        p = [(float(r[6]), float(by[ref, k[1], k[2]][6])) for k, r in by.items() if k[0] == n and (ref, k[1], k[2]) in by]
        q = [(y / x if inv else x / y) for x, y in p]
        return "%.2f [%.2f..%.2f]" % (st.median(q), min(q), max(q))
    print("%-13s best us/q=%.2f best qps=%.0f  best/knot=%.2f coredns/best=%.2f  paired/knot=%s  paired coredns/=%s  perf: best us/q=%.2f coredns/=%.2f" % (
      n, min(col(n,6)), max(col(n,5)), min(col(n,6))/bk if bk else 0, bc/min(col(n,6)) if bc else 0, paired('knot-w1', 0), paired('coredns', 1), min(col(n,2)), min(col('coredns',2))/min(col(n,2)) if bc else 0))
