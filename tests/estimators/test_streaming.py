"""partial_fit: repeated calls continue one training, with the encoders of the first call."""

import gc
import os
import pickle
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.estimator_checks import check_estimators_partial_fit_n_features
from skorch.callbacks import Callback

from skreg.training import net as net_module
from tests.helpers import make_mixed_table, plain_classifier, plain_regressor

N = 120
RNG = np.random.RandomState(0)
X = RNG.randn(N, 5)
Y = 3 * (X @ [1, -2, 0, 0.3, 0] + 0.5 * RNG.randn(N)) + 7
THREE = np.digitize(Y, [4, 9])
WEIGHT = RNG.rand(N) * 5
CLASSES = [0, 1, 2]
BOTH = [(plain_regressor, Y), (plain_classifier, THREE)]
SMALL = {"hidden_layer_sizes": (12, 8), "n_members": 2, "random_state": 0}
SETTINGS = [
    {},
    {"solver": "sgd", "batch_norm": True, "clip_norm": 1.0},
    {"ema_decay": 0.9, "alpha": 1e-3, "l1_ratio": 0.5, "max_norm": 2.0},
    {"solver": "adam", "layer_norm": True, "residual": True, "augmentation": "mixup", "numeric_embedding": "periodic"},
    {"precision": "float64", "input_dropout": 0.2, "augmentation": "swap_noise"},
    {"precision": "bfloat16"},
]


def streamed(estimator, batches, write=lambda estimator: estimator):
    """Call ``partial_fit`` for each batch ``(X, y)`` or ``(X, y, weight)``, and return the estimator."""
    for rows, target, *weight in batches:
        named = {"classes": CLASSES} if is_classifier(estimator) else {}
        estimator.partial_fit(rows, target, **named, **({"sample_weight": weight[0]} if weight else {}))
        estimator = write(estimator)
    return estimator


def batches_of(*arrays, size=40):
    return [tuple(array[start : start + size] for array in arrays) for start in range(0, N, size)]


def pickled(estimator):
    return pickle.loads(pickle.dumps(estimator))


def predictions_of(estimator, rows=X):
    return estimator.predict_log_proba(rows) if hasattr(estimator, "classes_") else estimator.predict(rows)


def assert_same_bits(one, other, rows=X):
    assert predictions_of(one, rows).tobytes() == predictions_of(other, rows).tobytes()
    np.testing.assert_array_equal(one.loss_curve_, other.loss_curve_)


@pytest.mark.parametrize(("make", "y"), BOTH)
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("weight", [(), (WEIGHT,)], ids=["plain", "weighted"])
def test_repeated_calls_equal_a_fit_with_constant_learning_rate(make, y, settings, weight):
    """The state of optimizer, random generators and weight averages carries over between calls."""
    settings = {"precision": "float32", "batch_size": 32, **SMALL, **settings}
    fitted = make(**settings, learning_rate="constant", early_stopping=False, max_iter=4).fit(X, y, *weight)
    stream = streamed(make(**settings), [(X, y, *weight)] * 4)
    assert_same_bits(fitted, stream)
    assert (stream.n_iter_, stream.best_iter_, stream.validation_curve_) == (4, 4, None)


@pytest.mark.parametrize(("make", "y"), BOTH)
@pytest.mark.parametrize("settings", SETTINGS)
def test_pickling_between_calls_does_not_change_results(make, y, settings):
    batches = batches_of(X, y, WEIGHT, size=30)
    whole = streamed(make(**SMALL, **settings), batches)
    assert_same_bits(whole, streamed(make(**SMALL, **settings), batches, pickled))
    assert_same_bits(whole, streamed(clone(whole), batches))


def test_partial_fit_of_a_linear_model_is_gradient_descent():
    """With Nesterov's momentum carried over between calls, and the target scaled as in the first batch."""
    size, lr = 20, 0.05
    settings = {"hidden_layer_sizes": (), "n_members": 1, "solver": "sgd", "learning_rate_init": lr, "alpha": 0.0}
    estimator = plain_regressor(
        **settings, weight_decay=0.0, numeric_scaling=None, batch_size=size, precision="float64", random_state=0
    )
    center, scale = Y[:size].mean(), Y[:size].std()

    def standardized_weights():
        return np.append(estimator.coefs_[0][:, 0], estimator.intercepts_[0] - center) / scale

    first, *others = batches_of(X, Y, size=size)
    estimator.partial_fit(*first)
    weights, velocity = (
        standardized_weights(),
        np.concatenate([v.numpy().ravel() for v in estimator.net_.training_state_.moments["velocities"]]),
    )
    for rows, target in others:
        design = np.column_stack([rows, np.ones(size)])
        gradient = design.T @ (design @ weights - (target - center) / scale) / size
        velocity = 0.9 * velocity + gradient
        weights = weights - lr * (gradient + 0.9 * velocity)
        estimator.partial_fit(rows, target)
        np.testing.assert_allclose(standardized_weights(), weights, atol=1e-9)


@pytest.mark.parametrize(("make", "y"), BOTH)
def test_member_does_not_depend_on_the_other_members(make, y):
    four = streamed(make(**{**SMALL, "n_members": 4}), batches_of(X, y))
    two = streamed(make(**SMALL), batches_of(X, y))
    for estimator, theirs in zip(four.net_.trained_tensors(), two.net_.trained_tensors(), strict=True):
        torch.testing.assert_close(estimator[:2], theirs, atol=1e-5, rtol=1e-5)


def test_partial_fit_learns():
    stream = streamed(plain_regressor(n_members=1, random_state=0), batches_of(X, Y) * 10)
    assert stream.score(X, Y) > 0.9
    stream = streamed(plain_classifier(n_members=1, random_state=0), batches_of(X, THREE) * 10)
    assert stream.score(X, THREE) > 0.9


# state that is kept


def test_encoders_are_fitted_in_the_first_call_only():
    table, label, number = make_mixed_table(200)
    late = table.iloc[100:].assign(city="Quito", number=lambda frame: frame["number"] * 50 + 1000)
    late["count"] = None
    for estimator, target in ((plain_classifier(**SMALL), label), (plain_regressor(**SMALL), number)):
        named = {"classes": ["no", "yes"]} if target is label else {}
        estimator.partial_fit(table.iloc[:100], target.iloc[:100], **named)
        known = {name: buffer.clone() for name, buffer in estimator.net_.module_.inputs.named_buffers()}
        levels = [dict(levels) for levels in estimator.encoder_.levels_]
        estimator.partial_fit(late, target.iloc[100:])
        assert levels == estimator.encoder_.levels_
        for name, buffer in estimator.net_.module_.inputs.named_buffers():
            assert torch.equal(buffer, known[name]), name
        assert np.isfinite(predictions_of(estimator, late)).all()
        with pytest.raises(ValueError, match="feature names"):
            estimator.partial_fit(late.rename(columns={"city": "town"}), target.iloc[100:])


def test_weights_are_relative_to_the_mean_weight_of_the_first_call():
    estimator = streamed(plain_regressor(**SMALL), [(X, Y, np.full(N, 4.0)), (X, Y, np.full(N, 2.0))])
    half = streamed(plain_regressor(**SMALL), [(X, Y), (X, Y, np.full(N, 0.5))])
    assert_same_bits(estimator, half)


@pytest.mark.parametrize(("make", "y"), BOTH)
def test_rows_of_weight_0_are_ignored(make, y):
    weight = np.where(np.arange(N) % 3, 1.0, 0.0)
    kept = weight > 0
    with_zeros = streamed(make(**SMALL), [(X, y, weight)] * 2)
    assert_same_bits(with_zeros, streamed(make(**SMALL), [(X[kept], y[kept], weight[kept])] * 2))


@pytest.mark.parametrize(("make", "y"), BOTH)
def test_sparse_rows_equal_dense_rows(make, y):
    table = np.where(np.abs(X) < 0.5, 0, X)
    dense = streamed(make(**SMALL), batches_of(table, y))
    rows = streamed(make(**SMALL), [(sparse.csr_array(batch), target) for batch, target in batches_of(table, y)])
    np.testing.assert_allclose(predictions_of(dense, table), predictions_of(rows, table), atol=1e-5)


def resident_bytes():
    """Return the memory of this process, or None if it is not available."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if status.exists() else None


def test_memory_does_not_grow_with_the_number_of_calls(monkeypatch):
    """Number of objects, size of the pickle and memory of the process stay constant once the history is full."""
    monkeypatch.setattr(net_module, "MAX_STREAM_HISTORY", 20)
    estimator = plain_classifier((8,), ema_decay=0.9, n_members=1, random_state=0)
    streamed(estimator, batches_of(X, THREE) * 8)
    seen = []
    for _ in range(2):
        gc.collect()
        seen.append((len(gc.get_objects()), len(pickle.dumps(estimator)), resident_bytes()))
        streamed(estimator, batches_of(X, THREE) * 40)
    (objects, size, resident), (objects_later, size_later, resident_later) = seen
    assert objects_later - objects < 60, "less than one for three calls"
    assert abs(size_later - size) < 100
    assert resident is None or resident_later - resident < 2**22
    assert estimator.n_iter_ == 264
    assert len(estimator.loss_curve_) == len(estimator.net_.history) == 20
    assert estimator.net_.history[-1, "epoch"] == 264


# combination with fit


@pytest.mark.parametrize(("make", "y"), BOTH)
def test_partial_fit_continues_a_fit(make, y):
    fitted = make(**SMALL, max_iter=20, early_stopping=True, learning_rate_init=1e-7).fit(X, y)
    before, curve = predictions_of(fitted), fitted.loss_curve_
    fitted.partial_fit(X[:40], y[:40])
    np.testing.assert_allclose(predictions_of(fitted), before, atol=1e-3)
    assert fitted.n_iter_ == len(curve) + 1
    np.testing.assert_array_equal(fitted.loss_curve_[:-1], curve)
    assert not hasattr(fitted, "oof_prediction_")


@pytest.mark.parametrize(("make", "y"), BOTH)
def test_fit_discards_the_stream_without_warm_start(make, y):
    fresh = make(**SMALL, max_iter=3).fit(X, y)
    stream = streamed(make(**SMALL, max_iter=3), batches_of(10 * X, y))
    assert_same_bits(pickled(stream).fit(X, y), fresh)
    scale = stream.net_.module_.inputs.scale.clone()
    before = predictions_of(stream)
    stream.set_params(warm_start=True, learning_rate_init=1e-9).fit(X, y)
    assert torch.equal(stream.net_.module_.inputs.scale, scale)
    np.testing.assert_allclose(predictions_of(stream), before, atol=1e-4)


def test_averaged_weights_predict_and_training_continues_from_the_others():
    stream = streamed(plain_regressor(**SMALL, ema_decay=0.99), batches_of(X, Y))
    kept = stream.net_.training_state_
    for predicts, average, last in zip(stream.net_.trained_tensors(), kept.averages, kept.trained, strict=True):
        assert torch.equal(predicts, average)
        assert not torch.equal(predicts, last)


# errors and interrupts


def test_scikit_learn_check_of_the_number_of_features():
    check_estimators_partial_fit_n_features("RegularizedMLPClassifier", plain_classifier())
    check_estimators_partial_fit_n_features("RegularizedMLPRegressor", plain_regressor())


def test_classes_are_required_in_the_first_call():
    classifier = plain_classifier(**SMALL)
    with pytest.raises(ValueError, match="classes must be passed on the first call to partial_fit"):
        classifier.partial_fit(X, THREE)
    classifier.partial_fit(X[THREE == 1], THREE[THREE == 1], classes=[2, 0, 1])
    assert classifier.classes_.tolist() == CLASSES
    assert classifier.predict_proba(X).shape == (N, 3)
    with pytest.raises(ValueError, match=r"is not the same as on last call to partial_fit, was: array\(\[0, 1, 2\]\)"):
        classifier.partial_fit(X, THREE, classes=[0, 1])
    before = predictions_of(classifier)
    with pytest.raises(ValueError, match="classes that are not in the training rows: 3"):
        classifier.partial_fit(X, THREE + 1)
    assert predictions_of(classifier).tobytes() == before.tobytes()
    with pytest.raises(ValueError, match="not in the training rows: 7"):
        plain_classifier(**SMALL).partial_fit(X, THREE + 5, classes=[5, 6])


def test_string_labels_and_multilabel_targets():
    text = np.array(["low", "middle", "high"])[THREE]
    classifier = plain_classifier(**SMALL).partial_fit(X, text, classes=["low", "middle", "high"])
    classifier.partial_fit(X[:9], pd.Series(text[:9]))
    assert set(classifier.predict(X)) <= {"low", "middle", "high"}
    several = np.column_stack([THREE == 0, THREE == 1, THREE < 2]).astype(int)
    classifier = plain_classifier(**SMALL).partial_fit(X, several, classes=range(3)).partial_fit(X, several)
    assert classifier.predict(X).shape == several.shape
    with pytest.raises(ValueError, match=r"column indices: pass `classes=range\(3\)`"):
        plain_classifier(**SMALL).partial_fit(X, several, classes=["a", "b", "c"])


def test_class_weight_must_be_a_dict():
    with pytest.raises(ValueError, match="class_weight='balanced' is not supported for partial_fit"):
        plain_classifier(class_weight="balanced").partial_fit(X, THREE, CLASSES)
    weights = compute_class_weight("balanced", classes=np.arange(3), y=THREE)
    unscaled = plain_classifier(**SMALL, numeric_scaling=None)  # column statistics depend on sample_weight only
    weighed = clone(unscaled).set_params(class_weight=dict(enumerate(weights)))
    plain = streamed(unscaled, [(X, THREE, weights[THREE])] * 2)
    assert_same_bits(streamed(weighed, [(X, THREE)] * 2), plain)


@pytest.mark.parametrize(
    "changes", [{"hidden_layer_sizes": (9,)}, {"n_members": 3}, {"batch_norm": True}, {"numeric_embedding": "periodic"}]
)
def test_changed_shape_of_the_network_raises(changes):
    estimator = plain_regressor(**SMALL).partial_fit(X, Y)
    with pytest.raises(ValueError, match="cannot continue: the network has another shape"):
        estimator.set_params(**changes).partial_fit(X, Y)


def test_parameters_may_change_between_calls():
    stream = plain_regressor(**SMALL).partial_fit(X, Y)
    changed = {"solver": "sgd", "ema_decay": 0.9, "dropout": 0.0, "batch_size": 7, "precision": "float64"}
    for name, value in changed.items():
        stream.set_params(**{name: value}).partial_fit(X, Y)
    assert stream.n_iter_ == 6
    assert stream.net_.module_.head.weight.dtype == torch.float64


def test_divergence_causes_a_warning_and_restores_the_weights():
    estimator = plain_regressor(**SMALL, solver="sgd", weight_decay=0.0, precision="float32")
    with pytest.raises(ValueError, match="diverged in its first epoch"):
        clone(estimator).set_params(learning_rate_init=1e30).partial_fit(X, Y)
    estimator.partial_fit(X, Y).partial_fit(X, Y)
    before = predictions_of(estimator)
    estimator.set_params(learning_rate_init=1e30)
    with pytest.warns(ConvergenceWarning, match="weights of epoch 2 were restored"):
        estimator.partial_fit(X, Y)
    assert predictions_of(estimator).tobytes() == before.tobytes()
    assert all(torch.isfinite(tensor).all() for tensor in estimator.net_.training_state_.member_tensors())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator.set_params(learning_rate_init=0.01).partial_fit(X, Y)
    assert np.isfinite(predictions_of(estimator)).all()
    assert estimator.n_iter_ == 4


class Interrupt(Callback):
    """Interrupts a call after the first batch."""

    def on_batch_end(self, net, **kwargs):
        raise KeyboardInterrupt


def test_interrupted_call_does_not_change_the_estimator():
    estimator = plain_regressor(**SMALL).partial_fit(X, Y)
    before = predictions_of(estimator)
    with pytest.raises(KeyboardInterrupt):
        estimator.set_params(callbacks=[Interrupt()]).partial_fit(X, Y)
    assert predictions_of(estimator).tobytes() == before.tobytes()
    twice = plain_regressor(**SMALL).partial_fit(X, Y).partial_fit(X, Y)
    assert_same_bits(estimator.set_params(callbacks=None).partial_fit(X, Y), twice)


class Counter(Callback):
    """Counts passes."""

    def __init__(self):
        self.trained, self.passes = 0, []

    def on_train_begin(self, net, X, y, **kwargs):
        self.trained += 1

    def on_epoch_end(self, net, **kwargs):
        self.passes.append(net.history[-1, "epoch"])


def test_callbacks_and_verbose_report_each_call(capsys):
    counter = Counter()
    stream = plain_regressor(**SMALL, callbacks=[counter], verbose=1, max_iter=1)
    for _ in range(3):
        stream.partial_fit(X, Y)
    assert (counter.trained, counter.passes) == (3, [1, 2, 3])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["epoch", "-------", "1", "2", "3"]


def test_global_random_state_is_not_changed():
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    plain_regressor(**SMALL).partial_fit(X, Y).partial_fit(X, Y)
    assert (np.random.get_state()[1] == before[0]).all()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"solver": "lbfgs"}, "requires all rows at once"),
        ({"swa_start": 0.5}, "requires a known number of epochs"),
    ],
)
@pytest.mark.parametrize("make", [plain_classifier, plain_regressor])
def test_partial_fit_does_not_exist_if_parameters_do_not_support_it(make, settings, reason):
    assert hasattr(make(), "partial_fit")
    assert not hasattr(make(**settings), "partial_fit")
    with pytest.raises(AttributeError, match="has no attribute 'partial_fit'") as caught:
        make(**settings).partial_fit(None, None)
    assert reason in str(caught.value.__cause__)


def test_classes_of_another_type_or_a_single_class_raise():
    with pytest.raises(ValueError, match="contains a single class"):
        plain_classifier().partial_fit([[0.0], [1.0]], ["a", "b"], classes=["a"])
    with pytest.raises(ValueError, match=r"y (holds|contains)"):
        plain_classifier().partial_fit([[0.0], [1.0]], np.array(["0", "1"], dtype=object), classes=[0, 1])
