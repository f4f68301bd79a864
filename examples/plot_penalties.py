"""
L1 and L2 penalties
===================

Both penalties shrink the weights. An L2 penalty makes all weights small. An L1 penalty sets many of them to exactly
zero and shrinks the others less. `l1_ratio` combines the two penalties, as in `ElasticNet`.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from skreg import RegularizedMLPClassifier
from skreg.plots import WeightDisplay

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
base = {"hidden_layer_sizes": (64, 64), "alpha": 0.01, "random_state": 0}

# %%
# The upper panels show the distribution of the nonzero weights of each layer, and the lower panels show the share of
# zeros. All violins have the same width, whatever the number of nonzero weights.
grid = {"sharey": "row", "height_ratios": (3, 1), "layout": "constrained"}
figure, axes = plt.subplots(2, 2, figsize=(8, 4), **grid)
for column, (name, l1_ratio) in zip(axes.T, [("L2", 0.0), ("L1", 1.0)], strict=True):
    penalized = RegularizedMLPClassifier(l1_ratio=l1_ratio, **base).fit(X_train, y_train)
    WeightDisplay.from_estimator(penalized, ax=column).ax_.set_title(name)
    print(f"{name}: accuracy {penalized.score(X_test, y_test):.3f}")
plt.show()
