"""Raw output of rows, computed in blocks.

All functions return tensors ``(members, rows, ...)``. No bit of the raw output of a row depends on the other rows.
"""

import torch
from torch import Tensor

from ..data.batches import MemberRows, join_blocks
from .dropout import MonteCarloDropout
from .generators import MemberGenerators, member_seeds
from .layers import pad_zeros
from .network import Network

PREDICT_ROWS = 1024
ROW_MULTIPLE = 32
PREDICT_ELEMENTS = 1 << 24  # largest number of inputs of all members in a block, 64 MB of float32
RowOutputs = tuple[Tensor, Tensor, Tensor]  # raw output, target and weight
SAMPLING_GENERATION = 1 << 20  # samples use different random numbers from training with the same seed


def prepare_rows(network: Network, rows: MemberRows, reused: bool = False) -> MemberRows:
    """Return rows that are encoded for the network; if they are ``reused`` and few, they stay encoded."""
    return rows.prepared(network.prepare, network.inputs.width if reused else None)


def block_height(network: Network) -> int:
    """Return the number of rows to predict at once: ``PREDICT_ROWS``, or fewer if there are many inputs."""
    most = PREDICT_ELEMENTS // (network.n_members * max(1, network.inputs.width))
    return max(ROW_MULTIPLE, min(PREDICT_ROWS, most // ROW_MULTIPLE * ROW_MULTIPLE))


def evaluate(network: Network, rows: MemberRows) -> RowOutputs:
    """Return the raw output, the target and the weight of the members' prepared rows."""
    batches = rows.eval_batches(block_height(network))
    blocks = ((predict_encoded(network, batch.inputs, batch.levels), batch.target, batch.weight) for batch in batches)
    raw, target, weight = join_blocks(blocks, len(rows))
    return raw, target, weight


@torch.no_grad()
def predict_encoded(network: Network, inputs: Tensor, levels: Tensor | None) -> Tensor:
    """Return the raw output of encoded rows."""
    raw: Tensor = network(*_pad(inputs, levels))
    return raw[:, : inputs.shape[1]]


def predict_raw(network: Network, numbers: Tensor, levels: Tensor | None) -> Tensor:
    """Return the raw output ``(members, rows, n_raw)`` of rows that are the same for all members.

    The rows consist of numbers ``(rows, n_numbers)`` and category codes ``(rows, n_categories)``. Numbers can also be
    sparse, with an axis for the members.
    """
    return predict_encoded(network, *_encode(network, numbers, levels))


@torch.no_grad()
def sample_raw(
    network: Network, numbers: Tensor, levels: Tensor | None, *, n_samples: int, dropout: bool, seed: int
) -> Tensor:
    """Return the raw output ``(n_samples, rows, n_raw)`` of single members in turn.

    Sample s belongs to member ``s % n_members``. It does not depend on the number of samples. With ``dropout``, each
    sample has its own masks, drawn from ``seed``, which are the same for all rows.
    """
    members, n_rows = network.n_members, numbers.shape[-2]
    inputs, codes = _pad(*_encode(network, numbers, levels))
    blocks = []
    for start in range(0, inputs.shape[1], PREDICT_ROWS):
        block = slice(start, start + PREDICT_ROWS)
        masks = _monte_carlo_dropout(network, seed) if dropout and network.uses_dropout else None
        samples = []
        for _ in range(1 if masks is None else -(-n_samples // members)):
            if masks is not None:
                masks.begin_epoch(1)
            samples.append(network(inputs[:, block], None if codes is None else codes[:, block], dropout=masks))
        raw = torch.cat(samples)
        blocks.append(raw[torch.arange(n_samples, device=raw.device) % len(raw)])
    return torch.cat(blocks, 1)[:, :n_rows]


def _encode(network: Network, numbers: Tensor, levels: Tensor | None) -> tuple[Tensor, Tensor | None]:
    shape = network.n_members, -1, -1
    given = numbers if numbers.is_sparse else numbers.expand(shape)
    inputs, codes = network.inputs(given, None if levels is None else levels.expand(shape))
    return inputs, codes


def _monte_carlo_dropout(network: Network, seed: int) -> MonteCarloDropout:
    seeds = member_seeds(seed, network.n_members, SAMPLING_GENERATION)
    generators = MemberGenerators([of_generator for _, of_generator in seeds])
    width = max(linear.weight.shape[1] for linear in network.linears)
    device = network.head.weight.device
    widths = [width] * network.n_members
    return MonteCarloDropout(generators, network.dropout_masks(), widths, network.inputs.dtype, device)


def _pad(inputs: Tensor, levels: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Append rows of zeros up to a multiple of 32 rows.

    The kernel of a matrix product depends on the number of rows. With such a multiple, no bit of a row's result depends
    on the other rows.
    """
    missing = -inputs.shape[1] % ROW_MULTIPLE
    if not missing:
        return inputs, levels
    return pad_zeros(inputs, missing, 1), None if levels is None else pad_zeros(levels, missing, 1)
