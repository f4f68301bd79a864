#!/usr/bin/env python3
"""Is the doctor right? Each illness is made on purpose, in several tables and seeds, beside a healthy network.

    python benchmarks/doctor.py [--base plain] [--illnesses overfitting ...] [--tables hastie ...] [--seeds 5] [--cases]

*found*: share of the ill fits in which the illness is named with high certainty (at least 0.8), and *suspected* with at
least one half. *first*: it is the first finding. *helps*: the first finding's remedy is set, columns that it names are
dropped, validation rows drawn differently are left out, and the network is fitted again; this is the share of the fits
whose test score is better then. The score is the log loss, or R2, on 2,000 rows that neither fit has seen; where
classes are out of balance their log losses count alike. *before*, *after*: its medians, of classes | of numbers.
Columns that are constant or repeat others cost the network nothing, and have no such figures.

Networks are made ill that have the defaults otherwise, or with ``--base plain`` none of the cures that are in them.
With cycles of the learning rate, at whose ends only a training stops, it hardly stops too early, and residual
connections, which numbers have by default, let no gradient vanish: these two illnesses take another rate, and do
without residual connections. ``--variants`` are wrong labels in the rows to train on only, and overfitting with early
stopping.

The healthy networks are those of the same tables, and of tables whose size, columns and noise each seed draws anew.
The lines of the checks were drawn by seeds below 20; by default others are looked at. ``--large`` only measures how
long a diagnosis of 50,000 rows takes.
"""

import argparse
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from sklearn.base import clone, is_classifier
from sklearn.datasets import make_classification, make_friedman1, make_friedman2, make_hastie_10_2
from sklearn.metrics import log_loss, r2_score
from sklearn.model_selection import train_test_split
from torch import Tensor

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor, diagnose
from skreg.diagnostics import Diagnosis, Finding

N_TRAIN, N_VAL, N_TEST = 800, 400, 2000
PLAIN: dict[str, Any] = {
    "hidden_layer_sizes": (32, 32),
    "n_members": 2,
    "max_iter": 60,
    "patience": 15,
    "batch_size": 64,
    "device": "cpu",
    "parametrization": "standard",
    "init": "auto",
    "scale_layer": False,
    "residual": False,
    "numeric_embedding": None,
    "learning_rate": "cosine",
    "learning_rate_init": 0.01,
    "alpha": 1e-5,
    "weight_decay": 0.01,
}
BASES: dict[str, dict[str, Any]] = {"plain": PLAIN, "defaults": {"device": "cpu"}}


def hastie(seed: int) -> tuple[np.ndarray, np.ndarray]:
    X, y = make_hastie_10_2(N_TRAIN + N_VAL + N_TEST, random_state=seed)
    return X, (y > 0).astype(int)


def classes(seed: int) -> tuple[np.ndarray, np.ndarray]:
    n_rows = N_TRAIN + N_VAL + N_TEST
    return make_classification(
        n_rows, 12, n_informative=6, n_redundant=2, n_classes=3, class_sep=1.5, flip_y=0.0, random_state=seed
    )


def friedman1(seed: int) -> tuple[np.ndarray, np.ndarray]:
    return make_friedman1(N_TRAIN + N_VAL + N_TEST, 10, noise=1.0, random_state=seed)


def friedman2(seed: int) -> tuple[np.ndarray, np.ndarray]:
    X, y = make_friedman2(N_TRAIN + N_VAL + N_TEST, noise=60.0, random_state=seed)
    return X, y / 100


TABLES: dict[str, Callable[[int], tuple[np.ndarray, np.ndarray]]] = {
    "hastie": hastie,
    "classes": classes,
    "friedman1": friedman1,
    "friedman2": friedman2,
}


def any_classes(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.RandomState(seed)
    informative, n_classes = int(rng.randint(3, 9)), int(rng.randint(2, 5))
    return make_classification(
        int(10 ** rng.uniform(2.4, 3.6)) + N_VAL + N_TEST,
        informative + int(rng.randint(0, 20)),
        n_informative=informative,
        n_redundant=0,
        n_classes=n_classes,
        n_clusters_per_class=1,
        class_sep=rng.uniform(0.3, 2.0),
        flip_y=0.0,
        random_state=seed,
    )


def any_numbers(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.RandomState(seed)
    n_rows, n_columns = int(10 ** rng.uniform(2.4, 3.6)) + N_VAL + N_TEST, int(rng.randint(3, 25))
    X = rng.randn(n_rows, n_columns)
    y = np.sin(X @ rng.randn(n_columns, 3)).sum(1) * rng.rand() + X @ rng.randn(n_columns) * rng.rand()
    return X, y + rng.uniform(0.0, 1.5) * y.std() * rng.randn(n_rows)


VARIOUS = {"any classes": any_classes, "any numbers": any_numbers}


@dataclass(frozen=True)
class Patient:
    """Rows and an estimator that is not fitted; X_val goes to the doctor, and into the fit if ``watches``."""

    estimator: Any
    X: np.ndarray
    y: np.ndarray
    X_val: np.ndarray
    y_val: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    shows_val: bool = False
    watches: bool = False
    dropped: list[int] = field(default_factory=list)

    def set(self, **parameters: Any) -> "Patient":
        """Another one with other parameters."""
        return replace(self, estimator=clone(self.estimator).set_params(**parameters))

    def each(self, change: Callable[[np.ndarray], np.ndarray]) -> "Patient":
        """Another one with other columns."""
        return replace(self, X=change(self.X), X_val=change(self.X_val), X_test=change(self.X_test))

    def fit(self) -> Any:
        """The estimator, fitted."""
        validation = {"X_val": self.X_val, "y_val": self.y_val} if self.watches else {}
        return clone(self.estimator).fit(self.X, self.y, **validation)

    def diagnose(self, fitted: Any) -> Diagnosis:
        """What the doctor says."""
        shown = {"X_val": self.X_val, "y_val": self.y_val} if self.shows_val or self.watches else {}
        return diagnose(fitted, self.X, self.y, **shown)

    def score(self, fitted: Any, balanced: bool) -> float:
        """Minus the log loss, or R2."""
        if not is_classifier(fitted):
            return r2_score(self.y_test, fitted.predict(self.X_test))
        share = np.bincount(self.y_test) / len(self.y_test)
        weight = 1 / share[self.y_test] if balanced else None
        proba = fitted.predict_proba(self.X_test).clip(1e-7)
        return -log_loss(self.y_test, proba / proba.sum(1, keepdims=True), sample_weight=weight)


def healthy(table: str, seed: int, base: str = "plain") -> Patient:
    """A network that nothing is wrong with."""
    X, y = (TABLES | VARIOUS)[table](seed)
    of_classes = y.dtype.kind == "i"
    Estimator = RegularizedMLPClassifier if of_classes else RegularizedMLPRegressor
    X, X_test, y, y_test = train_test_split(X, y, test_size=N_TEST, random_state=seed)
    X, X_val, y, y_val = train_test_split(X, y, test_size=N_VAL, random_state=seed)
    of_kind = {"calibrate": None} if of_classes and base == "plain" else {}
    return Patient(Estimator(**BASES[base], **of_kind, random_state=seed), X, y, X_val, y_val, X_test, y_test)


def fewer(patient: Patient, n_rows: int) -> Patient:
    return replace(patient, X=patient.X[:n_rows], y=patient.y[:n_rows])


def noisier(patient: Patient, rng: np.random.RandomState, everywhere: bool = True) -> Patient:
    """With a class in seven drawn anew, or noise of half the target's spread."""

    def change(y: np.ndarray) -> np.ndarray:
        if y.dtype.kind == "f":
            return y + 0.5 * y.std() * rng.randn(len(y))
        return np.where(rng.rand(len(y)) < 0.15, rng.randint(y.max() + 1, size=len(y)), y)

    return replace(patient, y=change(patient.y), y_val=change(patient.y_val), y_test=change(patient.y_test))


def overfitting(patient: Patient, rng: np.random.RandomState) -> Patient:
    patient = noisier(fewer(patient, 200), rng)
    patient = patient.each(lambda X: np.hstack([X, rng.randn(len(X), 15)]))
    patient = patient.set(
        early_stopping=False, hidden_layer_sizes=(128, 128), dropout=0.0, weight_decay=0.0, max_iter=100
    )
    return replace(patient, shows_val=True)


def overfitting_although_watched(patient: Patient, rng: np.random.RandomState) -> Patient:
    """With early stopping, and the width and the cures that were there."""
    patient = noisier(fewer(patient, 200), rng)
    return patient.each(lambda X: np.hstack([X, rng.randn(len(X), 15)])).set(early_stopping=True)


def underfitting(patient: Patient, rng: np.random.RandomState) -> Patient:
    return patient.set(hidden_layer_sizes=(1,), dropout=0.0)


def stopped_too_early(patient: Patient, rng: np.random.RandomState) -> Patient:
    slow = {"solver": "sgd", "learning_rate": "cosine", "learning_rate_init": 0.01, "dropout": 0.3, "batch_size": 16}
    return patient.set(patience=1, n_members=1, **slow)  # with cycles it would stop at their ends only


def still_improving(patient: Patient, rng: np.random.RandomState) -> Patient:
    return patient.set(max_iter=3)


def rate_too_high(patient: Patient, rng: np.random.RandomState) -> Patient:
    return patient.set(learning_rate_init=1.0, activation="relu")


def rate_too_low(patient: Patient, rng: np.random.RandomState) -> Patient:
    return patient.set(learning_rate_init=1e-5)


def collapsing_init(patient: Patient, rng: np.random.RandomState) -> Patient:
    return patient.set(init="normal", hidden_layer_sizes=(32,) * 6, activation="tanh")


def vanishing_gradients(patient: Patient, rng: np.random.RandomState) -> Patient:
    return patient.set(activation="logistic", init="auto", hidden_layer_sizes=(32,) * 6, residual=False)


def steep(x: Tensor) -> Tensor:
    return 4 * torch.relu(x)


def exploding_gradients(patient: Patient, rng: np.random.RandomState) -> Patient:
    return patient.set(activation=steep, init="auto", hidden_layer_sizes=(32,) * 6)


def distant(x: Tensor) -> Tensor:
    return torch.relu(x - 6)


def dead_units(patient: Patient, rng: np.random.RandomState) -> Patient:
    return patient.set(activation=distant)


def sudden(x: Tensor) -> Tensor:
    return torch.tanh(30 * x)


def saturated_units(patient: Patient, rng: np.random.RandomState) -> Patient:
    return patient.set(activation=sudden)


def over_regularised(patient: Patient, rng: np.random.RandomState) -> Patient:
    return patient.set(alpha=1.0)


def unscaled_columns(patient: Patient, rng: np.random.RandomState) -> Patient:
    factor = 10 ** rng.uniform(-2, 3, patient.X.shape[1])
    return patient.set(numeric_scaling=None).each(lambda X: X * factor)


def constant_columns(patient: Patient, rng: np.random.RandomState) -> Patient:
    return patient.each(lambda X: np.hstack([X, np.full((len(X), 2), 7.0)]))


def duplicated_columns(patient: Patient, rng: np.random.RandomState) -> Patient:
    return patient.each(lambda X: np.hstack([X, X[:, :2]]))


def leaking_column(patient: Patient, rng: np.random.RandomState) -> Patient:
    """A column that is the target, and in the rows to come is not known yet."""

    def leak(X: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.hstack([X, (y + 0.05 * y.std() * rng.randn(len(y)))[:, None]])

    return replace(
        patient,
        X=leak(patient.X, patient.y),
        X_val=leak(patient.X_val, patient.y_val),
        X_test=leak(patient.X_test, rng.permutation(patient.y_test)),
    )


def shifted_validation(patient: Patient, rng: np.random.RandomState) -> Patient:
    """Validation rows in which half of the columns are larger."""
    spread = patient.X.std(0) * (rng.permutation(patient.X.shape[1]) < patient.X.shape[1] // 2)
    return replace(patient, X_val=patient.X_val + spread, watches=True)


def few_validation_rows(patient: Patient, rng: np.random.RandomState) -> Patient:
    return fewer(patient, 300).set(early_stopping=True, validation_fraction=0.04, n_members=1)


def noisy_labels(patient: Patient, rng: np.random.RandomState) -> Patient:
    """Wrong labels in a fifth of all rows; or targets far off, which the test rows are without."""

    def change(y: np.ndarray) -> np.ndarray:
        wrong = rng.rand(len(y)) < 0.2
        if y.dtype.kind == "f":
            return y + np.where(wrong, 8 * y.std() * rng.randn(len(y)), 0.0)
        return np.where(wrong, (y + rng.randint(1, y.max() + 1, size=len(y))) % (y.max() + 1), y)

    y, y_val = change(patient.y), change(patient.y_val)
    return replace(patient, y=y, y_val=y_val, y_test=change(patient.y_test) if y.dtype.kind == "i" else patient.y_test)


def only_seen_noisy(patient: Patient, rng: np.random.RandomState) -> Patient:
    """The same, and the rows to be scored are labelled right."""
    return replace(noisy_labels(patient, rng), y_test=patient.y_test)


def unbalanced_classes(patient: Patient, rng: np.random.RandomState) -> Patient:
    """Of the last class one row in twenty is left, and noise hides it."""

    def change(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        kept = (y != y.max()) | (rng.rand(len(y)) < 1 / 20)
        return X[kept] + 0.7 * X.std(0) * rng.randn(kept.sum(), X.shape[1]), y[kept]

    parts = [change(*part) for part in ((patient.X, patient.y), (patient.X_val, patient.y_val))]
    X_test = patient.X_test + 0.7 * patient.X.std(0) * rng.randn(*patient.X_test.shape)
    (X, y), (X_val, y_val) = parts
    return replace(patient, X=X, y=y, X_val=X_val, y_val=y_val, X_test=X_test)


@dataclass(frozen=True)
class Made:
    """How an illness is made, and whether its remedy should show in the score."""

    make: Callable[[Patient, np.random.RandomState], Patient]
    cured: bool = True
    of_numbers: bool = True


MADE = {
    "leaking column": Made(leaking_column),
    "validation drawn differently": Made(shifted_validation),
    "unscaled columns": Made(unscaled_columns),
    "over-regularised": Made(over_regularised),
    "learning rate too high": Made(rate_too_high),
    "collapsing initialisation": Made(collapsing_init),
    "exploding gradients": Made(exploding_gradients),
    "saturated units": Made(saturated_units),
    "vanishing gradients": Made(vanishing_gradients),
    "dead units": Made(dead_units),
    "learning rate too low": Made(rate_too_low),
    "stopped too early": Made(stopped_too_early),
    "still improving": Made(still_improving),
    "noisy labels": Made(noisy_labels),
    "unbalanced classes": Made(unbalanced_classes, of_numbers=False),
    "overfitting": Made(overfitting),
    "underfitting": Made(underfitting),
    "too few validation rows": Made(few_validation_rows),
    "duplicated columns": Made(duplicated_columns, cured=False),
    "constant columns": Made(constant_columns, cured=False),
}

VARIANTS = {"noisy labels": Made(only_seen_noisy), "overfitting": Made(overfitting_although_watched)}


@dataclass(frozen=True)
class Result:
    """What came of one ill network."""

    of_classes: bool
    certainty: float
    first: bool
    before: float
    after: float
    names: list[str]


def treat(patient: Patient, diagnosis: Diagnosis) -> Patient:
    """Set the first finding's remedy, drop the columns that it names, leave out validation rows of another kind."""
    finding = diagnosis.findings[0]
    if finding.name == "validation drawn differently":
        patient = replace(patient, watches=False)
    places = [int(name.removeprefix("column ")) for name in finding.columns]
    return patient.set(**finding.remedy).each(lambda X: np.delete(X, places, axis=1))


def run(name: str, table: str, seed: int, base: str = "plain") -> Result:
    """Make a network ill, diagnose it, treat it, and fit it again."""
    made = MADE[name]
    patient = made.make(healthy(table, seed, base), np.random.RandomState(seed))
    fitted, balanced = patient.fit(), name == "unbalanced classes"
    diagnosis = patient.diagnose(fitted)
    certainty = max((f.certainty for f in diagnosis.findings if f.name == name), default=0.0)
    before, after = patient.score(fitted, balanced), np.nan
    if made.cured and diagnosis.findings:
        treated = treat(patient, diagnosis)
        after = treated.score(treated.fit(), balanced)
    names = [f"{finding.name} {finding.certainty:.2f}" for finding in diagnosis.findings]
    first = bool(diagnosis.findings) and diagnosis.findings[0].name == name
    return Result(is_classifier(fitted), certainty, first, before, after, names)


def show(name: str, results: list[Result]) -> None:
    """Print a line of the table."""
    found, suspected = (np.mean([r.certainty >= line for r in results]) for line in (0.8, 0.5))
    line = f"{name:30}{len(results):5}{found:8.0%}{suspected:10.0%}{np.mean([r.first for r in results]):8.0%}"
    if MADE[name].cured:
        helped = np.mean([r.after > r.before for r in results])
        medians = [
            f"{np.median([r.before for r in of]):.2f} -> {np.nanmedian([r.after for r in of]):.2f}" if of else "-"
            for of in ([r for r in results if r.of_classes], [r for r in results if not r.of_classes])
        ]
        line += f"{helped:8.0%}   {' | '.join(medians)}"
    print(line, flush=True)


def measure_time() -> None:
    """Print how long a fit of 50,000 rows by the defaults takes, and its diagnosis."""
    X, y = make_classification(50_000, 20, n_informative=10, flip_y=0.1, random_state=0)
    began = time.perf_counter()
    fitted = RegularizedMLPClassifier(random_state=0, device="cpu").fit(X, y)
    between = time.perf_counter()
    diagnosis = diagnose(fitted, X, y)
    took, fit = time.perf_counter() - between, between - began
    print(f"50,000 rows: fit {fit:.1f} s, diagnosis {took:.1f} s, {took / fit:.1%} of it\n\n{diagnosis}")


def main() -> None:
    """Make each illness in turn, print its figures, and those of the healthy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--illnesses", nargs="+", choices=["none", *MADE], default=["none", *MADE], metavar="ILLNESS")
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=list(TABLES), metavar="TABLE")
    parser.add_argument("--base", choices=list(BASES), default="defaults", help="what is made ill")
    parser.add_argument("--seeds", type=int, default=2, help="how many")
    parser.add_argument("--first", type=int, default=20, help="the first of them")
    parser.add_argument("--variants", action="store_true", help="two illnesses made otherwise")
    parser.add_argument("--jobs", type=int, default=2, help="fits at the same time")
    parser.add_argument("--cases", action="store_true", help="print what was found in each fit")
    parser.add_argument("--large", action="store_true", help="measure the time of a large diagnosis, and nothing else")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    os.environ["PYTHONWARNINGS"] = "ignore"  # of the other processes
    MADE.update(VARIANTS if args.variants else {})
    if args.large:
        measure_time()
        return
    began = time.perf_counter()
    print(f"{'illness':30}{'fits':>5}{'found':>8}{'suspected':>10}{'first':>8}{'helps':>8}   before -> after")
    seeds = range(args.first, args.first + args.seeds)
    for name in (name for name in args.illnesses if name != "none"):
        tables = [table for table in args.tables if MADE[name].of_numbers or table in ("hastie", "classes")]
        cases = [(table, seed) for table in tables for seed in seeds]
        results = Parallel(args.jobs)(delayed(run)(name, *case, args.base) for case in cases)
        show(name, results)
        for result, (table, seed) in zip(results, cases if args.cases else [], strict=args.cases):
            print(f"    {table:12} {seed:3} {result.before:7.3f} -> {result.after:7.3f} {', '.join(result.names)}")
    if "none" in args.illnesses:
        look_at_the_healthy(
            [(table, seed) for table in args.tables for seed in seeds], args.base, args.jobs, args.cases
        )
        more = range(4 * seeds.start, 4 * seeds.stop)
        look_at_the_healthy([(table, seed) for table in VARIOUS for seed in more], args.base, args.jobs, args.cases)
    print(f"{time.perf_counter() - began:.0f} s")


def look_at(table: str, seed: int, base: str) -> tuple[float, tuple[Finding, ...]]:
    """Score of a healthy network, and what is found."""
    patient = healthy(table, seed, base)
    fitted = patient.fit()
    return patient.score(fitted, False), patient.diagnose(fitted).findings


def look_at_the_healthy(cases: list[tuple[str, int]], base: str, jobs: int, shows: bool) -> None:
    """Print in how many healthy fits something is found with high certainty."""
    looks = Parallel(jobs)(delayed(look_at)(*case, base) for case in cases)
    wrong = [any(finding.is_certain for finding in findings) for _, findings in looks]
    for (table, seed), (score, findings) in zip(cases if shows else [], looks, strict=shows):
        names = ", ".join(f"{finding.name} {finding.certainty:.2f}" for finding in findings)
        print(f"    {table:12} {seed:3} {score:7.3f} {names}")
    tables = ", ".join(dict.fromkeys(table for table, _ in cases))
    print(f"healthy fits with a finding of high certainty ({tables}): {np.mean(wrong):.0%} of {len(wrong)}", flush=True)


if __name__ == "__main__":
    main()
