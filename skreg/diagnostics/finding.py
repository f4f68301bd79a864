"""A problem found by a diagnosis."""

from dataclasses import dataclass, field
from typing import Any

HIGH_CERTAINTY = 0.8


@dataclass(frozen=True)
class Finding:
    """A problem of a fitted network, with the evidence for it and a remedy.

    Parameters
    ----------
    name : str
        Name of the problem. The documentation of the diagnostics lists all names.
    certainty : float
        Probability, in [0, 1], that the measured quantity is beyond the threshold of the problem, given the measurement
        error. A certainty of at least 0.8 is high. An anomaly without a measurable effect on the predictions has a
        certainty of at most 0.6.
    evidence : str
        The measured numbers.
    remedy : dict, default={}
        Parameters for ``estimator.set_params(**finding.remedy)``. It is empty if no parameter helps.
    advice : str, default=""
        The remedy in words.
    columns : tuple of str, default=()
        Names of the affected columns.

    Examples
    --------
    >>> from skreg.diagnostics import Finding
    >>> Finding("still improving", 0.93, "12 % of the gain came in the last third", {"max_iter": 400}).is_certain
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
        """Whether the certainty is at least 0.8."""
        return self.certainty >= HIGH_CERTAINTY
