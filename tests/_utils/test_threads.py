"""The number of threads is what was asked for inside the block, and what it was before after it."""

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
def test_sets_and_restores(before, n_threads):
    with torch_threads(n_threads):
        assert torch.get_num_threads() == n_threads
    assert torch.get_num_threads() == before


def test_restores_after_an_error(before):
    with pytest.raises(RuntimeError, match="stop"), torch_threads(3):
        raise RuntimeError("stop")
    assert torch.get_num_threads() == before


def test_none_leaves_the_setting_alone(before):
    with torch_threads(None):
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before
