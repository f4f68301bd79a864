import numpy as np
import pytest

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor, diagnose

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SMALL = {"hidden_layer_sizes": (8,), "max_iter": 4, "random_state": 0, "n_members": 2}
RNG = np.random.RandomState(0)
X = RNG.randn(300, 5)
Y = X[:, 0] * X[:, 1] + X[:, 2] + 0.3 * RNG.randn(300)


def test_noisy_labels_of_a_weak_network_are_found_only_if_a_baseline_agrees():
    rows = np.random.RandomState(0).randn(1200, 4)
    correct = (rows[:, 0] * rows[:, 1] + 0.4 * rows[:, 2] > 0).astype(int)
    linear = RegularizedMLPClassifier((), max_iter=30, n_members=4, random_state=0)
    assert "noisy labels" not in diagnose(linear.fit(rows, correct), rows, correct)
    noisy = np.where(np.random.RandomState(1).rand(len(correct)) < 0.2, 1 - correct, correct)
    diagnosis = diagnose(linear.fit(rows, noisy), rows, noisy)
    assert next(finding for finding in diagnosis if finding.name == "noisy labels").is_certain


def test_a_residual_smaller_than_the_spread_of_the_target_is_no_outlier():
    fitted = RegularizedMLPRegressor(**SMALL | {"max_iter": 60}, learning_rate_init=0.01).fit(X, X[:, 0])
    shifted = X[:, 0].copy()
    shifted[::20] += 0.6
    assert "noisy labels" not in diagnose(fitted, X, shifted)
    shifted[::20] += 3.0
    assert "noisy labels" in diagnose(fitted, X, shifted)


def test_columns_have_the_names_of_the_data_frame():
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame(X[:, :3], columns=["a", "b", "c"])
    table["again"], table["same"], table["text"] = table["b"], 1.0, pd.Categorical(["x"] * 300)
    diagnosis = diagnose(RegularizedMLPRegressor(**SMALL).fit(table, Y), table, Y)
    columns = {finding.name: finding.columns for finding in diagnosis}
    assert columns["duplicated columns"] == ("again",)
    assert columns["constant columns"] == ("same", "text")


def test_a_column_that_is_constant_only_in_the_sample_is_not_reported():
    wide = np.zeros((6000, 2))
    wide[:, 0], wide[7, 1] = np.arange(6000), 1.0
    fitted = RegularizedMLPRegressor(**SMALL | {"max_iter": 1}).fit(wide, wide[:, 0])
    assert "constant columns" not in diagnose(fitted, wide, wide[:, 0])


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("n_rows", [1, 2, 3])
def test_few_validation_rows_give_no_warnings(n_rows):
    y = X[:, 0]
    net = RegularizedMLPRegressor((4,), max_iter=2, early_stopping=True, random_state=0)
    net.fit(X, y, X_val=X[:n_rows], y_val=y[:n_rows])
    assert "validation drawn differently" not in {each.name for each in diagnose(net, X, y, X[:n_rows], y[:n_rows])}
