"""Quick start: cross-validate and tune a pipeline on a table with categories, dates and missing values.

The example compares skreg with scikit-learn's network on the same folds. The table is generated and resembles a CSV
file: replace ``make_customers()`` with ``pandas.read_csv(...)`` to use your own data.
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
    """Make a table of customers with missing values, and the labels of those who left, which are partly random."""
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
    log_income = np.log(table["income"] / 30_000)
    logit = (
        1.2 * np.sin((table["age"] - 18) / 10)
        + 7.0 * log_income * (table["discount"] - 0.25)
        - 0.25 * (table["visits"] - 6)
        - 0.5 * (days_as_customer(table)["days"] > 1500)
        + table["city"].map(CITIES)
        + table["plan"].map(PLANS)
    )
    left = (logit + rng.logistic(size=n_rows) > 0).astype(int)
    for column, share in {"income": 0.15, "visits": 0.05, "city": 0.10}.items():
        table.loc[rng.random(n_rows) < share, column] = None
    return table, left


def days_as_customer(table: pd.DataFrame) -> pd.DataFrame:
    """Replace the date, which a network cannot use, by a number of days."""
    days = (pd.Timestamp("2026-01-01") - table["signed_up"]).dt.days
    return table.assign(days=days).drop(columns="signed_up")


def skreg_pipeline() -> Pipeline:
    """Return a pipeline in which the network encodes categories, imputes missing values and scales numbers."""
    return Pipeline(
        [("days", FunctionTransformer(days_as_customer)), ("mlp", RegularizedMLPClassifier(random_state=0))]
    )


def sklearn_pipeline() -> Pipeline:
    """Return a pipeline of scikit-learn, with imputation, scaling and one-hot encoding before the network."""
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    categories = OneHotEncoder(handle_unknown="ignore")
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (categories, make_column_selector(dtype_exclude="number")),
    )
    steps = [("days", FunctionTransformer(days_as_customer)), ("columns", columns)]
    return Pipeline([*steps, ("mlp", MLPClassifier(random_state=0))])


def main() -> None:
    """Print the table and the scores of both pipelines."""
    started = time.perf_counter()
    table, left = make_customers()
    X, X_test, y, y_test = train_test_split(table, left, test_size=0.25, stratify=left, random_state=0)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    print(f"Predict which of {len(table)} customers leave, with {len(X)} training rows and {len(X_test)} test rows.\n")
    print(table.assign(left=left).head(), "\n")

    # scikit-learn's network warns if it has not converged after 200 epochs.
    warnings.simplefilter("ignore", ConvergenceWarning)

    print("1. Default parameters: area under the ROC curve, 3-fold cross-validation (chance level is 0.5)")
    for name, pipeline in {"skreg": skreg_pipeline(), "scikit-learn": sklearn_pipeline()}.items():
        scores = cross_val_score(pipeline, X, y, cv=folds, scoring="roc_auc")
        print(f"   {name:<13} {scores.mean():.3f} +- {scores.std():.3f}   folds: {scores.round(3)}")

    print("\n2. Tuned with GridSearchCV on the same folds")
    skreg_grid = [
        {"mlp__alpha": [0.0, 0.003], "mlp__dropout": [0.1, 0.3]},
        {"mlp__batch_norm": [False, True], "mlp__init": ["he_normal", "orthogonal"], "mlp__patience": [10]},
    ]
    sklearn_grid = {"mlp__alpha": [0.0001, 0.01, 0.1, 1.0], "mlp__early_stopping": [False, True]}
    tuned = {}
    for name, pipeline, grid in [
        ("skreg", skreg_pipeline(), skreg_grid),
        ("scikit-learn", sklearn_pipeline(), sklearn_grid),
    ]:
        search = GridSearchCV(pipeline, grid, cv=folds, scoring="roc_auc").fit(X, y)
        tuned[name] = search.best_estimator_
        std = search.cv_results_["std_test_score"][search.best_index_]
        parameters = ", ".join(f"{key.removeprefix('mlp__')}={value!r}" for key, value in search.best_params_.items())
        print(f"   {name:<13} {search.best_score_:.3f} +- {std:.3f}   {parameters}")

    print("\n3. The tuned pipelines on the test rows, which were not used above")
    for name, pipeline in tuned.items():
        auc = roc_auc_score(y_test, pipeline.predict_proba(X_test)[:, 1])
        print(f"   {name:<13} area under the ROC curve {auc:.3f}, accuracy {pipeline.score(X_test, y_test):.3f}")

    new_customer = X_test.iloc[[0]].assign(city="Quito", income=np.nan)
    probability = tuned["skreg"].predict_proba(new_customer)[0, 1]
    print(f"\nA customer from an unknown city and with unknown income leaves with probability {probability:.2f}.")
    print(f"Done in {time.perf_counter() - started:.0f} seconds.")


if __name__ == "__main__":
    main()
