"""The global settings of torch change neither fits nor predictions, and are as before afterwards."""

import contextlib
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from skreg import RegularizedMLPClassifier, RegularizedMLPRegressor
from skreg._utils.torch_settings import _float32_precisions, torch_settings
from tests.helpers import make_mixed_table

TABLE = make_mixed_table(80)
TINY = 5e-324
EXACT = {"none", "ieee", "highest"}
PARAMS = {
    "hidden_layer_sizes": (16, 16),
    "numeric_embedding": "periodic",
    "dropout": 0.1,
    "max_iter": 2,
    "n_members": 2,
    "batch_size": 16,
    "early_stopping": True,
    "precision": "float32",
    "random_state": 0,
    "n_threads": 1,
}


class Halved(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        return out / 2 if isinstance(out, torch.Tensor) and out.is_floating_point() else out


@contextlib.contextmanager
def changed(get, change, value):
    """Change a setting for the time of a block, at whose end it must not have changed."""
    before = get()
    change(value)
    now = get()
    try:
        yield
        assert get() == now
    finally:
        change(before)


def module_setting(module, name, value):
    return changed(lambda: getattr(module, name), lambda given: setattr(module, name, given), value)


def flushes():
    return TINY * 1.0 == 0.0


def set_fp32(value):
    torch.backends.mkldnn.matmul.fp32_precision = value


SETTINGS = {
    **{
        f"matmul_precision={value}": lambda value=value: changed(
            torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, value
        )
        for value in ("medium", "high")
    },
    **{
        f"default_dtype={dtype}": lambda dtype=dtype: changed(torch.get_default_dtype, torch.set_default_dtype, dtype)
        for dtype in (torch.float64, torch.float16)
    },
    "default_device": lambda: changed(
        lambda: None if torch.zeros(0).device.type == "cpu" else "meta", torch.set_default_device, "meta"
    ),
    "device_context": lambda: torch.device("meta"),
    "function_mode": Halved,
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "deterministic": lambda: changed(
        torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True
    ),
    "fill_memory": lambda: module_setting(torch.utils.deterministic, "fill_uninitialized_memory", False),
    "flush_denormal": lambda: changed(flushes, torch.set_flush_denormal, True),
    "anomaly": lambda: torch.autograd.set_detect_anomaly(True),
    "saved_tensors": torch.autograd.graph.save_on_cpu,
    "mkldnn": lambda: torch.backends.mkldnn.flags(enabled=False),
    "cudnn": lambda: torch.backends.cudnn.flags(enabled=False, benchmark=True, deterministic=True, allow_tf32=True),
    "sparse_invariants": torch.sparse.check_sparse_tensor_invariants,
    "swap_parameters": lambda: changed(
        torch.__future__.get_swap_module_params_on_conversion,
        torch.__future__.set_swap_module_params_on_conversion,
        True,
    ),
    "generator": lambda: changed(torch.initial_seed, torch.manual_seed, 5),
}
if hasattr(torch.backends.mkldnn, "matmul"):
    SETTINGS["backend_precision"] = lambda: changed(
        lambda: torch.backends.mkldnn.matmul.fp32_precision, set_fp32, "bf16"
    )
    SETTINGS["all_backends"] = lambda: module_setting(torch.backends, "fp32_precision", "bf16")


def results(Estimator):
    """Return everything that a fit and the predictions compute."""
    target = TABLE.label if Estimator is RegularizedMLPClassifier else TABLE.number
    estimator = Estimator(**PARAMS).fit(TABLE.X, target)
    with torch_settings():
        arrays = [tensor.detach().numpy() for tensor in estimator.net_.module_.parameters()]
    arrays += [estimator.loss_curve_, estimator.validation_curve_, estimator.sample_predictions(TABLE.X, 4)]
    if Estimator is RegularizedMLPClassifier:
        estimator.partial_fit(TABLE.X, target)
        return [*arrays, estimator.predict_proba(TABLE.X), estimator.decision_function(TABLE.X)]
    return [*arrays, *estimator.predict(TABLE.X, return_std=True), estimator.predict_interval(TABLE.X, 0.5)]


@pytest.fixture(scope="module")
def expected():
    return {Estimator: results(Estimator) for Estimator in (RegularizedMLPClassifier, RegularizedMLPRegressor)}


@pytest.mark.filterwarnings("ignore:Anomaly Detection", "ignore:TF32 acceleration", "ignore:Early stopping uses only")
@pytest.mark.parametrize("Estimator", [RegularizedMLPClassifier, RegularizedMLPRegressor])
@pytest.mark.parametrize("name", SETTINGS)
def test_global_settings_of_torch_change_no_bit(name, Estimator, expected):
    with SETTINGS[name]():
        found = results(Estimator)
    for array, other in zip(found, expected[Estimator], strict=True):
        np.testing.assert_array_equal(array, other)


def test_settings_of_a_block_are_those_of_the_package():
    torch.set_flush_denormal(True)
    try:
        with torch.inference_mode(), torch.autocast("cpu"), torch.device("meta"), torch_settings():
            assert TINY * 1.0 == TINY
            assert torch.is_grad_enabled()
            assert not torch.is_inference_mode_enabled()
            assert not torch.is_autocast_enabled("cpu")
            assert torch.zeros(1).device.type == "cpu"
        assert flushes()
    finally:
        torch.set_flush_denormal(False)


def test_overlapping_blocks_of_threads_restore_the_precision():
    """The block that ends last restores the setting from before the first one."""
    first, second = torch_settings(), torch_settings()
    with (
        changed(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"),
        ThreadPoolExecutor(1) as other,
    ):
        other.submit(first.__enter__).result()
        with second:
            other.submit(first.__exit__, None, None, None).result()
            x = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
            exact = x @ x
        torch.testing.assert_close(exact.double(), x.double() @ x.double(), atol=1e-4, rtol=1e-5)


def test_an_error_restores_the_settings():
    with SETTINGS["matmul_precision=medium"](), pytest.raises(ValueError, match="abc"), torch_settings():
        raise ValueError("abc")


def exit_code_of_fork(function, seconds=20):
    """Call a function in a forked process, and return whether the process ended well."""
    child = os.fork()
    if child == 0:
        signal.alarm(seconds)
        try:
            function()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def check_settings(outside):
    """Check the precision outside of the blocks, in one, and after it."""
    assert _float32_precisions() == outside
    with torch_settings():
        assert set(_float32_precisions()) <= EXACT
        with torch_settings():
            pass
        assert set(_float32_precisions()) <= EXACT
    assert _float32_precisions() == outside


@pytest.fixture
def medium():
    """Reduce the precision, and return the values of its settings."""
    with changed(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"):
        yield _float32_precisions()


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
ignores_threads = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


@needs_fork
@ignores_threads
@pytest.mark.parametrize("n_others", [0, 1, 2])
@pytest.mark.parametrize("n_own", [0, 1, 2])
def test_a_forked_process_continues_only_the_blocks_of_its_thread(n_own, n_others, medium):
    with contextlib.ExitStack() as blocks, ThreadPoolExecutor(1) as other:
        others = [torch_settings() for _ in range(n_others)]
        for block in others[:1]:
            other.submit(block.__enter__).result()
        own = [blocks.enter_context(contextlib.ExitStack()) for _ in range(n_own)]
        for stack in own:
            stack.enter_context(torch_settings())
        for block in others[1:]:
            other.submit(block.__enter__).result()

        def leave_and_check():
            for stack in reversed(own):
                assert set(_float32_precisions()) <= EXACT
                stack.close()
            check_settings(medium)
            assert exit_code_of_fork(lambda: check_settings(medium)) == 0

        assert exit_code_of_fork(leave_and_check) == 0
        for block in reversed(others):
            other.submit(block.__exit__, None, None, None).result()


@needs_fork
@ignores_threads
def test_a_fork_at_any_moment_of_another_thread_neither_hangs_nor_changes_a_setting(medium):
    """Threads enter and leave blocks while processes are forked."""
    end = threading.Event()

    def enter_and_leave():
        while not end.is_set():
            with torch_settings():
                pass

    with ThreadPoolExecutor(3) as others:
        running = [others.submit(enter_and_leave) for _ in range(3)]
        try:
            codes = [exit_code_of_fork(lambda: check_settings(medium)) for _ in range(30)]
        finally:
            end.set()
        assert all(thread.result(timeout=20) is None for thread in running)
    assert codes == [0] * 30
