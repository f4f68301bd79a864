"""Imports of optional dependencies."""

from importlib import import_module
from types import ModuleType


def import_optional(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import a module installed by ``extra``; ``purpose``, which needs it, is the subject of the error message."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f"{purpose} requires {package}, which could not be imported. "
            f'Install it in a clone of the repository with: pip install ".[{extra}]"'
        ) from error
