# SPDX-License-Identifier: Apache-2.0
"""The figures of a run by pandas and matplotlib: what a careful analyst's notebook does.

Only the columns that are needed are read, one trial at a time, texts as categories. Drawn: CDF, tail, percentiles,
failed requests over time, mean time by phase, pods over time; each as PDF, SVG and PNG.
"""

import json
import pathlib
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

COLUMNS = ["intended_ns", "sent_ns", "dns_ns", "connect_ns", "tls_ns", "first_byte_ns", "total_ns", "attempt", "client", "error", "backend"]
PHASES = ["dns_ns", "connect_ns", "tls_ns", "first_byte_ns"]


def save(fig, out, name):
    for ext in ("pdf", "svg", "png"):
        fig.savefig(out / f"{name}.{ext}", dpi=300)
    plt.close(fig)


def main(run, out):
    run, out = pathlib.Path(run), pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    curves, phases, percentiles = {}, {}, {}
    for path in sorted((run / "trials").iterdir()):
        trial = json.loads((path / "trial.json").read_text())
        rows = pd.read_parquet(path / "samples.parquet", columns=COLUMNS, engine="pyarrow")
        for text in ("client", "error", "backend"):
            rows[text] = rows[text].astype("category")
        rows = rows[(rows.intended_ns >= trial["window_start_unix_ns"]) & (rows.intended_ns < trial["window_end_unix_ns"])]
        ok = rows[rows.error == ""]
        if trial["kind"] == "steady":
            total = np.sort(ok.total_ns.to_numpy()) / 1e6
            at = np.unique(np.concatenate([np.linspace(0, len(total) - 1, 2000).astype(int), len(total) - 1 - np.unique(np.geomspace(1, len(total) - 1, 1000).astype(int))]))
            curves[trial["system"]] = (total[at], (at + 1) / len(total))
            percentiles[trial["system"]] = np.percentile(total, [50, 75, 90, 95, 99, 99.5, 99.9, 99.99])
            phases[trial["system"]] = [(ok.sent_ns - ok.intended_ns).mean() / 1e6] + [ok[p].mean() / 1e6 for p in PHASES]
            continue
        begin = trial["fault"]["begin_unix_ns"]
        second = ((rows.intended_ns - begin) // 1_000_000_000).astype("int32")
        failed = (rows.error != "").groupby(second).mean() * 100
        fig, ax = plt.subplots(figsize=(3.3, 2.4))
        ax.bar(failed.index, failed, width=1)
        save(fig, out, f"timeline-{trial['system']}")
        heat = pd.crosstab(rows.backend, second, normalize="columns")
        fig, ax = plt.subplots(figsize=(3.3, 2.4))
        ax.imshow(heat, aspect="auto")
        save(fig, out, f"heat-{trial['system']}")
        del rows, ok
    for name, of in (("cdf", lambda y: y), ("tail", lambda y: 1 - y)):
        fig, ax = plt.subplots(figsize=(3.3, 2.4))
        for system, (x, y) in curves.items():
            ax.plot(x, of(y), label=system)
        ax.set_xscale("log")
        if name == "tail":
            ax.set_yscale("log")
        ax.legend()
        save(fig, out, name)
    fig, ax = plt.subplots(figsize=(3.3, 2.4))
    for system, values in percentiles.items():
        ax.plot(range(len(values)), values, "o-", label=system)
    ax.set_yscale("log")
    save(fig, out, "percentiles")
    fig, ax = plt.subplots(figsize=(3.3, 2.4))
    left = np.zeros(len(phases))
    for i in range(5):
        widths = np.array([p[i] for p in phases.values()])
        ax.barh(list(phases), widths, left=left)
        left += widths
    save(fig, out, "phases")


main(sys.argv[1], sys.argv[2])
