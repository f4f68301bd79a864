"""Values of the ``solver`` parameter and the optimizers that they select."""

from .adam import Adam, AdamW
from .base import FirstOrderOptimizer
from .lbfgs import Lbfgs
from .sgd import Sgd

SolverOptimizer = FirstOrderOptimizer | Lbfgs

SOLVERS: dict[str, type[SolverOptimizer]] = {"adam": Adam, "adamw": AdamW, "lbfgs": Lbfgs, "sgd": Sgd}


def solvers_with(capability: str) -> list[str]:
    """Return the names of the solvers whose optimizer has a capability; see ``Optimizer``."""
    return [name for name, optimizer in SOLVERS.items() if getattr(optimizer, capability)]
