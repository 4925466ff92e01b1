"""Scores of codes against factors, each against a plain loop or scikit-learn formulation of the same definition.

10 000 samples of 10 codes and 6 factors with the sizes of 3D Shapes; each code follows a mixture of factors, with
noise. Both formulations run in one process, in turn; a ratio is that of their median times. What the plain ones do:

- MIG, modularity: scikit-learn's mutual information pair by pair; for explicitness its logistic regression and areas
  under the curve, factor by factor;
- FactorVAE score: votes drawn and scored one by one, from rows grouped by value beforehand;
- BetaVAE score: the same, with the partners of a point's 64 pairs picked one by one, or ("by points") at once;
- IRS: level by level of each factor, and again for each replicate of the jackknife that is our standard error
  ("value": without, though ours has it). The other plain ones give no standard error at all. "Value": ours without
  the random halves that its error rests on.

"Differ by" is the absolute difference of the two values, with our standard error where both drew votes of their own, or
the rows to learn from.

    python benchmarks/codes.py [--threads 1] [--rounds 5] [--quick]
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score, roc_auc_score

import codes_dci_sap
import orthogen as og
from orthogen.core.kinds import CodeMetric

SIZES = (10, 10, 10, 8, 4, 15)
TARGET = 10.0

Table = tuple[np.ndarray, np.ndarray]


def table(n: int, count: int = 10) -> Table:
    """Codes and factors."""
    rng = np.random.default_rng(0)
    factors = np.stack([rng.integers(size, size=n) for size in SIZES], axis=1)
    scaled = 2 * factors / (np.array(SIZES) - 1) - 1
    mixing = np.eye(len(SIZES), count) + 0.35 * rng.normal(size=(len(SIZES), count))
    return scaled @ mixing + 0.3 * rng.normal(size=(n, count)), factors


def plain_information(codes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Mutual information of every code, in 20 bins, with every factor."""
    binned = [np.digitize(code, np.histogram(code, 20)[1][:-1]) for code in codes.T]
    return np.array([[mutual_info_score(factor, code) for factor in factors.T] for code in binned])


def plain_mig(codes: np.ndarray, factors: np.ndarray) -> float:
    information = np.sort(plain_information(codes, factors), axis=0)
    entropy = np.array([mutual_info_score(factor, factor) for factor in factors.T])
    return float(np.mean((information[-1] - information[-2]) / entropy))


def plain_modularity(codes: np.ndarray, factors: np.ndarray) -> float:
    square = plain_information(codes, factors) ** 2
    best = square.max(axis=1)
    return float(np.mean(1 - (square.sum(axis=1) - best) / (best * (factors.shape[1] - 1))))


def plain_explicitness(codes: np.ndarray, factors: np.ndarray) -> float:
    cut, areas = round(2 / 3 * len(codes)), []
    x = (codes - codes[:cut].mean(axis=0)) / codes[:cut].std(axis=0)
    for factor in factors.T:
        model = LogisticRegression().fit(x[:cut], factor[:cut])
        for part in (slice(None, cut), slice(cut, None)):
            areas.append(roc_auc_score(np.eye(factor.max() + 1)[factor[part]], model.predict_proba(x[part])))
    return float(np.mean(areas[1::2]))


def plain_both(codes: np.ndarray, factors: np.ndarray) -> float:
    plain_modularity(codes, factors)
    return plain_explicitness(codes, factors)


def grouped(factors: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each factor: rows ordered by value, and the first place and the size of each value's group."""
    found = []
    for factor in factors.T:
        count = np.bincount(factor)
        found.append((np.argsort(factor, kind="stable"), np.cumsum(count) - count, count))
    return found


def plain_factor_vae(codes: np.ndarray, factors: np.ndarray, train: int, test: int) -> float:
    rng, groups, variance = np.random.default_rng(1), grouped(factors), codes.var(axis=0, ddof=1)

    def votes(count: int) -> np.ndarray:
        table = np.zeros((factors.shape[1], codes.shape[1]))
        for _ in range(count):
            k, row = rng.integers(factors.shape[1]), rng.integers(len(codes))
            order, first, size = groups[k]
            value = factors[row, k]
            rows = order[first[value] + rng.integers(size[value], size=64)]
            table[k, np.argmin(codes[rows].var(axis=0, ddof=1) / variance)] += 1
        return table

    meaning, tested = votes(train).argmax(axis=0), votes(test)
    return float(tested[meaning, np.arange(codes.shape[1])].sum() / test)


def plain_beta_vae(codes: np.ndarray, factors: np.ndarray, train: int, test: int, by_pairs: bool) -> float:
    rng, groups = np.random.default_rng(1), grouped(factors)

    def points(count: int) -> tuple[np.ndarray, np.ndarray]:
        features, labels = np.empty((count, codes.shape[1])), np.empty(count, dtype=int)
        for i in range(count):
            k, rows = rng.integers(factors.shape[1]), rng.integers(len(codes), size=64)
            order, first, size = groups[k]
            value = factors[rows, k]
            if by_pairs:
                others = np.array([order[first[v] + rng.integers(size[v])] for v in value])
            else:
                others = order[first[value] + rng.integers(size[value])]
            features[i], labels[i] = np.abs(codes[rows] - codes[others]).mean(axis=0), k
        return features, labels

    model = LogisticRegression().fit(*points(train))
    return float(model.score(*points(test)))


def plain_irs(codes: np.ndarray, factors: np.ndarray) -> float:
    largest = np.abs(codes - codes.mean(axis=0)).max(axis=0)
    within = np.zeros((codes.shape[1], factors.shape[1]))
    for i, factor in enumerate(factors.T):
        values = np.unique(factor)
        for value in values:
            rows = codes[factor == value]
            within[:, i] += np.percentile(np.abs(rows - rows.mean(axis=0)), 99, axis=0) / len(values)
    return float(np.average((1 - within / largest[:, None]).max(axis=1), weights=largest))


def plain_irs_with_error(codes: np.ndarray, factors: np.ndarray) -> float:
    tenth = np.random.default_rng(1).permutation(len(codes)) % 10
    np.std([plain_irs(codes[tenth != i], factors[tenth != i]) for i in range(10)])
    return plain_irs(codes, factors)


def seconds(run: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def rows(quick: bool, rounds: int) -> list[tuple[str, float, float, str]]:
    """Name, plain time, our time and agreement of each score."""
    codes, factors = table(1000 if quick else 10_000)
    train, test = (200, 100) if quick else (10_000, 5_000)
    ours = torch.from_numpy(codes), torch.from_numpy(factors)
    factor_vae, beta_vae = og.FactorVaeScore(train=train, test=test), og.BetaVaeScore(train=train, test=test)
    cases: list[tuple[str, Callable[[], float], CodeMetric]] = [
        ("MIG, value", lambda: plain_mig(codes, factors), og.Mig(halves=0)),
        ("MIG; ours with its error", lambda: plain_mig(codes, factors), og.Mig()),
        ("Modularity, value", lambda: plain_modularity(codes, factors), og.Modularity(explicitness=False, halves=0)),
        ("Modularity, explicitness", lambda: plain_both(codes, factors), og.Modularity(halves=0)),
        ("FactorVAE score", lambda: plain_factor_vae(codes, factors, train, test), factor_vae),
        ("BetaVAE score", lambda: plain_beta_vae(codes, factors, train, test, True), beta_vae),
        ("BetaVAE score, by points", lambda: plain_beta_vae(codes, factors, train, test, False), beta_vae),
        ("IRS and its error", lambda: plain_irs_with_error(codes, factors), og.Irs()),
        ("IRS, value", lambda: plain_irs(codes, factors), og.Irs()),
    ]
    found = []
    for name, plain, metric in cases:
        rng = torch.Generator().manual_seed(0)
        times: list[tuple[float, float]] = []
        for i in range(rounds + 1):
            a, value = seconds(plain)
            b, score = seconds(lambda metric=metric, rng=rng: metric(*ours, rng=rng))
            if i:
                times.append((a, b))
        got = score.parts["explicitness_test"] if name.endswith("explicitness") else score.value
        error = score.parts["explicitness_test_stderr"] if name.endswith("explicitness") else score.stderr
        drawn = f" (± {error:.4f})" if "VAE" in name or name.endswith("explicitness") else ""
        medians = [statistics.median(column) for column in zip(*times, strict=True)]
        found.append((name, *medians, f"{abs(got - value):.1e}{drawn}"))
    return found


def main() -> None:
    """Print a table of times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--rounds", type=int, default=5, help="rounds after the warm-up")
    parser.add_argument("--quick", action="store_true", help="1000 samples, few votes, one round: does it run?")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore", ConvergenceWarning)  # scikit-learn stops at 100 steps, as released
    rounds = 1 if args.quick else args.rounds
    print(f"torch {torch.__version__}, {args.threads} threads, median of {rounds} rounds")
    print(f"{'score':26} {'plain, ms':>10} {'ours, ms':>10} {'ratio':>7} {'target':>7}  differ by")
    for name, plain, ours, agreement in [*rows(args.quick, rounds), *codes_dci_sap.rows(args.quick)]:
        shown = agreement if isinstance(agreement, str) else f"{agreement:.1e}"
        print(
            f"{name:26} {1e3 * plain:10.1f} {1e3 * ours:10.1f} {plain / ours:7.1f} {TARGET:7.0f}  {shown}", flush=True
        )


if __name__ == "__main__":
    main()
