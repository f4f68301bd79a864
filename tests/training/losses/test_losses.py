"""Every loss is finite, weighs its rows, is least where it should be, and is what scikit-learn's metrics are."""

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

MEMBERS, ROWS, OUTPUTS = 2, 40, 3
GENERATOR = torch.Generator().manual_seed(0)
RAW = torch.randn(MEMBERS, ROWS, OUTPUTS, generator=GENERATOR, dtype=torch.float64)
WEIGHT = torch.rand(MEMBERS, ROWS, generator=GENERATOR, dtype=torch.float64)
SHARES = torch.full((MEMBERS, ROWS), 1 / ROWS, dtype=torch.float64)
NUMBERS = torch.randn(MEMBERS, ROWS, OUTPUTS, generator=GENERATOR, dtype=torch.float64)
YES = torch.randint(2, (MEMBERS, ROWS, OUTPUTS), generator=GENERATOR).double()
CLASSES = torch.randint(OUTPUTS, (MEMBERS, ROWS), generator=GENERATOR)
TARGETS = {
    "AbsoluteError": NUMBERS,
    "BinaryFocalLoss": YES,
    "BinaryLogLoss": YES,
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
def test_one_finite_loss_a_member(name, dtype):
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
def test_is_the_weighted_sum_of_its_rows(name):
    rows = [make(name)(RAW[:, i : i + 1], TARGETS[name][:, i : i + 1], WEIGHT[:, i : i + 1]) for i in range(ROWS)]
    torch.testing.assert_close(make(name)(RAW, TARGETS[name], WEIGHT), sum(rows))
    torch.testing.assert_close(make(name)(RAW, TARGETS[name], 2 * WEIGHT), 2 * sum(rows))


@pytest.mark.parametrize("name", losses.__all__)
def test_members_do_not_mix_and_padding_counts_for_nothing(name):
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


def test_half_squared_error_is_half_of_the_metric():
    target = TARGETS["HalfSquaredError"]
    loss = losses.HalfSquaredError()(RAW, target, SHARES)
    for m in range(MEMBERS):
        metric = mean_squared_error(target[m], RAW[m], multioutput="raw_values").sum()
        assert loss[m].item() == pytest.approx(metric / 2)


def test_log_losses_are_the_metric_of_their_probabilities():
    multiclass, binary = losses.MulticlassLogLoss(), losses.BinaryLogLoss()
    classes, yes = TARGETS["MulticlassLogLoss"], TARGETS["BinaryLogLoss"][..., :1]
    of_classes, of_yes = multiclass(RAW, classes, SHARES), binary(RAW[..., :1], yes, SHARES)
    for m in range(MEMBERS):
        assert of_classes[m].item() == pytest.approx(log_loss(classes[m], multiclass.log_probability(RAW[m]).exp()))
        probability = binary.log_probability(RAW[m, :, :1]).exp()[:, 0]
        assert of_yes[m].item() == pytest.approx(log_loss(yes[m].ravel(), probability))


def test_the_registry_holds_every_concrete_loss():
    concrete = {
        name
        for name, thing in vars(losses).items()
        if inspect.isclass(thing) and issubclass(thing, losses.Loss) and not inspect.isabstract(thing)
    }
    assert concrete == set(losses.__all__) == set(TARGETS)


# numbers: what is estimated

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
    """The inverse of the weighted distribution function."""
    order = np.argsort(y)
    return y[order][np.searchsorted(np.cumsum(weight[order]), q * weight.sum())]


def huber_mean(y, weight):
    """By iteratively reweighted least squares (Huber & Ronchetti 2009, section 7.8)."""
    center = np.average(y, weights=weight)
    for _ in range(200):
        trusted = weight * np.minimum(1, 1.345 / np.maximum(np.abs(y - center), 1e-12))
        center = np.average(y, weights=trusted)
    return center


def best_constant(loss, target, weight):
    """Prediction of the raw constant that minimises the loss, by golden section on the whole batch."""
    low, high = -8.0, 8.0
    for _ in range(80):
        a, b = high - (high - low) * 0.6180339887, low + (high - low) * 0.6180339887
        values = [loss(torch.full_like(target, c), target, weight).sum().item() for c in (a, b)]
        low, high = (low, b) if values[0] < values[1] else (a, high)
    return loss.inverse_link(torch.tensor((low + high) / 2).double()).item()


@pytest.mark.parametrize("name", REGRESSION)
def test_the_best_constant_is_what_the_loss_estimates(name):
    target, weight = TARGETS[name][:1, :, :1], WEIGHT[:1]
    expected = EXPECTED[name](target.flatten().numpy(), weight.flatten().numpy())
    assert best_constant(make(name), target, weight) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("q", QUANTILES)
def test_the_best_constant_of_the_pinball_loss_is_the_quantile(q):
    target, weight = NUMBERS[:1, :, :1], WEIGHT[:1]
    expected = weighted_quantile(target.flatten().numpy(), weight.flatten().numpy(), q)
    assert best_constant(losses.PinballLoss(q), target, weight) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", REGRESSION)
def test_a_right_prediction_costs_nothing_and_a_wrong_one_something(name):
    target = TARGETS[name].clamp(min=0.01)
    right = target.log() if make(name).log_link else target
    torch.testing.assert_close(make(name).inverse_link(right), target)
    assert make(name).rows(right, target).abs().max() < 1e-12
    for wrong in (right - 0.1, right + 0.1):
        assert (make(name).rows(wrong, target) > 1e-6).all()


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
def test_a_weight_of_two_is_a_repeated_row(name):
    twice = torch.ones(MEMBERS, ROWS, dtype=torch.float64)
    twice[:, :7] = 2
    rows = [*range(ROWS), *range(7)]
    repeated = make(name)(RAW[:, rows], TARGETS[name][:, rows], torch.ones(MEMBERS, len(rows)).double())
    torch.testing.assert_close(make(name)(RAW, TARGETS[name], twice), repeated)


def test_regression_losses_are_the_metrics_of_scikit_learn():
    raw, of = RAW[0, :, :1], {name: TARGETS[name][0, :, :1] for name in REGRESSION}
    cases = [
        ("AbsoluteError", mean_absolute_error(of["AbsoluteError"], raw)),
        ("HalfPoissonDeviance", mean_poisson_deviance(of["HalfPoissonDeviance"], raw.exp()) / 2),
        ("HalfGammaDeviance", mean_gamma_deviance(of["HalfGammaDeviance"], raw.exp()) / 2),
        ("PinballLoss", mean_pinball_loss(of["PinballLoss"], raw, alpha=0.5)),
    ]
    for name, metric in cases:
        assert make(name)(raw[None], of[name][None], SHARES[:1]).item() == pytest.approx(metric)


def test_several_quantiles_are_put_in_order():
    loss = losses.PinballLoss(QUANTILES)
    ordered = loss.arrange(torch.randn(2, 5, 6, generator=GENERATOR)).unflatten(-1, (2, 3))
    assert loss.n_columns == 3
    assert (ordered[..., 1] <= ordered[..., 2]).all()
    assert (ordered[..., 2] <= ordered[..., 0]).all()


# classes


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_a_sure_and_right_classification_costs_nothing(name):
    sign = torch.nn.functional.one_hot(CLASSES, OUTPUTS) if name in MULTICLASS else YES
    sign = 2 * sign.double() - 1
    costs = [make(name)(scale * sign, TARGETS[name], SHARES) for scale in (-5.0, 0.0, 5.0, 50.0)]
    assert (costs[3] < 1e-12).all()
    assert all((wrong > right).all() for wrong, right in pairwise(costs))


@pytest.mark.parametrize("exclusive", [False, True])
def test_focal_loss_is_the_log_loss_times_what_is_missing_squared(exclusive):
    kind = losses.MulticlassLoss if exclusive else losses.BinaryLoss
    focal, plain = (kind.registered()[name]() for name in ("focal", "log_loss"))
    target = CLASSES if exclusive else YES[..., :1]
    raw = RAW if exclusive else RAW[..., :1]
    for row in range(5):
        here = slice(row, row + 1)
        cost = plain(raw[:, here], target[:, here], WEIGHT[:, here])
        probability = (-cost / WEIGHT[:, row]).exp()
        torch.testing.assert_close(
            focal(raw[:, here], target[:, here], WEIGHT[:, here]), cost * (1 - probability).square()
        )


@pytest.mark.parametrize("name", MULTICLASS)
def test_shares_of_classes_are_a_target_too(name):
    shares = torch.nn.functional.one_hot(CLASSES, OUTPUTS).double()
    torch.testing.assert_close(make(name)(RAW, shares, WEIGHT), make(name)(RAW, CLASSES, WEIGHT))


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_label_smoothing_acts_in_training_only(name):
    plain, smooth = make(name), getattr(losses, name)(0.2)
    arguments = (RAW, TARGETS[name], WEIGHT)
    assert torch.equal(smooth(*arguments), plain(*arguments))
    assert torch.equal(plain.in_training(*arguments), plain(*arguments))
    assert not torch.allclose(smooth.in_training(*arguments), plain(*arguments))


def test_label_smoothing_is_torchs():
    rows = torch.nn.functional.cross_entropy(
        RAW.flatten(0, 1), CLASSES.flatten(), label_smoothing=0.2, reduction="none"
    )
    expected = (rows.view(MEMBERS, ROWS) * WEIGHT).sum(1)
    torch.testing.assert_close(losses.MulticlassLogLoss(0.2).in_training(RAW, CLASSES, WEIGHT), expected)
    rows = torch.nn.functional.binary_cross_entropy_with_logits(RAW, YES * 0.8 + 0.1, reduction="none")
    expected = (rows.sum(2) * WEIGHT).sum(1)
    torch.testing.assert_close(losses.BinaryLogLoss(0.2).in_training(RAW, YES, WEIGHT), expected)
