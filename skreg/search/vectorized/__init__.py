"""Side by side training of several candidates, all folds of each, as members of stacked networks.

The evaluator divides a batch of candidates into groups, which joblib runs; each group trains in one process.
"""
