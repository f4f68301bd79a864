"""
A search on one machine
=======================

A pipeline, the default search space, and the plots of the study.

Optuna draws the pictures, and needs matplotlib for them; without it the tables are printed only.
"""

import importlib.util
import warnings
from pathlib import Path

import optuna
import pandas as pd
from sklearn.datasets import make_classification
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import QuantileTransformer

from skreg import OptunaSearchCV, RegularizedMLPClassifier

PICTURES = {
    "history": "plot_optimization_history",
    "importances": "plot_param_importances",
    "slices": "plot_slice",
}


def main() -> None:
    """Search, print the table of candidates, and draw the study."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    X, y = make_classification(900, 12, n_informative=6, flip_y=0.1, class_sep=0.8, random_state=0)
    X = pd.DataFrame(X).add_prefix("number_")
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)

    # Without distributions the default space is searched; parameters that are set here are not.
    network = RegularizedMLPClassifier(hidden_layer_sizes=(32, 32), max_iter=15, n_members=1, random_state=0)
    scale = QuantileTransformer(n_quantiles=100, output_distribution="normal")
    pipeline = Pipeline([("scale", scale), ("mlp", network)])
    search = OptunaSearchCV(pipeline, n_trials=12, cv=3, scoring="neg_log_loss", random_state=0)
    search.set_params(pruner=optuna.pruners.NopPruner(), error_score="raise").fit(X, y)

    table = pd.DataFrame(search.cv_results_)
    columns = ["rank_test_score", "mean_test_score", "param_mlp__dropout", "param_mlp__weight_decay"]
    print(table.sort_values("rank_test_score")[columns].head(8).to_string(index=False))

    print("\nlog loss                cross-validated   test rows")
    for name, score, fitted in [
        ("the defaults", search.cv_results_["mean_test_score"][0], None),
        ("the best candidate", search.best_score_, search),
    ]:
        on_test = "" if fitted is None else f"{log_loss(y_test, fitted.predict_proba(X_test)):.3f}"
        print(f"   {name:<20} {-score:.3f}             {on_test}")

    if importlib.util.find_spec("matplotlib") is None:
        print("\nNo pictures: pip install matplotlib")
        return
    draw(search.study_)


def draw(study: optuna.Study) -> None:
    """Save Optuna's own pictures of a study."""
    import matplotlib as mpl

    mpl.use("agg")
    from optuna.visualization import matplotlib as pictures

    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    for name, function in PICTURES.items():
        arguments = {"params": ["mlp__weight_decay", "mlp__learning_rate_init"]} if name == "slices" else {}
        axes = getattr(pictures, function)(study, **arguments)
        figure = (axes if not hasattr(axes, "__len__") else axes[0]).figure
        figure.set_size_inches(9, 5)
        figure.set_layout_engine("constrained")
        for drawn in figure.axes:
            drawn.xaxis.set_minor_formatter("")  # numbers between powers of ten lie over each other
        figure.savefig(f"search_{name}.png")
    print(f"\nPictures are in {Path.cwd()}: {', '.join(f'search_{name}.png' for name in PICTURES)}")


if __name__ == "__main__":
    main()
