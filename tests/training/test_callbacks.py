"""Callbacks of skorch with their defaults, the history, and the methods that a net does not have."""

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import skorch.callbacks
import torch
from sklearn.base import clone
from skorch import NeuralNet, NeuralNetClassifier, NeuralNetRegressor

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.training.callbacks import SUPPORTED
from skreg.training.net import Net
from skreg.training.skorch_net import UNAVAILABLE

RNG = np.random.RandomState(0)
X = RNG.randn(150, 3)
Y = X[:, 0] + 0.1 * RNG.randn(150)
SMALL = {"hidden_layer_sizes": (4,), "n_members": 2, "max_iter": 3, "batch_size": 32, "random_state": 0}
FITS = {
    "loss": {},
    "scorer": {"monitor": "r2"},
    "no validation rows": {"early_stopping": False},
    "lbfgs": {"solver": "lbfgs", "n_members": 1, "dropout": 0.0, "weight_decay": 0.0, "batch_size": "auto"},
}


class MlflowRecord:
    """The methods of a client and a run of MLflow that the logger calls; the names are those of mlflow 3.17."""

    def __init__(self):
        self.info = SimpleNamespace(run_id="0")
        self.metrics, self.artifacts, self.ended = {}, {}, False

    def log_metric(self, run_id, key, value, timestamp=None, step=None):
        self.metrics[key, step] = float(value)

    def log_artifact(self, run_id, local_path):
        path = Path(local_path)
        self.artifacts[path.name] = json.loads(path.read_text()) if path.suffix == ".json" else torch.load(path)

    def set_terminated(self, run_id):
        self.ended = True


class ScalarRecord:
    """What Sacred, TensorBoard and Weights & Biases have in common: each logs numbers by name."""

    def __init__(self, directory=None):
        self.dir, self.values, self.closed = directory, [], False

    def watch(self, module):
        assert isinstance(module, torch.nn.Module)

    def log(self, values):
        self.values += [float(value) for value in values.values()]

    def log_scalar(self, key, value, step=None):
        self.values.append(float(value))

    def add_scalar(self, tag, scalar_value, global_step):
        self.values.append(float(scalar_value))

    def close(self):
        self.closed = True


class NeptuneRecord(dict):
    """A run of Neptune: a tree of fields, to which values are assigned or appended."""

    def __missing__(self, key):
        self[key] = NeptuneRecord()
        return self[key]

    def append(self, value):
        self.setdefault("values", []).append(value)

    def stop(self):
        self["stopped"] = True


def neptune_modules():
    """The parts of the package neptune that the logger imports."""
    modules = {name: ModuleType(name) for name in ("neptune", "neptune.handler", "neptune.types")}
    modules["neptune.handler"].Handler = type("Handler", (), {})
    modules["neptune.types"].File = SimpleNamespace(from_content=lambda content, extension: content)
    return modules


def make_callback(name, directory):
    """Return a callback of skorch with its defaults, and the object to which it writes."""
    record = {"MlflowLogger": MlflowRecord, "NeptuneLogger": NeptuneRecord}.get(name, lambda: ScalarRecord(directory))()
    arguments = {
        "MlflowLogger": {"run": record, "client": record},
        "NeptuneLogger": {"run": record},
        "PassthroughScoring": {"name": "train_loss"},
        "SacredLogger": {"experiment": record},
        "TensorBoard": {"writer": record},
        "WandbLogger": {"wandb_run": record},
    }
    return getattr(skorch.callbacks, name)(**arguments.get(name, {})), record


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
@pytest.mark.parametrize("name", SUPPORTED)
def test_supported_callbacks_work_with_their_defaults(name, fit, tmp_path, monkeypatch):
    for module, content in neptune_modules().items():
        monkeypatch.setitem(sys.modules, module, content)
    callback, record = make_callback(name, tmp_path)
    net = RegularizedMLPRegressor(**{**SMALL, **fit}, callbacks=[callback])
    if name == "WandbLogger" and fit in (FITS["scorer"], FITS["no validation rows"]):
        with pytest.raises(ValueError, match=r"WandbLogger.*Set save_model=False"):
            net.fit(X, Y)
        callback.save_model = False
    plain = clone(net).set_params(callbacks=None).fit(X, Y)
    np.testing.assert_array_equal(net.fit(X, Y).predict(X), plain.predict(X))
    if name in ("SacredLogger", "TensorBoard", "WandbLogger"):
        assert len(record.values) >= 3 * net.n_iter_
        assert np.isfinite(record.values).all()
    assert name != "TensorBoard" or record.closed
    assert name != "NeptuneLogger" or record["training"]["model/model_type"] == "Network"


def test_mlflow_receives_the_metrics_of_each_epoch_and_the_final_weights():
    callback, record = make_callback("MlflowLogger", None)
    net = RegularizedMLPRegressor(**SMALL, callbacks=[callback]).fit(X, Y)
    assert [record.metrics["train_loss", epoch] for epoch in (1, 2, 3)] == net.loss_curve_.tolist()
    assert [record.metrics["valid_loss", epoch] for epoch in (1, 2, 3)] == net.validation_curve_.tolist()
    weights = record.artifacts["params.pth"]
    assert weights.keys() == net.net_.module_.state_dict().keys()
    assert all(torch.equal(value, weights[name]) for name, value in net.net_.module_.state_dict().items())
    assert len(record.artifacts["history.json"]) == 3
    assert record.ended


@pytest.mark.parametrize("name", SUPPORTED)
def test_supported_callbacks_work_with_partial_fit(name, tmp_path, monkeypatch):
    for module, content in neptune_modules().items():
        monkeypatch.setitem(sys.modules, module, content)
    callback, _ = make_callback(name, tmp_path)
    net = RegularizedMLPRegressor(**SMALL, callbacks=[callback])
    if name == "WandbLogger":
        with pytest.raises(ValueError, match=r"WandbLogger.*Set save_model=False"):
            net.partial_fit(X, Y)
        callback.save_model = False
    assert net.partial_fit(X, Y).partial_fit(X, Y).n_iter_ == 2


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
def test_history_contains_the_duration_of_each_epoch(fit):
    net = RegularizedMLPRegressor(**{**SMALL, **fit}).fit(X, Y)
    durations = net.net_.history[:, "dur"]
    assert len(durations) == net.n_iter_
    assert min(durations) > 0


# methods of nets

USED_BY_CALLBACKS_AND_SKORCH = {
    "check_is_fitted",
    "check_training_readiness",
    "get_all_learnable_params",
    "get_default_callbacks",
    "get_metadata_routing",
    "get_params",
    "get_params_for",
    "get_params_for_optimizer",
    "get_train_step_accumulator",
    "history",
    "initialize",
    "initialize_callbacks",
    "initialize_criterion",
    "initialize_history",
    "initialize_module",
    "initialize_optimizer",
    "initialize_virtual_params",
    "initialized_instance",
    "notify",
    "on_batch_begin",
    "on_batch_end",
    "on_epoch_begin",
    "on_epoch_end",
    "on_grad_computed",
    "on_train_begin",
    "on_train_end",
    "save_params",
    "torch_compile",
}


ATTRIBUTES_OF_SKORCH = {"classes_", "cuda_dependent_attributes_", "init_context_", "prefixes_"}


@pytest.mark.parametrize("cls", [NeuralNet, NeuralNetClassifier, NeuralNetRegressor])
def test_every_method_of_skorch_is_available_or_refused(cls):
    """A public name that another version of skorch adds must be decided on; so must one that it removes."""
    names = {name for name in dir(cls) if not name.startswith("_")}
    requests = {name for name in names if name.startswith("set_") and name.endswith("_request")}
    assert names - requests <= {*UNAVAILABLE, *USED_BY_CALLBACKS_AND_SKORCH, *ATTRIBUTES_OF_SKORCH}
    assert {*UNAVAILABLE, *USED_BY_CALLBACKS_AND_SKORCH} <= {*names, "score"}
    assert not set(UNAVAILABLE) & USED_BY_CALLBACKS_AND_SKORCH


@pytest.mark.parametrize("estimator", [RegularizedMLPRegressor(**SMALL), RegularizedMLPClassifier(**SMALL)])
def test_a_net_is_not_an_estimator(estimator):
    net = estimator.fit(X, (Y > 0).astype(int)).net_
    assert isinstance(net, Net)
    for name in UNAVAILABLE:
        assert not hasattr(net, name)
        with pytest.raises(AttributeError, match=f"net_ has no method {name}.*Use the methods of the estimator"):
            getattr(net, name)
    with pytest.raises(TypeError, match=r"net_ cannot be cloned.*Clone the estimator"):
        clone(net)
    assert "Network" in repr(net)
