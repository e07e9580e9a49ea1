"""The KL in loops that scale, accumulate, distribute, compile, checkpoint and cast."""

import warnings

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from tests.pstn.loops import (
    UNTAKEN,
    assert_same,
    batch,
    by_hand,
    exact,
    gradients,
    made,
    noise_of,
    trained,
)
from tests.pstn.models import labels

RANKS, STEPS = 2, 4  # processes, and batches whose gradients are accumulated
pytestmark = pytest.mark.usefixtures("no_hooks_left")


def in_a_rank(rank, store, folder):
    """A loop with a scaler that accumulates in one of two processes."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=RANKS)
    wrapped = DistributedDataParallel(made())
    scaler = torch.amp.GradScaler("cpu", init_scale=65536)
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.1)
    criterion = nn.CrossEntropyLoss()
    for step in range(STEPS):
        wrapped.require_backward_grad_sync = step == STEPS - 1
        torch.manual_seed(10 * rank + step)
        loss = criterion(wrapped(batch(10 * rank + step)[0]), labels())
        loss /= STEPS
        scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    torch.save(gradients(wrapped.module), f"{folder}/{rank}.pt")
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 65536
    dist.destroy_process_group()


def test_scaled_accumulated_and_distributed_it_is_exact(tmp_path):
    context = torch.multiprocessing.start_processes(
        in_a_rank, (tmp_path / "store", tmp_path), RANKS, join=False, start_method="fork"
    )
    assert context.join(timeout=60) or context.join(timeout=60)
    numbers = [10 * rank + step for rank in range(RANKS) for step in range(STEPS)]
    x = torch.cat([batch(number)[0] for number in numbers])
    net = made()
    noise = torch.cat([noise_of(number, net) for number in numbers])
    expected = exact(net, x, labels().repeat(len(numbers)), noise)
    for rank in range(RANKS):
        assert_same(torch.load(tmp_path / f"{rank}.pt", weights_only=True), expected)
    without = exact(net, x, labels().repeat(len(numbers)), noise, kl_weight=0)
    assert not torch.allclose(without["heads.mean.weight"], expected["heads.mean.weight"])


def test_through_checkpoints():
    net, (x, y) = made(), batch()
    trained(lambda x: checkpoint(net, x, use_reentrant=False), nn.CrossEntropyLoss(), x, y)
    assert_same(gradients(net), exact(net, x, y, noise_of(7, net)))
    x.requires_grad_()
    with pytest.raises(RuntimeError, match=UNTAKEN):  # its first forward has no gradients
        trained(lambda x: checkpoint(net, x, use_reentrant=True), nn.CrossEntropyLoss(), x, y)


@pytest.mark.parametrize("how", [{"find_unused_parameters": True}, {"static_graph": True}, {}])
def test_through_distributed_data_parallel(how, tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/s", rank=0, world_size=1)
    try:
        net, (x, y) = made(), batch()
        wrapped = DistributedDataParallel(net, **how)
        for _ in range(2):
            net.zero_grad()
            trained(wrapped, nn.CrossEntropyLoss(), x, y)
            assert_same(gradients(net), exact(net, x, y, noise_of(7, net)))
        with pytest.raises(RuntimeError, match=UNTAKEN):
            trained(wrapped, F.cross_entropy, x, y)
    finally:
        dist.destroy_process_group()


def test_compiled_it_is_the_same():
    net, (x, y) = made(), batch()
    compiled = torch.compile(net, backend="eager")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*global hooks")
        for _ in range(2):
            net.zero_grad()
            trained(compiled, nn.CrossEntropyLoss(), x, y)
            assert_same(gradients(net), exact(net, x, y, noise_of(7, net)))
    with pytest.raises(RuntimeError, match=UNTAKEN):
        trained(compiled, F.cross_entropy, x, y)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_mixed_precision(dtype):
    net, (x, y) = made().float(), batch()
    criterion = nn.CrossEntropyLoss()
    with torch.autocast("cpu", dtype=dtype):
        loss = trained(net, criterion, x.float(), y)
    assert loss.dtype == torch.float32
    expected = by_hand(net.double(), x, y, noise_of(7, net)).float()
    torch.testing.assert_close(loss, expected, rtol=0.03, atol=0)
    net = made().to(dtype)
    assert trained(net, criterion, x.to(dtype), y) > 1
