"""
Reliability of probabilities and intervals
==========================================

Of the rows that are predicted with a probability of 0.8, about 80 % should belong to the class. An interval with a
coverage of 90 % should contain the target of nine in ten rows. This example checks both on held-out rows.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_classification, make_friedman1
from sklearn.model_selection import train_test_split

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.plots import UncertaintyDisplay

X, y = make_classification(4000, 20, n_informative=6, flip_y=0.2, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, train_size=1000, random_state=0)

# %%
# A network that is trained to the last epoch is overconfident. About a fifth of the predictions with a probability
# close to 1 are wrong, and the entropy is close to 0 for two thirds of the incorrect rows. The error bars are 95 %
# confidence intervals, which depend on the number of rows.
overfitting = {"n_members": 1, "dropout": 0.0, "early_stopping": False, "random_state": 0}
overfitted = RegularizedMLPClassifier((256, 256), **overfitting).fit(X_train, y_train)
UncertaintyDisplay.from_estimator(overfitted, X_test, y_test)
print(f"accuracy {overfitted.score(X_test, y_test):.3f}")

# %%
# With early stopping, dropout and four members, the probabilities are calibrated, and incorrect rows have a high
# entropy.
regularized = RegularizedMLPClassifier(random_state=0).fit(X_train, y_train)
UncertaintyDisplay.from_estimator(regularized, X_test, y_test)
print(f"accuracy {regularized.score(X_test, y_test):.3f}")

# %%
# Samples of the probabilities, here from members with Monte Carlo dropout, add a third panel, the mutual information.
# It measures how much the samples disagree. Entropy can be noise in the data, but the disagreement shows what the
# network has not learned.
samples = regularized.sample_predictions(X_test, n_samples=40)
UncertaintyDisplay.from_predictions(y_test, samples)

# %%
# For a regressor, the display shows the observed coverage of the prediction intervals and their mean width.
X, y = make_friedman1(3000, noise=2.0, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
regressor = RegularizedMLPRegressor(max_iter=40, random_state=0).fit(X_train, y_train)
display = UncertaintyDisplay.from_estimator(regressor, X_test, y_test)
print(f"observed coverage of the intervals of 90 %: {display.coverage[-1]:.3f}")
plt.show()
