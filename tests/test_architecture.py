"""Folders, imports between them, optional dependencies, and the sizes of files and functions."""

import ast
import graphlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import skreg

PACKAGE = Path(skreg.__file__).parent

LAYERS = [
    {"plots"},
    {"diagnostics", "search"},
    {"persistence"},
    {"estimators"},
    {"uncertainty"},
    {"training"},
    {"network"},
    {"data"},
    {"_utils"},
]
"""The folders from top to bottom. A folder imports from lower layers only."""
NOT_YET_PRESENT = {"persistence"}

FOLDERS_OF_PACKAGE = {
    "filelock": {"search"},
    "matplotlib": {"plots"},
    "optuna": {"search"},
    "pandas": {"diagnostics", "search"},
    "psutil": {"search"},
    "skorch": {"plots", "search", "training", "estimators"},
    "sqlalchemy": {"search"},
}
"""Folders that may import a package. The packages that are not listed and are dependencies may be imported anywhere."""
DEPENDENCIES = {"joblib", "narwhals", "numpy", "safetensors", "scipy", "sklearn", "skorch", "torch"}
OPTIONAL = {"matplotlib", "onnx", "onnxruntime", "optuna", "pandas", "polars", "psutil", "sqlalchemy"}

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
SHORT_FUNCTION_LINES = 30


class Import(NamedTuple):
    """One imported module.

    Attributes
    ----------
    file : Path
        The importing file, relative to the package.
    line : int
    module : str
        Dotted name; modules of the package begin with a dot, as in ".data.table".
    for_types_only : bool
        Whether it is inside of ``if TYPE_CHECKING:``.
    """

    file: Path
    line: int
    module: str
    for_types_only: bool

    def __str__(self):
        return f"{self.file}:{self.line} imports {self.module}"


# imports


def python_files(root: Path) -> list[Path]:
    """Python files of a package, relative to it."""
    return sorted(path.relative_to(root) for path in root.rglob("*.py"))


def folder_of(file: Path) -> str:
    """First folder of a relative path, "" for the files at the root of the package."""
    return file.parts[0] if len(file.parts) > 1 else ""


def is_module(root: Path, names: list[str]) -> bool:
    path = root.joinpath(*names)
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def type_checking_lines(tree: ast.Module) -> set[int]:
    """Lines inside of ``if TYPE_CHECKING:``."""
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    return {line for block in blocks for node in block.body for line in range(node.lineno, node.end_lineno + 1)}


def imported_names(root: Path, file: Path, node: ast.AST) -> Iterator[str]:
    """Modules that a statement or a call imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and not node.level:
        yield node.module
    elif isinstance(node, ast.ImportFrom):
        package = file.parent.parts[: len(file.parent.parts) - (node.level - 1)]
        assert node.level - 1 <= len(file.parent.parts), f"{file}:{node.lineno} imports from outside of the package"
        base = [*package, *(node.module.split(".") if node.module else [])]
        for alias in node.names:
            names = [*base, alias.name] if is_module(root, [*base, alias.name]) else base
            yield "." + ".".join(names)
    elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = ast.unparse(node.func).rpartition(".")[2]
        if called in {"import_module", "import_optional", "__import__"} and isinstance(node.args[0].value, str):
            yield node.args[0].value


def find_imports(root: Path) -> list[Import]:
    """All imports of a package, those inside of functions included."""
    found = []
    for file in python_files(root):
        tree = ast.parse((root / file).read_text(encoding="utf-8"))
        for_types = type_checking_lines(tree)
        found += [
            Import(file, node.lineno, module, node.lineno in for_types)
            for node in ast.walk(tree)
            for module in imported_names(root, file, node)
        ]
    return found


def upward_imports(root: Path) -> list[str]:
    """Imports of a folder that is not below the importing one.

    Imports for type checking count, because they also make a lower folder depend on a higher one. The files at the root
    of the package may import all folders; of these files, a folder imports ``_version`` only.
    """
    layer = {folder: number for number, folders in enumerate(LAYERS) for folder in folders}
    wrong = []
    for found in find_imports(root):
        source = folder_of(found.file)
        target = found.module.split(".")[1] if found.module.startswith(".") else None
        if source == "" or target is None or target in (source, "_version"):
            continue
        if target not in layer or layer[target] <= layer[source]:
            wrong.append(str(found))
    return wrong


def import_cycle(root: Path) -> list[str]:
    """Files that import each other in a circle, or an empty list.

    Imports inside of functions count, because they only hide a circle. Imports for type checking do not count, because
    they are not executed.
    """
    graph: dict[str, set[str]] = {}
    for found in find_imports(root):
        if found.module.startswith(".") and not found.for_types_only:
            imported = root.joinpath(*found.module.split(".")[1:])
            target = imported / "__init__.py" if imported.is_dir() else imported.with_suffix(".py")
            graph.setdefault(str(found.file), set()).add(str(target.relative_to(root)))
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def misplaced_packages(root: Path) -> list[str]:
    """Imports of a third-party package by a folder that must not use it."""
    wrong = []
    for found in find_imports(root):
        package = found.module.split(".")[0]
        if not package or package in sys.stdlib_module_names:
            continue
        allowed = FOLDERS_OF_PACKAGE.get(package)
        misplaced = package not in DEPENDENCIES if allowed is None else folder_of(found.file) not in allowed
        if misplaced:
            wrong.append(str(found))
    return wrong


def test_a_folder_imports_from_lower_folders_only():
    assert upward_imports(PACKAGE) == []


def test_no_files_import_each_other_in_a_circle():
    assert import_cycle(PACKAGE) == []


def test_packages_are_imported_only_where_they_may_be():
    """For example, matplotlib only in ``plots``; imports of the package itself are relative."""
    assert misplaced_packages(PACKAGE) == []


def test_the_folders_are_those_of_the_list():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    listed = set().union(*LAYERS)
    assert folders <= listed
    assert listed - folders <= NOT_YET_PRESENT
    assert {path.stem for path in PACKAGE.glob("*.py")} == {"__init__", "_version", "recipes"}


def test_every_folder_has_a_docstring():
    folders = {(PACKAGE / file).parent for file in python_files(PACKAGE)}
    missing = [folder.name for folder in folders if not (folder / "__init__.py").is_file()]
    assert missing == []
    undocumented = [
        str(folder)
        for folder in folders
        if not ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
    ]
    assert undocumented == []


# the checks themselves, on small trees


def write_tree(root: Path, files: dict[str, str]) -> Path:
    """Write a package in which every folder is importable."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        for folder in path.relative_to(root).parents:
            (root / folder / "__init__.py").touch()
    return root


@pytest.mark.parametrize(
    ("importing", "statement", "imported", "allowed"),
    [
        ("network/layers.py", "from ..data.table import Table", "data/table.py", True),
        ("network/layers.py", "from ..data import table", "data/table.py", True),
        ("network/layers.py", "from .._utils import validation", "_utils/validation.py", True),
        ("network/layers.py", "from . import dropout", "network/dropout.py", True),
        ("network/layers.py", "from .._version import __version__", "_version.py", True),
        ("network/layers.py", "from .. import recipes", "recipes.py", False),
        ("data/table.py", "from ..network.layers import Layer", "network/layers.py", False),
        ("data/table.py", "from ..network import layers", "network/layers.py", False),
        ("data/table.py", "def f():\n    from ..network import layers", "network/layers.py", False),
        ("data/table.py", "if TYPE_CHECKING:\n    from ..network import layers", "network/layers.py", False),
        ("search/study/run.py", "from ...diagnostics import report", "diagnostics/report.py", False),
        ("search/study/run.py", "from ..results import Table", "search/results.py", True),
        ("diagnostics/report.py", "from ..search.results import Table", "search/results.py", False),
    ],
)
def test_upward_imports_are_found(importing, statement, imported, allowed, tmp_path):
    root = write_tree(tmp_path, {imported: "", importing: statement})
    assert (upward_imports(root) == []) == allowed


@pytest.mark.parametrize(
    ("first", "second", "is_cycle"),
    [
        ("from .b import B", "from .a import A", True),
        ("from . import b", "def f():\n    from . import a", True),
        ("from . import b", "if TYPE_CHECKING:\n    from . import a", False),
        ("from . import b", "", False),
        ("from ..data import B", "", False),
    ],
)
def test_import_cycles_are_found(first, second, is_cycle, tmp_path):
    root = write_tree(tmp_path, {"data/a.py": first, "data/b.py": second})
    assert bool(import_cycle(root)) == is_cycle


def test_a_file_and_the_init_that_exports_it_can_be_a_cycle(tmp_path):
    root = write_tree(tmp_path, {"data/a.py": "from . import B"})
    (root / "data" / "__init__.py").write_text("from .a import A", encoding="utf-8")
    assert import_cycle(root)


@pytest.mark.parametrize(
    ("file", "statement", "allowed"),
    [
        ("plots/common.py", "import matplotlib.pyplot as plt", True),
        ("plots/common.py", "plt = import_optional('matplotlib.pyplot', 'plot')", True),
        ("search/results.py", "def f():\n    import matplotlib", False),
        ("search/results.py", "plt = optional.import_optional('matplotlib.pyplot', 'plot')", False),
        ("search/results.py", "import optuna", True),
        ("data/table.py", "import optuna", False),
        ("data/table.py", "import numpy as np, os", True),
        ("data/table.py", "from skreg.network import layers", False),
    ],
)
def test_misplaced_packages_are_found(file, statement, allowed, tmp_path):
    assert (misplaced_packages(write_tree(tmp_path, {file: statement})) == []) == allowed


# declared dependencies

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
EXTRAS_OF_FOLDERS = {"search": {"search"}, "plots": {"plot"}}
"""Extras that a folder may need; all other folders work with the dependencies alone."""
DISTRIBUTIONS = {"sklearn": "scikit-learn"}
"""Names of distributions that differ from the names of their packages."""
NOT_IMPORTED = {
    "psycopg": "SQLAlchemy imports the driver that a URL names",
    "psycopg-binary": "psycopg imports it",
}
"""Distributions of the extras for users that skreg does not import itself, and the reasons."""
IMPORTED_IF_PRESENT = {"pandas": "it is an optional result of two methods, for users who have it"}
"""Distributions that skreg imports but does not install, and the reasons."""


def declared(project: dict[str, Any]) -> dict[str, set[str]]:
    """Names of the distributions that the dependencies, under "", and each extra declare."""
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {extra: {re.split(r"[^\w-]", text)[0] for text in texts} for extra, texts in groups.items()}


def undeclared_imports(root: Path, groups: dict[str, set[str]]) -> list[str]:
    """Imports of a distribution that neither the dependencies nor the extras of the folder declare."""
    wrong = []
    for found in find_imports(root):
        package = found.module.split(".")[0]
        if not package or package in sys.stdlib_module_names or found.for_types_only:
            continue
        distribution = DISTRIBUTIONS.get(package, package)
        extras = EXTRAS_OF_FOLDERS.get(folder_of(found.file), set())
        if distribution not in groups[""].union(IMPORTED_IF_PRESENT, *(groups[extra] for extra in extras)):
            wrong.append(str(found))
    return wrong


def unused_dependencies(root: Path, groups: dict[str, set[str]]) -> set[str]:
    """Distributions that are declared for users and imported nowhere."""
    packages = {found.module.split(".")[0] for found in find_imports(root)}
    imported = {DISTRIBUTIONS.get(package, package) for package in packages}
    extras = set(groups) - {"all", "docs", "test"}
    return set().union(*(groups[extra] for extra in extras)) - imported - set(NOT_IMPORTED)


def test_every_imported_package_is_declared_and_every_declared_one_is_imported():
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    groups = declared(project)
    assert undeclared_imports(PACKAGE, groups) == []
    assert unused_dependencies(PACKAGE, groups) == set()
    needed = set().union(*(groups[extra] for extra in groups if extra not in ("", "all", "docs", "test")))
    assert needed <= groups["test"], "the tests need the extras of users"
    assert groups["search"] <= groups["postgresql"]


@pytest.mark.parametrize(
    ("file", "statement", "expected"),
    [
        ("data/table.py", "import numpy", []),
        ("data/table.py", "import optuna", ["data/table.py:1 imports optuna"]),
        ("search/results.py", "import optuna.trial", []),
        ("search/results.py", "import cloudpickle", ["search/results.py:1 imports cloudpickle"]),
        ("plots/common.py", "import_optional('matplotlib.pyplot', 'plot')", []),
        ("plots/common.py", "import sqlalchemy", ["plots/common.py:1 imports sqlalchemy"]),
    ],
)
def test_undeclared_and_unused_packages_are_found(file, statement, expected, tmp_path):
    groups = {"": {"numpy"}, "search": {"optuna", "sqlalchemy"}, "plot": {"matplotlib"}}
    root = write_tree(tmp_path, {file: statement})
    assert undeclared_imports(root, groups) == expected
    unused = unused_dependencies(root, groups)
    assert len(unused) == 4 - sum(name in statement for name in ("numpy", "optuna", "sqlalchemy", "matplotlib"))


# what is loaded at run time


def packages_loaded_by(code: str) -> set[str]:
    """Names of the packages that are loaded after some code has run in a new process."""
    code += "; import sys; print(*{name.split('.')[0] for name in sys.modules if sys.modules[name]})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    return set(done.stdout.split())


def test_importing_skreg_loads_no_optional_package():
    """scikit-learn itself loads pandas where it is installed; skreg adds none."""
    before = packages_loaded_by("import joblib, narwhals, sklearn, skorch, torch")
    assert not (packages_loaded_by("import skreg") - before) & OPTIONAL


def test_skreg_works_without_optional_packages():
    absent = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {sorted(OPTIONAL)}: raise ImportError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
    )
    fit = "skreg.RegularizedMLPClassifier(max_iter=2).fit([[0.0], [1.0]], ['no', 'yes']).predict([[0.5]])"
    assert "skreg" in packages_loaded_by(f"{absent}import skreg; {fit}")


def test_a_fit_does_not_load_the_compiler_of_torch():
    """Loading it takes half a second in every process and changes the warning filters."""
    fit = "skreg.RegularizedMLPClassifier(max_iter=2).fit([[0.0], [1.0]], ['no', 'yes'])"
    assert not packages_loaded_by(f"import skreg; {fit}") & {"sympy", "torch._dynamo"}


# sizes


def parse(file: Path) -> ast.Module:
    return ast.parse((PACKAGE / file).read_text(encoding="utf-8"))


def docstring_lines(tree: ast.AST) -> int:
    """Number of lines of strings that span several lines: docstrings and templates of docstrings."""
    strings = {
        (node.lineno, node.end_lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.end_lineno > node.lineno
    }
    return sum(end - start + 1 for start, end in strings)


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Number of lines of a function without its signature and its docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def test_files_are_short():
    """Docstrings do not count."""
    lengths = {}
    for file in python_files(PACKAGE):
        n_lines = len((PACKAGE / file).read_text(encoding="utf-8").splitlines())
        lengths[str(file)] = n_lines - docstring_lines(parse(file))
    assert {name: length for name, length in lengths.items() if length >= MAX_FILE_LINES} == {}


def test_functions_are_short():
    """Signatures, docstrings and constructors do not count."""
    lengths = {
        f"{file}:{node.name}": body_lines(node)
        for file in python_files(PACKAGE)
        for node in ast.walk(parse(file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name != "__init__"
    }
    assert {name: length for name, length in lengths.items() if length >= MAX_FUNCTION_LINES} == {}
    assert sum(length < SHORT_FUNCTION_LINES for length in lengths.values()) >= 0.9 * len(lengths)
