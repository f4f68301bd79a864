"""Every loss is finite and weighs its rows, and its link gives what scikit-learn's metrics agree with."""

import inspect

import pytest
import torch
from sklearn.metrics import log_loss, mean_squared_error

from skreg import losses

MEMBERS, ROWS, OUTPUTS = 2, 40, 3
GENERATOR = torch.Generator().manual_seed(0)
RAW = torch.randn(MEMBERS, ROWS, OUTPUTS, generator=GENERATOR, dtype=torch.float64)
WEIGHT = torch.rand(MEMBERS, ROWS, generator=GENERATOR, dtype=torch.float64)
SHARES = torch.full((MEMBERS, ROWS), 1 / ROWS, dtype=torch.float64)
TARGETS = {
    "HalfSquaredError": torch.randn(MEMBERS, ROWS, OUTPUTS, generator=GENERATOR, dtype=torch.float64),
    "BinaryLogLoss": torch.randint(2, (MEMBERS, ROWS, OUTPUTS), generator=GENERATOR).double(),
    "MulticlassLogLoss": torch.randint(OUTPUTS, (MEMBERS, ROWS), generator=GENERATOR),
}


def make(name):
    return getattr(losses, name)()


@pytest.mark.parametrize("name", losses.__all__)
def test_one_finite_loss_a_member(name):
    for scale in (1.0, 1e4, 0.0):
        raw = (scale * RAW).requires_grad_()
        loss = make(name)(raw, TARGETS[name], WEIGHT)
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


@pytest.mark.parametrize("name", [n for n in losses.__all__ if n != "MulticlassLogLoss"])
def test_outputs_of_a_row_are_summed(name):
    outputs = [slice(j, j + 1) for j in range(OUTPUTS)]
    each = [make(name)(RAW[..., j], TARGETS[name][..., j], WEIGHT) for j in outputs]
    torch.testing.assert_close(make(name)(RAW, TARGETS[name], WEIGHT), sum(each))


@pytest.mark.parametrize(
    "name", [n for n in losses.__all__ if issubclass(getattr(losses, n), losses.ClassificationLoss)]
)
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
