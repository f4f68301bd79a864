"""
Good and bad initial weights
============================

The initialization decides whether a network with eight hidden layers learns anything. This example shows the
activations of each layer and the gradients with respect to them, at the initial weights and after the fit.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split

from skreg import RegularizedMLPClassifier
from skreg.plots import ActivationDisplay, GradientDisplay

X, y = make_classification(1500, 20, n_informative=10, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
deep = {"hidden_layer_sizes": (64,) * 8, "activation": "tanh", "max_iter": 8}
one = {"n_members": 1, "random_state": 0}

# %%
# With Xavier initialization, the activations at the initial weights (left halves) have a similar spread in the first
# and in the last layer. During the fit some units saturate, that is, their activations approach the limits of tanh. The
# lower panel shows the share of these units.
xavier = RegularizedMLPClassifier(init="xavier_normal", **deep, **one).fit(X_train, y_train)
ActivationDisplay.from_estimator(xavier, X_test)
print(f"accuracy {xavier.score(X_test, y_test):.3f}")

# %%
# Initial weights with a standard deviation of 0.01 make the activations shrink from layer to layer, until they are
# almost the same for every row.
small = RegularizedMLPClassifier(init="normal", **deep, **one).fit(X_train, y_train)
ActivationDisplay.from_estimator(small, X_test)
print(f"accuracy {small.score(X_test, y_test):.3f}")

# %%
# The gradients vanish, too. With small initial weights (right), they are smaller by about a factor of ten in each layer
# than in the layer above it, so that the first layers hardly learn. With Xavier initialization (left), they are not.
grid = {"sharey": "row", "height_ratios": (3, 1), "layout": "constrained"}
figure, axes = plt.subplots(2, 2, figsize=(8, 4), **grid)
GradientDisplay.from_estimator(xavier, X_test, y_test, ax=axes[:, 0])
GradientDisplay.from_estimator(small, X_test, y_test, ax=axes[:, 1])
plt.show()
