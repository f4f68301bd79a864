"""The version, which the build and ``skreg.__version__`` read."""

__version__ = "0.1.0"
