#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""table.py SET=CSV... : the rows of run.sh as Markdown tables, one a set; SET is a title"""
import csv, statistics as st, sys

LABEL = {"cecho": "C echo (the kernel's floor)", "knot-w1": "Knot DNS", "nsd": "NSD", "gdnsd": "gdnsd", "coredns": "CoreDNS"}

def number(row, i):
    try: return float(row[i])
    except (ValueError, IndexError): return None

def read(path):
    """rows by server, in the order of their first; a round is an index"""
    rows, failed = {}, []
    for r in csv.reader(open(path)):
        if len(r) < 21: failed.append(",".join(r)); rows.setdefault(r[0], []).append(None)
        else: rows.setdefault(r[0], []).append(r)
    return rows, failed

def values(rows, name, i): return [v for r in rows.get(name, []) if r for v in [number(r, i)] if v is not None]
def spread(v, f): return " / ".join(f % x for x in (min(v), st.median(v), max(v))) if v else "-"
def middle(v, f): return f % st.median(v) if v else "-"

def ratios(rows, name, other, i):
    """name over other in the same round"""
    out = []
    for a, b in zip(rows.get(name, []), rows.get(other, [])):
        x, y = a and number(a, i), b and number(b, i)
        if x and y: out.append(x / y)
    return out

def table(head, lines):
    print("| " + " | ".join(head) + " |"); print("|" + "---|" * len(head))
    for l in lines: print("| " + " | ".join(l) + " |")
    print()

for arg in sys.argv[1:]:
    title, path = arg.split("=", 1)
    rows, failed = read(path)
    changing = any(values(rows, n, 17) for n in rows)
    print("### %s\n" % title)
    head = ["server", "CPU a query, µs: min / median / max", "of Knot's", "CoreDNS's is", "queries/s: min / median / max",
            "p50, µs", "p99, µs"] + (["p99 without changes, µs", "ratio, median of pairs: min / median / max of rounds", "serials behind"] if changing else ["load, s"]) + ["RSS, MiB", "foreign CPU, %", "others, % at most"]
    lines = []
    for n in rows:
        if not values(rows, n, 6): continue
        times = ratios(rows, "coredns", n, 6)
        line = [LABEL.get(n, n), spread(values(rows, n, 6), "%.2f"), middle(ratios(rows, n, "knot-w1", 6), "%.2f"),
                "%.1f times" % st.median(times) if times else "-", spread(values(rows, n, 5), "%.0f"),
                middle(values(rows, n, 7), "%.0f"), middle(values(rows, n, 8), "%.0f")]
        if changing:
            line += [middle(values(rows, n, 17), "%.0f"), spread(values(rows, n, 19), "%.2f"), middle(values(rows, n, 18), "%.0f")]
        else: line.append(middle(values(rows, n, 11), "%.2f") if n != "cecho" else "-")
        lines.append(line + [middle([v / 1024 for v in values(rows, n, 10)], "%.1f"), middle(values(rows, n, 14), "%.0f"), "%.1f" % max(values(rows, n, 20), default=0)])
    table(head, lines)
    for f in failed: print("Failed: `%s`\n" % f)
