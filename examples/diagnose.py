"""Diagnose a badly configured network, and apply remedies until no certain problem is left.

Each round prints the diagnosis, sets the parameters of the first finding's remedy, and fits again.
"""

import warnings

from sklearn.datasets import make_friedman1
from sklearn.model_selection import train_test_split

from skreg import RegularizedMLPRegressor, diagnose

MAX_ROUNDS = 4


def main() -> None:
    X, y = make_friedman1(2_800, 10, noise=1.0, random_state=0)
    X = X * [1, 1, 1, 1, 1, 1000, 1000, 1000, 0.01, 0.01]  # columns in different units
    X, X_test, y, y_test = train_test_split(X, y, train_size=800, random_state=0)
    network = RegularizedMLPRegressor((32, 32), numeric_scaling=None, max_iter=20, n_members=2, random_state=0)
    warnings.simplefilter("ignore")  # fits with problems warn
    for n_remedies in range(MAX_ROUNDS):
        network.fit(X, y)
        print(f"\nafter {n_remedies} remedies: R2 {network.score(X_test, y_test):.3f} on {len(X_test)} test rows\n")
        diagnosis = diagnose(network, X, y)
        print(diagnosis)
        if not any(finding.is_certain for finding in diagnosis):
            break
        network.set_params(**diagnosis.findings[0].remedy)


if __name__ == "__main__":
    main()
