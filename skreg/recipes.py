"""A recipe is a dictionary of parameters that belong together: ``RegularizedMLPClassifier(**recipes.textbook)``.

Each is a starting point with a reason, not a tuned optimum; the guide says how they compare with the defaults. They are
read-only; a changed copy is ``{**recipes.textbook, "dropout": 0.4}``.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["self_normalizing", "sparse", "textbook", "wide_and_regularized"]

#: What the literature's networks have besides: one learning rate for all weights, a plain decay of it, and nothing of
#: what the defaults bring along for tables.
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

#: The network of the textbooks: one net of rectified linear units with He's initialization, batch norm, dropout,
#: a small L2 penalty, Nesterov momentum and one cycle of the learning rate [Goodfellow, Bengio & Courville 2016,
#: chapters 7 and 8; Géron 2022, table 11-3].
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

#: A deep net that needs no norm: selu keeps mean 0 and variance 1 through the layers if weights are LeCun's, dropout
#: is alpha dropout and the numbers are standardized [Klambauer et al. 2017; Géron 2022, table 11-4].
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

#: Few weights: an L1 penalty, and a group lasso that lets go of columns which carry nothing, both with exact zeros
#: [Tibshirani 1996; Feng & Simon 2017, "Sparse-input neural networks"]. For a table of mostly noise raise its
#: ``feature_alpha`` to 0.05 or 0.1.
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

#: More units than the table needs, held by several cures at once [Kadra et al. 2021, "Well-tuned simple nets excel on
#: tabular datasets"]: dropout under a max-norm [Srivastava et al. 2014, section 5.1], batch norm, weight decay, and a
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
