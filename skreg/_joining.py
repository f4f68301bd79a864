"""How a process joins a study: it makes it, or makes sure that the study is that of the same search."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import optuna

FINGERPRINT = "skreg:fingerprint"
WATCHED = "watched"
"""What of a fingerprint says by what a pruner watches candidates, where there is one; all that are watched are so."""
JOIN_SECONDS = 2.0


@contextmanager
def quiet() -> Iterator[None]:
    """Optuna tells of each study that it makes; a search speaks when asked to."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)


def default_sampler(seed: int, number: int) -> Any:
    """The default sampler, for one trial."""
    import optuna

    own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    with quiet():
        return optuna.samplers.TPESampler(seed=own, multivariate=True, group=True, constant_liar=True)


def join(
    storage: Any,
    study_name: str | None,
    direction: Literal["minimize", "maximize"],
    sampler: Any,
    pruner: Any,
    fingerprint: Mapping[str, str],
) -> optuna.Study:
    """Create a study, or join the one that is there; one that is another search's is refused.

    Parameters
    ----------
    storage : None, str, path or storage
        As `_storages.open_storage` takes it.
    study_name : str or None
        None is a name made of the fingerprint, so that the same search finds its study again.
    direction : {"maximize", "minimize"}
        Of the objective.
    sampler, pruner : sampler, and pruner or None
        Of Optuna's.
    fingerprint : dict of str
        What the study's trials depend on.
    """
    import optuna

    from ._storages import open_storage

    if study_name is None and storage is not None:
        lasting = sorted((what, text) for what, text in fingerprint.items() if what != WATCHED)
        study_name = f"skreg-{hashlib.sha256(json.dumps(lasting).encode()).hexdigest()[:16]}"
    with quiet():
        settings: dict[str, Any] = {"storage": open_storage(storage), "study_name": study_name}
        settings |= {"sampler": sampler, "pruner": pruner or optuna.pruners.NopPruner()}
        try:
            study = optuna.create_study(direction=direction, **settings)
            study.set_user_attr(FINGERPRINT, dict(fingerprint))
        except optuna.exceptions.DuplicatedStudyError:
            study = optuna.load_study(**settings)
            _check_same(study, direction, dict(fingerprint))
    return study


def _check_same(study: optuna.Study, direction: str, fingerprint: dict[str, str]) -> None:
    """Refuse a study that was made by another search."""
    known = _fingerprint_of(study)
    if known is None and study.get_trials(deepcopy=False):
        raise ValueError(f"The study {study.study_name!r} has trials that no search has made. Give another study_name.")
    if known is None:
        study.set_user_attr(FINGERPRINT, fingerprint)
        known = fingerprint
    names = sorted({*known, *fingerprint} - {WATCHED})
    differ = [what for what in names if known.get(what) != fingerprint.get(what)]
    if study.direction.name.lower() != direction:
        differ.append("direction")
    if differ:
        raise ValueError(
            f"The study {study.study_name!r} belongs to another search, with other {' and '.join(differ)}: its trials "
            "cannot be compared with these. Give another study_name or another storage, or search for the same again."
        )
    _check_watched(study, known, fingerprint)


def _check_watched(study: optuna.Study, known: dict[str, str], fingerprint: dict[str, str]) -> None:
    """Refuse a pruner that would compare curves of epochs with means over folds; who does not prune harms nobody."""
    if WATCHED not in fingerprint:
        return
    if WATCHED not in known:
        study.set_user_attr(FINGERPRINT, {**known, WATCHED: fingerprint[WATCHED]})
    elif known[WATCHED] != fingerprint[WATCHED]:
        raise ValueError(
            f"A pruner has watched the candidates of the study {study.study_name!r} by {known[WATCHED]}, and would "
            f"watch those of this search by {fingerprint[WATCHED]}, which cannot be compared. Give the same vectorize, "
            "pruner=optuna.pruners.NopPruner(), or another study_name."
        )


def _fingerprint_of(study: optuna.Study) -> dict[str, str] | None:
    """What the study's maker has noted; he is given a moment to do so."""
    end = time.monotonic() + JOIN_SECONDS
    while True:
        known = study.user_attrs.get(FINGERPRINT)
        if known is not None or time.monotonic() > end or study.get_trials(deepcopy=False):
            return known if known is not None else study.user_attrs.get(FINGERPRINT)
        time.sleep(0.05)
