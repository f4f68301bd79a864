"""From raw output to new weights: losses, penalties, constraints, optimizers, schedules, early stopping, epoch loop.

Start with ``net.py``, which contains the epoch loop, and ``trainer.py``, which runs the steps of one epoch.
"""
