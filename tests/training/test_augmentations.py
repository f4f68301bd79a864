"""Properties of every augmentation, and tests of each."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse, stats
from skorch.callbacks import Callback

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor, augmentations
from skreg.data.batches import MemberRows
from skreg.data.statistics import learn_statistics
from skreg.network.generators import MemberGenerators
from skreg.network.input_layer import InputLayer
from skreg.training.augmented_batch import Augmenter, CallableAugmentation

NAMES = augmentations.__all__
BOTH = [RegularizedMLPClassifier, RegularizedMLPRegressor]
MIXING = ["cutmix", "mixup"]
N, MEMBERS = 203, 3
RNG = np.random.RandomState(0)
NUMBERS = RNG.randn(N, 3) * [1, 10, 0.1]
NUMBERS[RNG.rand(N) < 0.3, 1] = np.nan
LEVELS = np.column_stack([RNG.randint(0, 5, N), RNG.randint(0, 3, N), RNG.randint(0, 13, N)]).astype(np.int32)
INDEX = [RNG.permutation(N)[: N - 4 * m] for m in range(MEMBERS)]  # of different lengths, so that there is padding
WEIGHT = RNG.rand(N) + 0.2
SMALL = {"hidden_layer_sizes": (12,), "max_iter": 4, "random_state": 0}


def augmented(name, magnitude=0.5, seed=0, batch_size=50, epochs=1):
    """Return (original batch, augmented batch, mixed targets) of each step of some epochs, and the input layer."""
    weights = np.stack([np.isin(np.arange(N), rows).astype(float) for rows in INDEX])
    inputs = InputLayer(
        learn_statistics(NUMBERS, LEVELS, [4, 2, 12], weights, "robust"), [0, 1], [2], 3.0, torch.float64
    )
    rows = MemberRows(NUMBERS, LEVELS, np.arange(N, dtype=float), INDEX, WEIGHT, torch.float64, torch.device("cpu"))
    rows = rows.prepared(lambda numbers, levels, target: (*inputs(numbers, levels), target), inputs.width)
    generators, sizes = MemberGenerators([seed + m for m in range(MEMBERS)]), rows.batch_sizes(batch_size)
    augmentation = name if callable(name) else partial(getattr(augmentations, name), magnitude=magnitude)
    augmenter = Augmenter(augmentation, sizes, inputs, generators)
    seen = []
    for _ in range(epochs):
        orders = generators.permutations(rows.lengths)
        augmenter.begin_epoch(sizes.shape[1])
        seen += [(batch, *augmenter(batch)) for batch in rows.training_batches(orders, batch_size)]
    return seen, inputs


def real(batch):
    """Return for each member which rows are not padding."""
    return [weight > 0 for weight in batch.weight]


def changed_features(before, after, inputs):
    """Return bool (members, rows, features): whether a column or code of the feature changed."""
    columns, codes = inputs.feature_index()
    moved = torch.cat([before.inputs != after.inputs, before.levels != after.levels], -1)
    feature_of = torch.cat([columns, codes])
    return torch.stack([moved[..., feature_of == f].any(-1) for f in range(inputs.n_features)], -1)


# properties of all augmentations


@pytest.mark.parametrize("name", NAMES)
def test_inputs_change_but_shapes_and_weights_do_not(name):
    for before, after, mix in augmented(name, epochs=3)[0]:
        assert after.inputs.shape == before.inputs.shape
        assert after.inputs.dtype == before.inputs.dtype
        assert after.levels.shape == before.levels.shape
        assert torch.equal(after.target, before.target)
        assert torch.isfinite(after.inputs).all()
        torch.testing.assert_close(after.weight.sum(1), before.weight.sum(1), rtol=1e-12, atol=0)
        assert torch.equal(after.weight > 0, before.weight > 0)
        assert (mix is not None) == (name in MIXING)
        if mix is not None:
            torch.testing.assert_close(mix.own[1] + mix.partner[1], after.weight)
    assert any((before.inputs != after.inputs).any() for before, after, _ in augmented(name)[0])


@pytest.mark.parametrize("name", NAMES)
def test_the_original_batch_is_not_modified(name):
    plain = augmented(lambda batch: None)[0]
    for (untouched, same, mix), (before, _, _) in zip(plain, augmented(name)[0], strict=True):
        assert torch.equal(untouched.inputs, before.inputs)
        assert torch.equal(untouched.levels, before.levels)
        assert torch.equal(untouched.weight, before.weight)
        assert same.inputs is untouched.inputs
        assert mix is None


@pytest.mark.parametrize("name", NAMES)
def test_batches_depend_only_on_the_seeds(name):
    one, again, other = (augmented(name, seed=seed)[0] for seed in (0, 0, 50))
    for (_, a, _), (_, b, _) in zip(one, again, strict=True):
        assert torch.equal(a.inputs, b.inputs)
        assert torch.equal(a.levels, b.levels)
    assert any(not torch.equal(a.inputs, b.inputs) for (_, a, _), (_, b, _) in zip(one, other, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_one_row_is_its_own_partner(name):
    for before, after, _ in augmented(name, batch_size=1)[0]:
        assert torch.isfinite(after.inputs).all()
        if name in (*MIXING, "swap_noise"):
            torch.testing.assert_close(after.inputs, before.inputs)


# single augmentations


@pytest.mark.parametrize("name", ["cutmix", "swap_noise"])
def test_a_feature_is_replaced_as_a_whole_by_that_of_a_real_row(name):
    seen, inputs = augmented(name, 1.0)
    feature_of = torch.cat(inputs.feature_index())
    for before, after, _ in seen:
        whole_before, whole_after = (torch.cat([b.inputs, b.levels], -1) for b in (before, after))
        for m, rows in enumerate(real(before)):
            for f in range(inputs.n_features):
                there = {tuple(v) for v in whole_before[m][rows][:, feature_of == f].tolist()}
                assert {tuple(v) for v in whole_after[m][rows][:, feature_of == f].tolist()} == there
            assert torch.equal(after.inputs[m][~rows], before.inputs[m][~rows])


def test_cutmix_mixes_the_loss_by_the_replaced_share():
    shares = []
    seen, inputs = augmented("cutmix", 0.7, epochs=20)
    for before, after, mix in seen:
        moved = changed_features(before, after, inputs)
        for m, rows in enumerate(real(before)):
            share = (mix.own[1] / before.weight)[m][rows]
            assert share.std() < 1e-12
            shares.append(share[0].item())
            replaced = moved[m][rows].any(0).sum().item()
            assert replaced == pytest.approx((1 - shares[-1]) * inputs.n_features)
            partner = (mix.partner[0][m][rows, None] == before.target[m][None]).double().argmax(1)
            swapped = moved[m][rows].any(0)[inputs.feature_index()[0]]
            assert torch.equal(after.inputs[m][rows][:, swapped], before.inputs[m][partner][:, swapped])
    shares = np.array(shares)
    assert (shares == 1).mean() == pytest.approx(0.3, abs=0.08)
    counts = np.rint((1 - shares[shares < 1]) * 6)
    assert set(counts) == {1, 2, 3, 4, 5}


def test_mixup_mixes_rows_and_losses_by_the_same_share():
    shares, generator = [], torch.Generator().manual_seed(0)
    for before, after, mix in augmented("mixup", 0.4, epochs=40)[0]:
        for m, rows in enumerate(real(before)):
            share = (mix.own[1] / before.weight)[m][rows]
            partner = (mix.partner[0][m][rows, None] == before.target[m][rows][None]).double().argmax(1)
            assert (partner != torch.arange(len(partner))).all()
            given = before.inputs[m][rows]
            torch.testing.assert_close(
                after.inputs[m][rows], share[:, None] * given + (1 - share[:, None]) * given[partner]
            )
            torch.testing.assert_close(mix.partner[1][m][rows], (1 - share) * before.weight[m][rows][partner])
            shares.append(share[0].item())
        vectors = torch.randn(*before.inputs.shape[:2], 5, dtype=torch.float64, generator=generator)
        blended = mix.blend(vectors)[m][rows]
        torch.testing.assert_close(blended, share[0] * vectors[m][rows] + (1 - share[0]) * vectors[m][rows][partner])
        assert torch.equal(after.levels, before.levels)
    assert stats.kstest(shares, stats.beta(0.4, 0.4).cdf).pvalue > 0.01


@pytest.mark.parametrize("a", [1e-3, 0.2, 1.0, 5.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_share_of_mixup_has_a_beta_distribution(a, dtype):
    uniform = torch.rand(4000, 1, 2, generator=torch.Generator().manual_seed(0), dtype=dtype)
    uniform[0], uniform[1, 0, 0] = 0, 0
    share = augmentations._symmetric_beta(uniform, a).flatten().double().numpy()
    assert ((share >= 0) & (share <= 1)).all()
    assert share.std() == pytest.approx(stats.beta(a, a).std(), rel=0.03)
    assert a < 0.1 or stats.kstest(share, stats.beta(a, a).cdf).pvalue > 0.01


@pytest.mark.parametrize("name", ["cutout", "swap_noise"])
def test_the_magnitude_is_the_share_of_changed_cells(name):
    seen, inputs = augmented(name, 0.3, epochs=10)
    numbers = torch.cat([changed_features(before, after, inputs)[0, real(before)[0], 0] for before, after, _ in seen])
    assert numbers.double().mean().item() == pytest.approx(0.3, abs=0.03)


def test_cutout_inserts_missing_values():
    seen, inputs = augmented("cutout", 0.5)
    columns, _ = inputs.feature_index()
    row, _ = inputs.missing_row()
    for before, after, _ in seen:
        moved = changed_features(before, after, inputs)
        expected = torch.where(moved[..., columns], row, before.inputs)
        assert torch.equal(after.inputs, expected)
        assert torch.equal(after.levels, before.levels * ~moved[..., -1:])
    everything = augmented("cutout", 1.0)[0][0][1]
    assert torch.equal(everything.inputs, row.expand_as(everything.inputs))


def test_swap_noise_takes_each_feature_from_a_different_row():
    seen, _ = augmented("swap_noise", 1.0)
    before, after, _ = seen[0]
    rows = real(before)[0]
    source_rows = [
        (after.inputs[0][rows][:, c, None] == before.inputs[0][rows][None, :, c]).double().argmax(1) for c in (0, 2)
    ]
    assert (source_rows[0] != torch.arange(int(rows.sum()))).all()
    assert not torch.equal(*source_rows)


def test_gaussian_noise_changes_only_numbers_that_are_not_missing():
    seen, _ = augmented("gaussian_noise", 0.3, epochs=5)
    noise = torch.cat([(after.inputs - before.inputs)[m] for before, after, _ in seen for m in range(MEMBERS)])
    missing = torch.cat([before.inputs[m, :, 3] for before, _, _ in seen for m in range(MEMBERS)]) == 1
    assert (noise[:, 3:] == 0).all()
    assert (noise[missing, 1] == 0).all()
    assert (noise[~missing, 1] != 0).all()
    assert noise[:, [0, 2]].std().item() == pytest.approx(0.3, rel=0.03)
    assert noise[:, [0, 2]].mean().item() == pytest.approx(0, abs=0.02)
    assert all(torch.equal(before.levels, after.levels) for before, after, _ in seen)


# user-defined augmentations


def test_a_callable_receives_the_real_rows_of_one_member():
    sizes = []

    def add_one(inputs, generator):
        assert isinstance(generator, torch.Generator)
        sizes.append(inputs.shape)
        inputs += 1  # writing in place does not change the rows of later epochs
        return inputs

    seen, inputs = augmented(CallableAugmentation(add_one))
    assert sizes[:MEMBERS] == [(int(rows.sum()), inputs.width) for rows in real(seen[0][0])]
    for before, after, _ in seen:
        for m, rows in enumerate(real(before)):
            torch.testing.assert_close(after.inputs[m][rows], before.inputs[m][rows] + 1)
            assert torch.equal(after.inputs[m][~rows], before.inputs[m][~rows])


@pytest.mark.parametrize("wrong", [lambda x, g: x[:-1], lambda x, g: None, lambda x, g: x.numpy()])
def test_a_callable_that_changes_the_shape_is_refused(wrong):
    X, y = RNG.randn(40, 3), np.arange(40) % 2
    with pytest.raises(ValueError, match="'augmentation' must return a tensor of the same shape"):
        RegularizedMLPClassifier(**SMALL, augmentation=wrong).fit(X, y)


# estimators


def prediction_bytes(estimator, X):
    prediction = estimator.predict_proba(X) if hasattr(estimator, "predict_proba") else estimator.predict(X)
    return prediction.tobytes()


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("name", [*NAMES, lambda inputs, generator: -inputs])
def test_a_magnitude_of_zero_changes_nothing(Estimator, name, mixed_table):
    X, y = mixed_table.X, mixed_table.label if Estimator is RegularizedMLPClassifier else mixed_table.number
    none = Estimator(**SMALL, augmentation_strength=7.0).fit(X, y)
    off = Estimator(**SMALL, augmentation=name, augmentation_strength=0).fit(X, y)
    assert prediction_bytes(none, X) == prediction_bytes(off, X)


@pytest.mark.parametrize("name", NAMES)
def test_a_magnitude_above_the_largest_is_refused(name):
    X, y = RNG.randn(40, 3), np.arange(40) % 2
    estimator = RegularizedMLPClassifier(**SMALL, augmentation=name, augmentation_strength=1.5)
    if getattr(augmentations, name).max_magnitude == 1:
        with pytest.raises(ValueError, match=r"'augmentation_strength' .* in the range \[0.0, 1.0\] with .*Got 1.5"):
            estimator.fit(X, y)
    else:
        assert np.isfinite(estimator.fit(X, y).loss_curve_).all()


@pytest.mark.parametrize(("name", "value"), [("augmentation", "flip"), ("augmentation_strength", -0.1)])
def test_invalid_augmentations_are_refused(name, value):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of RegularizedMLPClassifier must be"):
        RegularizedMLPClassifier(**{name: value}).fit([[0.0], [1.0]], [0, 1])


@pytest.mark.parametrize("Estimator", BOTH)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("settings", [{"batch_norm": True, "dropout": 0.2, "input_dropout": 0.1}, {"batch_size": 1000}])
def test_augmentations_work_with_all_options_and_are_reproducible(Estimator, name, settings, mixed_table):
    """Includes members, weights, one-hot and embedded categories, missing values, early stopping, both precisions."""
    X = mixed_table.X.assign(street=pd.Categorical(np.arange(len(mixed_table.X)) % 17))
    y = mixed_table.label if Estimator is RegularizedMLPClassifier else mixed_table.number
    weight = np.arange(len(X)) % 4
    estimator = Estimator(**SMALL, **settings, early_stopping=True, n_members=3, augmentation=name, warm_start=True)
    fitted = estimator.fit(X, y, sample_weight=weight)
    assert fitted.net_.module_.embeddings is not None
    assert np.isfinite(fitted.loss_curve_).all()
    first = prediction_bytes(fitted, X)
    assert first == prediction_bytes(fitted, X)
    assert first == prediction_bytes(pickle.loads(pickle.dumps(fitted)), X)
    assert prediction_bytes(fitted.fit(X, y, sample_weight=weight), X) != first
    assert first == prediction_bytes(estimator.set_params(warm_start=False).fit(X, y, sample_weight=weight), X)
    assert first != prediction_bytes(estimator.set_params(augmentation=None).fit(X, y, sample_weight=weight), X)


@pytest.mark.parametrize("y", [np.arange(90) % 3, (RNG.rand(90, 2) > 0.5).astype(int)], ids=["classes", "labels"])
@pytest.mark.parametrize("name", NAMES)
def test_augmentations_work_with_sparse_tables_classes_and_labels(name, y):
    X = sparse.random(90, 6, density=0.3, random_state=0, format="csr")
    ours = RegularizedMLPClassifier(**SMALL, augmentation=name).fit(X, y)
    np.testing.assert_allclose(
        ours.predict_proba(X), RegularizedMLPClassifier(**SMALL, augmentation=name).fit(X.toarray(), y).predict_proba(X)
    )


@pytest.mark.parametrize("name", NAMES)
def test_constant_and_empty_columns_are_accepted(name):
    frame = pd.DataFrame({"empty": pd.Series([None] * 40, dtype=object), "constant": 1.0, "holes": np.nan})
    for columns in (["empty"], ["constant"], ["holes"], list(frame)):
        linear = {**SMALL, "hidden_layer_sizes": ()}
        ours = RegularizedMLPClassifier(**linear, augmentation=name).fit(frame[columns], np.arange(40) % 2)
        assert np.isfinite(ours.predict_proba(frame[columns])).all()


@pytest.mark.parametrize("name", NAMES)
def test_statistics_validation_rows_and_predictions_are_not_augmented(name):
    """With a learning rate of almost 0, a fit keeps its initial weights."""
    X, y = RNG.randn(200, 4), RNG.rand(200) > 0.5
    frozen = {**SMALL, "max_iter": 1, "learning_rate_init": 1e-12, "dropout": 0.0, "weight_decay": 0.0}
    plain, noisy = (
        RegularizedMLPClassifier(**frozen, augmentation=chosen, augmentation_strength=0.9, early_stopping=True).fit(
            X, y
        )
        for chosen in (None, name)
    )
    np.testing.assert_allclose(noisy.validation_curve_, plain.validation_curve_, rtol=1e-6)
    np.testing.assert_allclose(noisy.oof_prediction_, plain.oof_prediction_, rtol=1e-5)
    for ours, theirs in zip(noisy.net_.module_.inputs.buffers(), plain.net_.module_.inputs.buffers(), strict=True):
        assert torch.equal(ours, theirs)
    assert noisy.loss_curve_[0] != plain.loss_curve_[0]


class BatchRecorder(Callback):
    """Record the training batches."""

    def __init__(self):
        self.batches = []

    def on_batch_begin(self, net, batch, **kwargs):
        self.batches.append(batch.inputs)


def test_callbacks_receive_the_augmented_batch():
    recorder = BatchRecorder()
    X, y = RNG.randn(40, 3), np.arange(40) % 2
    RegularizedMLPClassifier(
        **SMALL, augmentation="cutout", augmentation_strength=1.0, numeric_scaling="standard", callbacks=[recorder]
    ).fit(X, y)
    assert len(recorder.batches) == 4
    assert all((inputs == 0).all() for inputs in recorder.batches)


@pytest.mark.parametrize(("name", "magnitude"), [("mixup", 1.0), ("cutmix", 0.7)])
def test_mixing_reduces_overfitting(name, magnitude):
    """The network is far too large for 150 noisy rows, and has no other regularization."""
    bare = {"dropout": 0.0, "weight_decay": 0.0, "alpha": 0.0, "early_stopping": False, "n_members": 1, "max_iter": 60}
    gaps, losses = [], []
    for seed in range(4):
        rng = np.random.RandomState(seed)
        X = rng.randn(1150, 8)
        y = (X[:, 0] + X[:, 1] * X[:, 2] + rng.randn(1150) > 0).astype(int)
        for chosen in (None, name):
            net = RegularizedMLPClassifier(
                (64, 64), augmentation=chosen, augmentation_strength=magnitude, random_state=seed, **bare
            ).fit(X[:150], y[:150])
            true = net.predict_log_proba(X)[np.arange(1150), y]
            gaps.append(true[:150].mean() - true[150:].mean())
            losses.append(-true[150:].mean())
    gaps, losses = np.array(gaps).reshape(4, 2), np.array(losses).reshape(4, 2)
    assert (gaps[:, 1] < 0.8 * gaps[:, 0]).all(), gaps
    assert (losses[:, 1] < losses[:, 0]).all(), losses
