"""DCI and SAP against the formulations of scikit-learn that define them, on the same data in one process.

10 000 training and 5 000 test samples of 10 codes and 6 factors of 3, 6, 10, 8, 32 and 4 values; each code follows a
mixture of factors, with noise. Per factor, scikit-learn fits a ``GradientBoostingClassifier`` for DCI, and per code and
factor a ``LinearSVC`` for the discrete SAP. Our standard error is switched off for the comparison, which has none, and
timed by itself. "Differ by" is the largest difference of an importance, or of an accuracy of the SAP matrix.

    python benchmarks/codes_dci_sap.py [--threads 1] [--rounds 3] [--quick]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.svm import LinearSVC

import orthogen as og

SIZES = (3, 6, 10, 8, 32, 4)
SHARE = 2 / 3
TARGET = 10.0


def table(n: int, count: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Codes and factors."""
    rng = np.random.default_rng(0)
    factors = np.stack([rng.integers(size, size=n) for size in SIZES], axis=1)
    scaled = 2 * factors / (np.array(SIZES) - 1) - 1
    mixing = np.eye(len(SIZES), count) + 0.1 * rng.normal(size=(len(SIZES), count))
    return scaled @ mixing + 0.1 * rng.normal(size=(n, count)), factors


def plain_dci(codes: np.ndarray, factors: np.ndarray, boosting: int) -> np.ndarray:
    """Importances (code, factor), with the accuracies that belong to the score."""
    cut, columns = round(SHARE * len(codes)), []
    for factor in factors.T:
        model = GradientBoostingClassifier(n_estimators=boosting, random_state=0).fit(codes[:cut], factor[:cut])
        model.score(codes[:cut], factor[:cut])
        model.score(codes[cut:], factor[cut:])
        columns.append(model.feature_importances_)
    return np.stack(columns, axis=1)


def plain_sap(codes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Accuracies (code, factor)."""
    cut, matrix = round(SHARE * len(codes)), np.empty((codes.shape[1], factors.shape[1]))
    for i, code in enumerate(codes.T):
        for j, factor in enumerate(factors.T):
            model = LinearSVC(C=0.01, class_weight="balanced").fit(code[:cut, None], factor[:cut])
            matrix[i, j] = model.score(code[cut:, None], factor[cut:])
    return matrix


def seconds(run: Callable[[], object]) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, np.array(result)


def rows(quick: bool, rounds: int = 1) -> list[tuple[str, float, float, float]]:
    """Name, plain time, our time and largest difference of each score; times are medians over rounds, five for SAP."""
    codes, factors = table(600 if quick else 15_000)
    boosting = 10 if quick else 100
    ours = torch.from_numpy(codes), torch.from_numpy(factors)
    dci, quiet = og.Dci(rounds=boosting), og.Dci(rounds=boosting, stderr=False)
    cases = [
        ("DCI", lambda: plain_dci(codes, factors, boosting), lambda: quiet(*ours).parts["importance"]),
        ("SAP (discrete)", lambda: plain_sap(codes, factors), lambda: og.Sap()(*ours).parts["matrix"]),
    ]
    for metric in (quiet, og.Sap()):
        metric(*(part[:100] for part in ours))  # what happens once per process
    found = []
    for name, plain, mine in cases:
        turns = [(seconds(plain), seconds(mine)) for _ in range(rounds if name == "DCI" else max(5, rounds))]
        (_, expected), (_, got) = turns[0]
        a, b = (statistics.median(turn[i][0] for turn in turns) for i in (0, 1))
        found.append((name, a, b, float(np.abs(got - expected).max())))
        if name == "DCI":
            with_error, got = seconds(lambda: dci(*ours).parts["importance"])
            found.append(("DCI, with its error", a, with_error, float(np.abs(got - expected).max())))
    return found


def main() -> None:
    """Print a table of times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=1, help="threads of torch; scikit-learn's trees use one")
    parser.add_argument("--rounds", type=int, default=1, help="rounds of DCI, in which scikit-learn takes minutes")
    parser.add_argument("--quick", action="store_true", help="600 samples, 10 rounds of boosting: does it run?")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__}, {args.threads} threads, median of {args.rounds} rounds")
    print(f"{'score':26} {'plain, s':>10} {'ours, s':>10} {'ratio':>7} {'target':>7}  differ by")
    for name, plain, ours, difference in rows(args.quick, args.rounds):
        print(f"{name:26} {plain:10.2f} {ours:10.2f} {plain / ours:7.1f} {TARGET:7.0f}  {difference:.1e}", flush=True)


if __name__ == "__main__":
    main()
