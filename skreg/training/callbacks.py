"""Callbacks of skorch: which work here, and what to use instead of the others."""

from collections.abc import Sequence
from typing import Any

from skorch import callbacks as skorch_callbacks
from skorch.callbacks import Callback

__all__ = ["REFUSED", "SUPPORTED", "check_callbacks"]

SUPPORTED = (
    "EpochTimer",
    "MlflowLogger",
    "NeptuneLogger",
    "PassthroughScoring",
    "PrintLog",
    "ProgressBar",
    "SacredLogger",
    "TensorBoard",
    "WandbLogger",
)
"""skorch's callbacks that work: those that read ``net.history``. So does any ``Callback`` of your own."""

REFUSED = {
    "BatchScoring": "use monitor= and read validation_curve_",
    "Checkpoint": "pickle the estimator, which keeps its best weights",
    "EarlyStopping": "use early_stopping=, patience= and monitor=",
    "EpochScoring": "use monitor= and read validation_curve_",
    "Freezer": "members share their layers' tensors, so parameters cannot be frozen by name",
    "GradientNormClipping": "use clip_norm=, which clips each member by itself",
    "InputShapeSetter": "the width of the inputs is learned from the table",
    "Initializer": "use init=",
    "LRScheduler": "use learning_rate=",
    "LoadInitState": "use warm_start=True",
    "ParamMapper": "members share their layers' tensors, so parameters cannot be mapped by name",
    "TrainEndCheckpoint": "pickle the estimator",
    "Unfreezer": "members share their layers' tensors, so parameters cannot be frozen by name",
}
"""skorch's callbacks that need another kind of net, and what to use instead."""


def check_callbacks(callbacks: Sequence[Any] | None) -> list[Any]:
    """The user's skorch callbacks; those that need another kind of net are refused.

    Parameters
    ----------
    callbacks : sequence of Callback, or of (name, Callback), or None
        As skorch takes them.

    Returns
    -------
    list
        The callbacks, none for None.

    Raises
    ------
    TypeError
        For what is no skorch callback.
    ValueError
        For a callback of ``REFUSED``; the sentence names the remedy.
    """
    for item in callbacks or []:
        callback = item[1] if isinstance(item, tuple) else item
        kind = callback if isinstance(callback, type) else type(callback)
        if not issubclass(kind, Callback):
            raise TypeError(
                f"'callbacks' takes skorch callbacks. Got {callback!r} instead. "
                "scikit-learn's callbacks are set with set_callbacks(...)."
            )
        refused = next((parent.__name__ for parent in kind.__mro__ if _is_refused(parent)), None)
        if refused is not None:
            remedy = REFUSED[refused]
            raise ValueError(f"skorch's {refused} needs another kind of net and does not work here: {remedy}.")
    return list(callbacks or [])


def _is_refused(kind: type) -> bool:
    return kind.__name__ in REFUSED and kind is getattr(skorch_callbacks, kind.__name__, None)
