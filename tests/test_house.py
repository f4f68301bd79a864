"""The house: floors, exported names, documented defaults, budgets, docstrings."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from numpydoc.docscrape import NumpyDocString
from numpydoc.validate import validate
from sklearn.datasets import load_iris

import skreg
from skreg import OptunaSearchCV, RegularizedMLPClassifier, RegularizedMLPRegressor

PACKAGE = Path(skreg.__file__).parent
BOTH = [RegularizedMLPClassifier, RegularizedMLPRegressor]
BESIDE = [OptunaSearchCV]
FOR_NUMBERS = {"hidden_layer_sizes": (64, 64), "learning_rate_init": 0.02, "max_iter": 63, "n_members": 8}
OF_ONE_ESTIMATOR = {"loss", "quantile", "label_smoothing", "calibrate", "class_weight"}

FLOORS = [
    ["_version"],
    ["_checks"],
    ["_links", "_strengths"],
    [
        "_fingerprint",
        "_ledger",
        "_optimizers",
        "_owners",
        "_parameter_docs",
        "_precision",
        "_quick_scores",
        "_random",
        "_storages",
        "_threads",
        "activations",
        "augmentations",
        "constraints",
        "embeddings",
        "initializers",
        "losses",
        "penalties",
        "recipes",
        "schedules",
        "uncertainty",
    ],
    ["_joining"],
    [
        "_averaging",
        "_comparison",
        "_encoding",
        "_folds",
        "_inputs",
        "_layers",
        "_lbfgs",
        "_monitor",
        "_plateau",
        "_residuals",
        "_rows",
        "_space",
        "_stopping",
        "_studies",
        "_table",
        "_targets",
    ],
    ["_augmenting", "_candidates", "_pace", "_solvers"],
    ["_ensembling", "_module"],
    ["_parametrization", "_settling"],
    ["_blueprint", "_course", "_inspection", "_parameters", "_parts", "_progress", "callbacks"],
    ["_calibration", "_epochs", "_joint_course", "_position", "_predictor", "_trainer", "_transfer"],
    ["_net"],
    ["_joint", "_prediction"],
    ["_base"],
    ["_distributions", "_entry", "_probe", "_streaming"],
    ["_case", "_lanes"],
    ["_heat", "_repeats", "_signs"],
    ["_crew"],
    ["_race"],
    ["_evidence_of_data", "_evidence_of_layers", "_evidence_of_training"],
    ["_illnesses"],
    ["_sampling"],
    ["_plotting", "_reliability", "classifier", "regressor"],
    ["_violins", "diagnostics", "search"],
    ["_feature_plot", "_layer_plots", "_paths", "_reliability_plot", "_training_plot"],
    ["_path_plot"],
    ["plots"],
    ["__init__"],
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
WITH_TORCH = range(FLOOR["_strengths"], FLOOR["classifier"] + 1)
WITH_SKORCH = {"_epochs", "_net", "_progress", "callbacks"}
WITH_OPTUNA = {
    *("_candidates", "_distributions", "_joining", "_ledger", "_repeats", "_storages", "_studies", "search"),
}  # inside of functions; `_storages` is imported there
WITH_PANDAS = {"diagnostics": {"pandas"}}  # inside of a method
WITH_MATPLOTLIB = {"_plotting"}  # inside of a function
NEVER_AT_IMPORT = {"matplotlib", "optuna", "pandas", "polars"}

MODULES = sorted(path.stem for path in PACKAGE.glob("*.py"))
PUBLIC = [name for name in MODULES if not name.startswith("_")]


def tree_of(name):
    return ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8"))


def imports_of(name):
    """(modules of the package, other packages) that a module imports, anywhere in it."""
    inside, outside = set(), set()
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Import):
            outside |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            outside.add(node.module.split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 1, f"{name} imports from above the package"
            inside |= {node.module} if node.module else {alias.name for alias in node.names}
    return inside, outside


def test_every_module_has_a_floor():
    assert sorted(FLOOR) == MODULES


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_from_lower_floors_only(name):
    inside, outside = imports_of(name)
    assert "skreg" not in outside, "imports inside the package are relative"
    assert not {other for other in inside if FLOOR[other] >= FLOOR[name]}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_what_its_floor_may(name):
    _, outside = imports_of(name)
    if name in WITH_OPTUNA:
        outside -= {"optuna", *({"search": {"pandas"}, "_storages": {"sqlalchemy"}}.get(name, ()))}
    outside -= WITH_PANDAS.get(name, set())
    if name in WITH_MATPLOTLIB:
        outside -= {"matplotlib"}
    assert not outside & NEVER_AT_IMPORT
    assert "torch" not in outside or FLOOR[name] in WITH_TORCH
    assert "skorch" not in outside or name in WITH_SKORCH
    assert outside <= {*sys.stdlib_module_names, "joblib", "narwhals", "numpy", "scipy", "sklearn", "skorch", "torch"}


def modules_after(code):
    """Names of the packages that are loaded after some code ran in a fresh process."""
    code += "; import sys; print(*{name.split('.')[0] for name in sys.modules if sys.modules[name]})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_no_extra():
    """scikit-learn loads pandas itself where it is installed; the package adds none."""
    before = modules_after("import narwhals, sklearn, skorch, torch")
    assert not (modules_after("import skreg") - before) & NEVER_AT_IMPORT


def test_the_package_works_where_no_extra_is_installed():
    absent = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {sorted(NEVER_AT_IMPORT)}: raise ImportError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
    )
    fit = "skreg.RegularizedMLPClassifier(max_iter=2).fit([[0.0], [1.0]], ['no', 'yes']).predict([[0.5]])"
    assert "skreg" in modules_after(f"{absent}import skreg; {fit}")


def test_a_fit_loads_no_compiler():
    """Which takes half a second of every process, and leaves a filter of warnings behind."""
    fit = "skreg.RegularizedMLPClassifier(max_iter=2).fit([[0.0], [1.0]], ['no', 'yes'])"
    assert not modules_after(f"import skreg; {fit}") & {"sympy", "torch._dynamo"}


# exported names


def defined_in(name):
    """Public names that a module defines itself: functions, classes, constants, instances."""
    names = set()
    for node in tree_of(name).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {found for found in names if not found.startswith("_")}


def exported_from_private(name):
    """Public names that a module takes from the package's private ones."""
    taken = [node for node in tree_of(name).body if isinstance(node, ast.ImportFrom) and node.level]
    return {alias.name for node in taken if (node.module or "").startswith("_") for alias in node.names}


def registered_or_abstract(module, name):
    """Bases, classes of registered instances and defaults: needed to write an entry, and no entry themselves."""
    thing = getattr(module, name)
    entries = [getattr(module, entry) for entry in module.__all__]
    if inspect.isclass(thing):
        return inspect.isabstract(thing) or any(isinstance(entry, thing) for entry in entries)
    return name.startswith("DEFAULT_")


@pytest.mark.parametrize("name", PUBLIC)
def test_all_names_what_is_public(name):
    module = importlib.import_module(f"skreg.{name}")
    exported = set(module.__all__)
    assert list(module.__all__) == sorted(module.__all__)
    assert exported <= defined_in(name) | exported_from_private(name)
    assert {extra for extra in defined_in(name) - exported if not registered_or_abstract(module, extra)} == set()


def test_the_package_exports_the_estimators():
    estimators = ["OptunaSearchCV", "RegularizedMLPClassifier", "RegularizedMLPRegressor"]
    assert skreg.__all__ == [*estimators, "__version__", "diagnose", "plots", "recipes"]
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc|\.dev)\d+)?", skreg.__version__)
    assert (PACKAGE / "py.typed").is_file()


# what the class docstrings say of the parameters


def documented(Estimator):
    """{parameter: (type, text)} in the order of the docstring."""
    found = {}
    for parameter in NumpyDocString(inspect.getdoc(Estimator))["Parameters"]:
        for name in parameter.name.split(", "):
            found[name] = (parameter.type, " ".join(" ".join(parameter.desc).split()))
    return found


def signature(Estimator):
    parameters = inspect.signature(Estimator).parameters
    return {name: parameter.default for name, parameter in parameters.items()}


def common(parameters):
    """Those of the parameters that both estimators have, with the same meaning."""
    return {name: value for name, value in parameters.items() if name not in OF_ONE_ESTIMATOR}


@pytest.mark.parametrize("Estimator", [*BOTH, *BESIDE])
def test_every_parameter_is_documented_in_the_order_of_the_signature(Estimator):
    assert list(documented(Estimator)) == list(signature(Estimator))


@pytest.mark.parametrize("Estimator", BOTH)
def test_documented_defaults_are_those_of_the_signature(Estimator):
    said = {name: re.search(r"default=(.*)$", kind) for name, (kind, _) in documented(Estimator).items()}
    assert {name: match and ast.literal_eval(match.group(1)) for name, match in said.items()} == signature(Estimator)


def test_both_estimators_have_the_same_parameters_and_defaults():
    """But for numbers more and smaller networks, trained for fewer epochs: `docs/benchmarks` says why."""
    of_classifier, of_regressor = (common(signature(Estimator)) for Estimator in BOTH)
    assert list((of_classifier | FOR_NUMBERS).items()) == list(of_regressor.items())


def test_both_docstrings_say_the_same_of_a_parameter():
    """But for folds, which only labels can stratify, and the defaults for numbers."""
    of_classifier, of_regressor = (common(documented(Estimator)) for Estimator in BOTH)

    def of_numbers(name, kind):
        return f"{kind.split('default=')[0]}default={FOR_NUMBERS[name]}" if name in FOR_NUMBERS else kind

    assert {
        name: (of_numbers(name, kind), text.replace("shuffled and stratified", "shuffled"))
        for name, (kind, text) in of_classifier.items()
    } == of_regressor


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize(
    "name",
    ["activation", "augmentation", "init", "learning_rate", "loss", "precision", "solver"],
)
def test_the_documented_choices_are_the_accepted_ones(Estimator, name):
    kind, _ = documented(Estimator)[name]
    (accepted,) = [rule.options for rule in Estimator._parameter_constraints[name] if hasattr(rule, "options")]
    assert re.findall(r'"(\w+)"', re.search(r"\{(.*?)\}", kind).group(1)) == sorted(accepted)


# budgets


def functions_of(name):
    return [node for node in ast.walk(tree_of(name)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def body_lines(function):
    """Lines of a function without its signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def test_functions_are_short():
    lengths = {
        f"{name}.{function.name}": body_lines(function)
        for name in MODULES
        for function in functions_of(name)
        if function.name != "__init__"
    }
    assert {name: length for name, length in lengths.items() if length >= 50} == {}
    assert sum(length < 30 for length in lengths.values()) >= 0.9 * len(lengths)


def file_lines(name):
    """Lines of a file; of the estimators without what scikit-learn wants written out: constructor and parameters."""
    whole = len((PACKAGE / f"{name}.py").read_text(encoding="utf-8").splitlines())
    if name not in ("classifier", "regressor", "search"):
        return whole
    constructors = [function for function in functions_of(name) if function.name == "__init__"]
    documented = [node.body[0] for node in tree_of(name).body if isinstance(node, ast.ClassDef)]
    return whole - sum(node.end_lineno - node.lineno + 1 for node in (*constructors, *documented))


def test_files_are_short():
    lengths = {name: file_lines(name) for name in MODULES}
    assert {name: length for name, length in lengths.items() if length >= 400} == {}


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is(name):
    assert (ast.get_docstring(tree_of(name)) or "").splitlines()[0].endswith(".")


# docstrings

WANTED = {
    "GL03",  # no double blank lines
    "GL05",  # no tabs
    "GL06",  # no unknown section
    "GL07",  # sections in numpydoc's order
    "GL08",  # there is a docstring
    "SS01",  # there is a summary
    "SS03",  # which ends with a full stop
    "SS04",  # and has no leading spaces
    "PR01",  # every parameter is documented
    "PR02",  # and no other
    "PR03",  # in the order of the signature
    "PR04",  # with a type
    "PR07",  # and a description
    "PR08",  # that starts with a capital
    "PR09",  # and ends with a full stop
    "PR10",  # a space before the colon
    "RT03",  # what is returned has a description
    "YD01",  # what is yielded is documented
    "SA02",  # See Also entries end with a full stop
    "EX04",  # examples do not import numpy and pandas as they are known
}


def public_things():
    """Dotted names of everything exported, and of the estimators' public methods of our own."""
    names = []
    for name in PUBLIC:
        module = importlib.import_module(f"skreg.{name}")
        for exported in module.__all__:
            thing = getattr(module, exported)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                names.append(f"skreg.{name}.{exported}")
    displays = [getattr(skreg.plots, name) for name in skreg.plots.__all__ if name.endswith("Display")]
    for Display in displays:
        names += [f"skreg.plots.{Display.__name__}.{name}" for name in ("from_estimator", "plot")]
    for Estimator in [*BOTH, *BESIDE]:
        for name, member in inspect.getmembers(Estimator, inspect.isfunction):
            if not name.startswith("_") and inspect.unwrap(member).__module__.startswith("skreg"):
                names.append(f"{Estimator.__module__}.{Estimator.__name__}.{name}")
    return names


def complaints_about(name):
    """What numpydoc finds; a function of one obvious tensor or number says what it is in its sentence."""
    wanted = WANTED
    if name.split(".")[1] in ("activations", "schedules", "losses"):
        wanted = {code for code in WANTED if not code.startswith("PR")}
    return [(code, text) for code, text in validate(name)["errors"] if code in wanted]


@pytest.mark.parametrize("name", public_things())
def test_a_public_docstring_is_numpydoc(name):
    assert complaints_about(name) == []


@pytest.mark.parametrize("Estimator", BOTH)
def test_an_estimator_documents_its_attributes(Estimator):
    X, y = load_iris(return_X_y=True, as_frame=True)
    fitted = Estimator(hidden_layer_sizes=(4,), max_iter=2, early_stopping=True, random_state=0).fit(X, y)
    learned = {name for name in vars(fitted) if name.endswith("_") and not name.startswith("_")}
    said = {
        name
        for attribute in NumpyDocString(inspect.getdoc(Estimator))["Attributes"]
        for name in attribute.name.split(", ")
    }
    properties = {name for name, _ in inspect.getmembers(Estimator, lambda member: isinstance(member, property))}
    assert learned <= said
    assert said - learned <= properties


@pytest.mark.parametrize("Estimator", [*BOTH, *BESIDE])
def test_an_estimator_has_an_example_and_its_sources(Estimator):
    sections = NumpyDocString(inspect.getdoc(Estimator))
    assert sections["Examples"]
    assert sections["References"]
    assert sections["See Also"]


@pytest.mark.parametrize("name", ["activations", "augmentations", "embeddings", "schedules"])
def test_the_reference_lists_the_registry(name):
    page = (PACKAGE.parent / "docs" / "api.rst").read_text(encoding="utf-8")
    listed = re.search(rf"currentmodule:: skreg\.{name}\n.*?toctree: api/generated\n\n(.*?)\n\n", page, re.S).group(1)
    assert sorted(listed.split()) == sorted(importlib.import_module(f"skreg.{name}").__all__)
