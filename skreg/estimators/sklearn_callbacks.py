"""Support for scikit-learn's callbacks (scikit-learn 1.9 or later): events of a fit and of its epochs."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from sklearn.base import _fit_context
from skorch.callbacks import Callback

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]  # replaces scikit-learn's
        """Replacement for scikit-learn's class, which does nothing."""

    def with_callbacks(method: Callable) -> Callable:
        """Return ``method`` unchanged."""
        return method


P = ParamSpec("P")
R = TypeVar("R")


def fit_method(method: Callable[P, R]) -> Callable[P, R]:
    """Decorate ``fit`` to validate the parameters and to close scikit-learn's callbacks; keep its type."""
    decorated: Callable[P, R] = with_callbacks(_fit_context(prefer_skip_nested_validation=True)(method))
    return decorated


class CallbackEvents(Callback):
    """Sends the events of a fit to the scikit-learn callbacks of an estimator, as a skorch callback of its net.

    ``epoch_callbacks`` contains this object if the estimator has callbacks. ``fitted_attributes`` is a function of the
    net.
    """

    def __init__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        sample_weight: Any,
        max_epochs: int,
        fitted_attributes: Callable[[Any], dict[str, Any]],
    ) -> None:
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._arguments = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._fitted_attributes = fitted_attributes
        self._fit: Any = None
        self.epoch_callbacks: list[Callback] = [self] if getattr(estimator, "_skl_callbacks", []) else []
        if hasattr(estimator, "_init_callback_context"):
            self._fit = estimator._init_callback_context(max_subtasks=max_epochs)
            self._fit.call_on_fit_task_begin(**self._arguments)

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Send the event that an epoch begins."""
        self._epoch = self._fit.subcontext(task_name="epoch")
        self._epoch.call_on_fit_task_begin(**self._arguments)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Send the event that an epoch has ended, and stop the training if a callback requests it."""
        if self._end(self._epoch, net.snapshot):
            net.stop_training_ = True

    def close(self, net: Any) -> None:
        """Send the event that the fit has ended with ``net``."""
        if self._fit is not None:
            self._end(self._fit, lambda: net)

    def _end(self, context: Any, make_net: Callable[[], Any]) -> bool:
        attributes = {"reconstruction_attributes": lambda: self._fitted_attributes(make_net())}
        return bool(context.call_on_fit_task_end(**self._arguments, **attributes))
