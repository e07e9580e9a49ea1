"""The device that is none is as strict as a GPU."""

import pytest
import torch
import torch.nn.functional as F

from tests.elsewhere import DEVICE, elsewhere


@pytest.fixture(autouse=True)
def _elsewhere():
    with elsewhere():
        yield


def test_numbers_are_those_of_the_cpu():
    values = torch.tensor([[3.0, 1.0], [2.0, 5.0]])
    there = values.to(DEVICE)
    assert there.device == DEVICE
    assert (
        (there + 1).device == torch.zeros_like(there).device == there.new_ones(2).device == DEVICE
    )
    assert torch.equal((there @ there).cpu(), values @ values)
    assert there.amax(dim=1).tolist() == [3, 5]
    assert there[[1, 0]][:, [0]].tolist() == [[2], [3]]
    assert there[torch.tensor([0])].device == DEVICE
    assert float(there.sum()) == 11
    assert bool((there > 0).all())
    assert torch.repeat_interleave(there, torch.tensor([1, 2], device=DEVICE), 0).shape == (3, 2)
    there[0] = 7
    there.mul_(2)
    assert there.cpu().tolist() == [[14, 14], [4, 10]]
    assert values.tolist() == [[3, 1], [2, 5]]


@pytest.mark.parametrize(
    "mix",
    [
        lambda here, there: here + there,
        lambda here, there: there @ here,
        lambda here, there: here.add_(there),
        lambda here, there: torch.cat([here, there]),
        lambda here, there: torch.stack([here, there]),
        lambda here, there: here[there.argmax(1)],
        lambda here, there: F.cross_entropy(there, here.argmax(1)),
        lambda here, there: F.linear(there, here),
        lambda here, there: torch.where(here > 0, there, there),
        lambda here, there: torch.repeat_interleave(there, here[0].long(), 0),
        lambda here, there: there.index_put((torch.tensor([0]),), here[0]),
        lambda here, there: torch.tensor(1.0).add_(there[0, 0]),
        lambda here, there: torch.rand(2, generator=torch.Generator(), device=DEVICE),
        lambda here, there: there.uniform_(generator=torch.Generator()),
        lambda here, there: there.numpy(),
    ],
)
def test_what_a_gpu_refuses_is_refused(mix):
    here = torch.ones(2, 2)
    with pytest.raises(RuntimeError, match=r"on one device|generator of the device|numpy"):
        mix(here, here.to(DEVICE))


def test_single_numbers_and_places_of_the_cpu_are_taken():
    there = torch.ones(2, 2, device=DEVICE)
    assert (there * torch.tensor(3.0)).tolist() == [[3, 3], [3, 3]]
    assert there[torch.tensor([True, False])].shape == (1, 2)
    there.copy_(torch.zeros(2, 2))
    assert there.sum().item() == 0


@pytest.mark.parametrize("fused", [False, True])
def test_networks_learn_there(fused):
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 2)
    before = network.weight.detach().clone()
    network.to(DEVICE)
    assert network.weight.device == DEVICE
    optimizer = torch.optim.AdamW(network.parameters(), fused=fused)
    loss = network(torch.rand(4, 3).to(DEVICE)).square().mean()
    loss.backward()
    assert network.weight.grad.device == DEVICE
    optimizer.step()
    assert not torch.equal(network.weight.cpu(), before)
    here = torch.ones(2, requires_grad=True)
    (here.to(DEVICE) * 3).sum().backward()
    assert here.grad.tolist() == [3, 3]
