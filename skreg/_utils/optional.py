"""Imports of optional dependencies."""

from importlib import import_module
from types import ModuleType


def import_optional(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional dependency.

    Parameters
    ----------
    module : str
        Dotted name of the module.
    extra : str
        Extra of this package that installs the module.
    purpose : str
        Subject of the error message: the class or module that needs the dependency.

    Returns
    -------
    ModuleType
        The imported module.

    Raises
    ------
    ImportError
        If the module cannot be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f"{purpose} requires {package}, which could not be imported. "
            f'Install it in a clone of the repository with: pip install ".[{extra}]"'
        ) from error
