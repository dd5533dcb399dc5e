# SPDX-License-Identifier: Apache-2.0
"""Write internal/stats/testdata/reference.json: what reference implementations say of 20 data sets.

scipy, numpy, statsmodels and ruptures as pinned in requirements.txt; `make stats-reference` runs this.
Where a result rests on chance the reference is drawn so often that its own error is a tenth of the test's tolerance.
"""

import json
import math
import sys

import numpy as np
import ruptures
import scipy
import statsmodels.api as sm
from scipy import optimize, stats
from statsmodels.stats.multitest import multipletests

RESAMPLES = 100_000


def datasets():
    """Pairs of samples: published ones, laws with light and heavy tails, ties, few trials and many, degenerate ones."""
    rng = np.random.default_rng(20261122)
    spatial = [48, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6, 0, 33, 28, 34, 4, 32, 24, 47, 41, 24, 26, 30, 41]
    nile = sm.datasets.nile.load_pandas().data["volume"].to_numpy()
    yield "spatial test data (Efron and Tibshirani 1993, table 14.1), halves", spatial[:13], spatial[13:]
    yield "Nile at Aswan (Cobb 1978), before and after 1898", nile[:28], nile[28:]
    yield "sleep (Student 1908), hours by two drugs", [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0, 2], [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    yield "Darwin's maize (Fisher 1935), crossed and self-fertilised", [23.5, 12, 21, 22, 19.125, 21.5, 22.125, 20.375, 18.25, 21.625, 23.25, 21, 22.125, 23, 12], [17.375, 20.375, 20, 20, 18.375, 18.625, 18.625, 15.25, 16.5, 18, 16.25, 18, 12.75, 15.5, 18]
    yield "six trials each", rng.normal(1.2, 0.1, 6), rng.normal(1.4, 0.1, 6)
    yield "seven and eight", rng.lognormal(0, 0.3, 7), rng.lognormal(0.3, 0.3, 8)
    yield "nine each, alike", rng.normal(5, 1, 9), rng.normal(5, 1, 9)
    yield "ten each, apart", rng.normal(2, 0.05, 10), rng.normal(3, 0.05, 10)
    yield "normal", rng.normal(10, 2, 30), rng.normal(11, 2, 25)
    yield "lognormal", rng.lognormal(0, 1, 40), rng.lognormal(0.4, 1, 40)
    yield "exponential", rng.exponential(3, 20), rng.exponential(4, 30)
    yield "Pareto of infinite variance", rng.pareto(1.5, 35) + 1, rng.pareto(1.5, 30) + 1.3
    yield "uniform", rng.uniform(0, 1, 15), rng.uniform(0.2, 1.2, 15)
    yield "bimodal", np.concatenate([rng.normal(1, 0.1, 12), rng.normal(4, 0.1, 6)]), np.concatenate([rng.normal(1, 0.1, 6), rng.normal(4, 0.1, 12)])
    yield "rounded to tenths: ties within and between", np.round(rng.normal(2, 0.3, 18), 1), np.round(rng.normal(2.2, 0.3, 20), 1)
    yield "whole numbers", rng.poisson(4, 25).astype(float), rng.poisson(5, 25).astype(float)
    yield "one outlier", np.append(rng.normal(1, 0.02, 11), 9.0), rng.normal(1.01, 0.02, 12)
    yield "large numbers", 1e9 + rng.normal(0, 1e3, 16), 1e9 + rng.normal(500, 1e3, 16)
    yield "small numbers", 1e-6 * rng.lognormal(0, 0.2, 16), 1e-6 * rng.lognormal(0.1, 0.2, 14)
    yield "more than the exact distribution takes", rng.normal(0, 1, 60) + 10, rng.normal(0.3, 1, 70) + 10


def gini(x):
    return float(np.abs(np.subtract.outer(x, x)).sum() / (2 * len(x) ** 2 * np.mean(x)))


def mser(x, batch):
    """White 1997, by the definition: the rest's squared standard error for every cut."""
    n = len(x) // batch
    means = np.reshape(x[: n * batch], (n, batch)).mean(axis=1)
    errors = [((means[d:] - means[d:].mean()) ** 2).sum() / (n - d) ** 2 for d in range(n - 4)]
    cut = int(np.argmin(errors))
    return cut * batch, bool(n >= 10 and 2 * cut <= n)


def knee(x, y):
    """Least squares by a search of all knots: the sum of squares of two joined lines, minimised within every gap."""
    xs = np.unique(x)

    def sse(k):
        a = np.stack([np.ones_like(x), np.minimum(x - k, 0), np.maximum(x - k, 0)], axis=1)
        fit, *_ = np.linalg.lstsq(a, y, rcond=None)
        return float(((y - a @ fit) ** 2).sum())

    best = min(((sse(k), k) for k in xs[1:-1]))
    for low, high in zip(xs[1:-2], xs[2:-1]):
        found = optimize.minimize_scalar(sse, bounds=(low, high), method="bounded", options={"xatol": 1e-12 * high})
        best = min(best, (float(found.fun), float(found.x)))
    line = np.polyfit(x, y, 1)
    return {"x": float(best[1]), "sse": best[0], "line_sse": float(((y - np.polyval(line, x)) ** 2).sum())}


def main(path):
    out = {"made_with": {"scipy": scipy.__version__, "numpy": np.__version__, "ruptures": "1.1.10", "statsmodels": "0.15.0"}, "sets": [], "series": [], "knees": []}
    p_values = []
    for seed, (name, a, b) in enumerate(datasets()):
        a, b = np.asarray(a, float), np.asarray(b, float)
        ties = len(np.unique(np.concatenate([a, b]))) < len(a) + len(b)
        rank = stats.mannwhitneyu(a, b, method="asymptotic" if ties or max(len(a), len(b)) > 50 else "exact")
        exact = math.comb(len(a) + len(b), len(a)) <= 50_000
        permute = lambda statistic: stats.permutation_test(
            (a, b), lambda x, y, axis: statistic(x, axis=axis) - statistic(y, axis=axis), vectorized=True, batch=5000,
            n_resamples=np.inf if exact else RESAMPLES, rng=np.random.default_rng(seed))
        # A jackknife that never moves has no acceleration: scipy gives NaN there, and the data set has no such reference.
        limits = lambda ci: None if ci is None or math.isnan(ci[0]) else list(map(float, ci))
        boot = lambda data, statistic: stats.bootstrap(data, statistic, n_resamples=RESAMPLES, method="BCa", batch=5000, rng=np.random.default_rng(seed)).confidence_interval
        mean_ci = boot((a,), np.mean)
        median_ci = boot((a,), np.median)
        ratio_ci = boot((a, b), lambda x, y, axis: np.median(x, axis=axis) / np.median(y, axis=axis)) if min(b) > 0 else None
        p_values.append(float(rank.pvalue))
        medians, means = permute(np.median), permute(np.mean)
        out["sets"].append({
            "name": name, "a": a.tolist(), "b": b.tolist(),
            "quantiles": np.quantile(a, [0, 0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1]).tolist(),
            "mean": float(np.mean(a)),
            "u": float(rank.statistic), "p": float(rank.pvalue),
            "delta": float(np.sign(np.subtract.outer(a, b)).mean()),
            "permutation_exact": exact, "median_difference": float(medians.statistic), "median_p": float(medians.pvalue), "mean_p": float(means.pvalue),
            "mean_ci": limits(mean_ci), "median_ci": limits(median_ci),
            "ratio": float(np.median(a) / np.median(b)), "ratio_ci": limits(ratio_ci),
            "gini": gini(a) if min(a) >= 0 else None,
            "jain": float(a.sum() ** 2 / (len(a) * (a**2).sum())) if min(a) >= 0 else None,
        })
    out["holm"] = multipletests(p_values, method="holm")[1].tolist()

    rng = np.random.default_rng(7)
    nile = sm.datasets.nile.load_pandas().data["volume"].to_numpy(float)
    steps = np.concatenate([rng.normal(m, 0.5, n) for m, n in ((1, 60), (3, 40), (2.2, 90), (6, 15), (2, 120))])
    series = [
        ("Nile at Aswan 1871-1970 (Cobb 1978): a change in 1899", nile, 5),
        ("five levels", steps, 5), ("five levels, pieces of 20", steps, 20), ("no change", rng.normal(3, 1, 200), 5),
        ("a warm-up that dies away", 2 + 4 * np.exp(-np.arange(300) / 20) + rng.normal(0, 0.2, 300), 5),
        ("a trend that never settles", np.arange(120) * 0.1 + rng.normal(0, 0.1, 120), 5),
        ("large level", 1e6 + steps, 5), ("a short outage", np.where((np.arange(240) > 100) & (np.arange(240) < 112), 30.0, 0.0) + rng.exponential(0.3, 240), 3),
    ]
    for name, x, shortest in series:
        x = np.asarray(x, float)
        sigma = np.median(np.abs(np.diff(x))) / (math.sqrt(2) * stats.norm.ppf(0.75))
        penalty = float(2 * sigma**2 * math.log(len(x)))
        found = ruptures.Pelt(model="l2", min_size=shortest, jump=1).fit(x).predict(pen=penalty)
        cut, settled = mser(x, 5)
        out["series"].append({"name": name, "values": x.tolist(), "shortest": shortest, "penalty": penalty, "changes": found[:-1], "warm_up": cut, "settled": settled})

    for name, x, y in (
        ("a bend at 700", np.repeat(np.arange(100, 1001, 100), 6), lambda x: 1 + 0.0002 * x + 0.02 * np.maximum(x - 700, 0)),
        ("a bend between rates", np.repeat(np.array([50, 100, 200, 400, 800, 1600, 3200]), 10), lambda x: 0.5 + 0.0001 * x + 0.004 * np.maximum(x - 1100, 0)),
        ("no bend", np.repeat(np.arange(1, 9), 5), lambda x: 2 + 0.3 * x),
        ("one trial a rate", np.arange(1, 13), lambda x: 1 + np.maximum(x - 8.3, 0)),
    ):
        x = x.astype(float)
        y = y(x) + rng.normal(0, 0.15, len(x))
        out["knees"].append({"name": name, "x": x.tolist(), "y": y.tolist(), **{"knee_" + k: v for k, v in knee(x, y).items()}})
    with open(path, "w") as f:
        json.dump(out, f, indent=1, allow_nan=False)
        f.write("\n")


main(sys.argv[1])
