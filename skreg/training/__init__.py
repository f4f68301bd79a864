"""From raw output to new weights: losses, penalties, constraints, optimizers, schedules, early stopping and the loop.

Start with ``net.py``, which holds the epoch loop, and ``trainer.py``, which runs the steps of one epoch.
"""
