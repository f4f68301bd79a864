"""Helpers that every other subpackage may import and that import none of them.

The helpers validate arguments, control threads and devices, and import optional dependencies.
"""
