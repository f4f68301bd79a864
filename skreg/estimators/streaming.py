"""Helpers of ``partial_fit``: when it is available, its classes, and its device configuration."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call

from .._utils.device import DeviceConfig
from ..training.optimizers.registry import solvers_with
from .sklearn_callbacks import Method, fit_method


def partial_fit_method(method: Method) -> Method:
    """Decorate ``partial_fit`` as ``fit`` is decorated; it exists only if the parameters support it. Keep its type."""
    available: Method = available_if(supports_partial_fit)(fit_method(method))
    return available


def supports_partial_fit(estimator: Any) -> bool:
    """Return whether the parameters allow ``partial_fit``; raise an ``AttributeError`` with the reason if not."""
    if estimator.solver in solvers_with("full_batch"):
        raise AttributeError(f"solver={estimator.solver!r} requires all rows at once. Use another solver.")
    if estimator.swa_start is not None:
        raise AttributeError("swa_start requires a known number of epochs. Set swa_start=None.")
    return True


def stream_device_config(estimator: Any, n_rows: int) -> DeviceConfig:
    """Return the device, precision and batch size; "auto" is resolved in the first call (precision: float32)."""
    if hasattr(estimator, "net_"):
        known = estimator.net_.batch_size, estimator.net_.module_.inputs.dtype
    else:
        known = DeviceConfig.from_estimator(estimator, n_rows).batch_size, torch.float32
    return DeviceConfig.from_estimator(estimator, n_rows, known)


def check_classes(class_weight: Any, classes: Any, known: np.ndarray | None) -> np.ndarray:
    """Return all classes of a stream; after the first call, these are the ``known`` ones."""
    if isinstance(class_weight, str):
        raise ValueError(
            f"class_weight={class_weight!r} is not supported for partial_fit, because the class frequencies of the "
            "stream are unknown. Use compute_class_weight('balanced', classes=classes, y=y) on a large enough sample, "
            "and pass the weights as a dict."
        )
    stream = SimpleNamespace(classes_=known)
    _check_partial_fit_first_call(stream, classes)
    found: np.ndarray = stream.classes_
    return found
