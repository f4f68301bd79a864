"""Optimizers, one file each. The capabilities of an optimizer are class attributes; see ``base.py``."""
