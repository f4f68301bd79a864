"""The words: every example in README, docs and docstrings runs, and the README's commands are those that CI runs."""

import doctest
import importlib
import re
import subprocess
import sys
import textwrap
import time
import types
from pathlib import Path

import pytest

import skreg

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted(page for kind in ("md", "rst") for page in (ROOT / "docs").rglob(f"*.{kind}"))]
PAGES = [page for page in PAGES if not {"_build", "generated", "auto_examples"} & set(page.parts)]
MODULES = sorted(path.stem for path in Path(skreg.__file__).parent.glob("*.py"))

FENCED = re.compile(r"^```(?:python|\{code-block\} python)[ \t]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
DIRECTIVE = re.compile(r"^\.\. code(?:-block)?:: python[ \t]*\n((?:[ \t]*\n|[ \t]+.*\n)+)", re.MULTILINE)
OPTION = re.compile(r"^\s*:\w+:.*\n", re.MULTILINE)
PROMPT = re.compile(r"^\s*>>> ", re.MULTILINE)


def python_blocks(page):
    """(line, code) of each block of Python on a page, in order."""
    text = page.read_text(encoding="utf-8")
    pattern = FENCED if page.suffix == ".md" else DIRECTIVE
    for found in pattern.finditer(text + "\n"):
        code = textwrap.dedent(OPTION.sub("", found.group(1)))
        yield text.count("\n", 0, found.start(1)) + 1, code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_a_page_runs(page, tmp_path, monkeypatch):
    """The blocks of a page run one after the other in one namespace, as a reader types them."""
    monkeypatch.chdir(tmp_path)
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)  # so that what a page defines can be pickled
    names = vars(main)
    for line, code in python_blocks(page):
        if PROMPT.search(code):
            test = doctest.DocTestParser().get_doctest(code, names, page.name, str(page), line - 1)
            runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
            runner.run(test, clear_globs=False)
            names.update(test.globs)
            assert not runner.failures, f"a block of {page.name}, line {line}, gives something else"
        else:
            exec(compile("\n" * (line - 1) + code, str(page), "exec"), names)


def test_the_readme_shows_both_a_fit_and_a_search():
    code = "".join(block for _, block in python_blocks(README))
    assert "RegularizedMLPClassifier(" in code
    assert "GridSearchCV(" in code


def test_every_prompt_of_a_page_is_in_a_block_that_runs():
    for page in PAGES:
        inside = "".join(code for _, code in python_blocks(page))
        assert len(PROMPT.findall(inside)) == len(PROMPT.findall(page.read_text(encoding="utf-8"))), page.name


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name):
    module = importlib.import_module("skreg" if name == "__init__" else f"skreg.{name}")
    result = doctest.testmod(module)
    assert result.failed == 0
    assert result.attempted > 0 or name not in ("classifier", "regressor")


EXAMPLES = [path for path in sorted((ROOT / "examples").glob("*.py")) if path.stem != "stream_parquet"]  # see below


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_an_example_runs_within_two_minutes(example, tmp_path):
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(example)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - began < 120
    assert re.search(r"\b0\.\d+", done.stdout), "it prints scores"


def test_the_stream_of_a_parquet_file_runs_in_less_memory_than_its_table_takes(tmp_path):
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
        assert "MemoryError" in done.stdout, "nobody reads the whole table in that"


def test_continuous_integration_runs_the_two_commands_of_the_readme():
    """``.ci/run`` cuts them out of README.md; the function that does so must find both, and it must run both."""
    commands = re.findall(r"^```bash\n(.*?)\n```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(commands) == 2
    assert commands[0].endswith("examples/quickstart.py")
    assert commands[1].endswith("-m pytest")
    assert all(" -m venv " in command and " -m pip install " in command for command in commands)
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    cut = re.search(r"^readme_command\(\) \{.*?^\}", script, re.MULTILINE | re.DOTALL).group()
    for number, command in enumerate(commands, start=1):
        asked = f"{cut}\nwork=fresh\nreadme_command {number} place"
        done = subprocess.run(["bash", "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == command.replace(".venv", "fresh/place")
    for name in ("quickstart", "tests"):
        assert re.search(rf"^{name}=\$\(readme_command \d {name}\)$", script, re.MULTILINE)
        assert re.search(rf'^(run )?bash .*-c "\${name}"$', script, re.MULTILINE), f"{name} is run"
