"""The scikit-learn interface: ``fit``, ``predict``, parameters and targets.

Start with ``base.py``, which shows how a fit and a prediction proceed.
"""
