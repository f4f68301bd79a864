"""From the user's table to tensors: encoding, column statistics, splits and batches.

This subpackage is independent of networks and training; it imports only from ``_utils``.
"""
