"""Validation, threads, devices and small numerical helpers.

Every other folder may import from this one; it imports from no other folder.
"""
