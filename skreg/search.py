"""The search for parameters."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import _fit_context, clone, is_classifier, is_regressor
from sklearn.model_selection import check_cv
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils import check_random_state, indexable
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import _check_method_params, check_is_fitted

from ._candidates import RECORD, Candidate, Scoring, SearchProgress, Table
from ._distributions import Space, space_of
from ._ensembling import Choice, Contender, Keeper, best_of, fold_estimators
from ._fingerprint import fingerprint
from ._joining import WATCHED
from ._lanes import network_of
from ._race import Race
from ._repeats import Repeats
from ._studies import StudyRun

if TYPE_CHECKING:
    import optuna
    import pandas  # type: ignore[import-untyped]  # pandas ships no types

__all__ = ["OptunaSearchCV"]

_ENSEMBLE = "ensemble"

_FITS_AT_ONCE = 20
_CANDIDATES_AT_ONCE = 10  # side by side: as many as the sampler begins with by chance
FIRST_RUNG, REDUCTION = 0.2, 2
"""Share of the epochs after which candidates are first compared, and of how many the best one goes on.

Replayed on recorded curves (8 searches of 40 candidates, in 20 orders): 2.2 times fewer epochs, the best of all found
in 91 %. A tenth and 3: 4.0 times and 29 %; a fifth and 3: 2.5 and 74 %; a tenth and 2: 3.5 and 60 %.
"""
_POLL_SECONDS = 1.0


class OptunaSearchCV(BaseSearchCV):
    """Search for parameters by Optuna, scored by cross-validation.

    It is used as :class:`~sklearn.model_selection.RandomizedSearchCV` is, with the same dictionaries, for any
    estimator; candidates are chosen by what the earlier ones scored. The study goes on where it was left if it has a
    storage.

    Parameters
    ----------
    estimator : estimator
        What is fitted; it needs a ``score`` method or ``scoring``.
    param_distributions : dict, list of dict, callable or None, default=None
        From the names of parameters, ``"mlp__alpha"`` in a Pipeline, to what they may be: an Optuna distribution, a
        frozen SciPy distribution, any object with an ``rvs`` method, or a list. Of several dicts, a trial first chooses
        one. Or a callable ``trial -> dict`` that
        suggests as it goes, as Optuna's users write it. None is the ready space of this package's estimators, alone or
        last in a Pipeline: which cures to use, and how strong. Parameters that are set to something else than their
        default stay as they are, and the first trial is the defaults.
    n_trials : int, default=50
        Candidates in total, those of earlier runs of the same study and those that were pruned or failed among them.
    timeout : float or None, default=None
        Seconds after which no new candidate is begun; fold by fold with several workers or a pruner, no new batch. The
        first one always is. Those that train side by side end at the end of the epoch, and are let go, or, if there is
        no other result, scored as they are.
    scoring : str, callable, list, tuple, dict or None, default=None
        As in :class:`~sklearn.model_selection.GridSearchCV`; scores are maximised. Of several metrics ``refit`` names
        the one that is.
    cv : int, splitter, iterable or None, default=None
        How rows are split. The splits are listed once and are the same for every candidate, also those of a shuffled
        splitter without a seed.
    refit : bool, str or callable, default=True
        Whether the best candidate is fitted on all rows, or the name of the metric by which it is the best. A callable
        takes ``cv_results_`` and returns the index of the best; for a single metric. "ensemble" fits nothing on all
        rows: the estimators that the best 25 candidates have of the folds vote, weighted by a greedy choice on rows
        that they have not seen [4]_; for a single metric.
    sampler : optuna.samplers.BaseSampler or None, default=None
        What chooses candidates, used as it is. None is Optuna's TPE, seeded by ``random_state``.
    pruner : optuna.pruners.BasePruner or None, default=None
        What gives candidates up. Of those that train side by side it is told the mean score over the folds at each
        epoch; of others, after each fold, the mean score over the folds so far, Wilcoxon's the score of each fold. None
        is successive halving [5]_ side by side, first after a fifth of ``max_iter``, where the best half goes on, and
        gives up none fold by fold. ``optuna.pruners.NopPruner()`` gives up none.
    storage : str, path, storage or None, default=None
        Where the study is kept; None is in memory, for this fit only. The path or URL of an SQLite file, a PostgreSQL
        URL, the path of a journal that ends in .journal or .log, or a storage of Optuna's. A search that is started
        again goes on to ``n_trials``, and several processes share one.
    study_name : str or None, default=None
        Its name there; None is one made from data, estimator, space, splits and scoring.
    n_jobs : int or None, default=None
        Workers of joblib, processes for candidates that train side by side. Candidates are chosen in batches, of
        about 20 fits or 10 candidates, with any number of workers, which therefore does not change what is found.
    vectorize : bool or "auto", default="auto"
        Whether the candidates of a batch train side by side, all folds of each, as members of one net wherever they
        differ only in numbers such as learning rate, decay, penalties and dropout; which is for this package's
        estimators, alone or last in a Pipeline, and scores as each does alone. The steps before are fitted once for
        each fold. What cannot train beside others goes fold by fold, as do all with False: the solver "lbfgs",
        ``snapshots``, ``swa_start``, ``pretrained``, ``warm_start``, ``callbacks``, ``verbose``, and metadata other
        than weights.
    random_state : int, RandomState instance or None, default=None
        What seeds the sampler.
    verbose : int, default=0
        Messages, as in :class:`~sklearn.model_selection.GridSearchCV`.
    error_score : float or "raise", default=nan
        Score of a fold whose fit failed. Under nan the candidate has failed: it counts, and the sampler learns nothing
        of it. "raise" raises the error.
    return_train_score : bool, default=False
        Whether ``cv_results_`` has scores on training rows.

    Attributes
    ----------
    cv_results_ : dict of ndarray
        A column each for parameters, scores, ranks and times, a row for each trial of the study that ended, by number.
        A pruned candidate has nan for scores and the last rank.
    study_ : optuna.Study
        The study.
    best_estimator_ : estimator
        The best candidate, fitted on all rows. Only with ``refit``; with ``refit="ensemble"`` the ensemble, a
        :class:`~sklearn.ensemble.VotingClassifier` or :class:`~sklearn.ensemble.VotingRegressor`.
    best_params_ : dict
        The parameters of the best candidate, also with an ensemble.
    best_score_ : float
        Its mean score over the folds; not with a callable ``refit``.
    best_index_ : int
        Its row in ``cv_results_``.
    ensemble_score_ : float
        The ensemble's counterpart of ``best_score_``: the mean over the folds of what each scores under weights that
        were chosen on the others. Only with ``refit="ensemble"``; nan for a single split.
    ensemble_weights_ : ndarray of shape (n_candidates,)
        How much each row of ``cv_results_`` counts in the ensemble; they sum to 1. Only with ``refit="ensemble"``.
    scorer_ : callable or dict
        What scores.
    n_splits_ : int
        Folds.
    refit_time_ : float
        Seconds of the last fit, or of the making of the ensemble.
    multimetric_ : bool
        Whether there are several metrics.
    classes_ : ndarray of shape (n_classes,)
        The labels, of a classifier.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X has them.

    See Also
    --------
    sklearn.model_selection.RandomizedSearchCV : Candidates by chance.
    sklearn.model_selection.GridSearchCV : All of a grid.

    Notes
    -----
    Ctrl-C keeps what is there: ``study_``, ``cv_results_`` and the ``best_`` attributes so far, without the last fit,
    and the interrupt is passed on.

    References
    ----------
    .. [1] Akiba et al. 2019, "Optuna: a next-generation hyperparameter optimization framework".
    .. [2] Bergstra et al. 2011, "Algorithms for hyper-parameter optimization" (TPE).
    .. [3] Kadra et al. 2021, "Well-tuned simple nets excel on tabular datasets" (the cocktail).
    .. [4] Caruana et al. 2004, "Ensemble selection from libraries of models".
    .. [5] Jamieson & Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter optimization"; Li et
       al. 2020, "A system for massively parallel hyperparameter tuning".

    Examples
    --------
    >>> from scipy.stats import loguniform
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skreg import OptunaSearchCV
    >>> X, y = load_wine(return_X_y=True)
    >>> pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    >>> distributions = {"logisticregression__C": loguniform(1e-3, 10)}
    >>> search = OptunaSearchCV(pipeline, distributions, n_trials=5, random_state=0).fit(X, y)
    >>> len(search.cv_results_["params"]), bool(search.best_score_ > 0.9)
    (5, True)
    """

    _parameter_constraints = {
        "estimator": [HasMethods(["fit"])],
        "param_distributions": [dict, Mapping, list, tuple, callable, None],
        "n_trials": [Interval(Integral, 1, None, closed="left")],
        "timeout": [Interval(Real, 0, None, closed="left"), None],
        **{name: BaseSearchCV._parameter_constraints[name] for name in ("scoring", "cv", "refit", "n_jobs", "verbose")},
        "sampler": [HasMethods(["sample_relative", "sample_independent"]), None],
        "pruner": [HasMethods(["prune"]), None],
        "storage": "no_validation",  # StudyRun.open refuses what it cannot open
        "study_name": [str, None],
        "vectorize": ["boolean", StrOptions({"auto"})],
        "random_state": ["random_state"],
        "error_score": BaseSearchCV._parameter_constraints["error_score"],
        "return_train_score": ["boolean"],
    }

    def __init__(
        self,
        estimator: Any,
        param_distributions: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Callable[[Any], dict] | None = None,
        *,
        n_trials: int = 50,
        timeout: float | None = None,
        scoring: Any = None,
        cv: Any = None,
        refit: bool | str | Callable[[dict[str, Any]], int] = True,
        sampler: Any = None,
        pruner: Any = None,
        storage: Any = None,
        study_name: str | None = None,
        n_jobs: int | None = None,
        vectorize: bool | str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        error_score: float | str = np.nan,
        return_train_score: bool = False,
    ) -> None:
        self.estimator = estimator
        self.param_distributions = param_distributions
        self.n_trials = n_trials
        self.timeout = timeout
        self.scoring = scoring
        self.cv = cv
        self.refit = refit
        self.sampler = sampler
        self.pruner = pruner
        self.storage = storage
        self.study_name = study_name
        self.n_jobs = n_jobs
        self.vectorize = vectorize
        self.random_state = random_state
        self.verbose = verbose
        self.error_score = error_score
        self.return_train_score = return_train_score

    @_fit_context(prefer_skip_nested_validation=False)  # the estimator is not validated yet
    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Search, and fit the best candidate on all rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows, as the estimator takes them.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            The target.
        **params : dict of str -> object
            For the estimator's ``fit``, the scorer and the splitter, as ``groups`` and ``sample_weight``. What has a
            value for each row is split with the rows.

        Returns
        -------
        self : OptunaSearchCV
            The search, fitted.

        Raises
        ------
        ImportError
            Where Optuna is not installed.
        ValueError, TypeError
            For parameters that cannot be used, and where all fits failed.
        """
        _check_optuna()
        self._forget()
        scorers, _ = self._get_scorers()
        X, y = indexable(X, y)
        params = _check_method_params(X, params=params)
        routed = self._get_routed_params_for_fit(params)
        space = space_of(self.param_distributions, self.estimator)
        splits = self._list_splits(X, y, routed.splitter.split)
        progress = SearchProgress(self, X, y, params.get("sample_weight"), self.n_trials * len(splits))
        settings = {
            "scorer": scorers,
            "fit_params": routed.estimator.fit,
            "score_params": routed.scorer.score,
            **{name: getattr(self, name) for name in ("return_train_score", "error_score", "verbose")},
            "return_times": True,
            "return_estimator": self._keeps_estimators(),
        }
        estimator = clone(self.estimator)
        scoring = Scoring(estimator, X, y, splits, settings, self._objective, self.n_jobs, progress)
        scoring.keeper = Keeper() if self._keeps_estimators() else None
        with self._open(scoring, space) as run:
            table = self._search(run, space, scoring)
        progress.searched()
        if scoring.keeper is None:
            self._refit(estimator, X, y, routed.estimator.fit, progress)
        else:
            self._ensemble(table, scoring)
        self.scorer_ = getattr(scorers, "_scorers", scorers)
        progress.close()
        return self

    def trials_dataframe(self) -> "pandas.DataFrame":
        """Optuna's table of all trials.

        Returns
        -------
        frame : pandas.DataFrame
            Numbers, values, times, Optuna's parameters and states. ``cv_results_`` has the estimator's parameters.
        """
        check_is_fitted(self, "study_")
        return self.study_.trials_dataframe(("number", "value", "datetime_start", "duration", "params", "state"))

    def _forget(self) -> None:
        """Let go of an earlier fit, so that one that fails or is interrupted leaves nothing half new."""
        for name in [name for name in self.__dict__ if name.endswith("_") and not name.startswith("_")]:
            del self.__dict__[name]

    def _list_splits(self, X: Any, y: Any, split_params: dict[str, Any]) -> list[tuple[Any, Any]]:
        """The folds of every candidate."""
        splitter = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        self.n_splits_ = splitter.get_n_splits(X, y, **split_params)
        splits = list(splitter.split(X, y, **split_params))
        if len(splits) != self.n_splits_:
            raise ValueError(
                "cv.split and cv.get_n_splits return inconsistent results. "
                f"Expected {self.n_splits_} splits, got {len(splits)}"
            )
        if not splits:
            raise ValueError("No fits were performed. Was the CV iterator empty? Were there no candidates?")
        return splits

    def _check_refit_for_multimetric(self, scores: Iterable[str]) -> None:
        """Of several metrics one is maximised, and ``refit`` has to name it."""
        if isinstance(self.refit, str) and self.refit == _ENSEMBLE:
            raise ValueError(
                "refit='ensemble' is for a single metric, by which the ensemble is chosen. Give one scoring."
            )
        if not (isinstance(self.refit, str) and self.refit in scores):
            names = ", ".join(map(repr, scores))
            raise ValueError(
                "For multi-metric scoring, the parameter refit must be set to a scorer key, which names the metric "
                f"that the search maximises: one of {names}. {self.refit!r} was passed."
            )

    def _objective(self, scores: Any) -> float:
        """What is maximised, of a fold's scores."""
        if not isinstance(scores, dict):
            return float(scores)
        self._check_refit_for_multimetric(scores)
        return float(scores[self.refit])

    def _open(self, scoring: Scoring, space: Space) -> StudyRun:
        """Create the study, or join it."""
        identity, metric = {}, self.refit if isinstance(self.refit, str) else None
        if self.storage is not None:
            identity = {
                "data": fingerprint([scoring.X, scoring.y]),
                "estimator": fingerprint(self.estimator),
                "space": fingerprint(space.given),
                "splits": fingerprint(scoring.splits),
                "scoring": fingerprint([self.scoring, None if metric == _ENSEMBLE else metric]),
            }
        pruner = self._make_pruner()
        if identity and _gives_up(pruner):
            identity[WATCHED] = "epochs" if self._trains_side_by_side() else "folds"
        run = StudyRun.open(
            self.storage,
            self.study_name,
            direction="maximize",
            sampler=self.sampler,
            pruner=pruner,
            seed=int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max)),
            fingerprint=identity,
        )
        self.study_ = run.study
        if space.first is not None:
            run.enqueue(space.first)
        return run

    def _trains_side_by_side(self) -> bool:
        """Whether candidates that can shall be trained side by side."""
        ours = network_of(self.estimator)[1] is not None
        if self.vectorize is True and not ours:
            raise ValueError(
                "vectorize=True trains candidates as members of one net, which the estimators of this package are, "
                f"alone or last in a Pipeline. Got {self.estimator!r} instead: leave vectorize='auto'."
            )
        return ours and self.vectorize is not False

    def _make_pruner(self) -> Any:
        """The pruner; by itself successive halving over epochs, and none over folds."""
        if self.pruner is not None or not self._trains_side_by_side():
            return self.pruner
        from optuna.pruners import SuccessiveHalvingPruner

        return SuccessiveHalvingPruner(min_resource=self._first_rung(), reduction_factor=REDUCTION)

    def _first_rung(self) -> int:
        """The epoch after which candidates are first compared."""
        return max(1, round(network_of(self.estimator)[1].max_iter * FIRST_RUNG))

    def _decides(self, epoch: int) -> bool:
        """Whether the pruner may give up somebody after an epoch; of the user's that is not known."""
        rung = self._first_rung()
        while rung < epoch and self.pruner is None:
            rung *= REDUCTION
        return self.pruner is not None or rung == epoch

    def _search(self, run: StudyRun, space: Space, scoring: Scoring) -> Table:
        """Ask, score and tell until the study has its trials; an interrupt keeps those that it has."""
        known: dict[int, dict[str, Any]] = {}
        if self.verbose > 0:
            print(f"Fitting {self.n_splits_} folds for each of {self.n_trials} candidates")
        try:
            self._spend(run, space, scoring, known)
        except KeyboardInterrupt:
            if self._recorded(run):
                self._conclude(run, space, known)
            raise
        table = self._conclude(run, space, known)
        table.warn_of_failures()
        return table

    def _evaluation(
        self, run: StudyRun, scoring: Scoring, within: Callable[[], bool]
    ) -> tuple[Callable[[list[Candidate]], None], int]:
        """What scores a batch of candidates and tells the study, and how many candidates make one."""
        prunes = _gives_up(run.study.pruner)
        if self._trains_side_by_side():
            return Race(scoring, run, self.refit, prunes, self._decides, within).score, _CANDIDATES_AT_ONCE
        size = max(1, _FITS_AT_ONCE // self.n_splits_)
        return partial(scoring.score, run, pruned=prunes, within=within), size

    def _spend(self, run: StudyRun, space: Space, scoring: Scoring, known: dict[int, dict[str, Any]]) -> None:
        """Batch after batch, as many candidates as are evaluated together."""
        end = np.inf if self.timeout is None else time.monotonic() + self.timeout
        within = partial(_before, end)
        evaluate, size = self._evaluation(run, scoring, within)
        repeats = Repeats(run, scoring, lambda trial: known.get(trial.number) or space.params(trial))
        while True:
            batch: list[Candidate] = []
            most = run.share(size, self.n_trials)
            while len(batch) < most and (asked := run.ask(1, self.n_trials, space.distributions)):
                batch += [Candidate(trial, space.params(trial)) for trial in asked]
            known |= {candidate.trial.number: candidate.params for candidate in batch}
            if batch:
                repeats.score(batch, evaluate, within)
            elif run.wait(self.n_trials, timeout=max(0.0, min(_POLL_SECONDS, end - time.monotonic()))):
                return
            if not _before(end):
                return

    def _recorded(self, run: StudyRun) -> list["optuna.trial.FrozenTrial"]:
        """The trials that ended and were scored by a search."""
        return [trial for trial in run.finished() if RECORD in trial.user_attrs]

    def _conclude(self, run: StudyRun, space: Space, known: dict[int, dict[str, Any]]) -> Table:
        """Make the table of results and find the best in it."""
        trials = self._recorded(run)
        if not trials:
            raise ValueError("No trial of the study has ended: raise n_trials or timeout.")
        params = [known[trial.number] if trial.number in known else space.params(trial) for trial in trials]
        table = Table(trials, params, self.n_splits_, self.error_score)
        self.multimetric_ = table.multimetric
        self.cv_results_ = table.results(self._format_results)
        metric = self.refit if self.multimetric_ else "score"
        self.best_index_ = self._select_best_index(self.refit, metric, self.cv_results_)
        if not callable(self.refit):
            self.best_score_ = self.cv_results_[f"mean_test_{metric}"][self.best_index_]
        self.best_params_ = self.cv_results_["params"][self.best_index_]
        return table

    def _refit(self, estimator: Any, X: Any, y: Any, fit_params: dict[str, Any], progress: SearchProgress) -> None:
        """Fit the best candidate on all rows; its parameters may be estimators, and are cloned too."""
        if not self.refit:
            return
        best = clone(estimator).set_params(**clone(self.best_params_, safe=False))
        with progress.refitting(best):
            began = time.time()
            if y is None:
                best.fit(X, **fit_params)
            else:
                best.fit(X, y, **fit_params)
            self.refit_time_ = time.time() - began
        self.best_estimator_ = best
        if hasattr(best, "feature_names_in_"):
            self.feature_names_in_ = best.feature_names_in_

    def _keeps_estimators(self) -> bool:
        """Whether the best candidates make an ensemble; it needs predictions of which a mean has a meaning."""
        if not isinstance(self.refit, str) or self.refit != _ENSEMBLE:
            return False
        if not (is_classifier(self.estimator) or is_regressor(self.estimator)):
            raise ValueError(
                "refit='ensemble' averages what classifiers or regressors predict, and "
                f"{type(self.estimator).__name__} is neither. Take refit=True."
            )
        return True

    def _ensemble(self, table: Table, scoring: Scoring) -> None:
        """Let the best candidates vote, by their estimators of the folds."""
        fitted = [Contender(trial.number, params, value) for trial, params, value in table.fitted()]
        if not fitted:
            raise ValueError("No candidate was fitted on all folds, so that none can be in the ensemble.")
        with scoring.progress.refitting(None):
            began = time.time()
            best = best_of(fitted)
            choice = Choice(best, fold_estimators(best, scoring), scoring)
            self.best_estimator_, self.ensemble_score_ = choice.voting(), choice.score
            self.refit_time_ = time.time() - began
        shares = dict(zip([one.number for one in best], choice.shares, strict=True))
        self.ensemble_weights_ = np.array([shares.get(trial.number, 0.0) for trial in table.trials])
        if hasattr(self.best_estimator_, "feature_names_in_"):
            self.feature_names_in_ = self.best_estimator_.feature_names_in_

    @property
    def n_features_in_(self) -> int:
        """Columns of X."""
        return super().n_features_in_

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "best_estimator_" if self.refit else "cv_results_")


def _gives_up(pruner: Any) -> bool:
    """Whether a pruner is more than none."""
    from optuna.pruners import NopPruner

    return pruner is not None and not isinstance(pruner, NopPruner)


def _before(end: float) -> bool:
    return time.monotonic() < end


def _check_optuna() -> None:
    """Say what to do where Optuna is not installed."""
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise ImportError("OptunaSearchCV needs Optuna. Install it with: pip install 'skreg[search]'.") from error
