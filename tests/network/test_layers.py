"""Layers compared with plain formulas and with torch, member by member."""

import torch
from torch import Generator

from skreg import initializers
from skreg.network.layers import BatchNorm, CategoryEmbedding, LayerNorm, Linear

F64 = torch.float64


def generators(*seeds):
    return [Generator().manual_seed(seed) for seed in seeds]


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=Generator().manual_seed(seed), dtype=F64)


def test_linear_applies_the_affine_map_of_each_member():
    linear = Linear(3, 4, 5, F64)
    with torch.no_grad():
        linear.init_weights(initializers.he_normal, generators(0, 1, 2))
        linear.bias.copy_(normal(3, 1, 5))
    x = normal(3, 7, 4)
    for m in range(3):
        expected = x[m] @ linear.weight[m] + linear.bias[m]
        torch.testing.assert_close(linear(x)[m], expected)


def test_batch_norm_equals_that_of_torch():
    ours, theirs = BatchNorm(2, 5, F64), torch.nn.BatchNorm1d(5, dtype=F64)
    x = normal(2, 40, 5) * 3 + 1
    out = ours(x, torch.full((2, 40), 1 / 40, dtype=F64))
    torch.testing.assert_close(out[1], theirs(x[1]))
    torch.testing.assert_close(out.mean(1), torch.zeros(2, 5, dtype=F64), atol=1e-12, rtol=0)


def test_batch_norm_treats_a_row_of_weight_two_as_two_rows():
    x = normal(1, 6, 3)
    weight = torch.tensor([[2.0, 1, 0, 1, 2, 0]], dtype=F64)
    repeated = x[:, [0, 0, 1, 3, 4, 4]]
    one, other = BatchNorm(1, 3, F64), BatchNorm(1, 3, F64)
    out = one(x, weight)
    expected = other(repeated, torch.ones(1, 6, dtype=F64))
    torch.testing.assert_close(out[:, [0, 0, 1, 3, 4, 4]], expected)
    torch.testing.assert_close(one.mean, other.mean)
    torch.testing.assert_close(one.variance, other.variance)


def test_running_statistics_are_unweighted_means_of_the_first_batches():
    norm = BatchNorm(1, 2, F64)
    batches = [normal(1, 10, 2, seed=i) + i for i in range(4)]
    for batch in batches:
        norm(batch, torch.ones(1, 10, dtype=F64))
    torch.testing.assert_close(norm.mean, torch.stack([b.mean(1, keepdim=True) for b in batches]).mean(0))
    variance = norm.variance.clone()
    norm(batches[0], None)
    assert torch.equal(norm.variance, variance)


def test_layer_norm_equals_that_of_torch_and_does_not_depend_on_the_batch():
    ours, theirs = LayerNorm(2, 5, F64), torch.nn.LayerNorm(5, dtype=F64)
    x = normal(2, 40, 5) * 3 + 1
    torch.testing.assert_close(ours(x, torch.ones(2, 40))[1], theirs(x[1]))
    torch.testing.assert_close(ours(x, torch.ones(2, 40))[:, :7], ours(x[:, :7], None))


def test_category_embedding_looks_up_vectors_of_each_member_and_zeros_for_unknown_levels():
    embeddings = CategoryEmbedding(2, [3, 10], 4, F64)
    with torch.no_grad():
        embeddings.init_weights(generators(0, 1))
    out = embeddings(torch.tensor([[[0, 0], [3, 10]], [[0, 7], [3, 10]]]))
    assert out.shape == (2, 2, 8)
    assert (out[0, 0] == 0).all()
    assert (out[1, 0, :4] == 0).all()
    assert (out[1, 0, 4:] != 0).all()
    assert torch.equal(out[1, 1, 4:], embeddings.weight[1, -1])
    assert not torch.equal(out[0, 1], out[1, 1])
