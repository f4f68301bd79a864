"""Sphinx configuration."""

import skreg

project = "skreg"
author = "skreg developers"
project_copyright = "2026, skreg developers"
version = release = skreg.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
default_role = "literal"

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False

html_theme = "furo"
html_title = f"skreg {release}"
html_theme_options = {
    "source_repository": "https://github.com/skreg/skreg/",
    "source_branch": "main",
    "source_directory": "docs/",
}
