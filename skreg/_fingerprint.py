"""A fingerprint tells whether two searches are the same one: a short text for anything that decides a score."""

import hashlib
import pickle
from collections.abc import Mapping, Sequence, Set
from functools import partial
from typing import Any

import narwhals as nw
import numpy as np
from scipy import sparse

#: Parameters that decide how fast a search is, and not what it finds.
WITHOUT_EFFECT = ("n_jobs", "n_threads", "verbose", "memory", "callbacks")


def fingerprint(thing: Any) -> str:
    """A text that is the same in any process for the same thing, and another one for another.

    Parameters
    ----------
    thing : object
        Tables, arrays, estimators, distributions, functions, numbers, text, and containers of these.

    Returns
    -------
    str
        Of 32 characters.
    """
    return hashlib.sha256(_text(thing).encode()).hexdigest()[:32]


def _text(thing: Any) -> str:
    """What ``thing`` says of itself."""
    if thing is None or isinstance(thing, bool | int | float | complex | str | bytes):
        return repr(thing)
    if isinstance(thing, np.ndarray | np.generic):
        return _of_array(np.asarray(thing))
    if sparse.issparse(thing):
        rows = thing.tocsr()
        return f"sparse{rows.shape}{_text([rows.data, rows.indices, rows.indptr])}"
    if isinstance(thing, Mapping):
        return f"{{{','.join(sorted(f'{_text(key)}:{_text(value)}' for key, value in thing.items()))}}}"
    if isinstance(thing, Set):
        return f"{{{','.join(sorted(map(_text, thing)))}}}"
    if isinstance(thing, Sequence):
        return f"[{','.join(map(_text, thing))}]"
    frame = nw.from_native(thing, eager_only=True, allow_series=True, pass_through=True)
    if isinstance(frame, nw.Series):
        return _of_series(frame)
    if isinstance(frame, nw.DataFrame):
        return f"[{','.join(map(_of_series, frame.iter_columns()))}]"
    return _of_object(thing)


def _of_array(array: np.ndarray) -> str:
    if array.dtype.hasobject:
        return f"{array.shape}{_text(array.ravel().tolist())}"
    return f"{array.dtype.str}{array.shape}{hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()}"


def _of_series(series: Any) -> str:
    return f"{series.name}:{series.dtype}:{_text(series.to_numpy())}"


def _of_object(thing: Any) -> str:
    """An estimator by its class and parameters, a function by its name, anything else by its pickle."""
    if isinstance(thing, partial):
        return f"partial{_text([thing.func, thing.args, thing.keywords])}"
    if hasattr(thing, "__qualname__"):
        return f"{thing.__module__}.{thing.__qualname__}"
    kind = f"{type(thing).__module__}.{type(thing).__qualname__}"
    if hasattr(thing, "get_params"):
        params = thing.get_params(deep=False)
        return kind + _text({name: value for name, value in params.items() if name not in WITHOUT_EFFECT})
    if hasattr(thing, "ppf") and hasattr(thing, "dist"):
        return f"{kind}{thing.dist.name}{_text([thing.args, thing.kwds])}"
    if not isinstance(thing, np.random.RandomState) and " at 0x" not in repr(thing):
        return kind + repr(thing)
    try:
        return kind + hashlib.sha256(pickle.dumps(thing, protocol=4)).hexdigest()
    except Exception:  # what cannot be pickled is known by its class
        return kind
