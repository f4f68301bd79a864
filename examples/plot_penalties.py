"""
L1 against L2
=============

Both penalties make weights small. L2 makes all of them small; L1 makes most of them exactly zero and leaves the others
alone. `l1_ratio` goes from the one to the other, as in `ElasticNet`.
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
# Above are the weights that are not zero, layer by layer, below the share of those that are. Each violin is as wide as
# the others, whatever number of weights it shows.
grid = {"sharey": "row", "height_ratios": (3, 1), "layout": "constrained"}
figure, axes = plt.subplots(2, 2, figsize=(8, 4), **grid)
for column, (name, l1_ratio) in zip(axes.T, [("L2", 0.0), ("L1", 1.0)], strict=True):
    penalised = RegularizedMLPClassifier(l1_ratio=l1_ratio, **base).fit(X_train, y_train)
    WeightDisplay.from_estimator(penalised, ax=column).ax_.set_title(name)
    print(f"{name}: accuracy {penalised.score(X_test, y_test):.3f}")
plt.show()
