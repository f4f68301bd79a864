"""Identity of a study: finding the study of a search, and fingerprints that distinguish searches."""

import hashlib
import json
import pickle
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import narwhals as nw
import numpy as np
import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import BaseStorage
from scipy import sparse

FINGERPRINT = "skreg:fingerprint"
#: Item of a fingerprint that states what a pruner compares: "epochs" or "folds". Only searches that prune have it.
PRUNING_UNIT = "pruning_unit"
JOIN_SECONDS = 2.0
#: Parameters that affect the speed of a search but not its results.
WITHOUT_EFFECT = ("n_jobs", "n_threads", "verbose", "memory", "callbacks")


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
            "that its trials cannot be compared with those of this search. Pass another 'study_name' or 'storage'."
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


def fingerprint(obj: object) -> str:
    """Return a short text that is equal, in any process, for objects that lead to equal scores.

    Tables, arrays, estimators, distributions, functions, numbers, strings and containers of these are supported.
    """
    return hashlib.sha256(_describe(obj).encode()).hexdigest()[:32]


def _describe(obj: Any) -> str:
    """Describe estimators by class and parameters, functions by name, and unknown objects by their pickle."""
    if obj is None or isinstance(obj, bool | int | float | complex | str | bytes):
        return repr(obj)
    if isinstance(obj, np.ndarray | np.generic):
        array = np.asarray(obj)
        values = array.ravel().tolist() if array.dtype.hasobject else hashlib.sha256(array.tobytes()).hexdigest()
        return f"{array.dtype.str}{array.shape}{_describe(values)}"
    if sparse.issparse(obj):
        rows = obj.tocsr()
        return f"sparse{rows.shape}{_describe([rows.data, rows.indices, rows.indptr])}"
    if isinstance(obj, Mapping):
        return f"{{{','.join(sorted(f'{_describe(key)}:{_describe(value)}' for key, value in obj.items()))}}}"
    if isinstance(obj, Set):
        return f"{{{','.join(sorted(map(_describe, obj)))}}}"
    if isinstance(obj, Sequence):
        return f"[{','.join(map(_describe, obj))}]"
    frame = nw.from_native(obj, eager_only=True, allow_series=True, pass_through=True)
    if isinstance(frame, nw.Series | nw.DataFrame):
        columns = [frame] if isinstance(frame, nw.Series) else frame.iter_columns()
        described = [[column.name, str(column.dtype), column.to_numpy()] for column in columns]
        return type(frame).__name__ + _describe(described)
    if isinstance(obj, partial):
        return f"partial{_describe([obj.func, obj.args, obj.keywords])}"
    if hasattr(obj, "__qualname__"):
        return f"{obj.__module__}.{obj.__qualname__}"
    kind = f"{type(obj).__module__}.{type(obj).__qualname__}"
    if hasattr(obj, "get_params"):
        params = obj.get_params(deep=False)
        return kind + _describe({name: value for name, value in params.items() if name not in WITHOUT_EFFECT})
    if hasattr(obj, "ppf") and hasattr(obj, "dist"):
        return f"{kind}{obj.dist.name}{_describe([obj.args, obj.kwds])}"
    if not isinstance(obj, np.random.RandomState) and " at 0x" not in repr(obj):
        return kind + repr(obj)
    try:
        return kind + hashlib.sha256(pickle.dumps(obj, protocol=4)).hexdigest()
    except Exception:  # objects that cannot be pickled are described by their class
        return kind
