"""L-BFGS, which minimizes the loss of a single network over all rows with line searches."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from .base import Optimizer, ParameterGroup

SETTINGS: dict[str, Any] = {"max_iter": 1, "max_eval": 25, "history_size": 10, "line_search_fn": "strong_wolfe"}
# torch's default tolerances suit float32 and leave errors of 1e-4 in the coefficients of a linear model
SETTINGS |= {"tolerance_grad": 1e-9, "tolerance_change": 1e-14}


class Lbfgs(Optimizer):
    """torch's L-BFGS [Nocedal & Wright 2006, section 7.2], one iteration per step.

    Each iteration searches for a step length that satisfies the strong Wolfe conditions [section 3.5]. The history
    contains ten iterations, as in scikit-learn.
    """

    takes_learning_rate = supports_l1 = supports_members = False
    full_batch = True

    def __init__(self, groups: list[ParameterGroup]) -> None:
        super().__init__(groups)
        # torch.optim imports the compiler, which takes about a second
        from torch.optim import LBFGS

        self._torch = LBFGS(self.parameters, **SETTINGS)

    def search(self, objective: Callable[[], Tensor]) -> None:
        """Make one iteration; ``objective`` returns the value at the parameters and computes the gradients."""
        self._torch.step(lambda: objective().sum().item())  # type: ignore[no-untyped-call]  # torch has no types here
        step = self._torch.state[self.parameters[0]].get("t")
        if step is not None:
            self.param_groups[0]["lr"] = float(step)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of torch's optimizer."""
        return self._torch.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of ``state_dict``."""
        self._torch.load_state_dict(state)
