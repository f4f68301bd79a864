"""Support for scikit-learn's callbacks (scikit-learn 1.9 or later): events of a fit and of its epochs."""

from collections.abc import Callable
from typing import Any, TypeVar

from sklearn.base import _fit_context
from skorch.callbacks import Callback

from ..training.net import Net
from .inspection import fitted_attributes

try:
    from sklearn.callback import CallbackSupportMixin as CallbackSupportMixin
    from sklearn.callback import with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]  # replaces scikit-learn's
        """Replacement for scikit-learn's class, which does nothing."""

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``method`` unchanged."""
        return method


Method = TypeVar("Method", bound=Callable[..., Any])


def fit_method(method: Method) -> Method:
    """Decorate ``fit`` to validate the parameters and to close scikit-learn's callbacks; keep its type."""
    decorated: Method = with_callbacks(_fit_context(prefer_skip_nested_validation=True)(method))
    return decorated


class CallbackEvents(Callback):
    """A skorch callback of an estimator's net that sends the events of a fit to the estimator's scikit-learn callbacks.

    ``epoch_callbacks`` contains this object if the estimator has callbacks.
    """

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any, max_epochs: int) -> None:
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._arguments = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._fit: Any = None
        self.epoch_callbacks: list[Callback] = [self] if getattr(estimator, "_skl_callbacks", []) else []
        if (make_context := getattr(estimator, "_init_callback_context", None)) is not None:
            self._fit = make_context(max_subtasks=max_epochs)
            self._fit.call_on_fit_task_begin(**self._arguments)

    def on_epoch_begin(self, _net: Net, **_kwargs: Any) -> None:
        """Notify the callbacks that an epoch begins."""
        self._epoch = self._fit.subcontext(task_name="epoch")
        self._epoch.call_on_fit_task_begin(**self._arguments)

    def on_epoch_end(self, net: Net, **_kwargs: Any) -> None:
        """Notify the callbacks that an epoch has ended, and stop training if a callback requests it."""
        if self._end(self._epoch, net.snapshot):
            net.stop_training_ = True

    def close(self, net: Net) -> None:
        """Notify the callbacks that the fit has ended with ``net``."""
        if self._fit is not None:
            self._end(self._fit, lambda: net)

    def _end(self, context: Any, current_net: Callable[[], Net]) -> bool:
        attributes = {"reconstruction_attributes": lambda: fitted_attributes(current_net())}
        return bool(context.call_on_fit_task_end(**self._arguments, **attributes))
