import math
import sys
import types

import pytest

from skreg._utils.optional import import_optional


def test_an_installed_module_is_returned():
    assert import_optional("math", extra="plot", purpose="skreg.plots") is math


def test_a_submodule_is_returned():
    import importlib.util

    assert import_optional("importlib.util", extra="plot", purpose="skreg.plots") is importlib.util


def test_a_missing_module_is_reported_with_the_command_that_installs_it():
    with pytest.raises(ImportError) as caught:
        import_optional("not_installed.submodule", extra="plot", purpose="skreg.plots")
    assert str(caught.value) == (
        "skreg.plots requires not_installed, which could not be imported. "
        'Install it in a clone of the repository with: pip install ".[plot]"'
    )
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_missing_submodule_of_an_installed_package_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "installed", types.ModuleType("installed"))
    with pytest.raises(ImportError, match="requires installed"):
        import_optional("installed.missing", extra="search", purpose="OptunaSearchCV")
