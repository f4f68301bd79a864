"""A net of skorch that is not an estimator, and that can be pickled with functions of the user."""

import copy
from typing import Any, Self

from skorch import NeuralNet

UNAVAILABLE = (
    "check_data",
    "evaluation_step",
    "fit",
    "fit_loop",
    "forward",
    "forward_iter",
    "get_dataset",
    "get_iterator",
    "get_loss",
    "get_split_datasets",
    "infer",
    "load_params",
    "partial_fit",
    "predict",
    "predict_proba",
    "run_single_epoch",
    "score",
    "set_params",
    "train_step",
    "train_step_single",
    "trim_for_prediction",
    "validation_step",
)
"""Methods of skorch's nets that a net does not have, because only the estimator can encode rows and decode outputs."""


def _unavailable(name: str) -> property:
    def refuse(_net: "SkorchNet") -> None:
        raise AttributeError(
            f"net_ has no method {name}, because it only receives encoded rows. Use the methods of the estimator, or "
            "apply net_.module_ to the tensors of net_.module_.prepare."
        )

    return property(refuse)


class SkorchNet(NeuralNet):
    """A net with the callbacks, history and devices of skorch, but without the methods in ``UNAVAILABLE``."""

    module_: Any

    def __sklearn_clone__(self) -> Self:
        raise TypeError("net_ cannot be cloned, because it belongs to a fit. Clone the estimator instead.")

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for pickling, with the functions of the network apart from its tensors.

        skorch pickles the module separately and with the standard pickler, which refuses lambdas and functions that are
        defined in ``__main__`` of a worker. The pickler of the estimator may be cloudpickle or that of joblib.
        """
        if not hasattr(self, "module_"):
            return dict(super().__getstate__())
        module, copied = copy.copy(self.module_), object.__new__(type(self))
        functions = {name: module.__dict__.pop(name) for name in ("activation", "config")}
        copied.__dict__.update(vars(self), module_=module)
        return {**super(SkorchNet, copied).__getstate__(), "_functions": functions}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = state.copy()
        functions = state.pop("_functions", {})
        super().__setstate__(state)
        if functions:
            self.module_.__dict__.update(functions)


for _name in UNAVAILABLE:
    setattr(SkorchNet, _name, _unavailable(_name))
