"""Call every public function in a forked process whose parent has used several threads.

OpenMP's threads do not exist in a forked process, which waits for them forever as soon as torch uses more than one. The
functions run with torch's number of threads at 2 and ``n_threads=1``, so a computation outside of ``torch_settings``
hangs. Each function prints its name and the number of threads that it started, and its traceback if it hangs.
``test_processes.py`` runs this file.
"""

import copy
import faulthandler
import os
import pickle
import signal
import sys
import tempfile
import warnings

import matplotlib as mpl
import numpy as np
import optuna
import torch
from optuna.distributions import FloatDistribution

from skreg import OptunaSearchCV, RegularizedMLPClassifier, RegularizedMLPRegressor, diagnose, plots

SECONDS = 60
RNG = np.random.RandomState(0)
X = RNG.randn(1500, 30)  # torch divides the work between threads from 32,768 values
Y = X[:, 0] + RNG.randn(1500)
LABEL = (Y > 0).astype(int)
NET = {"hidden_layer_sizes": (256, 128), "max_iter": 2, "random_state": 0}
CONFIGURATION = {"get_metadata_routing", "get_params", "set_callbacks", "set_params"}
"""Methods that compute nothing; so do those that request metadata."""
METHODS = {
    "fit": lambda net, y: net.fit(X, y),
    "partial_fit": lambda net, y: net.partial_fit(X, y, *([[0, 1]] if y is LABEL else [])),
    "score": lambda net, y: net.score(X, y),
    "sample_predictions": lambda net, y: net.sample_predictions(X, 4),
    "predict_uncertainty": lambda net, y: net.predict_uncertainty(X, 4),
}
"""Calls of the methods that take other arguments than X."""


def methods_and_attributes(fitted, y):
    """Return a call of each public method and of each computed attribute."""
    calls, name_of_class = {}, type(fitted).__name__
    for name in dir(type(fitted)):
        member = getattr(type(fitted), name)
        if name.startswith("_") or name in CONFIGURATION or name.endswith("_request"):
            continue
        if isinstance(member, property):
            calls[f"{name_of_class}.{name}"] = lambda name=name: getattr(fitted, name)
        elif callable(member):
            call = METHODS.get(name, lambda net, y, name=name: getattr(net, name)(X))
            calls[f"{name_of_class}.{name}"] = lambda call=call: call(copy.copy(fitted), y)
    return calls


def search(network=None, **params):
    network = network or RegularizedMLPClassifier((256,), max_iter=4, n_members=1, random_state=0)
    space = {"learning_rate_init": FloatDistribution(1e-4, 1e-2, log=True)}
    params = {"n_trials": 12, "cv": 2, "random_state": 0, **params}
    return OptunaSearchCV(network, space, **params).fit(X, LABEL)


def path():
    net = RegularizedMLPRegressor(**NET, n_members=1)
    return plots.RegularizationPathDisplay.from_estimator(net, X, Y, param_name="alpha", param_range=[1e-4, 1e-2], cv=2)


def live_curve():
    return RegularizedMLPRegressor(**NET, callbacks=[plots.LiveTrainingCurve()]).fit(X, Y)


def public_calls(regressor, classifier, several_threads, folder):
    """Return a call of every public function."""
    with_features = RegularizedMLPRegressor(**NET, feature_alpha=1e-3).fit(X, Y)
    content = pickle.dumps(regressor)
    displays = {
        "ActivationDisplay": lambda: plots.ActivationDisplay.from_estimator(regressor, X),
        "FeatureSelectionDisplay": lambda: plots.FeatureSelectionDisplay.from_estimator(with_features),
        "GradientDisplay": lambda: plots.GradientDisplay.from_estimator(regressor, X, Y),
        "LiveTrainingCurve": live_curve,
        "RegularizationPathDisplay": path,
        "TrainingCurveDisplay": lambda: plots.TrainingCurveDisplay.from_estimator(regressor),
        "UncertaintyDisplay": lambda: plots.UncertaintyDisplay.from_estimator(regressor, X, Y),
        "WeightDisplay": lambda: plots.WeightDisplay.from_estimator(regressor),
    }
    assert set(displays) == set(plots.__all__)
    return {
        **methods_and_attributes(regressor, Y),
        **methods_and_attributes(classifier, LABEL),
        "n_threads=2": lambda: several_threads.predict(X),
        "n_threads=None": lambda: RegularizedMLPRegressor(**NET, n_threads=None).fit(X, Y).predict(X),
        "several members": lambda: RegularizedMLPRegressor(**NET, n_members=3).fit(X, Y).predict(X),
        "warm start": lambda: copy.copy(regressor).set_params(warm_start=True).fit(X, Y),
        "monitor": lambda: RegularizedMLPClassifier(**NET, monitor="accuracy").fit(X, LABEL),
        "lbfgs": lambda: RegularizedMLPRegressor(**NET, solver="lbfgs", n_members=1, dropout=0.0, weight_decay=0.0).fit(
            X, Y
        ),
        "pickle.dumps": lambda: pickle.dumps(regressor),
        "pickle.loads": lambda: pickle.loads(content).predict(X),
        "copy.deepcopy": lambda: copy.deepcopy(regressor).predict(X),
        "diagnose regressor": lambda: diagnose(regressor, X, Y),
        "diagnose classifier": lambda: diagnose(classifier, X, LABEL, X_val=X, y_val=LABEL),
        **displays,
        "search": search,
        "search with a timeout": lambda: search(timeout=0.2),
        "search fold by fold": lambda: search(vectorize=False, n_trials=2),
        "search without a pruner": lambda: search(pruner=optuna.pruners.NopPruner()),
        "search in a file": lambda: search(storage=f"{folder}/study.db", n_trials=4),
        "search by loss": lambda: search(scoring="neg_log_loss", return_train_score=True, n_trials=4),
    }


def n_started():
    return len(os.listdir("/proc/self/task")) - 1 if os.path.isdir("/proc/self/task") else 0


def call_in_fork(name, function):
    """Call a function in a forked process, which prints the number of threads that the function started."""
    child = os.fork()
    if child == 0:
        faulthandler.register(signal.SIGALRM, chain=True)
        signal.alarm(SECONDS)
        with warnings.catch_warnings(action="ignore"):
            function()
        print(f"{name}: {n_started()} threads", flush=True)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if status:
        print(f"{name}: failed with {status}", flush=True)


def main():
    mpl.use("agg")
    torch.set_num_threads(2)
    n_before = n_started()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        regressor = RegularizedMLPRegressor(**NET, n_members=1).fit(X, Y)
        classifier = RegularizedMLPClassifier(**NET, n_members=1).fit(X, LABEL)
        print(f"parent: {n_started() - n_before} threads")
        several_threads = RegularizedMLPRegressor(**NET, n_threads=2).fit(X, Y)
        calls = public_calls(regressor, classifier, several_threads, folder)
        values = torch.randn(1000, 1000, generator=torch.Generator().manual_seed(0))
        (values @ values).exp()
        for name, function in calls.items():
            if not sys.argv[1:] or name in sys.argv[1:]:
                call_in_fork(name, function)


if __name__ == "__main__":
    main()
