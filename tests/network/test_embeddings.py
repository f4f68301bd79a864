"""Numeric embeddings: shapes, formulas, independence of members, and accuracy."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from torch import Generator

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor, activations, embeddings
from skreg._utils.threads import torch_threads
from skreg.data.batches import MemberRows
from skreg.data.split import assign_folds
from skreg.data.statistics import learn_statistics, target_statistics
from skreg.network.config import NetworkConfig
from skreg.network.generators import member_seeds
from skreg.network.inference import predict_raw
from skreg.network.input_layer import InputLayer
from skreg.network.layers import BatchNorm
from skreg.network.network import Network
from skreg.training.config import TrainingConfig
from skreg.training.early_stopping import LossMonitor
from skreg.training.losses import HalfSquaredError
from skreg.training.net import Net
from skreg.training.penalties import ElasticNet
from skreg.training.schedules import cosine
from tests.helpers import plain_regressor

NAMES = embeddings.__all__
F64 = torch.float64
N, MEMBERS = 120, 3
RNG = np.random.RandomState(0)
X = RNG.randn(N, 3) * [1, 5, 0.1]
X[RNG.rand(N, 3) < 0.05] = np.nan
Y = np.nan_to_num(X[:, 0]) + np.abs(np.nan_to_num(X[:, 1])) + 0.1 * RNG.randn(N)
FRAME = pd.DataFrame(X, columns=list("abc")).assign(
    few=np.array(list("xyz"))[RNG.randint(0, 3, N)], many=[f"level {i}" for i in RNG.randint(0, 12, N)]
)
SMALL = {"hidden_layer_sizes": (12, 8), "max_iter": 6, "n_members": 2, "batch_size": 32, "random_state": 0}
BOTH = [(RegularizedMLPRegressor, Y), (RegularizedMLPClassifier, (np.median(Y) < Y).astype(int))]


def edges_of(x, bins=16):
    """Quantile edges ``(members, columns, bins + 1)`` of ``x`` ``(members, rows, columns)``."""
    return torch.quantile(x, torch.linspace(0, 1, bins + 1, dtype=F64), dim=1).permute(1, 2, 0)


def make_embedding(name, x, seeds=(0, 1), columns=None, dtype=F64):
    numbers = x[..., :columns]
    module = getattr(embeddings, name)(len(x), numbers.shape[-1], edges_of(numbers.to(F64)), dtype)
    with torch.no_grad():
        module.init_weights([Generator().manual_seed(seed) for seed in seeds])
    return module


def random_columns(members=2, rows=64, columns=3, seed=0):
    return torch.randn(members, rows, columns, generator=Generator().manual_seed(seed), dtype=F64)


# the modules


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("name", NAMES)
def test_each_number_has_several_outputs_and_other_inputs_are_kept(name, dtype):
    x = random_columns(columns=5).to(dtype)
    module = make_embedding(name, x, columns=3, dtype=dtype)
    out = module(x)
    assert out.shape == (2, 64, 3 * module.width + 2)
    assert out.dtype == dtype
    assert torch.equal(out[..., -2:], x[..., 3:])
    torch.testing.assert_close(module.predict(x), out)


@pytest.mark.parametrize("name", NAMES)
def test_output_depends_on_its_own_column_and_member_only(name):
    x = random_columns()
    module = make_embedding(name, x)
    with torch.no_grad():
        module.weight.normal_(generator=Generator().manual_seed(5))
    changed = x.clone()
    changed[1, :, 2] += 0.5
    moved = (module(changed) != module(x)).any(1)
    assert moved[1, 2 * module.width :].all()
    assert moved.sum() == module.width


def test_periodic_equals_its_formula():
    x = random_columns()
    module = make_embedding("periodic", x)
    out = module(x).detach().unflatten(2, (3, 4)).numpy()
    f, phase, weight, bias = (p.detach().numpy() for p in (module.frequency, module.phase, module.weight, module.bias))
    for m in range(2):
        for j in range(3):
            cosines = np.cos(2 * np.pi * f[m, j, :, 0] * x[m, :, j, None].numpy() + phase[m, j, :, 0])
            assert_allclose(out[m, :, j, :3], cosines @ weight[m, j].T + bias[m, j, :, 0], atol=1e-12)
    assert_array_equal(out[..., 3], x)


def test_periodic_has_the_stated_initial_distribution():
    x = random_columns(1, 20, 400)
    module = make_embedding("periodic", x, seeds=(0,))
    assert module.frequency.std().item() == pytest.approx(0.1, rel=0.05)
    for parameter, bound in ((module.phase, np.pi), (module.weight, 0.25), (module.bias, 0.25)):
        assert parameter.abs().max() < bound
        assert parameter.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)


def test_piecewise_linear_interpolates_between_the_edges():
    """The encoding of a bin is numpy's interpolation from 0 at its lower edge to 1 at its upper edge."""
    x = random_columns()
    module, edges = make_embedding("piecewise_linear", x), edges_of(x).numpy()
    far = torch.cat([x, 3 * x], 1)
    basis = module.basis(far.transpose(1, 2).unsqueeze(2))
    torch.testing.assert_close(basis[:, :, -1], far.transpose(1, 2), atol=0, rtol=0)  # input of the line
    encoded = basis[:, :, :-1].numpy()
    for m in range(2):
        for j in range(3):
            low, high = edges[m, j, :-1], edges[m, j, 1:]
            expected = [np.interp(far[m, :, j], [a, b], [0, 1]) for a, b in zip(low, high, strict=True)]
            assert_allclose(encoded[m, j], expected, atol=1e-12)
            heights = np.random.RandomState(0).randn(17)
            curve = heights[0] + np.diff(heights) @ encoded[m, j]
            assert_allclose(curve, np.interp(far[m, :, j], edges[m, j], heights), atol=1e-12)


def test_sum_of_the_piecewise_linear_encoding_increases_and_equals_the_rank_to_within_a_bin():
    x = random_columns(rows=800)
    module = make_embedding("piecewise_linear", x)
    sums = module.basis(x.transpose(1, 2).unsqueeze(2))[:, :, :-1].sum(2)
    sorted_sums = sums.gather(2, x.transpose(1, 2).argsort(2))
    assert (sorted_sums.diff(dim=2) >= 0).all()
    expected = torch.linspace(0, 16, 800, dtype=F64).expand_as(sorted_sums)
    torch.testing.assert_close(sorted_sums, expected, atol=1.0, rtol=0)


@pytest.mark.parametrize("column", [torch.zeros(64), torch.arange(64) % 2, torch.arange(64).clamp(min=60)])
def test_piecewise_linear_supports_repeated_numbers(column):
    x = column.to(F64).view(1, -1, 1)
    encoded = make_embedding("piecewise_linear", x, seeds=(0,)).basis(x.transpose(1, 2).unsqueeze(2))[:, :, :-1]
    assert ((encoded >= 0) & (encoded <= 1)).all()
    _, rank = np.unique(column.numpy(), return_inverse=True)
    sums = encoded.sum(2).flatten().numpy()
    assert len(np.unique(sums)) == len(np.unique(column))
    assert (np.diff(sums)[np.diff(rank) > 0] > 0).all()


def test_piecewise_linear_is_initially_a_line():
    x = random_columns()
    module = make_embedding("piecewise_linear", x)
    assert (module.weight == 0).all()
    out = module(x).unflatten(2, (3, module.width)).transpose(1, 2).unsqueeze(-1)
    torch.testing.assert_close(out, module.bias.unsqueeze(2) + module.line.unsqueeze(2) * x.mT[..., None, None])


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_all_parameters_are_nonzero_and_correct(name):
    x = random_columns(rows=16)
    module = make_embedding(name, x)
    module(x).square().sum().backward()
    assert all((parameter.grad.flatten(2) != 0).any(2).all() for parameter in module.parameters())
    names, values = zip(*((n, p.detach().requires_grad_()) for n, p in module.named_parameters()), strict=True)
    few = x[:, :4]

    def outputs(*given):
        return torch.func.functional_call(module, dict(zip(names, given, strict=True)), (few,))

    assert torch.autograd.gradcheck(outputs, values)


@pytest.mark.parametrize("name", NAMES)
def test_initial_parameters_of_a_member_depend_on_its_own_seed_only(name):
    x = random_columns()
    together, alone, again = make_embedding(name, x), make_embedding(name, x[1:], seeds=(1,)), make_embedding(name, x)
    assert torch.equal(together(x), again(x))
    torch.testing.assert_close(together(x)[1:], alone(x[1:]), rtol=1e-12, atol=1e-12)
    assert not torch.equal(together.bias[0], together.bias[1])
    single = make_embedding(name, x, dtype=torch.float32)
    for a, b in zip(single.parameters(), together.parameters(), strict=True):
        assert torch.equal(a, b.float())


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("name", NAMES)
def test_embedding_of_a_row_does_not_depend_on_other_rows(name, dtype, monkeypatch):
    x = random_columns(rows=320).to(dtype)
    module = make_embedding(name, x, dtype=dtype)
    with torch.no_grad():
        module.weight.normal_(generator=Generator().manual_seed(5))
    whole = module.predict(x)
    assert torch.equal(module.predict(x[:, 64:96]), whole[:, 64:96])
    monkeypatch.setattr(embeddings, "_BLOCK_ELEMENTS", 1)
    assert torch.equal(module.predict(x), whole)


# in a network


FOLD = RNG.permutation(N) % MEMBERS
WEIGHT = RNG.rand(N) + 0.5
CODES = np.random.RandomState(1).randint(0, 4, N)


def make_net(members, name, dtype, solver="adamw"):
    """Return a trained net with some of the members, and its raw output."""
    levels = np.column_stack([CODES, CODES * 3]).astype(np.int32)
    weight = np.stack([np.where(m == FOLD, 0, WEIGHT) for m in members])
    factory = getattr(embeddings, name)
    statistics = learn_statistics(X, levels, [3, 12], weight, "robust", factory.n_bins)
    target = Y[:, None]
    config = NetworkConfig(
        hidden_layer_sizes=(16, 8),
        activation=activations.silu,
        norm=BatchNorm,
        dropout=(0.3, 0.1),
        input_dropout=0.1,
        numeric_embedding=factory,
    )
    seeds = [member_seeds(0, MEMBERS)[m] for m in members]
    inputs, of_target = InputLayer(statistics, [0], [1], 3.0, dtype), target_statistics(target, weight)
    network = Network(config, inputs, 1, [seed for seed, _ in seeds], [12], of_target)
    settings = {"weight_decay": 0.01, "penalty": ElasticNet(1e-3, 0.5), "clip_norm": 1.0}
    net = Net(
        network,
        HalfSquaredError,
        TrainingConfig(solver=solver, learning_rate=0.01, schedule=cosine, **settings),
        patience=7,
        max_epochs=6,
        batch_size=20,
        seeds=[seed for _, seed in seeds],
        device="cpu",
        verbose=0,
    ).initialize()
    train, valid = (
        MemberRows(X, levels, target, [np.flatnonzero(chosen(m)) for m in members], WEIGHT, dtype, torch.device("cpu"))
        for chosen in (lambda m: m != FOLD, lambda m: m == FOLD)
    )
    for _ in net.epochs(net.max_epochs, train, valid, LossMonitor()):
        pass
    return net, predict_raw(net.module_, torch.from_numpy(X), torch.from_numpy(levels))


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("solver", ["adamw", "sgd"])
@pytest.mark.parametrize("name", NAMES)
def test_member_equals_the_network_trained_alone(name, solver, dtype):
    with torch_threads(1):
        together, raw = make_net(range(MEMBERS), name, dtype, solver)
        for i in range(MEMBERS):
            alone, alone_raw = make_net([i], name, dtype, solver)
            torch.testing.assert_close(raw[i : i + 1], alone_raw, atol=1e-5, rtol=1e-5)
            assert together.stopping_.best_epoch[i] == alone.stopping_.best_epoch[0]


# in the estimators


@pytest.mark.filterwarnings("ignore:Early stopping uses only")
@pytest.mark.parametrize(("Estimator", "y"), BOTH)
@pytest.mark.parametrize("name", NAMES)
def test_embedding_works_with_categories_missing_values_weights_and_early_stopping(name, Estimator, y):
    estimator = Estimator(
        **SMALL, numeric_embedding=name, batch_norm=True, input_dropout=0.1, l1_ratio=0.5, max_norm=2.0, patience=3
    ).set_params(early_stopping=True, clip_norm=1.0)
    weight = RNG.randint(0, 3, N)
    fitted = estimator.fit(FRAME, y, sample_weight=weight)
    assert np.isfinite(fitted.validation_curve_).all()
    assert fitted.predict(FRAME.assign(a=np.nan, few="new")).shape == (N,)
    again = clone(fitted).fit(FRAME, y, sample_weight=weight)
    kept = pickle.loads(pickle.dumps(fitted))
    plain = clone(fitted).set_params(numeric_embedding=None).fit(FRAME, y, sample_weight=weight)
    assert_array_equal(again.loss_curve_, fitted.loss_curve_)
    assert_array_equal(again.predict(FRAME), fitted.predict(FRAME))
    assert_array_equal(kept.predict(FRAME), fitted.predict(FRAME))
    assert not np.array_equal(plain.loss_curve_, fitted.loss_curve_)


@pytest.mark.parametrize("batch_size", [32, N])
@pytest.mark.parametrize("name", NAMES)
def test_prediction_does_not_depend_on_other_rows(name, batch_size):
    fitted = RegularizedMLPRegressor(**{**SMALL, "batch_size": batch_size}, numeric_embedding=name).fit(FRAME, Y)
    whole = fitted.predict(FRAME)
    for rows in (slice(0, 1), slice(3, 40), slice(7, 110)):
        assert_array_equal(fitted.predict(FRAME[rows]), whole[rows])


@pytest.mark.parametrize("scaling", ["robust", "standard", "quantile", None])
@pytest.mark.parametrize("name", NAMES)
def test_weight_zero_equals_a_removed_row_and_weight_two_a_repeated_row(name, scaling):
    counts = np.random.RandomState(2).randint(0, 3, N)
    rows = np.repeat(np.arange(N), counts)
    settings = {**SMALL, "batch_size": 1000, "dropout": 0.0, "early_stopping": False}
    net = RegularizedMLPRegressor(**settings, numeric_embedding=name, numeric_scaling=scaling)
    weighted = clone(net).fit(FRAME, Y, sample_weight=counts)
    repeated = clone(net).fit(FRAME.iloc[rows], Y[rows])
    assert_allclose(weighted.predict(FRAME), repeated.predict(FRAME), rtol=1e-7, atol=1e-7)


def test_bins_are_learned_from_each_members_own_training_rows():
    net = RegularizedMLPRegressor(**SMALL, early_stopping=True, numeric_embedding="piecewise_linear")
    usual = net.fit(X, Y).net_.module_.inputs.edges.numpy()
    held = assign_folds(np.zeros(N, int), 4, np.random.RandomState(net.seed_)) == 0
    changed = clone(net).fit(np.where(held[:, None], 50 * X - 3, X), Y).net_.module_.inputs.edges.numpy()
    assert_allclose(changed[0], usual[0], rtol=1e-12)
    assert not np.allclose(changed[1], usual[1])
    assert (np.diff(usual, axis=-1) >= 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_sparse_equals_dense(name):
    dense = np.where(RNG.rand(N, 4) < 0.6, 0.0, RNG.randn(N, 4))
    net = RegularizedMLPRegressor(**SMALL, numeric_embedding=name)
    assert_allclose(
        clone(net).fit(sparse.csr_array(dense), Y).predict(sparse.csr_array(dense)),
        clone(net).fit(dense, Y).predict(dense),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("name", NAMES)
def test_embedding_has_no_effect_without_numeric_columns(name):
    categories = FRAME[["few", "many"]]
    embedded, plain = (
        RegularizedMLPRegressor(**SMALL, numeric_embedding=kind).fit(categories, Y) for kind in (name, None)
    )
    assert_array_equal(embedded.predict(categories), plain.predict(categories))


@pytest.mark.parametrize("name", NAMES)
def test_warm_start_continues_from_the_embedding(name):
    net = RegularizedMLPRegressor(**SMALL, numeric_embedding=name, warm_start=True, early_stopping=False).fit(FRAME, Y)
    before = {key: value.clone() for key, value in net.net_.module_.state_dict().items() if key.startswith("numeric")}
    net.set_params(learning_rate=lambda progress: 0.0).fit(FRAME.assign(a=3 * X[:, 0]), Y)
    after = net.net_.module_.state_dict()
    assert before
    assert all(torch.equal(after[key], value) for key, value in before.items())
    for other in {*NAMES, None} - {name}:
        with pytest.raises(ValueError, match="numeric_embedding"):
            clone(net).fit(FRAME, Y).set_params(numeric_embedding=other).fit(FRAME, Y)


@pytest.mark.parametrize("name", NAMES)
def test_penalties_apply_to_the_mixing_weights_only(name):
    settings = {**SMALL, "numeric_embedding": name, "early_stopping": False, "learning_rate": "constant"}
    net = RegularizedMLPRegressor(**settings, alpha=10.0, l1_ratio=1.0, weight_decay=0.5).set_params(max_iter=30)
    module = net.fit(X, Y).net_.module_
    assert all((weight == 0).all() for weight in module.numeric.weights())
    free = [p for p in module.numeric.parameters() if not any(p is weight for weight in module.numeric.weights())]
    assert free
    assert all((p != 0).all() for p in free)


@pytest.mark.parametrize("name", NAMES)
def test_first_layer_has_a_row_for_each_output(name):
    net = RegularizedMLPRegressor(**{**SMALL, "n_members": 1}, numeric_embedding=name).fit(FRAME, Y)
    indicators = int(np.isnan(X).any(0).sum())
    assert net.coefs_[0].shape == (3 * net.net_.module_.numeric.width + indicators + 3 + 8, 12)


@pytest.mark.parametrize("name", NAMES)
def test_sine_of_one_number_is_learned_with_a_smaller_error(name):
    """The error is measured against the noise-free function over three seeds."""
    errors = {name: [], None: []}
    for seed in range(3):
        rng = np.random.RandomState(seed)
        x = rng.rand(600, 1) * 6
        wave = np.sin(4 * x[:, 0])
        grid = np.linspace(0.1, 5.9, 200)[:, None]
        for kind, found in errors.items():
            settings = {"n_members": 1, "max_iter": 60, "dropout": 0.0, "random_state": seed}
            net = plain_regressor((64, 64), numeric_embedding=kind, **settings)
            fitted = net.fit(x, wave + 0.1 * rng.randn(600))
            found.append(np.mean((fitted.predict(grid) - np.sin(4 * grid[:, 0])) ** 2))
    assert np.mean(errors[name]) < 0.3 * np.mean(errors[None]), errors
