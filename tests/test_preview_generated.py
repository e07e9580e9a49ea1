"""Pictures of a generator: which images stand where."""

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib", reason="the extra `cli` is not installed")
import albu_learned as al
from albu_learned import preview
from albu_learned.preview.traversal import traversal
from tests import toys
from tests.synth import cases

NAMES = ["nil", "one", "two"]


@pytest.fixture(scope="module")
def vae():
    return cases.vae()


@pytest.fixture(scope="module")
def batch():
    images, labels = cases.digits()
    return al.Batch(images=images, labels=labels)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def tiles(figure):
    """The images, by the row and column of their upper left corner, counted."""
    found = {}
    for shown in figure.axes[0].images:
        left, _, _, top = shown.get_extent()
        found.setdefault(round(top, 3), {})[round(left, 3)] = np.squeeze(shown.get_array())
    return [[row[left] for left in sorted(row)] for _, row in sorted(found.items())]


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_real_images_samples_their_nearest_and_a_walk(vae, batch):
    figure = preview.generated_samples(vae, batch, NAMES, "Digits", seeded())
    rows = tiles(figure)
    assert [len(row) for row in rows] == [3 + 5 + 7] * 6  # two rows a class
    generator = seeded()
    for label in range(3):
        above, below = rows[2 * label : 2 * label + 2]
        real = batch.images[batch.labels == label]
        assert np.allclose(above[:3] + below[:3], real[:6, 0])
        samples = vae.sample(torch.full((5,), label), generator=generator)
        assert np.allclose(above[3:8], samples[:, 0], atol=1e-6)
        away = (samples[:, None] - real[None]).square().sum(dim=(2, 3, 4))
        assert np.allclose(below[3:8], real[away.argmin(dim=1), 0])
    assert [text for text in texts(figure) if text in NAMES] == NAMES
    assert {"real images", "samples", "what varies most"} <= set(texts(figure))
    assert figure.get_suptitle() == "Digits"


def test_the_walk_follows_the_codes_of_the_class(vae, batch):
    rows = tiles(preview.generated_samples(vae, batch, generator=seeded()))
    own = vae.table.mean[vae.table.starts[1] : vae.table.starts[2]].double()
    values, vectors = torch.linalg.eigh(torch.cov(own.T))
    for line, place in ((rows[2], -1), (rows[3], -2)):
        axis = vectors[:, place] * values[place].sqrt()
        ends = torch.stack([own.mean(dim=0) + step * axis for step in (-2.0, 0.0, 2.0)]).float()
        made = vae.pixels(torch.zeros(3, 1, 8, 8), {"z": ends, "label": torch.ones(3).long()})
        shown = np.stack([line[8], line[11], line[14]])
        turned = shown[::-1]  # the sign of a direction is nobody's
        wanted = made[:, 0].detach().numpy()
        assert min(abs(shown - wanted).max(), abs(turned - wanted).max()) < 1e-4


def test_without_images_samples_and_walks_alone(vae):
    figure = preview.samples(vae, al.Batch(labels=torch.tensor([2, 0])), generator=seeded())
    rows = tiles(figure)
    assert [len(row) for row in rows] == [5 + 7] * 4
    samples = vae.sample(torch.zeros(10, dtype=torch.int64), generator=seeded())
    assert np.allclose(rows[0][:5] + rows[1][:5], samples[:, 0], atol=1e-6)
    assert "real images" not in texts(figure)
    assert "below: the real image nearest to each" not in texts(figure)
    assert [text for text in texts(figure) if text.isdigit()] == ["0", "2"]


def test_of_many_classes_some_are_shown():
    assert preview.some_classes([5, 3, 3, 9]) == [3, 5, 9]
    assert preview.some_classes(range(100)) == [0, 14, 28, 42, 57, 71, 85, 99]
    many = al.ClassVAE((1, 8, 8), num_classes=20, network="dense", codes=20)
    many.table.fill(torch.randn(20, 8), torch.zeros(20, 8), [1] * 20)
    figure = preview.generated_samples(many, al.Batch(labels=torch.arange(20)))
    assert len(tiles(figure)) == 16
    assert "8 of 20 classes" in texts(figure)
    named = [f"class {number}" for number in range(20)]
    figure = preview.generated_samples(many, al.Batch(labels=torch.arange(8)), named)
    assert "8 of 20 classes" in texts(figure)
    figure = preview.generated_samples(many, al.Batch(labels=torch.arange(8)))
    assert not any("classes" in text for text in texts(figure))


def test_names_are_shortened_and_taken_literally(vae, batch):
    names = ["a$b$", "a name that is far too long to be written beside its row of images", "two"]
    written = texts(preview.generated_samples(vae, batch, names))
    assert r"a\$b\$" in written
    long = next(text for text in written if text.startswith("a name"))
    assert long.endswith("…")
    assert max(map(len, long.split("\n"))) <= 14
    assert len(long.split("\n")) == 4


def test_whole_numbers_and_other_sizes_give_the_same(vae, batch):
    whole = (batch.images * 255).round().to(torch.uint8)
    first = tiles(preview.generated_samples(vae, al.Batch(whole, batch.labels), None, "", seeded()))
    second = tiles(preview.generated_samples(vae, batch, None, "", seeded()))
    assert np.allclose(first, second, atol=1 / 255)
    large = whole.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    third = tiles(preview.generated_samples(vae, al.Batch(large, batch.labels), generator=seeded()))
    assert third[1][0].shape == (16, 16)
    assert np.allclose(third[1][3][::2, ::2], first[1][3])  # the same is nearest


def test_a_generator_without_codes_gets_samples():
    method = toys.ClassPicture(3)
    method.about = al.About(image_size=[8, 8], channels=3)
    figure = preview.samples(method, al.Batch(labels=torch.arange(3)), generator=seeded())
    rows = tiles(figure)
    assert [len(row) for row in rows] == [5] * 6
    assert rows[0][0].shape == (8, 8, 3)
    plan = method.planned(al.Batch(labels=torch.zeros(1, dtype=torch.int64)))
    assert traversal(method, plan, torch.zeros(1, 3, 8, 8), 0, 7) is None


def test_before_a_fit_the_prior_itself_is_walked_along():
    free = al.ClassVAE((1, 8, 8), num_classes=2, network="dense", latent=4)
    plan = free.planned(al.Batch(labels=torch.tensor([1])))
    walk = traversal(free, plan, torch.zeros(1, 1, 8, 8), 1, 3)
    codes = torch.tensor([[0, -2.0, 0, 0], [0, 0, 0, 0], [0, 2.0, 0, 0]])
    wanted = free.pixels(torch.zeros(3, 1, 8, 8), {"z": codes, "label": torch.ones(3).long()})
    assert torch.allclose(walk, wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("method", "batch", "message"),
    [
        (None, al.Batch(images=torch.rand(2, 1, 8, 8)), r"`batch` must have labels \(B,\)"),
        (None, al.Batch(labels=torch.rand(2, 3)), r"`batch` must have labels \(B,\)"),
        (
            None,
            al.Batch(images=torch.rand(1, 2, 8, 8), labels=torch.tensor([0])),
            r"images \(B, 1 or 3, H, W\), got \(1, 2, 8, 8\)",
        ),
        (
            None,
            al.Batch(images=torch.rand(1, 3, 8, 8), labels=torch.tensor([0])),
            "images of 1 channels for this ClassVAE",
        ),
        (None, al.Batch(labels=torch.tensor([2])), "`class_names` must name the class"),
        (toys.BoxPaint(), al.Batch(labels=torch.tensor([0])), "a BoxPaint, which needs boxes"),
    ],
)
def test_what_is_wrong_is_said(vae, method, batch, message):
    with pytest.raises(ValueError, match=message):
        preview.generated_samples(method or vae, batch, ["nil", "one"])
