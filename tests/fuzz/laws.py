"""Differential laws: two ways to the same result, for random tables and parameters."""

import copy
import io
import pickle
import warnings
import zlib
from dataclasses import dataclass, replace
from typing import Any

import joblib
import numpy as np
import optuna
import pandas as pd
import polars as pl
import pyarrow as pa
from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.errors import UnsatisfiedAssumption
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.ensemble import BaggingClassifier, BaggingRegressor
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skreg import OptunaSearchCV, RegularizedMLPClassifier, RegularizedMLPRegressor
from tests.fuzz.checks import Failure, require, require_close, unexpected
from tests.fuzz.parameters import SMALL, Named, Params, parameters, resolve
from tests.fuzz.tables import GAPS, Table, tables
from tests.fuzz.targets import Target, targets


@dataclass(frozen=True)
class LawExample:
    """A law, with parameters, a table and a target for which it is checked.

    Parameters
    ----------
    law : str
        Name in ``LAWS``.
    seed : int
        Seed of what the law chooses at random, such as weights or the order of the rows.
    """

    law: str
    classifier: bool
    params: Params
    table: Table
    target: Target
    seed: int

    def rng(self) -> np.random.Generator:
        """Return a generator that depends on all fields, because small seeds are drawn most often."""
        return np.random.default_rng(zlib.crc32(repr(self).encode()))

    def run(self) -> None:
        """Check the law; combinations of parameters that cannot be fitted are not tried."""
        cls = RegularizedMLPClassifier if self.classifier else RegularizedMLPRegressor
        estimator = cls(**resolve(self.params))
        X, y = self.table.build(), self.target.build(self.table.n_rows)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                clone(estimator).fit(X, y)
            except ValueError:
                reject()
            try:
                LAWS[self.law](self, estimator, X, y)
            except (Failure, UnsatisfiedAssumption):
                raise
            except Exception as error:
                raise unexpected(error, self.law) from None


def prediction(estimator: Any, X: Any) -> np.ndarray:
    """Return log probabilities or numbers."""
    found: np.ndarray = estimator.predict_proba(X) if hasattr(estimator, "predict_proba") else estimator.predict(X)
    return found


def take(X: Any, rows: np.ndarray) -> Any:
    """Return some rows of a table."""
    if isinstance(X, pd.DataFrame):
        return X.iloc[rows]
    if isinstance(X, pl.DataFrame):
        return X[rows.tolist()]
    return X[rows]


def weights_equal_repeated_rows(example: LawExample, estimator: Any, X: Any, y: Any) -> None:
    """A row of weight 2 equals a repeated row, and a row of weight 0 a removed one."""
    calm = {"dropout": 0.0, "input_dropout": 0.0, "augmentation": None, "early_stopping": False, "batch_size": 99}
    estimator.set_params(**calm, precision="float64")
    weight = example.rng().integers(0, 3, len(y))
    rows = np.repeat(np.arange(len(y)), weight)
    if len(rows) < 4 or len(np.unique(y[rows])) < 2:
        reject()
    try:
        repeated = clone(estimator).fit(take(X, rows), y[rows])
    except ValueError:
        reject()
    weighted = clone(estimator).fit(X, y, sample_weight=weight)
    require_close(prediction(weighted, X), prediction(repeated, X), example.law, 1e-5)


def weight_zero_removes_a_row(example: LawExample, estimator: Any, X: Any, y: Any) -> None:
    """Whatever the parameters are, rows of weight 0 have no influence, also among the validation rows."""
    rng = example.rng()
    weight = np.where(rng.random(len(y)) < 0.7, rng.integers(1, 3, len(y)), 0)
    kept = np.flatnonzero(weight)
    if len(kept) < 4 or len(np.unique(y[kept])) < 2:
        reject()
    validation = rng.random() < 0.5
    sets = []
    for rows in (np.arange(len(y)), kept):
        one = take(X, rows), y[rows], weight[rows]
        named = dict(zip(("X_val", "y_val", "sample_weight_val"), one, strict=True)) if validation else {}
        sets.append((one, named))
    try:
        without = clone(estimator).fit(*sets[1][0], **sets[1][1])
    except ValueError:
        reject()
    weighted = clone(estimator).fit(*sets[0][0], **sets[0][1])
    require_close(prediction(weighted, X), prediction(without, X), example.law, 1e-7)
    if not example.classifier and weighted.net_.residuals is not None:
        try:
            expected = without.predict_interval(X, 0.5)
        except ValueError:
            return
        require_close(weighted.predict_interval(X, 0.5), expected, f"{example.law}, intervals", 1e-7)
    if example.classifier:
        require_close(weighted.temperature_, without.temperature_, f"{example.law}, temperature", 1e-5)


# Containers that can hold the same values; objects keep the gap as it is written.
SAME: dict[str, Any] = {
    "array of objects": lambda frame, gap: objects(frame, gap),
    "lists": lambda frame, gap: objects(frame, gap).tolist(),
    "list of tuples": lambda frame, gap: list(map(tuple, objects(frame, gap).tolist())),
    "pandas": lambda frame, gap: frame,
    "pandas of objects": lambda frame, gap: pd.DataFrame(objects(frame, gap), columns=frame.columns, dtype=object),
    "nullable pandas": lambda frame, gap: frame.convert_dtypes(),
    "Arrow pandas": lambda frame, gap: frame.convert_dtypes(dtype_backend="pyarrow"),
    "Arrow dictionaries in pandas": lambda frame, gap: frame.astype(
        {
            name: pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))
            for name in frame
            if frame[name].dtype.kind not in "fiu"
        }
    ),
    "pandas categories": lambda frame, gap: frame.astype(
        {name: "category" for name in frame if frame[name].dtype.kind not in "fiu"}
    ),
    "polars": lambda frame, gap: as_polars(frame),
    "polars categories": lambda frame, gap: as_polars(frame).with_columns(pl.selectors.string().cast(pl.Categorical)),
    "pyarrow": lambda frame, gap: as_polars(frame).to_arrow().cast(arrow_schema(frame)),
    "pyarrow dictionaries": lambda frame, gap: dictionaries(as_polars(frame).to_arrow().cast(arrow_schema(frame))),
    "masked objects": lambda frame, gap: np.ma.MaskedArray(
        objects(frame.fillna({n: 0 if frame[n].dtype.kind in "fiu" else "red" for n in frame}), None), mask=frame.isna()
    ),
}


def objects(frame: pd.DataFrame, gap: Any) -> np.ndarray:
    """Return a frame as an array of Python objects, with gaps as given."""
    array = np.empty(frame.shape, dtype=object)
    for j, name in enumerate(frame):
        for i, value in enumerate(frame[name].tolist()):
            array[i, j] = gap if pd.isna(value) else value
    return array


def as_polars(frame: pd.DataFrame) -> pl.DataFrame:
    """Return a pandas frame as one of polars."""
    return pl.DataFrame({name: [None if pd.isna(v) else v for v in frame[name].tolist()] for name in frame})


def arrow_schema(frame: pd.DataFrame) -> pa.Schema:
    """Return the types of columns in an Arrow table."""
    return pa.schema({name: pa.float64() if frame[name].dtype.kind in "fiu" else pa.string() for name in frame})


def dictionaries(table: pa.Table) -> pa.Table:
    """Encode the columns of text."""
    columns = [c.dictionary_encode() if pa.types.is_string(c.type) else c for c in table.columns]
    return pa.Table.from_arrays(columns, table.column_names)


def containers_agree(example: LawExample, estimator: Any, X: Any, y: Any) -> None:
    """The same values in any container give the same predictions, with any gap, in fit and in predict."""
    rng, n = example.rng(), len(y)
    frame = pd.DataFrame({"number": rng.normal(size=n), "count": rng.integers(0, 5, n).astype(float)})
    frame["text"] = rng.choice(["red", "green", "blue"], n)
    gaps = rng.random(frame.shape) < rng.choice([0.0, 0.2])
    gaps[0] |= rng.random(3) < 0.3  # also in the first row
    frame = frame.mask(gaps)
    if any(frame[name].isna().all() for name in frame):
        reject()
    gap = GAPS[sorted(GAPS)[rng.integers(len(GAPS))]]
    names = rng.permutation(sorted(SAME))[:3]
    estimator.set_params(categorical_features="from_dtype")
    expected = prediction(clone(estimator).fit(frame, y), frame)
    for name in names:
        made = SAME[name](frame, gap)
        try:
            fitted = clone(estimator).fit(made, y)
            require_close(prediction(fitted, made), expected, f"{example.law}: {name}")
        except (ValueError, TypeError) as error:
            raise Failure("Broken law", f"{example.law}: {name}", f"{type(error).__name__}: {error}") from None


def sparse_equals_dense(example: LawExample, estimator: Any, X: Any, y: Any) -> None:
    """A sparse matrix of any format gives the predictions of its dense array."""
    rng = example.rng()
    dense = np.where(rng.random((len(y), 3)) < 0.5, rng.normal(size=(len(y), 3)), 0)
    estimator.set_params(categorical_features="from_dtype", precision="float64")
    kind = ["csr_array", "csc_array", "coo_array", "lil_array", "dok_array", "bsr_matrix"][rng.integers(6)]
    of_dense, of_sparse = clone(estimator).fit(dense, y), clone(estimator).fit(getattr(sparse, kind)(dense), y)
    require_close(prediction(of_sparse, sparse.csc_array(dense)), prediction(of_dense, dense), example.law, 1e-4)


def copies_are_equal(example: LawExample, estimator: Any, X: Any, y: Any) -> None:
    """Copies predict the same bits, and a clone that is fitted again does so, too."""
    fitted = clone(estimator).fit(X, y)
    copies = [copy.deepcopy(fitted)]
    if Named("lambda") not in dict(example.params).values():  # pickle does not take it
        stream = io.BytesIO()
        joblib.dump(fitted, stream)
        stream.seek(0)
        copies += [pickle.loads(pickle.dumps(fitted)), joblib.load(stream)]
    for one in [
        *copies,
        clone(fitted).fit(X, y),
        clone(copies[0]).fit(X, y),
        fitted.fit(X, y) if not fitted.warm_start else fitted,
    ]:
        require(prediction(one, X).tobytes() == prediction(fitted, X).tobytes(), example.law, prediction(one, X))


def rows_are_independent(example: LawExample, estimator: Any, X: Any, y: Any) -> None:
    """The prediction of a row depends neither on the other rows nor on their order."""
    fitted = clone(estimator).fit(X, y)
    whole, order = prediction(fitted, X), example.rng().permutation(len(y))
    require_close(prediction(fitted, take(X, order)), whole[order], example.law, 1e-9)
    for rows in order[:1], order[1:]:
        require_close(prediction(fitted, take(X, rows)), whole[rows], example.law, 1e-9)


CHANGES: list[dict[str, list[Any]]] = [
    {"alpha": [1e-3, 0.3], "l1_ratio": [0.0, 1.0]},
    {"dropout": [0.0, 0.4], "learning_rate_init": [1e-3, 0.05]},
    {"hidden_layer_sizes": [(2,), (4, 3)], "weight_decay": [0.0, 0.5]},
    {"n_members": [1, 2], "batch_size": [3, 8]},
    {"solver": ["sgd", "adam"], "feature_alpha": [0.0, 0.1]},
    {"numeric_scaling": ["standard", None], "max_norm": [None, 1.0]},
    {"augmentation": ["mixup", "swap_noise", "cutout"], "clip_norm": [None, 0.1]},
    {"early_stopping": [True, False], "ema_decay": [0.0, 0.5]},
    {"input_dropout": [0.0, 0.3], "learning_rate": ["constant", "cosine", "adaptive"]},
    {"numeric_embedding": [None, "periodic"], "max_iter": [1, 3]},
]


class HalfPipeline(Pipeline):
    """A pipeline that is trained on half of the rows, as one that samples or drops rows."""

    def fit(self, X: Any, y: Any = None, **params: Any) -> Any:
        """Fit to every second row."""
        return super().fit(take(X, np.arange(0, len(y), 2)), y[::2], **params)


class OtherPrediction(RegularizedMLPRegressor):
    """A regressor that predicts a shifted target."""

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Predict the target plus 1."""
        return super().predict(X) + 1


class OtherScore(RegularizedMLPClassifier):
    """A classifier with a score of its own."""

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the mean of the first probability."""
        return float(self.predict_proba(X)[:, 0].mean())


class Doubled(StandardScaler):
    """A transformer that changes its result in fit_transform only."""

    def fit_transform(self, X: Any, y: Any = None, **params: Any) -> Any:
        """Return twice the scaled rows."""
        return 2 * super().fit_transform(X, y, **params)


def subclass(estimator: Any) -> Any:
    """Return an estimator of a subclass that overrides a method."""
    cls = OtherScore if isinstance(estimator, RegularizedMLPClassifier) else OtherPrediction
    return cls(**estimator.get_params(deep=False))


# An estimator of numbers, and the prefix of the network's parameters.
WRAPPERS: dict[str, tuple[Any, str]] = {
    "alone": (lambda estimator: estimator, ""),
    "subclass": (subclass, ""),
    "pipeline": (lambda estimator: Pipeline([("scale", StandardScaler()), ("net", estimator)]), "net__"),
    "subclass of Pipeline": (
        lambda estimator: HalfPipeline([("scale", StandardScaler()), ("net", estimator)]),
        "net__",
    ),
    "other transformer": (lambda estimator: Pipeline([("scale", Doubled()), ("net", estimator)]), "net__"),
    "nested pipeline": (
        lambda estimator: Pipeline([("scale", StandardScaler()), ("inner", Pipeline([("net", estimator)]))]),
        "inner__net__",
    ),
    "bagging": (
        lambda estimator: (BaggingClassifier if is_classifier(estimator) else BaggingRegressor)(
            estimator, n_estimators=2, random_state=0
        ),
        "estimator__",
    ),
}


def search_scores_equal_cross_validation(example: LawExample, estimator: Any, X: Any, y: Any) -> None:
    """Each candidate of a search scores as it does in ``GridSearchCV``, and the best one is refitted alike."""
    rng = example.rng()
    wrapper = "alone" if rng.random() < 0.5 else rng.choice([*WRAPPERS])
    wrap, prefix = WRAPPERS[wrapper]
    estimator = wrap(estimator)
    if wrapper != "alone":  # the transformers take numbers only
        X = rng.normal(size=(len(y), 2))
    changes = CHANGES[rng.integers(len(CHANGES))]
    space = {prefix + name: values for name, values in changes.items()}
    splitter = StratifiedKFold if example.classifier else KFold
    folds = list(splitter(2, shuffle=True, random_state=example.seed).split(X, y))
    scoring = ["neg_log_loss", "roc_auc_ovr"][rng.integers(2)] if example.classifier else "neg_mean_squared_error"
    if wrapper == "subclass" and example.classifier:
        scoring = None  # the score method, which is continuous
    sampler = optuna.samplers.RandomSampler(seed=example.seed)
    options = {"cv": folds, "scoring": scoring, "n_trials": 3, "sampler": sampler, "error_score": "raise"}
    search = OptunaSearchCV(estimator, space, pruner=optuna.pruners.NopPruner(), **options)
    try:
        search.fit(X, y)
    except ValueError:
        reject()
    grids = [{name: [value] for name, value in params.items()} for params in search.cv_results_["params"]]
    grid = GridSearchCV(estimator, grids, scoring=scoring, cv=folds, refit=False).fit(X, y)
    for fold in range(2):
        name = f"split{fold}_test_score"
        require_close(
            search.cv_results_[name], grid.cv_results_[name], f"{example.law}: {wrapper} {sorted(changes)}", 1e-4
        )
    best = clone(estimator).set_params(**search.best_params_).fit(X, y)
    require_close(prediction(search, X), prediction(best, X), f"{example.law}, refit", 1e-7)


def jobs_do_not_matter(example: LawExample, estimator: Any, X: Any, y: Any) -> None:
    """Cross-validation and search give the same result with any number of jobs and any backend."""
    rng = example.rng()
    backend = "loky" if rng.random() < 0.05 else "threading"
    splitter = (StratifiedKFold if example.classifier else KFold)(2)
    method = "predict_proba" if example.classifier else "predict"
    space, vectorize = CHANGES[rng.integers(len(CHANGES))], bool(rng.integers(2))
    found = []
    for n_jobs in (1, 2):
        with joblib.parallel_config(backend=backend):
            predicted = cross_val_predict(estimator, X, y, cv=splitter, n_jobs=n_jobs, method=method)
            options = {"n_trials": 2, "cv": splitter, "n_jobs": n_jobs, "random_state": 0, "vectorize": vectorize}
            search = OptunaSearchCV(estimator, space, **options).fit(X, y)
        found.append((predicted, search.cv_results_["mean_test_score"], prediction(search, X)))
    for one, other in zip(*found, strict=True):
        require_close(one, other, f"{example.law}: {backend}", 1e-7)


LAWS = {
    "weights equal repeated rows": weights_equal_repeated_rows,
    "weight zero removes a row": weight_zero_removes_a_row,
    "containers agree": containers_agree,
    "sparse equals dense": sparse_equals_dense,
    "copies are equal": copies_are_equal,
    "rows are independent": rows_are_independent,
    "search scores equal cross-validation": search_scores_equal_cross_validation,
    "jobs do not matter": jobs_do_not_matter,
}


@st.composite
def law_examples(draw: st.DrawFn, law: str) -> LawExample:
    """Draw a case of a law, with usual tables and valid parameters."""
    classifier = draw(st.booleans())
    params = dict(SMALL) | dict(draw(parameters(classifier, hostile=False, max_size=3)))
    params |= {name: value for name, value in SMALL if name == "random_state"}
    for name in ("time_limit", "verbose", "device", "callbacks", "n_threads", "warm_start"):
        params.pop(name, None)
    table = draw(tables(min_rows=8, ordinary=True))
    table = replace(table, gap=table.gap and draw(st.sampled_from(["None", "nan"])))
    return LawExample(
        law,
        classifier,
        tuple(params.items()),
        table,
        draw(targets(classifier, ordinary=True)),
        draw(st.integers(0, 999)),
    )
