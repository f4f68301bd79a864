import numpy as np

from skreg import RegularizedMLPRegressor
from skreg.diagnostics.context import DiagnosticContext

RNG = np.random.RandomState(0)
X = RNG.randn(300, 5)
Y = X[:, 0] * X[:, 1] + X[:, 2] + 0.3 * RNG.randn(300)


def test_the_split_of_the_rows_is_that_of_the_fit():
    fitted = RegularizedMLPRegressor((8,), max_iter=30, n_members=4, random_state=0, early_stopping=True).fit(X, Y)
    context = DiagnosticContext(fitted, X, Y, None, None)
    assert len(context.held_out) == len(context.train) == 300
    assert np.allclose(context.held_out.decoded, fitted.oof_prediction_)
    fold_losses = [context.held_out.loss[rows].mean() for rows in context.held_out_rows]
    assert np.allclose(fold_losses, -fitted.net_.stopping_.best.numpy(), rtol=1e-4)
