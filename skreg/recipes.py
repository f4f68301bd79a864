"""Recipes: combinations of parameters, for example ``RegularizedMLPClassifier(**recipes.textbook)``.

Each recipe is a starting point from the literature, not a tuned optimum; the user guide compares them with the
defaults. Recipes are read-only: create a modified copy with ``{**recipes.textbook, "dropout": 0.4}``.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["self_normalizing", "sparse", "textbook", "wide_and_regularized"]

#: Shared by all recipes: the same learning rate for all weights, a simple schedule, and none of the defaults that are
#: specific to tables.
_PLAIN: dict[str, Any] = {
    "parametrization": "standard",
    "init": "auto",
    "scale_layer": False,
    "residual": False,
    "numeric_embedding": None,
    "learning_rate": "cosine",
    "max_iter": 100,
    "patience": 20,
}

#: The network recommended by textbooks: a single network of rectified linear units with He initialization, batch
#: normalization, dropout, a small L2 penalty, Nesterov momentum and one cycle of the learning rate [Goodfellow, Bengio
#: & Courville 2016, chapters 7 and 8; Géron 2022, table 11-3].
textbook: Mapping[str, Any] = MappingProxyType(
    {
        **_PLAIN,
        "hidden_layer_sizes": (128, 128, 128),
        "activation": "relu",
        "init": "he_normal",
        "batch_norm": True,
        "dropout": 0.2,
        "alpha": 1e-4,
        "weight_decay": 0.0,
        "solver": "sgd",
        "learning_rate": "one_cycle",
        "learning_rate_init": 0.1,
        "numeric_scaling": "standard",
        "n_members": 1,
    }
)

#: A deep network without normalization layers: selu preserves mean 0 and variance 1 through the layers, with LeCun
#: initialization, alpha dropout and standardized numbers [Klambauer et al. 2017; Géron 2022, table 11-4].
self_normalizing: Mapping[str, Any] = MappingProxyType(
    {
        **_PLAIN,
        "hidden_layer_sizes": (128,) * 4,
        "activation": "selu",
        "init": "lecun_normal",
        "dropout": 0.05,
        "alpha": 1e-5,
        "weight_decay": 0.01,
        "learning_rate_init": 0.001,
        "numeric_scaling": "standard",
        "n_members": 1,
    }
)

#: A sparse network: an L1 penalty on the weights and a group lasso on the columns, both with exact zeros [Tibshirani
#: 1996; Feng & Simon 2017, "Sparse-input neural networks"]. Increase ``feature_alpha`` to 0.05 or 0.1 if most columns
#: are noise.
sparse: Mapping[str, Any] = MappingProxyType(
    {
        **_PLAIN,
        "hidden_layer_sizes": (128, 128),
        "feature_alpha": 0.01,
        "alpha": 3e-4,
        "l1_ratio": 1.0,
        "dropout": 0.0,
        "weight_decay": 0.0,
        "learning_rate_init": 0.01,
        "n_members": 1,
    }
)

#: A wide network with several regularizers [Kadra et al. 2021, "Well-tuned simple nets excel on tabular datasets"]:
#: dropout with a max-norm constraint [Srivastava et al. 2014, section 5.1], batch normalization, weight decay, and a
#: moving average of the weights.
wide_and_regularized: Mapping[str, Any] = MappingProxyType(
    {
        **_PLAIN,
        "hidden_layer_sizes": (512, 512),
        "batch_norm": True,
        "dropout": 0.4,
        "alpha": 1e-5,
        "max_norm": 4.0,
        "weight_decay": 0.05,
        "ema_decay": 0.99,
        "learning_rate_init": 0.003,
        "n_members": 1,
    }
)
