"""An inspection is what a fitted estimator shows of its network: weights, biases, importances."""

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning


class Inspection:
    """The weights of a fitted estimator, in the user's units.

    Attributes
    ----------
    net_ : Net
        The trained net.
    encoder_ : TableEncoder
        Knows which columns became numbers, and which categories.
    n_features_in_ : int
        Columns of the table.
    feature_alpha : float
        Strength of the group lasso over the columns.
    """

    net_: Any
    encoder_: Any
    n_features_in_: int
    feature_alpha: float

    def _warn_if_no_column_is_left(self) -> None:
        """Say it where ``feature_alpha`` has let go of all columns, and every prediction is the same."""
        if self.feature_alpha and not self.feature_importances_.any():
            warnings.warn(
                f"feature_alpha={self.feature_alpha!r} has let go of every column, so that all rows are predicted "
                "alike. Lower it.",
                ConvergenceWarning,
                stacklevel=3,
            )

    @property
    def chosen_(self) -> dict[str, Any]:
        """What the parameters that may be "auto" were."""
        if not hasattr(self, "net_"):
            raise AttributeError("chosen_ is known after fit.")
        net, module = self.net_, self.net_.module_
        products = module.linears[0].matmul_dtype
        chosen = {
            "batch_size": net.batch_size,
            "device": net.device,
            "early_stopping": net.patience is not None,
            "numeric_embedding": None if module.numeric is None else module.numeric.name,
            "precision": str(module.inputs.dtype if products is None else products).removeprefix("torch."),
            "residual": any(module.has_skip),
            "scale_layer": module.scale is not None,
        }
        if hasattr(net.criterion_, "label_smoothing"):
            chosen["label_smoothing"] = net.criterion_.label_smoothing
            chosen["calibrate"] = None if net.temperature == 1 else "temperature"
        return chosen

    @property
    def coefs_(self) -> list[np.ndarray]:
        """Weights of each layer, ``(fan_in, fan_out)``, of a single member."""
        return [weight for weight, _ in self._effective_layers("coefs_")]

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """Bias of each layer, ``(fan_out,)``, of a single member."""
        return [bias for _, bias in self._effective_layers("intercepts_")]

    @property
    def feature_importances_(self) -> np.ndarray:
        """Share of each column of X in the norms of the first layer's weights, ``(n_features_in_,)``."""
        if not hasattr(self, "net_"):
            raise AttributeError("feature_importances_ is known after fit.")
        norms = self._feature_norms()
        total = norms.sum()
        return norms / total if total else norms

    def _feature_norms(self) -> np.ndarray:
        """Norm of each column's weights in the first layer, the members' mean, ``(n_features_in_,)``."""
        module, encoder = self.net_.module_, self.encoder_
        categories = np.array(encoder.categorical_, dtype=int)
        encoded = [categories[kind.cpu().numpy()] for kind in (module.inputs.one_hot, module.inputs.embedded)]
        norms = np.zeros(self.n_features_in_)
        norms[np.concatenate([np.array(encoder.numeric_, dtype=int), *encoded])] = module.feature_norms().mean(0)
        return norms

    def _effective_layers(self, name: str) -> list[tuple[np.ndarray, np.ndarray]]:
        if not hasattr(self, "net_"):
            raise AttributeError(f"{name} is known after fit.")
        if (members := self.net_.module_.n_members) > 1:
            raise AttributeError(f"{name} is known for a single member; this estimator has {members}.")
        layers = self.net_.module_.effective_layers(self.net_.criterion_.log_link)
        layers[-1] = tuple(part / self.net_.temperature for part in layers[-1])
        return layers
