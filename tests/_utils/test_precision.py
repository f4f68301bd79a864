"""Precision: what "auto" means, and what bfloat16 touches and leaves."""

import numpy as np
import pytest
import torch

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg._utils import device as _precision
from skreg._utils.device import PRECISIONS, best_types, has_bfloat16, types_of

N = 300
RNG = np.random.RandomState(0)
X = RNG.randn(N, 6)
Y = X[:, 0] * X[:, 1] + X[:, 2] + 0.1 * RNG.randn(N)
BOTH = [(RegularizedMLPRegressor, Y), (RegularizedMLPClassifier, (Y > 0).astype(int))]
SMALL = {"hidden_layer_sizes": (32, 16), "max_iter": 15, "random_state": 0}
CPU = torch.device("cpu")


def types_in_use(net):
    """Type of the weights, and of the hidden layers' products in training."""
    linears = net.module_.linears
    (dtype,) = {parameter.dtype for parameter in net.module_.parameters()}
    (products,) = {linear.products or dtype for linear in linears[:-1]}
    assert linears[-1].products is None
    return dtype, products


@pytest.mark.parametrize("Estimator, y", BOTH)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("batch_size", [64, N])
def test_a_precision_is_kept_to(Estimator, y, precision, batch_size):
    fitted = Estimator(**SMALL, precision=precision, batch_size=batch_size).fit(X, y)
    dtype, products = types_in_use(fitted.net_)
    assert str(products) == f"torch.{precision}"
    assert dtype == (torch.float32 if precision == "bfloat16" else products)
    assert fitted.score(X, y) > 0.5


def test_auto_is_float64_in_one_batch_else_float32():
    for batch_size, dtype in ((N, torch.float64), (64, torch.float32)):
        fitted = RegularizedMLPRegressor(**SMALL, batch_size=batch_size).fit(X, Y)
        assert types_in_use(fitted.net_) == (dtype, dtype)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_auto_means_what_is_named(precision):
    """The same bits."""
    batch_size = N if precision == "float64" else 64
    named = RegularizedMLPRegressor(**SMALL, batch_size=batch_size, precision=precision).fit(X, Y)
    with pytest.MonkeyPatch.context() as patch:
        if precision == "bfloat16":
            patch.setattr(_precision, "has_bfloat16", lambda device: True)
            patch.setattr(_precision, "FAST_WIDTH", 16)
            patch.setattr(_precision, "FAST_ROWS", 64)
        auto = RegularizedMLPRegressor(**SMALL, batch_size=batch_size).fit(X, Y)
    assert named.predict(X).tobytes() == auto.predict(X).tobytes()


@pytest.mark.parametrize("here", [False, True])
def test_auto_takes_bfloat16_where_it_was_measured_to_be_faster(monkeypatch, here):
    monkeypatch.setattr(_precision, "has_bfloat16", lambda device: here)
    plain, fast = (torch.float32, torch.float32), (torch.float32, torch.bfloat16 if here else torch.float32)
    assert best_types(torch.float32, CPU, (512, 1024), 256) == fast
    for widths, rows in (((512, 256), 256), ((512, 512), 255), ((), 256), ((128,) * 3, 1024)):
        assert best_types(torch.float32, CPU, widths, rows) == plain
    assert best_types(torch.float64, CPU, (512,), 256) == (torch.float64, torch.float64)
    assert best_types(torch.float32, torch.device("mps"), (512,), 256) == plain
    assert best_types(torch.float32, torch.device("cuda"), (512,), 256) == plain


def test_the_processor_is_asked():
    flags = [getattr(torch.cpu, name, bool)() for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")]
    assert has_bfloat16(CPU) is any(flags)
    assert not has_bfloat16(torch.device("mps"))


def test_mps_has_no_float64():
    with pytest.raises(ValueError, match="precision='float64' cannot be used on the device 'mps'"):
        types_of("float64", torch.device("mps"), (torch.float32, torch.float32))


@pytest.mark.parametrize("norm", [{}, {"batch_norm": True}, {"layer_norm": True, "residual": True}])
@pytest.mark.parametrize("Estimator, y", BOTH)
def test_bfloat16_trains_much_as_float32(Estimator, y, norm):
    """With the same random numbers the predictions are near each other, and no statistic differs."""
    settings = {**SMALL, **norm, "max_iter": 3, "batch_size": 64, "early_stopping": False}
    half, single = (Estimator(**settings, precision=name).fit(X, y) for name in ("bfloat16", "float32"))
    ours, theirs = (
        e.predict_proba(X)[:, 1] if hasattr(e, "classes_") else e.predict(X) / Y.std() for e in (half, single)
    )
    assert 0 < np.abs(ours - theirs).max() < 0.1
    assert np.abs(ours - theirs).mean() < 0.02
    assert np.corrcoef(ours, theirs)[0, 1] > 0.995


def test_predictions_are_made_in_float32_and_rows_alone_are_the_same_bits():
    fitted = RegularizedMLPRegressor(**SMALL, precision="bfloat16", batch_size=64).fit(X, Y)
    together = fitted.predict(X)
    assert np.concatenate([fitted.predict(X[:7]), fitted.predict(X[7:])]).tobytes() == together.tobytes()
    fitted.net_.module_.multiply_in(torch.float32)
    assert fitted.predict(X).tobytes() == together.tobytes()


def test_a_member_trains_as_if_alone_in_bfloat16():
    """Its first steps, before a product that rounds to its other neighbour has had consequences."""
    settings = {**SMALL, "precision": "bfloat16", "batch_size": 64, "early_stopping": False, "max_iter": 1}
    four, two = (RegularizedMLPRegressor(**settings, n_members=n).fit(X, Y) for n in (4, 2))
    for ours, theirs in zip(four.net_.trained_tensors(), two.net_.trained_tensors(), strict=True):
        torch.testing.assert_close(ours[:2], theirs, atol=2e-3, rtol=2e-2)


def test_same_seed_same_bits():
    once, again = (RegularizedMLPRegressor(**SMALL, precision="bfloat16", batch_size=64).fit(X, Y) for _ in range(2))
    assert once.predict(X).tobytes() == again.predict(X).tobytes()


def test_a_warm_start_may_change_the_precision():
    fitted = RegularizedMLPRegressor(**SMALL, batch_size=64, warm_start=True).fit(X, Y)
    for precision in PRECISIONS:
        fitted.set_params(precision=precision).fit(X, Y)
        assert str(types_in_use(fitted.net_)[1]) == f"torch.{precision}"
    assert fitted.score(X, Y) > 0.5
