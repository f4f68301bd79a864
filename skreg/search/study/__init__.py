"""Optuna studies that several processes share and resume, even if processes are killed.

`study_run` asks for trials and reports their results; the other files store the study, identify it and detect dead
processes. This subpackage imports Optuna.
"""

from .fingerprints import fingerprint
from .identity import PRUNING_UNIT
from .study_run import StudyRun

__all__ = ["PRUNING_UNIT", "StudyRun", "fingerprint"]
