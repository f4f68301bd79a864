"""Tests of devices and precisions, in the functions that resolve them and in fits that use them."""

import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg._utils import device as device_module
from skreg._utils.device import PRECISIONS, DeviceConfig, auto_dtypes, has_bfloat16, resolve_dtypes
from tests.helpers import make_mixed_table

DEVICES = ["cpu", *(name for name in ("cuda", "mps") if getattr(torch, name).is_available())]
TABLE, LABEL, NUMBER = make_mixed_table(200)
BOTH = [(RegularizedMLPClassifier, LABEL), (RegularizedMLPRegressor, NUMBER)]
SMALL = {"hidden_layer_sizes": (16, 16), "n_members": 2, "batch_size": 64, "random_state": 0}
SETTINGS = [
    {},
    {"batch_norm": True, "solver": "sgd", "clip_norm": 1.0, "augmentation": "mixup"},
    {"layer_norm": True, "residual": True, "ema_decay": 0.9, "numeric_embedding": "periodic", "l1_ratio": 0.5},
    {"numeric_scaling": "quantile", "numeric_embedding": "piecewise_linear", "max_norm": 2.0, "input_dropout": 0.1},
]
N = 300
RNG = np.random.RandomState(0)
X = RNG.randn(N, 6)
Y = X[:, 0] * X[:, 1] + X[:, 2] + 0.1 * RNG.randn(N)
NUMERIC = [(RegularizedMLPRegressor, Y), (RegularizedMLPClassifier, (Y > 0).astype(int))]
SHORT = {"hidden_layer_sizes": (32, 16), "max_iter": 15, "random_state": 0}
CPU = torch.device("cpu")

LOAD = (
    "import pickle, sys; estimator = pickle.load(sys.stdin.buffer); "
    "assert estimator.net_.device == 'cpu'; "
    "{tail}sys.stdout.buffer.write(pickle.dumps(estimator.predict(estimator.rows)))"
)


def predictions(estimator):
    return estimator.predict_proba(TABLE) if hasattr(estimator, "classes_") else estimator.predict(TABLE)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("Estimator", "y"), BOTH)
@pytest.mark.parametrize("settings", SETTINGS)
def test_fit_trains_on_the_given_device(device, Estimator, y, settings):
    fitted = Estimator(**SMALL, **settings, device=device, max_iter=25).fit(TABLE, y)
    assert {parameter.device.type for parameter in fitted.net_.module_.parameters()} == {device}
    assert fitted.score(TABLE, y) > 0.5
    assert np.isfinite(predictions(fitted)).all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("Estimator", "y"), BOTH)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_fit_supports_every_precision_on_every_device(device, Estimator, y, precision):
    estimator = Estimator(**SMALL, device=device, precision=precision, max_iter=25)
    if device == "mps" and precision == "float64":  # Apple's GPUs have no float64
        with pytest.raises(ValueError, match="precision='float64' cannot be used"):
            estimator.fit(TABLE, y)
    else:
        assert estimator.fit(TABLE, y).score(TABLE, y) > 0.5


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("Estimator", "y"), BOTH)
@pytest.mark.parametrize("settings", SETTINGS)
def test_partial_fit_continues_after_pickling(device, Estimator, y, settings):
    kept = Estimator(**SMALL, **settings, device=device)
    pickled = Estimator(**SMALL, **settings, device=device)
    named = {"classes": ["no", "yes"]} if y is LABEL else {}
    for _ in range(3):
        kept.partial_fit(TABLE, y, **named)
        pickled = pickle.loads(pickle.dumps(pickled.partial_fit(TABLE, y, **named)))
    state = pickled.net_.training_state_
    assert {tensor.device.type for tensor in (*state.trained, *state.averages)} == {"cpu"}
    np.testing.assert_allclose(predictions(kept), predictions(pickled), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("device", DEVICES[1:])
@pytest.mark.parametrize(("Estimator", "y"), BOTH)
def test_devices_give_similar_predictions_after_few_epochs(device, Estimator, y):
    settings = {**SMALL, "max_iter": 3, "early_stopping": False, "learning_rate_init": 1e-3}
    there, here = (Estimator(**settings, device=name).fit(TABLE, y) for name in (device, "cpu"))
    np.testing.assert_allclose(predictions(there), predictions(here), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.slow
def test_a_pickle_can_be_loaded_without_a_gpu(device, streams):
    """A process without a GPU makes the same predictions and can call ``partial_fit``."""
    rows, number = TABLE[["number", "count"]].to_numpy(), NUMBER.to_numpy()
    estimator = RegularizedMLPRegressor(**SMALL, device=device, max_iter=5)
    estimator = estimator.partial_fit(rows, number) if streams else estimator.fit(rows, number)
    estimator.rows = rows
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    if device == "mps":
        pytest.skip("the device mps cannot be hidden from a process")
    tail = "estimator.set_params(device='cpu').partial_fit(estimator.rows, estimator.rows[:, 0]); " if streams else ""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOAD.format(tail=tail)],
        input=pickle.dumps(estimator),
        env=environment,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr.decode()
    if streams:
        estimator.partial_fit(rows, rows[:, 0])
    np.testing.assert_allclose(pickle.loads(done.stdout), estimator.predict(rows), rtol=1e-2, atol=1e-2)


def test_auto_selects_a_gpu_if_there_is_one():
    config = DeviceConfig.from_estimator(RegularizedMLPRegressor(**SMALL), 200)
    assert config.device.type == ("cuda" if "cuda" in DEVICES else "mps" if "mps" in DEVICES else "cpu")


def test_auto_batch_size_is_all_rows_for_a_full_batch_solver():
    estimator = RegularizedMLPRegressor(**{**SMALL, "batch_size": "auto"})
    assert DeviceConfig.from_estimator(estimator, 2000, full_batch=True).batch_size == 2000
    assert DeviceConfig.from_estimator(estimator, 2000).batch_size == 128
    known = DeviceConfig.from_estimator(estimator, 2000, (50, torch.float64))
    assert (known.batch_size, known.dtype) == (50, torch.float64)


@pytest.mark.parametrize("device", ["cuda", "mps", "nowhere"])
def test_an_unavailable_device_raises_an_error(device):
    if device in DEVICES:
        pytest.skip(f"{device} is available")
    with pytest.raises(ValueError, match=f"device='{device}' cannot be used on this machine"):
        RegularizedMLPRegressor(**SMALL, device=device).fit(TABLE, NUMBER)
    with pytest.raises(ValueError, match=f"device='{device}' cannot be used on this machine"):
        RegularizedMLPRegressor(**SMALL, device=device).partial_fit(TABLE, NUMBER)


def types_in_use(net):
    """Type of the weights, and of the products of the hidden layers in training."""
    linears = net.module_.linears
    (dtype,) = {parameter.dtype for parameter in net.module_.parameters()}
    (products,) = {linear.matmul_dtype or dtype for linear in linears[:-1]}
    assert linears[-1].matmul_dtype is None
    return dtype, products


@pytest.mark.parametrize(("Estimator", "y"), NUMERIC)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("batch_size", [64, N])
def test_fit_uses_the_given_precision(Estimator, y, precision, batch_size):
    fitted = Estimator(**SHORT, precision=precision, batch_size=batch_size).fit(X, y)
    dtype, products = types_in_use(fitted.net_)
    assert str(products) == f"torch.{precision}"
    assert dtype == (torch.float32 if precision == "bfloat16" else products)
    assert fitted.score(X, y) > 0.5


def test_auto_precision_is_float64_for_a_single_batch_and_float32_otherwise():
    for batch_size, dtype in ((N, torch.float64), (64, torch.float32)):
        fitted = RegularizedMLPRegressor(**SHORT, batch_size=batch_size).fit(X, Y)
        assert types_in_use(fitted.net_) == (dtype, dtype)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_auto_precision_gives_the_same_bits_as_the_named_one(precision):
    batch_size = N if precision == "float64" else 64
    named = RegularizedMLPRegressor(**SHORT, batch_size=batch_size, precision=precision).fit(X, Y)
    with pytest.MonkeyPatch.context() as patch:
        if precision == "bfloat16":
            patch.setattr(device_module, "has_bfloat16", lambda device: True)
            patch.setattr(device_module, "FAST_WIDTH", 16)
            patch.setattr(device_module, "FAST_ROWS", 64)
        auto = RegularizedMLPRegressor(**SHORT, batch_size=batch_size).fit(X, Y)
    assert named.predict(X).tobytes() == auto.predict(X).tobytes()


@pytest.mark.parametrize("supported", [False, True])
def test_auto_precision_is_bfloat16_for_wide_layers_on_processors_that_support_it(monkeypatch, supported):
    monkeypatch.setattr(device_module, "has_bfloat16", lambda device: supported)
    plain, fast = (torch.float32, torch.float32), (torch.float32, torch.bfloat16 if supported else torch.float32)
    assert auto_dtypes(torch.float32, CPU, (512, 1024), 256) == fast
    for widths, rows in (((512, 256), 256), ((512, 512), 255), ((), 256), ((128,) * 3, 1024)):
        assert auto_dtypes(torch.float32, CPU, widths, rows) == plain
    assert auto_dtypes(torch.float64, CPU, (512,), 256) == (torch.float64, torch.float64)
    assert auto_dtypes(torch.float32, torch.device("mps"), (512,), 256) == plain
    assert auto_dtypes(torch.float32, torch.device("cuda"), (512,), 256) == plain


def test_has_bfloat16_reads_the_flags_of_the_processor():
    flags = [getattr(torch.cpu, name, bool)() for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")]
    assert has_bfloat16(CPU) is any(flags)
    assert not has_bfloat16(torch.device("mps"))


def test_float64_on_mps_raises_an_error():
    with pytest.raises(ValueError, match="precision='float64' cannot be used on the device 'mps'"):
        resolve_dtypes("float64", torch.device("mps"), (torch.float32, torch.float32))


@pytest.mark.parametrize("norm", [{}, {"batch_norm": True}, {"layer_norm": True, "residual": True}])
@pytest.mark.parametrize(("Estimator", "y"), NUMERIC)
def test_bfloat16_and_float32_give_similar_predictions(Estimator, y, norm):
    settings = {**SHORT, **norm, "max_iter": 3, "batch_size": 64, "early_stopping": False}
    fitted = [Estimator(**settings, precision=name).fit(X, y) for name in ("bfloat16", "float32")]
    half, single = (e.predict_proba(X)[:, 1] if hasattr(e, "classes_") else e.predict(X) / Y.std() for e in fitted)
    assert 0 < np.abs(half - single).max() < 0.1
    assert np.abs(half - single).mean() < 0.02
    assert np.corrcoef(half, single)[0, 1] > 0.995


def test_predictions_use_float32_and_do_not_depend_on_other_rows():
    fitted = RegularizedMLPRegressor(**SHORT, precision="bfloat16", batch_size=64).fit(X, Y)
    together = fitted.predict(X)
    assert np.concatenate([fitted.predict(X[:7]), fitted.predict(X[7:])]).tobytes() == together.tobytes()
    fitted.net_.module_.set_matmul_dtype(torch.float32)
    assert fitted.predict(X).tobytes() == together.tobytes()


def test_a_member_trains_in_bfloat16_as_it_does_alone():
    """Only a few steps are compared: products that round to different neighbors diverge later."""
    settings = {**SHORT, "precision": "bfloat16", "batch_size": 64, "early_stopping": False, "max_iter": 1}
    four, two = (RegularizedMLPRegressor(**settings, n_members=n).fit(X, Y) for n in (4, 2))
    for of_four, of_two in zip(four.net_.trained_tensors(), two.net_.trained_tensors(), strict=True):
        torch.testing.assert_close(of_four[:2], of_two, atol=2e-3, rtol=2e-2)


def test_the_same_seed_gives_the_same_bits_in_bfloat16():
    once, again = (RegularizedMLPRegressor(**SHORT, precision="bfloat16", batch_size=64).fit(X, Y) for _ in range(2))
    assert once.predict(X).tobytes() == again.predict(X).tobytes()


def test_a_warm_start_can_change_the_precision():
    fitted = RegularizedMLPRegressor(**SHORT, batch_size=64, warm_start=True).fit(X, Y)
    for precision in PRECISIONS:
        fitted.set_params(precision=precision).fit(X, Y)
        assert str(types_in_use(fitted.net_)[1]) == f"torch.{precision}"
    assert fitted.score(X, Y) > 0.5


@pytest.mark.parametrize("device", ["meta", "hpu", "xla", "vulkan", "xpu", "nonsense"])
def test_a_refused_device_changes_no_warning_filters(device, monkeypatch):
    """torch imports SymPy for a sum on "meta", and SymPy adds a warning filter."""
    monkeypatch.setattr(torch.Tensor, "__add__", lambda *_: pytest.fail("a sum was computed"))
    filters, modules = list(warnings.filters), set(sys.modules)
    with pytest.raises(ValueError, match=f"device='{device}' .* Set device='auto'"):
        RegularizedMLPRegressor(device=device).fit([[0.0], [1.0]], [0.0, 1.0])
    assert warnings.filters == filters
    assert "sympy" in modules or "sympy" not in sys.modules
