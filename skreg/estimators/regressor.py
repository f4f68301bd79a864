"""The regressor."""

from collections.abc import Callable, Sequence
from functools import partial
from numbers import Real
from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import r2_score
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import Generator, Tensor

from .._utils.validation import parameter_error, quantile_list
from ..data.split import MemberSplit
from ..data.statistics import mean_statistics, quantile_statistics, target_statistics
from ..training.losses.base import Loss, PinballLoss, RegressionLoss
from ..uncertainty.conformal import Residuals
from ..uncertainty.decomposition import Uncertainty, of_numbers
from ..uncertainty.temperature import held_out_outputs
from .parameters import Names
from .sampling import SamplingMLP
from .sklearn_callbacks import with_callbacks
from .streaming import takes_parts
from .targets import NumberTargetEncoder

__all__ = ["RegularizedMLPRegressor"]


class RegularizedMLPRegressor(RegressorMixin, SamplingMLP):
    """Regularised neural network for predicting numbers from the rows of a table.

    Takes arrays, data frames with categories and missing values, and sparse matrices. One number for each row, or
    several, whose losses are summed: the mean of the target by default, or by ``loss`` its median, its quantiles, the
    rate of counts. The target is standardised.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(64, 64)
        Widths of the hidden layers; ``()`` is a linear model.
    activation : {"elu", "gelu", "identity", "leaky_relu", "logistic", "mish", "relu", "selu", "silu", "tanh"} or \
            callable, default="silu"
        Of the hidden layers. A callable takes and returns a tensor, elementwise.
    batch_norm : bool, default=False
        Batch normalisation before each activation [1]_. Makes training insensitive to ``init``.
    layer_norm : bool, default=False
        Layer normalisation there instead, of each row over the units of the layer [6]_: no statistics of a batch, the
        same in training and prediction.
    residual : bool or "auto", default="auto"
        Whether each hidden layer that keeps the width adds its input to its output, and the sum is scaled by
        ``sqrt(1/2)`` [7]_. "auto" does so for numbers, but where ``numeric_embedding="auto"`` is none.
    loss : {"absolute_error", "gamma", "huber", "poisson", "quantile", "squared_error"}, default="squared_error"
        What is minimised, and so what is estimated. "squared_error", half of it: the mean. "absolute_error": the
        median. "huber", half the squared error up to 1.345 and linear beyond [17]_: a mean that outliers move little.
        "quantile", the pinball loss [18]_: the quantiles. "poisson", "gamma", half the deviance: the mean of a target
        of at least 0, or above 0, whose logarithm the network gives, and ``coefs_`` too [19]_. All are those of the
        standardised target: by mean and standard deviation; for the median, Huber's loss and quantiles by these and the
        interquartile range / 1.349, which outliers do not move; for the deviances divided by its mean.
    quantile : float or sequence of float, default=0.5
        The quantile that ``loss="quantile"`` estimates, in (0, 1). Of a sequence, all at once; ``predict`` has one more
        axis for them, along which predictions are put in order and so do not cross [20]_; ``score`` and ``oof_score_``
        are those of the one nearest to 0.5, and the monitor is the loss.
    init : {"auto", "data_driven", "he_normal", "he_uniform", "lecun_normal", "lecun_uniform", "normal", \
            "orthogonal", "xavier_normal", "xavier_uniform"}, default="data_driven"
        Initial weights. "auto" goes by the activation, Xavier for tanh, logistic and identity, LeCun for selu, He for
        the others; a linear model starts near zero. "data_driven" scales those, unit by unit, so that each one's sums
        have spread 1 over the member's training rows, and draws biases that put its kink among them [5]_; with a norm,
        which does so itself, it is "auto". "normal" is the naive standard deviation of 0.01, under which deep stacks do
        not learn.
    parametrization : {"ntk", "standard"}, default="ntk"
        How the learning rate is shared out. "ntk" trains as if each layer divided its sums by the root of its inputs
        (Jacot et al. 2018), so that one rate suits all widths [5]_: it is ``sqrt(32 / inputs)`` times the learning rate
        for weights, 0.57 times for biases and numeric embeddings, 5.7 times for embedded categories. Weights, penalties
        and bounds are the effective ones, and ``weight_decay`` goes with the learning rate itself. "standard" moves all
        alike, as linear models and the solvers "sgd" and "lbfgs" always do.
    scale_layer : bool or "auto", default="auto"
        Whether each input of the first layer has a learned factor besides its weights, 1 at first, which moves fast
        under ``parametrization="ntk"``, 34 times the learning rate [5]_: a mild choice of columns. In ``coefs_`` it is
        multiplied in; a linear model has none. "auto" leaves it out where ``alpha``, ``feature_alpha`` or ``max_norm``
        act on the first layer, whose weights are not all there is then, and beside ``n_adapters``, which are factors
        too.
    dropout : float or sequence of float, default=0.1
        Share of the units of each hidden layer that are zeroed in a training step [2]_, in [0, 1); a sequence gives
        one for each layer. With ``activation="selu"`` it is alpha dropout, which keeps mean 0 and variance 1 [8]_.
    input_dropout : float, default=0.0
        The same for the inputs.
    dropout_schedule : {"constant", "cosine", "cosine_restarts", "coslog", "flat_cosine", "growing_cycles", \
            "inverse_scaling", "one_cycle", "warmup"} or callable, default="constant"
        Schedule of both rates, as ``learning_rate`` is one of the learning rate; a callable's factors are at most 1.
        "flat_cosine" keeps them for half of the training, then lets them fall to 0 [5]_.
    augmentation : {"cutmix", "cutout", "gaussian_noise", "mixup", "swap_noise"}, callable or None, default=None
        What training batches suffer besides [11]_; a category's columns, and a number and its indicator, go together.
        "mixup" makes each row a mixture with another one, "cutmix" replaces a share of the features by those of
        another row, and both mix the loss likewise. "swap_noise" replaces features by those of other rows, "cutout" by
        missing values. "gaussian_noise" shakes the numbers. A callable ``(inputs, generator) -> inputs`` is given the
        rows of one member's batch, a tensor ``(rows, columns)`` of scaled numbers, indicators and one-hot levels, and a
        ``torch.Generator`` on the CPU that is the member's own; it returns a tensor of the same shape.
    augmentation_strength : float, default=0.2
        The parameter of mixup's Beta distribution, the probability that a batch suffers cutmix, that a feature of a row
        suffers cutout or swap noise, or the standard deviation of the noise, in the units of the scaled numbers. At 0
        there is no augmentation; a callable is not told otherwise.
    alpha : float or sequence of float, default=0.0
        Strength of the elastic net ``alpha * (l1_ratio * |w| + (1 - l1_ratio) / 2 * w**2)`` on the weights, added to
        the mean loss as in :class:`~sklearn.linear_model.ElasticNet` [3]_. ``MLPClassifier``'s ``alpha`` is divided
        by the batch size; this one is not. Biases and norms are exempt. A sequence gives one for each hidden layer and
        one for the head; embeddings go with the first.
    l1_ratio : float, default=0.0
        Share of the absolute value in it, in [0, 1]. Its zeros are exact.
    feature_alpha : float, default=0.0
        Strength of a group lasso on the first layer: ``feature_alpha * sqrt(n) * norm(w)`` for each column of X, w all
        weights of the n inputs made of it (Yuan & Lin 2006; Feng & Simon 2017). Columns that the network can do
        without have weights of exactly zero, see ``feature_importances_``. Raise ``alpha`` along, to 0.01, or the
        layers behind make up for a small first one. 0.002 to 0.02 is usual, and up to 0.2 where most columns are noise.
    weight_decay : float, default=0.1
        Decoupled decay [4]_: each step multiplies the weights by ``1 - learning_rate * weight_decay``, under every
        solver. Not a penalty of the objective, unlike ``alpha``. Biases and norms are exempt.
    weight_decay_schedule : {"constant", "cosine", "cosine_restarts", "coslog", "flat_cosine", "growing_cycles", \
            "inverse_scaling", "one_cycle", "warmup"} or callable, default="constant"
        Schedule of it, besides that of the learning rate.
    max_norm : float, None or sequence of these, default=None
        Largest Euclidean norm of a unit's incoming weights, enforced after every step [2]_. A sequence gives one for
        each hidden layer and one for the head.
    early_stopping : bool or "auto", default="auto"
        Whether each member holds out a fold of the rows, stops when its score there has not gained for ``patience``
        epochs, and keeps the weights of its best epoch. "auto" does so if a fold has at least 30 rows, 15 of
        eight members or more, or if ``X_val`` is given.
    validation_fraction : float, default=0.25
        Share of the rows that a member holds out, in (0, 0.5]: the rows are cut into
        ``max(n_members, round(1 / validation_fraction))`` folds, and member m holds out fold m.
        Folds are shuffled.
    monitor : "loss", scorer name or callable, default="loss"
        What early stopping watches: the loss on the held-out rows, a name of
        :func:`~sklearn.metrics.get_scorer_names`, or a callable ``(estimator, X, y) -> float`` of which more is better.
    patience : int, default=16
        Epochs without a gain before a member stops, at least 1. Where ``learning_rate`` has cycles it stops at the end
        of the cycle in which they have passed.
    min_delta : float, default=0.0
        A gain counts if it is larger than this.
    solver : {"adam", "adamw", "lbfgs", "muon", "nadam", "rmsprop", "sgd"}, default="adamw"
        "adamw" is Adam with betas (0.9, 0.95), "adam" with scikit-learn's (0.9, 0.999). "nadam" has Nesterov's momentum
        besides (Dozat 2016), "rmsprop" none (Tieleman & Hinton 2012); the epsilon of these four is 1e-6. "sgd" is
        gradient descent with ``momentum``. "muon" makes the steps of the weights between hidden layers orthogonal
        matrices (Jordan et al. 2024), the others are AdamW's; it takes no L1 penalty. "lbfgs" goes to the minimum over
        all rows, a line search an epoch (Nocedal & Wright 2006): for one member without noise, decay and bounds; it
        takes no learning rate.
    learning_rate : {"adaptive", "constant", "cosine", "cosine_restarts", "coslog", "flat_cosine", \
            "growing_cycles", "inverse_scaling", "one_cycle", "warmup"} or callable, default="growing_cycles"
        Schedule of the learning rate: a function of the progress in [0, 1], through ``max_iter`` epochs, to a factor on
        ``learning_rate_init``. "cosine" falls to 0, "cosine_restarts" three times, each twice as long as the last,
        "coslog" in four such waves that also rise smoothly, "growing_cycles" in seven, "flat_cosine" in the second half
        only, "one_cycle" rises before it falls, "warmup" for a shorter while, "inverse_scaling" falls to a tenth as one
        over the root. Where there are cycles, early stopping ends a training at the end of one.
        "adaptive" cuts a member's rate to a fifth whenever what it is watched by, else its training loss, has not
        gained by more than ``min_delta`` for a quarter of ``patience`` epochs.
    learning_rate_init : float, default=0.02
        Learning rate at factor 1.
    momentum : float, default=0.9
        What a step keeps of the last one, in [0, 1) (Sutskever et al. 2013). Only used when ``solver="sgd"``.
    nesterovs_momentum : bool, default=True
        Whether the momentum is Nesterov's. Only used when ``solver="sgd"``.
    batch_size : int or "auto", default="auto"
        Most rows of a step; the rows are dealt out evenly over the steps of an epoch. "auto" takes 64 for up to 1,024
        rows, 128 up to 4,096, 256 up to 32,768, 512 up to 131,072, else 1,024, and all rows under ``solver="lbfgs"``.
    max_iter : int, default=63
        Epochs.
    time_limit : float or None, default=None
        Seconds that ``fit`` may take, about. From what its first epochs cost it sees how far it gets: to the end of an
        earlier cycle of ``learning_rate``, up to a quarter faster if that gets it to one more; where there are no
        cycles, or not even the first can be reached, through all of it in fewer or shorter epochs. Where a rehearsed
        step shows that seven epochs of all members take longer (all epochs, if ``max_iter`` is less), it trains the
        first members only, about as many as can have those, at least one: ``chosen_["n_members"]``. However small the
        limit, the estimator is usable. What fits into it depends on the machine, and so do the bits; a limit that does
        not come into play changes none. ``partial_fit`` has none, and with ``warm_start`` the members stay those that
        there are.
    clip_norm : float or None, default=None
        Largest Euclidean norm of a member's gradient; longer ones are scaled down.
    ema_decay : float, default=0.0
        Exponential moving average of the weights over the steps, in [0, 1) [9]_; 0 is none. The averaged weights are
        what early stopping watches and what predicts. 0.95 to 0.99 is usual.
    swa_start : float or None, default=None
        Stochastic weight averaging: progress of the training in (0, 1) from which the plain mean of the weights at the
        end of each epoch is watched and predicts [15]_; None is none. For a learning rate that does not fall to 0, as
        "constant". Batch norm's statistics are taken anew from the training rows. Patience counts from there on.
    snapshots : bool, default=False
        Whether a member's weights at the end of each cycle of ``learning_rate`` are kept, and predict beside its final
        ones, averaged as members are [16]_. For "coslog" (4 networks a member), "cosine_restarts" (3), or a callable
        with an attribute ``valleys``, the increasing progress in (0, 1] at which its cycles end. An end after the best
        epoch of early stopping counts as the best epoch.
    n_members : int, default=8
        Networks trained side by side, whose predictions are averaged. Each has its own initial weights, shuffles and,
        with early stopping, its own validation fold, so that every row is trained on by most of them.
    n_adapters : int, default=1
        Networks within each member that share its hidden layers [12]_. Each has factors on the inputs and a head of
        its own, is trained on its own loss, and their predictions are averaged. They have hardly more weights than one
        network, but a step costs nearly as much as that of as many members; 8 to 32 is usual. Not for
        ``hidden_layer_sizes=()``.
    categorical_features : "from_dtype", None or array-like of bool, int or str, default="from_dtype"
        Which columns are categories: those whose type says so (category, string, object, bool), none, or those named
        by a mask, positions or names. Up to 8 levels are one-hot encoded, more get an embedding of width 8; beyond
        4,096 levels the rarest count as unknown. A missing value, and a level not seen in training, is all zeros.
    numeric_scaling : {"robust", "standard", "quantile"} or None, default="robust"
        "robust" centres by the median, scales by the interquartile range and clips smoothly to (-3, 3) [5]_, so that an
        outlier does not ruin its column; "standard" takes mean and standard deviation; "quantile" maps ranks to normal
        scores; None leaves numbers as they are. Missing numbers take the median (mean under "standard" and None), and a
        column that has any gets an indicator. Each member's statistics come from its own training rows.
    numeric_embedding : {"auto", "periodic", "piecewise_linear"} or None, default="auto"
        What each number becomes before the first layer, some learned functions of it. "periodic": three mixtures of 16
        cosines, and the number [5]_. "piecewise_linear": two sums of a line and a piecewise linear function on at most
        16 quantile bins of the member's training rows [10]_. Their mixing weights count as weights for ``alpha`` and
        ``weight_decay``; frequencies and phases are exempt. "auto" is "piecewise_linear" for numbers, and none for
        classes, in a linear model, beside ``feature_alpha`` and under "sgd"; with ``pretrained`` what that has.
    frequency_scale : float, default=0.1
        Standard deviation of the initial frequencies of "periodic", in cycles to a unit of the scaled number; larger
        ones follow a target that changes fast [5]_. Without effect otherwise.
    warm_start : bool, default=False
        Whether a further ``fit`` goes on from the weights of the last one, its encoders and statistics unchanged.
    pretrained : FrozenEstimator or None, default=None
        A fitted estimator of this package in scikit-learn's :class:`~sklearn.frozen.FrozenEstimator`, to be fine-tuned.
        The first fit starts from its embeddings and hidden layers, up to the first whose width differs, and from its
        output layer if the target is of the same kind: the same classes, or the same loss and number of outputs.
        Columns, matched by name in frames, are read and scaled as they were there. Members take its members in turn.
    freeze_layers : int, default=0
        How many of these hidden layers stay as they are [13]_, embeddings and batch norm's statistics too.
    pretrained_lr_factor : float, default=0.1
        Factor on the learning rate of everything else that comes from there [14]_.
    random_state : int, RandomState instance or None, default=None
        Seed of weights, folds, shuffles, dropout and augmentation. The same seed and ``n_threads`` give the same bits.
    verbose : int, default=0
        1 prints a line for each epoch.
    callbacks : list of skorch callbacks or None, default=None
        Those of ``skreg.callbacks.SUPPORTED``, and your own that read ``net.history``. scikit-learn's callbacks are set
        with ``set_callbacks``.
    device : str, default="auto"
        "cpu", "cuda", "mps" or another of torch's; "auto" takes a GPU where there is one.
    precision : {"auto", "bfloat16", "float32", "float64"}, default="auto"
        Of training. "auto" is float64 if all rows fit in one batch, else float32; in float32, on a processor that has
        instructions for bfloat16, it is that for hidden layers of 512 units and more and steps of 256 rows and more.
        "bfloat16" is of the products of the hidden layers in training only: weights, norms, loss and predictions stay
        in float32. Where "auto" takes it, results of wide networks agree less between processors.
    n_threads : int or None, default=1
        Threads of the matrix products. Another number gives other bits, so the default does not depend on the machine;
        raise it for wide networks and large tables. None leaves torch's setting alone.

    Attributes
    ----------
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if X had names that are all strings.
    n_iter_ : int
        Epochs run, calls of ``partial_fit`` among them.
    best_iter_ : int
        Epoch whose weights were kept, from 1; over several members the mean, rounded.
    loss_curve_ : ndarray of shape (`n_iter_`,)
        Mean training loss of each epoch, over the members that still trained; in a stream of the last 1,000.
    validation_curve_ : ndarray of shape (`n_iter_`,) or None
        What early stopping watched, likewise: the loss, or the scorer's value with its own sign.
    oof_prediction_ : ndarray of shape (n_samples, ...)
        Prediction of each row by the member that held it out; NaN for rows that none did. Only if the members' folds
        cover the rows: ``n_members >= round(1 / validation_fraction)``, and ``time_limit`` left all of them.
    oof_score_ : float
        R2 of it, as of ``score``. A little too good, as the same rows chose the epochs.
    coefs_, intercepts_ : list of ndarray
        Weights ``(fan_in, fan_out)`` and biases ``(fan_out,)`` of each layer, of a single member; batch norm is folded
        in, and the last layer's are in the units of the prediction. The first layer's rows are the encoded columns:
        numbers (with ``numeric_embedding`` the functions of each), missing-value indicators, one-hot levels,
        embeddings.
    feature_importances_ : ndarray of shape (`n_features_in_`,)
        Norm of each column's weights in the first layer, over its numbers, indicators, levels or embedding; the mean
        over the members, scaled to sum to 1. Exactly 0 for a column that no member uses. Weights act on scaled
        numbers, so that units do not matter unless ``numeric_scaling=None``. A residual connection past the first layer
        is no weight, and left out.
    chosen_ : dict
        What the parameters that may be "auto" were in this fit, and ``n_members``, of which ``time_limit`` may leave
        fewer than were asked for.
    seed_ : int
        The seed drawn from ``random_state``.
    encoder_, target_encoder_ : objects
        What was learned of the columns of X, and of y.
    net_ : skorch.NeuralNet
        The network and its training history.

    See Also
    --------
    RegularizedMLPClassifier : The same network for classes.
    sklearn.neural_network.MLPRegressor : scikit-learn's network, without dropout, norms and categories.

    References
    ----------
    .. [1] Ioffe & Szegedy 2015, "Batch normalization: accelerating deep network training by reducing internal
       covariate shift".
    .. [2] Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting".
    .. [3] Zou & Hastie 2005, "Regularization and variable selection via the elastic net".
    .. [4] Loshchilov & Hutter 2019, "Decoupled weight decay regularization".
    .. [5] Holzmüller et al. 2024, "Better by default: strong pre-tuned MLPs and boosted trees on tabular data".
    .. [6] Ba et al. 2016, "Layer normalization".
    .. [7] He et al. 2016, "Deep residual learning for image recognition".
    .. [8] Klambauer et al. 2017, "Self-normalizing neural networks".
    .. [9] Polyak & Juditsky 1992, "Acceleration of stochastic approximation by averaging".
    .. [10] Gorishniy et al. 2022, "On embeddings for numerical features in tabular deep learning".
    .. [11] Kadra et al. 2021, "Well-tuned simple nets excel on tabular datasets".
    .. [12] Gorishniy et al. 2025, "TabM: advancing tabular deep learning with parameter-efficient ensembling".
    .. [13] Yosinski et al. 2014, "How transferable are features in deep neural networks?".
    .. [14] Howard & Ruder 2018, "Universal language model fine-tuning for text classification".
    .. [15] Izmailov et al. 2018, "Averaging weights leads to wider optima and better generalization".
    .. [16] Huang et al. 2017, "Snapshot ensembles: train 1, get M for free".
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
        dropout_schedule: str | Callable[[float], float] = "constant",
        augmentation: str | Callable[[Tensor, Generator], Tensor] | None = None,
        augmentation_strength: float = 0.2,
        alpha: float | Sequence[float] = 0.0,
        l1_ratio: float = 0.0,
        feature_alpha: float = 0.0,
        weight_decay: float = 0.1,
        weight_decay_schedule: str | Callable[[float], float] = "constant",
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
        snapshots: bool = False,
        n_members: int = 8,
        n_adapters: int = 1,
        categorical_features: Any = "from_dtype",
        numeric_scaling: str | None = "robust",
        numeric_embedding: str | None = "auto",
        frequency_scale: float = 0.1,
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
        self.dropout_schedule = dropout_schedule
        self.augmentation = augmentation
        self.augmentation_strength = augmentation_strength
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.feature_alpha = feature_alpha
        self.weight_decay = weight_decay
        self.weight_decay_schedule = weight_decay_schedule
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
        self.snapshots = snapshots
        self.n_members = n_members
        self.n_adapters = n_adapters
        self.categorical_features = categorical_features
        self.numeric_scaling = numeric_scaling
        self.numeric_embedding = numeric_embedding
        self.frequency_scale = frequency_scale
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

    @available_if(takes_parts)
    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn from the rows of a stream, one pass at the constant rate ``learning_rate_init``.

        The first call learns encoders and statistics from its rows, which should be many and mixed; later calls keep
        them, as they are kept after ``fit``, from which a call goes on. All members train on all rows. Optimiser,
        shuffles and averages go on from call to call; ``learning_rate``, ``max_iter`` and early stopping do not apply.
        ``loss_curve_`` is that of the last 1,000 calls. A member that diverges in a call has not seen its rows.

        Parameters
        ----------
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            As in ``fit``; levels that the first call did not see are unknown.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            As in ``fit``.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row, at least 0. The mean of the first call's counts as 1 in all calls.

        Returns
        -------
        self : estimator
            The fitted estimator.
        """
        return self._partial_fit(X, y, sample_weight)

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
        module = self.net_.module_
        unsure = self.predict_uncertainty(X, module.n_members * module.n_adapters, dropout=False)
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
        if (make().name, make().several, make().n_columns) != (known.name, known.several, known.n_columns):
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
        seen, members = held_out_outputs(self.net_, split), split.n_members
        y, weight = split.validation.y_and_weight(seen.rows)
        each = np.stack([self._decode(seen.raw[m::members], slice(m, None, members)) for m in range(members)])
        self.net_.residuals = Residuals.of(self.target_encoder_.loss, y, each, seen.member, weight)

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
        columns = encoder.loss.n_columns if encoder.loss.several else 1
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
