"""Quick start: a table with categories and holes goes through a pipeline, cross-validation and a grid search.

scikit-learn's own network is fitted beside ours on the same folds. The table is made below and looks like what comes
out of a CSV file: put ``pandas.read_csv(...)`` in place of ``make_customers()`` to try it on your own.
"""

import time
import warnings

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from skreg import RegularizedMLPClassifier

CITIES = {"Berlin": 0.8, "Lagos": -0.8, "Lima": 0.5, "Oslo": -0.5, "Pune": 1.0, "Turin": -1.0}
PLANS = {"basic": 0.6, "plus": 0.0, "pro": -1.2}


def make_customers(n_rows: int = 1500, seed: int = 0) -> tuple[pd.DataFrame, pd.Series]:
    """Make a table of customers, with holes, and who of them left; a good part of that is chance."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "signed_up": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 2000, n_rows), unit="D"),
            "age": rng.integers(18, 80, n_rows),
            "income": rng.lognormal(10.3, 0.6, n_rows).round(-2),
            "visits": rng.poisson(6, n_rows).astype(float),
            "discount": rng.uniform(0, 0.5, n_rows).round(2),
            "city": rng.choice(list(CITIES), n_rows),
            "plan": rng.choice(list(PLANS), n_rows, p=[0.5, 0.3, 0.2]),
        }
    )
    wealth = np.log(table["income"] / 30_000)
    leaning = (
        1.2 * np.sin((table["age"] - 18) / 10)
        + 7.0 * wealth * (table["discount"] - 0.25)
        - 0.25 * (table["visits"] - 6)
        - 0.5 * (days_as_customer(table)["days"] > 1500)
        + table["city"].map(CITIES)
        + table["plan"].map(PLANS)
    )
    left = (leaning + rng.logistic(size=n_rows) > 0).astype(int)
    for column, share in {"income": 0.15, "visits": 0.05, "city": 0.10}.items():
        table.loc[rng.random(n_rows) < share, column] = None
    return table, left


def days_as_customer(table: pd.DataFrame) -> pd.DataFrame:
    """Replace the date by a number of days, which is what a network can use."""
    days = (pd.Timestamp("2026-01-01") - table["signed_up"]).dt.days
    return table.assign(days=days).drop(columns="signed_up")


def our_pipeline() -> Pipeline:
    """Categories, holes and scales are left to the network."""
    return Pipeline(
        [("days", FunctionTransformer(days_as_customer)), ("mlp", RegularizedMLPClassifier(random_state=0))]
    )


def their_pipeline() -> Pipeline:
    """scikit-learn's network wants the holes filled, the numbers scaled and the categories encoded."""
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    categories = OneHotEncoder(handle_unknown="ignore")
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (categories, make_column_selector(dtype_exclude="number")),
    )
    steps = [("days", FunctionTransformer(days_as_customer)), ("columns", columns)]
    return Pipeline([*steps, ("mlp", MLPClassifier(random_state=0))])


def main() -> None:
    """Print the table, the scores and the comparison."""
    started = time.perf_counter()
    table, left = make_customers()
    X, X_test, y, y_test = train_test_split(table, left, test_size=0.25, stratify=left, random_state=0)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    print(f"{len(table)} customers, {len(X)} to learn from and {len(X_test)} to test on; who leaves?\n")
    print(table.assign(left=left).head(), "\n")

    # scikit-learn's network warns when 200 epochs were not enough; the grid below has settings that need fewer.
    warnings.simplefilter("ignore", ConvergenceWarning)

    print("1. As they come: area under the ROC curve, 3-fold cross-validation (0.5 is chance)")
    for name, pipeline in {"skreg": our_pipeline(), "scikit-learn": their_pipeline()}.items():
        scores = cross_val_score(pipeline, X, y, cv=folds, scoring="roc_auc")
        print(f"   {name:<13} {scores.mean():.3f} +- {scores.std():.3f}   folds: {scores.round(3)}")

    print("\n2. Tuned by GridSearchCV on the same folds")
    our_grid = [
        {"mlp__alpha": [0.0, 0.003], "mlp__dropout": [0.1, 0.3]},
        {"mlp__batch_norm": [False, True], "mlp__init": ["he_normal", "orthogonal"], "mlp__patience": [10]},
    ]
    their_grid = {"mlp__alpha": [0.0001, 0.01, 0.1, 1.0], "mlp__early_stopping": [False, True]}
    tuned = {}
    for name, pipeline, grid in [("skreg", our_pipeline(), our_grid), ("scikit-learn", their_pipeline(), their_grid)]:
        search = GridSearchCV(pipeline, grid, cv=folds, scoring="roc_auc").fit(X, y)
        tuned[name] = search.best_estimator_
        spread = search.cv_results_["std_test_score"][search.best_index_]
        settings = ", ".join(f"{key.removeprefix('mlp__')}={value!r}" for key, value in search.best_params_.items())
        print(f"   {name:<13} {search.best_score_:.3f} +- {spread:.3f}   {settings}")

    print("\n3. The tuned pipelines on the test rows, which nothing above has seen")
    for name, pipeline in tuned.items():
        auc = roc_auc_score(y_test, pipeline.predict_proba(X_test)[:, 1])
        print(f"   {name:<13} area under the curve {auc:.3f}, accuracy {pipeline.score(X_test, y_test):.3f}")

    newcomer = X_test.iloc[[0]].assign(city="Quito", income=np.nan)
    probability = tuned["skreg"].predict_proba(newcomer)[0, 1]
    print(f"\nA customer from a city never seen before, income unknown, leaves with probability {probability:.2f}.")
    print(f"Done in {time.perf_counter() - started:.0f} seconds.")


if __name__ == "__main__":
    main()
