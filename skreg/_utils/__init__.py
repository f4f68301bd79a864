"""Helpers that every other folder may import, and that import none of them.

They validate arguments, control threads and devices, and import optional dependencies.
"""
