"""Devices: on each that is here a fit, a stream, every precision, and an estimator that is carried to the CPU."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg._utils.device import PRECISIONS
from skreg.data.split import DeviceConfig
from tests.helpers import make_mixed_table

HERE = ["cpu", *(name for name in ("cuda", "mps") if getattr(torch, name).is_available())]
TABLE, LABEL, NUMBER = make_mixed_table(200)
BOTH = [(RegularizedMLPClassifier, LABEL), (RegularizedMLPRegressor, NUMBER)]
SMALL = {"hidden_layer_sizes": (16, 16), "n_members": 2, "batch_size": 64, "random_state": 0}
SETTINGS = [
    {},
    {"batch_norm": True, "solver": "sgd", "clip_norm": 1.0, "augmentation": "mixup"},
    {"layer_norm": True, "residual": True, "ema_decay": 0.9, "numeric_embedding": "periodic", "l1_ratio": 0.5},
    {"numeric_scaling": "quantile", "numeric_embedding": "piecewise_linear", "max_norm": 2.0, "input_dropout": 0.1},
]

LOAD = (
    "import pickle, sys; estimator = pickle.load(sys.stdin.buffer); "
    "assert estimator.net_.device == 'cpu'; "
    "{tail}sys.stdout.buffer.write(pickle.dumps(estimator.predict(estimator.rows)))"
)


def decided(estimator):
    return estimator.predict_proba(TABLE) if hasattr(estimator, "classes_") else estimator.predict(TABLE)


def without_float64(device, precision):
    """Apple's GPUs have no float64."""
    return device == "mps" and precision == "float64"


@pytest.mark.parametrize("device", HERE)
@pytest.mark.parametrize("Estimator, y", BOTH)
@pytest.mark.parametrize("settings", SETTINGS)
def test_a_fit_learns_where_it_is_asked_to(device, Estimator, y, settings):
    fitted = Estimator(**SMALL, **settings, device=device, max_iter=25).fit(TABLE, y)
    assert {parameter.device.type for parameter in fitted.net_.module_.parameters()} == {device}
    assert fitted.score(TABLE, y) > 0.5
    assert np.isfinite(decided(fitted)).all()


@pytest.mark.parametrize("device", HERE)
@pytest.mark.parametrize("Estimator, y", BOTH)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision(device, Estimator, y, precision):
    estimator = Estimator(**SMALL, device=device, precision=precision, max_iter=25)
    if without_float64(device, precision):
        with pytest.raises(ValueError, match="precision='float64' cannot be used"):
            estimator.fit(TABLE, y)
    else:
        assert estimator.fit(TABLE, y).score(TABLE, y) > 0.5


@pytest.mark.parametrize("device", HERE)
@pytest.mark.parametrize("Estimator, y", BOTH)
@pytest.mark.parametrize("settings", SETTINGS)
def test_a_stream_goes_on_after_a_pickle(device, Estimator, y, settings):
    whole = Estimator(**SMALL, **settings, device=device)
    carried = Estimator(**SMALL, **settings, device=device)
    named = {"classes": ["no", "yes"]} if y is LABEL else {}
    for _ in range(3):
        whole.partial_fit(TABLE, y, **named)
        carried = pickle.loads(pickle.dumps(carried.partial_fit(TABLE, y, **named)))
    kept = carried.net_.training_state_
    assert {tensor.device.type for tensor in (*kept.trained, *kept.averages)} == {"cpu"}
    np.testing.assert_allclose(decided(whole), decided(carried), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("device", HERE[1:])
@pytest.mark.parametrize("Estimator, y", BOTH)
def test_devices_agree_where_nothing_is_rounded_much(device, Estimator, y):
    settings = {**SMALL, "max_iter": 3, "early_stopping": False, "learning_rate_init": 1e-3}
    there, here = (Estimator(**settings, device=name).fit(TABLE, y) for name in (device, "cpu"))
    np.testing.assert_allclose(decided(there), decided(here), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("device", HERE)
@pytest.mark.parametrize("streams", [False, True])
def test_a_pickle_is_read_where_there_is_no_gpu(device, streams):
    """In a process that sees none it predicts alike, and a stream goes on."""
    rows, number = TABLE[["number", "count"]].to_numpy(), NUMBER.to_numpy()
    estimator = RegularizedMLPRegressor(**SMALL, device=device, max_iter=5)
    estimator = estimator.partial_fit(rows, number) if streams else estimator.fit(rows, number)
    estimator.rows = rows
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    if device == "mps":
        pytest.skip("an mps cannot be hidden from a process")
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


def test_auto_is_the_gpu_where_there_is_one():
    place = DeviceConfig.of(RegularizedMLPRegressor(**SMALL), 200)
    assert place.device.type == ("cuda" if "cuda" in HERE else "mps" if "mps" in HERE else "cpu")


@pytest.mark.parametrize("device", ["cuda", "mps", "nowhere"])
def test_a_device_that_is_not_here_is_refused_in_a_sentence(device):
    if device in HERE:
        pytest.skip(f"{device} is here")
    with pytest.raises(ValueError, match=f"device='{device}' cannot be used here"):
        RegularizedMLPRegressor(**SMALL, device=device).fit(TABLE, NUMBER)
    with pytest.raises(ValueError, match=f"device='{device}' cannot be used here"):
        RegularizedMLPRegressor(**SMALL, device=device).partial_fit(TABLE, NUMBER)
