"""Training of several candidates side by side, with all folds of each as members of stacked networks.

The evaluator divides a batch of candidates into groups, which joblib runs; each group trains in one process.
"""
