"""A training curve is what a network's losses did from epoch to epoch; it is drawn after a fit, or during one."""

import sys
from time import monotonic
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from ._plotting import COLOURS, GREY, fitted_network, integer_ticks, legend_above, panels, plain, pyplot
from .callbacks import Callback

NOISE = 3.0
MAD_TO_SPREAD = 1.4826


class TrainingCurveDisplay:
    """Losses by epoch: the best epoch marked, the epochs that overfit shaded, the learning rate below.

    Make one with ``from_estimator``; the parameters are the record that it draws, and are kept as attributes.

    Parameters
    ----------
    epochs : array-like of shape (n_epochs,)
        Numbers of the epochs.
    train : array-like of shape (n_epochs,)
        Training loss, over the members that still trained. It is taken with dropout and augmentation, of weights that
        moved during the epoch, and may well lie above the validation loss.
    learning_rate : array-like of shape (n_epochs,)
        At the end of each epoch.
    validation : array-like of shape (n_epochs,), default=None
        What early stopping watched, likewise.
    validation_members : array-like of shape (n_epochs, n_members), default=None
        The same of each member, NaN once it has stopped; drawn as the range of the members.
    validation_name : str, default="loss"
        What early stopping watched. A score is drawn in a panel of its own.
    best_epoch : int, default=None
        Epoch whose weights were kept; over several members the mean, rounded.
    best_epochs : array-like of shape (n_members,), default=None
        The same of each member.
    overfits_from : int, default=None
        Epoch from which the network overfits, to the last one: the training loss falls on, and what was watched gets
        worse by more than its noise.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The panel of the losses.
    axes_ : ndarray of matplotlib Axes
        All panels from the top: the losses, the score if there is one, the learning rate.
    figure_ : matplotlib Figure
        Their figure.

    See Also
    --------
    LiveTrainingCurve : The same while the network trains.

    References
    ----------
    Prechelt 2012, "Early stopping - but when?", in Neural networks: tricks of the trade.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skreg import RegularizedMLPRegressor
    >>> from skreg.plots import TrainingCurveDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> regressor = RegularizedMLPRegressor(max_iter=20, random_state=0).fit(X, y)
    >>> display = TrainingCurveDisplay.from_estimator(regressor)
    >>> len(display.train) == regressor.n_iter_
    True
    """

    def __init__(
        self,
        *,
        epochs: ArrayLike,
        train: ArrayLike,
        learning_rate: ArrayLike,
        validation: ArrayLike | None = None,
        validation_members: ArrayLike | None = None,
        validation_name: str = "loss",
        best_epoch: int | None = None,
        best_epochs: ArrayLike | None = None,
        overfits_from: int | None = None,
    ) -> None:
        self.epochs = epochs
        self.train = train
        self.learning_rate = learning_rate
        self.validation = validation
        self.validation_members = validation_members
        self.validation_name = validation_name
        self.best_epoch = best_epoch
        self.best_epochs = best_epochs
        self.overfits_from = overfits_from

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Draw the training of a fitted estimator; after a warm start that of the last fit.

        Parameters
        ----------
        estimator : estimator
            Fitted: one of skreg's, a ``Pipeline`` that ends with one, or a search that has found one.
        ax : matplotlib Axes, or a sequence of one for each panel, default=None
            Where to draw. A single one is split; None makes a figure.

        Returns
        -------
        TrainingCurveDisplay
            What was drawn.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        """
        network, _ = fitted_network(estimator)
        return cls(**training_curve(network.net_, network.monitor)).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the record.

        Parameters
        ----------
        ax : matplotlib Axes, or a sequence of one for each panel, default=None
            Where to draw. A single one is split; None makes a figure.

        Returns
        -------
        TrainingCurveDisplay
            Itself.
        """
        score_apart = self.validation is not None and self.validation_name != "loss"
        self.axes_ = panels(ax, (3, 3, 1.2) if score_apart else (3, 1))
        self.ax_, watched, rate = self.axes_[0], self.axes_[-2], self.axes_[-1]
        self.figure_ = self.ax_.figure
        self.ax_.plot(self.epochs, self.train, color=COLOURS[0], label="training")
        self.ax_.set_ylabel("loss")
        if self.validation is not None:
            self._draw_validation(watched)
            watched.set_ylabel(self.validation_name)
        for panel in self.axes_[:-1]:
            self._draw_epochs(panel)
            panel.label_outer()
        legend_above(self.axes_[:-1])
        rate.plot(self.epochs, self.learning_rate, color=GREY)
        rate.set(xlabel="epoch", ylabel="learning\nrate")
        rate.axhline(0, alpha=0)  # so that the picture begins at 0
        rate.locator_params(axis="y", nbins=3)
        rate.yaxis.set_major_formatter(plain)
        integer_ticks(rate.xaxis)
        return self

    def _draw_validation(self, ax: Any) -> None:
        if self.validation_members is not None:
            members = np.asarray(self.validation_members)
            known = ~np.isnan(members).all(1)
            low, high = np.full((2, len(members)), np.nan)
            low[known], high[known] = np.nanmin(members[known], 1), np.nanmax(members[known], 1)
            ax.fill_between(self.epochs, low, high, color=COLOURS[3], alpha=0.3, lw=0, label="range of members")
        ax.plot(self.epochs, self.validation, color=COLOURS[3], ls="--", label="validation")

    def _draw_epochs(self, ax: Any) -> None:
        """Mark the best epoch, the members' ones among them, and shade those that overfit."""
        if self.overfits_from is not None:
            last = np.asarray(self.epochs)[-1]
            ax.axvspan(self.overfits_from, last, fc=GREY, ec=GREY, alpha=0.25, lw=0, hatch="//", label="overfits")
        if self.best_epoch is not None:
            ax.axvline(self.best_epoch, color=GREY, ls=":", label=f"best epoch, {self.best_epoch}")
        if self.best_epochs is not None and np.size(self.best_epochs) > 1:
            foot, label = np.full(np.size(self.best_epochs), 0.03), "each member's"
            ax.plot(self.best_epochs, foot, "^", ms=4, color=GREY, transform=ax.get_xaxis_transform(), label=label)


def training_curve(net: Any, monitor: Any) -> dict[str, Any]:
    """The record of a net's history, after a fit or during one; ``monitor`` is the estimator's parameter."""
    rows = [row for row in net.history if "lr" in row]  # the last to be written, which an interrupt may leave out
    columns = {"epochs": "epoch", "train": "train_loss", "learning_rate": "lr"}
    record: dict[str, Any] = {name: np.array([row[column] for row in rows]) for name, column in columns.items()}
    if net.watched_ is None:
        return record
    validation, best = np.array([row[net.watched_] for row in rows]), net.stopping_.best_epoch.numpy()
    is_loss = net.watched_ == "valid_loss"
    record |= {
        "validation": validation,
        "validation_name": "loss" if is_loss else monitor if isinstance(monitor, str) else "score",
        "best_epoch": round(best.mean()),
        "best_epochs": best,
    }
    place = int(np.searchsorted(record["epochs"], record["best_epoch"]))
    if overfits(record["train"], -validation if is_loss else validation, place):
        record["overfits_from"] = record["best_epoch"]
    scores = net.stopping_.scores
    if len(best) > 1 and len(scores) == len(rows):
        members = np.stack([of_epoch.numpy() for of_epoch in scores])
        record["validation_members"] = -members if is_loss else members
    return record


def overfits(train: np.ndarray, score: np.ndarray, best: int) -> bool:
    """Whether a network overfits after epoch number ``best``: it learns on, and its score ends below the best.

    Worse than the best is any other epoch, so what counts is the mean over the second half of what follows: that it is
    below the first half's, and below the best by more than three times the scores' noise from epoch to epoch.
    """
    after = score[best + 1 :]
    if len(after) < 4 or np.isnan(after).any():
        return False
    first, second = np.array_split(after, 2)
    jumps = np.abs(np.diff(after) - np.median(np.diff(after)))
    noise = MAD_TO_SPREAD * np.median(jumps) / np.sqrt(2)
    falls = train[best + 1 :].mean() < train[best]
    return bool(falls and second.mean() < first.mean() and score[best] - second.mean() > NOISE * noise)


class LiveTrainingCurve(Callback):
    """Follows a fit: draws the training curve anew as the epochs go by, in a notebook or in a window.

    Give it to an estimator as ``callbacks=[LiveTrainingCurve()]``. Each drawing takes about a tenth of a second from
    the fit.

    Parameters
    ----------
    seconds : float, default=1.0
        From one drawing to the next, at least; the last epoch is always drawn.

    Attributes
    ----------
    display_ : TrainingCurveDisplay
        What was drawn last. A pickled or cloned callback has none.

    See Also
    --------
    TrainingCurveDisplay : The same after a fit.

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
    _handle: Any

    def __init__(self, seconds: float = 1.0) -> None:
        self.seconds = seconds

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin a picture."""
        pyplot()  # says before the training what is not installed
        self._forget()
        self._drawn = monotonic()

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Draw, if the last drawing is long enough ago."""
        if monotonic() - self._drawn >= self.seconds:
            self._draw(net)

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Draw the whole training, and let go of the figure, which a notebook would show a second time."""
        if len(net.history):
            self._draw(net)
            if self._handle is not None:
                pyplot().close(self.display_.figure_)

    def _draw(self, net: Any) -> None:
        axes, display = None, TrainingCurveDisplay(**training_curve(net, "score"))
        if hasattr(self, "display_"):
            axes = self.display_.axes_
            for panel in axes:
                panel.clear()
        self.display_ = display.plot(axes)
        self._show()
        self._drawn = monotonic()

    def _show(self) -> None:
        """Let the picture be seen: in a notebook in the place of the last one, else in its window."""
        figure, notebook = self.display_.figure_, sys.modules.get("IPython.display")
        if notebook is not None and "inline" in pyplot().get_backend():
            if self._handle is None:
                self._handle = notebook.display(figure, display_id=True)
            else:
                self._handle.update(figure)
        elif figure.canvas.required_interactive_framework is not None:
            pyplot().pause(0.001)

    def _forget(self) -> None:
        self.__dict__.pop("display_", None)
        self._handle = None

    def __getstate__(self) -> dict[str, Any]:
        return {"seconds": self.seconds}
