"""Checks of the data: columns, classes, labels, and validation rows."""

from typing import Any

import numpy as np
from scipy import sparse
from scipy.stats import median_abs_deviation
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from ..._utils.validation import listed
from ..baselines import confident_errors
from ..context import MAX_COMPARED_ROWS, DiagnosticContext
from ..finding import Finding
from .measures import (
    averaging_remedy,
    probability_above,
    ratio_above,
    ratio_below,
    shortfall,
    standard_error,
    standard_error_of_rate,
)

# The thresholds were chosen with benchmarks/diagnostics.py, and docs/diagnostics.rst describes them.
LEAK_SHARE, LEAK_LEAD, DUPLICATE_CORRELATION = 0.9, 0.3, 0.98
SHIFT_AUC = 0.6
SCALE_RATIO, MAX_SCALE = 30.0, 30.0
RARE_SHARE, RARE_RECALL = 0.2, 0.75
MAX_RELATIVE_ERROR, MIN_VALIDATION_ROWS, MIN_LOSS_SHARE = 0.4, 40, 0.2
WRONG_LABEL_RATE, LABEL_SMOOTHING = 0.05, 0.2
MAX_ERROR_SHARE = 0.8  # share of the most frequent class's error above which predictions cannot judge labels
TRUSTED_SHORTFALL, USELESS_SHORTFALL = 0.4, 1.0
OUTLIER_DISTANCE, OUTLIER_RATE = 5.0, 0.03
NOISE_ADVICE = "Inspect the rows with the worst predictions."


def leaking_columns(context: DiagnosticContext) -> Finding | None:
    """Find columns that alone determine most of the target (Kaufman et al. 2012)."""
    columns, y = context.columns, context.data.y[context.columns.rows]
    if y.ndim > 1 or len(y) < 50 or columns.values.shape[1] < 2:
        return None
    values = columns.imputed
    scores, errors = zip(*(_explained(column, y, context.is_classification) for column in values.T), strict=True)
    order = np.argsort(scores)[::-1]
    best, *rest = order
    next_best = max((scores[j] for j in rest if not _are_duplicates(values[:, best], values[:, j])), default=0.0)
    certainty = min(
        probability_above(scores[best], LEAK_SHARE, errors[best]),
        probability_above(scores[best] - next_best, LEAK_LEAD, np.sqrt(2) * errors[best]),
    )
    names = tuple(columns.names[j] for j in order if scores[j] > scores[best] - LEAK_LEAD)
    evidence = (
        f"{listed(names)} alone explains {scores[best]:.0%} of the target, and the next column {next_best:.0%}; it may "
        "contain information that is not available at prediction time"
    )
    advice = "Check at what time the value of the column is known, and drop the column."
    return Finding("leaking column", certainty, evidence, advice=advice, columns=names)


def _explained(column: np.ndarray, y: np.ndarray, is_classification: bool) -> tuple[float, float]:
    """Share of the target's loss that a small tree on one column explains, and the standard error of this share."""
    fit_rows = np.random.RandomState(0).permutation(len(y)) < len(y) // 2
    Tree = DecisionTreeClassifier if is_classification else DecisionTreeRegressor
    tree = Tree(max_depth=5, min_samples_leaf=5, random_state=0).fit(column[fit_rows, None], y[fit_rows])
    prediction, target = tree.predict(column[~fit_rows, None]), y[~fit_rows]
    if is_classification:
        most_frequent = tree.classes_[tree.tree_.value[0, 0].argmax()]
        loss, constant_loss = (prediction != target).astype(float), (most_frequent != target).astype(float)
    else:
        loss, constant_loss = np.square(target - prediction), np.square(target - y[fit_rows].mean())
    scale = max(float(constant_loss.mean()), 1e-12)
    return 1 - float(loss.mean()) / scale, standard_error(loss) / scale


def _are_duplicates(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(a.std() and b.std() and abs(np.corrcoef(a, b)[0, 1]) >= DUPLICATE_CORRELATION)


def shifted_validation(context: DiagnosticContext) -> Finding | None:
    """Test whether trees can tell validation rows from training rows (Lopez-Paz & Oquab 2017; Rabanser et al. 2019)."""
    if context.validation_columns is None or context.validation_data is None:
        return None
    tables = [
        np.column_stack([columns.values, data.target.reshape(len(data), -1)[columns.rows]])[:MAX_COMPARED_ROWS]
        for columns, data in ((context.columns, context.data), (context.validation_columns, context.validation_data))
    ]
    n_folds = 3
    if min(map(len, tables)) < n_folds:  # each fold needs rows of both tables
        return None
    is_validation = np.repeat([0, 1], [len(table) for table in tables])
    trees = ExtraTreesClassifier(60, min_samples_leaf=5, class_weight="balanced", random_state=0)
    probability = cross_val_predict(trees, np.vstack(tables), is_validation, cv=n_folds, method="predict_proba")[:, 1]
    area = float(roc_auc_score(is_validation, probability))
    error = _standard_error_of_auc(area, *map(len, tables))
    evidence = (
        f"randomized trees distinguish the rows of X_val from those of X with an area under the ROC curve of "
        f"{area:.2f} (95 % interval {area - 1.96 * error:.2f} to {area + 1.96 * error:.2f}); it would be 0.5 if both "
        "came from the same distribution"
    )
    advice = "Fit without X_val, or draw it in the same way as the rows to be predicted."
    return Finding("validation drawn differently", probability_above(area, SHIFT_AUC, error), evidence, advice=advice)


def _standard_error_of_auc(area: float, n: int, m: int) -> float:
    """Standard error of the area under a ROC curve [Hanley & McNeil 1982]."""
    q1, q2 = area / (2 - area) - area**2, 2 * area**2 / (1 + area) - area**2
    return float(np.sqrt(max((area * (1 - area) + (n - 1) * q1 + (m - 1) * q2) / (n * m), 0.0)))


def unscaled_columns(context: DiagnosticContext) -> Finding | None:
    """Find unscaled columns with very different or large scales (LeCun et al. 1998)."""
    columns = context.columns
    if context.parameters["numeric_scaling"] is not None or not columns.numeric.any():
        return None
    scale = np.sqrt(np.square(columns.imputed[:, columns.numeric]).mean(0))
    scale = scale[scale > 0]
    if not len(scale):
        return None
    low, high = scale.min(), scale.max()
    excess = max(high / low / SCALE_RATIO, high / MAX_SCALE)
    evidence = f"the root mean squares of the columns range from {low:.3g} to {high:.3g}, and numeric_scaling=None"
    remedy = {"numeric_scaling": "robust"}
    return Finding("unscaled columns", ratio_above(excess, 1.0), evidence, remedy, "Scale the numeric columns.")


def duplicated_columns(context: DiagnosticContext) -> Finding | None:
    """Find columns that are equal to another one (Kaufman et al. 2012)."""
    columns, known, names = context.columns, set(), []
    for name, column in zip(columns.names, columns.values.T, strict=True):
        content = (column + 0.0).tobytes()  # adding 0.0 turns -0.0 into 0.0
        if content in known and len(np.unique(column)) > 1:
            names.append(name)
        known.add(content)
    if not names:
        return None
    n_sampled, n_rows = len(columns.rows), len(context.data)
    rows = f"all {n_rows} rows" if n_sampled == n_rows else f"{n_sampled} sampled rows"
    evidence = f"{listed(names)} equal other columns in {rows}"
    return Finding("duplicated columns", 1.0, evidence, advice="Drop one column of each pair.", columns=tuple(names))


def constant_columns(context: DiagnosticContext) -> Finding | None:
    """Find columns with the same value in every row (Kaufman et al. 2012)."""
    columns, table, names = context.columns, context.data, []
    n_numeric = table.numbers.shape[1]
    for name, j, sampled in zip(columns.names, columns.encoded_index, columns.values.T, strict=True):
        if len(np.unique(sampled)) == 1:  # only then is it worth examining all rows
            column: Any = table.numbers[:, [j]] if j < n_numeric else table.levels[:, [j - n_numeric]]
            if len(np.unique(column.toarray() if sparse.issparse(column) else column)) == 1:
                names.append(name)
    if not names:
        return None
    evidence = f"{listed(names)} have the same value in all {len(context.data)} rows"
    return Finding("constant columns", 1.0, evidence, advice="Drop these columns.", columns=tuple(names))


def unbalanced_classes(context: DiagnosticContext) -> Finding | None:
    """Test whether the rarest class has a much lower recall (King & Zeng 2001)."""
    if not context.is_classification or context.parameters["class_weight"] is not None:
        return None
    losses, classes = context.evaluated, context.estimator.classes_
    y, predicted = losses.y, classes[losses.decoded.argmax(1)]
    share = np.array([(context.data.y == label).mean() for label in classes])
    recall = np.array([(predicted[y == label] == label).mean() if (y == label).any() else 0.0 for label in classes])
    rare = int(share.argmin())
    others = float(np.delete(recall, rare).mean())
    is_rare = probability_above(-np.log10(max(share[rare], 1e-9)), -np.log10(RARE_SHARE / len(classes)), 0.05)
    error = standard_error_of_rate(float(recall[rare]), int((y == classes[rare]).sum()) + 4)
    is_missed = probability_above(float(RARE_RECALL * others - recall[rare]), 0.0, error)
    evidence = (
        f"class {classes.tolist()[rare]!r} makes up {share[rare]:.1%} of the rows; its recall is {recall[rare]:.0%}, "
        f"and the mean recall of the other classes is {others:.0%}"
    )
    remedy = {"class_weight": "balanced"}
    return Finding("unbalanced classes", min(is_rare, is_missed), evidence, remedy, "Weight the classes.")


def too_few_validation_rows(context: DiagnosticContext) -> Finding | None:
    """Test whether the held-out loss is too uncertain to be useful (Prechelt 1998)."""
    name, advice, held_out = "too few validation rows", "Hold out more rows.", context.held_out
    remedy: dict[str, Any] = {"early_stopping": True, "validation_fraction": 0.125}
    remedy["n_members"] = max(8, context.parameters["n_members"])
    if held_out is None:
        evidence = "no rows were held out: pass X_val and y_val, or fit with early stopping"
        return Finding(name, 0.9, evidence, remedy, advice)
    interval = 1.96 * standard_error(held_out.loss)
    scale = max(float(held_out.loss.mean()), MIN_LOSS_SHARE * float(held_out.constant_loss.mean()), 1e-12)
    is_uncertain = probability_above(interval / scale, MAX_RELATIVE_ERROR, 0.15 * MAX_RELATIVE_ERROR)
    certainty = max(is_uncertain, ratio_below(len(held_out), MIN_VALIDATION_ROWS))
    evidence = f"the loss on {len(held_out)} held-out rows is {held_out.loss.mean():.3g} ± {interval:.3g}"
    return Finding(name, certainty, evidence, remedy if context.validation_data is None else {}, advice)


def noisy_labels(context: DiagnosticContext) -> Finding | None:
    """Find wrong labels or outliers in the target (Northcutt et al. 2021)."""
    return _wrong_labels(context) if context.is_classification else _target_outliers(context)


def _wrong_labels(context: DiagnosticContext) -> Finding:
    """Find labels that contradict the most confident predictions.

    A network is uncertain where classes overlap and correct where it is confident, whereas wrong labels occur in both
    regions. The predictions of a network that has learned little are trusted only if a baseline agrees.
    """
    losses = context.evaluated
    code = np.searchsorted(context.estimator.classes_, losses.y)
    wrong = confident_errors(losses.decoded, code)
    error_rate = float((losses.decoded.argmax(1) != code).mean())
    constant_error_rate = 1 - float(np.bincount(code).max() / len(code))
    is_useless = error_rate > MAX_ERROR_SHARE * constant_error_rate
    trust = 0.0 if is_useless else 1 - shortfall(context, TRUSTED_SHORTFALL)
    if context.comparison is not None and context.comparison.confident_errors is not None:
        baseline = _are_frequent(context.comparison.confident_errors)
        trust = max(trust, min(baseline, 1 - shortfall(context, USELESS_SHORTFALL)))
    evidence = (
        f"{wrong.mean():.0%} of the {len(wrong)} rows with the most confident predictions have another label, compared "
        f"with {error_rate:.0%} of all rows"
    )
    smoothing = context.parameters["label_smoothing"]
    remedy = averaging_remedy(context.parameters, 0.2) | {
        "label_smoothing": LABEL_SMOOTHING if smoothing == "auto" else max(LABEL_SMOOTHING, smoothing),
        "calibrate": "auto",
    }
    certainty = min(_are_frequent(wrong), trust)
    return Finding("noisy labels", certainty, evidence, remedy, NOISE_ADVICE)


def _are_frequent(wrong: np.ndarray) -> float:
    """Probability that the rate of wrong labels is above the threshold."""
    rate = float(wrong.mean())
    return probability_above(rate, WRONG_LABEL_RATE, standard_error_of_rate(rate, len(wrong)))


def _target_outliers(context: DiagnosticContext) -> Finding | None:
    """Find residuals far beyond the spread of the others."""
    y, predicted = context.evaluated.y, context.evaluated.decoded
    if predicted.shape != y.shape or context.parameters["loss"] != "squared_error":
        return None
    residual, target = (values.reshape(len(y), -1) for values in (y - predicted, y))
    spread, target_spread = (median_abs_deviation(values, scale="normal") for values in (residual, target))
    # Even without outliers, a smooth function may be wrong by less than the spread of the target.
    limit = np.maximum(OUTLIER_DISTANCE * spread, np.maximum(target_spread, 1e-6 * np.abs(y).max()))
    is_outlier = (np.abs(residual - np.median(residual, axis=0)) > limit).any(1)
    rate = float(is_outlier.mean())
    certainty = probability_above(rate, OUTLIER_RATE, standard_error_of_rate(rate, len(y)))
    evidence = f"{rate:.1%} of the residuals are larger than {OUTLIER_DISTANCE:g} times their usual spread"
    return Finding("noisy labels", certainty, evidence, {"loss": "huber"}, NOISE_ADVICE)
