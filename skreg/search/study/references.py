"""Code of functions and modules: what it refers to, and whether it belongs to an installed version of a package."""

import dis
import hashlib
import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import numpy as np

from ..._version import __version__

#: Libraries whose development versions are identified by their versions, too, because their code is large.
LIBRARIES = {"joblib", "numpy", "optuna", "pandas", "polars", "pyarrow", "scipy", "sklearn", "skorch", "torch"}

UFUNC_MODULES = ("numpy", "scipy.special")


def released_name(obj: Any) -> str | None:
    """Return the name and version of an object that Python or an installed package defines, or None for others."""
    module: Any
    path: Any
    found: Any
    if isinstance(obj, ModuleType):
        module, path, found = obj.__name__, "", obj
    else:
        path = getattr(obj, "__qualname__", None) or getattr(obj, "__name__", None)
        module = getattr(obj, "__module__", None) or getattr(getattr(obj, "__self__", None), "__name__", None)
        if isinstance(obj, np.ufunc):  # not every version of NumPy knows the module of a universal function
            modules = (name for name in UFUNC_MODULES if getattr(sys.modules.get(name), path, None) is obj)
            module = next(modules, None)
        if not isinstance(path, str) or not isinstance(module, str):
            return None
        found = sys.modules.get(module)
        for name in path.split("."):
            found = getattr(found, name, None)
    version = _release(module.partition(".")[0]) if found is obj else None
    return None if version is None else f"{module}:{path} {version}"


@lru_cache
def _release(package: str) -> str | None:
    """Return the version of an installed package, or None if its code can change without its version.

    This is so for code that is not installed, and for packages installed from a folder.
    """
    if package in sys.stdlib_module_names:
        return f"{sys.version_info.major}.{sys.version_info.minor}"
    if package == "skreg":
        return __version__
    spec = None
    with suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(package)
    folders = [] if spec is None else [*(spec.submodule_search_locations or ()), spec.origin or ""]
    if not any({"site-packages", "dist-packages"} & set(Path(folder).parts) for folder in folders):
        return None
    name = {"sklearn": "scikit-learn"}.get(package, package)
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        names = importlib.metadata.packages_distributions().get(package)  # slow: it reads the files of all packages
        if names is None:
            return None
        distribution = importlib.metadata.distribution(names[0])
    origin = distribution.read_text("direct_url.json") or ""
    return None if "dir_info" in origin and package not in LIBRARIES else f"{distribution.version}{origin}"


def nested_names(code: CodeType) -> list[str]:
    """Return the names of the global variables and attributes that occur in some code."""
    return sorted({name for nested in _nested(code) for name in nested.co_names})


def loaded_globals(code: CodeType) -> set[str]:
    """Return the names of the global variables that some code reads."""
    operations = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
    instructions = (instruction for nested in _nested(code) for instruction in dis.get_instructions(nested))
    return {instruction.argval for instruction in instructions if instruction.opname in operations}


def imported_modules(code: CodeType, variables: Mapping[str, Any]) -> dict[str, ModuleType | str]:
    """Return the modules that some code imports, or the versions of those that are installed packages."""
    modules: dict[str, ModuleType | str] = {}
    for nested in _nested(code):
        # An instruction with a large argument is preceded by others that contain the rest of the argument.
        instructions = [one for one in dis.get_instructions(nested) if one.opname != "EXTENDED_ARG"]
        for position, instruction in enumerate(instructions):
            if instruction.opname == "IMPORT_NAME":
                level = instructions[position - 2].argval  # loaded before the names and the module
                with suppress(ImportError):
                    name = importlib.util.resolve_name("." * level + instruction.argval, variables.get("__package__"))
                    release = _release(name.partition(".")[0])
                    modules[f"import {name}"] = release or importlib.import_module(name)
    return modules


def file_digest(module: ModuleType | None) -> str | None:
    """Return a digest of the file of a module, or None if it has none."""
    file = getattr(module, "__file__", None)
    return None if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)
