"""From the user's table to tensors: encoding, column statistics, splits and batches.

The files know nothing of networks or of training.
"""
