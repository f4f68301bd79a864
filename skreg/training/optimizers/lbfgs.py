"""L-BFGS minimises the loss of a single network over all rows, by line searches."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from .base import Group, Optimizer

SETTINGS: dict[str, Any] = {
    "max_iter": 1,
    "max_eval": 25,
    "history_size": 10,
    "line_search_fn": "strong_wolfe",
    # torch's own suit float32, and stop where the coefficients of a linear model are still 1e-4 off
    "tolerance_grad": 1e-9,
    "tolerance_change": 1e-14,
}


class Lbfgs(Optimizer):
    """torch's L-BFGS [Nocedal & Wright 2006, section 7.2], an iteration at a time.

    Each searches for a step length that meets the strong Wolfe conditions [section 3.5]. Ten iterations are
    remembered, as in scikit-learn.

    Parameters
    ----------
    groups
        See ``Optimizer``; of one member, without decay.
    """

    takes_learning_rate = supports_l1 = supports_members = False
    full_batch = True

    def __init__(self, groups: list[Group]) -> None:
        super().__init__(groups)
        # loads the compiler, which takes a second: only who asks for it shall wait
        from torch.optim import LBFGS

        self._torch = LBFGS(self.parameters, **SETTINGS)

    def search(self, objective: Callable[[], Tensor]) -> None:
        """One iteration; ``objective`` gives the value at the parameters, and leaves the gradients."""
        self._torch.step(lambda: objective().sum().item())
        step = self._torch.state[self.parameters[0]].get("t")
        if step is not None:
            self.param_groups[0]["lr"] = float(step)

    def state_dict(self) -> dict[str, Any]:
        """The history of directions and what the last iteration knew."""
        return self._torch.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self._torch.load_state_dict(state)
