"""The interface of all losses."""

import sys
from abc import ABC, abstractmethod
from typing import ClassVar, Self

from torch import Tensor


class Loss(ABC):
    """Weighted sum of row losses. The losses of several outputs are added, so that each trains independently.

    Attributes
    ----------
    name : str
        Value of the estimator's ``loss`` parameter.
    log_link : bool
        Whether the raw output is the logarithm of the prediction.
    """

    name: ClassVar[str]
    log_link: ClassVar[bool] = False

    @classmethod
    def registered(cls) -> "dict[str, type[Self]]":
        """Return the subclasses that the ``__all__`` of this class's file lists, by name."""
        file = sys.modules[cls.__module__]
        losses = [getattr(file, name) for name in file.__all__]
        return {loss.name: loss for loss in losses if issubclass(loss, cls)}

    @abstractmethod
    def __call__(self, raw: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return the loss of each member.

        Parameters
        ----------
        raw : Tensor of shape (members, rows, outputs)
            Raw output.
        target : Tensor of shape (members, rows, ...)
            Encoded target.
        weight : Tensor of shape (members, rows)
            Weight of each row. With weights that sum to 1 the result is the mean loss.

        Returns
        -------
        Tensor of shape (members,)
        """

    def in_training(self, raw: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return the loss that training minimizes, if it differs from the one in validation."""
        return self(raw, target, weight)
