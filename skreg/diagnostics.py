"""A diagnosis says what is wrong with a fitted network, how surely, by which evidence, and what helps."""

import copy
import html
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ._case import Case
from ._illnesses import ILLNESSES, Illness
from .estimators.base import RegularizedMLP
from .network.config import NetworkConfig
from .network.pretrained import PretrainedSource
from .training.config import TrainingConfig
from .training.update_step import SOLVERS

__all__ = ["Diagnosis", "Finding", "diagnose"]

_SUSPECTED, _HIGH = 0.5, 0.8
_WIDTH = 88
_MOST_SHOWN = 6


@dataclass(frozen=True)
class Finding:
    """What was found.

    Parameters
    ----------
    name : str
        The illness, one of those that the page *what is wrong with my network?* lists.
    certainty : float
        Probability that what was measured is beyond the line at which the illness begins, given the error of the
        measurement, in [0, 1]. At least 0.8 is high; an oddity that does no harm which could be told has at most 0.6.
    evidence : str
        The numbers.
    remedy : dict
        Parameters for ``estimator.set_params(**finding.remedy)``; empty where no parameter helps.
    advice : str, default=""
        The remedy in words.
    columns : tuple of str, default=()
        Columns of the table that are to blame.

    Examples
    --------
    >>> from skreg.diagnostics import Finding
    >>> Finding("still improving", 0.93, "12 % came in the last third", {"max_iter": 400}).is_certain
    True
    """

    name: str
    certainty: float
    evidence: str
    remedy: dict[str, Any] = field(default_factory=dict)
    advice: str = ""
    columns: tuple[str, ...] = ()

    @property
    def is_certain(self) -> bool:
        """Whether the certainty is high."""
        return self.certainty >= _HIGH


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a fitted network.

    Printed, it is a letter; in a notebook a table.

    Parameters
    ----------
    findings : tuple of Finding
        The most important first: those of high certainty, causes before what they bring about, then the others.
    patient : str
        What was looked at.

    Examples
    --------
    >>> from skreg.diagnostics import Diagnosis
    >>> print(Diagnosis((), "A network, 100 epochs."))
    A network, 100 epochs.
    <BLANKLINE>
    Nothing was found to be wrong.
    """

    findings: tuple[Finding, ...]
    patient: str

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __contains__(self, name: object) -> bool:
        return any(finding.name == name for finding in self.findings)

    def __str__(self) -> str:
        lines = [textwrap.fill(self.patient, _WIDTH), ""]
        if not self.findings:
            lines.append("Nothing was found to be wrong.")
        for number, finding in enumerate(self.findings[:_MOST_SHOWN], start=1):
            lines += [
                f"{number}. {finding.name.capitalize()} ({_in_words(finding.certainty)}, {finding.certainty:.0%})"
            ]
            told = [f"{finding.evidence[:1].upper()}{finding.evidence[1:]}.", f"{finding.advice} {_remedy(finding)}"]
            lines += [
                textwrap.fill(each.strip(), _WIDTH, initial_indent="   ", subsequent_indent="   ") for each in told
            ]
        if rest := [finding.name for finding in self.findings[_MOST_SHOWN:]]:
            lines += ["", textwrap.fill(f"Besides, less surely or less important: {', '.join(rest)}.", _WIDTH)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        heads = "".join(f"<th>{name}</th>" for name in ("finding", "certainty", "evidence", "remedy", "advice"))
        rows = []
        for finding in self.findings:
            cells = [finding.name, f"{finding.certainty:.0%}", finding.evidence, _call(finding), finding.advice]
            rows.append("".join(f"<td style='text-align:left'>{html.escape(cell)}</td>" for cell in cells))
        body = "".join(f"<tr>{row}</tr>" for row in rows) or "<tr><td colspan='5'>nothing was found</td></tr>"
        caption = f"<caption>{html.escape(self.patient)}</caption>"
        return f"<table>{caption}<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"

    def to_frame(self) -> Any:
        """The findings as a table.

        Returns
        -------
        pandas.DataFrame of shape (n_findings, 6)
            One row for each finding, in order, with the fields of ``Finding``. It needs pandas.
        """
        import pandas  # type: ignore[import-untyped]  # its types are another package

        names = ["name", "certainty", "evidence", "remedy", "advice", "columns"]
        return pandas.DataFrame([[getattr(f, name) for name in names] for f in self.findings], columns=names)


def diagnose(estimator: Any, X: Any, y: Any, X_val: Any = None, y_val: Any = None) -> Diagnosis:
    """Say what is wrong with a fitted network, and what helps.

    It looks at the course of the training, at the layers (before it and now), at the columns, and at how rows are
    predicted that were trained on and that were not. At most a few thousand rows are looked at. Nothing of the
    estimator changes. Rows are taken to weigh alike but for ``class_weight``.

    Parameters
    ----------
    estimator : RegularizedMLPClassifier or RegularizedMLPRegressor
        A fitted one, its parameters as they were in the fit.
    X, y : as in ``fit``
        The rows that it was fitted on, in the same order.
    X_val, y_val : as in ``fit``, default=None
        Rows that it was not trained on: those given to ``fit``, or others. Without them the rows are taken that each
        member held out, as they are known from the seed.

    Returns
    -------
    Diagnosis
        What was found with a certainty of at least one half.

    Raises
    ------
    TypeError
        If the estimator is another one.
    ValueError
        If one of X_val and y_val is given alone, or the columns are not those of the fit.
    NotFittedError
        If the estimator is not fitted.

    References
    ----------
    The :doc:`page about the doctor </doctor>` has the sources, illness by illness.

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> from skreg import RegularizedMLPRegressor, diagnose
    >>> X, y = make_friedman1(400, random_state=0)
    >>> short = RegularizedMLPRegressor((32,), max_iter=3, learning_rate="cosine", random_state=0)
    >>> short = short.set_params(learning_rate_init=0.005).fit(X, y)
    >>> diagnosis = diagnose(short, X, y)
    >>> diagnosis.findings[0].name
    'still improving'
    >>> better = short.set_params(**diagnosis.findings[0].remedy).fit(X, y)
    >>> "still improving" in diagnose(better, X, y)
    False
    """
    if not isinstance(estimator, RegularizedMLP):
        raise TypeError(
            "diagnose looks at a RegularizedMLPClassifier or RegularizedMLPRegressor. Got "
            f"{type(estimator).__name__} instead: of a Pipeline or search give the fitted network, and X as it saw it."
        )
    case = Case(estimator, X, y, X_val, y_val)
    found = []
    for rank, illness in enumerate(ILLNESSES):
        finding = _finding(illness, case)
        if finding is not None and finding.certainty >= _SUSPECTED:
            found.append((not finding.is_certain, rank, finding))
    return Diagnosis(tuple(finding for *_, finding in sorted(found, key=lambda each: each[:2])), _patient(case))


def _finding(illness: Illness, case: Case) -> Finding | None:
    sign = illness.check(case)
    if sign is None:
        return None
    remedy = _accepted(case.estimator, sign.remedy)
    return Finding(illness.name, float(sign.certainty), sign.evidence, remedy, illness.advice, sign.columns)


def _accepted(estimator: Any, remedy: dict[str, Any]) -> dict[str, Any]:
    """What of a remedy changes something, and goes together with the other parameters; a new network starts afresh."""
    kept: dict[str, Any] = {}
    for name, value in remedy.items():
        if name in estimator.get_params(deep=False) and not _same(getattr(estimator, name), value):
            changed = copy.copy(estimator)
            vars(changed).update(kept | {name: value})
            try:
                TrainingConfig.of(changed)
                config = NetworkConfig.from_estimator(changed, SOLVERS[changed.solver].scale_invariant)
                PretrainedSource.from_estimator(changed, config)
            except ValueError:
                continue
            kept[name] = value
    return kept | ({"warm_start": False} if kept and estimator.warm_start else {})


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def _patient(case: Case) -> str:
    """What was looked at, in a sentence."""
    training, estimator = case.training, case.estimator
    rows, columns = len(case.part), estimator.n_features_in_
    held = "none held out" if case.held is None else f"{len(case.held)} held-out rows looked at"
    return (
        f"{type(estimator).__name__} with hidden_layer_sizes={estimator.hidden_layer_sizes!r}, "
        f"{len(training.best_epoch)} member(s), {len(training.epoch)} of {training.max_iter} epochs, {rows} rows and "
        f"{columns} columns, {held}."
    )


def _in_words(certainty: float) -> str:
    return "all but certain" if certainty >= 0.95 else "likely" if certainty >= _HIGH else "suspected"


def _call(finding: Finding) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in finding.remedy.items())


def _remedy(finding: Finding) -> str:
    return f"Try set_params({_call(finding)})." if finding.remedy else ""
