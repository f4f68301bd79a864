"""Tests of callables as parameters: a fitted estimator that has one can be copied and sent between processes."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor, activations, diagnose
from tests.helpers import plain_regressor

try:
    import cloudpickle
except ImportError:
    from joblib.externals import cloudpickle

X = np.random.RandomState(0).randn(40, 3)
Y = X[:, 0]


class Scaled:
    """A callable with state, for each parameter."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x, *others):
        if isinstance(x, torch.Tensor):  # an activation or an augmentation
            return torch.tanh(x) * self.factor
        return -float(np.abs(x.predict(others[0]) - others[1]).mean()) if others else self.factor  # monitor or schedule


class WithNumber:
    """An activation with the attribute ``init`` of torch's PReLU."""

    init = 0.25

    def __init__(self, function):
        self.function = function

    def __call__(self, x):
        return self.function(x.double()).to(x.dtype)


CALLABLES = {
    "activation": lambda x: torch.tanh(x) * 0.5,
    "augmentation": lambda inputs, generator: inputs * 0.5,
    "learning_rate": lambda progress: 1 - progress / 2,
    "monitor": lambda estimator, X, y: -float(np.abs(estimator.predict(X) - y).mean()),
}
"""A lambda for each parameter that takes a callable."""
BY_KIND = [
    *(pytest.param(name, function, id=f"lambda as {name}") for name, function in CALLABLES.items()),
    *(pytest.param(name, Scaled(0.5), id=f"object as {name}") for name in CALLABLES),
    *(
        pytest.param("activation", module, id=f"{module}")
        for module in (torch.nn.ReLU(), torch.nn.Sequential(torch.nn.Tanh()))
    ),
    pytest.param("activation", activations.silu, id="function as activation"),
    pytest.param("activation", torch.nn.functional.softplus, id="function of torch as activation"),
]


def fitted(name, function):
    extra = {"early_stopping": True} if name == "monitor" else {}
    net = plain_regressor((4,), max_iter=2, n_members=2, random_state=0, **extra)
    return net.set_params(**{name: function}).fit(X, Y)


def assert_equal(copied, net, name):
    np.testing.assert_array_equal(copied.predict(X), net.predict(X))
    module = copied.net_.module_
    if name == "activation":
        assert module.activation is module.config.activation is copied.activation


@pytest.mark.parametrize("estimator", [RegularizedMLPClassifier, RegularizedMLPRegressor])
def test_every_parameter_that_takes_a_callable_is_tested(estimator):
    constraints = estimator._parameter_constraints
    assert {name for name, allowed in constraints.items() if any(one is callable for one in allowed)} == set(CALLABLES)


@pytest.mark.parametrize(("name", "function"), BY_KIND)
def test_a_fitted_estimator_with_a_callable_can_be_copied(name, function):
    net = fitted(name, function)
    assert_equal(copy.deepcopy(net), net, name)
    assert_equal(pickle.loads(cloudpickle.dumps(net)), net, name)
    if not isinstance(function, type(lambda: 0)) or "<lambda>" not in function.__name__:
        assert_equal(pickle.loads(pickle.dumps(net)), net, name)


@pytest.mark.parametrize("module", [torch.nn.ReLU(), torch.nn.Sequential(torch.nn.Tanh())])
def test_a_torch_module_is_an_activation_like_any_function(module):
    """It adds no weights, and the diagnosis can record its values."""
    by_module, by_function = fitted("activation", module), fitted("activation", lambda x: module(x).detach() + 0 * x)
    names = [name for name, _ in by_module.net_.module_.named_parameters()]
    assert names == [name for name, _ in by_function.net_.module_.named_parameters()]
    assert diagnose(by_module, X, Y).findings is not None


def test_an_attribute_of_torch_is_not_taken_for_the_name_of_an_initializer():
    slope = torch.nn.PReLU().double()
    assert isinstance(slope.init, float)
    net = plain_regressor((4,), max_iter=2, random_state=0, activation=lambda x: slope(x.double()).to(x.dtype))
    other = plain_regressor((4,), max_iter=2, random_state=0, activation=WithNumber(slope))
    np.testing.assert_array_equal(net.fit(X, Y).predict(X), other.fit(X, Y).predict(X))


@pytest.mark.slow
def test_estimators_with_callables_of_main_return_from_workers():
    """A worker receives and returns functions and classes of ``__main__`` by value."""
    code = """if True:
        import copy
        import numpy as np
        import torch
        from joblib import Parallel, delayed
        from optuna.distributions import FloatDistribution
        from skreg import OptunaSearchCV
        from tests.estimators.test_callables import CALLABLES, X, Y, fitted, plain_regressor

        class Scaled:
            def __init__(self, factor):
                self.factor = factor

            def __call__(self, x, *others):
                if isinstance(x, torch.Tensor):
                    return torch.tanh(x) * self.factor
                return -float(np.abs(x.predict(others[0]) - others[1]).mean()) if others else self.factor

        def named(x):
            return torch.tanh(x)

        def local(factor):
            return lambda x: torch.tanh(x) * factor

        settings = [(name, Scaled(0.5)) for name in CALLABLES]
        settings += [("activation", function) for function in (named, local(0.5), lambda x: torch.relu(x))]
        settings += [("learning_rate", lambda progress: 1.0), ("augmentation", lambda inputs, generator: inputs)]
        settings += [("monitor", lambda estimator, X, y: -np.abs(estimator.predict(X) - y).mean())]
        space = {"alpha": FloatDistribution(1e-5, 1e-3)}
        net = plain_regressor((4,), max_iter=2, n_members=1, random_state=0)
        search = OptunaSearchCV(net, lambda trial: {"activation": named}, n_trials=2, cv=2, random_state=0)
        search.set_params(scoring=lambda estimator, X, y: -np.abs(estimator.predict(X) - y).mean())
        search.set_params(refit=lambda results: 0)
        here = [*(fitted(*setting) for setting in settings), copy.copy(search).fit(X, Y)]
        with Parallel(n_jobs=2) as parallel:
            there = parallel([delayed(fitted)(*setting) for setting in settings] + [delayed(search.fit)(X, Y)])
            moved = parallel(delayed(copy.copy)(one) for one in here)
        for one, *others in zip(here, there, moved, strict=True):
            for other in others:
                np.testing.assert_array_equal(one.predict(X), other.predict(X))
        print(len(here))
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "11"


def with_attributes(function, **attributes):
    vars(function).update(attributes)
    return function


UNUSABLE_ACTIVATIONS = {
    "float32 parameters": torch.nn.PReLU(),
    "unknown initializer": with_attributes(lambda x: x.tanh(), init="nothing"),
    "text as limit": with_attributes(lambda x: x.tanh(), negative_limit="low"),
    "infinite limit": with_attributes(lambda x: x.tanh(), negative_limit=-np.inf),
    "another type": lambda x: x.float().tanh(),
    "another shape": lambda x: x.sum(-1),
    "no tensor": lambda x: None,
    "an error": lambda x: 1 / 0,
    "an error for float64": lambda x: x if x.dtype == torch.float32 else x.missing,
    "another device": lambda x: x.to("meta"),
    "no derivative": lambda x: x.detach().tanh(),
    "constant": torch.zeros_like,
    "no derivative in place": lambda x: torch.sigmoid(x).mul_(2.0),
    "wrongly said to be safe in place": with_attributes(lambda x: torch.sigmoid(x), inplace_safe=True),
}


@pytest.mark.parametrize("init", ["auto", "data_driven"])
@pytest.mark.parametrize("activation", UNUSABLE_ACTIVATIONS.values(), ids=UNUSABLE_ACTIVATIONS)
def test_an_unusable_activation_is_refused_before_training(activation, init, monkeypatch):
    monkeypatch.setattr("skreg.training.net.Net.train", lambda *_: pytest.fail("training has started"))
    net = plain_regressor((4,), init=init, activation=activation)
    with pytest.raises(ValueError, match=r"(?s)'activation'.* (must|set 'precision')"):
        net.fit(X, Y)


def test_an_activation_of_one_type_is_used_with_that_precision():
    fitted = plain_regressor((4,), max_iter=2, activation=torch.nn.PReLU(), precision="float32").fit(X, Y)
    assert np.isfinite(fitted.predict(X)).all()
    fitted = plain_regressor((4,), max_iter=2, activation=torch.nn.PReLU().double(), precision="float64").fit(X, Y)
    assert np.isfinite(fitted.predict(X)).all()


class FailsLater:
    """An activation that fails after some calls, as one that runs out of memory does."""

    def __init__(self, n_calls):
        self.n_calls = n_calls

    def __call__(self, x):
        self.n_calls -= 1
        if self.n_calls < 0:
            raise KeyError("late")
        return torch.tanh(x)


def test_an_activation_that_fails_later_is_named():
    with pytest.raises(ValueError, match=r"given as 'activation' failed .*late"):
        plain_regressor((4,), max_iter=50, activation=FailsLater(20)).fit(X, Y)
    net = plain_regressor((4,), max_iter=2, activation=FailsLater(10**6)).fit(X, Y)
    net.net_.module_.activation.n_calls = 0
    with pytest.raises(ValueError, match=r"given as 'activation' failed .*late"):
        net.predict(X)


def test_errors_of_named_activations_are_kept(monkeypatch):
    """A lack of memory is not a fault of the activation."""
    net = plain_regressor((4,), max_iter=2, activation="tanh").fit(X, Y)
    monkeypatch.setattr(torch, "tanh", lambda x: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        net.predict(X)


@pytest.mark.parametrize("activation", [torch.nn.ReLU(inplace=True), lambda x: x.tanh_(), lambda x: x.mul_(0.0)])
def test_activations_that_modify_their_argument_can_be_diagnosed(activation):
    fitted = plain_regressor((4,), max_iter=2, activation=activation).fit(X, Y)
    assert diagnose(fitted, X, Y).findings is not None
