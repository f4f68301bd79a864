"""skorch callbacks: the supported ones, and alternatives to the others."""

from collections.abc import Sequence
from typing import Any

from skorch import callbacks as skorch_callbacks
from skorch.callbacks import Callback, WandbLogger

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
"""skorch callbacks that are supported because they read ``net.history``. User-defined callbacks work as well."""

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
"""skorch callbacks that are not supported, and what to use instead."""


def check_callbacks(callbacks: Sequence[Any] | None, validation_loss: bool = True) -> list[Any]:
    """Check the skorch callbacks that the user passed.

    Parameters
    ----------
    callbacks : sequence of Callback, or of (name, Callback), or None
        As accepted by skorch.
    validation_loss : bool, default=True
        Whether the history will contain the validation loss.

    Returns
    -------
    list
        The callbacks, empty for None.

    Raises
    ------
    TypeError
        If an item is not a skorch callback.
    ValueError
        If a callback is listed in ``REFUSED``, or needs the validation loss and there is none. The message names the
        alternative.
    """
    for item in callbacks or []:
        callback = item[1] if isinstance(item, tuple) else item
        kind = callback if isinstance(callback, type) else type(callback)
        if not issubclass(kind, Callback):
            raise TypeError(
                f"The 'callbacks' parameter must contain skorch callbacks. Got {callback!r} instead. "
                "Use set_callbacks(...) for callbacks of scikit-learn."
            )
        for parent in kind.__mro__:
            name = parent.__name__
            if name in REFUSED and parent is getattr(skorch_callbacks, name, None):
                raise ValueError(f"The skorch callback {name} is not supported: {REFUSED[name]}.")
        if isinstance(callback, WandbLogger) and callback.save_model and not validation_loss:
            raise ValueError(
                "WandbLogger(save_model=True) in the 'callbacks' parameter saves the weights with the best validation "
                "loss, but there is none. Set save_model=False, or fit with early_stopping=True and monitor='loss'."
            )
    return list(callbacks or [])
