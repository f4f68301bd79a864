"""Evidence of the data: columns, classes, labels, and the rows that were held out."""

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from ._case import MOST_JUDGED, Case
from ._comparison import surely_wrong
from ._signs import Sign, averaging, beyond, error_of_mean, shortfall
from ._utils.validation import listed

RATIO, LARGE = 30.0, 30.0
DECADE = 0.15
GIVEN_AWAY, AHEAD = 0.9, 0.3
RARE, RECALL = 0.1, 0.75
UNSURE, FEW, LITTLE_LEFT = 0.4, 40, 0.2
APART, FEWEST = 0.6, 10
WRONG, BETTER = 0.05, 0.4
SMOOTHING = 0.2
MUCH, NOTHING = 0.4, 1.0
FAR, OUTLYING = 5.0, 0.03


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
    """A classifier tells the validation rows from the training rows, by their columns and targets."""
    if case.own_columns is None or case.own is None:
        return None
    few = min(len(case.part), len(case.own), MOST_JUDGED)
    if few < FEWEST:
        return None
    tables = [
        np.column_stack([columns.values, part.target.reshape(len(part), -1)[columns.rows]])[:MOST_JUDGED]
        for columns, part in ((case.columns, case.part), (case.own_columns, case.own))
    ]
    theirs = np.repeat([0, 1], [len(table) for table in tables])
    trees = ExtraTreesClassifier(60, min_samples_leaf=5, class_weight="balanced", random_state=0)
    share = cross_val_predict(trees, np.vstack(tables), theirs, cv=3, method="predict_proba")[:, 1]
    area = float(roc_auc_score(theirs, share))
    error = _error_of_area(area, *np.bincount(theirs))
    evidence = (
        f"randomised trees tell the rows of X_val from those of X: the area under their ROC curve is {area:.2f} (95 % "
        f"interval {area - 1.96 * error:.2f} to {area + 1.96 * error:.2f}), and would be 0.5 if they were alike"
    )
    return Sign(beyond(area, APART, error), evidence)


def _error_of_area(area: float, n: int, m: int) -> float:
    """Standard error of an area under the ROC curve [Hanley & McNeil 1982]."""
    one, other = area / (2 - area) - area**2, 2 * area**2 / (1 + area) - area**2
    return float(np.sqrt(max((area * (1 - area) + (n - 1) * one + (m - 1) * other) / (n * m), 0.0)))


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
    columns, first, twins = case.columns, set(), []
    for name, column in zip(columns.names, columns.values.T, strict=True):
        content = (column + 0.0).tobytes()  # of -0.0 and 0.0 the same
        if content in first and len(np.unique(column)) > 1:
            twins.append(name)
        first.add(content)
    if not twins:
        return None
    return Sign(1.0, f"{listed(twins)} repeat other columns in {_rows_looked_at(case)}", {}, tuple(twins))


def constant_columns(case: Case) -> Sign | None:
    """Columns hold the same value in every row."""
    columns, table, names = case.columns, case.part, []
    n_numbers = table.numbers.shape[1]
    for name, place, some in zip(columns.names, columns.places, columns.values.T, strict=True):
        if len(np.unique(some)) == 1:  # then it is worth while to look at all rows
            whole: Any = table.numbers[:, [place]] if place < n_numbers else table.levels[:, [place - n_numbers]]
            if len(np.unique(whole.toarray() if sparse.issparse(whole) else whole)) == 1:
                names.append(name)
    if not names:
        return None
    return Sign(1.0, f"{listed(names)} hold the same in all {len(case.part)} rows", {}, tuple(names))


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
    n_classes = len(case.estimator.classes_)
    shares = np.array([(case.part.y == label).mean() for label in case.estimator.classes_])
    of_class = np.array([(y == label).sum() for label in case.estimator.classes_])
    recall = np.array(
        [(said[y == label] == label).mean() if (y == label).any() else 0.0 for label in case.estimator.classes_]
    )
    rare = int(shares.argmin())
    others = float(np.delete(recall, rare).mean())
    few = beyond(-np.log10(max(shares[rare], 1e-9)), -np.log10(2 * RARE / n_classes), 0.05)
    error = np.sqrt((recall[rare] * (1 - recall[rare]) + 1 / (of_class[rare] + 4)) / (of_class[rare] + 4))
    missed = beyond(float(RECALL * others - recall[rare]), 0.0, float(error))
    evidence = (
        f"class {case.estimator.classes_.tolist()[rare]!r} has {shares[rare]:.1%} of the rows; of its rows "
        f"{recall[rare]:.0%} are found, and {others:.0%} of the others' on average"
    )
    return Sign(min(few, missed), evidence, {"class_weight": "balanced"})


def few_validation_rows(case: Case) -> Sign | None:
    """The held-out loss is so uncertain that no choice by it means much."""
    parameters, held = case.parameters, case.held
    remedy: dict[str, Any] = {
        "early_stopping": True,
        "validation_fraction": 0.125,
        "n_members": max(8, parameters["n_members"]),
    }
    if held is None:
        return Sign(0.9, "no rows were held out: give X_val and y_val, or fit with early stopping", remedy)
    error = 1.96 * error_of_mean(held.loss)
    ratio = error / max(float(held.loss.mean()), LITTLE_LEFT * float(held.baseline.mean()), 1e-12)
    certainty = max(beyond(ratio, UNSURE, 0.15 * UNSURE), beyond(-np.log10(len(held)), -np.log10(FEW), DECADE))
    evidence = f"on {len(held)} rows the loss is {held.loss.mean():.3g} +- {error:.3g}"
    return Sign(certainty, evidence, remedy if case.own is None else {})


def noisy_labels(case: Case) -> Sign | None:
    """Rows are labelled otherwise as often where the network is surest as elsewhere; or targets lie far off."""
    seen = case.train if case.held is None else case.held
    part = case.part if case.held is None else case.held_part
    return _wrong_classes(case, seen, part) if case.classifies else _far_numbers(case, seen, part)


def _wrong_classes(case: Case, seen: Any, part: Any) -> Sign | None:
    """Labels that contradict the predictions that are the surest of all.

    Where classes overlap the network is unsure, and right where it is sure; wrong labels lie everywhere. A network that
    has learned too little to tell chance from mistakes is believed where a plain model finds the same.
    """
    code = np.searchsorted(case.estimator.classes_, part.y[seen.rows])
    wrong = surely_wrong(seen.decoded, code)
    overall, guess = float((seen.decoded.argmax(1) != code).mean()), 1 - float(np.bincount(code).max() / len(code))
    believed = 0.0 if overall > BETTER * 2 * guess else 1 - shortfall(case, MUCH)
    if case.comparison is not None and case.comparison.surely_wrong is not None:
        believed = max(believed, min(_often(case.comparison.surely_wrong), 1 - shortfall(case, NOTHING)))
    evidence = (
        f"of the {len(wrong)} rows about which the network is surest {wrong.mean():.0%} are labelled otherwise, and "
        f"{overall:.0%} of all"
    )
    smoothed = case.parameters["label_smoothing"]
    even = {"label_smoothing": SMOOTHING if smoothed == "auto" else max(SMOOTHING, smoothed), "calibrate": "auto"}
    return Sign(min(_often(wrong), believed), evidence, averaging(case.parameters, 0.2) | even)


def _often(wrong: np.ndarray) -> float:
    """Certainty that more than a few of the labels are wrong, as those are that were looked at."""
    rate = float(wrong.mean())
    return beyond(rate, WRONG, float(np.sqrt((rate * (1 - rate) + 1 / len(wrong)) / len(wrong))))


def _far_numbers(case: Case, seen: Any, part: Any) -> Sign | None:
    """Residuals far beyond the spread of the others."""
    y = part.y[seen.rows]
    if seen.decoded.shape != y.shape or case.parameters["loss"] not in ("squared_error",):
        return None
    residual = (y - seen.decoded).reshape(len(y), -1)
    middle, spread = _middle_and_spread(residual)
    _, of_all = _middle_and_spread(y.reshape(residual.shape))  # what is nearer, a smooth function may well be off
    far = (np.abs(residual - middle) > np.maximum(FAR * spread, np.maximum(of_all, 1e-6 * np.abs(y).max()))).any(1)
    rate = float(far.mean())
    error = np.sqrt((rate * (1 - rate) + 1 / len(far)) / len(far))
    evidence = f"{rate:.1%} of the targets lie more than {FAR:g} times the usual spread from what is predicted"
    return Sign(beyond(rate, OUTLYING, error), evidence, {"loss": "huber"})


def _middle_and_spread(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median of each column, and that of the distances from it as a standard deviation."""
    middle = np.median(values, axis=0)
    return middle, 1.4826 * np.median(np.abs(values - middle), axis=0)
