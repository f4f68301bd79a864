"""scikit-learn's callbacks: its mixin where there is one (1.9), and a fit told to it task by task."""

from collections.abc import Callable
from typing import Any

from skorch.callbacks import Callback

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]  # stands in for scikit-learn's
        """scikit-learn before 1.9 has no callbacks."""

    def with_callbacks(method: Callable) -> Callable:
        """Leave ``method`` as it is."""
        return method


class EpochHooks(Callback):
    """Calls a function when an epoch begins and when it ends; the second may ask to stop.

    Parameters
    ----------
    begin : callable () -> None
        When an epoch begins.
    end : callable (net) -> bool
        When it ends; True stops the training.
    """

    def __init__(self, begin: Callable[[], None], end: Callable[[Any], bool]) -> None:
        self.begin = begin
        self.end = end

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Pass it on."""
        self.begin()

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Pass it on, and stop the net if asked to."""
        if self.end(net):
            net.stop_training_ = True


class FitProgress:
    """Tells scikit-learn's callbacks of a fit and of each of its epochs.

    Parameters
    ----------
    estimator : estimator
        The one being fitted.
    X, y, metadata
        What its ``fit`` was given.
    max_epochs : int
        Most epochs.
    fitted : callable (net) -> dict
        The fitted attributes, as if the fit ended now.

    Attributes
    ----------
    hooks : list of EpochHooks
        The skorch callback that tells of epochs; none where nobody listens.
    """

    def __init__(
        self, estimator: Any, X: Any, y: Any, metadata: dict | None, max_epochs: int, fitted: Callable
    ) -> None:
        self._told = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._fitted = fitted
        listened_to = bool(getattr(estimator, "_skl_callbacks", []))
        self.hooks = [EpochHooks(self._begin, self._end)] if listened_to else []
        self._fit: Any = None
        if hasattr(estimator, "_init_callback_context"):
            self._fit = estimator._init_callback_context(max_subtasks=max_epochs)
            self._fit.call_on_fit_task_begin(**self._told)

    def _begin(self) -> None:
        self._epoch = self._fit.subcontext(task_name="epoch")
        self._epoch.call_on_fit_task_begin(**self._told)

    def _end(self, net: Any) -> bool:
        return self._epoch.call_on_fit_task_end(**self._told, reconstruction_attributes=lambda: self._fitted(net))

    def close(self, fitted: Callable[[], dict]) -> None:
        """Tell that the fit has ended."""
        if self._fit is not None:
            self._fit.call_on_fit_task_end(**self._told, reconstruction_attributes=fitted)
