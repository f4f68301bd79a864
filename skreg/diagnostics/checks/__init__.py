"""Checks look for one problem each and return a `Finding` or None.

They are grouped by what they examine, and `registry` lists them in the order of the report.
"""
