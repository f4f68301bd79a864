"""From encoded rows to raw output: input layer, embeddings, layers, activations, initializers and dropout.

Every tensor has the members of the ensemble on its first axis.
"""
