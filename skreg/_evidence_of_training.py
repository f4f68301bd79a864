"""Evidence of the training: curves of loss, score and rate, and how far the weights moved."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import linregress

from ._case import Case
from ._probe import Training
from ._signs import Sign, averaging, beyond, error_of_mean, harmful, in_words, lost, shortfall, worse

LOST, LOST_WATCHED = 0.3, 0.65
"""Share of what was learned that does not hold for other rows: without early stopping, and with it."""

STILL_FALLING, STILL_LEFT, LITTLE_LEFT = 0.05, 0.3, 0.05
TO_COME = 0.2
LINE = 0.05
"""Share of what a plain model learns that an underfitted network misses."""

SHORT_PATIENCE, USUAL_PATIENCE, PACED = 5, 20, 8
MOVED = 0.15
USUAL_WIDTHS = 128, 128
RATES = {"sgd": 0.05}
USUAL_RATE = {"ntk": 0.02, "standard": 0.005}
FEW_EPOCHS, FEW_STEPS = 100, 50
BLOWN_UP, BLOWN_UP_IN_CYCLES, ROUGH = 1.5, 20.0, 0.03


def overfitting(case: Case) -> Sign | None:
    """The loss of rows that it was not trained on is much higher than that of rows it was."""
    if case.held is None:
        return None
    validation = case.training.patience is not None
    share, error = lost(case)
    certainty = beyond(share, LOST_WATCHED if validation else LOST, error)
    inside, outside = case.train.loss.mean(), case.held.loss.mean()
    reach = 1.96 * error * (outside - inside) / share if share else 0.0
    evidence = (
        f"the loss is {inside:.3g} on the rows trained on and {outside:.3g} on {len(case.held)} others: a gap of "
        f"{outside - inside:.3g} (95 % interval {outside - inside - reach:.3g} to {outside - inside + reach:.3g}), "
        f"{share:.0%} of what was learned{_after_the_best(case)}"
    )
    remedy = averaging(case.parameters, 0.3) | {"weight_decay": max(0.1, case.parameters["weight_decay"])}
    if not validation:  # else the weights are those of the best epoch already
        remedy |= {"early_stopping": True, "patience": max(USUAL_PATIENCE, case.parameters["patience"])}
    return Sign(certainty, evidence, remedy)


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


def _watched_loss(case: Case) -> np.ndarray | None:
    """What was watched, less being better."""
    curve = case.training.validation
    return None if curve is None else -curve if case.training.greater_is_better else curve


def underfitting(case: Case) -> Sign | None:
    """Plain models learn more of the same rows, and the network has not learned its own by heart."""
    share, error = lost(case)
    found, parameters = case.comparison, case.parameters
    certainty = min(max(shortfall(case, LINE), worse(case)), 1 - beyond(share, LOST_WATCHED, error))
    if found is not None and parameters["loss"] in ("log_loss", "squared_error"):
        of_train = np.hypot(error_of_mean(case.train.loss), error_of_mean(found.plain))
        certainty = min(certainty, beyond(float(case.train.loss.mean() - found.plain.mean()), 0.0, float(of_train)))
    remedy: dict[str, Any] = {"hidden_layer_sizes": _wider(case)}
    if parameters["activation"] == "identity":
        remedy["activation"] = "silu"
    if np.max(parameters["dropout"], initial=0) > 0.3:
        remedy["dropout"] = 0.1
    if parameters["max_iter"] < FEW_EPOCHS:
        remedy["max_iter"] = FEW_EPOCHS
    return Sign(certainty, in_words(case), remedy)


def _wider(case: Case) -> tuple[int, ...]:
    """Widths of a larger network: two usual layers, or twice those that are there."""
    widths = tuple(linear.weight.shape[2] for linear in case.estimator.net_.module_.linears[:-1])
    return USUAL_WIDTHS if sum(widths) < sum(USUAL_WIDTHS) else tuple(2 * width for width in widths)


@dataclass(frozen=True)
class _LateFall:
    """How much of a curve's fall came late: in the last third of what the learning rates add up to.

    Attributes
    ----------
    share : float
        Share of the whole fall.
    certainty : float
        That it is more than a little: of the whole fall, or of what is left at the end.
    """

    share: float
    certainty: float


def _late_fall(case: Case, curve: np.ndarray) -> _LateFall:
    start = float(case.train.baseline.mean()) if not case.training.greater_is_better else float(curve[0])
    start, steady = max(start, float(curve[0])), _steady(case)
    curve = np.concatenate([[start], curve[steady]])
    walked = np.concatenate([[0.0], np.cumsum(case.training.rate)[steady]])
    whole = curve[0] - float(curve.min())
    left = max(abs(float(curve[-1])), LITTLE_LEFT * abs(whole), 1e-12)
    if whole <= 0:
        return _LateFall(0.0, 0.0)
    fall = float(np.interp(2 / 3 * walked[-1], walked, curve)) - float(curve[-1])
    late = np.diff(curve[walked >= 2 / 3 * walked[-1]])
    noise = float(np.std(late)) if len(late) > 2 else 0.1 * abs(fall)
    of_whole = beyond(fall / whole, STILL_FALLING, noise / whole)
    return _LateFall(fall / whole, max(of_whole, beyond(fall / left, STILL_LEFT, noise / left)))


def _steady(case: Case) -> np.ndarray:
    """Places of the epochs that can be compared: all, but under cycles of the rate those at whose end one ends."""
    valleys, n_epochs = case.training.valleys, len(case.training.epoch)
    return np.arange(n_epochs) if len(valleys) < 2 else np.union1d(valleys, n_epochs - 1)


def stopped_too_early(case: Case) -> Sign | None:
    """Early stopping gave up after few epochs without a gain, while the training loss was still falling."""
    training = case.training
    if training.patience is None or not training.stopped.all() or training.patience > SHORT_PATIENCE:
        return None
    fall = _late_fall(case, training.train_loss)
    share, of_share = lost(case)
    certainty = min(max(fall.certainty, _still_to_come(case)), 1 - beyond(share, LOST_WATCHED, of_share))
    evidence = (
        f"training stopped after {len(training.epoch)} of {training.max_iter} epochs, {training.patience} epoch(s) "
        f"without a gain; of all that the training loss fell, {fall.share:.0%} fell in the last third; {in_words(case)}"
    )
    return Sign(certainty, evidence, {"patience": USUAL_PATIENCE})


def _still_to_come(case: Case) -> float:
    """Certainty that the training loss falls much in as many epochs more as are usually waited, at its latest pace."""
    epochs = _steady(case)[-PACED:]
    if len(epochs) < 2:
        return 1.0
    losses = case.training.train_loss[epochs]
    line = linregress(epochs, losses)
    ahead = USUAL_PATIENCE / max(abs(float(losses[-1])), 1e-12)
    return beyond(-ahead * float(line.slope), TO_COME, ahead * float(line.stderr))


def still_improving(case: Case) -> Sign | None:
    """The training ended while what is watched, or the loss, was still falling."""
    training, curve = case.training, _watched_loss(case)
    if training.stopped.any() or training.diverged.any() or len(training.epoch) < training.max_iter:
        return None
    if curve is not None and training.best_epoch.mean() < 0.9 * training.epoch[-1] - 0.5:
        return None
    fall = _late_fall(case, training.train_loss if curve is None else curve)
    share, of_share = lost(case)
    certainty = min(fall.certainty, 1 - beyond(share, LOST if curve is None else LOST_WATCHED, of_share))
    name = "training" if curve is None else "validation"
    evidence = (
        f"of all that the {name} curve gained in {len(training.epoch)} epochs, {fall.share:.0%} came in the last "
        f"third; {in_words(case)}"
    )
    return Sign(certainty, evidence, {"max_iter": max(FEW_EPOCHS, 4 * training.max_iter)})


def rate_too_low(case: Case) -> Sign | None:
    """The weights have hardly moved from where they were drawn."""
    if case.initial is None:
        return None
    moved = [
        np.sqrt(np.square(now.weight - first.weight).mean() / max(np.square(first.weight).mean(), 1e-30))
        for first, now in zip(case.initial.layers, case.now.layers, strict=True)
    ]
    net, n_epochs = case.estimator.net_, len(case.training.epoch)
    n_steps = n_epochs * -(-len(case.part) // net.batch_size)
    little = beyond(-np.log10(max(np.max(moved), 1e-12)), -np.log10(MOVED), 0.15)
    certainty = min(little, beyond(np.log10(n_steps), np.log10(FEW_STEPS), 0.15))
    now = case.parameters["learning_rate_init"]
    remedy = {"learning_rate_init": max(_usual_rate(case), min(10 * now, 1.0))}
    evidence = (
        f"in {n_epochs} epochs of {n_steps // n_epochs} steps the weights of no layer moved by more than "
        f"{np.max(moved):.1%} of their size, at a learning rate of {now:g}; {in_words(case)}"
    )
    return Sign(harmful(case, certainty), evidence, remedy)


def _blown_up(training: Training) -> float:
    """How many times what it was at the start the loss may become. In cycles the rate rises fast at first."""
    if not len(training.valleys):
        return BLOWN_UP
    return BLOWN_UP_IN_CYCLES if len(training.valleys) > 1 else np.inf


def _steps(case: Case, losses: np.ndarray) -> np.ndarray:
    """By how much the losses change, each divided by how many there are: where the rate is high, or between cycles."""
    rate, valleys = case.training.rate, case.training.valleys
    fast = rate[1:] >= 0.5 * rate.max()
    steps = np.diff(losses[valleys]) if len(valleys) else np.diff(losses)[fast if fast.any() else slice(None)]
    return steps / max(len(steps), 1)


def _usual_rate(case: Case) -> float:
    return RATES.get(case.parameters["solver"], USUAL_RATE[case.parameters["parametrization"]])


def rate_too_high(case: Case) -> Sign | None:
    """The loss is not finite, climbs above what it was at the start, or jumps up and down."""
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
    begun = constant if case.initial is None or case.initial.loss is None else float(case.initial.loss.mean())
    highest = float(losses.max() / max(constant, begun))
    rough = float(np.maximum(_steps(case, losses), 0).sum() / constant)
    certainty = max(beyond(np.log(highest), np.log(_blown_up(training)), 0.1), beyond(rough, ROUGH, 0.01))
    when = "from one cycle's end to the next" if len(training.valleys) else "in an epoch"
    evidence = (
        f"the training loss reached {highest:.3g} times what it was at the start, and rose by {rough:.1%} of that of a "
        f"constant {when} on average, at a rate of {now:g}; {in_words(case)}"
    )
    return Sign(harmful(case, certainty), evidence, remedy)
