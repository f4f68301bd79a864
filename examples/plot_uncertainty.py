"""
Does it know what it does not know?
===================================

A probability of 0.8 should come true in 80 of 100 rows, and an interval of 90 % should hold nine rows of ten. Look at
it on rows that the network was not fitted on.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_classification, make_friedman1
from sklearn.model_selection import train_test_split

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.plots import UncertaintyDisplay

X, y = make_classification(4000, 20, n_informative=6, flip_y=0.2, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, train_size=1000, random_state=0)

# %%
# A network that is fitted to the last epoch is far too sure of itself: what it calls certain is wrong in a fifth of the
# rows, and its entropy is hardly a warning: of half of the rows that it predicts wrong it has no doubt. The bars are
# 95 % intervals from the number of rows.
bare = {"n_members": 1, "dropout": 0.0, "early_stopping": False, "random_state": 0}
overfitted = RegularizedMLPClassifier((256, 256), **bare).fit(X_train, y_train)
UncertaintyDisplay.from_estimator(overfitted, X_test, y_test)
print(f"accuracy {overfitted.score(X_test, y_test):.3f}")

# %%
# Early stopping, dropout and four members instead of one: the probabilities come true, and the rows predicted wrong are
# those of which it is unsure.
regularised = RegularizedMLPClassifier(random_state=0).fit(X_train, y_train)
UncertaintyDisplay.from_estimator(regularised, X_test, y_test)
print(f"accuracy {regularised.score(X_test, y_test):.3f}")

# %%
# With samples of the probabilities, here of members thinned by dropout, there is a third picture: what the samples
# disagree on. Entropy may be noise of the table; disagreement is what the network itself has not learned.
samples = regularised.sample_predictions(X_test, n_samples=40)
UncertaintyDisplay.from_predictions(y_test, samples)

# %%
# Of numbers it is intervals. How many rows they hold is one thing, and how wide they are for it the other.
X, y = make_friedman1(3000, noise=2.0, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
regressor = RegularizedMLPRegressor(max_iter=40, random_state=0).fit(X_train, y_train)
display = UncertaintyDisplay.from_estimator(regressor, X_test, y_test)
print(f"the intervals of 90 % hold {display.coverage[-1]:.3f} of the rows")
plt.show()
