"""Run all diagnostics on a fitted estimator and report their findings."""

import copy
import html
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from ..estimators.base import RegularizedMLP
from ..estimators.fitting import network_config_of
from ..network.pretrained import PretrainedSource
from ..training.config import TrainingConfig
from .checks.registry import DIAGNOSTICS
from .context import DiagnosticContext
from .finding import HIGH_CERTAINTY, Finding

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # pandas has no type annotations

_MIN_CERTAINTY = 0.5
_WIDTH = 88
_MAX_DETAILED = 6


@dataclass(frozen=True)
class Diagnosis:
    """The findings about a fitted network.

    A diagnosis is printed as text and displayed as a table in a notebook.

    Parameters
    ----------
    findings : tuple of Finding
        The findings, most important first: those of high certainty, with causes before their effects, then the others.
    summary : str
        The examined estimator and data.

    Examples
    --------
    >>> from skreg.diagnostics import Diagnosis
    >>> print(Diagnosis((), "A network, 100 epochs."))
    A network, 100 epochs.
    <BLANKLINE>
    No problems were found.
    """

    findings: tuple[Finding, ...]
    summary: str

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __contains__(self, name: object) -> bool:
        return any(finding.name == name for finding in self.findings)

    def __str__(self) -> str:
        lines = [textwrap.fill(self.summary, _WIDTH), ""]
        if not self.findings:
            lines.append("No problems were found.")
        for number, finding in enumerate(self.findings[:_MAX_DETAILED], start=1):
            label = _certainty_label(finding.certainty)
            call = f"Try set_params({_arguments(finding)})." if finding.remedy else ""
            evidence = f"{finding.evidence[:1].upper()}{finding.evidence[1:]}."
            lines.append(f"{number}. {finding.name.capitalize()} ({label}, {finding.certainty:.0%})")
            paragraphs = evidence, f"{finding.advice} {call}".strip()
            lines += [textwrap.fill(text, _WIDTH, initial_indent="   ", subsequent_indent="   ") for text in paragraphs]
        if names := [finding.name for finding in self.findings[_MAX_DETAILED:]]:
            lines += ["", textwrap.fill(f"Less certain or less important findings: {', '.join(names)}.", _WIDTH)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        header = "".join(f"<th>{name}</th>" for name in ("finding", "certainty", "evidence", "remedy", "advice"))
        rows = []
        for finding in self.findings:
            cells = [finding.name, f"{finding.certainty:.0%}", finding.evidence, _arguments(finding), finding.advice]
            rows.append("".join(f"<td style='text-align:left'>{html.escape(cell)}</td>" for cell in cells))
        body = "".join(f"<tr>{row}</tr>" for row in rows) or "<tr><td colspan='5'>No problems were found.</td></tr>"
        caption = f"<caption>{html.escape(self.summary)}</caption>"
        return f"<table>{caption}<thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>"

    def to_frame(self) -> "pd.DataFrame":
        """Return the findings as a data frame, which requires pandas.

        Returns
        -------
        pandas.DataFrame of shape (n_findings, 6)
            One row for each finding, in order, with the fields of ``Finding`` as columns.
        """
        import pandas as pd

        return pd.DataFrame(map(vars, self.findings), columns=[field.name for field in fields(Finding)])


def diagnose(
    estimator: RegularizedMLP,
    X: Any,
    y: Any,
    X_val: Any = None,
    y_val: Any = None,
    *,
    sample_weight: Any = None,
    sample_weight_val: Any = None,
) -> Diagnosis:
    """Find problems of a fitted network, such as overfitting, and propose remedies.

    The function examines the training history, the layers before and after training, the columns, and the predictions
    for training and held-out rows. Large tables are sampled down to a few thousand rows. The estimator is not modified.
    Rows of weight 0 are ignored. Other weights, including ``class_weight``, enter the losses and gradients, but not the
    comparisons with other models.

    Parameters
    ----------
    estimator : RegularizedMLPClassifier or RegularizedMLPRegressor
        A fitted estimator whose parameters have not been changed since the fit.
    X, y : as in ``fit``
        The training data in the order that was passed to ``fit``.
    X_val, y_val : as in ``fit``, default=None
        Rows that were not used for training, for example the validation rows passed to ``fit``. By default, the rows
        that each member held out are used; they are reproduced from the seed.
    sample_weight, sample_weight_val : as in ``fit``, default=None
        The weights that were passed to ``fit``, and those of the rows of X_val.

    Returns
    -------
    Diagnosis
        The findings with a certainty of at least 0.5.

    Raises
    ------
    TypeError
        If the estimator is an instance of another class.
    ValueError
        If only one of X_val and y_val is given, or if the columns differ from those of the fit.
    NotFittedError
        If the estimator is not fitted.

    References
    ----------
    The :doc:`page about diagnostics </diagnostics>` describes each finding and cites its sources.

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
            "The 'estimator' argument of diagnose must be a RegularizedMLPClassifier or RegularizedMLPRegressor. Got "
            f"{type(estimator).__name__} instead. For a Pipeline or a search, pass the fitted network and the X that "
            "it was fitted on."
        )
    context = DiagnosticContext(estimator, X, y, X_val, y_val, sample_weight, sample_weight_val)
    results = [diagnostic(context) for diagnostic in DIAGNOSTICS.values()]
    findings = [
        replace(finding, remedy=_applicable(estimator, finding.remedy))
        for finding in results
        if finding is not None and finding.certainty >= _MIN_CERTAINTY
    ]
    return Diagnosis(tuple(sorted(findings, key=lambda finding: not finding.is_certain)), _summary(context))


def _applicable(estimator: RegularizedMLP, remedy: dict[str, Any]) -> dict[str, Any]:
    """Keep the parameters of a remedy that change something and are compatible with the others."""
    kept: dict[str, Any] = {}
    parameters = estimator.get_params(deep=False)
    for name, value in remedy.items():
        current = parameters.get(name, value)
        if type(current) is type(value) and current == value:
            continue
        changed = copy.copy(estimator).set_params(**kept, **{name: value})
        try:
            TrainingConfig.from_estimator(changed)
            PretrainedSource.from_estimator(changed, network_config_of(changed))
        except ValueError:
            continue
        kept[name] = value
    # A warm start would continue with the weights that the remedy is meant to replace.
    return kept | ({"warm_start": False} if kept and parameters["warm_start"] else {})


def _summary(context: DiagnosticContext) -> str:
    estimator, curves = context.estimator, context.curves
    held_out = "no held-out rows" if context.held_out is None else f"{len(context.held_out)} held-out rows"
    return (
        f"{type(estimator).__name__} with hidden_layer_sizes={estimator.hidden_layer_sizes!r}, "
        f"{len(curves.best_epoch)} member(s), {len(curves.epoch)} of {curves.max_iter} epochs, "
        f"{len(context.data)} rows and {estimator.n_features_in_} columns, {held_out}."
    )


def _certainty_label(certainty: float) -> str:
    return "all but certain" if certainty >= 0.95 else "likely" if certainty >= HIGH_CERTAINTY else "suspected"


def _arguments(finding: Finding) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in finding.remedy.items())
