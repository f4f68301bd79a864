"""Spaces: distributions as Optuna's, lists of anything, and the cocktail, inside of which every default lies."""

from inspect import signature

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from scipy import stats
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from sklearn.utils._param_validation import make_constraint

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.search.default_space import DEFAULT_SPACE, Choice, Switch, free_params, make_space
from skreg.search.distributions import labels_of, make_param

BOTH = [RegularizedMLPClassifier, RegularizedMLPRegressor]


class Draws:
    """What RandomizedSearchCV takes too: it can draw, and nothing else."""

    def rvs(self, random_state=None):
        return np.random.RandomState(random_state).randint(10)


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        (stats.uniform(2, 3), FloatDistribution(2, 5)),
        (stats.uniform(loc=-1), FloatDistribution(-1, 0)),
        (stats.loguniform(1e-3, 10), FloatDistribution(1e-3, 10, log=True)),
        (stats.reciprocal(1, 4), FloatDistribution(1, 4, log=True)),
        (stats.loguniform(1, 4, scale=2), FloatDistribution(2, 8, log=True)),
        (stats.randint(2, 9), IntDistribution(2, 8)),
        (stats.randint(2, 9, loc=1), IntDistribution(3, 9)),
        (IntDistribution(1, 9, step=2), IntDistribution(1, 9, step=2)),
        ([True, None, 0.5, "a"], CategoricalDistribution([True, None, 0.5, "a"])),
        (np.array([1, 2]), CategoricalDistribution([1, 2])),
        (range(3), CategoricalDistribution([0, 1, 2])),
        ([(1, 2), [3]], CategoricalDistribution(["(1, 2)", "[3]"])),
        ([1, True], CategoricalDistribution(["1", "True"])),
        ([1, 1], CategoricalDistribution([0, 1])),
        ([print, len], CategoricalDistribution([0, 1])),
    ],
)
def test_what_optuna_has_becomes_exactly_that(given, becomes):
    assert make_param("x", given).distribution == becomes


@pytest.mark.parametrize(
    "frozen", [stats.norm(3, 2), stats.expon(), stats.loguniform(1, 9, loc=2), stats.poisson(4), stats.geom(0.3)]
)
def test_any_other_distribution_goes_by_its_quantiles(frozen):
    found = make_param("x", frozen)
    shares = np.linspace(found.distribution.low, found.distribution.high, 2001)
    values = np.array([found.decode(share) for share in shares])
    assert isinstance(found.decode(0.5), int if frozen.dist.name in ("poisson", "geom") else float)
    assert np.isfinite(values).all()
    assert_close = pytest.approx(frozen.mean(), rel=0.02)
    assert values[1:-1].mean() == assert_close


def test_what_can_only_draw_draws_by_a_seed():
    found = make_param("x", Draws())
    assert found.decode(3) == found.decode(3)
    assert len({found.decode(seed) for seed in range(20)}) > 3


@pytest.mark.parametrize("options", [[(1,), (2, 3)], [np.float64(0.1), np.float64(0.2)], [{"a": 1}, [2]], [print, len]])
def test_an_element_of_a_list_comes_back_as_it_is(options):
    found = make_param("x", options)
    assert all(found.decode(label) is option for label, option in zip(found.distribution.choices, options, strict=True))


def test_labels_do_not_depend_on_the_process():
    assert labels_of([Ridge(), len]) == [0, 1]
    assert labels_of(["1", 1]) == ["1", 1]
    assert labels_of([float("nan"), 1.0]) == [0, 1]


# the cocktail


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("name", DEFAULT_SPACE)
def test_every_value_of_the_cocktail_is_one_that_the_parameter_may_have(Estimator, name):
    if name not in signature(Estimator).parameters:
        assert name == "label_smoothing"
        return
    values = DEFAULT_SPACE[name]
    if isinstance(values, Choice):
        may_be = values.options
    else:
        numbers = values.on if isinstance(values, Switch) else values
        may_be = [numbers.low, numbers.high, *([values.off] if isinstance(values, Switch) else [])]
    rules = [make_constraint(rule) for rule in Estimator._parameter_constraints[name]]
    assert all(any(rule.is_satisfied_by(value) for rule in rules) for value in may_be)


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("name", DEFAULT_SPACE)
def test_every_default_lies_inside(Estimator, name):
    if name not in signature(Estimator).parameters:
        return
    values, default = DEFAULT_SPACE[name], signature(Estimator).parameters[name].default
    if isinstance(values, Choice):
        assert default in values.options
    elif not (isinstance(values, Switch) and default == values.off):
        numbers = values.on if isinstance(values, Switch) else values
        assert numbers.low <= default <= numbers.high


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("prefix", ["", "mlp__"])
def test_the_first_trial_is_the_defaults(Estimator, prefix):
    estimator = Pipeline([("mlp", Estimator())]) if prefix else Estimator()
    space = make_space(None, estimator)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    study.enqueue_trial(space.first)
    defaults = {name: parameter.default for name, parameter in signature(Estimator).parameters.items()}
    params = space.params(study.ask())
    names = [name.removeprefix(prefix) for name in params]
    assert set(names) == set(DEFAULT_SPACE) & set(defaults) - {"augmentation_strength"}
    assert {name.removeprefix(prefix): value for name, value in params.items()} == {n: defaults[n] for n in names}


def test_a_finished_trial_stands_for_the_same_parameters():
    """So that another process reads what this one tried."""
    space = make_space(None, RegularizedMLPClassifier())
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    asked = []
    for _ in range(20):
        trial = study.ask()
        asked.append(space.params(trial))
        study.tell(trial, 0.0)
    assert [space.params(trial) for trial in study.trials] == asked
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
def test_every_mixture_can_be_fitted(Estimator, given):
    rng = np.random.default_rng(0)
    rows, target = rng.normal(size=(40, 3)), rng.integers(0, 2, 40)
    estimator = Estimator(max_iter=1, n_members=1, random_state=0, **given)
    space = make_space(None, estimator)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(1))
    for _ in range(6):
        params = space.params(study.ask())
        assert not set(params) & set(given)
        estimator.set_params(**params).fit(rows, target)


def test_a_pretrained_network_keeps_its_shape():
    rng = np.random.default_rng(0)
    rows, target = rng.normal(size=(40, 3)), rng.normal(size=40)
    source = RegularizedMLPRegressor(max_iter=1, n_members=1).fit(rows, target)
    estimator = RegularizedMLPRegressor(max_iter=1, n_members=1, pretrained=FrozenEstimator(source))
    space = make_space(None, estimator)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(1))
    for _ in range(6):
        estimator.set_params(**space.params(study.ask())).fit(rows, target)


def test_what_has_no_cocktail():
    with pytest.raises(ValueError, match="For Ridge give a dict or a callable"):
        make_space(None, Pipeline([("last", Ridge())]))
    with pytest.raises(ValueError, match="no space for solver='lbfgs'"):
        make_space(None, RegularizedMLPRegressor(solver="lbfgs"))


def test_what_the_user_set_is_not_searched():
    params = RegularizedMLPClassifier(alpha=0, dropout=[0.1, 0.1, 0.1]).get_params()
    free = free_params(params, RegularizedMLPClassifier().get_params())
    assert set(DEFAULT_SPACE) - set(free) == {"alpha", "dropout"}
