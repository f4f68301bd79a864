"""The regressor: its parameters, and its predictions of numbers and intervals."""

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from numbers import Real
from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from .._utils.validation import check_flag, parameter_error, quantile_list
from ..data.split import MemberSplit
from ..data.statistics import moderate
from ..training.losses import Loss, PinballLoss, RegressionLoss
from ..uncertainty.conformal import Residuals
from ..uncertainty.decomposition import Uncertainty, of_numbers
from ..uncertainty.temperature import held_out_outputs
from .base import RegularizedMLP
from .parameters import CONSTRAINTS, Names, add_shared_docs
from .streaming import partial_fit_method
from .targets import NumberTargetEncoder, regression_loss

__all__ = ["RegularizedMLPRegressor"]


@add_shared_docs
@dataclass(eq=False, repr=False)
class RegularizedMLPRegressor(RegressorMixin, RegularizedMLP):
    """Regularized neural network for regression on tabular data.

    X can be an array, a data frame with categorical columns and missing values, or a sparse matrix. y contains one or
    more targets per row, which are standardized; the losses of several targets are added.

    Parameters
    ----------
    loss : {choices}
        Loss function. "squared_error", "poisson" and "gamma" estimate the mean, "huber" a mean that is robust to
        outliers [17]_, "absolute_error" the median, and "quantile" the given quantiles [18]_. "poisson" requires a
        nonnegative target, and "gamma" a positive one; with both, the network models the logarithm of the mean, but
        ``predict`` returns the mean [19]_.
    quantile : float or sequence of float
        Quantile estimated by ``loss="quantile"``, in (0, 1). With a sequence, predictions have one more axis, along
        which they are sorted so that they do not cross [20]_; scores use the quantile closest to 0.5.

    Attributes
    ----------
    oof_score_ : float
        R2 of the out-of-fold predictions. It is slightly optimistic because the same rows determine the best epochs.
    {attributes}

    See Also
    --------
    RegularizedMLPClassifier : Regularized neural network for classification.
    sklearn.neural_network.MLPRegressor : scikit-learn's network, without dropout, normalization or categories.

    References
    ----------
    {references}
    .. [17] Huber 1964, "Robust estimation of a location parameter".
    .. [18] Koenker & Bassett 1978, "Regression quantiles".
    .. [19] McCullagh & Nelder 1989, "Generalized linear models", chapters 6 and 8.
    .. [20] Chernozhukov, Fernandez-Val & Galichon 2010, "Quantile and probability curves without crossing".

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> from sklearn.model_selection import train_test_split
    >>> from skreg import RegularizedMLPRegressor
    >>> X, y = make_friedman1(n_samples=500, noise=1.0, random_state=0)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    >>> regressor = RegularizedMLPRegressor(random_state=0).fit(X_train, y_train)
    >>> regressor.score(X_test, y_test) > 0.8
    True
    """

    _parameter_constraints = {
        **CONSTRAINTS,
        "loss": [Names(set(RegressionLoss.registered()))],
        "quantile": [Interval(Real, 0, 1, closed="neither"), "array-like"],
    }

    hidden_layer_sizes: int | Sequence[int] = (64, 64)
    _: KW_ONLY
    learning_rate_init: float = 0.02
    max_iter: int = 63
    n_members: int = 8
    loss: str = "squared_error"
    quantile: float | Sequence[float] = 0.5
    target_encoder_: NumberTargetEncoder = field(init=False)  # set by fit

    @partial_fit_method
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one pass over the given rows, with the constant learning rate ``learning_rate_init``.

        The first call learns the encoders and statistics from its rows, so pass many rows in random order. Later calls,
        and calls after ``fit``, keep these encoders and statistics. All members are trained on all rows:
        ``learning_rate``, ``max_iter`` and early stopping do not apply. A call that raises an error does not change a
        fitted estimator.

        Parameters
        ----------
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            Training rows. Category levels that did not occur in the first call are treated as unknown.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Target.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative weights of the rows, relative to the mean weight of the first call.

        Returns
        -------
        self : estimator
            The fitted estimator.
        """
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Predict the targets of each row, averaged over the members.

        Parameters
        ----------
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            Rows to predict, with the columns passed to ``fit``. Unknown categories and missing values are allowed.
        return_std : bool, default=False
            Whether to also return a standard deviation. Its square is the sum of the variance of the target around the
            prediction, estimated from the validation rows, and the variance of the members' predictions. The first term
            is the same for all rows, with these exceptions: its square root is proportional to the square root of the
            prediction with ``loss="poisson"``, to the prediction with ``loss="gamma"``, and to the distance between the
            outer quantiles with several quantiles.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predictions in the shape of the target. With several quantiles, the shape is ``(n_samples, n_quantiles)`` or
            ``(n_samples, n_outputs, n_quantiles)``.
        std : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Standard deviation, only returned if ``return_std=True``. With several quantiles, it refers to the quantile
            closest to the median.

        Raises
        ------
        ValueError
            If ``return_std=True`` and the estimator was fitted without validation rows.
        """
        check_flag(self, "return_std", return_std)
        if not return_std:
            return self._predict_decoded(X)
        check_is_fitted(self)
        self._residuals("return_std=True")
        uncertainty = self.predict_uncertainty(X, self.net_.module_.n_members, dropout=False)
        return self._predict_decoded(X), np.sqrt(uncertainty.total)

    def predict_interval(self, X: Any, coverage: float = 0.9) -> np.ndarray:
        """Predict an interval that contains the target with a given probability.

        The interval is computed by split conformal prediction: its half-width is the ``coverage`` quantile of the
        distances between targets and predictions on the validation rows, with the finite-sample correction. With
        several quantiles, the interval between the two quantiles closest to ``(1 - coverage) / 2`` and ``(1 + coverage)
        / 2`` is widened or narrowed instead (conformalized quantile regression), so that its width depends on the row.
        With ``loss="poisson"``, distances are relative to the square root of the prediction, and with ``loss="gamma"``,
        to the prediction.

        With ``X_val``, the coverage is guaranteed for new rows from the same distribution, apart from a slight optimism
        because the validation rows also determine the best epochs. With validation folds, the distance of each row is
        computed from the member that held it out, but the interval is centered on the mean of all members, so the
        coverage is not guaranteed.

        Parameters
        ----------
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            Rows to predict, with the columns passed to ``fit``.
        coverage : float, default=0.9
            Fraction of the rows whose target should be inside the interval, in (0, 1). It applies to each output
            separately.

        Returns
        -------
        interval : ndarray of shape (n_samples, 2) or (n_samples, n_outputs, 2)
            Lower and upper ends of the intervals.

        Raises
        ------
        ValueError
            If the estimator was fitted without validation rows, or with too few for the coverage.
        """
        check_is_fitted(self)
        if not isinstance(coverage, Real) or isinstance(coverage, bool) or not 0 < coverage < 1:
            raise parameter_error(self, "coverage", "a float in the range (0.0, 1.0)", coverage)
        residuals, encoder = self._residuals("predict_interval"), self.target_encoder_
        interval = residuals.interval(encoder.split_quantiles(self._predict_decoded(X)), float(coverage))
        return interval[:, 0] if encoder.flat_ else interval

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the coefficient of determination R2 of the predictions.

        With several quantiles, the quantile closest to the median is scored.

        Parameters
        ----------
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            Rows to predict, with the columns passed to ``fit``.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            True target.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative weights of the rows. Rows of weight 0 are removed, without checking their values and targets.

        Returns
        -------
        score : float
            1 for perfect predictions, 0 for always predicting the mean of the target, and negative for worse
            predictions.
        """
        return self._evaluate(X, y, sample_weight)

    def _validate_params(self) -> None:
        super()._validate_params()
        several, quantiles = not isinstance(self.quantile, Real), quantile_list(self, self.quantile)
        if self.loss != PinballLoss.name and quantiles != (0.5,):
            raise ValueError(
                f"quantile={self.quantile!r} requires loss='quantile', but loss={self.loss!r}. Set one or the other."
            )
        if several and self.monitor != "loss":
            raise ValueError(
                f"monitor={self.monitor!r} requires a single prediction per row, but quantile={self.quantile!r} "
                "results in several. Set monitor='loss'."
            )

    def _make_loss(self, split: MemberSplit) -> Callable[[], Loss]:  # noqa: ARG002  # the classifier uses split
        factory, fitted = regression_loss(self), self.target_encoder_.loss
        loss = factory()
        if (loss.name, loss.multi_quantile, loss.n_columns) != (fitted.name, fitted.multi_quantile, fitted.n_columns):
            raise ValueError(
                f"warm_start=True cannot continue with loss={self.loss!r} and quantile={self.quantile!r}: the network "
                f"was fitted with loss={fitted.name!r} and {fitted.n_columns} raw output(s) per target. Restore these "
                "parameters, or set warm_start=False."
            )
        return factory

    def _calibrate(self, split: MemberSplit) -> None:
        """Compute the residuals of the validation rows."""
        if split.validation is None:
            return
        held_out, encoder = held_out_outputs(self.net_, split), self.target_encoder_
        y, weight = split.validation.y_and_weight(held_out.rows)
        members = [slice(m, m + 1) for m in range(split.n_members)]
        predictions = np.stack([encoder.decode(self.net_, held_out.raw[member], member) for member in members])
        self.net_.residuals = Residuals.of(encoder.loss, y, predictions, held_out.member, weight)

    def _residuals(self, caller: str) -> Residuals:
        residuals: Residuals | None = self.net_.residuals
        if residuals is None:
            raise ValueError(
                f"{caller} requires validation rows, but the last fit had none. Fit with early_stopping=True, or pass "
                "X_val and y_val; partial_fit trains on all rows."
            )
        return residuals

    def _decompose(self, samples: np.ndarray) -> Uncertainty:
        residuals, encoder = self._residuals("predict_uncertainty"), self.target_encoder_
        noise = residuals.variance(encoder.split_quantiles(samples).mean(0))
        medians = encoder.select_median(samples)
        return of_numbers(medians, noise.reshape(medians.shape[1:]))

    def _scored(self, decoded: np.ndarray) -> np.ndarray:
        return self.target_encoder_.select_median(decoded)

    def _metric(self, y: Any, prediction: np.ndarray, weight: np.ndarray | None) -> float:
        return float(r2_score(y, prediction, sample_weight=None if weight is None else moderate(weight)))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        loss = RegressionLoss.registered().get(self.loss) if isinstance(self.loss, str) else None  # not validated yet
        tags.target_tags.positive_only = getattr(loss, "log_link", False)
        return tags
