"""Inspection of a fitted estimator: weights, biases, feature importances, and the values chosen for "auto"."""

from typing import Any

import numpy as np

from .._utils.torch_settings import torch_settings
from ..data.table import TableEncoder
from ..training.early_stopping import LossMonitor
from ..training.net import Net


class InspectionMixin:
    """Fitted attributes that are computed from the network."""

    net_: Net
    encoder_: TableEncoder
    n_features_in_: int
    loss_curve_: np.ndarray
    n_threads: int | None

    @property
    def chosen_(self) -> dict[str, Any]:
        """Values used for the parameters that can be "auto"."""
        net = self._fitted_net("chosen_")
        module = net.module_
        matmul_dtype = module.linears[0].matmul_dtype or module.inputs.dtype
        chosen = {
            "batch_size": net.batch_size,
            "device": net.device,
            "early_stopping": net.patience is not None,
            "numeric_embedding": None if module.numeric is None else module.numeric.name,
            "precision": str(matmul_dtype).removeprefix("torch."),
            "residual": any(module.has_skip),
            "scale_layer": module.scale is not None,
        }
        if hasattr(net.criterion_, "label_smoothing"):
            chosen["label_smoothing"] = net.criterion_.label_smoothing
            chosen["calibrate"] = None if net.temperature == 1 else "temperature"
        return chosen

    @property
    def loss_(self) -> float:
        """Training loss of the last epoch."""
        self._fitted_net("loss_")
        return float(self.loss_curve_[-1])

    @property
    def best_loss_(self) -> float | None:
        """Smallest training loss of an epoch; None with early stopping, as in scikit-learn."""
        net = self._fitted_net("best_loss_")
        return None if net.patience is not None else float(np.nanmin(self.loss_curve_))

    @property
    def best_validation_score_(self) -> float | None:
        """Best validation score of each member, averaged over the members; None without early stopping."""
        net = self._fitted_net("best_validation_score_")
        if net.validation_name_ is None:
            return None
        best = float(net.stopping_.best.mean())
        return -best if net.validation_name_ == LossMonitor.name else best

    @property
    def coefs_(self) -> list[np.ndarray]:
        """Weights ``(fan_in, fan_out)`` of each layer, for a single member."""
        return [weight for weight, _ in self._effective_layers("coefs_")]

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """Biases ``(fan_out,)`` of each layer, for a single member."""
        return [bias for _, bias in self._effective_layers("intercepts_")]

    @property
    def feature_importances_(self) -> np.ndarray:
        """Norms ``(n_features_in_,)`` of each column's weights in the first layer, normalized to a sum of 1."""
        self._fitted_net("feature_importances_")
        norms = feature_norms(self)
        total = norms.sum()
        return norms / total if total else norms

    def _fitted_net(self, name: str) -> Net:
        if not hasattr(self, "net_"):
            raise AttributeError(f"{name} is only available after fit.")
        return self.net_

    def _effective_layers(self, name: str) -> list[tuple[np.ndarray, np.ndarray]]:
        net = self._fitted_net(name)
        if (members := net.module_.n_members) > 1:
            raise AttributeError(f"{name} is only available with n_members=1; this estimator has {members} members.")
        with torch_settings(self.n_threads):
            layers = net.module_.effective_layers(net.criterion_.log_link)
        weight, bias = layers[-1]
        layers[-1] = weight / net.temperature, bias / net.temperature
        dtype = self.encoder_.dtype_
        return [(weight.astype(dtype), bias.astype(dtype)) for weight, bias in layers]


def feature_norms(estimator: InspectionMixin) -> np.ndarray:
    """Return the norms ``(n_features_in_,)`` of each column's weights in the first layer, averaged over the members."""
    module, encoder = estimator.net_.module_, estimator.encoder_
    categories = np.array(encoder.categorical_, dtype=int)
    encoded = [categories[kind.cpu().numpy()] for kind in (module.inputs.one_hot, module.inputs.embedded)]
    norms = np.zeros(estimator.n_features_in_)
    with torch_settings(estimator.n_threads):
        norms[np.concatenate([np.array(encoder.numeric_, dtype=int), *encoded])] = module.feature_norms().mean(0)
    return norms


def fitted_attributes(net: Net) -> dict[str, Any]:
    """Return the fitted attributes that describe the training."""
    validation = net.history[:, net.validation_name_] if net.validation_name_ else None
    return {
        "net_": net,
        "n_iter_": net.epoch_,
        "best_iter_": round(net.stopping_.best_epoch.double().mean().item()),
        "loss_curve_": np.array(net.history[:, "train_loss"]),
        "validation_curve_": None if validation is None else np.array(validation),
    }
