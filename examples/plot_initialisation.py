"""
Good and bad initial weights
============================

Eight layers deep, the first values decide whether anything is learned. This is the textbook picture: the activations of
each layer, and the gradients that come back to it, at the initial weights and after the fit.
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
# With Xavier's initialisation the left halves, which are the initial weights, are about as tall in the last layer as in
# the first. Training pushes some units to the flat ends of tanh; their share is below.
xavier = RegularizedMLPClassifier(init="xavier_normal", **deep, **one).fit(X_train, y_train)
ActivationDisplay.from_estimator(xavier, X_test)
print(f"accuracy {xavier.score(X_test, y_test):.3f}")

# %%
# Weights of a hundredth shrink the values from layer to layer, until they are the same for every row.
small = RegularizedMLPClassifier(init="normal", **deep, **one).fit(X_train, y_train)
ActivationDisplay.from_estimator(small, X_test)
print(f"accuracy {small.score(X_test, y_test):.3f}")

# %%
# The gradients show it on their way back: with small weights they lose a decade with each layer, and the first ones
# hardly learn. On the left Xavier's, on the right the small ones.
grid = {"sharey": "row", "height_ratios": (3, 1), "layout": "constrained"}
figure, axes = plt.subplots(2, 2, figsize=(8, 4), **grid)
GradientDisplay.from_estimator(xavier, X_test, y_test, ax=axes[:, 0])
GradientDisplay.from_estimator(small, X_test, y_test, ax=axes[:, 1])
plt.show()
