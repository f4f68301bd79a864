"""
See a network overfit
=====================

A wide network without a cure, on a table where a fifth of the labels are wrong. Its training loss falls and falls; what
it has learned after the best epoch are the wrong labels.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_classification
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from skreg import RegularizedMLPClassifier
from skreg.plots import TrainingCurveDisplay

X, y = make_classification(3000, 20, n_informative=6, flip_y=0.2, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, train_size=600, random_state=0)

# %%
# The shaded epochs overfit: the training loss still falls, and the loss on held-out rows gets worse by more than its
# noise. Each of the four members holds out other rows, and is watched and stopped by itself: the triangles are the
# epochs whose weights they keep. What comes after costs time only, as early stopping goes back to them.
wide = {"hidden_layer_sizes": (256, 256), "learning_rate_init": 0.003, "random_state": 0}
uncured = RegularizedMLPClassifier(dropout=0.0, weight_decay=0.0, **wide)
uncured.fit(X_train, y_train)
TrainingCurveDisplay.from_estimator(uncured)
print(f"log loss {log_loss(y_test, uncured.predict_proba(X_test)):.3f}")

# %%
# Dropout, mixed rows and decay keep the two curves together for longer. Two pictures share a figure by `ax`:
# a single Axes is split into the curves and the learning rate.
cures = {"dropout": 0.5, "augmentation": "cutmix", "weight_decay": 0.3}
cured = RegularizedMLPClassifier(**cures, **wide).fit(X_train, y_train)
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 4), layout="constrained")
TrainingCurveDisplay.from_estimator(uncured, ax=left).ax_.set_ylabel("loss without a cure")
TrainingCurveDisplay.from_estimator(cured, ax=right).ax_.set_ylabel("loss with three")
print(f"log loss {log_loss(y_test, cured.predict_proba(X_test)):.3f}")

# %%
# Where `monitor` is a score and not the loss, it has a panel of its own.
watched = RegularizedMLPClassifier(monitor="roc_auc", random_state=0).fit(X_train, y_train)
TrainingCurveDisplay.from_estimator(watched)
plt.show()
