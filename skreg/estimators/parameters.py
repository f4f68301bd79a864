"""Parameters that both estimators share: their defaults, constraints and documentation.

The class decorator ``add_shared_docs`` inserts the documentation into the docstrings of the classifier and the
regressor. Defaults are taken from the signature, ``{choices}`` from the constraints, which come from the registries.
"""

import inspect
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import get_scorer_names
from sklearn.utils._param_validation import Interval, Options, StrOptions
from torch import Generator, Tensor

from .._utils.device import PRECISIONS
from ..network import activations, embeddings, initializers
from ..training import augmentations, schedules
from ..training.learning_rates import ADAPTIVE
from ..training.optimizers.registry import SOLVERS

T = TypeVar("T", bound=type)


@dataclass(eq=False, repr=False)
class SharedParameters:
    """Shared parameters, with the defaults of the classifier; the regressor overrides some of them.

    The estimators are dataclasses: their constructors only store these parameters and those specific to each estimator.
    """

    hidden_layer_sizes: int | Sequence[int] = (128, 128, 128)
    _: KW_ONLY
    activation: str | Callable[[Tensor], Tensor] = "silu"
    batch_norm: bool = False
    layer_norm: bool = False
    residual: bool | str = "auto"
    init: str = "data_driven"
    parametrization: str = "ntk"
    scale_layer: bool | str = "auto"
    dropout: float | Sequence[float] = 0.1
    input_dropout: float = 0.0
    augmentation: str | Callable[[Tensor, Generator], Tensor] | None = None
    augmentation_strength: float = 0.2
    alpha: float | Sequence[float] = 0.0
    l1_ratio: float = 0.0
    feature_alpha: float = 0.0
    weight_decay: float = 0.1
    max_norm: float | Sequence[float | None] | None = None
    early_stopping: bool | str = "auto"
    validation_fraction: float = 0.25
    monitor: str | Callable[[Any, Any, Any], float] = "loss"
    patience: int = 16
    min_delta: float = 0.0
    solver: str = "adamw"
    learning_rate: str | Callable[[float], float] = "growing_cycles"
    learning_rate_init: float = 0.012
    momentum: float = 0.9
    nesterovs_momentum: bool = True
    batch_size: int | str = "auto"
    max_iter: int = 127
    time_limit: float | None = None
    clip_norm: float | None = None
    ema_decay: float = 0.0
    swa_start: float | None = None
    n_members: int = 4
    categorical_features: Any = "from_dtype"
    numeric_scaling: str | None = "robust"
    numeric_embedding: str | None = "auto"
    warm_start: bool = False
    pretrained: FrozenEstimator | None = None
    freeze_layers: int = 0
    pretrained_lr_factor: float = 0.1
    random_state: int | np.random.RandomState | None = None
    verbose: int = 0
    callbacks: Sequence[Any] | None = None
    device: str = "auto"
    precision: str = "auto"
    n_threads: int | None = 1


class Names(StrOptions):
    """String options that error messages list in sorted order, which is the same in every process."""

    def __str__(self) -> str:
        return f"a str among {{{', '.join(map(repr, sorted(self.options)))}}}"


class Infinity(Options):
    """The option ``np.inf``, written as such in error messages."""

    def __str__(self) -> str:
        return "np.inf"


MAX_MEMBERS, MAX_THREADS = 65_536, 4096  # far above useful values, but torch accepts them

CONSTRAINTS: dict[str, list[Any] | str] = {
    "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    "activation": [Names(set(activations.__all__)), callable],
    "batch_norm": ["boolean"],
    "layer_norm": ["boolean"],
    "residual": [Names({"auto"}), "boolean"],
    "init": [Names({"auto", "data_driven", *initializers.__all__})],
    "parametrization": [Names({"ntk", "standard"})],
    "scale_layer": [Names({"auto"}), "boolean"],
    "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
    "input_dropout": [Interval(Real, 0, 1, closed="left")],
    "augmentation": [Names(set(augmentations.__all__)), callable, None],
    "augmentation_strength": [Interval(Real, 0, None, closed="left")],
    "alpha": [Interval(Real, 0, None, closed="left"), "array-like"],
    "l1_ratio": [Interval(Real, 0, 1, closed="both")],
    "feature_alpha": [Interval(Real, 0, None, closed="left")],
    "weight_decay": [Interval(Real, 0, None, closed="left")],
    "max_norm": [Interval(Real, 0, None, closed="neither"), "array-like", None],
    "early_stopping": [Names({"auto"}), "boolean"],
    "validation_fraction": [Interval(Real, 0, 0.5, closed="right")],
    "monitor": [Names({"loss", *get_scorer_names()}), callable],
    "patience": [Interval(Integral, 1, None, closed="left"), Infinity(Real, {np.inf})],
    "min_delta": [Interval(Real, 0, None, closed="left")],
    "solver": [Names(set(SOLVERS))],
    "learning_rate": [Names({ADAPTIVE, *schedules.__all__}), callable],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "momentum": [Interval(Real, 0, 1, closed="left")],
    "nesterovs_momentum": ["boolean"],
    "batch_size": [Names({"auto"}), Interval(Integral, 1, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "time_limit": [Interval(Real, 0, None, closed="neither"), None],
    "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
    "ema_decay": [Interval(Real, 0, 1, closed="left")],
    "swa_start": [Interval(Real, 0, 1, closed="neither"), None],
    "n_members": [Interval(Integral, 1, MAX_MEMBERS, closed="both")],
    "categorical_features": [Names({"from_dtype"}), "array-like", None],
    "numeric_scaling": [Names({"robust", "standard", "quantile"}), None],
    "numeric_embedding": [Names({"auto", *embeddings.__all__}), None],
    "warm_start": ["boolean"],
    "pretrained": "no_validation",  # PretrainedSource.from_estimator validates it
    "freeze_layers": [Interval(Integral, 0, None, closed="left")],
    "pretrained_lr_factor": [Interval(Real, 0, None, closed="neither")],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
    "callbacks": [list, tuple, None],
    "device": [str],
    "precision": [Names({"auto", *PRECISIONS})],
    "n_threads": [Interval(Integral, 1, MAX_THREADS, closed="both"), None],
}

PARAMETERS = """
hidden_layer_sizes : int or sequence of int
    Number of units in each hidden layer; ``()`` gives a linear model. Typically one to three layers of 64 to 256 units.
activation : {choices} or callable
    Activation function of the hidden layers. A callable must map a tensor to a tensor of the same shape, element by
    element.
batch_norm : bool
    Whether to apply batch normalization before each activation [1]_.
layer_norm : bool
    Whether to apply layer normalization before each activation [2]_. It cannot be combined with ``batch_norm``.
residual : bool or "auto"
    Whether a hidden layer with as many inputs as units returns ``sqrt(1/2)`` times the sum of its input and its output
    [3]_. "auto" enables this for regression, unless ``feature_alpha`` or ``solver="sgd"`` is used.
init : {choices}
    Initialization of the weights. "auto" selects Xavier for tanh, logistic and identity, LeCun for selu and He for the
    other activations. "data_driven" also draws biases and scales the weights so that the pre-activations of every unit
    have unit variance on the training rows [4]_; with batch or layer normalization, it is the same as "auto". "normal"
    has a fixed standard deviation of 0.01.
parametrization : {choices}
    How the learning rate depends on the layer. "ntk" (neural tangent kernel) multiplies it by ``sqrt(32 / n)``, where n
    is the layer's number of inputs, so that one value suits layers of all widths [4]_ [5]_. "standard" uses the same
    learning rate everywhere, as linear models and the solvers "sgd" and "lbfgs" always do.
scale_layer : bool or "auto"
    Whether each input of the first layer is multiplied by a learned factor, which starts at 1 [4]_. "auto" enables this
    for networks with hidden layers, unless ``alpha``, ``feature_alpha`` or ``max_norm`` applies to the first layer.
dropout : float or sequence of float
    Fraction of the units of each hidden layer that are set to zero in a training step, in [0, 1) [6]_. A sequence
    contains one value for each layer. With ``activation="selu"``, alpha dropout is used [7]_. Typical values: 0 to 0.5.
input_dropout : float
    Fraction of the inputs that are set to zero in a training step, in [0, 1). Typical values: 0 to 0.3.
augmentation : {choices}, callable or None
    Augmentation of the training batches [8]_. "mixup" averages pairs of rows and "cutmix" exchanges features between
    them; both mix the losses accordingly. "swap_noise" replaces features by those of other rows, "cutout" by missing
    values, and "gaussian_noise" adds noise to numeric features. A callable ``(inputs, generator) -> inputs`` receives
    the encoded rows of one member's batch and a ``torch.Generator``, and returns a tensor of the same shape.
augmentation_strength : float
    For "mixup", the parameter of the Beta distribution; for "cutmix", the probability that a batch is changed; for
    "cutout" and "swap_noise", the probability that a feature of a row is changed; for "gaussian_noise", the standard
    deviation. Ignored by callables. Typical values: 0.05 to 0.8.
alpha : float or sequence of float
    Coefficient of the elastic net ``alpha * (l1_ratio * |w| + (1 - l1_ratio) / 2 * w**2)``, which is added to the mean
    loss as in :class:`~sklearn.linear_model.ElasticNet` [9]_. Biases and normalization parameters are not penalized. A
    sequence contains one value for each hidden layer and one for the output layer. Typical values: 1e-6 to 1e-2.
l1_ratio : float
    Proportion of the L1 penalty in the elastic net, in [0, 1]. The L1 penalty sets some weights to exactly zero.
feature_alpha : float
    Coefficient of a group lasso on the first layer, which adds ``feature_alpha * sqrt(n) * norm(w)`` for each column of
    X, where w contains the weights of the n inputs that encode the column [10]_. Columns that are not needed get
    weights of exactly zero; see ``feature_importances_``. Typical values: 0.002 to 0.02, with ``alpha=0.01``.
weight_decay : float
    Decoupled weight decay [11]_: each step multiplies the weights by ``1 - learning_rate * weight_decay``. Biases and
    normalization parameters do not decay. Typical values: 1e-3 to 1.
max_norm : float, None or sequence of these
    Maximum Euclidean norm of the incoming weights of each unit, enforced after every step [6]_. A sequence contains one
    value for each hidden layer and one for the output layer. Typical values: 0.5 to 4.
early_stopping : bool or "auto"
    Whether to hold out validation rows, to stop a member when its validation score has not improved for ``patience``
    epochs, and to restore its weights from the best epoch. "auto" enables this if ``X_val`` is given or if the folds
    have enough rows: at least 30, or 15 with eight or more members.
validation_fraction : float
    Fraction of the rows that each member holds out for validation, in (0, 0.5]. The rows are split into
    ``max(n_members, round(1 / validation_fraction))`` folds, and member m holds out fold m. The folds are shuffled, and
    stratified for classification.
monitor : "loss", scorer name or callable
    Validation score for early stopping: the loss, a name from :func:`~sklearn.metrics.get_scorer_names`, or a callable
    ``(estimator, X, y) -> float`` for which greater is better.
patience : int or np.inf
    Number of epochs without improvement after which a member stops. With a cyclic ``learning_rate``, it stops at the
    end of the current cycle. With ``np.inf``, no member stops, but the weights of the best epoch are restored.
min_delta : float
    Minimum change of the validation score that counts as an improvement.
solver : {choices}
    Optimizer. "adamw" is Adam with betas of (0.9, 0.95) and "adam" with betas of (0.9, 0.999). "sgd" is stochastic
    gradient descent with ``momentum``. "lbfgs" performs one iteration on all rows per epoch; it requires a single
    member without dropout, augmentation, batch normalization, L1 penalty, group lasso, gradient clipping, weight
    averaging, weight decay or ``max_norm``, and ignores the learning rate.
learning_rate : {choices} or callable
    Schedule of the learning rate. A callable maps the progress of the training, in [0, 1], to a factor on
    ``learning_rate_init``. The functions in ``skreg.schedules`` describe the named schedules. "cosine_restarts",
    "coslog" and "growing_cycles" have several cycles, and early stopping waits for the end of a cycle. "adaptive"
    divides a member's learning rate by 5 whenever its validation score (its training loss if early stopping is off) has
    not improved by more than ``min_delta`` for a quarter of ``patience`` epochs.
learning_rate_init : float
    Learning rate, which the schedule multiplies by its factors. Typical values: 0.002 to 0.1.
momentum : float
    Momentum of gradient descent, in [0, 1). Only used when ``solver="sgd"``.
nesterovs_momentum : bool
    Whether to use Nesterov's momentum. Only used when ``solver="sgd"``.
batch_size : int or "auto"
    Maximum number of rows in a training step. "auto" increases it with the number of training rows, from 64 for up to
    1,024 rows to 1,024 for more than 131,072 rows, and uses all rows with ``solver="lbfgs"``.
max_iter : int
    Maximum number of epochs.
time_limit : float or None
    Approximate maximum duration of ``fit`` in seconds. If the time is too short for ``max_iter`` epochs, the learning
    rate schedule is shortened accordingly. Results then depend on the speed of the machine. Ignored by ``partial_fit``.
clip_norm : float or None
    Maximum Euclidean norm of each member's gradient. Typical: 1.
ema_decay : float
    Decay of an exponential moving average of the weights, in [0, 1) [12]_. Validation and prediction use the averaged
    weights; 0 disables averaging. Typical values: 0.9 to 0.99.
swa_start : float or None
    Progress of the training, in (0, 1), after which the weights at the end of each epoch are averaged (stochastic
    weight averaging) [13]_. Validation and prediction then use the averaged weights. Typical: 0.75, with a constant
    learning rate.
n_members : int
    Number of networks (members) in the ensemble, whose predictions are averaged. Each has its own initialization,
    shuffling and validation fold. Typical values: 4 to 16.
categorical_features : "from_dtype", None or array-like of bool, int or str
    Categorical columns, as a mask, indices or names. "from_dtype" selects columns of categories, strings, objects and
    booleans; a NumPy array of type bool contains numbers. Boolean columns that are not selected are numbers. Columns
    with up to 8 levels are one-hot encoded, those with more embedded. Missing values and unknown levels are zeros in
    one-hot columns; in embeddings, they share a learned vector that starts at zero.
numeric_scaling : {"quantile", "robust", "standard"} or None
    Scaling of numeric columns. "robust" uses the median and the interquartile range and clips smoothly to (-3, 3) [4]_;
    "standard" uses the mean and the standard deviation; "quantile" maps the rank of a value to a quantile of the normal
    distribution. Missing values are replaced by the median ("robust", "quantile") or the mean, and marked in an
    indicator column.
numeric_embedding : {choices} or None
    Embedding of numeric columns. "periodic" uses learned cosines [4]_ and "piecewise_linear" learned piecewise linear
    functions of quantile bins [14]_. "auto" is None for classification, for linear models, and with ``feature_alpha``
    or ``solver="sgd"``; otherwise, it is "piecewise_linear".
warm_start : bool
    Whether ``fit`` continues from the weights, encoders and statistics of the previous fit. The classes must be the
    same.
pretrained : FrozenEstimator or None
    Fitted estimator of this package, wrapped in :class:`~sklearn.frozen.FrozenEstimator`, to be fine-tuned. Its
    encoders, its embeddings and its hidden layers before the first one whose width differs are copied, and its output
    layer if all hidden layers are copied and both predict the same kind of target.
freeze_layers : int
    Number of copied hidden layers that are kept fixed, together with the embeddings before them [15]_.
pretrained_lr_factor : float
    Factor on the learning rate of copied weights that are trained [16]_. Typical values: 0.01 to 1.
random_state : int, RandomState instance or None
    Seed of the initialization, folds, shuffling, dropout and augmentation. Results are reproducible with the same seed
    and the same ``n_threads``. None draws a seed from NumPy's global generator, as everywhere in scikit-learn, so that
    ``np.random.seed`` applies; this is the only use of a global generator.
verbose : int
    Verbosity: 0 prints nothing, and 1 prints one line per epoch.
callbacks : list of skorch callbacks or None
    Callbacks listed in ``skreg.callbacks.SUPPORTED``, and user-defined ones that read ``net.history``. Use
    ``set_callbacks`` for scikit-learn's callbacks.
device : str
    Device for training: "cpu", "cuda", "mps" or another device name that torch accepts. "auto" uses a GPU if available.
precision : {choices}
    Precision of training. "bfloat16" applies only to the matrix products of the hidden layers. "auto" is float64 if all
    rows fit in one batch; otherwise, it is bfloat16 for wide layers if the processor supports it, or float32.
n_threads : int or None
    Number of threads for matrix products; None keeps torch's setting. The rounding of results depends on this number. A
    process created by ``os.fork`` uses one thread, with a warning if more were requested.
"""

ATTRIBUTES = """
n_features_in_ : int
    Number of columns of X.
feature_names_in_ : ndarray of shape (`n_features_in_`,)
    Names of the columns, if all of them are strings.
n_iter_ : int
    Number of epochs, including calls to ``partial_fit``.
best_iter_ : int
    Epoch whose weights were kept, counted from 1; the rounded mean over the members.
loss_curve_ : ndarray of shape (`n_iter_`,)
    Training loss of each epoch, averaged over the members; after ``partial_fit``, only that of the last 1,000 calls.
loss_ : float
    Training loss of the last epoch.
best_loss_ : float or None
    Smallest training loss of an epoch. None with early stopping.
best_validation_score_ : float or None
    Best validation score of each member, averaged over the members: the loss, or the value of the scorer. None without
    validation rows.
validation_curve_ : ndarray of shape (`n_iter_`,) or None
    Validation score of each epoch, averaged over the members: the loss, or the value of the scorer. None without
    validation rows.
oof_prediction_ : ndarray of shape (n_samples, ...)
    Out-of-fold prediction of each training row, made by the member that held it out; probabilities for classification.
    Only available if every row belongs to a validation fold: ``n_members >= round(1 / validation_fraction)``.
coefs_, intercepts_ : list of ndarray
    Weights ``(fan_in, fan_out)`` and biases ``(fan_out,)`` of each layer, for ``n_members=1``. Batch normalization is
    folded into them, and the output layer gives targets (their logarithms with the losses "poisson" and "gamma") or
    logits. The rows of the first matrix are the encoded columns: numbers or their embeddings, missing-value indicators,
    one-hot levels, embedded categories.
feature_importances_ : ndarray of shape (`n_features_in_`,)
    Norm of the weights of each column in the first layer, averaged over the members and normalized to a sum of 1. It is
    exactly 0 for a column that no member uses.
chosen_ : dict
    Values used for the parameters that can be "auto".
seed_ : int
    Seed drawn from ``random_state``.
encoder_, target_encoder_ : objects
    Encoders of X and y.
net_ : Net
    The trained network, as callbacks receive it: ``net_.module_`` is the torch module, and ``net_.history`` contains
    the losses, scores, learning rate and duration of each epoch. It is not an estimator, and cannot predict.
"""

REFERENCES = """
.. [1] Ioffe & Szegedy 2015, "Batch normalization: accelerating deep network training by reducing internal
   covariate shift".
.. [2] Ba et al. 2016, "Layer normalization".
.. [3] He et al. 2016, "Deep residual learning for image recognition".
.. [4] Holzmüller et al. 2024, "Better by default: strong pre-tuned MLPs and boosted trees on tabular data".
.. [5] Jacot et al. 2018, "Neural tangent kernel: convergence and generalization in neural networks".
.. [6] Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting".
.. [7] Klambauer et al. 2017, "Self-normalizing neural networks".
.. [8] Kadra et al. 2021, "Well-tuned simple nets excel on tabular datasets".
.. [9] Zou & Hastie 2005, "Regularization and variable selection via the elastic net".
.. [10] Yuan & Lin 2006, "Model selection and estimation in regression with grouped variables".
.. [11] Loshchilov & Hutter 2019, "Decoupled weight decay regularization".
.. [12] Polyak & Juditsky 1992, "Acceleration of stochastic approximation by averaging".
.. [13] Izmailov et al. 2018, "Averaging weights leads to wider optima and better generalization".
.. [14] Gorishniy et al. 2022, "On embeddings for numerical features in tabular deep learning".
.. [15] Yosinski et al. 2014, "How transferable are features in deep neural networks?".
.. [16] Howard & Ruder 2018, "Universal language model fine-tuning for text classification".
"""


def add_shared_docs(cls: T) -> T:
    """Insert the shared parameters, attributes and references into the docstring of an estimator."""
    doc = inspect.cleandoc(cls.__doc__ or "")
    doc = doc.replace("{attributes}", ATTRIBUTES.strip()).replace("{references}", REFERENCES.strip())
    before, heading, after = doc.partition("Parameters\n----------\n")
    own_parameters, _, after = after.partition("\n\n")
    entries = _entries(PARAMETERS) | _entries(own_parameters)
    parameters = inspect.signature(cls).parameters.values()
    documented = [_complete(entries[p.name], cls, p) for p in parameters if p.name in entries]
    cls.__doc__ = before + heading + "\n".join(documented) + "\n\n" + after
    return cls


def _entries(section: str) -> dict[str, str]:
    """Map the name of each parameter to its entry in a docstring section."""
    return {entry.partition(" :")[0]: entry for entry in re.split(r"\n(?=\S)", section.strip("\n"))}


def _complete(entry: str, cls: type, parameter: inspect.Parameter) -> str:
    """Add the default and the names to choose from to the entry of a parameter."""
    kind, _, text = entry.partition("\n")
    default = parameter.default
    shown = json.dumps(default) if isinstance(default, str) else repr(default)
    if "{choices}" in kind:
        rules: list[Any] = cls._parameter_constraints[parameter.name]  # type: ignore[attr-defined]  # set by both estimators
        names = next(sorted(rule.options) for rule in rules if hasattr(rule, "options"))
        kind = kind.replace("{choices}", f"{{{', '.join(map(json.dumps, names))}}}")
    return f"{kind}, default={shown}\n{text}"
