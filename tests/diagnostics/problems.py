"""Networks with one problem each, which the diagnostics should find.

A similar set with more tables and variants is measured by `benchmarks/diagnostics.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from sklearn.base import clone, is_classifier
from sklearn.datasets import make_classification, make_friedman1, make_friedman2, make_hastie_10_2
from sklearn.metrics import log_loss, r2_score
from sklearn.model_selection import train_test_split
from torch import Tensor

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor, diagnose
from skreg.diagnostics import Diagnosis

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


@dataclass(frozen=True)
class Experiment:
    """Data and an unfitted estimator; X_val is passed to ``diagnose``, or to ``fit`` too if ``fits_with_val``."""

    estimator: Any
    X: np.ndarray
    y: np.ndarray
    X_val: np.ndarray
    y_val: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    diagnoses_with_val: bool = False
    fits_with_val: bool = False

    def set(self, **parameters: Any) -> "Experiment":
        """Return a copy with other parameters."""
        return replace(self, estimator=clone(self.estimator).set_params(**parameters))

    def map_X(self, change: Callable[[np.ndarray], np.ndarray]) -> "Experiment":
        """Return a copy with other columns."""
        return replace(self, X=change(self.X), X_val=change(self.X_val), X_test=change(self.X_test))

    def fit(self) -> Any:
        """Fit a clone of the estimator."""
        validation = {"X_val": self.X_val, "y_val": self.y_val} if self.fits_with_val else {}
        return clone(self.estimator).fit(self.X, self.y, **validation)

    def diagnose(self, fitted: Any) -> Diagnosis:
        """Diagnose the fitted estimator."""
        validation = {"X_val": self.X_val, "y_val": self.y_val} if self.diagnoses_with_val or self.fits_with_val else {}
        return diagnose(fitted, self.X, self.y, **validation)

    def score(self, fitted: Any, balanced: bool) -> float:
        """Return minus the log loss, or R2."""
        if not is_classifier(fitted):
            return r2_score(self.y_test, fitted.predict(self.X_test))
        share = np.bincount(self.y_test) / len(self.y_test)
        weight = 1 / share[self.y_test] if balanced else None
        proba = fitted.predict_proba(self.X_test).clip(1e-7)
        return -log_loss(self.y_test, proba / proba.sum(1, keepdims=True), sample_weight=weight)


def without_problems(table: str, seed: int, base: str = "plain") -> Experiment:
    """Return an experiment without a problem."""
    X, y = TABLES[table](seed)
    is_classification = y.dtype.kind == "i"
    Estimator = RegularizedMLPClassifier if is_classification else RegularizedMLPRegressor
    X, X_test, y, y_test = train_test_split(X, y, test_size=N_TEST, random_state=seed)
    X, X_val, y, y_val = train_test_split(X, y, test_size=N_VAL, random_state=seed)
    of_kind = {"calibrate": None} if is_classification and base == "plain" else {}
    return Experiment(Estimator(**BASES[base], **of_kind, random_state=seed), X, y, X_val, y_val, X_test, y_test)


def fewer(experiment: Experiment, n_rows: int) -> Experiment:
    return replace(experiment, X=experiment.X[:n_rows], y=experiment.y[:n_rows])


def noisier(experiment: Experiment, rng: np.random.RandomState, everywhere: bool = True) -> Experiment:
    """Draw 15 % of the labels at random, or add noise of half the target's standard deviation."""

    def change(y: np.ndarray) -> np.ndarray:
        if y.dtype.kind == "f":
            return y + 0.5 * y.std() * rng.randn(len(y))
        return np.where(rng.rand(len(y)) < 0.15, rng.randint(y.max() + 1, size=len(y)), y)

    return replace(experiment, y=change(experiment.y), y_val=change(experiment.y_val), y_test=change(experiment.y_test))


def overfitting(experiment: Experiment, rng: np.random.RandomState) -> Experiment:
    experiment = noisier(fewer(experiment, 200), rng)
    experiment = experiment.map_X(lambda X: np.hstack([X, rng.randn(len(X), 15)]))
    experiment = experiment.set(
        early_stopping=False, hidden_layer_sizes=(128, 128), dropout=0.0, weight_decay=0.0, max_iter=100
    )
    return replace(experiment, diagnoses_with_val=True)


def underfitting(experiment: Experiment, rng: np.random.RandomState) -> Experiment:
    return experiment.set(hidden_layer_sizes=(1,), dropout=0.0)


def stopped_too_early(experiment: Experiment, rng: np.random.RandomState) -> Experiment:
    slow = {"solver": "sgd", "learning_rate": "cosine", "learning_rate_init": 0.01, "dropout": 0.3, "batch_size": 16}
    return experiment.set(patience=1, n_members=1, **slow)  # cyclic rates would stop only at the ends of cycles


def still_improving(experiment: Experiment, rng: np.random.RandomState) -> Experiment:
    return experiment.set(max_iter=3)


def rate_too_high(experiment: Experiment, rng: np.random.RandomState) -> Experiment:
    return experiment.set(learning_rate_init=1.0, activation="relu")


def rate_too_low(experiment: Experiment, rng: np.random.RandomState) -> Experiment:
    return experiment.set(learning_rate_init=1e-5)


def collapsing_initialization(experiment: Experiment, rng: np.random.RandomState) -> Experiment:
    return experiment.set(init="normal", hidden_layer_sizes=(32,) * 6, activation="tanh")


def vanishing_gradients(experiment: Experiment, rng: np.random.RandomState) -> Experiment:
    return experiment.set(activation="logistic", init="auto", hidden_layer_sizes=(32,) * 6, residual=False)


def steep(x: Tensor) -> Tensor:
    return 4 * torch.relu(x)


def exploding_gradients(experiment: Experiment, rng: np.random.RandomState) -> Experiment:
    return experiment.set(activation=steep, init="auto", hidden_layer_sizes=(32,) * 6)


def distant(x: Tensor) -> Tensor:
    return torch.relu(x - 6)


def dead_units(experiment: Experiment, rng: np.random.RandomState) -> Experiment:
    return experiment.set(activation=distant)


def sudden(x: Tensor) -> Tensor:
    return torch.tanh(30 * x)


def saturated_units(experiment: Experiment, rng: np.random.RandomState) -> Experiment:
    return experiment.set(activation=sudden)


def over_regularized(experiment: Experiment, rng: np.random.RandomState) -> Experiment:
    return experiment.set(alpha=1.0)


def unscaled_columns(experiment: Experiment, rng: np.random.RandomState) -> Experiment:
    factor = 10 ** rng.uniform(-2, 3, experiment.X.shape[1])
    return experiment.set(numeric_scaling=None).map_X(lambda X: X * factor)


def constant_columns(experiment: Experiment, rng: np.random.RandomState) -> Experiment:
    return experiment.map_X(lambda X: np.hstack([X, np.full((len(X), 2), 7.0)]))


def duplicated_columns(experiment: Experiment, rng: np.random.RandomState) -> Experiment:
    return experiment.map_X(lambda X: np.hstack([X, X[:, :2]]))


def leaking_column(experiment: Experiment, rng: np.random.RandomState) -> Experiment:
    """Add a copy of the target as a column, which is random in the test rows."""

    def leak(X: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.hstack([X, (y + 0.05 * y.std() * rng.randn(len(y)))[:, None]])

    return replace(
        experiment,
        X=leak(experiment.X, experiment.y),
        X_val=leak(experiment.X_val, experiment.y_val),
        X_test=leak(experiment.X_test, rng.permutation(experiment.y_test)),
    )


def shifted_validation(experiment: Experiment, rng: np.random.RandomState) -> Experiment:
    """Shift half of the columns of the validation rows."""
    spread = experiment.X.std(0) * (rng.permutation(experiment.X.shape[1]) < experiment.X.shape[1] // 2)
    return replace(experiment, X_val=experiment.X_val + spread, fits_with_val=True)


def few_validation_rows(experiment: Experiment, rng: np.random.RandomState) -> Experiment:
    return fewer(experiment, 300).set(early_stopping=True, validation_fraction=0.04, n_members=1)


def noisy_labels(experiment: Experiment, rng: np.random.RandomState) -> Experiment:
    """Use wrong labels in 20 % of all rows, or outliers in the target of the training rows."""

    def change(y: np.ndarray) -> np.ndarray:
        wrong = rng.rand(len(y)) < 0.2
        if y.dtype.kind == "f":
            return y + np.where(wrong, 8 * y.std() * rng.randn(len(y)), 0.0)
        return np.where(wrong, (y + rng.randint(1, y.max() + 1, size=len(y))) % (y.max() + 1), y)

    y, y_val = change(experiment.y), change(experiment.y_val)
    y_test = change(experiment.y_test) if y.dtype.kind == "i" else experiment.y_test
    return replace(experiment, y=y, y_val=y_val, y_test=y_test)


def unbalanced_classes(experiment: Experiment, rng: np.random.RandomState) -> Experiment:
    """Keep 5 % of the rows of the last class, and add noise to the columns."""

    def change(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        kept = (y != y.max()) | (rng.rand(len(y)) < 1 / 20)
        return X[kept] + 0.7 * X.std(0) * rng.randn(kept.sum(), X.shape[1]), y[kept]

    (X, y), (X_val, y_val) = change(experiment.X, experiment.y), change(experiment.X_val, experiment.y_val)
    X_test = experiment.X_test + 0.7 * experiment.X.std(0) * rng.randn(*experiment.X_test.shape)
    return replace(experiment, X=X, y=y, X_val=X_val, y_val=y_val, X_test=X_test)


@dataclass(frozen=True)
class Problem:
    """A function that creates the problem, and whether its remedy improves the score."""

    make: Callable[[Experiment, np.random.RandomState], Experiment]
    improves: bool = True
    for_regression: bool = True


PROBLEMS = {
    "leaking column": Problem(leaking_column),
    "validation drawn differently": Problem(shifted_validation),
    "unscaled columns": Problem(unscaled_columns),
    "over-regularized": Problem(over_regularized),
    "learning rate too high": Problem(rate_too_high),
    "collapsing initialization": Problem(collapsing_initialization),
    "exploding gradients": Problem(exploding_gradients),
    "saturated units": Problem(saturated_units),
    "vanishing gradients": Problem(vanishing_gradients),
    "dead units": Problem(dead_units),
    "learning rate too low": Problem(rate_too_low),
    "stopped too early": Problem(stopped_too_early),
    "still improving": Problem(still_improving),
    "noisy labels": Problem(noisy_labels),
    "unbalanced classes": Problem(unbalanced_classes, for_regression=False),
    "overfitting": Problem(overfitting),
    "underfitting": Problem(underfitting),
    "too few validation rows": Problem(few_validation_rows),
    "duplicated columns": Problem(duplicated_columns, improves=False),
    "constant columns": Problem(constant_columns, improves=False),
}


@dataclass(frozen=True)
class Result:
    """The outcome of one experiment."""

    is_classification: bool
    certainty: float
    first: bool
    before: float
    after: float
    names: list[str]


def apply_remedy(experiment: Experiment, diagnosis: Diagnosis) -> Experiment:
    """Set the first remedy, drop its columns, and omit validation rows of another distribution."""
    finding = diagnosis.findings[0]
    if finding.name == "validation drawn differently":
        experiment = replace(experiment, fits_with_val=False)
    columns = [int(name.removeprefix("column ")) for name in finding.columns]
    return experiment.set(**finding.remedy).map_X(lambda X: np.delete(X, columns, axis=1))


def run(name: str, table: str, seed: int, base: str = "plain") -> Result:
    """Create a problem, diagnose it, apply the first remedy, and fit again."""
    problem = PROBLEMS[name]
    experiment = problem.make(without_problems(table, seed, base), np.random.RandomState(seed))
    fitted, balanced = experiment.fit(), name == "unbalanced classes"
    diagnosis = experiment.diagnose(fitted)
    certainty = max((f.certainty for f in diagnosis.findings if f.name == name), default=0.0)
    before, after = experiment.score(fitted, balanced), np.nan
    if problem.improves and diagnosis.findings:
        improved = apply_remedy(experiment, diagnosis)
        after = improved.score(improved.fit(), balanced)
    names = [f"{finding.name} {finding.certainty:.2f}" for finding in diagnosis.findings]
    first = bool(diagnosis.findings) and diagnosis.findings[0].name == name
    return Result(is_classifier(fitted), certainty, first, before, after, names)
