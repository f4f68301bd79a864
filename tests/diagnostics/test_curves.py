import numpy as np
import pytest

from skreg import RegularizedMLPClassifier
from skreg.diagnostics.curves import TrainingCurves
from tests.diagnostics.problems import without_problems

RNG = np.random.RandomState(0)
X = RNG.randn(150, 4)
LABEL = np.where(X[:, 0] * X[:, 1] + 0.3 * RNG.randn(150) > 0, "yes", "no")


def test_curves_describe_the_training():
    fitted = RegularizedMLPClassifier(
        (12, 8), max_iter=60, learning_rate_init=0.1, random_state=0, n_members=2, batch_size=32, early_stopping=True
    )
    curves = TrainingCurves.from_net(fitted.set_params(patience=3).fit(X, LABEL).net_)
    assert len(curves.epoch) == len(curves.learning_rate) == fitted.n_iter_
    assert curves.stopped.all()
    assert not curves.diverged.any()
    assert np.array_equal(curves.validation, fitted.validation_curve_)
    assert not curves.greater_is_better
    assert TrainingCurves.from_net(fitted.set_params(monitor="accuracy").fit(X, LABEL).net_).greater_is_better
    fitted.set_params(monitor="loss", early_stopping=False).fit(X, LABEL)
    assert TrainingCurves.from_net(fitted.net_).validation is None


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_only_the_ends_of_cycles_are_compared():
    experiment = without_problems("friedman1", 0, "defaults").set(max_iter=31, patience=31)
    curves = TrainingCurves.from_net(experiment.fit().net_)
    assert curves.epoch[curves.cycle_ends].tolist() == [3, 7, 15, 31]
    assert np.diff(curves.train_loss).max() > 0 > np.diff(curves.train_loss[curves.cycle_ends]).max()
    short = experiment.set(max_iter=3).fit()
    curves = TrainingCurves.from_net(short.net_)
    assert curves.epoch[curves.cycle_ends].tolist() == [3]
    assert "learning rate too high" not in [f.name for f in experiment.diagnose(short) if f.is_certain]
    plain = without_problems("friedman1", 0).set(max_iter=3).fit()
    assert not len(TrainingCurves.from_net(plain.net_).cycle_ends)
