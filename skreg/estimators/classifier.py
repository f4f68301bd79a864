"""The classifier."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from numbers import Real
from typing import Any, Self

import numpy as np
from scipy.special import logit
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import accuracy_score, get_scorer
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.metaestimators import available_if
from torch import Generator, Tensor

from .._utils.validation import parameter_error
from ..data.split import MemberSplit
from ..data.table import EncodedTable
from ..training.losses.base import BinaryLoss, ClassificationLoss, MulticlassLoss
from ..training.losses.link import log_mean_of_members
from ..training.net import Net
from ..uncertainty.decomposition import Uncertainty, of_probabilities
from ..uncertainty.temperature import check_held_out_rows, check_partial_fit, fit_temperature
from .parameters import Names
from .sampling import SamplingMLP
from .sklearn_callbacks import with_callbacks
from .streaming import check_classes, takes_parts
from .targets import ClassTargetEncoder

__all__ = ["RegularizedMLPClassifier"]

_AUTO_SMOOTHING = 0.1


class RegularizedMLPClassifier(ClassifierMixin, SamplingMLP):
    """Regularised neural network for classifying the rows of a table.

    Takes arrays, data frames with categories and missing values, and sparse matrices. Two classes, several, or several
    yes/no labels at once. Two classes have one logit.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(128, 128, 128)
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
    loss : {"focal", "log_loss"}, default="log_loss"
        What is minimised. "focal" is the log loss of a row times ``(1 - p)**2``, p the probability of its class [17]_:
        rows that are predicted well count for little. Its probabilities are more even than the frequencies.
    label_smoothing : float or "auto", default="auto"
        Share of each training target that is spread evenly over the classes, or over yes and no [18]_, in [0, 1). Makes
        the network less sure of itself, which helps accuracy and harms log loss, until it is calibrated. "auto" is 0.1
        where ``calibrate`` acts, or ``monitor`` scores the predicted labels, as "accuracy", "balanced_accuracy" and
        "f1" do, else 0. Held-out rows stay as they are.
    calibrate : {"auto", "temperature"} or None, default="auto"
        "temperature" divides the members' raw outputs by one number before they become probabilities, the one of least
        log loss on the rows that were held out (Guo et al. 2017, "On calibration of modern neural networks"); where
        members hold out folds, the log loss that their mean would have there. Refused where no rows are held out;
        "auto" does without it there. ``partial_fit`` holds out none, and keeps that of the ``fit`` it goes on from. A
        single member's labels stay as they are; a mean's change where two classes are about as probable.
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
        Folds are shuffled and stratified.
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
    learning_rate_init : float, default=0.012
        Learning rate at factor 1.
    momentum : float, default=0.9
        What a step keeps of the last one, in [0, 1) (Sutskever et al. 2013). Only used when ``solver="sgd"``.
    nesterovs_momentum : bool, default=True
        Whether the momentum is Nesterov's. Only used when ``solver="sgd"``.
    batch_size : int or "auto", default="auto"
        Most rows of a step; the rows are dealt out evenly over the steps of an epoch. "auto" takes 64 for up to 1,024
        rows, 128 up to 4,096, 256 up to 32,768, 512 up to 131,072, else 1,024, and all rows under ``solver="lbfgs"``.
    max_iter : int, default=127
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
    n_members : int, default=4
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
    class_weight : "balanced", dict or None, default=None
        Weight of each class in the loss; "balanced" gives every class the same total. Multiplies ``sample_weight``.
        Not for several labels at once.
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
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted. For several labels at once, their column numbers.
    class_weight_ : ndarray of shape (n_classes,) or None
        Weight of each class, from the training rows.
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
        Probabilities of each row by the member that held it out; NaN for rows that none did. Only if the members' folds
        cover the rows: ``n_members >= round(1 / validation_fraction)``, and ``time_limit`` left all of them.
        After ``calibrate``, whose one number these rows have set.
    oof_score_ : float
        Accuracy of it. A little too good, as the same rows chose the epochs.
    temperature_ : float
        What raw outputs are divided by, see ``calibrate``; above 1 where the network was too sure of itself, and 1
        without it.
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
    RegularizedMLPRegressor : The same network for numbers.
    sklearn.neural_network.MLPClassifier : scikit-learn's network, without dropout, norms and categories.

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
    .. [17] Lin et al. 2017, "Focal loss for dense object detection".
    .. [18] Szegedy et al. 2016, "Rethinking the inception architecture for computer vision", section 7.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.model_selection import train_test_split
    >>> from skreg import RegularizedMLPClassifier
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    >>> classifier = RegularizedMLPClassifier(dropout=0.2, random_state=0).fit(X_train, y_train)
    >>> classifier.score(X_test, y_test) > 0.9
    True
    """

    _parameter_constraints = {
        **SamplingMLP._parameter_constraints,
        "loss": [Names(set(ClassificationLoss.registered()))],
        "label_smoothing": [Interval(Real, 0, 1, closed="left"), Names({"auto"})],
        "calibrate": [Names({"auto", "temperature"}), None],
        "class_weight": [Names({"balanced"}), dict, None],
    }
    _target_encoder = ClassTargetEncoder

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (128, 128, 128),
        *,
        activation: str | Callable[[Tensor], Tensor] = "silu",
        batch_norm: bool = False,
        layer_norm: bool = False,
        residual: bool | str = "auto",
        loss: str = "log_loss",
        label_smoothing: float | str = "auto",
        calibrate: str | None = "auto",
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
        learning_rate_init: float = 0.012,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        batch_size: int | str = "auto",
        max_iter: int = 127,
        time_limit: float | None = None,
        clip_norm: float | None = None,
        ema_decay: float = 0.0,
        swa_start: float | None = None,
        snapshots: bool = False,
        n_members: int = 4,
        n_adapters: int = 1,
        categorical_features: Any = "from_dtype",
        numeric_scaling: str | None = "robust",
        numeric_embedding: str | None = "auto",
        frequency_scale: float = 0.1,
        class_weight: str | dict[Any, float] | None = None,
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
        self.label_smoothing = label_smoothing
        self.calibrate = calibrate
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
        self.class_weight = class_weight
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

    @property
    def classes_(self) -> np.ndarray:
        """The labels, sorted."""
        return self._known_target().classes_

    @property
    def temperature_(self) -> float:
        """What raw outputs are divided by."""
        if not hasattr(self, "net_"):
            raise AttributeError("temperature_ is known after fit.")
        return self.net_.temperature

    @available_if(takes_parts)
    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
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
        classes : array-like of shape (n_classes,), default=None
            All classes that the stream has; of several labels at once their column numbers. Needed in the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row, at least 0. The mean of the first call's counts as 1 in all calls.

        Returns
        -------
        self : estimator
            The fitted estimator.
        """
        check_partial_fit(self, self._continues and self.temperature_ != 1.0)
        known = check_classes(self.class_weight, classes, self.classes_ if self._continues else None)
        return self._partial_fit(X, y, sample_weight, known)

    def predict(self, X: Any) -> np.ndarray:
        """Most probable class of each row.

        Parameters
        ----------
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            Columns as in ``fit``; categories may be new, values may be missing.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            Labels, or a 0/1 matrix of several labels.
        """
        return self._labels(self._predict_decoded(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithm of ``predict_proba``, exact where that rounds to 0.

        Parameters
        ----------
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            As in ``predict``.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            As ``predict_proba``.
        """
        decoded = self._predict_decoded(X)
        return decoded[:, :, 1] if decoded.ndim == 3 else decoded

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of each class, members averaged.

        Parameters
        ----------
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            As in ``predict``.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Columns in the order of ``classes_``; of several labels the probability of yes.
        """
        return np.exp(self.predict_log_proba(X))

    def decision_function(self, X: Any) -> np.ndarray:
        """Log odds of the probabilities for two classes or for labels, their logarithm for more classes.

        Parameters
        ----------
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            As in ``predict``.

        Returns
        -------
        ndarray of shape (n_samples,), (n_samples, n_classes) or (n_samples, n_labels)
            For two classes positive where the second is predicted. Ranks rows as ``predict_proba`` does, ties included.
        """
        decoded = self._predict_decoded(X)
        if self._known_target().kind_ == "multiclass":
            return decoded
        return _log_odds(np.exp(decoded[..., 1]))

    def _known_target(self) -> ClassTargetEncoder:
        if not hasattr(self, "target_encoder_"):
            raise AttributeError("The classes are known after fit.")
        return self.target_encoder_

    def _loss(self, split: MemberSplit) -> Callable[[], ClassificationLoss]:
        kind = MulticlassLoss if self.target_encoder_.kind_ == "multiclass" else BinaryLoss
        return partial(kind.registered()[self.loss], self._smoothing(split.validation is not None))

    def _smoothing(self, validation: bool) -> float:
        """``label_smoothing``; "auto" asks whether labels are what counts, or a temperature will mend what it harms."""
        if not isinstance(self.label_smoothing, str):
            return self.label_smoothing
        if validation and self.calibrate is not None:
            return _AUTO_SMOOTHING
        scorer = None if self.monitor == "loss" else get_scorer(self.monitor)
        return _AUTO_SMOOTHING if getattr(scorer, "_response_method", None) == "predict" else 0.0

    def _split(self, train: EncodedTable, held_out: EncodedTable | None) -> MemberSplit:
        split = super()._split(train, held_out)
        check_held_out_rows(self, split)
        return split

    def _calibrate(self, split: MemberSplit) -> None:
        if self.calibrate is not None and split.validation is not None:
            self.net_.temperature = fit_temperature(self.net_, split)

    def _set_fitted(self, net: Net, hooks: list[Any]) -> None:
        if self.calibrate is not None and self._continues:
            net.temperature = self.temperature_
        super()._set_fitted(net, hooks)

    def _fit_class_weight(self, y: np.ndarray, weight: np.ndarray | None) -> None:
        self.class_weight_ = None
        if self.class_weight is None:
            return
        if y.ndim == 2:
            raise ValueError("class_weight is for exclusive classes. With several labels at once, use sample_weight.")
        given = np.ones(len(y)) if weight is None else weight
        weights = compute_class_weight(self.class_weight, classes=self.classes_, y=y, sample_weight=given)
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
            raise parameter_error(
                self, "class_weight", "finite weights of at least 0, not all of them 0", self.class_weight
            )
        self.class_weight_ = weights

    def _loss_weight(self, y: np.ndarray, weight: np.ndarray | None) -> np.ndarray | None:
        if self.class_weight_ is None:
            return weight
        of_row = self.class_weight_[np.searchsorted(self.classes_, y)]
        return of_row if weight is None else of_row * weight

    def _decode(self, raw: Tensor, members: slice) -> np.ndarray:
        """Log of the members' mean probabilities: ``(rows, classes)``, or ``(rows, labels, 2)``."""
        each = self.net_.criterion_.log_probability(raw.double() / self.temperature_)
        mean = log_mean_of_members(each).cpu().numpy()
        return mean[:, 0] if self.target_encoder_.kind_ == "binary" else mean

    def _format_prediction(self, decoded: np.ndarray) -> np.ndarray:
        return np.exp(decoded[:, :, 1] if decoded.ndim == 3 else decoded)

    def _decompose(self, drawn: np.ndarray) -> Uncertainty:
        if self.target_encoder_.kind_ != "multilabel":
            return of_probabilities(drawn)
        return replace(of_probabilities(np.stack([1 - drawn, drawn], -1)), mean=drawn.mean(0))

    def _labels(self, decoded: np.ndarray) -> np.ndarray:
        best = decoded.argmax(-1)
        return best if decoded.ndim == 3 else self.classes_[best]

    def _out_of_fold(self, decoded: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> tuple[np.ndarray, float]:
        return self._format_prediction(decoded), accuracy_score(y, self._labels(decoded), sample_weight=weight)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _log_odds(proba: np.ndarray) -> np.ndarray:
    """Log odds; what has been rounded to 1 counts as halfway between it and the number below, not as that number."""
    below = 1 - np.finfo(np.float64).epsneg
    return logit(proba.clip(max=below)) + np.where(proba > below, np.log(2), 0.0)
