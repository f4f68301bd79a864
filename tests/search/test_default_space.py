"""The default space contains every default, and all of its candidates can be fitted."""

from inspect import signature

import numpy as np
import optuna
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from sklearn.utils._param_validation import make_constraint

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.search.default_space import DEFAULT_SPACE, Switch, free_params, make_space

BOTH = [RegularizedMLPClassifier, RegularizedMLPRegressor]


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("name", DEFAULT_SPACE)
def test_values_of_the_default_space_are_valid(Estimator, name):
    if name not in signature(Estimator).parameters:
        assert name == "label_smoothing"
        return
    values = DEFAULT_SPACE[name]
    if isinstance(values, list):
        may_be = values
    else:
        numbers = values.on if isinstance(values, Switch) else values
        may_be = [numbers.low, numbers.high, *([values.off] if isinstance(values, Switch) else [])]
    rules = [make_constraint(rule) for rule in Estimator._parameter_constraints[name]]
    assert all(any(rule.is_satisfied_by(value) for rule in rules) for value in may_be)


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("name", DEFAULT_SPACE)
def test_default_space_contains_every_default(Estimator, name):
    if name not in signature(Estimator).parameters:
        return
    values, default = DEFAULT_SPACE[name], signature(Estimator).parameters[name].default
    if isinstance(values, list):
        assert default in values
    elif not (isinstance(values, Switch) and default == values.off):
        numbers = values.on if isinstance(values, Switch) else values
        assert numbers.low <= default <= numbers.high


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("prefix", ["", "mlp__"])
def test_first_trial_has_the_defaults(Estimator, prefix):
    estimator = Pipeline([("mlp", Estimator())]) if prefix else Estimator()
    space = make_space(None, estimator)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    study.enqueue_trial(space.first)
    defaults = {name: parameter.default for name, parameter in signature(Estimator).parameters.items()}
    params = space.params(study.ask())
    names = [name.removeprefix(prefix) for name in params]
    assert set(names) == set(DEFAULT_SPACE) & set(defaults) - {"augmentation_strength"}
    assert {name.removeprefix(prefix): value for name, value in params.items()} == {n: defaults[n] for n in names}


def test_finished_trial_has_the_same_parameters():
    """Another process can read the parameters that this one has tried."""
    space = make_space(None, RegularizedMLPClassifier())
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    asked = []
    for _ in range(20):
        trial = study.ask()
        asked.append(space.params(trial))
        study.tell(trial, 0.0)
    assert [make_space(None, RegularizedMLPClassifier()).params(trial) for trial in study.trials] == asked
    assert {"augmentation_strength" in params for params in asked} == {True, False}
    assert all(("augmentation_strength" in p) == (p["augmentation"] is not None) for p in asked)


@pytest.mark.parametrize(
    "given",
    [
        {"layer_norm": True},
        {"swa_start": 0.5, "learning_rate": "constant"},
        {"solver": "sgd"},
        {"hidden_layer_sizes": ()},
        {"hidden_layer_sizes": (8, 4), "activation": "selu"},
        {"augmentation": "cutmix"},
        {},
    ],
)
@pytest.mark.parametrize("Estimator", BOTH)
def test_every_candidate_of_the_default_space_can_be_fitted(Estimator, given):
    rng = np.random.default_rng(0)
    rows, target = rng.normal(size=(40, 3)), rng.integers(0, 2, 40)
    estimator = Estimator(max_iter=1, n_members=1, random_state=0, **given)
    space = make_space(None, estimator)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(1))
    for _ in range(6):
        params = space.params(study.ask())
        assert not set(params) & set(given)
        estimator.set_params(**params).fit(rows, target)


def test_structure_is_not_searched_with_a_pretrained_network():
    rng = np.random.default_rng(0)
    rows, target = rng.normal(size=(40, 3)), rng.normal(size=40)
    source = RegularizedMLPRegressor(max_iter=1, n_members=1).fit(rows, target)
    estimator = RegularizedMLPRegressor(max_iter=1, n_members=1, pretrained=FrozenEstimator(source))
    space = make_space(None, estimator)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(1))
    for _ in range(6):
        estimator.set_params(**space.params(study.ask())).fit(rows, target)


def test_estimators_without_default_space():
    with pytest.raises(ValueError, match="For Ridge give a dict or a callable"):
        make_space(None, Pipeline([("last", Ridge())]))
    with pytest.raises(ValueError, match="no space for solver='lbfgs'"):
        make_space(None, RegularizedMLPRegressor(solver="lbfgs"))


def test_parameters_that_are_set_are_not_searched():
    params = RegularizedMLPClassifier(alpha=0, dropout=[0.1, 0.1, 0.1]).get_params()
    free = free_params(params, RegularizedMLPClassifier().get_params())
    assert set(DEFAULT_SPACE) - set(free) == {"alpha", "dropout"}
