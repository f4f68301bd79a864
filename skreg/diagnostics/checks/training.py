"""Checks of training: the curves of loss, score and learning rate, and how far the weights moved."""

from typing import Any

import numpy as np
from scipy.stats import linregress

from ...training.optimizers.registry import SOLVERS
from ..context import DiagnosticContext
from ..curves import TrainingCurves
from ..finding import Finding
from .measures import (
    averaging_remedy,
    describe_loss,
    generalization_gap,
    limit_unless_harmful,
    much_higher_loss,
    probability_above,
    ratio_above,
    ratio_below,
    shortfall,
    standard_error,
)

# The thresholds were chosen with benchmarks/diagnostics.py, and docs/diagnostics.rst describes them.
MAX_GAP, MAX_GAP_WITH_EARLY_STOPPING = 0.3, 0.65
UNDERFITTING_SHORTFALL, WIDE_LAYERS = 0.05, (128, 128)
LATE_SHARE_OF_GAIN, LATE_SHARE_OF_LOSS, MIN_SHARE_OF_GAIN = 0.05, 0.3, 0.05
FEW_EPOCHS = 100
SHORT_PATIENCE, USUAL_PATIENCE = 5, 20
TREND_EPOCHS, EXPECTED_GAIN = 8, 0.2
MOVED_SHARE, FEW_STEPS = 0.15, 50
USUAL_UNSCALED_RATE, USUAL_RATES = 0.05, {"ntk": 0.02, "standard": 0.005}
MAX_LOSS_RATIO, MAX_LOSS_RATIO_IN_CYCLES, MAX_RISE = 1.5, 20.0, 0.03


def overfitting(context: DiagnosticContext) -> Finding | None:
    """Test whether the held-out loss is much higher than the training loss (Prechelt 1998)."""
    if context.held_out is None:
        return None
    stops_early = context.curves.patience is not None
    share, error = generalization_gap(context)
    train, held_out = context.train.loss.mean(), context.held_out.loss.mean()
    gap = held_out - train
    interval = 1.96 * error * gap / share if share else 0.0
    evidence = (
        f"the loss is {train:.3g} on training rows and {held_out:.3g} on {len(context.held_out)} held-out rows; the "
        f"gap of {gap:.3g} (95 % interval {gap - interval:.3g} to {gap + interval:.3g}) is {share:.0%} of the learned "
        f"loss reduction{_after_best_epoch(context.curves)}"
    )
    parameters = context.parameters
    remedy = averaging_remedy(parameters, 0.3) | {"weight_decay": max(0.1, parameters["weight_decay"])}
    if not stops_early:
        remedy |= {"early_stopping": True, "patience": max(USUAL_PATIENCE, parameters["patience"])}
    certainty = probability_above(share, MAX_GAP_WITH_EARLY_STOPPING if stops_early else MAX_GAP, error)
    return Finding("overfitting", certainty, evidence, remedy, "Use early stopping and more regularization.")


def _after_best_epoch(curves: TrainingCurves) -> str:
    """Describe by how much the validation curve gets worse after its best epoch."""
    curve = curves.validation_loss
    if curve is None:
        return "; no validation curve was recorded"
    best = int(np.argmin(curve))
    if best == len(curve) - 1:
        return ""
    name = "score" if curves.greater_is_better else "loss"
    return f"; after epoch {curves.epoch[best]} the validation {name} gets worse by {curve[-1] - curve[best]:.3g}"


def underfitting(context: DiagnosticContext) -> Finding | None:
    """Test whether baselines learn more and training rows are not memorized (Hastie et al. 2009, section 7.3)."""
    comparison, parameters = context.comparison, context.parameters
    is_worse = max(shortfall(context, UNDERFITTING_SHORTFALL), much_higher_loss(context))
    certainty = min(is_worse, 1 - _gap_above(context, MAX_GAP_WITH_EARLY_STOPPING))
    if comparison is not None and parameters["loss"] in ("log_loss", "squared_error"):
        train = context.train.loss
        error = float(np.hypot(standard_error(train), standard_error(comparison.baseline)))
        certainty = min(certainty, probability_above(float(train.mean() - comparison.baseline.mean()), 0.0, error))
    widths = tuple(linear.weight.shape[2] for linear in context.estimator.net_.module_.linears[:-1])
    wider = WIDE_LAYERS if sum(widths) < sum(WIDE_LAYERS) else tuple(2 * width for width in widths)
    remedy: dict[str, Any] = {"hidden_layer_sizes": wider}
    if parameters["activation"] == "identity":
        remedy["activation"] = "silu"
    if np.max(parameters["dropout"], initial=0) > 0.3:
        remedy["dropout"] = 0.1
    if parameters["max_iter"] < FEW_EPOCHS:
        remedy["max_iter"] = FEW_EPOCHS
    return Finding("underfitting", certainty, describe_loss(context), remedy, "Use a larger network.")


def _gap_above(context: DiagnosticContext, threshold: float) -> float:
    """Probability that the generalization gap is above a threshold."""
    share, error = generalization_gap(context)
    return probability_above(share, threshold, error)


def _late_gain(context: DiagnosticContext, curve: np.ndarray) -> tuple[float, float]:
    """Share of a curve's gain that came late, and the probability that the late gain is more than negligible.

    "Late" means in the last third of the sum of the learning rates. The late gain is compared with the whole gain and
    with the final loss.
    """
    curves, epochs = context.curves, context.curves.comparable
    start = float(curve[0])
    if not curves.greater_is_better:
        start = max(start, float(context.train.constant_loss.mean()))
    curve = np.concatenate([[start], curve[epochs]])
    progress = np.concatenate([[0.0], np.cumsum(curves.learning_rate)[epochs]])
    gain = curve[0] - float(curve.min())
    if gain <= 0:
        return 0.0, 0.0
    late = 2 / 3 * progress[-1]
    late_gain = float(np.interp(late, progress, curve)) - float(curve[-1])
    steps = np.diff(curve[progress >= late])
    noise = float(np.std(steps)) if len(steps) > 2 else 0.1 * abs(late_gain)
    final = max(abs(float(curve[-1])), MIN_SHARE_OF_GAIN * gain, 1e-12)
    certainty = max(
        probability_above(late_gain / gain, LATE_SHARE_OF_GAIN, noise / gain),
        probability_above(late_gain / final, LATE_SHARE_OF_LOSS, noise / final),
    )
    return late_gain / gain, certainty


def stopped_too_early(context: DiagnosticContext) -> Finding | None:
    """Test whether early stopping ended training while the network was still improving (Prechelt 1998)."""
    curves = context.curves
    if curves.patience is None or not curves.stopped.all() or curves.patience > SHORT_PATIENCE:
        return None
    late_share, is_falling = _late_gain(context, curves.train_loss)
    certainty = min(max(is_falling, _expected_gain(curves)), 1 - _gap_above(context, MAX_GAP_WITH_EARLY_STOPPING))
    evidence = (
        f"training stopped after {len(curves.epoch)} of {curves.max_iter} epochs, with a patience of {curves.patience} "
        f"epoch(s); {late_share:.0%} of the decrease of the training loss came in the last third; "
        f"{describe_loss(context)}"
    )
    return Finding("stopped too early", certainty, evidence, {"patience": USUAL_PATIENCE}, "Increase the patience.")


def _expected_gain(curves: TrainingCurves) -> float:
    """Probability that the training loss would fall considerably during the usual patience if its trend continued."""
    epochs = curves.comparable[-TREND_EPOCHS:]
    if len(epochs) < 2:
        return 1.0
    losses = curves.train_loss[epochs]
    trend = linregress(epochs, losses)
    scale = USUAL_PATIENCE / max(abs(float(losses[-1])), 1e-12)
    return probability_above(-scale * float(trend.slope), EXPECTED_GAIN, scale * float(trend.stderr))


def still_improving(context: DiagnosticContext) -> Finding | None:
    """Test whether training ended while the curve was still improving (Prechelt 1998)."""
    curves, curve = context.curves, context.curves.validation_loss
    if curves.stopped.any() or curves.diverged.any() or len(curves.epoch) < curves.max_iter:
        return None
    if curve is not None and curves.best_epoch.mean() < 0.9 * curves.epoch[-1] - 0.5:
        return None
    late_share, is_falling = _late_gain(context, curves.train_loss if curve is None else curve)
    max_gap = MAX_GAP if curve is None else MAX_GAP_WITH_EARLY_STOPPING
    evidence = (
        f"{late_share:.0%} of the improvement of the {'training' if curve is None else 'validation'} curve in "
        f"{len(curves.epoch)} epochs came in the last third; {describe_loss(context)}"
    )
    remedy = {"max_iter": max(FEW_EPOCHS, 4 * curves.max_iter)}
    certainty = min(is_falling, 1 - _gap_above(context, max_gap))
    return Finding("still improving", certainty, evidence, remedy, "Train for more epochs.")


def learning_rate_too_low(context: DiagnosticContext) -> Finding | None:
    """Test whether the weights have hardly moved from their initial values (Smith 2017)."""
    if context.initial_layers is None:
        return None
    moved = max(
        np.sqrt(np.square(fitted.weight - initial.weight).mean() / max(np.square(initial.weight).mean(), 1e-30))
        for initial, fitted in zip(context.initial_layers.layers, context.fitted_layers.layers, strict=True)
    )
    n_epochs = len(context.curves.epoch)
    steps_per_epoch = -(-len(context.data) // context.estimator.net_.batch_size)
    is_low = min(ratio_below(moved, MOVED_SHARE), ratio_above(n_epochs * steps_per_epoch, FEW_STEPS))
    current = context.parameters["learning_rate_init"]
    evidence = (
        f"in {n_epochs} epochs of {steps_per_epoch} steps no layer's weights moved by more than {moved:.1%} of their "
        f"size, with learning_rate_init={current:g}; {describe_loss(context)}"
    )
    remedy = {"learning_rate_init": max(_usual_learning_rate(context), min(10 * current, 1.0))}
    certainty = limit_unless_harmful(context, is_low)
    return Finding("learning rate too low", certainty, evidence, remedy, "Increase the learning rate.")


def learning_rate_too_high(context: DiagnosticContext) -> Finding | None:
    """Test whether training diverged, or its loss rose or fluctuated (Smith 2017)."""
    curves, current = context.curves, context.parameters["learning_rate_init"]
    name, advice = "learning rate too high", "Decrease the learning rate."
    remedy = {"learning_rate_init": min(current / 10, _usual_learning_rate(context))}
    if curves.diverged.any():
        epoch = curves.best_epoch[curves.diverged].min()
        evidence = f"the training diverged after epoch {epoch} with learning_rate_init={current:g}"
        return Finding(name, 1.0, evidence, remedy, advice)
    losses, constant_loss = curves.train_loss, float(context.train.constant_loss.mean())
    if len(losses) < 3 or constant_loss <= 0:
        return None
    initial = None if context.initial_layers is None else context.initial_layers.loss
    start = constant_loss if initial is None else float(initial.mean())
    highest = float(losses.max() / max(constant_loss, start))
    rise = _mean_rise(curves) / constant_loss
    # The loss may rise at the start of a cycle. The rise in a single cycle cannot be judged.
    max_ratio = (MAX_LOSS_RATIO, np.inf, MAX_LOSS_RATIO_IN_CYCLES)[min(len(curves.cycle_ends), 2)]
    is_high = probability_above(np.log(highest), np.log(max_ratio), 0.1)
    certainty = limit_unless_harmful(context, max(is_high, probability_above(rise, MAX_RISE, 0.01)))
    period = "from one cycle of the learning rate to the next" if len(curves.cycle_ends) else "per epoch"
    evidence = (
        f"with learning_rate_init={current:g} the training loss reached {highest:.3g} times its initial value, and "
        f"rose by {rise:.1%} of a constant's loss {period} on average; {describe_loss(context)}"
    )
    return Finding(name, certainty, evidence, remedy, advice)


def _usual_learning_rate(context: DiagnosticContext) -> float:
    parameters = context.parameters
    scale_invariant = SOLVERS[parameters["solver"]].scale_invariant
    return USUAL_RATES[parameters["parametrization"]] if scale_invariant else USUAL_UNSCALED_RATE


def _mean_rise(curves: TrainingCurves) -> float:
    """Mean rise of the loss between the ends of cycles, or between epochs with a high learning rate."""
    if len(curves.cycle_ends):
        steps = np.diff(curves.train_loss[curves.cycle_ends])
    else:
        rate = curves.learning_rate
        is_high = rate[1:] >= 0.5 * rate.max()
        steps = np.diff(curves.train_loss)[is_high if is_high.any() else slice(None)]
    return float(np.maximum(steps, 0).sum()) / max(len(steps), 1)
