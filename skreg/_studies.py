"""A study's run is one process's share in an Optuna study."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna tells of each study that it makes; a search speaks when asked to."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


class StudyRun:
    """One process's share in a study, here in memory."""

    def __init__(self, study: optuna.Study) -> None:
        self.study = study
        self._claimed: dict[int, optuna.Trial] = {}
        self._exhausted = False

    @classmethod
    def open(
        cls,
        storage: Any,
        study_name: str | None,
        *,
        direction: Literal["minimize", "maximize"] = "maximize",
        sampler: Any = None,
        pruner: Any = None,
        seed: int,
        fingerprint: dict[str, str],
    ) -> StudyRun:
        """Create or join a study."""
        import warnings

        import optuna

        with _quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if sampler is None:
                sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)
            study = optuna.create_study(
                storage=storage,
                study_name=study_name,
                direction=direction,
                sampler=sampler,
                pruner=pruner or optuna.pruners.NopPruner(),
                load_if_exists=True,
            )
        return cls(study)

    def enqueue(self, params: dict[str, Any]) -> None:
        """Let the first trial be this, where there is none yet."""
        if not self.study.get_trials(deepcopy=False):
            self.study.enqueue_trial(params)

    def ask(self, n: int, total: int, distributions: dict[str, BaseDistribution] | None = None) -> list[optuna.Trial]:
        """Up to n trials, so many that there are ``total`` of them in the end."""
        n = 0 if self._exhausted else min(n, total - len(self.finished()) - len(self._claimed))
        asked = [self.study.ask(distributions) for _ in range(n)]
        self._claimed |= {trial.number: trial for trial in asked}
        return asked

    def report(self, trial: optuna.Trial, step: int, value: float) -> None:
        """Tell how a trial does so far."""
        trial.report(value, step)

    def should_prune(self, trial: optuna.Trial) -> bool:
        """Whether the pruner gives a trial up."""
        return trial.should_prune()

    def tell(
        self, trial: optuna.Trial, value: float | None = None, *, state: str = "complete", attrs: dict | None = None
    ) -> None:
        """Tell how a trial ended: "complete", "pruned" or "failed"."""
        from optuna.trial import TrialState

        for name, what in (attrs or {}).items():
            trial.set_user_attr(name, what)
        states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
        if state == "failed":
            trial.set_user_attr("skreg:counts", True)
        del self._claimed[trial.number]
        try:
            self.study.tell(trial, value if state == "complete" else None, state=states[state])
        except RuntimeError as error:  # a sampler that has nothing left calls for an end, which only optimize has
            if "Study.stop" not in str(error):
                raise
            self._exhausted = True

    def finished(self) -> list[FrozenTrial]:
        """Trials that count, by number."""
        from optuna.trial import TrialState

        return [
            trial
            for trial in self.study.get_trials(deepcopy=False)
            if trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or "skreg:counts" in trial.user_attrs
        ]

    def wait(self, total: int, timeout: float | None = None) -> bool:
        """Whether all are finished."""
        return self._exhausted or len(self.finished()) >= total

    def close(self) -> None:
        """Let go of what was asked for and not told."""
        from optuna.trial import TrialState

        for trial in self._claimed.values():
            self.study.tell(trial, state=TrialState.FAIL)
        self._claimed = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
