"""Every option can be used with every kind of table."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from skreg import (
    OptunaSearchCV,
    RegularizedMLPClassifier,
    RegularizedMLPRegressor,
    augmentations,
    embeddings,
    initializers,
)
from skreg.estimators.parameters import CONSTRAINTS

N = 16
RNG = np.random.RandomState(0)
NUMBERS = RNG.randn(N, 3)
CATEGORIES = pd.DataFrame({"few": RNG.choice(list("xyz"), N), "many": [f"level {i % 12}" for i in range(N)]})
TABLES = {
    "one constant column": np.ones((N, 1)),
    "categories": CATEGORIES,
    "one embedded category": CATEGORIES[["many"]],
    "empty columns": np.full((N, 2), np.nan),
    "a constant category": CATEGORIES[["few"]].assign(few="x"),
    "mixed columns": CATEGORIES.assign(number=NUMBERS[:, 0], constant=1.0, empty=np.nan),
    "sparse": sparse.csr_array(np.where(NUMBERS > 0.5, NUMBERS, 0)),
}
SCALINGS = [*sorted(CONSTRAINTS["numeric_scaling"][0].options), None]


def add_one(inputs, generator):
    return inputs + 1


OPTIONS = [
    *({"augmentation": one, "numeric_embedding": None} for one in augmentations.__all__),
    {"augmentation": add_one},
    *({"init": one} for one in ("auto", "data_driven", *initializers.__all__)),
    *({"numeric_scaling": one} for one in SCALINGS),
    *({"numeric_embedding": one} for one in ("auto", None, *embeddings.__all__)),
    {"batch_norm": True},
    {"layer_norm": True},
    {"input_dropout": 0.5},
    {"feature_alpha": 0.01},
    {"hidden_layer_sizes": (), "alpha": 0.1, "l1_ratio": 0.5},
    {"solver": "sgd", "swa_start": 0.5, "max_norm": 1.0},
    {"solver": "lbfgs", "n_members": 1, "dropout": 0.0, "weight_decay": 0.0},
    {"precision": "bfloat16"},
]
PAIRS = [
    {"augmentation": one, "numeric_embedding": other} for one in augmentations.__all__ for other in embeddings.__all__
]
every_option = pytest.mark.parametrize(
    "options",
    [*OPTIONS, *(pytest.param(pair, marks=pytest.mark.slow) for pair in PAIRS)],
    ids=lambda options: ", ".join(f"{name}={getattr(value, '__name__', value)}" for name, value in options.items()),
)


def check_fit(estimator, X, y):
    prediction = estimator.fit(X, y).predict(X)
    values = estimator.predict_proba(X) if hasattr(estimator, "predict_proba") else prediction
    assert prediction.shape == y.shape
    assert np.isfinite(values).all()


@pytest.mark.filterwarnings("ignore:feature_alpha=0.01 has set the weights:sklearn.exceptions.ConvergenceWarning")
@every_option
@pytest.mark.parametrize("n_rows", [1, N])
def test_every_option_fits_every_kind_of_table(options, n_rows):
    settings = {"hidden_layer_sizes": (4,), "max_iter": 1, "n_members": 2, "batch_size": 8, **options}
    if options.get("solver") == "lbfgs":
        settings["batch_size"] = "auto"
    for name, table in TABLES.items():
        rows = table.iloc[:n_rows] if isinstance(table, pd.DataFrame) else table[:n_rows]
        check_fit(RegularizedMLPRegressor(**settings, random_state=0), rows, np.arange(n_rows) * 1.0)
        if n_rows > 1 and name == "categories":
            check_fit(RegularizedMLPClassifier(**settings, random_state=0), rows, np.arange(n_rows) % 2)


@pytest.mark.parametrize(
    "name", ["categories", *(pytest.param(name, marks=pytest.mark.slow) for name in ("empty columns", "sparse"))]
)
def test_candidates_of_the_default_space_fit_tables_without_numbers(name):
    net = RegularizedMLPRegressor(max_iter=1, n_members=1, hidden_layer_sizes=(4,), random_state=0)
    search = OptunaSearchCV(net, n_trials=10, cv=2, error_score="raise", random_state=0)
    search.fit(TABLES[name], np.arange(N) * 1.0)
    assert "gaussian_noise" in search.cv_results_["param_augmentation"]
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
