"""A lane is a candidate on its way, and a runner its fit of a fold, which trains beside those of others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from sklearn.pipeline import Pipeline

from ._candidates import Candidate
from ._joint import Entrant
from ._quick_scores import quick_score
from .estimators.base import PreparedFit, RegularizedMLP
from .estimators.prediction import with_known_output
from .network.config import structure_decided_by_values
from .training.update_step import solvers_with

STRENGTHS = frozenset(
    (
        *("alpha", "augmentation_strength", "clip_norm", "dropout", "ema_decay", "feature_alpha", "input_dropout"),
        *("l1_ratio", "label_smoothing", "learning_rate_init", "max_norm", "weight_decay"),
    )
)
"""Parameters that the members of one net may have different values of."""


def network_of(estimator: Any) -> tuple[str | None, Any]:
    """The network that an estimator is or ends with, and the name of its step; None where it is none of ours."""
    name, last = estimator.steps[-1] if isinstance(estimator, Pipeline) and estimator.steps else (None, estimator)
    ours = isinstance(last, RegularizedMLP) and type(last).fit is RegularizedMLP.fit
    return name, last if ours else None


def trains_beside_others(network: RegularizedMLP) -> bool:
    """Whether nothing in a network's parameters asks for a training of its own."""
    alone = (
        network.solver in solvers_with("full_batch"),
        network.swa_start is not None,
        network.time_limit is not None,
        network.pretrained is not None,
        network.warm_start,
        network.callbacks,
        network.verbose,
        getattr(network, "_skl_callbacks", None),
    )
    return not any(alone)


@dataclass(eq=False)
class Runner:
    """A fold's fit of a candidate.

    Attributes
    ----------
    whole : estimator
        What is fitted: the network, or the Pipeline that ends with it.
    entry : PreparedFit
        The network's fit.
    before : Pipeline or None
        The fitted steps before the network.
    X, y, scored
        The fold's test rows, as the network gets them, and what else the scorer is told of them.
    entrant : Entrant
        The training.
    part : int
        Runners of different parts are members of different nets.
    context : dict
        What ``_fit_and_score`` is told of scikit-learn's callbacks.
    """

    whole: Any
    entry: PreparedFit
    before: Any
    X: Any
    y: Any
    scored: dict[str, Any]
    entrant: Entrant
    part: int
    context: dict[str, Any]
    score: Any = np.nan

    def look(self, scorer: Any) -> Any:
        """The score, or several, on the test rows of what the fit would be if it ended now."""
        if self.entrant.fresh and all(raw is not None for raw in self.entrant.raw):
            self.entrant.fresh = False
            raw = torch.stack([raw for raw in self.entrant.raw if raw is not None])
            view = with_known_output(self.entry.estimator, self.entry.net, self.X, raw)
            quick = None if self.scored else quick_score(scorer, view, self.y)
            self.score = quick(view, self.X, self.y) if quick else scorer(view, self.X, self.y, **self.scored)
        return self.score

    def fit(self, *told: Any, **metadata: Any) -> Any:
        """Finish the fit, in the place of ``whole.fit``."""
        self.entry.finish()
        if self.before is not None:
            self.whole.steps[:-1] = self.before.steps
        return self.whole


@dataclass(eq=False)
class Lane:
    """A candidate on its way.

    Attributes
    ----------
    candidate : Candidate
        Whose lane it is.
    whole : estimator
        Its estimator, parameters set.
    key : tuple
        What it has in common with those that it can train with.
    before : tuple
        The parameters of the steps before the network.
    scores, seconds : dict
        For each fold that is under way, what it would score now, and how long it has trained.
    results : dict of dict
        What scikit-learn says of the folds that have ended.
    due, told : bool
        Whether the pruner is to be asked, and whether it has heard of the last epoch.
    """

    candidate: Candidate
    whole: Any
    key: tuple[Any, ...]
    before: tuple[Any, ...]
    scores: dict[int, Any] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    results: dict[int, dict[str, Any]] = field(default_factory=dict)
    due: bool = False
    told: bool = False


def key_of(whole: Any, params: dict[str, Any]) -> tuple[Any, ...]:
    """What candidates must have in common that train together: all but strengths, and what those decide."""
    step, network = network_of(whole)
    strengths = {name if step is None else f"{step}__{name}" for name in STRENGTHS}
    others = {name: value for name, value in params.items() if name not in strengths}
    idle = network.augmentation is None or not network.augmentation_strength
    return (*plain(others), idle, *structure_decided_by_values(network))


def plain(params: dict[str, Any]) -> tuple[Any, ...]:
    """Parameters as they can be compared: numbers and texts by what they are, anything else by which object it is."""
    return tuple(sorted((name, _plain_value(value)) for name, value in params.items()))


def _plain_value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}({','.join(map(_plain_value, value))})"
    simple = value is None or isinstance(value, bool | int | float | str | np.generic)
    return f"{type(value).__name__} {value!r}" if simple else f"object {id(value)}"
