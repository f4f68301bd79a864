"""Diagnostics that find problems of a fitted network and propose parameters that help.

`diagnose` runs the checks in `checks/` on a `DiagnosticContext` and returns their findings as a `Diagnosis`.
"""

from .finding import Finding
from .report import Diagnosis, diagnose

__all__ = ["Diagnosis", "Finding", "diagnose"]
