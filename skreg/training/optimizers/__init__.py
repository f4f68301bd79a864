"""Optimizers, one in each file.

Their capabilities are class attributes, which validation and the training loop read.
"""
