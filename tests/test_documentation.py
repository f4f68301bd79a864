"""Docstrings, exported names, code blocks of the documentation, spelling and vocabulary."""

import ast
import doctest
import importlib
import inspect
import io
import re
import subprocess
import sys
import textwrap
import time
import tokenize
import types
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from numpydoc.docscrape import NumpyDocString
from numpydoc.validate import validate
from sklearn.datasets import load_iris

import skreg
from skreg import OptunaSearchCV, RegularizedMLPClassifier, RegularizedMLPRegressor

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(skreg.__file__).parent
README = ROOT / "README.md"
BOTH = [RegularizedMLPClassifier, RegularizedMLPRegressor]
ESTIMATORS = [*BOTH, OptunaSearchCV]
REGRESSOR_DEFAULTS = {"hidden_layer_sizes": (64, 64), "learning_rate_init": 0.02, "max_iter": 63, "n_members": 8}
PARAMETERS_OF_ONE_ESTIMATOR = {"loss", "quantile", "label_smoothing", "calibrate", "class_weight"}
EXPORTED_MODULES = [
    "activations",
    "augmentations",
    "callbacks",
    "constraints",
    "diagnostics",
    "embeddings",
    "initializers",
    "losses",
    "penalties",
    "plots",
    "recipes",
    "schedules",
    "uncertainty",
]


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def parse(module: str) -> ast.Module:
    return ast.parse(Path(importlib.import_module(module).__file__).read_text(encoding="utf-8"))


def has_all(path: Path) -> bool:
    return bool(re.search(r"^__all__\b", path.read_text(encoding="utf-8"), re.MULTILINE))


FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = [module_name(path) for path in FILES]
PUBLIC_MODULES = [module_name(path) for path in FILES if has_all(path) and path.name != "__init__.py"]


# exported names


def names_defined_in(module: str) -> set[str]:
    """Public functions, classes, constants and instances that a module defines itself."""
    names = set()
    for node in parse(module).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith("_")}


def need_not_be_exported(module: types.ModuleType, name: str) -> bool:
    """Whether a name is an abstract class, the class of a registered instance, or a default value."""
    thing = getattr(module, name)
    if inspect.isclass(thing):
        entries = [getattr(module, entry) for entry in module.__all__]
        return inspect.isabstract(thing) or any(isinstance(entry, thing) for entry in entries)
    return name.startswith("DEFAULT_")


@pytest.mark.parametrize("name", PUBLIC_MODULES)
def test_all_matches_the_public_names(name):
    module = importlib.import_module(name)
    defined = names_defined_in(name)
    assert list(module.__all__) == sorted(module.__all__)
    assert set(module.__all__) <= defined
    assert {extra for extra in defined - set(module.__all__) if not need_not_be_exported(module, extra)} == set()


def test_the_package_exports_the_estimators_and_the_registries():
    exported = [cls.__name__ for cls in ESTIMATORS] + ["__version__", "diagnose"]
    assert sorted(skreg.__all__) == sorted(exported + EXPORTED_MODULES)
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc|\.dev)\d+)?", skreg.__version__)
    assert (PACKAGE / "py.typed").is_file()


@pytest.mark.parametrize("name", EXPORTED_MODULES)
def test_the_names_of_an_exported_module_exist(name):
    module = getattr(skreg, name)
    assert list(module.__all__) == sorted(module.__all__)
    assert all(hasattr(module, exported) for exported in module.__all__)


# parameters in docstrings


def documented_parameters(Estimator: type) -> dict[str, tuple[str, str]]:
    """Type and text of each documented parameter, in the order of the docstring."""
    found = {}
    for parameter in NumpyDocString(inspect.getdoc(Estimator))["Parameters"]:
        for name in parameter.name.split(", "):
            found[name] = (parameter.type, " ".join(" ".join(parameter.desc).split()))
    return found


def signature_defaults(Estimator: type) -> dict[str, object]:
    parameters = inspect.signature(Estimator).parameters
    return {name: parameter.default for name, parameter in parameters.items()}


def shared(parameters: dict[str, object]) -> dict[str, object]:
    """Parameters that both estimators have with the same meaning."""
    return {name: value for name, value in parameters.items() if name not in PARAMETERS_OF_ONE_ESTIMATOR}


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_all_parameters_are_documented_in_the_order_of_the_signature(Estimator):
    assert list(documented_parameters(Estimator)) == list(signature_defaults(Estimator))


@pytest.mark.parametrize("Estimator", BOTH)
def test_documented_defaults_equal_those_of_the_signature(Estimator):
    found = {name: re.search(r"default=(.*)$", kind) for name, (kind, _) in documented_parameters(Estimator).items()}
    documented = {name: match and ast.literal_eval(match.group(1)) for name, match in found.items()}
    assert documented == signature_defaults(Estimator)


def test_both_estimators_have_the_same_parameters_and_defaults():
    """Except for the regressor's smaller networks and shorter training; `docs/benchmarks.rst` gives the reason."""
    of_classifier, of_regressor = (shared(signature_defaults(Estimator)) for Estimator in BOTH)
    assert list((of_classifier | REGRESSOR_DEFAULTS).items()) == list(of_regressor.items())


def test_both_docstrings_describe_a_parameter_in_the_same_way():
    """Except for defaults and for folds, which are stratified for the classifier only."""
    of_classifier, of_regressor = (shared(documented_parameters(Estimator)) for Estimator in BOTH)

    def with_regressor_default(name: str, kind: str) -> str:
        changed = name in REGRESSOR_DEFAULTS
        return f"{kind.split('default=')[0]}default={REGRESSOR_DEFAULTS[name]}" if changed else kind

    assert {
        name: (with_regressor_default(name, kind), text.replace("shuffled and stratified", "shuffled"))
        for name, (kind, text) in of_classifier.items()
    } == of_regressor


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("name", ["activation", "augmentation", "init", "learning_rate", "loss", "precision", "solver"])
def test_documented_choices_equal_the_accepted_ones(Estimator, name):
    kind, _ = documented_parameters(Estimator)[name]
    (accepted,) = [rule.options for rule in Estimator._parameter_constraints[name] if hasattr(rule, "options")]
    assert re.findall(r'"(\w+)"', re.search(r"\{(.*?)\}", kind).group(1)) == sorted(accepted)


# docstrings

NUMPYDOC_CHECKS = {
    "GL03",  # no double blank lines
    "GL05",  # no tabs
    "GL06",  # no unknown section
    "GL07",  # sections in numpydoc's order
    "GL08",  # there is a docstring
    "SS01",  # there is a summary
    "SS03",  # the summary ends with a full stop
    "SS04",  # the summary has no leading spaces
    "PR01",  # all parameters are documented
    "PR02",  # no other parameter is documented
    "PR03",  # parameters are in the order of the signature
    "PR04",  # parameters have a type
    "PR07",  # parameters have a description
    "PR08",  # the description starts with a capital letter
    "PR09",  # the description ends with a full stop
    "PR10",  # there is a space before the colon
    "RT03",  # the returned value has a description
    "YD01",  # the yielded value is documented
    "SA02",  # See Also entries end with a full stop
    "EX04",  # examples do not import numpy and pandas
}
MODULES_OF_FUNCTIONS_OF_ONE_TENSOR = {"activations", "schedules", "losses"}


def public_objects() -> list[str]:
    """Dotted names of everything that is exported, and of the public methods of the estimators and Displays."""
    names = []
    exported_modules = [getattr(skreg, name).__name__ for name in EXPORTED_MODULES if hasattr(skreg, name)]
    for module_path in dict.fromkeys([*PUBLIC_MODULES, *exported_modules]):
        module = importlib.import_module(module_path)
        things = {exported: getattr(module, exported) for exported in module.__all__}
        names += [
            f"{module_path}.{name}"
            for name, thing in things.items()
            if inspect.isclass(thing) or inspect.isfunction(thing)
        ]
    for name in skreg.plots.__all__:
        if name.endswith("Display"):
            names += [f"skreg.plots.{name}.{method}" for method in ("from_estimator", "plot")]
    for Estimator in ESTIMATORS:
        names += [
            f"{Estimator.__module__}.{Estimator.__name__}.{name}"
            for name, member in inspect.getmembers(Estimator, inspect.isfunction)
            if not name.startswith("_") and inspect.unwrap(member).__module__.startswith("skreg")
        ]
    return names


@pytest.mark.parametrize("name", public_objects())
def test_public_docstrings_follow_numpydoc(name):
    """The parameters of functions of one tensor or number are described in the summary."""
    checks = NUMPYDOC_CHECKS
    if MODULES_OF_FUNCTIONS_OF_ONE_TENSOR & set(name.split(".")):
        checks = {code for code in NUMPYDOC_CHECKS if not code.startswith("PR")}
    assert [(code, text) for code, text in validate(name)["errors"] if code in checks] == []


@pytest.mark.parametrize("name", MODULES)
def test_modules_have_a_docstring(name):
    first, *_ = (ast.get_docstring(parse(name)) or "missing").splitlines()
    assert first.endswith(".")


@pytest.mark.parametrize("Estimator", BOTH)
def test_fitted_attributes_are_documented(Estimator):
    X, y = load_iris(return_X_y=True, as_frame=True)
    fitted = Estimator(hidden_layer_sizes=(4,), max_iter=2, early_stopping=True, random_state=0).fit(X, y)
    learned = {name for name in vars(fitted) if name.endswith("_") and not name.startswith("_")}
    attributes = NumpyDocString(inspect.getdoc(Estimator))["Attributes"]
    documented = {name for attribute in attributes for name in attribute.name.split(", ")}
    properties = {name for name, _ in inspect.getmembers(Estimator, lambda member: isinstance(member, property))}
    assert learned <= documented
    assert documented - learned <= properties


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_estimators_have_examples_references_and_related_classes(Estimator):
    sections = NumpyDocString(inspect.getdoc(Estimator))
    assert sections["Examples"]
    assert sections["References"]
    assert sections["See Also"]


@pytest.mark.parametrize("name", ["activations", "augmentations", "embeddings", "schedules"])
def test_the_api_reference_lists_a_registry(name):
    page = (ROOT / "docs" / "api.rst").read_text(encoding="utf-8")
    listed = re.search(rf"currentmodule:: skreg\.{name}\n.*?toctree: api/generated\n\n(.*?)\n\n", page, re.DOTALL)
    assert sorted(listed.group(1).split()) == sorted(getattr(skreg, name).__all__)


# code blocks

PAGES = [README, *sorted(page for kind in ("md", "rst") for page in (ROOT / "docs").rglob(f"*.{kind}"))]
PAGES = [page for page in PAGES if not {"_build", "generated", "auto_examples"} & set(page.parts)]
FENCED = re.compile(
    r"^```(?:python|\{code-block\} python)[ \t]*\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", re.M | re.DOTALL
)
DIRECTIVE = re.compile(r"^\.\. code(?:-block)?:: python[ \t]*\n((?:[ \t]*\n|[ \t]+.*\n)+)", re.MULTILINE)
OPTION = re.compile(r"^\s*:\w+:.*\n", re.MULTILINE)
PROMPT = re.compile(r"^\s*>>> ", re.MULTILINE)


def python_blocks(page: Path) -> Iterator[tuple[int, str, str | None]]:
    """Line, code and expected output of each Python block of a page, in order.

    The output is that of a ``text`` block right after the code, if there is one.
    """
    text = page.read_text(encoding="utf-8")
    pattern = FENCED if page.suffix == ".md" else DIRECTIVE
    for found in pattern.finditer(text + "\n"):
        code = textwrap.dedent(OPTION.sub("", found.group(1)))
        yield text.count("\n", 0, found.start(1)) + 1, code, found.group(2) if page.suffix == ".md" else None


def run_doctest(page: Path, line: int, code: str, names: dict[str, object]) -> None:
    test = doctest.DocTestParser().get_doctest(code, names, page.name, str(page), line - 1)
    doctests = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    doctests.run(test, clear_globs=False)
    names.update(test.globs)
    assert not doctests.failures, f"The block of {page.name} at line {line} has another output."


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
@pytest.mark.slow
def test_the_code_blocks_of_a_page_run(page, tmp_path, monkeypatch):
    """The blocks of a page run one after the other in one namespace."""
    monkeypatch.chdir(tmp_path)
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)  # functions defined on the page can be pickled
    names = vars(main)
    for line, code, expected in python_blocks(page):
        if PROMPT.search(code):
            run_doctest(page, line, code, names)
            continue
        output = io.StringIO()
        with redirect_stdout(output):
            exec(compile("\n" * (line - 1) + code, str(page), "exec"), names)
        assert expected is None or output.getvalue() == expected


def test_the_readme_shows_a_fit_with_its_output_and_a_search():
    blocks = list(python_blocks(README))
    assert blocks[0][2], "The first block of the README is followed by its output."
    code = "".join(block for _, block, _ in blocks)
    assert "RegularizedMLPClassifier(" in code
    assert "GridSearchCV(" in code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_all_prompts_of_a_page_are_in_a_code_block(page):
    inside = "".join(code for _, code, _ in python_blocks(page))
    assert len(PROMPT.findall(inside)) == len(PROMPT.findall(page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("Estimator", BOTH)
def test_the_estimators_have_examples_that_run(Estimator):
    assert doctest.testmod(sys.modules[Estimator.__module__]).attempted > 0


EXAMPLES = [path for path in sorted((ROOT / "examples").glob("*.py")) if path.stem != "stream_parquet"]  # see below


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
@pytest.mark.slow
def test_an_example_runs_within_two_minutes(example, tmp_path):
    start = time.perf_counter()
    done = subprocess.run([sys.executable, str(example)], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - start < 120
    assert re.search(r"\b0\.\d+", done.stdout), "An example prints scores."


@pytest.mark.slow
def test_streaming_a_parquet_file_takes_less_memory_than_its_table(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "stream_parquet.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    as_table = int(re.search(r"as a table (\d+) MB", done.stdout).group(1))
    accuracy, baseline = map(float, re.search(r"file: (0\.\d+); always the .*: (0\.\d+)", done.stdout).groups())
    assert accuracy > baseline + 0.2
    if "MB from here on" in done.stdout:
        assert int(re.search(r"(\d+) MB more than before", done.stdout).group(1)) < as_table / 1.5
        assert "MemoryError" in done.stdout, "The whole table does not fit into the limit."


def test_continuous_integration_runs_the_two_commands_of_the_readme():
    """``.ci/run`` extracts the first two bash blocks of README.md and runs both."""
    commands = re.findall(r"^```bash\n(.*?)\n```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)[:2]
    assert commands[0].endswith("examples/quickstart.py")
    assert commands[1].endswith("-m pytest")
    assert all(" -m venv " in command and " -m pip install " in command for command in commands)
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    function = re.search(r"^readme_command\(\) \{.*?^\}", script, re.MULTILINE | re.DOTALL).group()
    for number, command in enumerate(commands, start=1):
        call = f"{function}\nwork=new\nreadme_command {number} folder"
        done = subprocess.run(["bash", "-c", call], cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == command.replace(".venv", "new/folder")
    for name in ("quickstart", "tests"):
        assert re.search(rf"^{name}=\$\(readme_command \d {name}\)$", script, re.MULTILINE)
        assert re.search(rf'^(run )?bash .*-c "\${name}( --run-slow)?"$', script, re.MULTILINE), f"{name} is run"


# spelling and vocabulary

BRITISH = re.compile(
    r"""(
        (?:binar|categor|character|custom|discret|emphas|factor|final|general|initial|memor|minim|maxim|normal|optim
           |organ|parametr|penal|polar|quant|random|real|recogn|regular|serial|special|stabil|standard|summar|symmetr
           |synchron|token|util|vector|visual|winsor)
        is(?:e|ed|es|er|ers|ing|ation|ations)(?![a-z])
        |analys(?:e|ed|ing)(?![a-z])
        |(?:behavi|col|fav|harb|hon|neighb)our
        |cent(?:re|red|res|ring)(?![a-z])
        |(?:cancel|label|level|model|signal|travel)l(?:ed|ing)(?![a-z])
        |(?:arte|de)(?:fact|fence)(?![a-z])
        |catalogue|dialogue|fibre|grey|judgement|learnt|licence|metre(?![a-z])|programme(?![a-z])|spelt|whilst
    )""",
    re.VERBOSE | re.IGNORECASE,
)
METAPHORS_IN_NAMES = {
    *("act", "acts", "blueprint", "case", "course", "crew", "cure", "doctor", "entrant", "heat", "illness", "lane"),
    *("ledger", "news", "owner", "pace", "part", "patient", "place", "race", "rehearsal", "runner", "settle", "sheet"),
    *("sign", "told", "verdict", "watched"),
}
"""Words that must not be part of a name. Plurals and past forms count too; "strength" is listed below."""
METAPHORS_IN_TEXT = {
    *("blueprint", "crew", "cure", "doctor", "entrant", "heat", "illness", "lane", "ledger", "pace", "rehearsal"),
    *("rehearse", "settle", "strength", "told", "verdict", "watched"),
}
"""Words that must not be in text. The other words above have ordinary meanings, as in "in that case"."""
ALLOWED_NAMES = {"augmentation_strength", "in_place"}
"""A public parameter, and a term that means that a tensor is overwritten."""
PAGES_IN_AMERICAN_SPELLING = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "CITATION.cff", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.rst")),
]
SOURCES = [
    *FILES,
    *sorted(path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__).resolve()),
]


def stems(word: str) -> set[str]:
    """A word and the words from which it may be derived by an ending."""
    endings = [("s", ""), ("es", ""), ("d", ""), ("ed", ""), ("ing", ""), ("ing", "e"), ("er", ""), ("er", "e")]
    return {word} | {word.removesuffix(ending) + new for ending, new in endings if word.endswith(ending)}


def words_of_name(name: str) -> list[str]:
    """Lowercase words of an identifier in snake case or camel case."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def defined_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of everything that a file names itself; names of other packages are not its choice."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.alias) and node.asname:
            yield node.lineno, node.asname


def texts(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of each line of the comments and strings of a file."""
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in kinds:
            for offset, line in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, line


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name)


def metaphors(path: Path) -> list[str]:
    """Words of a file, as "file:line: word", that stand for a standard term."""
    source = path.read_text(encoding="utf-8")
    found = set()
    for line, name in [(1, path.stem), *defined_names(ast.parse(source))]:
        if name not in ALLOWED_NAMES and any(stems(word) & METAPHORS_IN_NAMES for word in words_of_name(name)):
            found.add((line, f"name {name}"))
        if name not in ALLOWED_NAMES and "strength" in name.lower():
            found.add((line, f"name {name}"))
    for line, text in texts(source):
        words = re.findall(r"(?<![\w./])[a-z]+(?![\w./]\w)", text.lower())
        found |= {(line, word) for word in words if stems(word) & METAPHORS_IN_TEXT}
    return [f"{relative(path)}:{line}: {word}" for line, word in sorted(found)]


def british_words(path: Path) -> list[str]:
    """Words of a file in British spelling, as "file:line: word"."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [
        f"{relative(path)}:{number}: {match.group()}"
        for number, line in enumerate(lines, start=1)
        for match in BRITISH.finditer(line)
    ]


def test_names_and_text_use_standard_terms():
    found = [word for path in SOURCES for word in metaphors(path)]
    assert not found, "\n".join(["Replace these words by the standard terms of the field:", *found])


def test_spelling_is_american():
    found = [word for path in [*SOURCES, *PAGES_IN_AMERICAN_SPELLING] for word in british_words(path)]
    assert not found, "\n".join(["Spell these words in American English:", *found])


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("case = 1", ["name case"]),
        ("def run_heats(): pass", ["name run_heats"]),
        ("class HeatRunner: pass", ["name HeatRunner"]),
        ("x = np.sign(y)", []),
        ("from functools import partial as partial_of", []),
        ("# in that case the sign is part of it", []),
        ("'''Settle the weights.'''", ["settle"]),
        ("x = f'the strengths of {y}'", ["strengths"]),
        ("augmentation_strength = 0.1", []),
        ("penalty_strength = 0.1", ["name penalty_strength"]),
        ("# see docs/doctor.rst and `augmentation_strength`", []),
    ],
)
def test_metaphors_are_found(source, expected, tmp_path):
    path = tmp_path / "module.py"
    path.write_text(source, encoding="utf-8")
    assert metaphors(path) == [f"module.py:1: {word}" for word in expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("normalised rows", ["normalised"]),
        ("optimiser = colour", ["optimiser", "colour"]),
        ("centre and recentred", ["centre", "centred"]),
        ("normalize, center, exercise, promise, precise, analysis, raise, likewise, noise", []),
    ],
)
def test_british_words_are_found(text, expected, tmp_path):
    path = tmp_path / "page.md"
    path.write_text(text, encoding="utf-8")
    assert british_words(path) == [f"page.md:1: {word}" for word in expected]
