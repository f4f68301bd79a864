"""
Feature selection with a group lasso
====================================

`feature_alpha` is a group lasso on the columns. It sets all weights of a column to exactly zero. The larger it is, the
fewer columns remain.
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
# In Friedman's first dataset, the target depends on five columns, and the other seven are noise. Columns whose weights
# are exactly zero are marked as dropped. These are all noise columns and also x2, whose effect is the square of its
# distance from the mean. A column with a small effect looks like noise, and `feature_alpha` determines how many of them
# are dropped.
one = {"hidden_layer_sizes": (64,), "n_members": 1, "dropout": 0.0, "alpha": 0.01}
fixed = {"batch_size": 256, "early_stopping": False, "max_iter": 100, "random_state": 0}
sparse = RegularizedMLPRegressor(feature_alpha=0.05, **one, **fixed).fit(X, y)
FeatureSelectionDisplay.from_estimator(sparse)
print("dropped:", *X.columns[sparse.feature_importances_ == 0])
print(f"R2 on the training rows {sparse.score(X, y):.3f}")

# %%
# A regularization path helps to choose the value. All values are cross-validated on the same folds. The upper panel
# shows the scores with a band of one standard deviation over the folds, and the lower panel shows the norm of each
# column's weights. The legend names the four columns with the largest norms at the best score. The score is best while
# x2 is in use. From 0.01 on the network does not use x2, and up to 0.1 the score hardly changes while almost no noise
# column is left.
path = RegularizationPathDisplay.from_estimator(
    RegularizedMLPRegressor(**one, **fixed),
    X,
    y,
    param_name="feature_alpha",
    param_range=np.geomspace(0.001, 0.3, 6),
    cv=3,
)
print(f"best R2 {path.test_scores.mean(axis=1).max():.3f}")

# %%
# Without a hidden layer and with `l1_ratio=1`, the estimator is the lasso, and this is its path.
linear = {"hidden_layer_sizes": (), "n_members": 1, "dropout": 0.0, "weight_decay": 0.0}
lasso = RegularizedMLPRegressor(l1_ratio=1.0, **linear, **fixed)
alphas = np.geomspace(0.003, 1.0, 6)
RegularizationPathDisplay.from_estimator(lasso, X, y, param_range=alphas, cv=3, n_named=5)
plt.show()
