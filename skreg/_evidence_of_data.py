"""Evidence of the data: columns, classes, labels, and the rows that were held out."""

from itertools import pairwise
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from ._case import MOST_JUDGED, Case, Columns
from ._checks import listed
from ._signs import Sign, beyond, error_of_mean

RATIO, LARGE = 30.0, 30.0
DECADE = 0.15
GIVEN_AWAY, AHEAD = 0.9, 0.3
RARE, RECALL = 0.1, 0.5
UNSURE = 0.15
APART, CLASSES_APART = 0.6, 0.1
SURE, WRONG, BETTER = 0.25, 0.05, 0.4
FAR, OUTLYING = 5.0, 0.01


def leaking_columns(case: Case) -> Sign | None:
    """A single column tells nearly all of the target, and no other one comes near."""
    columns, y = case.columns, case.part.y[case.columns.rows]
    if y.ndim > 1 or len(y) < 50 or columns.values.shape[1] < 2:
        return None
    scores, errors = zip(*(_told_by(column, y, case.classifies) for column in columns.filled.T), strict=True)
    order = np.argsort(scores)[::-1]
    best = order[0]
    others = [scores[j] for j in order[1:] if _correlation(columns.filled, best, j) < 0.98]
    lead = scores[best] - max(others, default=0.0)
    certainty = min(beyond(scores[best], GIVEN_AWAY, errors[best]), beyond(lead, AHEAD, np.sqrt(2) * errors[best]))
    guilty = tuple(columns.names[j] for j in order if scores[j] > scores[best] - AHEAD)
    evidence = (
        f"{listed(guilty)} tells {scores[best]:.0%} of the target by itself, and the next column "
        f"{max(others, default=0.0):.0%}; it may hold what is known only afterwards"
    )
    return Sign(certainty, evidence, {}, guilty)


def _told_by(column: np.ndarray, y: np.ndarray, classifies: bool) -> tuple[float, float]:
    """Share of the target's loss that a small tree on one column saves on the other half of the rows, and its error."""
    half = np.random.RandomState(0).permutation(len(y)) < len(y) // 2
    learn, x = (column[half, None], column[~half, None])
    if not classifies:
        tree = DecisionTreeRegressor(max_depth=5, min_samples_leaf=5, random_state=0).fit(learn, y[half])
        loss, constant = np.square(y[~half] - tree.predict(x)), np.square(y[~half] - y[half].mean())
    else:
        tree = DecisionTreeClassifier(max_depth=5, min_samples_leaf=5, random_state=0).fit(learn, y[half])
        loss = (tree.predict(x) != y[~half]).astype(float)
        common = tree.classes_[tree.tree_.value[0, 0].argmax()]
        constant = (common != y[~half]).astype(float)
    scale = max(float(constant.mean()), 1e-12)
    return 1 - float(loss.mean()) / scale, error_of_mean(loss) / scale


def _correlation(values: np.ndarray, i: int, j: int) -> float:
    a, b = values[:, i], values[:, j]
    return 0.0 if not (a.std() and b.std()) else abs(float(np.corrcoef(a, b)[0, 1]))


def shifted_validation(case: Case) -> Sign | None:
    """A classifier tells the validation rows from the training rows, or their targets differ."""
    if case.own_columns is None or case.own is None:
        return None
    area, error = _told_apart(case.columns, case.own_columns)
    certainty, evidence = (
        beyond(area, APART, error),
        f"the area under its ROC curve is {area:.2f} +- {1.96 * error:.2f}",
    )
    if case.classifies:
        apart, of_apart = _classes_apart(case)
        certainty = max(certainty, beyond(apart, CLASSES_APART, of_apart))
        evidence += f", and {apart:.0%} of the rows would have to change their class"
    return Sign(certainty, f"randomised trees tell X_val from X: {evidence}")


def _told_apart(columns: Columns, own: Columns) -> tuple[float, float]:
    """Area under the ROC curve of trees that tell two tables apart on rows not learned from, and its error."""
    most = MOST_JUDGED
    X = np.vstack([columns.filled[:most], own.filled[:most]])
    theirs = np.repeat([0, 1], [min(len(columns.values), most), min(len(own.values), most)])
    few = int(np.bincount(theirs).min())
    if few < 10:
        return 0.5, 0.5
    trees = ExtraTreesClassifier(60, min_samples_leaf=5, class_weight="balanced", random_state=0)
    share = cross_val_predict(trees, X, theirs, cv=3, method="predict_proba")[:, 1]
    area = float(roc_auc_score(theirs, share))
    spread = area * (1 - area) + (few - 1) * (area / (2 - area) + 2 * area**2 / (1 + area) - 2 * area**2)
    return area, float(np.sqrt(max(spread, 1e-12) / few / (len(theirs) - few)))  # Hanley & McNeil 1982


def _classes_apart(case: Case) -> tuple[float, float]:
    """Half the sum of the differences of the classes' shares, and its standard error."""
    assert case.own is not None
    shares = [np.array([(part.y == each).mean() for each in case.estimator.classes_]) for part in (case.part, case.own)]
    noise = sum(
        np.sqrt(share * (1 - share) / len(part)) for share, part in zip(shares, (case.part, case.own), strict=True)
    )
    return float(np.abs(shares[0] - shares[1]).sum() / 2), float(np.linalg.norm(noise) / 2 + 1e-9)


def unscaled_columns(case: Case) -> Sign | None:
    """Numbers of very different size, or far from 0, are given to the network as they are."""
    if case.parameters["numeric_scaling"] is not None or not case.columns.numeric.any():
        return None
    columns = case.columns
    size = np.sqrt(np.square(columns.filled[:, columns.numeric]).mean(0))
    size = size[size > 0]
    if not len(size):
        return None
    odd = max(size.max() / size.min() / RATIO, size.max() / LARGE)
    evidence = f"the columns' root mean squares go from {size.min():.3g} to {size.max():.3g}, and numeric_scaling=None"
    return Sign(beyond(np.log10(odd), 0.0, DECADE), evidence, {"numeric_scaling": "robust"})


def duplicated_columns(case: Case) -> Sign | None:
    """Columns hold the same in every row."""
    columns, twins = case.columns, []
    values = np.nan_to_num(columns.values, nan=np.inf)
    order = np.lexsort(values[: min(len(values), 50)])
    for i, j in pairwise(order):
        if np.array_equal(values[:, i], values[:, j]) and len(np.unique(values[:, i])) > 1:
            twins.append(max(i, j))
    if not twins:
        return None
    names = tuple(columns.names[j] for j in sorted(twins))
    return Sign(1.0, f"{listed(names)} repeat other columns in {_rows_looked_at(case)}", {}, names)


def constant_columns(case: Case) -> Sign | None:
    """Columns hold the same value in every row."""
    columns = case.columns
    constant = [j for j, column in enumerate(columns.values.T) if len(np.unique(column)) == 1]
    table, encoder = case.part.table, case.estimator.encoder_
    places = {name: j for j, name in enumerate(_all_names(case))}
    position = {j: p for p, j in enumerate([*encoder.numeric_, *encoder.categorical_])}
    names = []
    for j in constant:
        p = position[places[columns.names[j]]]
        n_numbers = len(encoder.numeric_)
        whole: Any = table.numbers[:, [p]] if p < n_numbers else table.levels[:, [p - n_numbers]]
        if len(np.unique(whole.toarray() if sparse.issparse(whole) else whole)) == 1:
            names.append(columns.names[j])
    if not names:
        return None
    return Sign(1.0, f"{listed(names)} hold the same in all {len(case.part)} rows", {}, tuple(names))


def _all_names(case: Case) -> list[str]:
    names = getattr(case.estimator, "feature_names_in_", None)
    n = case.estimator.n_features_in_
    return [f"column {j}" for j in range(n)] if names is None else list(map(str, names))


def _rows_looked_at(case: Case) -> str:
    looked, whole = len(case.columns.rows), len(case.part)
    return f"all {whole} rows" if looked == whole else f"the {looked} rows looked at"


def unbalanced_classes(case: Case) -> Sign | None:
    """A class is rare, and its rows are mostly taken for another one."""
    if not case.classifies or case.parameters["class_weight"] is not None:
        return None
    seen = case.train if case.held is None else case.held
    part = case.part if case.held is None else case.held_part
    y, said = part.y[seen.rows], case.estimator.classes_[seen.decoded.argmax(1)]
    found: list[tuple[float, str]] = []
    for label in case.estimator.classes_:
        share, of_class = float((case.part.y == label).mean()), y == label
        n = int(of_class.sum())
        recall = float((said[of_class] == label).mean()) if n else 0.0
        few = beyond(-np.log10(max(share, 1e-9)), -np.log10(RARE * 2 / len(case.estimator.classes_)), 0.05)
        missed = 1 - beyond(recall, RECALL, np.sqrt((recall * (1 - recall) + 1 / (n + 4)) / (n + 4)))
        found.append(
            (min(few, missed), f"class {label!r} has {share:.1%} of the rows, and {recall:.0%} of these are found")
        )
    certainty, evidence = max(found)
    return Sign(certainty, evidence, {"class_weight": "balanced"})


def few_validation_rows(case: Case) -> Sign | None:
    """The held-out loss is so uncertain that no choice by it means much."""
    parameters, held = case.parameters, case.held
    remedy: dict[str, Any] = {
        "early_stopping": True,
        "validation_fraction": 0.25,
        "n_members": max(4, parameters["n_members"]),
    }
    if held is None:
        return Sign(0.9, "no rows were held out: give X_val and y_val, or fit with early stopping", remedy)
    error = 1.96 * error_of_mean(held.loss)
    ratio = error / max(float(held.baseline.mean()), 1e-12)
    evidence = f"on {len(held)} rows the loss is {held.loss.mean():.3g} +- {error:.3g}"
    return Sign(beyond(ratio, UNSURE, 0.25 * UNSURE), evidence, remedy if case.own is None else {})


def noisy_labels(case: Case) -> Sign | None:
    """Rows are labelled otherwise as often where the network is surest as elsewhere; or targets lie far off."""
    seen = case.train if case.held is None else case.held
    part = case.part if case.held is None else case.held_part
    return _wrong_classes(case, seen, part) if case.classifies else _far_numbers(case, seen, part)


def _wrong_classes(case: Case, seen: Any, part: Any) -> Sign | None:
    """Labels that contradict the predictions that are the surest of all.

    Where classes overlap the network is unsure, and right where it is sure; wrong labels lie everywhere.
    """
    code = np.searchsorted(case.estimator.classes_, part.y[seen.rows])
    wrong, sure = seen.decoded.argmax(1) != code, seen.decoded.max(1)
    top = sure >= np.quantile(sure, 1 - SURE)
    rate, overall = float(wrong[top].mean()), float(wrong.mean())
    guess = 1 - float(np.bincount(code).max() / len(code))
    if overall > BETTER * 2 * guess:  # too little is learned to tell chance from mistakes
        return None
    error = np.sqrt((rate * (1 - rate) + 1 / top.sum()) / top.sum())
    certainty = beyond(rate, WRONG, error)
    evidence = (
        f"of the {int(top.sum())} rows about which the network is surest {rate:.0%} are labelled otherwise, and "
        f"{overall:.0%} of all"
    )
    return Sign(certainty, evidence, _averaging(case))


def _far_numbers(case: Case, seen: Any, part: Any) -> Sign | None:
    """Residuals far beyond the spread of the others."""
    y = part.y[seen.rows]
    if seen.decoded.shape != y.shape or case.parameters["loss"] not in ("squared_error",):
        return None
    residual = (y - seen.decoded).reshape(len(y), -1)
    middle = np.median(residual, axis=0)
    spread = 1.4826 * np.median(np.abs(residual - middle), axis=0)
    far = (np.abs(residual - middle) > FAR * np.maximum(spread, 1e-300)).any(1)
    rate = float(far.mean())
    error = np.sqrt((rate * (1 - rate) + 1 / len(far)) / len(far))
    evidence = f"{rate:.1%} of the targets lie more than {FAR:g} times the usual spread from what is predicted"
    return Sign(beyond(rate, OUTLYING, error), evidence, {"loss": "huber"})


def _averaging(case: Case) -> dict[str, Any]:
    """More members and dropout: what one network learns of wrong labels by heart, others do not."""
    dropout, remedy = case.parameters["dropout"], {"n_members": max(8, 2 * case.parameters["n_members"])}
    if np.ndim(dropout) == 0 and dropout < 0.2:
        remedy["dropout"] = 0.2
    return remedy
