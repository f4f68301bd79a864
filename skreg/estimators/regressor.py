"""The regressor."""

from collections.abc import Callable, Sequence
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import r2_score
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted
from torch import Generator, Tensor

from .._utils.validation import parameter_error, quantile_list
from ..data.split import MemberSplit
from ..data.statistics import mean_statistics, quantile_statistics, target_statistics
from ..training.losses import Loss, PinballLoss, RegressionLoss
from ..uncertainty.conformal import Residuals
from ..uncertainty.decomposition import Uncertainty, of_numbers
from ..uncertainty.temperature import held_out_outputs
from .parameter_docs import add_shared_docs
from .parameters import Names
from .sampling import SamplingMLP
from .targets import NumberTargetEncoder

__all__ = ["RegularizedMLPRegressor"]


@add_shared_docs
class RegularizedMLPRegressor(RegressorMixin, SamplingMLP):
    """Regularized neural network for regression on tabular data.

    X can be an array, a data frame with categorical columns and missing values, or a sparse matrix. y contains one or
    several targets per row, which are standardized; the losses of several targets are added.

    Parameters
    ----------
    loss : {choices}
        Loss function. "squared_error", "poisson" and "gamma" estimate the mean, "huber" a mean that is robust to
        outliers [17]_, "absolute_error" the median and "quantile" the given quantiles [18]_. "poisson" requires a
        nonnegative and "gamma" a positive target; the network then predicts the logarithm of the mean [19]_.
    quantile : float or sequence of float
        Quantile estimated by ``loss="quantile"``, in (0, 1). With a sequence, predictions have one more axis, along
        which they are sorted so that they do not cross [20]_; scores use the quantile closest to 0.5.

    Attributes
    ----------
    oof_score_ : float
        R2 of the out-of-fold predictions. It is slightly optimistic, because the same rows determine the best epochs.

    See Also
    --------
    RegularizedMLPClassifier : Regularized neural network for classification.
    sklearn.neural_network.MLPRegressor : scikit-learn's network, without dropout, normalization and categories.

    References
    ----------
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
        **SamplingMLP._parameter_constraints,
        "loss": [Names(set(RegressionLoss.registered()))],
        "quantile": [Interval(Real, 0, 1, closed="neither"), "array-like"],
    }
    _target_encoder = NumberTargetEncoder

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (64, 64),
        *,
        activation: str | Callable[[Tensor], Tensor] = "silu",
        batch_norm: bool = False,
        layer_norm: bool = False,
        residual: bool | str = "auto",
        loss: str = "squared_error",
        quantile: float | Sequence[float] = 0.5,
        init: str = "data_driven",
        parametrization: str = "ntk",
        scale_layer: bool | str = "auto",
        dropout: float | Sequence[float] = 0.1,
        input_dropout: float = 0.0,
        augmentation: str | Callable[[Tensor, Generator], Tensor] | None = None,
        augmentation_strength: float = 0.2,
        alpha: float | Sequence[float] = 0.0,
        l1_ratio: float = 0.0,
        feature_alpha: float = 0.0,
        weight_decay: float = 0.1,
        max_norm: float | Sequence[float | None] | None = None,
        early_stopping: bool | str = "auto",
        validation_fraction: float = 0.25,
        monitor: str | Callable[[Any, Any, Any], float] = "loss",
        patience: int = 16,
        min_delta: float = 0.0,
        solver: str = "adamw",
        learning_rate: str | Callable[[float], float] = "growing_cycles",
        learning_rate_init: float = 0.02,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        batch_size: int | str = "auto",
        max_iter: int = 63,
        time_limit: float | None = None,
        clip_norm: float | None = None,
        ema_decay: float = 0.0,
        swa_start: float | None = None,
        n_members: int = 8,
        categorical_features: Any = "from_dtype",
        numeric_scaling: str | None = "robust",
        numeric_embedding: str | None = "auto",
        warm_start: bool = False,
        pretrained: FrozenEstimator | None = None,
        freeze_layers: int = 0,
        pretrained_lr_factor: float = 0.1,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        callbacks: Sequence[Any] | None = None,
        device: str = "auto",
        precision: str = "auto",
        n_threads: int | None = 1,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.batch_norm = batch_norm
        self.layer_norm = layer_norm
        self.residual = residual
        self.loss = loss
        self.quantile = quantile
        self.init = init
        self.parametrization = parametrization
        self.scale_layer = scale_layer
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.augmentation = augmentation
        self.augmentation_strength = augmentation_strength
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.feature_alpha = feature_alpha
        self.weight_decay = weight_decay
        self.max_norm = max_norm
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.monitor = monitor
        self.patience = patience
        self.min_delta = min_delta
        self.solver = solver
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.time_limit = time_limit
        self.clip_norm = clip_norm
        self.ema_decay = ema_decay
        self.swa_start = swa_start
        self.n_members = n_members
        self.categorical_features = categorical_features
        self.numeric_scaling = numeric_scaling
        self.numeric_embedding = numeric_embedding
        self.warm_start = warm_start
        self.pretrained = pretrained
        self.freeze_layers = freeze_layers
        self.pretrained_lr_factor = pretrained_lr_factor
        self.random_state = random_state
        self.verbose = verbose
        self.callbacks = callbacks
        self.device = device
        self.precision = precision
        self.n_threads = n_threads

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Number, or numbers, of each row: the mean over the members.

        Parameters
        ----------
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            Columns as in ``fit``; categories may be new, values may be missing.
        return_std : bool, default=False
            Whether to return a standard deviation besides: of the target around the prediction, as the held-out rows
            have it, and of what single networks predict, the roots of their variances' sum. Under loss="poisson" the
            first grows with the root of the prediction, under "gamma" with the prediction, and with the distance of
            several quantiles; else it is the same for all rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            As y had it; with several quantiles ``(n_samples, n_quantiles)`` or ``(n_samples, n_outputs, n_quantiles)``.
        std : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            With ``return_std``; of several quantiles that of the one nearest to the median.

        Raises
        ------
        ValueError
            If a standard deviation is wanted and no rows were held out.
        """
        if not return_std:
            return self._predict_decoded(X)
        check_is_fitted(self)
        self._residuals("return_std=True")
        unsure = self.predict_uncertainty(X, self.net_.module_.n_members, dropout=False)
        return self._predict_decoded(X), np.sqrt(unsure.total)

    def predict_interval(self, X: Any, coverage: float = 0.9) -> np.ndarray:
        """Interval in which the number of each row lies, with a probability that the held-out rows vouch for.

        Split conformal prediction: as far from the prediction as a share ``coverage`` of the held-out rows is, by the
        rule that counts the new row too. With several quantiles as far beyond the two that are nearest to the ends
        (conformalised quantile regression), so that intervals are wide where the target is spread widely. Under
        loss="poisson" and "gamma" distances are measured in the root of the prediction, and in the prediction.

        Rows of your own in ``X_val`` give at least the coverage that is asked for if they are rows like those to come,
        and slightly less as they chose the epochs. Where members hold out folds each row's distance is from the member
        that held it out, and the interval is around the mean of all: the coverage is then measured, not proved.

        Parameters
        ----------
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            As in ``predict``.
        coverage : float, default=0.9
            Share of the rows whose number lies inside, in (0, 1). Of several outputs that of each.

        Returns
        -------
        ndarray of shape (n_samples, 2) or (n_samples, n_outputs, 2)
            Lower and upper end.

        Raises
        ------
        ValueError
            If no rows were held out, or too few for the coverage.
        """
        check_is_fitted(self)
        if not isinstance(coverage, Real) or isinstance(coverage, bool) or not 0 < float(coverage) < 1:
            raise parameter_error(self, "coverage", "a float in the range (0.0, 1.0)", coverage)
        residuals = self._residuals("predict_interval")
        interval = residuals.interval(self._columns(self._predict_decoded(X)), float(coverage))
        return interval[:, 0] if self.target_encoder_.flat_ else interval

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R2 of the predictions; of several quantiles that of the one nearest to the median.

        Parameters
        ----------
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            As in ``predict``.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.

        Returns
        -------
        float
            1 for a perfect prediction, 0 for one as good as the mean.
        """
        prediction = self.predict(X)
        return r2_score(y, self.target_encoder_.middle(prediction), sample_weight=sample_weight)

    def _validate_params(self) -> None:
        super()._validate_params()
        several, listed = not isinstance(self.quantile, Real), quantile_list(self, self.quantile)
        if self.loss != PinballLoss.name and listed != (0.5,):
            raise ValueError(f"quantile={self.quantile!r} is for loss='quantile', and loss is {self.loss!r}.")
        if several and self.monitor != "loss":
            raise ValueError("A monitor other than 'loss' scores one number a row, and quantile asks for several.")

    def _make_loss(self) -> Callable[[], RegressionLoss]:
        """What makes the loss of the parameters."""
        if self.loss == PinballLoss.name:
            return partial(PinballLoss, self.quantile)
        return RegressionLoss.registered()[self.loss]

    def _loss(self, split: MemberSplit) -> Callable[[], Loss]:
        make, known = self._make_loss(), self.target_encoder_.loss
        if (make().name, make().multi_quantile, make().n_columns) != (
            known.name,
            known.multi_quantile,
            known.n_columns,
        ):
            raise ValueError(
                f"warm_start=True cannot continue: the network was fitted with loss={known.name!r}, and another loss "
                "or number of quantiles has another output. Leave them as they were, or fit with warm_start=False."
            )
        return make

    def _target_statistics(self, target: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        loss = self.target_encoder_.loss
        if loss.log_link:
            return mean_statistics(target, weights)
        if loss.quantiles is not None:
            return quantile_statistics(target, weights, loss.quantiles)
        return target_statistics(target, weights)

    def _decode(self, raw: Tensor, members: slice) -> np.ndarray:
        """Mean of the members' predictions in the target's units."""
        module = self.net_.module_
        return self.target_encoder_.decode(raw, module.target_center[members], module.target_scale[members])

    def _calibrate(self, split: MemberSplit) -> None:
        """Keep how far off the predictions of held-out rows are."""
        if split.validation is None:
            return
        outputs = held_out_outputs(self.net_, split)
        y, weight = split.validation.y_and_weight(outputs.rows)
        each = np.stack([self._decode(outputs.raw[m : m + 1], slice(m, m + 1)) for m in range(split.n_members)])
        self.net_.residuals = Residuals.of(self.target_encoder_.loss, y, each, outputs.member, weight)

    def _residuals(self, wanted_by: str) -> Residuals:
        """What the held-out rows say of the network that predicts."""
        if self.net_.residuals is None:
            raise ValueError(
                f"{wanted_by} needs rows that were held out from training, and none were: fit with early_stopping=True "
                "or with X_val and y_val; partial_fit trains on all its rows."
            )
        return self.net_.residuals

    def _columns(self, prediction: np.ndarray) -> np.ndarray:
        """Predictions as ``(..., outputs, columns)``, a column for each quantile."""
        encoder = self.target_encoder_
        columns = encoder.loss.n_columns if encoder.loss.multi_quantile else 1
        return prediction.reshape(*prediction.shape[: prediction.ndim - len(encoder.shape_)], -1, columns)

    def _format_prediction(self, decoded: np.ndarray) -> np.ndarray:
        return decoded

    def _decompose(self, drawn: np.ndarray) -> Uncertainty:
        residuals, encoder = self._residuals("predict_uncertainty"), self.target_encoder_
        noise = residuals.variance(self._columns(drawn).mean(0))
        middle = encoder.middle(drawn)
        return of_numbers(middle, noise.reshape(middle.shape[1:]))

    def _out_of_fold(self, decoded: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> tuple[np.ndarray, float]:
        return decoded, r2_score(y, self.target_encoder_.middle(decoded), sample_weight=weight)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.positive_only = getattr(RegressionLoss.registered().get(self.loss), "log_link", False)
        return tags
