"""Display of the losses by epoch, drawn after a fit or during one."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from numbers import Real
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils._plotting import _validate_score_name
from skorch.callbacks import Callback

from .._utils.validation import parameter_error
from ..diagnostics.curves import TrainingCurves
from ..training.net import Net
from .common import COLORS, GRAY, AxesLike, Display, legend_above, plain_text, pyplot, share_x_axis, unwrap_fitted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MIN_EPOCHS_AFTER_BEST, NOISE_FACTOR, MIN_LOST_SHARE = 4, 3.0, 0.05


@dataclass(kw_only=True, eq=False, repr=False)
class TrainingCurveDisplay(Display):
    """Training loss, validation loss and learning rate by epoch.

    The best epoch is marked, and epochs in which the network overfits are shaded. Create a display with
    ``from_estimator``. The parameters are stored as attributes.

    Parameters
    ----------
    epochs : array-like of shape (n_epochs,)
        Numbers of the epochs.
    train : array-like of shape (n_epochs,)
        Training loss, averaged over the members that are still training. It is computed with dropout and augmentation
        while the weights change, so it can exceed the validation loss.
    learning_rate : array-like of shape (n_epochs,)
        Learning rate at the end of each epoch.
    validation : array-like of shape (n_epochs,), default=None
        Loss or score on the validation rows, averaged over the members that are still training. The curve jumps when a
        member that is better or worse than the others stops.
    validation_members : array-like of shape (n_epochs, n_members), default=None
        Loss or score of each member; NaN after the member has stopped.
    validation_name : str, default="loss"
        Name of the metric in ``validation``. A score is drawn in a separate panel.
    best_epoch : int, default=None
        Epoch whose weights were kept; the rounded mean for several members.
    best_epochs : array-like of shape (n_members,), default=None
        Epoch whose weights were kept, for each member.
    overfits_from : int, default=None
        Epoch after which most members overfit: the training loss still decreases, but the validation metric gets worse
        by more than its noise. This epoch is the median of the best epochs of these members.

    {attributes}

    See Also
    --------
    LiveTrainingCurve : Callback that draws the curve during training.

    References
    ----------
    Prechelt 2012, "Early stopping - but when?", in Neural networks: tricks of the trade.

    Examples
    --------
    {example data}
    >>> regressor = RegularizedMLPRegressor(max_iter=20, random_state=0).fit(X, y)
    >>> display = TrainingCurveDisplay.from_estimator(regressor)
    >>> len(display.train) == regressor.n_iter_
    True
    """

    epochs: ArrayLike
    train: ArrayLike
    learning_rate: ArrayLike
    validation: ArrayLike | None = None
    validation_members: ArrayLike | None = None
    validation_name: str = "loss"
    best_epoch: int | None = None
    best_epochs: ArrayLike | None = None
    overfits_from: int | None = None

    @classmethod
    def from_estimator(cls, estimator: BaseEstimator, *, ax: AxesLike = None) -> Self:
        """Draw the training curve of a fitted estimator; after a warm start, that of its last fit.

        Parameters
        ----------
        {estimator}
        {ax and returns}
        """
        network, _ = unwrap_fitted(estimator)
        return cls(**training_record(network.net_, network.monitor)).plot(ax)

    def _draw(self, ax: AxesLike) -> None:
        has_score_panel = self.validation is not None and self.validation_name != "loss"
        self._create_panels(ax, (3, 3, 1.2) if has_score_panel else (3, 1))
        *curves, rate = self.axes_
        self.ax_.plot(self.epochs, self.train, color=COLORS[0], label="Training loss")
        self.ax_.set_ylabel("Loss")
        if self.validation is not None:
            self._draw_validation(curves[-1])
        for panel in curves:
            self._mark_epochs(panel)
        legend_above(curves)
        rate.plot(self.epochs, self.learning_rate, color=GRAY)
        rate.axhline(0, alpha=0)  # includes 0 in the vertical range
        rate.set(xlabel="Epoch", ylabel="Learning\nrate", xlim=self.ax_.get_xlim())
        rate.locator_params(axis="y", nbins=2)
        rate.yaxis.set_major_formatter("{x:g}")
        rate.xaxis.get_major_locator().set_params(integer=True)
        for panel in curves:
            share_x_axis(panel, rate)

    def _draw_validation(self, ax: Axes) -> None:
        name = plain_text(_validate_score_name(None, self.validation_name, negate_score=False))
        color = COLORS[3]
        ax.set_ylabel(name)
        label = f"Validation {name.lower()}"
        ax.plot(self.epochs, np.asarray(self.validation), color=color, ls="--", lw=1.8, zorder=2.5, label=label)
        if self.validation_members is not None and self.best_epochs is not None:
            members, best = np.asarray(self.validation_members), np.asarray(self.best_epochs)
            lines = ax.plot(self.epochs, members, color=color, lw=0.7)
            lines[0].set_label("Members")
            values = members[np.searchsorted(np.asarray(self.epochs), best), np.arange(len(best))]
            edge = ax.xaxis.label.get_color()  # contrasts with the background in every style
            ax.plot(best, values, "v", ms=5, mfc=color, mec=edge, mew=0.8, label="Best epoch of a member")

    def _mark_epochs(self, ax: Axes) -> None:
        """Shade the epochs that overfit, and mark the best epoch."""
        if self.overfits_from is not None:
            last = np.asarray(self.epochs)[-1]
            ax.axvspan(self.overfits_from, last, fc=GRAY, ec=GRAY, alpha=0.25, lw=0, hatch="//", label="Overfitting")
        if self.best_epoch is not None:
            ax.axvline(self.best_epoch, color=GRAY, ls=":", label=f"Best epoch ({self.best_epoch})")


def training_record(net: Net, monitor: Any) -> dict[str, Any]:
    """Return the parameters of a ``TrainingCurveDisplay``, after a fit or during one."""
    curves = TrainingCurves.from_net(net)
    record: dict[str, Any] = {"epochs": curves.epoch, "train": curves.train_loss, "learning_rate": curves.learning_rate}
    if curves.validation is None:
        return record
    best, is_score = curves.best_epoch, curves.greater_is_better
    score_name = monitor if isinstance(monitor, str) else "score"
    record |= {"validation": curves.validation, "validation_name": score_name if is_score else "loss"}
    record["best_epoch"] = round(best.mean())
    n_epochs = len(curves.epoch)
    if len(net.stopping_.scores) < n_epochs:  # the search does not record the scores of members
        return record
    scores = np.stack([of_epoch.numpy() for of_epoch in net.stopping_.scores[:n_epochs]])
    if len(best) > 1:
        record |= {"validation_members": scores if is_score else -scores, "best_epochs": best}
    overfits = [is_overfitting(record["train"], score, epoch - 1) for score, epoch in zip(scores.T, best, strict=True)]
    if np.mean(overfits) > 0.5:
        record["overfits_from"] = int(np.median(best[overfits]))
    return record


def is_overfitting(train_loss: NDArray[np.floating], score: NDArray[np.floating], best: int) -> bool:
    """Return whether a member overfits after its best epoch.

    The training loss must decrease after the best epoch, and the mean score of the second half of these epochs must be
    below the best score. The difference must exceed a twentieth of the improvement since the first epoch. It must also
    exceed a multiple of the noise of the scores around their linear trend: three times the noise if the scores keep
    falling (by more than two standard errors between both halves), and six times otherwise. Scores are NaN after the
    member has stopped.
    """
    after = score[best + 1 :]
    after = after[~np.isnan(after)]
    if len(after) < MIN_EPOCHS_AFTER_BEST:
        return False
    first, second = np.array_split(after, 2)
    trend = np.polynomial.Polynomial.fit(np.arange(len(after)), after, 1)
    noise = float(np.std(after - trend(np.arange(len(after)))))
    lost = score[best] - second.mean()
    falls = first.mean() - second.mean() > 4 * noise / np.sqrt(len(after))
    learns = train_loss[best + 1 : best + 1 + len(after)].mean() < train_loss[best]
    matters = lost > 0 and lost > MIN_LOST_SHARE * (score[best] - score[0])
    return bool(learns and matters and lost > (1 if falls else 2) * NOISE_FACTOR * noise)


class LiveTrainingCurve(Callback):
    """Callback that draws the training curve during the fit, in a notebook or a window.

    Pass it to an estimator as ``callbacks=[LiveTrainingCurve()]``. Each drawing takes about a tenth of a second.

    Parameters
    ----------
    seconds : float, default=1.0
        Minimum time between two drawings. The last epoch is always drawn.

    Attributes
    ----------
    display_ : TrainingCurveDisplay
        The most recently drawn display. It is neither pickled nor cloned.

    See Also
    --------
    TrainingCurveDisplay : Display of the training curve after a fit.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skreg import RegularizedMLPRegressor
    >>> from skreg.plots import LiveTrainingCurve
    >>> live = LiveTrainingCurve()
    >>> X, y = load_diabetes(return_X_y=True)
    >>> regressor = RegularizedMLPRegressor(max_iter=20, callbacks=[live], random_state=0).fit(X, y)
    >>> len(live.display_.train) == regressor.n_iter_
    True
    """

    display_: TrainingCurveDisplay

    def __init__(self, seconds: float = 1.0) -> None:
        self.seconds = seconds

    def on_train_begin(self, _net: Net, **_: Any) -> None:
        """Start a new figure."""
        seconds: Any = self.seconds
        if not (isinstance(seconds, Real) and float(seconds) >= 0):
            raise parameter_error(self, "seconds", "a float in the range [0.0, inf)", seconds)
        pyplot()  # fails before training if matplotlib is not installed
        if hasattr(self, "display_"):
            del self.display_
        self.handle_: Any = None
        self.drawn_ = monotonic()

    def on_epoch_end(self, net: Net, **_: Any) -> None:
        """Draw the curve if enough time has passed since the last drawing."""
        if monotonic() - self.drawn_ >= self.seconds:
            self._draw(net)

    def on_train_end(self, net: Net, **_: Any) -> None:
        """Draw the whole training."""
        if len(net.history):
            self._draw(net)
            if self.handle_ is not None:
                pyplot().close(self.display_.figure_)  # otherwise, the notebook shows the figure a second time

    def _draw(self, net: Net) -> None:
        axes, display = None, TrainingCurveDisplay(**training_record(net, "score"))
        if hasattr(self, "display_"):
            axes = self.display_.axes_
            for panel in axes:
                panel.clear()
        self.display_ = display.plot(axes)
        self._show()
        self.drawn_ = monotonic()

    def _show(self) -> None:
        """Replace the previous drawing in a notebook, or update the window."""
        figure, notebook = self.display_.figure_, sys.modules.get("IPython.display")
        if notebook is not None and "inline" in pyplot().get_backend():
            if self.handle_ is None:
                self.handle_ = notebook.display(figure, display_id=True)
            else:
                self.handle_.update(figure)
        elif figure.canvas.required_interactive_framework is not None:
            pyplot().pause(0.001)

    def __getstate__(self) -> dict[str, Any]:
        """Return only the parameters, because a figure may not be picklable."""
        return {"seconds": self.seconds}
