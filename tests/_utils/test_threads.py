"""Tests of the context manager that sets the number of threads."""

import pytest
import torch

from skreg._utils.threads import torch_threads


@pytest.fixture(params=[1, 2])
def before(request):
    usual = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(usual)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_the_number_of_threads_is_set_inside_the_block_and_restored_after_it(before, n_threads):
    with torch_threads(n_threads):
        assert torch.get_num_threads() == n_threads
    assert torch.get_num_threads() == before


def test_the_number_of_threads_is_restored_after_an_error(before):
    with pytest.raises(RuntimeError, match="stop"), torch_threads(3):
        raise RuntimeError("stop")
    assert torch.get_num_threads() == before


def test_none_keeps_the_current_setting(before):
    with torch_threads(None):
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before
