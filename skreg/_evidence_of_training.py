"""Evidence of the training: curves of loss, score and rate, and how far the weights moved."""

from typing import Any

import numpy as np

from ._case import Case
from ._signs import Sign, beyond, harmful, in_words, learned, lost, shortfall

LOST, LOST_WATCHED = 0.3, 0.5
"""Share of what was learned that does not hold for other rows: without early stopping, and with it."""

STILL_FALLING = 0.05
SHORT_PATIENCE = 5
MOVED = 0.15
RATES = {"sgd": 0.05, "rmsprop": 0.001, "muon": 0.01}
USUAL_RATE = 0.005
FEW_EPOCHS = 100
BLOWN_UP, ROUGH = 1.15, 0.06


def overfitting(case: Case) -> Sign | None:
    """The loss of rows that it was not trained on is much higher than that of rows it was."""
    if case.held is None or learned(case) <= 0:
        return None
    watched = case.training.patience is not None
    share, error = lost(case)
    certainty = beyond(share, LOST_WATCHED if watched else LOST, error)
    inside, outside = case.train.loss.mean(), case.held.loss.mean()
    reach = 1.96 * error * (outside - inside) / share if share else 0.0
    evidence = (
        f"the loss is {inside:.3g} on the rows trained on and {outside:.3g} on {len(case.held)} others: a gap of "
        f"{outside - inside:.3g} (95 % interval {outside - inside - reach:.3g} to {outside - inside + reach:.3g}), "
        f"{share:.0%} of what was learned{_after_the_best(case)}"
    )
    if watched:  # the weights are those of the best epoch already
        return Sign(min(certainty, 0.75), evidence, _stronger(case.parameters))
    return Sign(certainty, evidence, {"early_stopping": True, "patience": max(20, case.parameters["patience"])})


def _after_the_best(case: Case) -> str:
    """From which epoch on the validation score got worse, and by how much."""
    curve, training = _watched_loss(case), case.training
    if curve is None:
        return "; no validation curve was recorded"
    best = int(np.argmin(curve))
    worse = curve[-1] - curve[best]
    if best == len(curve) - 1:
        return ""
    name = "score" if training.greater_is_better else "loss"
    return f"; the validation {name} gets worse from epoch {training.epoch[best]} on, by {worse:.3g} until the last"


def _stronger(parameters: dict[str, Any]) -> dict[str, Any]:
    """More of the cures that cost little."""
    dropout = parameters["dropout"]
    remedy = {"weight_decay": max(0.1, 3 * parameters["weight_decay"])}
    if np.ndim(dropout) == 0:
        remedy["dropout"] = float(min(0.5, max(0.2, 2 * dropout)))
    if parameters["n_members"] < 4:
        remedy["n_members"] = 4
    return remedy


def _watched_loss(case: Case) -> np.ndarray | None:
    """What was watched, less being better."""
    curve = case.training.watched
    return None if curve is None else -curve if case.training.greater_is_better else curve


def underfitting(case: Case) -> Sign | None:
    """Plain models learn more of the same rows, and the network has not learned its own by heart."""
    share, error = lost(case)
    certainty = min(shortfall(case), 1 - beyond(share, LOST_WATCHED, error))
    parameters = case.parameters
    remedy: dict[str, Any] = {"hidden_layer_sizes": (128, 128)}
    if parameters["activation"] == "identity":
        remedy["activation"] = "silu"
    if np.max(parameters["dropout"], initial=0) > 0.3:
        remedy["dropout"] = 0.1
    if parameters["max_iter"] < FEW_EPOCHS:
        remedy["max_iter"] = FEW_EPOCHS
    return Sign(certainty, in_words(case), remedy)


def _late_fall(case: Case, curve: np.ndarray) -> tuple[float, float]:
    """Share of the whole fall of a curve in the last third of what the learning rates add up to, and its error."""
    walked = np.cumsum(case.training.rate)
    start = float(case.train.baseline.mean()) if not case.training.greater_is_better else float(curve[0])
    whole = max(start, float(curve[0])) - float(curve.min())
    if len(curve) < 2 or whole <= 0:
        return 0.0, 1.0
    before = float(np.interp(2 / 3 * walked[-1], walked, curve))
    late = np.diff(curve[walked >= 2 / 3 * walked[-1]])
    noise = float(np.std(late)) if len(late) > 2 else 0.1 * abs(before - curve[-1])
    return (before - float(curve[-1])) / whole, noise / whole


def stopped_too_early(case: Case) -> Sign | None:
    """Early stopping gave up after few epochs without a gain, while the training loss was still falling."""
    training = case.training
    if training.patience is None or not training.stopped.all() or training.patience > SHORT_PATIENCE:
        return None
    fall, error = _late_fall(case, training.train_loss)
    share, of_share = lost(case)
    certainty = min(beyond(fall, STILL_FALLING, error), 1 - beyond(share, LOST_WATCHED, of_share))
    evidence = (
        f"training stopped after {len(training.epoch)} of {training.max_iter} epochs, {training.patience} epoch(s) "
        f"without a gain; of all that the training loss fell, {fall:.0%} fell in the last third; {in_words(case)}"
    )
    return Sign(harmful(case, certainty), evidence, {"patience": 20})


def still_improving(case: Case) -> Sign | None:
    """The training ended while what is watched, or the loss, was still falling."""
    training, curve = case.training, _watched_loss(case)
    if training.stopped.any() or training.diverged.any() or len(training.epoch) < training.max_iter:
        return None
    if curve is not None and training.best_epoch.mean() < 0.9 * training.epoch[-1]:
        return None
    fall, error = _late_fall(case, training.train_loss if curve is None else curve)
    share, of_share = lost(case)
    certainty = min(beyond(fall, STILL_FALLING, error), 1 - beyond(share, LOST, of_share))
    evidence = (
        f"of all that the {'training' if curve is None else 'validation'} curve gained in {len(training.epoch)} epochs "
        f"{fall:.0%} came in the last third; {in_words(case)}"
    )
    return Sign(harmful(case, certainty), evidence, {"max_iter": max(FEW_EPOCHS, 4 * training.max_iter)})


def rate_too_low(case: Case) -> Sign | None:
    """The weights have hardly moved from where they were drawn."""
    if case.initial is None:
        return None
    moved = [
        np.sqrt(np.square(now.weight - first.weight).mean() / max(np.square(first.weight).mean(), 1e-30))
        for first, now in zip(case.initial.layers, case.now.layers, strict=True)
    ]
    certainty = beyond(-np.log10(max(np.max(moved), 1e-12)), -np.log10(MOVED), 0.15)
    now = case.parameters["learning_rate_init"]
    remedy = {"learning_rate_init": max(_usual_rate(case), min(10 * now, 1.0))}
    evidence = (
        f"in {len(case.training.epoch)} epochs no layer's weights moved by more than {np.max(moved):.1%} of their size "
        f"at a learning rate of {now:g}; {in_words(case)}"
    )
    return Sign(harmful(case, certainty), evidence, remedy)


def _usual_rate(case: Case) -> float:
    return RATES.get(case.parameters["solver"], USUAL_RATE)


def rate_too_high(case: Case) -> Sign | None:
    """The loss is not finite, climbs above that of a constant, or jumps up and down."""
    training, now = case.training, case.parameters["learning_rate_init"]
    remedy = {"learning_rate_init": min(now / 10, _usual_rate(case))}
    if training.diverged.any():
        evidence = (
            f"the training diverged after epoch {training.best_epoch[training.diverged].min()}, at a rate of {now:g}"
        )
        return Sign(1.0, evidence, remedy)
    losses, constant = training.train_loss, float(case.train.baseline.mean())
    if len(losses) < 3 or constant <= 0:
        return None
    highest = float(losses[1:].max() / constant)
    fast = training.rate[1:] >= 0.5 * training.rate.max()
    steps = np.diff(losses)[fast] if fast.any() else np.diff(losses)
    rough = float(np.maximum(steps, 0).mean() / max(constant - losses.min(), 0.1 * constant))
    certainty = max(beyond(np.log(highest), np.log(BLOWN_UP), 0.1), beyond(rough, ROUGH, 0.02))
    evidence = (
        f"after the first epoch the training loss reached {highest:.3g} times that of a constant, and rose by "
        f"{rough:.1%} of its range in an epoch on average, at a rate of {now:g}; {in_words(case)}"
    )
    return Sign(harmful(case, certainty), evidence, remedy)
