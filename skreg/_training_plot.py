"""A training curve is what a network's losses did from epoch to epoch; it is drawn after a fit, or during one."""

import sys
from time import monotonic
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from ._plotting import (
    COLOURS,
    GREY,
    fitted_network,
    integer_ticks,
    legend_above,
    panels,
    plain,
    pyplot,
    share_below,
    text_colour,
)
from .training.callbacks import Callback

FEW_EPOCHS = 4
LUCK = 3.0
SHARE = 0.05


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
        What early stopping watched, likewise; it jumps where a member that is better or worse than the others stops.
    validation_members : array-like of shape (n_epochs, n_members), default=None
        The same of each member, NaN once it has stopped.
    validation_name : str, default="loss"
        What early stopping watched. A score is drawn in a panel of its own.
    best_epoch : int, default=None
        Epoch whose weights were kept; over several members the mean, rounded.
    best_epochs : array-like of shape (n_members,), default=None
        The same of each member.
    overfits_from : int, default=None
        Epoch from which on most members overfit: the training loss falls on, and what was watched gets worse by more
        than its noise. The median of their best epochs.

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
        self.ax_, validation, rate = self.axes_[0], self.axes_[-2], self.axes_[-1]
        self.figure_ = self.ax_.figure
        self.ax_.plot(self.epochs, self.train, color=COLOURS[0], label="training")
        self.ax_.set_ylabel("loss")
        if self.validation is not None:
            self._draw_validation(validation)
            validation.set_ylabel(self.validation_name)
        for panel in self.axes_[:-1]:
            self._draw_epochs(panel)
        legend_above(self.axes_[:-1])
        rate.plot(self.epochs, self.learning_rate, color=GREY)
        rate.set(xlabel="epoch", ylabel="learning\nrate")
        rate.axhline(0, alpha=0)  # so that the picture begins at 0
        rate.locator_params(axis="y", nbins=3)
        rate.yaxis.set_major_formatter(plain)
        rate.set_xlim(self.ax_.get_xlim())
        integer_ticks(rate.xaxis)
        for panel in self.axes_[:-1]:
            share_below(panel, rate)
        return self

    def _draw_validation(self, ax: Any) -> None:
        """The mean of the members that still train, which jumps where one leaves it, and the members beside it."""
        if self.validation_members is not None:
            members = np.asarray(self.validation_members)
            for number, member in enumerate(members.T):
                label = None if number else "each member"
                ax.plot(self.epochs, member, color=COLOURS[3], lw=0.7, label=label)
        ax.plot(self.epochs, self.validation, color=COLOURS[3], ls="--", lw=1.8, label="validation")
        if self.validation_members is not None and self.best_epochs is not None:
            best = np.asarray(self.best_epochs)
            scores = members[np.searchsorted(np.asarray(self.epochs), best), np.arange(len(best))]
            ax.plot(best, scores, "v", ms=5, mfc=COLOURS[3], mec=text_colour(ax), mew=0.8, label="its best epoch")

    def _draw_epochs(self, ax: Any) -> None:
        """Mark the best epoch, and shade those that overfit."""
        if self.overfits_from is not None:
            last = np.asarray(self.epochs)[-1]
            ax.axvspan(self.overfits_from, last, fc=GREY, ec=GREY, alpha=0.25, lw=0, hatch="//", label="overfits")
        if self.best_epoch is not None:
            ax.axvline(self.best_epoch, color=GREY, ls=":", label=f"best epoch, {self.best_epoch}")


def training_curve(net: Any, monitor: Any) -> dict[str, Any]:
    """The record of a net's history, after a fit or during one; ``monitor`` is the estimator's parameter."""
    rows = [row for row in net.history if "lr" in row]  # the last to be written, which an interrupt may leave out
    columns = {"epochs": "epoch", "train": "train_loss", "learning_rate": "lr"}
    record: dict[str, Any] = {name: np.array([row[column] for row in rows]) for name, column in columns.items()}
    if net.validation_name_ is None:
        return record
    is_loss = net.validation_name_ == "valid_loss"
    best = net.stopping_.best_epoch.numpy().copy()
    record |= {
        "validation": np.array([row[net.validation_name_] for row in rows]),
        "validation_name": "loss" if is_loss else monitor if isinstance(monitor, str) else "score",
        "best_epoch": round(best.mean()),
    }
    if len(net.stopping_.scores) < len(rows):  # trained beside others, in a search
        return record
    scores = np.stack([of_epoch.numpy() for of_epoch in net.stopping_.scores[: len(rows)]])
    if len(best) > 1:
        record |= {"validation_members": -scores if is_loss else scores, "best_epochs": best}
    worse = [overfits(record["train"], of_member, epoch - 1) for of_member, epoch in zip(scores.T, best, strict=True)]
    if sum(worse) > len(worse) / 2:
        record["overfits_from"] = int(np.median(best[worse]))
    return record


def overfits(train: np.ndarray, score: np.ndarray, best: int) -> bool:
    """Whether a member overfits after epoch number ``best``: the training goes on, and its score ends below the best.

    Worse than the best is any other epoch, so what counts is the mean over the second half of what follows: that it is
    below the best by more than the best of so many owes to luck, three times the scores' noise around their trend,
    and that it goes on falling, by more than two standard errors below the first half, or is twice as far below; and
    that more than a twentieth of what was gained since the first epoch is lost. The score is NaN once the member has
    stopped.
    """
    after = score[best + 1 :]
    after = after[~np.isnan(after)]
    if len(after) < FEW_EPOCHS:
        return False
    first, second = np.array_split(after, 2)
    line = np.polynomial.Polynomial.fit(np.arange(len(after)), after, 1)
    noise = float(np.std(after - line(np.arange(len(after)))))
    below, falls = score[best] - second.mean(), first.mean() - second.mean() > 4 * noise / np.sqrt(len(after))
    learns = train[best + 1 : best + 1 + len(after)].mean() < train[best]
    matters = below > 0 and below > SHARE * (score[best] - score[0])
    return bool(learns and matters and below > (1 if falls else 2) * LUCK * noise)


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
    handle_: Any

    def __init__(self, seconds: float = 1.0) -> None:
        self.seconds = seconds

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin a picture."""
        pyplot()  # says before the training what is not installed
        self._forget()
        self.drawn_ = monotonic()

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Draw, if the last drawing is long enough ago."""
        if monotonic() - self.drawn_ >= self.seconds:
            self._draw(net)

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Draw the whole training, and let go of the figure, which a notebook would show a second time."""
        if len(net.history):
            self._draw(net)
            if self.handle_ is not None:
                pyplot().close(self.display_.figure_)

    def _draw(self, net: Any) -> None:
        axes, display = None, TrainingCurveDisplay(**training_curve(net, "score"))
        if hasattr(self, "display_"):
            axes = self.display_.axes_
            for panel in axes:
                panel.clear()
        self.display_ = display.plot(axes)
        self._show()
        self.drawn_ = monotonic()

    def _show(self) -> None:
        """Let the picture be seen: in a notebook in the place of the last one, else in its window."""
        figure, notebook = self.display_.figure_, sys.modules.get("IPython.display")
        if notebook is not None and "inline" in pyplot().get_backend():
            if self.handle_ is None:
                self.handle_ = notebook.display(figure, display_id=True)
            else:
                self.handle_.update(figure)
        elif figure.canvas.required_interactive_framework is not None:
            pyplot().pause(0.001)

    def _forget(self) -> None:
        self.__dict__.pop("display_", None)
        self.handle_ = None

    def __getstate__(self) -> dict[str, Any]:
        return {"seconds": self.seconds}
