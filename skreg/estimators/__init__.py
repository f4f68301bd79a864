"""The scikit-learn interface: ``fit``, ``predict``, parameters and targets.

Start with ``base.py``, which lists the steps of a fit and of a prediction.
"""
