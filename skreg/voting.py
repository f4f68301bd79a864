"""A vote is a weighted mean of what several estimators predict, which were fitted together or one by one before."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from copy import copy
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn import get_config
from sklearn.base import ClassifierMixin, RegressorMixin, _fit_context, clone
from sklearn.ensemble._base import _BaseHeterogeneousEnsemble
from sklearn.pipeline import Pipeline
from sklearn.utils import Bunch, Tags, get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

__all__ = ["WeightedVotingClassifier", "WeightedVotingRegressor"]


class BaseVoting(_BaseHeterogeneousEnsemble):
    """What both votes are; scikit-learn's base gives them their estimators by name."""

    _parameter_constraints: dict[str, list[Any]] = {
        "estimators": [list],
        "weights": ["array-like", None],
        "n_jobs": [Integral, None],
    }

    def __init__(self, estimators: list[tuple[str, Any]], *, weights: Any = None, n_jobs: int | None = None) -> None:
        self.estimators = estimators
        self.weights = weights
        self.n_jobs = n_jobs

    @classmethod
    def from_fitted(cls, estimators: list[tuple[str, Any]], *, weights: Any = None, n_jobs: int | None = None) -> Self:
        """Make a fitted vote of fitted estimators, which are kept as they are and not copied.

        Parameters
        ----------
        estimators : list of (str, estimator)
            Names and fitted estimators.
        weights : array-like of shape (n_estimators,), default=None
            As in the constructor.
        n_jobs : int or None, default=None
            As in the constructor.

        Returns
        -------
        voting : estimator
            The fitted vote.

        Raises
        ------
        NotFittedError
            Where an estimator is not fitted.
        ValueError
            For estimators or weights that cannot be used.
        """
        voting = cls(estimators, weights=weights, n_jobs=n_jobs)
        voting._validate_params()
        _, fitted = voting._validate_estimators()
        for estimator in fitted:
            check_is_fitted(estimator)
        voting._adopt(list(fitted))
        return voting

    @_fit_context(prefer_skip_nested_validation=False)  # the estimators are not validated yet
    def fit(self, X: Any, y: Any, sample_weight: Any = None, **fit_params: Any) -> Self:
        """Fit a clone of each estimator on all rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows, as the estimators take them.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The target.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row, for estimators that take one.
        **fit_params : dict of str -> object
            For the ``fit`` of each estimator; with metadata routing, of those that ask for it.

        Returns
        -------
        self : estimator
            The vote, fitted.
        """
        names, estimators = self._validate_estimators()
        if sample_weight is not None:
            fit_params["sample_weight"] = sample_weight
        routed: Any = {name: Bunch(fit=fit_params) for name in names}
        if get_config()["enable_metadata_routing"]:
            routed = process_routing(self, "fit", **fit_params)
        pairs = zip(names, estimators, strict=True)
        jobs = (delayed(_fitted)(clone(one), X, y, routed[name].fit) for name, one in pairs)
        self._adopt(Parallel(n_jobs=self.n_jobs)(jobs), y)
        return self

    @property
    def n_features_in_(self) -> int:
        """Columns of X."""
        if not hasattr(self, "estimators_"):
            raise AttributeError(f"{type(self).__name__} has no n_features_in_ before it is fitted.")
        return self.estimators_[0].n_features_in_

    def get_metadata_routing(self) -> MetadataRouter:
        """Who gets which metadata.

        Returns
        -------
        router : MetadataRouter
            What ``fit`` is given besides rows goes to every estimator that asks for it.
        """
        router = MetadataRouter(owner=self)
        mapping = MethodMapping().add(caller="fit", callee="fit")
        return router.add(method_mapping=mapping, **dict(self.estimators))

    def _validate_estimators(self) -> tuple[Sequence[str], Sequence[Any]]:
        names, estimators = super()._validate_estimators()
        if any(isinstance(estimator, str) for estimator in estimators):
            raise ValueError(
                f"{type(self).__name__} has no 'drop': give an estimator that is not to vote a weight of 0."
            )
        self._shares_of_votes(len(estimators))
        return names, estimators

    def _shares_of_votes(self, n_estimators: int) -> np.ndarray:
        """Weights that sum to 1."""
        if self.weights is None:
            return np.full(n_estimators, 1 / n_estimators)
        weights = np.asarray(self.weights, dtype=np.float64)
        if (
            weights.shape != (n_estimators,)
            or not np.isfinite(weights).all()
            or (weights < 0).any()
            or not weights.any()
        ):
            raise ValueError(
                f"The 'weights' parameter of {type(self).__name__} must be a finite number of at least 0 for each of "
                f"its {n_estimators} estimators, and not 0 for all. Got {self.weights!r} instead."
            )
        return weights / weights.sum()

    def _adopt(self, estimators: list[Any], y: Any = None) -> None:
        """Vote by these estimators, which were fitted to a target here, or elsewhere."""
        self.estimators_ = estimators
        if hasattr(estimators[0], "feature_names_in_"):
            self.feature_names_in_ = estimators[0].feature_names_in_
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    @abstractmethod
    def _votes(self, estimator: Any, X: Any) -> np.ndarray:
        """What one estimator says, as numbers of which the mean has a meaning."""

    def _mean(self, X: Any) -> np.ndarray:
        """The weighted mean of the votes; who has no weight is not asked."""
        check_is_fitted(self)
        shares = self._shares_of_votes(len(self.estimators_))
        asked = [(share, estimator) for share, estimator in zip(shares, self.estimators_, strict=True) if share > 0]
        return sum(share * self._votes(estimator, X) for share, estimator in asked)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """What the estimators' own ``score`` says of the mean: accuracy or R2, with most.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their target.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.

        Returns
        -------
        score : float
            The score.

        Raises
        ------
        TypeError
            Where that method scores something else than what its ``predict`` returns.
        """
        prediction, asked = self.predict(X), False

        def predict(rows: Any) -> np.ndarray:
            nonlocal asked
            asked = True
            return prediction

        stand_in = copy(_last(self.estimators_[0]))
        stand_in.predict = predict
        score = stand_in.score(X, y, **({} if sample_weight is None else {"sample_weight": sample_weight}))
        if not asked:
            raise TypeError(
                f"The score method of {type(stand_in).__name__} does not score what predict returns, so that it says "
                "nothing of a vote. Name a metric: scoring=..."
            )
        return score

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        try:
            each = [get_tags(estimator) for _, estimator in self.estimators]
        except Exception:  # fit says what is wrong with them
            return tags
        tags.target_tags.multi_output = all(one.target_tags.multi_output for one in each)
        tags.target_tags.positive_only = any(one.target_tags.positive_only for one in each)
        tags.non_deterministic = any(one.non_deterministic for one in each)
        if tags.classifier_tags is not None:
            of_classifiers = [one.classifier_tags for one in each if one.classifier_tags is not None]
            tags.classifier_tags.multi_label = all(one.multi_label for one in of_classifiers)
            tags.classifier_tags.multi_class = all(one.multi_class for one in of_classifiers)
        return tags


def _fitted(estimator: Any, X: Any, y: Any, fit_params: dict[str, Any]) -> Any:
    """The estimator, fitted."""
    return estimator.fit(X, y, **fit_params)


def _last(estimator: Any) -> Any:
    """The last step of a pipeline, whose ``score`` the pipeline's is."""
    while isinstance(estimator, Pipeline):
        estimator = estimator[-1]
    return estimator


def _probabilities(voting: BaseVoting) -> bool:
    """Whether all have probabilities; else they vote with labels, and ``predict_proba`` is not there."""
    known = getattr(voting, "_soft", None)
    return all(hasattr(one, "predict_proba") for _, one in voting.estimators) if known is None else known


class WeightedVotingClassifier(ClassifierMixin, BaseVoting):
    """The weighted mean of several classifiers' probabilities, fitted here or before.

    As scikit-learn's `VotingClassifier` with ``voting="soft"``, and besides it takes classifiers that are fitted
    already, see :meth:`from_fitted`, which may know different classes; several labels or outputs at once; and labels of
    any type, which the classifiers see as they are. Where one of them has no ``predict_proba``, all vote with labels.

    Parameters
    ----------
    estimators : list of (str, estimator)
        Names and classifiers, of which ``fit`` fits clones.
    weights : array-like of shape (n_estimators,), default=None
        How much each counts, at least 0. None is the same for all.
    n_jobs : int or None, default=None
        Workers of joblib in ``fit``.

    Attributes
    ----------
    estimators_ : list of estimator
        The fitted classifiers.
    classes_ : ndarray of shape (n_classes,), or a list of them
        All classes that one of them knows; several outputs have a list.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X had them.

    See Also
    --------
    OptunaSearchCV : Has one of these with ``refit="ensemble"``.
    sklearn.ensemble.VotingClassifier : The vote of classifiers that it fits itself.

    References
    ----------
    .. [1] Caruana et al. 2004, "Ensemble selection from libraries of models".

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from skreg import WeightedVotingClassifier
    >>> X, y = load_wine(return_X_y=True)
    >>> bayes, logistic = GaussianNB().fit(X, y), LogisticRegression(C=1e-3).fit(X[:100], y[:100])  # without a class
    >>> voting = WeightedVotingClassifier.from_fitted([("nb", bayes), ("lr", logistic)], weights=[3, 1])
    >>> voting.predict_proba(X[-1:]).round(2)
    array([[0.01, 0.24, 0.75]])
    """

    score = BaseVoting.score  # before that of the mixin

    def predict(self, X: Any) -> np.ndarray:
        """The class with the highest mean.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        labels : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Labels, or a 0/1 matrix of several labels.
        """
        mean = self._mean(X)
        if isinstance(self.classes_, list):
            best = [c[part.argmax(1)] for c, part in zip(self.classes_, self._parts(mean), strict=True)]
            return np.stack(best, axis=1)
        if self._has_several_labels(X):
            return (mean > 0.5).astype(int)
        return self.classes_[mean.argmax(1)]

    @available_if(_probabilities)
    def predict_proba(self, X: Any) -> Any:
        """The mean of the probabilities; there if all classifiers have some.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes) or (n_samples, n_labels), or a list of them
            Columns in the order of ``classes_``, a class that a classifier does not know having 0 there. Of several
            labels the probability of yes; of several outputs, a list, if the classifiers have one.
        """
        mean = self._mean(X).clip(0.0, 1.0)  # a sum of shares may round to more
        return self._parts(mean) if isinstance(self.classes_, list) else mean

    def _adopt(self, estimators: list[Any], y: Any = None) -> None:
        super()._adopt(estimators, y)
        known = [estimator.classes_ for estimator in estimators]
        self.classes_: Any
        if isinstance(known[0], list):
            self.classes_ = [np.unique(np.concatenate(classes)) for classes in zip(*known, strict=True)]
        else:
            self.classes_ = np.unique(np.concatenate(known))
        self._soft = all(hasattr(estimator, "predict_proba") for estimator in estimators)
        self._several = None if y is None else type_of_target(y) == "multilabel-indicator"

    def _votes(self, estimator: Any, X: Any) -> np.ndarray:
        """Probabilities or marks for all classes, those of several outputs side by side: ``(rows, classes)``."""
        said: Any = estimator.predict_proba(X) if self._soft else np.asarray(estimator.predict(X))
        if isinstance(self.classes_, list):
            columns: list[np.ndarray] = said if self._soft else list(said.T)
            pairs = zip(self.classes_, estimator.classes_, columns, strict=True)
            return np.hstack([self._aligned(*pair) for pair in pairs])
        if not self._soft and said.ndim == 2:
            return said.astype(np.float64)
        return self._aligned(self.classes_, estimator.classes_, said)

    def _aligned(self, classes: np.ndarray, known: np.ndarray, said: np.ndarray) -> np.ndarray:
        """What was said of the known classes, or which label was, in the columns of all classes."""
        votes = np.zeros((len(said), len(classes)))
        if self._soft:
            votes[:, np.searchsorted(classes, known)] = said
        else:
            votes[np.arange(len(said)), np.searchsorted(classes, said)] = 1.0
        return votes

    def _parts(self, mean: np.ndarray) -> list[np.ndarray]:
        """The columns of each output."""
        return np.split(mean, np.cumsum([len(classes) for classes in self.classes_])[:-1], axis=1)

    def _has_several_labels(self, X: Any) -> bool:
        """Whether predictions are a matrix, which of estimators that were fitted elsewhere only predictions tell."""
        return np.ndim(self.estimators_[0].predict(X)) == 2 if self._several is None else self._several


class WeightedVotingRegressor(RegressorMixin, BaseVoting):
    """The weighted mean of several regressors' predictions, fitted here or before.

    As scikit-learn's `VotingRegressor`, and besides it takes regressors that are fitted already, see
    :meth:`from_fitted`, and several outputs at once.

    Parameters
    ----------
    estimators : list of (str, estimator)
        Names and regressors, of which ``fit`` fits clones.
    weights : array-like of shape (n_estimators,), default=None
        How much each counts, at least 0. None is the same for all.
    n_jobs : int or None, default=None
        Workers of joblib in ``fit``.

    Attributes
    ----------
    estimators_ : list of estimator
        The fitted regressors.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X had them.

    See Also
    --------
    OptunaSearchCV : Has one of these with ``refit="ensemble"``.
    sklearn.ensemble.VotingRegressor : The vote of regressors that it fits itself.

    References
    ----------
    .. [1] Caruana et al. 2004, "Ensemble selection from libraries of models".

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from skreg import WeightedVotingRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> ridge, tree = Ridge().fit(X[:300], y[:300]), DecisionTreeRegressor(max_depth=3).fit(X[100:], y[100:])
    >>> voting = WeightedVotingRegressor.from_fitted([("ridge", ridge), ("tree", tree)], weights=[2, 1])
    >>> voting.predict(X).shape
    (442,)
    """

    score = BaseVoting.score  # before that of the mixin

    def predict(self, X: Any) -> np.ndarray:
        """The mean of the predictions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        prediction : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            As the regressors' own.
        """
        return self._mean(X)

    def _votes(self, estimator: Any, X: Any) -> np.ndarray:
        return np.asarray(estimator.predict(X), dtype=np.float64)
