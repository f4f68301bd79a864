"""Identity of a study: finding the study of a search by its fingerprints."""

import hashlib
import json
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import numpy as np
import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import BaseStorage, RDBStorage

FINGERPRINT = "skreg:fingerprint"
#: Item of a fingerprint that states what a pruner compares: "epochs" or "folds". Only searches that prune have it.
PRUNING_UNIT = "pruning_unit"
JOIN_SECONDS = 2.0
MAX_NAME_LENGTH = 512
"""Length of Optuna's column for the name of a study, which SQLite does not enforce."""


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress Optuna's messages about new studies and its warnings about experimental features."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)


@quiet()
def default_sampler(seed: int, number: int) -> TPESampler:
    """Return the default sampler of one trial, seeded by the search and the number of the trial."""
    trial_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    return TPESampler(seed=trial_seed, multivariate=True, group=True, constant_liar=True)


@quiet()
def join_study(
    storage: BaseStorage,
    study_name: str | None,
    direction: Literal["minimize", "maximize"],
    sampler: BaseSampler,
    pruner: BasePruner | None,
    fingerprint: Mapping[str, str],
) -> optuna.Study:
    """Create a study, or load it if it exists and belongs to the same search.

    Without a name, the study is named after the fingerprint, so that the same search finds its study again.
    """
    if study_name is None:
        lasting = sorted((item, text) for item, text in fingerprint.items() if item != PRUNING_UNIT)
        study_name = f"skreg-{hashlib.sha256(json.dumps(lasting).encode()).hexdigest()[:16]}"
    _check_name(storage, study_name)
    pruner = pruner or NopPruner()
    try:
        study = optuna.create_study(
            storage=storage, study_name=study_name, direction=direction, sampler=sampler, pruner=pruner
        )
    except optuna.exceptions.DuplicatedStudyError:
        study = optuna.load_study(storage=storage, study_name=study_name, sampler=sampler, pruner=pruner)
        _check_same_search(study, direction, fingerprint)
    else:
        study.set_user_attr(FINGERPRINT, dict(fingerprint))
    return study


def _check_name(storage: BaseStorage, name: str) -> None:
    """Raise an error if a storage cannot hold the name of a study."""
    shown = name if len(name) < 100 else f"{name[:100]}..."
    if isinstance(storage, RDBStorage) and storage.engine.dialect.name != "sqlite" and len(name) > MAX_NAME_LENGTH:
        raise ValueError(
            f"A 'study_name' in a database must have at most {MAX_NAME_LENGTH} characters. Got {shown!r}, which has "
            f"{len(name)}. Pass a shorter name."
        )
    if "\0" in name or any("\ud800" <= character <= "\udfff" for character in name):
        raise ValueError(
            f"A 'study_name' must not contain null characters or surrogates. Got {shown!r}. Pass another name."
        )


def _check_same_search(study: optuna.Study, direction: str, fingerprint: Mapping[str, str]) -> None:
    """Raise an error if a study belongs to another search or its pruner compares different scores."""
    known = _wait_for_fingerprint(study)
    if known is None and study.get_trials(deepcopy=False):
        raise ValueError(
            f"The study {study.study_name!r} has trials that were not created by OptunaSearchCV. Pass another "
            "'study_name'."
        )
    if known is None:
        study.set_user_attr(FINGERPRINT, known := dict(fingerprint))
    items = sorted({*known, *fingerprint} - {PRUNING_UNIT})
    different = [item for item in items if known.get(item) != fingerprint.get(item)]
    if study.direction.name.lower() != direction:
        different.append("direction")
    if different:
        raise ValueError(
            f"The study {study.study_name!r} belongs to another search with different {' and '.join(different)}, so "
            "that its trials cannot be compared with those of this search. This includes fitted state, the code of "
            "functions, and the versions of packages. Pass another 'study_name' or 'storage'."
        )
    unit = fingerprint.get(PRUNING_UNIT)
    if unit is not None and PRUNING_UNIT not in known:
        study.set_user_attr(FINGERPRINT, {**known, PRUNING_UNIT: unit})
    elif unit is not None and known[PRUNING_UNIT] != unit:
        raise ValueError(
            f"The trials of the study {study.study_name!r} were pruned by their scores after {known[PRUNING_UNIT]}, "
            f"which cannot be compared with the scores after {unit} of this search. Pass the same 'vectorize' as "
            "before, pruner=optuna.pruners.NopPruner(), or another 'study_name'."
        )


def _wait_for_fingerprint(study: optuna.Study) -> dict[str, str] | None:
    """Return the fingerprint of a study, after waiting for a process that may be about to store it."""
    end = time.monotonic() + JOIN_SECONDS
    while True:
        is_over = time.monotonic() > end or bool(study.get_trials(deepcopy=False))
        known: dict[str, str] | None = study.user_attrs.get(FINGERPRINT)
        if known is not None or is_over:
            return known
        time.sleep(0.05)
