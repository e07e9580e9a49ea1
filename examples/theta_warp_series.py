"""A warp of time, fitted to series and used in a DataLoader.

Makes series of two classes whose events come early or late, quickly or slowly; learns from forty of
each how time varies within a class; and trains a small network with and without such warps.

    pip install albu_learned
    python examples/theta_warp_series.py
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, default_collate

import albu_learned as al

STEPS, TRAIN, TEST, EPOCHS = 64, 40, 500, 40


def main() -> None:
    train, test = make_series(TRAIN, seed=0), make_series(TEST, seed=1)
    warp = al.ThetaWarp.fit(*train, family=al.AffineCPAB(6), partners=3, progress=False)
    print(warp.summary())

    def collate(rows: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """In the loader's workers, if it has any; the class of a series stays what it is."""
        series, labels = default_collate(rows)
        return warp(series), labels

    series, labels = next(iter(DataLoader(TensorDataset(*train), 16, collate_fn=collate)))
    print(f"a batch: {tuple(series.shape)} {series.dtype}, labels {tuple(labels.shape)}")
    print(f"test accuracy as they are: {accuracy(train, test, default_collate):.3f}")
    print(f"test accuracy with warps:  {accuracy(train, test, collate):.3f}")


def make_series(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """(2 * count, 1, STEPS) and labels: a high peak before a low one, or the other way round."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(2).repeat_interleave(count)
    start, pace = torch.rand(2, 2 * count, 1, generator=generator)
    time = (torch.linspace(0, 1, STEPS) - 0.25 - 0.2 * start) * (1 + pace)
    first, second = (torch.exp(-0.5 * ((time - at) / 0.07) ** 2) for at in (0.0, 0.35))
    high = torch.where(labels[:, None] == 0, first, second)
    noise = 0.15 * torch.randn(2 * count, STEPS, generator=generator)
    return (0.75 * (first + second) + 0.25 * high + noise)[:, None], labels


def accuracy(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], collate) -> float:
    """Of a small network after so many epochs, the same start and order for both."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv1d(1, 16, 7, stride=2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(32), nn.ReLU()
    ).append(nn.Linear(32, 2))
    network(train[0][:1])
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    for _ in range(EPOCHS):
        for series, labels in DataLoader(TensorDataset(*train), 8, True, collate_fn=collate):
            loss = F.cross_entropy(network(series), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return float((network(test[0]).argmax(dim=1) == test[1]).float().mean())


if __name__ == "__main__":
    main()
