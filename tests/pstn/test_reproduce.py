"""The scripts that repeat the tables of the paper run, go on where they were, and are fair.

On made-up series and images: what comes out says nothing.
"""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib", reason="the extra `cli` is not installed")
pytest.importorskip("torchmetrics", reason="the extra `cli` is not installed")
FOLDER = Path(__file__).parents[2] / "examples" / "reproduce"


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))

    def script(name):
        return __import__(name)

    yield script
    for name in ("pstn_trials", "pstn_mnist", "pstn_ucr", "pstn_mnist_kmnist"):
        sys.modules.pop(name, None)


def saved(path, shape, classes, kind=np.uint8):
    random = np.random.default_rng(0)
    arrays = {}
    for part, each in (("train", 4), ("test", 3)):
        y = np.repeat(np.arange(classes), each)
        x = random.integers(0, 200, (len(y), *shape))
        x[..., 0] += y.reshape(-1, *[1] * (len(shape) - 1))
        arrays |= {f"{part}_x": x.astype(kind), f"{part}_y": y}
    np.savez(path, **arrays)
    return str(path)


def ran(monkeypatch, module, *arguments):
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
    module.main()


def test_series(scripts, tmp_path, monkeypatch, capsys):
    data = saved(tmp_path / "toy.npz", (24,), 3, np.float32)
    given = [data, "--seeds", 2, "--steps", 2, "--priors", 0.05, 0.1, "--tune-seeds", 1]
    given += ["--out", tmp_path / "out"]
    ran(monkeypatch, scripts("pstn_ucr"), *given)
    printed = capsys.readouterr().out
    text = (tmp_path / "out" / "ucr_pstn.md").read_text()
    assert text in printed
    for arm in ("cnn", "stn", "pstn", "smooth", "prior"):
        assert f"\n| {arm} |" in text
    said = re.search(r"NLL of held-out series: (.*)\. They choose (\w+)\.", text)
    held = {name: float(nll) for name, nll in (part.split() for part in said[1].split(", "))}
    assert list(held) == ["cnn", "stn", "pstn"]
    assert held[said[2]] == min(held.values())
    assert (tmp_path / "out" / "toy_pstn_2" / "calibration.png").is_file()

    def refused(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(scripts("pstn_trials"), "train", refused)
    ran(monkeypatch, scripts("pstn_ucr"), *given)
    assert (tmp_path / "out" / "ucr_pstn.md").read_text() == text


def test_digits(scripts, tmp_path, monkeypatch):
    data = saved(tmp_path / "toy.npz", (28, 28), 3)
    given = [data, "--sizes", 3, "--seeds", 1, "--steps", 1, "--out", tmp_path / "out"]
    ran(monkeypatch, scripts("pstn_mnist"), *given, "--families", "affine")
    text = (tmp_path / "out" / "toy_pstn_1.md").read_text()
    assert text.count("+ hand-made |") == 3
    assert "| prior-affine |" in text


def test_a_training_that_diverges_begins_again_slower(scripts, tmp_path, monkeypatch, capsys):
    module, rates = scripts("pstn_trials"), []
    train, words = module.train, "Motions must stay below 3 sides. Training has diverged: lower it."

    def fragile(runs, settings, rate):
        rates.append(rate)
        if rate > 2e-3:
            raise ValueError(words)
        return train(runs, settings, rate)

    monkeypatch.setattr(module, "train", fragile)
    data = saved(tmp_path / "toy.npz", (28, 28), 3)
    given = [data, "--sizes", 3, "--seeds", 1, "--steps", 1, "--families", "affine", "--bare"]
    ran(monkeypatch, scripts("pstn_mnist"), *given, "--priors", 0.1, "--out", tmp_path / "out")
    assert rates == [4e-3, 2e-3] * 5
    assert capsys.readouterr().out.count("Again, with half of the learning rate.") == 5
    words = "`y` must be a tensor."
    with pytest.raises(ValueError, match="must be a tensor"):
        ran(monkeypatch, scripts("pstn_mnist"), *given, "--out", tmp_path / "other")


@pytest.mark.parametrize(("family", "count"), [("affine", 28_000), ("cpab", 44_000)])
def test_arms_have_as_many_parameters_as_the_papers(scripts, family, count):
    for arm in scripts("pstn_mnist").arms(family, (0.05,), 10, 1):
        made = arm.network(0.05)
        own = sum(parameter.numel() for parameter in made.parameters())
        assert own == pytest.approx(count, rel=0.03), arm.name


def test_what_is_at_its_prior_stays_there(scripts):
    trials = scripts("pstn_trials")
    (made,) = [
        arm.network(0.05)
        for arm in scripts("pstn_mnist").arms("affine", (0.05,), 10, 1)
        if arm.name == "prior-affine"
    ]
    optimizer = torch.optim.AdamW(made.parameters(), lr=1.0)
    x = torch.rand(4, 1, 28, 28)
    made.loss(x, torch.arange(4)).backward()
    optimizer.step()
    posterior = made.posterior(x)
    torch.testing.assert_close(posterior.deviation, torch.ones(4, 1, 4), atol=1e-5, rtol=0)
    assert not posterior.mean.any()
    assert trials.at_its_prior(made) is made


def test_pairs_lie_in_their_halves(scripts):
    module = scripts("pstn_mnist_kmnist")
    digits = {"train_x": np.full((3, 28, 28), 100), "train_y": np.array([1, 2, 3])}
    characters = {"train_x": np.full((3, 28, 28), 200), "train_y": np.array([7, 8, 9])}
    images, labels = module.pairs(digits, characters, "train", 40, 0, 1)
    assert images.shape == (40, 64, 64)
    assert set(np.unique(images[:, :, :32])) == {0, 100}
    assert set(np.unique(images[:, :, 32:])) == {0, 200}
    assert ((images > 0).sum(axis=(1, 2)) == 2 * 28 * 28).all()
    assert set(labels // 10) == {1, 2, 3}
    assert set(labels % 10) == {7, 8, 9}
    corners = torch.tensor([[[0.0, 0.0], [1.0, 1.0]]]).expand(2, -1, -1)
    looks = module.transformer(0.1, 32, 0.01).family.transform(module.START, corners)
    wanted = torch.tensor([[[0.0, 0.25], [0.5, 0.75]], [[0.5, 0.25], [1.0, 0.75]]])
    torch.testing.assert_close(looks, wanted, atol=1e-5, rtol=0)
