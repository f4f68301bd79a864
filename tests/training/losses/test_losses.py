"""Properties of every loss, and comparisons with scikit-learn and torch."""

import inspect
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    log_loss,
    mean_absolute_error,
    mean_gamma_deviance,
    mean_pinball_loss,
    mean_poisson_deviance,
    mean_squared_error,
)

from skreg import losses
from skreg.training.losses import classification, regression

MEMBERS, ROWS, OUTPUTS = 2, 40, 3
GENERATOR = torch.Generator().manual_seed(0)
RAW = torch.randn(MEMBERS, ROWS, OUTPUTS, generator=GENERATOR, dtype=torch.float64)
WEIGHT = torch.rand(MEMBERS, ROWS, generator=GENERATOR, dtype=torch.float64)
EQUAL_WEIGHT = torch.full((MEMBERS, ROWS), 1 / ROWS, dtype=torch.float64)
NUMBERS = torch.randn(MEMBERS, ROWS, OUTPUTS, generator=GENERATOR, dtype=torch.float64)
BINARY = torch.randint(2, (MEMBERS, ROWS, OUTPUTS), generator=GENERATOR).double()
CLASSES = torch.randint(OUTPUTS, (MEMBERS, ROWS), generator=GENERATOR)
TARGETS = {
    "AbsoluteError": NUMBERS,
    "BinaryFocalLoss": BINARY,
    "BinaryLogLoss": BINARY,
    "HalfGammaDeviance": NUMBERS.exp(),
    "HalfPoissonDeviance": NUMBERS.clamp(min=0),
    "HalfSquaredError": NUMBERS,
    "HuberLoss": NUMBERS,
    "MulticlassFocalLoss": CLASSES,
    "MulticlassLogLoss": CLASSES,
    "PinballLoss": NUMBERS,
}
REGRESSION = [n for n in losses.__all__ if issubclass(getattr(losses, n), losses.RegressionLoss)]
CLASSIFICATION = [n for n in losses.__all__ if n not in REGRESSION]
MULTICLASS = [n for n in CLASSIFICATION if issubclass(getattr(losses, n), losses.MulticlassLoss)]


def make(name):
    return getattr(losses, name)()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", losses.__all__)
def test_losses_and_gradients_are_finite_for_each_member(name, dtype):
    target = TARGETS[name].to(dtype) if TARGETS[name].is_floating_point() else TARGETS[name]
    for scale in (1.0, 1e4, 0.0):
        raw = (scale * RAW.sign() if scale == 1e4 else scale * RAW).to(dtype).requires_grad_()
        loss = make(name)(raw, target, WEIGHT.to(dtype))
        loss.sum().backward()
        assert loss.shape == (MEMBERS,)
        assert (loss >= 0).all()
        assert torch.isfinite(loss).all()
        assert torch.isfinite(raw.grad).all()


@pytest.mark.parametrize("name", losses.__all__)
def test_a_loss_is_the_weighted_sum_of_its_rows(name):
    rows = [make(name)(RAW[:, i : i + 1], TARGETS[name][:, i : i + 1], WEIGHT[:, i : i + 1]) for i in range(ROWS)]
    torch.testing.assert_close(make(name)(RAW, TARGETS[name], WEIGHT), sum(rows))
    torch.testing.assert_close(make(name)(RAW, TARGETS[name], 2 * WEIGHT), 2 * sum(rows))


@pytest.mark.parametrize("name", losses.__all__)
def test_other_members_and_padding_have_no_influence(name):
    weight = WEIGHT.clone()
    weight[1, 30:] = 0
    raw = RAW.clone().requires_grad_()
    make(name)(raw, TARGETS[name], weight)[1].backward()
    touched = raw.grad.abs().sum(-1) > 0
    assert not touched[0].any()
    assert touched[1, :30].all()
    assert not touched[1, 30:].any()


@pytest.mark.parametrize("name", [n for n in losses.__all__ if n not in MULTICLASS])
def test_outputs_of_a_row_are_summed(name):
    outputs = [slice(j, j + 1) for j in range(OUTPUTS)]
    each = [make(name)(RAW[..., j], TARGETS[name][..., j], WEIGHT) for j in outputs]
    torch.testing.assert_close(make(name)(RAW, TARGETS[name], WEIGHT), sum(each))


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_probabilities_sum_to_one(name):
    for scale in (1.0, 1e4):
        log_probability = make(name).log_probability(scale * RAW)
        assert torch.isfinite(log_probability).all()
        torch.testing.assert_close(log_probability.exp().sum(-1), torch.ones(log_probability.shape[:-1]).double())


def test_half_squared_error_is_half_the_metric():
    target = TARGETS["HalfSquaredError"]
    loss = losses.HalfSquaredError()(RAW, target, EQUAL_WEIGHT)
    for m in range(MEMBERS):
        metric = mean_squared_error(target[m], RAW[m], multioutput="raw_values").sum()
        assert loss[m].item() == pytest.approx(metric / 2)


def test_log_losses_equal_the_metric():
    multiclass, binary = losses.MulticlassLogLoss(), losses.BinaryLogLoss()
    classes, yes = TARGETS["MulticlassLogLoss"], TARGETS["BinaryLogLoss"][..., :1]
    of_classes, of_binary = multiclass(RAW, classes, EQUAL_WEIGHT), binary(RAW[..., :1], yes, EQUAL_WEIGHT)
    for m in range(MEMBERS):
        assert of_classes[m].item() == pytest.approx(log_loss(classes[m], multiclass.log_probability(RAW[m]).exp()))
        probability = binary.log_probability(RAW[m, :, :1]).exp()[:, 0]
        assert of_binary[m].item() == pytest.approx(log_loss(yes[m].ravel(), probability))


def test_all_lists_every_concrete_loss():
    concrete = {
        name
        for file in (classification, regression)
        for name, value in vars(file).items()
        if inspect.isclass(value) and issubclass(value, losses.Loss) and not inspect.isabstract(value)
    }
    assert concrete == set(losses.__all__) == set(TARGETS)


def test_binary_and_multiclass_losses_have_the_same_names():
    assert set(losses.BinaryLoss.registered()) == set(losses.MulticlassLoss.registered())


# regression losses

QUANTILES = (0.9, 0.1, 0.5)
EXPECTED = {
    "AbsoluteError": lambda y, w: weighted_quantile(y, w, 0.5),
    "HalfGammaDeviance": lambda y, w: np.average(y, weights=w),
    "HalfPoissonDeviance": lambda y, w: np.average(y, weights=w),
    "HalfSquaredError": lambda y, w: np.average(y, weights=w),
    "HuberLoss": lambda y, w: huber_mean(y, w),
    "PinballLoss": lambda y, w: weighted_quantile(y, w, 0.5),
}


def weighted_quantile(y, weight, q):
    """Return a quantile as the inverse of the weighted distribution function."""
    order = np.argsort(y)
    return y[order][np.searchsorted(np.cumsum(weight[order]), q * weight.sum())]


def huber_mean(y, weight):
    """Compute Huber's estimate by iteratively reweighted least squares [Huber & Ronchetti 2009, section 7.8]."""
    center = np.average(y, weights=weight)
    for _ in range(200):
        robust_weight = weight * np.minimum(1, 1.345 / np.maximum(np.abs(y - center), 1e-12))
        center = np.average(y, weights=robust_weight)
    return center


def best_constant(loss, target, weight):
    """Return the prediction of the constant raw output with the smallest loss, by golden-section search."""
    low, high = -8.0, 8.0
    for _ in range(80):
        a, b = high - (high - low) * 0.6180339887, low + (high - low) * 0.6180339887
        values = [loss(torch.full_like(target, c), target, weight).sum().item() for c in (a, b)]
        low, high = (low, b) if values[0] < values[1] else (a, high)
    return loss.inverse_link(torch.tensor((low + high) / 2).double()).item()


@pytest.mark.parametrize("name", REGRESSION)
def test_the_best_constant_is_the_estimated_statistic(name):
    target, weight = TARGETS[name][:1, :, :1], WEIGHT[:1]
    expected = EXPECTED[name](target.flatten().numpy(), weight.flatten().numpy())
    assert best_constant(make(name), target, weight) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("q", QUANTILES)
def test_the_best_constant_of_the_pinball_loss_is_the_quantile(q):
    target, weight = NUMBERS[:1, :, :1], WEIGHT[:1]
    expected = weighted_quantile(target.flatten().numpy(), weight.flatten().numpy(), q)
    assert best_constant(losses.PinballLoss(q), target, weight) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", REGRESSION)
def test_the_loss_is_zero_only_at_the_target(name):
    target = TARGETS[name].clamp(min=0.01)
    right = target.log() if make(name).log_link else target
    torch.testing.assert_close(make(name).inverse_link(right), target)
    assert make(name).elementwise(right, target).abs().max() < 1e-12
    for wrong in (right - 0.1, right + 0.1):
        assert (make(name).elementwise(wrong, target) > 1e-6).all()


@pytest.mark.parametrize("name", REGRESSION)
def test_the_inverse_link_is_monotone_and_finite(name):
    for dtype in (torch.float32, torch.float64):
        raw = torch.cat([torch.tensor([-1e4, -1e3]), torch.linspace(-90, 90, 1001), torch.tensor([1e3, 1e4])]).to(dtype)
        prediction = make(name).inverse_link(raw)
        assert torch.isfinite(prediction).all()
        assert (prediction.diff() >= 0).all()
        assert (prediction.diff()[2:] > 0).all()
        assert not make(name).log_link or (prediction > 0).all()


@pytest.mark.parametrize("name", losses.__all__)
def test_a_weight_of_two_equals_a_repeated_row(name):
    twice = torch.ones(MEMBERS, ROWS, dtype=torch.float64)
    twice[:, :7] = 2
    rows = [*range(ROWS), *range(7)]
    repeated = make(name)(RAW[:, rows], TARGETS[name][:, rows], torch.ones(MEMBERS, len(rows)).double())
    torch.testing.assert_close(make(name)(RAW, TARGETS[name], twice), repeated)


def test_regression_losses_equal_the_metrics_of_scikit_learn():
    raw, of = RAW[0, :, :1], {name: TARGETS[name][0, :, :1] for name in REGRESSION}
    metrics = [
        ("AbsoluteError", mean_absolute_error(of["AbsoluteError"], raw)),
        ("HalfPoissonDeviance", mean_poisson_deviance(of["HalfPoissonDeviance"], raw.exp()) / 2),
        ("HalfGammaDeviance", mean_gamma_deviance(of["HalfGammaDeviance"], raw.exp()) / 2),
        ("PinballLoss", mean_pinball_loss(of["PinballLoss"], raw, alpha=0.5)),
    ]
    for name, metric in metrics:
        assert make(name)(raw[None], of[name][None], EQUAL_WEIGHT[:1]).item() == pytest.approx(metric)


def test_predicted_quantiles_are_sorted():
    loss = losses.PinballLoss(QUANTILES)
    ordered = loss.sort_quantiles(torch.randn(2, 5, 6, generator=GENERATOR)).unflatten(-1, (2, 3))
    assert loss.n_columns == 3
    assert (ordered[..., 1] <= ordered[..., 2]).all()
    assert (ordered[..., 2] <= ordered[..., 0]).all()


# classification losses


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_the_loss_of_a_confident_correct_prediction_is_zero(name):
    label = torch.nn.functional.one_hot(CLASSES, OUTPUTS) if name in MULTICLASS else BINARY
    label = 2 * label.double() - 1
    values = [make(name)(scale * label, TARGETS[name], EQUAL_WEIGHT) for scale in (-5.0, 0.0, 5.0, 50.0)]
    assert (values[3] < 1e-12).all()
    assert all((wrong > right).all() for wrong, right in pairwise(values))


@pytest.mark.parametrize("exclusive", [False, True])
def test_focal_loss_is_the_log_loss_times_the_squared_error_probability(exclusive):
    kind = losses.MulticlassLoss if exclusive else losses.BinaryLoss
    focal, plain = (kind.registered()[name]() for name in ("focal", "log_loss"))
    target = CLASSES if exclusive else BINARY[..., :1]
    raw = RAW if exclusive else RAW[..., :1]
    for row in range(5):
        here = slice(row, row + 1)
        value = plain(raw[:, here], target[:, here], WEIGHT[:, here])
        probability = (-value / WEIGHT[:, row]).exp()
        torch.testing.assert_close(
            focal(raw[:, here], target[:, here], WEIGHT[:, here]), value * (1 - probability).square()
        )


@pytest.mark.parametrize("name", MULTICLASS)
def test_class_probabilities_are_a_valid_target(name):
    shares = torch.nn.functional.one_hot(CLASSES, OUTPUTS).double()
    torch.testing.assert_close(make(name)(RAW, shares, WEIGHT), make(name)(RAW, CLASSES, WEIGHT))


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_label_smoothing_applies_only_in_training(name):
    plain, smooth = make(name), getattr(losses, name)(0.2)
    arguments = (RAW, TARGETS[name], WEIGHT)
    assert torch.equal(smooth(*arguments), plain(*arguments))
    assert torch.equal(plain.in_training(*arguments), plain(*arguments))
    assert not torch.allclose(smooth.in_training(*arguments), plain(*arguments))


def test_label_smoothing_equals_that_of_torch():
    rows = torch.nn.functional.cross_entropy(
        RAW.flatten(0, 1), CLASSES.flatten(), label_smoothing=0.2, reduction="none"
    )
    expected = (rows.view(MEMBERS, ROWS) * WEIGHT).sum(1)
    torch.testing.assert_close(losses.MulticlassLogLoss(0.2).in_training(RAW, CLASSES, WEIGHT), expected)
    rows = torch.nn.functional.binary_cross_entropy_with_logits(RAW, BINARY * 0.8 + 0.1, reduction="none")
    expected = (rows.sum(2) * WEIGHT).sum(1)
    torch.testing.assert_close(losses.BinaryLogLoss(0.2).in_training(RAW, BINARY, WEIGHT), expected)
