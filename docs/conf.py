"""Sphinx configuration."""

import inspect
import sys

import skreg

# The root re-exports modules such as skreg.activations; autodoc imports them by these names.
sys.modules.update({f"skreg.{name}": value for name, value in vars(skreg).items() if inspect.ismodule(value)})

project = "skreg"
author = "skreg developers"
project_copyright = "2026, skreg developers"
version = release = skreg.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "sphinx_gallery.gen_gallery"]
exclude_patterns = ["_build", "**/sg_execution_times.rst", "sg_execution_times.rst"]
templates_path = ["_templates"]
default_role = "literal"

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "ignore_pattern": r"(^|/)(?!plot_)[^/]*\.py$",  # run only the examples that draw
    "abort_on_example_error": True,
    "capture_repr": (),
    "copyfile_regex": r".*\.rst",
    "download_all_examples": False,
    "min_reported_time": 1e9,
    "plot_gallery": "True",
    "remove_config_comments": True,
    "show_memory": False,
    "within_subsection_order": "FileNameSortKey",
}

html_theme = "furo"
html_title = f"skreg {release}"
html_theme_options = {
    "source_repository": "https://github.com/skreg/skreg/",
    "source_branch": "main",
    "source_directory": "docs/",
}
