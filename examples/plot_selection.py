"""
Which columns matter
====================

A group lasso over the columns, `feature_alpha`, lets go of a column as a whole: its weights become exactly zero. As it
grows, one column after another leaves.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import make_friedman1

from skreg import RegularizedMLPRegressor
from skreg.plots import FeatureSelectionDisplay, RegularizationPathDisplay

numbers, y = make_friedman1(600, n_features=12, noise=1.0, random_state=0)
names = [f"x{j}" for j in range(5)] + [f"noise{j}" for j in range(7)]
X = pd.DataFrame(numbers, columns=names)

# %%
# Friedman's first table: five columns tell something of the target, seven are noise. Those that are exactly zero are
# drawn as dropped. All of the noise is, and with it x2, which acts by its square around its mean alone: a column of
# little use looks like noise, and how many of those go is what the strength decides.
one = {"hidden_layer_sizes": (64,), "n_members": 1, "dropout": 0.0, "alpha": 0.01}
steady = {"batch_size": 256, "early_stopping": False, "max_iter": 100, "random_state": 0}
sparse = RegularizedMLPRegressor(feature_alpha=0.05, **one, **steady).fit(X, y)
FeatureSelectionDisplay.from_estimator(sparse)
print("dropped:", *X.columns[sparse.feature_importances_ == 0])
print(f"R2 on these rows {sparse.score(X, y):.3f}")

# %%
# How strong should it be? The path goes through a range, cross-validated with the same folds throughout: the scores
# with one standard deviation of the folds above, and the norm of each column's weights below. The four columns that
# weigh most where the score is best are named. It is best while x2 is in; from 0.01 on the network does without it, and
# from there to 0.1 the score hardly moves, with as good as nothing left of the noise.
path = RegularizationPathDisplay.from_estimator(
    RegularizedMLPRegressor(**one, **steady),
    X,
    y,
    param_name="feature_alpha",
    param_range=np.geomspace(0.001, 0.3, 6),
    cv=3,
)
print(f"best R2 {path.test_scores.mean(axis=1).max():.3f}")

# %%
# Without a hidden layer and with `l1_ratio=1` the estimator is the lasso, and this is its path.
linear = {"hidden_layer_sizes": (), "n_members": 1, "dropout": 0.0, "weight_decay": 0.0}
lasso = RegularizedMLPRegressor(l1_ratio=1.0, **linear, **steady)
strengths = np.geomspace(0.003, 1.0, 6)
RegularizationPathDisplay.from_estimator(lasso, X, y, param_range=strengths, cv=3, n_named=5)
plt.show()
