"""Fingerprints: short texts that are equal, in any process, for objects that lead to equal scores."""

import copyreg
import hashlib
import marshal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import _lru_cache_wrapper, cached_property
from itertools import chain
from operator import itemgetter
from types import CellType, CodeType, FunctionType, MappingProxyType, ModuleType
from typing import Any, NoReturn

import narwhals as nw
import numpy as np
import torch
from scipy import sparse
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils.metaestimators import _BaseComposition
from skorch import NeuralNet
from skorch import callbacks as skorch_callbacks

from ...estimators.base import RegularizedMLP
from ...training.callbacks import SUPPORTED
from .references import file_digest, imported_modules, loaded_globals, nested_names, released_name

#: State that affects the duration of a fit or records its course, but does not affect the results, by type. It is
#: ignored in classes of installed packages only, because a class of the user can give another meaning to a name.
IRRELEVANT_STATE: dict[type, set[str]] = {
    object: {"n_jobs", "n_threads", "_n_threads", "verbose"},
    _BaseComposition: {"memory"},
    BaseSearchCV: {"best_trial_", "cv_results_", "refit_time_", "storage", "study_name", "study_"},
    NeuralNet: {"callbacks_", "history_", "time_budget_"},
}
NUMBERS = frozenset({type(None), bool, int, float})
SIMPLE = NUMBERS | {complex, str, bytes, type(...), type(NotImplemented)}


def fingerprint(obj: object, name: str = "the object") -> str:
    """Return a short text that is equal, in any process, for objects that lead to equal scores.

    Objects are identified by their state, and functions and classes by their code, together with everything to which
    the code refers. Functions and classes of Python and of installed packages are identified by their names and the
    version of the package. An object that can be identified by neither, such as a generator or a lock, raises a
    TypeError, in which ``obj`` has the given ``name``.
    """
    return _hash(_Describer(name).describe_all(obj))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _relevant_state(obj: object, state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of an object without the attributes that do not affect its results."""
    is_released = released_name(type(obj)) is not None
    if hasattr(obj, "rvs"):  # the search passes the random state of a distribution
        return {name: value for name, value in state.items() if name != "_random_state" or not is_released}
    if not hasattr(obj, "get_params"):
        return state
    kinds = [kind for kind in IRRELEVANT_STATE if isinstance(obj, kind) and is_released]
    ignored = set[str]().union(*(IRRELEVANT_STATE[kind] for kind in kinds))
    relevant = {name: value for name, value in state.items() if name not in ignored}
    names = {"_skl_callbacks", "callbacks"} if isinstance(obj, RegularizedMLP) else {"_skl_callbacks"}
    for name in names & relevant.keys():
        if relevant[name] is None or isinstance(relevant[name], list | tuple):
            relevant[name] = [callback for callback in relevant[name] or () if not _only_reads(callback)]
            if not relevant[name]:
                del relevant[name]
    return relevant


def _only_reads(callback: object) -> bool:
    """Return whether a callback, or a pair of a name and a callback, is known to change nothing."""
    found = callback[1] if isinstance(callback, tuple) and len(callback) == 2 else callback
    kind = found if isinstance(found, type) else type(found)
    if kind.__module__.startswith("skorch."):
        return kind.__name__ in SUPPORTED and kind is getattr(skorch_callbacks, kind.__name__, None)
    return kind.__module__.startswith(("skreg.", "sklearn.")) and released_name(kind) is not None


def _contents(cell: CellType) -> object:
    """Return the variable of a closure, or an empty tuple if it is not set."""
    try:
        return cell.cell_contents
    except ValueError:
        return ()


class _Describer:
    """Describes objects by texts without addresses, line numbers or the order of sets.

    Functions and classes refer to each other in circles, so they are numbered in the order in which they are found and
    described one after the other. The description of another object contains the digests of its components. If it
    contains itself, it is described by the distance to its outer occurrence.
    """

    def __init__(self, name: str) -> None:
        self._path = [name]
        # Objects are kept together with their numbers and digests, so that their ids are not reused.
        self._numbers: dict[int, tuple[object, int]] = {}
        self._queue: deque[tuple[FunctionType | type, list[str]]] = deque()
        self._known: dict[int, tuple[object, str]] = {}
        self._depths: dict[int, int] = {}
        self._lowest = sys.maxsize  # depth of the outermost object that a component of the current object contains
        self._rules: list[tuple[Any, Callable[[Any], str]]] = [
            ((np.ndarray, np.generic), self._array),
            (torch.Tensor, self._tensor),
            ((set, frozenset), self._set),
            (MappingProxyType, self._mapping),
            (CodeType, self._code),
            (ModuleType, self._module),
            (property, lambda obj: self._all("property", [obj.fget, obj.fset, obj.fdel])),
            (cached_property, lambda obj: self._all("cached_property", [obj.func])),
            ((staticmethod, classmethod, _lru_cache_wrapper), self._wrapper),
        ]

    def describe_all(self, obj: object) -> str:
        """Return the description of an object, and of the functions and classes that belong to it."""
        texts = [self.describe(obj)]
        while self._queue:
            code, self._path = self._queue.popleft()
            texts.append(self._function(code) if isinstance(code, FunctionType) else self._class(code))
        return "\n".join(texts)

    def describe(self, obj: Any, step: str = "") -> str:
        """Return a description of an object, which ``step`` leads to from the object that is being described."""
        if type(obj) in SIMPLE:
            return repr(obj)
        if id(obj) in self._known:
            return self._known[id(obj)][1]
        name = released_name(obj)
        if name is not None:
            return name
        self._path.append(step)
        text = self._number(obj) if isinstance(obj, FunctionType | type) else self._digest(obj)
        self._path.pop()
        return text

    def _number(self, obj: FunctionType | type) -> str:
        if id(obj) not in self._numbers:
            self._numbers[id(obj)] = obj, len(self._numbers)
            self._queue.append((obj, self._path.copy()))
        return f"#{self._numbers[id(obj)][1]}"

    def _digest(self, obj: Any) -> str:
        key = id(obj)
        if key in self._depths:
            self._lowest = min(self._lowest, self._depths[key])
            return f"<{len(self._depths) - self._depths[key]} levels up>"
        depth = self._depths[key] = len(self._depths)
        outer, self._lowest = self._lowest, sys.maxsize
        try:
            digest = _hash(self._describe(obj))
        except RecursionError:
            self._refuse(obj, "is nested too deeply")
        del self._depths[key]
        if self._lowest < depth:  # the digest depends on the objects that contain this one
            self._lowest = min(self._lowest, outer)
        else:
            self._lowest = outer
            self._known[key] = obj, digest
        return digest

    def _describe(self, obj: Any) -> str:
        if type(obj) in (list, tuple):
            return self._all(type(obj).__name__, obj)
        if type(obj) is dict:
            return self._mapping(obj)
        for kinds, describe in self._rules:
            if isinstance(obj, kinds):
                return describe(obj)
        if sparse.issparse(obj):
            rows = obj.tocsr()
            return f"sparse{rows.shape}{self._all('', [rows.data, rows.indices, rows.indptr])}"
        try:
            frame = nw.from_native(obj, eager_only=True, allow_series=True, pass_through=True)
        except nw.exceptions.DuplicateError:  # two columns have the same name
            return self._object(obj)
        return self._frame(frame) if isinstance(frame, nw.Series | nw.DataFrame) else self._object(obj)

    def _all(self, kind: str, objects: Iterable[Any]) -> str:
        objects = list(objects)
        rows = chain.from_iterable(objects) if {list, tuple}.issuperset(map(type, objects)) else objects
        kinds = set(map(type, rows))
        if kinds <= NUMBERS and len(objects) > 100:  # faster than repr; the format of text is not reproducible
            return f"{kind}{hashlib.sha256(marshal.dumps(objects, 2)).hexdigest()}"
        if kinds <= SIMPLE:
            return f"{kind}{objects!r}"
        return f"{kind}[{','.join(self.describe(obj, f'[{n}]') for n, obj in enumerate(objects))}]"

    def _mapping(self, obj: Mapping[Any, Any], step: str = "[{!r}]") -> str:
        items = [(self.describe(key), value, key if type(key) in SIMPLE else "") for key, value in obj.items()]
        items.sort(key=itemgetter(0))
        return f"{{{','.join(f'{text}:{self.describe(value, step.format(key))}' for text, value, key in items)}}}"

    def _set(self, obj: Iterable[Any]) -> str:
        # Each element is described for itself, because the order of a set depends on the process.
        return f"{self.describe(type(obj))}{sorted(fingerprint(element, ''.join(self._path)) for element in obj)}"

    def _array(self, obj: Any) -> str:
        if isinstance(obj, np.ma.MaskedArray):
            return self._all("masked", [np.asarray(obj.filled()), np.ma.getmaskarray(obj)])
        array = np.asarray(obj)
        if array.dtype.names:  # the bytes between the fields are arbitrary
            return self._mapping({name: array[name] for name in array.dtype.names})
        if array.dtype.hasobject:
            values = self._all("", array.ravel().tolist())
        else:
            flat = np.ascontiguousarray(array).reshape(-1)
            values = hashlib.sha256(flat.view(np.uint8).data if flat.nbytes else b"").hexdigest()
        return f"{array.dtype.str}{array.shape}{values}"

    def _tensor(self, obj: torch.Tensor) -> str:
        dense = obj.detach().cpu().to_dense().resolve_conj().resolve_neg().contiguous()
        # NumPy lacks some dtypes of torch. The strides of a single element are arbitrary.
        values = dense.as_strided((dense.numel(),), (1,)).view(torch.uint8).numpy()
        return f"{dense.dtype}{tuple(dense.shape)}{self._array(values)}"

    def _frame(self, frame: nw.Series[Any] | nw.DataFrame[Any]) -> str:
        columns = [frame] if isinstance(frame, nw.Series) else list(frame.iter_columns())
        # The dtype of a polars column lists the levels; pandas has them in an accessor that other columns lack.
        levels = [getattr(getattr(column.to_native(), "cat", None), "categories", None) for column in columns]
        names = [[column.name, str(column.dtype)] for column in columns]
        return self._all(type(frame).__name__, [names, levels, [column.to_numpy() for column in columns]])

    def _object(self, obj: Any) -> str:
        """Describe an object as pickle does: by the function that creates it, its arguments and the state."""
        if obj is np.random.mtrand._rand:  # noqa: SLF001 - NumPy has no public name for its global generator
            return "the global random generator of NumPy"
        try:
            reduce: Callable[[Any], Any] | None = copyreg.dispatch_table.get(type(obj))
            reduced: Any = obj.__reduce_ex__(4) if reduce is None else reduce(obj)
        except Exception:
            self._refuse(obj)
        if isinstance(reduced, str):
            return self._constant(obj, reduced)
        create, args, state, items, pairs = (*reduced, None, None, None)[:5]
        if isinstance(obj, NeuralNet):  # its state contains files of torch, which are not reproducible
            state = vars(obj)
        created = [create, args, *(None if more is None else list(more) for more in (items, pairs))]
        if not isinstance(state, dict):
            return self._all("object", [*created, state])
        return f"{self._all('object', created)}{self._mapping(_relevant_state(obj, state), '.{}')}"

    def _constant(self, obj: Any, name: str) -> str:
        """Describe an object that pickle would find by its name, such as a function of a compiled module."""
        module = sys.modules.get(getattr(obj, "__module__", None) or "")
        if getattr(module, name, None) is not obj:
            self._refuse(obj)
        is_compiled = released_name(type(obj)) is not None or not hasattr(type(obj), "__dict__")
        return f"{name}{self._module(module) if is_compiled else self.describe(type(obj))}"

    def _class(self, cls: type) -> str:
        # Attributes such as __doc__ and __annotations__ are not called, and Python derives others from the methods.
        attributes = {
            name: value
            for name, value in vars(cls).items()
            if name != "_abc_impl" and (callable(value) or not name.startswith("__"))
        }
        return f"class {cls.__name__}{self._all('', [type(cls), *cls.__bases__])}{self._mapping(attributes, '.{}')}"

    def _function(self, function: FunctionType) -> str:
        registry = getattr(function, "registry", None)
        if isinstance(registry, MappingProxyType):  # of functools.singledispatch, which also has a cache
            return self._all("singledispatch", [registry])
        code, known = function.__code__, function.__globals__
        values = [code, function.__defaults__, function.__kwdefaults__, vars(function)]
        cells = dict(zip(code.co_freevars, map(_contents, function.__closure__ or ()), strict=True))
        names = nested_names(code)
        used = {name: known[name] for name in loaded_globals(code) if name in known}
        used |= imported_modules(code, known)
        described = [f"{name}:{self._used(used[name], names, f'.{name}')}" for name in sorted(used)]
        return f"{self._all('function', values)}{self._mapping(cells, '.{}')}{described}"

    def _used(self, obj: Any, names: list[str], step: str, outer: tuple[Any, ...] = ()) -> str:
        """Describe a global variable that a function uses; of a module, the attributes with the given names."""
        if not isinstance(obj, ModuleType) or released_name(obj) is not None:
            return self.describe(obj, step)
        if obj in outer:
            return "circular import"
        found = [(name, getattr(obj, name)) for name in names if hasattr(obj, name)]
        return str([(name, self._used(value, names, f"{step}.{name}", (*outer, obj))) for name, value in found])

    def _wrapper(self, obj: Any) -> str:
        return self._all(type(obj).__name__, [obj.__wrapped__])

    def _module(self, module: Any) -> str:
        """Describe a module by its file, because it is unknown what is used of it."""
        digest = file_digest(module)
        if digest is None:
            self._refuse(module)
        return digest

    def _code(self, code: CodeType) -> str:
        numbers = [code.co_flags, code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount]
        names = [code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars]
        return self._all("code", [code.co_code, code.co_exceptiontable, code.co_consts, *names, *numbers])

    def _refuse(self, obj: object, reason: str = "has neither a state that can be pickled nor Python code") -> NoReturn:
        kind = f"{type(obj).__module__}.{type(obj).__qualname__}"
        raise TypeError(
            f"A search with a 'storage' must be identified, but {''.join(self._path[:9])}, of type {kind!r}, {reason}. "
            "Create it inside of the function that uses it, exclude it from the state of its object with __getstate__, "
            "or set storage=None."
        )
