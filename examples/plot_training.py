"""
Training curves of a network that overfits
==========================================

This example fits a wide network without regularization to a table in which a fifth of the labels are random. The
training loss keeps decreasing, because the network learns the random labels after the best epoch.
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
# The network overfits in the shaded epochs: the training loss still decreases, and the validation loss increases by
# more than its noise. Each of the four members has its own validation rows and stops by itself. The triangles mark the
# epochs whose weights are kept. Early stopping restores these weights, so the epochs after them cost only time.
wide = {"hidden_layer_sizes": (256, 256), "learning_rate_init": 0.003, "random_state": 0}
unregularized = RegularizedMLPClassifier(dropout=0.0, weight_decay=0.0, **wide)
unregularized.fit(X_train, y_train)
TrainingCurveDisplay.from_estimator(unregularized)
print(f"log loss {log_loss(y_test, unregularized.predict_proba(X_test)):.3f}")

# %%
# Dropout, augmentation and weight decay keep the two curves close to each other for longer. Two displays can share a
# figure: `ax` splits a single Axes into the panels of a display.
regularization = {"dropout": 0.5, "augmentation": "cutmix", "weight_decay": 0.3}
regularized = RegularizedMLPClassifier(**regularization, **wide).fit(X_train, y_train)
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 4), layout="constrained")
TrainingCurveDisplay.from_estimator(unregularized, ax=left).ax_.set_ylabel("Loss without regularization")
TrainingCurveDisplay.from_estimator(regularized, ax=right).ax_.set_ylabel("Loss with regularization")
print(f"log loss {log_loss(y_test, regularized.predict_proba(X_test)):.3f}")

# %%
# A score that is used for early stopping is drawn in a separate panel.
scored = RegularizedMLPClassifier(monitor="roc_auc", random_state=0).fit(X_train, y_train)
TrainingCurveDisplay.from_estimator(scored)
plt.show()
