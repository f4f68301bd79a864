"""Conversion of the user's distributions to Optuna's."""

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from scipy import stats
from sklearn.linear_model import Ridge

from skreg.search.default_space import make_space
from skreg.search.distributions import labels_of, make_param, suggest


class Draws:
    """An object that has only an ``rvs`` method."""

    def rvs(self, random_state=None):
        return np.random.RandomState(random_state).randint(10)


@pytest.mark.parametrize(
    ("given", "expected"),
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
def test_distributions_that_optuna_has_are_converted_exactly(given, expected):
    assert make_param("x", given).distribution == expected


@pytest.mark.parametrize(
    "frozen", [stats.norm(3, 2), stats.expon(), stats.loguniform(1, 9, loc=2), stats.poisson(4), stats.geom(0.3)]
)
def test_other_distributions_are_converted_by_quantiles(frozen):
    found = make_param("x", frozen)
    shares = np.linspace(found.distribution.low, found.distribution.high, 2001)
    values = np.array([found.decode(share) for share in shares])
    assert isinstance(found.decode(0.5), int if frozen.dist.name in ("poisson", "geom") else float)
    assert np.isfinite(values).all()
    assert values[1:-1].mean() == pytest.approx(frozen.mean(), rel=0.02)


def test_rvs_is_called_with_a_seed():
    found = make_param("x", Draws())
    assert found.decode(3) == found.decode(3)
    assert len({found.decode(seed) for seed in range(20)}) > 3


@pytest.mark.parametrize("options", [[(1,), (2, 3)], [np.float64(0.1), np.float64(0.2)], [{"a": 1}, [2]], [print, len]])
def test_values_of_a_list_are_returned_unchanged(options):
    found = make_param("x", options)
    assert all(found.decode(label) is option for label, option in zip(found.distribution.choices, options, strict=True))


def test_labels_do_not_depend_on_the_process():
    assert labels_of([Ridge(), len]) == [0, 1]
    assert labels_of(["1", 1]) == ["1", 1]
    assert labels_of([float("nan"), 1.0]) == [0, 1]


def test_suggest_uses_the_distribution():
    distributions = {
        "float": FloatDistribution(1e-3, 1.0, log=True),
        "step": FloatDistribution(0.0, 1.0, step=0.25),
        "int": IntDistribution(2, 64, log=True),
        "category": CategoricalDistribution([None, "a", 2]),
    }
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trial = study.ask()
    values = {name: suggest(trial, name, distribution) for name, distribution in distributions.items()}
    assert trial.distributions == distributions
    study.tell(trial, 0.0)
    assert {
        name: suggest(study.trials[0], name, distribution) for name, distribution in distributions.items()
    } == values


@pytest.mark.parametrize("key", [1, None, ("alpha",), b"alpha", np.float64(0.5)])
@pytest.mark.parametrize("kind", ["dict", "list", "later dict", "callable"])
def test_keys_that_are_no_strings_are_refused(kind, key):
    given = {"alpha": [1.0], key: [2.0]}
    spaces = {"dict": given, "list": [given], "later dict": [{"alpha": [1.0]}, given], "callable": lambda trial: given}
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    with pytest.raises(TypeError, match=r"The keys of 'param_distributions' must be .*as str\. Got .* of type"):
        make_space(spaces[kind], Ridge()).params(trial)
