"""Pictures of warps: what is drawn lies where the warp puts it."""

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib", reason="the extra `cli` is not installed")
import albu_learned as al
from albu_learned import preview
from tests import toys
from tests.cases import shifted


def picture(**changes):
    """Two images of 8 x 6 pixels, the first of class 0, which is moved a quarter to the right."""
    boxes = [torch.tensor([[0.25, 0.5, 0.5, 1.0], [0.75, 0.0, 1.0, 1.0]]), torch.zeros(0, 4)]
    batch = al.Batch(images=torch.rand(2, 1, 6, 8), labels=torch.tensor([0, 1]), boxes=boxes)
    warp = shifted(toys.ClassShift(), [[0.25, 0.0], [0.0, 0.0]])
    given = {"warp": warp, "batch": batch, "versions": 2, "class_names": ["ant", "b$e$e"]}
    return preview.warped_samples(**{**given, **changes})


def lines_of(axes):
    return [np.stack(line.get_data()) for line in axes.lines]


def boxes_of(axes):
    return [patch.get_bbox().extents.tolist() for patch in axes.patches]


def test_the_grid_and_the_boxes_move_with_the_image():
    axes = np.array(picture().axes).reshape(3, 2)
    before, after = lines_of(axes[0, 0]), lines_of(axes[1, 0])
    assert len(before) == len(after) == 18
    for old, new in zip(before, after, strict=True):
        assert new[0] == pytest.approx(old[0] + 2, abs=1e-5)  # a quarter of 8 pixels
        assert new[1] == pytest.approx(old[1], abs=1e-5)
    # The box spans x 0.25 to 0.5: pixel edges 2 to 4, which are 1.5 to 3.5 where centres count.
    assert boxes_of(axes[0, 0]) == [
        pytest.approx([1.5, 2.5, 3.5, 5.5]),
        pytest.approx([5.5, -0.5, 7.5, 5.5]),
    ]
    assert boxes_of(axes[1, 0]) == [pytest.approx([3.5, 2.5, 5.5, 5.5])]  # the other has left
    assert boxes_of(axes[1, 1]) == []
    assert axes[1, 0].get_xlim() == (-0.5, 7.5)  # lines beyond the image do not widen it


def test_images_are_those_of_the_warp_and_classes_are_named():
    figure = picture(batch=al.Batch(images=torch.rand(2, 3, 6, 8), labels=torch.tensor([0, 1])))
    axes = np.array(figure.axes).reshape(3, 2)
    first, moved = (row[0].images[0].get_array() for row in axes[:2])
    assert np.allclose(moved[:, 2:], first[:, :-2], atol=1e-6)
    assert np.allclose(moved[:, :2], 0, atol=1e-6)  # its padding
    assert [one.get_title() for one in axes[0]] == ["ant", r"b\$e\$e"]
    assert [row[0].get_ylabel() for row in axes] == ["original", "warped", "warped"]


def test_series_are_lines_over_what_they_were():
    series = torch.rand(3, 2, 20)
    warp = al.ThetaWarp(al.AffineCPAB(5), std=0.1)
    axes = np.array(preview.warped_samples(warp, series, 1).axes).reshape(2, 3)
    places, curves = axes[0, 1].lines[:9], axes[0, 1].lines[9:]
    assert [line.get_xdata()[0] for line in places] == pytest.approx(np.linspace(0, 1, 9).tolist())
    assert np.allclose(np.stack([c.get_ydata() for c in curves]), series[1])
    old, new = axes[1, 1].lines[9:][::2], axes[1, 1].lines[9:][1::2]
    assert np.allclose(np.stack([c.get_ydata() for c in old]), series[1])
    assert not np.allclose(np.stack([c.get_ydata() for c in new]), series[1])
    moved = [line.get_xdata()[0] for line in axes[1, 1].lines[:9]]
    assert sorted(moved) == moved  # time is not folded
    assert moved != pytest.approx(np.linspace(0, 1, 9).tolist())


def test_the_generator_decides():
    def drawn(seed):
        figure = preview.warped_samples(
            al.ThetaWarp(), torch.rand(1, 1, 6, 6), 1, generator=torch.Generator().manual_seed(seed)
        )
        return np.concatenate(lines_of(figure.axes[1]), axis=1)

    assert np.array_equal(drawn(1), drawn(1))
    assert not np.array_equal(drawn(1), drawn(2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": torch.rand(2, 2, 4, 4)}, r"`batch` must have images .* got \(2, 2, 4, 4\)"),
        ({"batch": al.Batch(labels=torch.tensor([0]))}, "`batch` must have images .* got None"),
        ({"batch": torch.rand(0, 1, 4, 4)}, "at least one"),
        ({"class_names": ["ant"]}, r"`class_names` must name .* got \['ant'\]"),
        ({"versions": 0}, "`versions` must be an integer >= 1"),
    ],
)
def test_what_is_wrong_is_said(changes, message):
    with pytest.raises(ValueError, match=message):
        picture(**changes)


def test_samples_draws_each_kind_as_it_can():
    images, labels = torch.rand(3, 1, 6, 6), torch.tensor([0, 1, 1])
    batch = al.Batch(images=images, labels=labels)
    warped = preview.samples(al.ThetaWarp(), batch)
    mixed = preview.samples(al.ZetaMixup(num_classes=2), batch, ["ant", "bee"])
    assert [len(figure.axes) for figure in (warped, mixed)] == [12, 9]
    assert mixed.axes[0].get_title() == "ant"
    free = preview.samples(al.ZetaMixup(), batch)  # which does not know how many classes there are
    assert [text.get_text() for text in free.axes[6].get_yticklabels()] == ["0", "1"]
    with pytest.raises(ValueError, match=r"got a BoxPaint, which is of the kind 'generate'"):
        preview.samples(toys.BoxPaint(), batch)


def test_few_colours_make_a_smaller_file(tmp_path):
    image = pytest.importorskip("PIL.Image")
    figure = preview.warped_samples(al.ThetaWarp(), torch.rand(2, 3, 32, 32), 1)
    large = preview.save(figure, tmp_path / "all.png")
    small = preview.save(figure, tmp_path / "few.png", colours=16)
    assert small.stat().st_size < large.stat().st_size / 2
    with image.open(small) as picture, image.open(large) as whole:
        assert picture.size == whole.size
        assert len(picture.convert("RGB").getcolors()) <= 16
