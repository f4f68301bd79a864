"""Fuzzer: random tables, targets, weights, parameters and calls, and the laws that every one of them satisfies.

``python -m tests.fuzz --cases 20000 --seed 0 --jobs 2`` runs many cases; ``test_fuzz.py`` runs some of them in the test
suite. A case is a dataclass whose ``repr`` reproduces it: ``python -m tests.fuzz --case "EstimatorExample(...)"``.
"""
