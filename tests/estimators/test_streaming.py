"""A stream: calls on its parts are one long training, and what the first one learned stays."""

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
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.estimator_checks import check_estimators_partial_fit_n_features
from skorch.callbacks import Callback

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.training import net as _net
from tests.helpers import make_mixed_table

pytestmark = pytest.mark.usefixtures("plain_training")

N = 120
RNG = np.random.RandomState(0)
X = RNG.randn(N, 5)
Y = 3 * (X @ [1, -2, 0, 0.3, 0] + 0.5 * RNG.randn(N)) + 7
THREE = np.digitize(Y, [4, 9])
WEIGHT = RNG.rand(N) * 5
CLASSES = [0, 1, 2]
BOTH = [(RegularizedMLPRegressor, Y), (RegularizedMLPClassifier, THREE)]
SMALL = {"hidden_layer_sizes": (12, 8), "n_members": 2, "random_state": 0}
SETTINGS = [
    {},
    {"solver": "sgd", "batch_norm": True, "clip_norm": 1.0},
    {"ema_decay": 0.9, "alpha": 1e-3, "l1_ratio": 0.5, "max_norm": 2.0},
    {"solver": "adam", "layer_norm": True, "residual": True, "augmentation": "mixup", "numeric_embedding": "periodic"},
    {"precision": "float64", "input_dropout": 0.2, "augmentation": "swap_noise"},
    {"precision": "bfloat16"},
]


def streamed(estimator, parts, write=lambda estimator: estimator):
    """The estimator after the parts ``(X, y)`` or ``(X, y, weight)`` of a stream."""
    for rows, target, *weight in parts:
        named = {"classes": CLASSES} if isinstance(estimator, RegularizedMLPClassifier) else {}
        estimator.partial_fit(rows, target, **named, **({"sample_weight": weight[0]} if weight else {}))
        estimator = write(estimator)
    return estimator


def parts_of(*arrays, size=40):
    return [tuple(array[start : start + size] for array in arrays) for start in range(0, N, size)]


def pickled(estimator):
    return pickle.loads(pickle.dumps(estimator))


def decided(estimator, rows=X):
    return estimator.predict_log_proba(rows) if hasattr(estimator, "classes_") else estimator.predict(rows)


def assert_same_bits(one, other, rows=X):
    assert decided(one, rows).tobytes() == decided(other, rows).tobytes()
    np.testing.assert_array_equal(one.loss_curve_, other.loss_curve_)


@pytest.mark.parametrize("Estimator, y", BOTH)
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("weight", [(), (WEIGHT,)], ids=["plain", "weighted"])
def test_passes_over_the_same_rows_are_a_fit_at_a_constant_rate(Estimator, y, settings, weight):
    """The optimiser, the shuffles, the masks and the averages go on from call to call: the same bits."""
    settings = {"precision": "float32", "batch_size": 32, **SMALL, **settings}
    fitted = Estimator(**settings, learning_rate="constant", early_stopping=False, max_iter=4).fit(X, y, *weight)
    stream = streamed(Estimator(**settings), [(X, y, *weight)] * 4)
    assert_same_bits(fitted, stream)
    assert (stream.n_iter_, stream.best_iter_, stream.validation_curve_) == (4, 4, None)


@pytest.mark.parametrize("Estimator, y", BOTH)
@pytest.mark.parametrize("settings", SETTINGS)
def test_a_pickle_between_calls_changes_nothing(Estimator, y, settings):
    parts = parts_of(X, y, WEIGHT, size=30)
    whole = streamed(Estimator(**SMALL, **settings), parts)
    assert_same_bits(whole, streamed(Estimator(**SMALL, **settings), parts, pickled))
    assert_same_bits(whole, streamed(clone(whole), parts))


def test_is_gradient_descent_over_the_parts():
    """Written out: a linear model, Nesterov's momentum carried over the calls, the first part's scales."""
    size, lr = 20, 0.05
    settings = {"hidden_layer_sizes": (), "n_members": 1, "solver": "sgd", "learning_rate_init": lr, "alpha": 0.0}
    ours = RegularizedMLPRegressor(
        **settings, weight_decay=0.0, numeric_scaling=None, batch_size=size, precision="float64", random_state=0
    )
    center, scale = Y[:size].mean(), Y[:size].std()

    def standing():
        return np.append(ours.coefs_[0][:, 0], ours.intercepts_[0] - center) / scale

    first, *others = parts_of(X, Y, size=size)
    ours.partial_fit(*first)
    weights, velocity = (
        standing(),
        np.concatenate([v.numpy().ravel() for v in ours.net_.training_state_.moments["velocities"]]),
    )
    for rows, target in others:
        design = np.column_stack([rows, np.ones(size)])
        gradient = design.T @ (design @ weights - (target - center) / scale) / size
        velocity = 0.9 * velocity + gradient
        weights = weights - lr * (gradient + 0.9 * velocity)
        ours.partial_fit(rows, target)
        np.testing.assert_allclose(standing(), weights, atol=1e-9)


@pytest.mark.parametrize("Estimator, y", BOTH)
def test_a_member_streams_as_if_alone(Estimator, y):
    four = streamed(Estimator(**{**SMALL, "n_members": 4}), parts_of(X, y))
    two = streamed(Estimator(**SMALL), parts_of(X, y))
    for ours, theirs in zip(four.net_.trained_tensors(), two.net_.trained_tensors(), strict=True):
        torch.testing.assert_close(ours[:2], theirs, atol=1e-5, rtol=1e-5)


def test_learns():
    stream = streamed(RegularizedMLPRegressor(n_members=1, random_state=0), parts_of(X, Y) * 10)
    assert stream.score(X, Y) > 0.9
    stream = streamed(RegularizedMLPClassifier(n_members=1, random_state=0), parts_of(X, THREE) * 10)
    assert stream.score(X, THREE) > 0.9


# what stays as learned


def test_columns_stay_as_the_first_call_learned_them():
    table, label, number = make_mixed_table(200)
    late = table.iloc[100:].assign(city="Quito", number=lambda frame: frame["number"] * 50 + 1000)
    late["count"] = None
    for estimator, target in ((RegularizedMLPClassifier(**SMALL), label), (RegularizedMLPRegressor(**SMALL), number)):
        named = {"classes": ["no", "yes"]} if target is label else {}
        estimator.partial_fit(table.iloc[:100], target.iloc[:100], **named)
        known = {name: buffer.clone() for name, buffer in estimator.net_.module_.inputs.named_buffers()}
        levels = [dict(levels) for levels in estimator.encoder_.levels_]
        estimator.partial_fit(late, target.iloc[100:])
        assert levels == estimator.encoder_.levels_
        for name, buffer in estimator.net_.module_.inputs.named_buffers():
            assert torch.equal(buffer, known[name]), name
        assert np.isfinite(decided(estimator, late)).all()
        with pytest.raises(ValueError, match="feature names"):
            estimator.partial_fit(late.rename(columns={"city": "town"}), target.iloc[100:])


def test_the_first_calls_mean_weight_is_the_unit_of_all():
    ours = streamed(RegularizedMLPRegressor(**SMALL), [(X, Y, np.full(N, 4.0)), (X, Y, np.full(N, 2.0))])
    half = streamed(RegularizedMLPRegressor(**SMALL), [(X, Y), (X, Y, np.full(N, 0.5))])
    assert_same_bits(ours, half)


@pytest.mark.parametrize("Estimator, y", BOTH)
def test_rows_of_weight_0_are_not_there(Estimator, y):
    weight = np.where(np.arange(N) % 3, 1.0, 0.0)
    kept = weight > 0
    with_zeros = streamed(Estimator(**SMALL), [(X, y, weight)] * 2)
    assert_same_bits(with_zeros, streamed(Estimator(**SMALL), [(X[kept], y[kept], weight[kept])] * 2))


@pytest.mark.parametrize("Estimator, y", BOTH)
def test_sparse_rows_are_streamed_alike(Estimator, y):
    table = np.where(np.abs(X) < 0.5, 0, X)
    dense = streamed(Estimator(**SMALL), parts_of(table, y))
    rows = streamed(Estimator(**SMALL), [(sparse.csr_array(part), target) for part, target in parts_of(table, y)])
    np.testing.assert_allclose(decided(dense, table), decided(rows, table), atol=1e-5)


def resident_bytes():
    """Memory of this process; None where the system does not say."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if status.exists() else None


def test_memory_stays_flat(monkeypatch):
    """Neither objects nor the pickle nor the process grow with the number of calls, once the history is full."""
    monkeypatch.setattr(_net, "MAX_STREAM_HISTORY", 20)
    estimator = RegularizedMLPClassifier((8,), ema_decay=0.9, n_members=1, random_state=0)
    streamed(estimator, parts_of(X, THREE) * 8)
    seen = []
    for _ in range(2):
        gc.collect()
        seen.append((len(gc.get_objects()), len(pickle.dumps(estimator)), resident_bytes()))
        streamed(estimator, parts_of(X, THREE) * 40)
    (objects, size, resident), (objects_later, size_later, resident_later) = seen
    assert objects_later - objects < 60, "less than one for three calls"
    assert abs(size_later - size) < 100
    assert resident is None or resident_later - resident < 2**22
    assert estimator.n_iter_ == 264
    assert len(estimator.loss_curve_) == len(estimator.net_.history) == 20
    assert estimator.net_.history[-1, "epoch"] == 264


# fit before and after


@pytest.mark.parametrize("Estimator, y", BOTH)
def test_goes_on_from_a_fit(Estimator, y):
    fitted = Estimator(**SMALL, max_iter=20, early_stopping=True, learning_rate_init=1e-7).fit(X, y)
    before, curve = decided(fitted), fitted.loss_curve_
    fitted.partial_fit(X[:40], y[:40])
    np.testing.assert_allclose(decided(fitted), before, atol=1e-3)
    assert fitted.n_iter_ == len(curve) + 1
    np.testing.assert_array_equal(fitted.loss_curve_[:-1], curve)
    assert not hasattr(fitted, "oof_prediction_")


@pytest.mark.parametrize("Estimator, y", BOTH)
def test_a_fit_afterwards_starts_afresh_unless_it_is_warm(Estimator, y):
    fresh = Estimator(**SMALL, max_iter=3).fit(X, y)
    stream = streamed(Estimator(**SMALL, max_iter=3), parts_of(10 * X, y))
    assert_same_bits(pickled(stream).fit(X, y), fresh)
    scale = stream.net_.module_.inputs.scale.clone()
    before = decided(stream)
    stream.set_params(warm_start=True, learning_rate_init=1e-9).fit(X, y)
    assert torch.equal(stream.net_.module_.inputs.scale, scale)
    np.testing.assert_allclose(decided(stream), before, atol=1e-4)


def test_the_average_predicts_and_training_goes_on_from_the_weights():
    stream = streamed(RegularizedMLPRegressor(**SMALL, ema_decay=0.99), parts_of(X, Y))
    kept = stream.net_.training_state_
    for predicts, average, last in zip(stream.net_.trained_tensors(), kept.averages, kept.trained, strict=True):
        assert torch.equal(predicts, average)
        assert not torch.equal(predicts, last)


# what is refused, and what goes wrong


def test_scikit_learns_check_of_features():
    check_estimators_partial_fit_n_features("RegularizedMLPClassifier", RegularizedMLPClassifier())
    check_estimators_partial_fit_n_features("RegularizedMLPRegressor", RegularizedMLPRegressor())


def test_classes_are_named_at_the_first_call():
    classifier = RegularizedMLPClassifier(**SMALL)
    with pytest.raises(ValueError, match="classes must be passed on the first call to partial_fit"):
        classifier.partial_fit(X, THREE)
    classifier.partial_fit(X[THREE == 1], THREE[THREE == 1], classes=[2, 0, 1])
    assert classifier.classes_.tolist() == CLASSES
    assert classifier.predict_proba(X).shape == (N, 3)
    with pytest.raises(ValueError, match=r"is not the same as on last call to partial_fit, was: array\(\[0, 1, 2\]\)"):
        classifier.partial_fit(X, THREE, classes=[0, 1])
    before = decided(classifier)
    with pytest.raises(ValueError, match="classes that the training rows do not have: 3"):
        classifier.partial_fit(X, THREE + 1)
    assert decided(classifier).tobytes() == before.tobytes()
    with pytest.raises(ValueError, match="do not have: 7"):
        RegularizedMLPClassifier(**SMALL).partial_fit(X, THREE + 5, classes=[5, 6])


def test_labels_may_be_text_and_several_at_once():
    text = np.array(["low", "middle", "high"])[THREE]
    classifier = RegularizedMLPClassifier(**SMALL).partial_fit(X, text, classes=["low", "middle", "high"])
    classifier.partial_fit(X[:9], pd.Series(text[:9]))
    assert set(classifier.predict(X)) <= {"low", "middle", "high"}
    several = np.column_stack([THREE == 0, THREE == 1, THREE < 2]).astype(int)
    classifier = RegularizedMLPClassifier(**SMALL).partial_fit(X, several, classes=range(3)).partial_fit(X, several)
    assert classifier.predict(X).shape == several.shape
    with pytest.raises(ValueError, match=r"the classes are their column numbers, range\(3\)"):
        RegularizedMLPClassifier(**SMALL).partial_fit(X, several, classes=["a", "b", "c"])


def test_balanced_weights_are_refused_and_a_dict_is_taken():
    with pytest.raises(ValueError, match="class_weight='balanced' is not supported for partial_fit"):
        RegularizedMLPClassifier(class_weight="balanced").partial_fit(X, THREE, CLASSES)
    weights = compute_class_weight("balanced", classes=np.arange(3), y=THREE)
    unscaled = RegularizedMLPClassifier(**SMALL, numeric_scaling=None)  # no statistics, in which the weights differ
    weighed = clone(unscaled).set_params(class_weight=dict(enumerate(weights)))
    plain = streamed(unscaled, [(X, THREE, weights[THREE])] * 2)
    assert_same_bits(streamed(weighed, [(X, THREE)] * 2), plain)


@pytest.mark.parametrize(
    "changes", [{"hidden_layer_sizes": (9,)}, {"n_members": 3}, {"batch_norm": True}, {"numeric_embedding": "periodic"}]
)
def test_another_shape_is_refused(changes):
    estimator = RegularizedMLPRegressor(**SMALL).partial_fit(X, Y)
    with pytest.raises(ValueError, match="cannot continue: the network has another shape"):
        estimator.set_params(**changes).partial_fit(X, Y)


def test_parameters_may_change_on_the_way():
    stream = RegularizedMLPRegressor(**SMALL).partial_fit(X, Y)
    changed = {"solver": "sgd", "ema_decay": 0.9, "dropout": 0.0, "batch_size": 7, "precision": "float64"}
    for name, value in changed.items():
        stream.set_params(**{name: value}).partial_fit(X, Y)
    assert stream.n_iter_ == 6
    assert stream.net_.module_.head.weight.dtype == torch.float64


def test_divergence_is_said_and_the_last_good_weights_stay():
    estimator = RegularizedMLPRegressor(**SMALL, solver="sgd", weight_decay=0.0, precision="float32")
    with pytest.raises(ValueError, match="diverged in its first epoch"):
        clone(estimator).set_params(learning_rate_init=1e30).partial_fit(X, Y)
    estimator.partial_fit(X, Y).partial_fit(X, Y)
    before = decided(estimator)
    estimator.set_params(learning_rate_init=1e30)
    with pytest.warns(ConvergenceWarning, match="weights of epoch 2 were restored"):
        estimator.partial_fit(X, Y)
    assert decided(estimator).tobytes() == before.tobytes()
    assert all(torch.isfinite(tensor).all() for tensor in estimator.net_.training_state_.member_tensors())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator.set_params(learning_rate_init=0.01).partial_fit(X, Y)
    assert np.isfinite(decided(estimator)).all()
    assert estimator.n_iter_ == 4


class Interrupt(Callback):
    """Presses Ctrl-C in the middle of a pass."""

    def on_batch_end(self, net, **kwargs):
        raise KeyboardInterrupt


def test_an_interrupted_call_leaves_what_was():
    estimator = RegularizedMLPRegressor(**SMALL).partial_fit(X, Y)
    before = decided(estimator)
    with pytest.raises(KeyboardInterrupt):
        estimator.set_params(callbacks=[Interrupt()]).partial_fit(X, Y)
    assert decided(estimator).tobytes() == before.tobytes()
    twice = RegularizedMLPRegressor(**SMALL).partial_fit(X, Y).partial_fit(X, Y)
    assert_same_bits(estimator.set_params(callbacks=None).partial_fit(X, Y), twice)


class Counter(Callback):
    """Counts passes."""

    def __init__(self):
        self.trained, self.passes = 0, []

    def on_train_begin(self, net, X, y, **kwargs):
        self.trained += 1

    def on_epoch_end(self, net, **kwargs):
        self.passes.append(net.history[-1, "epoch"])


def test_callbacks_hear_of_passes_and_verbose_prints_one_line_each(capsys):
    counter = Counter()
    stream = RegularizedMLPRegressor(**SMALL, callbacks=[counter], verbose=1, max_iter=1)
    for _ in range(3):
        stream.partial_fit(X, Y)
    assert (counter.trained, counter.passes) == (3, [1, 2, 3])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["epoch", "-------", "1", "2", "3"]


def test_a_stream_leaves_no_trace():
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    RegularizedMLPRegressor(**SMALL).partial_fit(X, Y).partial_fit(X, Y)
    assert (np.random.get_state()[1] == before[0]).all()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"solver": "lbfgs"}, "takes all rows at once"),
        ({"swa_start": 0.5}, "needs the end of a training"),
    ],
)
@pytest.mark.parametrize("Estimator", [RegularizedMLPClassifier, RegularizedMLPRegressor])
def test_what_needs_all_rows_has_no_partial_fit(Estimator, settings, reason):
    assert hasattr(Estimator(), "partial_fit")
    assert not hasattr(Estimator(**settings), "partial_fit")
    with pytest.raises(AttributeError, match="has no attribute 'partial_fit'") as caught:
        Estimator(**settings).partial_fit(None, None)
    assert reason in str(caught.value.__cause__)


def test_classes_of_another_type_or_too_few_are_refused():
    with pytest.raises(ValueError, match="names one class"):
        RegularizedMLPClassifier().partial_fit([[0.0], [1.0]], ["a", "b"], classes=["a"])
    with pytest.raises(ValueError, match=r"y (holds|contains)"):
        RegularizedMLPClassifier().partial_fit([[0.0], [1.0]], np.array(["0", "1"], dtype=object), classes=[0, 1])
