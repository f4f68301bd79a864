"""The interface of all losses."""

import sys
from abc import ABC, abstractmethod
from typing import ClassVar, Self

from torch import Tensor


class Loss(ABC):
    """Weighted sum of row losses. The losses of several outputs are added, so that each trains independently."""

    name: ClassVar[str]  # value of the ``loss`` parameter
    log_link: ClassVar[bool] = False  # whether the raw output is the logarithm of the prediction

    @classmethod
    def registered(cls) -> "dict[str, type[Self]]":
        """Return the losses of this class in the ``__all__`` of its file, by name. Call it on an abstract class."""
        file = sys.modules[cls.__module__]
        losses = [getattr(file, name) for name in file.__all__]
        return {loss.name: loss for loss in losses if issubclass(loss, cls)}

    @abstractmethod
    def __call__(self, raw: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return the loss of each member ``(members,)``; if the weights sum to 1, it is the mean loss.

        The raw output has the shape ``(members, rows, outputs)``, the encoded target ``(members, rows, ...)`` and the
        weight of the rows ``(members, rows)``.
        """

    def in_training(self, raw: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return the loss that training minimizes, if it differs from the one in validation."""
        return self(raw, target, weight)

    def state_dict(self) -> dict[str, Tensor]:
        """Return no tensors; skorch's ``save_params``, which some loggers call, also saves the state of the loss."""
        return {}
