"""From the user's table to tensors: encoding, column statistics, splits and batches.

This folder knows neither networks nor training; it imports only from ``_utils``.
"""
