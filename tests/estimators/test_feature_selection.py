"""Feature selection: the group lasso, feature importances, and scikit-learn's selectors."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import RFE, SelectFromModel
from sklearn.linear_model import MultiTaskLasso
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor

BOTH = [RegularizedMLPClassifier, RegularizedMLPRegressor]
N = 120
RNG = np.random.RandomState(0)
X = RNG.randn(N, 5)
Y = X @ [[2, -1], [0.5, 1], [0, 0], [0.1, 0.1], [0, 0]] + 0.5 * RNG.randn(N, 2)
LINEAR = {
    "hidden_layer_sizes": (),
    "numeric_scaling": None,
    "early_stopping": False,
    "weight_decay": 0.0,
    "alpha": 0.0,
    "n_members": 1,
    "batch_size": N,
    "learning_rate_init": 0.1,
    "random_state": 0,
}
SOLVERS = {"sgd": 400, "adamw": 600}
FEW = {
    "hidden_layer_sizes": (64,),
    "dropout": 0.0,
    "alpha": 0.01,
    "batch_size": 256,
    "max_iter": 40,
    "early_stopping": False,
}
FEATURE_ALPHA = {RegularizedMLPClassifier: 0.05, RegularizedMLPRegressor: 0.1}
QUICK = {"hidden_layer_sizes": (16,), "max_iter": 15, "early_stopping": False, "n_members": 2, "random_state": 0}


def make_sparse_problem(seed, n=2000):
    """Ten informative columns, each with another effect, and ninety uninformative ones."""
    rng = np.random.RandomState(seed)
    table = rng.randn(n, 100)
    straight = np.tanh(2 * table[:, :6]).sum(1) + (table[:, 6] + table[:, 8] + table[:, 9]) / 2
    curved = np.abs(table[:, 6]) + np.sin(2 * table[:, 7]) + table[:, 8] * table[:, 9]
    return table, straight + curved + 0.5 * rng.randn(n)


def target(Estimator, y):
    return np.where(y > np.median(y), "high", "low") if Estimator is RegularizedMLPClassifier else y


# without a hidden layer


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("feature_alpha", [0.1, 0.2])
def test_linear_model_equals_multi_task_lasso_including_zeros(solver, feature_alpha):
    standard = StandardScaler().fit(Y)
    settings = {**LINEAR, "solver": solver, "max_iter": SOLVERS[solver]}
    ours = RegularizedMLPRegressor(**settings, feature_alpha=feature_alpha).fit(X, Y)
    theirs = MultiTaskLasso(alpha=feature_alpha, tol=1e-10, max_iter=10_000).fit(X, standard.transform(Y))
    coef = ours.coefs_[0] / standard.scale_
    np.testing.assert_allclose(coef, theirs.coef_.T, atol=1e-3)
    np.testing.assert_array_equal(coef == 0, theirs.coef_.T == 0)
    assert (coef == 0).all(1).any()


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("l1", [0.0, 0.02])
@pytest.mark.slow
def test_linear_model_with_categories_satisfies_the_optimality_conditions(solver, l1):
    """The gradient of the log loss with respect to each feature's rows is in the subdifferential of the penalties."""
    rng = np.random.RandomState(1)
    color, shape = rng.choice(["blue", "green", "red"], N), rng.choice(["flat", "round", "square", "tall"], N)
    holes = X[:, :3].copy()
    holes[::6, 1] = np.nan
    table = pd.DataFrame(holes, columns=["a", "b", "c"]).assign(color=color, shape=shape)
    y = np.digitize(X[:, 0] + 2 * (color == "red") + 0.5 * rng.randn(N), [0.0, 1.5])
    settings = {**LINEAR, "alpha": l1, "l1_ratio": 1.0, "max_iter": 2 * SOLVERS[solver]}
    net = RegularizedMLPClassifier(solver=solver, feature_alpha=0.05, **settings).fit(table, y)
    filled = np.where(np.isnan(holes), np.nanmean(holes, axis=0), holes)
    one_hot = [column[:, None] == np.unique(column) for column in (color, shape)]
    inputs = np.hstack([filled, np.isnan(holes[:, 1:2]), *one_hot])
    gradient = inputs.T @ (net.predict_proba(table) - (y[:, None] == np.arange(3))) / N
    weight = net.coefs_[0]
    for rows in ([0], [1, 3], [2], [4, 5, 6], [7, 8, 9, 10]):
        pull, w, group_alpha = -gradient[rows], weight[rows], 0.05 * np.sqrt(len(rows))
        shrunk = np.sign(pull) * np.maximum(np.abs(pull) - l1, 0)
        if (w == 0).all():
            assert np.linalg.norm(shrunk) <= group_alpha
        else:
            expected = l1 * np.sign(w) + group_alpha * w / np.linalg.norm(w)
            np.testing.assert_allclose(pull[w != 0], expected[w != 0], atol=1e-3)
            assert (np.abs(pull[w == 0]) <= l1 + 1e-3).all()
    used = net.feature_importances_ > 0
    assert used[[0, 3]].all()
    assert not used.all()


# selected features


@pytest.mark.parametrize("n_members", [1, 4])
@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.slow
def test_informative_columns_are_selected(Estimator, n_members):
    """All ten are selected, and at most two others, in each of three tables."""
    for seed in range(3):
        table, y = make_sparse_problem(seed)
        net = Estimator(**FEW, feature_alpha=FEATURE_ALPHA[Estimator], n_members=n_members, random_state=seed)
        net.fit(table, target(Estimator, y))
        used = np.flatnonzero(net.feature_importances_)
        assert used[:10].tolist() == list(range(10))
        assert len(used) <= 12
        assert net.feature_importances_[10:].sum() < 0.02


def test_large_feature_alpha_selects_no_column():
    net = RegularizedMLPRegressor(**{**QUICK, "max_iter": 30}, feature_alpha=100.0).fit(X, Y[:, 0])
    np.testing.assert_array_equal(net.feature_importances_, 0)
    np.testing.assert_allclose(net.predict(X), net.predict(X)[0])


def make_mixed_columns(numeric_embedding=None):
    """Numbers (one with missing values, one constant), categories (embedded, one-hot, binary), an empty column."""
    rng = np.random.RandomState(3)
    n = 300
    city = rng.randint(0, 12, n)
    size, holes = rng.randn(2, n)
    answer = rng.randint(0, 2, n)
    y = size + np.sin(city) * 2 + (answer == 1) + 0.1 * rng.randn(n)
    holes[::5] = np.nan
    table = pd.DataFrame(
        {
            "holes": holes,
            "city": pd.Categorical([f"c{level:02d}" for level in city]),
            "constant": 1.5,
            "size": size,
            "noise": rng.choice(list("abc"), n),
            "empty": [None] * n,
            "answer": np.where(answer == 1, "yes", "no"),
        }
    )
    net = RegularizedMLPRegressor(
        hidden_layer_sizes=(24,),
        feature_alpha=0.02,
        alpha=0.01,
        max_iter=60,
        n_members=2,
        numeric_embedding=numeric_embedding,
        random_state=0,
    )
    return table, y, net


@pytest.mark.parametrize("numeric_embedding", [None, "periodic", "piecewise_linear"])
def test_weights_of_a_column_are_zero_together(numeric_embedding):
    table, y, net = make_mixed_columns(numeric_embedding)
    shares = pd.Series(net.fit(table, y).feature_importances_, index=table.columns)
    assert (shares[["size", "city", "answer"]] > 0.1).all()
    assert (shares[["constant", "empty"]] == 0).all()
    assert shares.sum() == pytest.approx(1)
    numeric = net.net_.module_.numeric
    width = 1 if numeric is None else numeric.width
    weight = net.net_.module_.linears[0].weight.detach()
    assert weight.shape[1] == 3 * width + 1 + 3 + 1 + 8
    features = ["holes"] * width + ["constant"] * width + ["size"] * width + ["holes"] + ["noise"] * 3 + ["answer"]
    features = np.array(features + ["city"] * 8)
    norms = pd.Series(dict.fromkeys(table, 0.0))
    for name in set(features) - {"constant"}:
        rows = weight[:, np.flatnonzero(features == name)].flatten(1).double()
        norms[name] = rows.norm(dim=1).mean().item()
        used = (rows != 0).any(1)
        assert ((rows != 0).all(1) == used).all(), name
    pd.testing.assert_series_equal(shares, norms / norms.sum())


def test_importances_without_feature_alpha_are_zero_for_constant_columns_only():
    table, y, net = make_mixed_columns()
    plain = net.set_params(feature_alpha=0.0).fit(table, y)
    assert (plain.feature_importances_ > 0).tolist() == [True, True, False, True, True, False, True]


def test_importances_include_the_factors_of_batch_norm():
    net = RegularizedMLPRegressor(**{**QUICK, "n_members": 1}, batch_norm=True, numeric_embedding=None)
    net.fit(X, Y[:, 0])
    norms = np.linalg.norm(net.coefs_[0], axis=1)
    np.testing.assert_allclose(net.feature_importances_, norms / norms.sum(), rtol=1e-6)


@pytest.mark.parametrize("Estimator", BOTH)
def test_importances_raise_before_fit(Estimator):
    with pytest.raises(AttributeError, match="feature_importances_ is only available after fit"):
        Estimator().feature_importances_  # noqa: B018
    fitted = Estimator(**QUICK).fit(X, target(Estimator, Y[:, 0]))
    assert fitted.feature_importances_.shape == (5,)
    assert not hasattr(clone(fitted), "feature_importances_")


def test_feature_alpha_zero_has_no_effect():
    plain, off = (RegularizedMLPRegressor(**QUICK, **given).fit(X, Y) for given in ({}, {"feature_alpha": 0}))
    np.testing.assert_array_equal(plain.predict(X), off.predict(X))


# scikit-learn's selectors


@pytest.mark.parametrize("Estimator", BOTH)
def test_select_from_model_works_in_a_pipeline(Estimator):
    table, y = make_sparse_problem(0)
    frame = pd.DataFrame(table[:, :30], columns=[f"x{j}" for j in range(30)])
    select = SelectFromModel(Estimator(**FEW, feature_alpha=FEATURE_ALPHA[Estimator], random_state=0), threshold=1e-5)
    pipeline = make_pipeline(select.set_output(transform="pandas"), Estimator(**QUICK))
    pipeline.fit(frame, target(Estimator, y))
    selected = list(pipeline[0].get_feature_names_out())
    assert selected[:10] == [f"x{j}" for j in range(10)]
    assert len(selected) <= 12
    assert list(pipeline[-1].feature_names_in_) == selected
    assert len(pipeline.predict(frame)) == len(frame)


def test_select_from_model_keeps_categories_of_a_frame():
    table, y, net = make_mixed_columns()
    select = SelectFromModel(net, threshold=0.1).set_output(transform="pandas").fit(table, y)
    assert list(select.get_feature_names_out()) == ["city", "size", "answer"]
    assert select.transform(table)["city"].dtype == "category"


@pytest.mark.parametrize("Estimator", BOTH)
def test_recursive_feature_elimination_finds_the_informative_columns(Estimator):
    y = target(Estimator, 3 * X[:, 1] - 3 * X[:, 3])
    settings = {**QUICK, "max_iter": 40, "feature_alpha": 0.05}
    assert RFE(Estimator(**settings), n_features_to_select=2).fit(X, y).support_.tolist() == [0, 1, 0, 1, 0]


def test_warning_if_no_column_is_selected():
    X = np.random.RandomState(0).randn(100, 3)
    with pytest.warns(ConvergenceWarning, match="has set the weights of all columns to zero"):
        fitted = RegularizedMLPRegressor(feature_alpha=10.0, max_iter=20, random_state=0).fit(X, X[:, 0])
    assert not fitted.feature_importances_.any()
    assert np.ptp(fitted.predict(X)) < 1e-6
