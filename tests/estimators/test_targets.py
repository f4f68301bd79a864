"""Target encoders: encoding of classes, labels and numbers, and errors for invalid targets."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.utils.class_weight import compute_class_weight

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg.estimators.targets import ClassTargetEncoder, NumberTargetEncoder
from skreg.training.losses import HalfSquaredError


def encode(kind, y):
    target = kind(HalfSquaredError()) if kind is NumberTargetEncoder else kind()
    checked = target.check(y)
    return target.fit(checked), target.transform(checked)


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (["no", "yes", "no"], ["no", "yes"]),
        ([3, 1, 3], [1, 3]),
        ([True, False, True], [False, True]),
        (np.array(["b", "a", "b"], dtype=object), ["a", "b"]),
    ],
)
def test_two_classes_have_one_raw_output(y, classes):
    target, encoded = encode(ClassTargetEncoder, y)
    assert (target.kind_, target.n_raw_) == ("binary", 1)
    assert target.classes_.tolist() == classes
    assert encoded.shape == (3, 1)
    np.testing.assert_array_equal(target.classes_[encoded[:, 0].astype(int)], y)


def test_several_classes_have_one_raw_output_each():
    target, encoded = encode(ClassTargetEncoder, ["c", "a", "b", "a"])
    assert (target.kind_, target.n_raw_) == ("multiclass", 3)
    assert encoded.dtype.kind == "i"
    np.testing.assert_array_equal(encoded, [2, 0, 1, 0])


@pytest.mark.parametrize("make", [np.array, sparse.csr_array, sparse.csr_matrix])
def test_multilabel_target_keeps_its_matrix(make):
    matrix = [[0, 1, 1], [1, 0, 0], [1, 1, 0]]
    target, encoded = encode(ClassTargetEncoder, make(matrix))
    assert (target.kind_, target.n_raw_) == ("multilabel", 3)
    assert type(encoded) is np.ndarray
    np.testing.assert_array_equal(encoded, matrix)
    assert len(np.unique(target.strata(encoded))) == 1


def test_single_class_raises():
    with pytest.raises(ValueError, match="only one class is present"):
        encode(ClassTargetEncoder, ["a", "a"])


@pytest.mark.parametrize(("known", "new"), [(["a", "b"], ["a", "c"]), ([0, 1, 2], [0, 7]), ([1, 2], [0, 1])])
def test_error_names_classes_that_are_not_in_the_training_rows(known, new):
    target, _ = encode(ClassTargetEncoder, known)
    unknown = sorted(set(new) - set(known))
    with pytest.raises(ValueError, match=repr(unknown[0])):
        target.transform(target.check(new))


def test_continuous_labels_raise():
    with pytest.raises(ValueError, match="Unknown label type"):
        ClassTargetEncoder.check([0.5, 1.7, 2.2])


def test_strata_are_the_class_indices():
    target, _ = encode(ClassTargetEncoder, ["b", "a", "b"])
    np.testing.assert_array_equal(target.strata(np.array(["b", "a", "b"])), [1, 0, 1])


@pytest.mark.parametrize(("shape", "flat", "n_raw"), [((4,), True, 1), ((4, 3), False, 3)])
def test_numbers_keep_their_shape(shape, flat, n_raw):
    y = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    target, encoded = encode(NumberTargetEncoder, y)
    assert (target.flat_, target.n_raw_) == (flat, n_raw)
    assert encoded.dtype == np.float64
    np.testing.assert_array_equal(encoded, y.reshape(4, n_raw))
    np.testing.assert_array_equal(target.strata(y), 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_nonfinite_and_too_large_numbers_raise(bad):
    with pytest.raises(ValueError, match=r"NaN|infinity|too large"):
        NumberTargetEncoder.check([1.0, bad])


@pytest.mark.parametrize(
    ("kind", "known"), [(NumberTargetEncoder, np.zeros((3, 2))), (ClassTargetEncoder, np.eye(3, 2))]
)
def test_different_number_of_outputs_raises(kind, known):
    target, _ = encode(kind, known)
    with pytest.raises(ValueError, match="was fitted with 2"):
        target.transform(np.ones((3, 3)))


def test_class_weights_of_a_classifier_are_multiplied_by_row_weights():
    X, y, weight = np.arange(8.0)[:, None], np.repeat([0, 1], [6, 2]), np.arange(1.0, 9.0)
    classifier = RegularizedMLPClassifier((4,), max_iter=1, class_weight="balanced").fit(X, y, weight)
    expected = compute_class_weight("balanced", classes=np.array([0, 1]), y=y, sample_weight=weight)
    np.testing.assert_array_equal(classifier.class_weight_, expected)
    np.testing.assert_array_equal(classifier.target_encoder_.loss_weight(y, weight), expected[y] * weight)
    assert RegularizedMLPClassifier((4,), max_iter=1).fit(X, y).class_weight_ is None
    assert not hasattr(RegularizedMLPClassifier(), "class_weight_")


def test_a_sparse_target_is_scored_as_it_is_fitted():
    rng = np.random.RandomState(0)
    rows, y = rng.randn(20, 2), rng.randint(0, 3, (20, 2)).astype(float)
    net = RegularizedMLPRegressor((3,), max_iter=2, n_members=1, random_state=0).fit(rows, sparse.csr_array(y))
    assert net.score(rows, sparse.csr_array(y)) == net.score(rows, y)
