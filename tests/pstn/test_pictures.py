"""Pictures of a PSTN: images, motions and curves are those of the model."""

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib", reason="the extra `cli` is not installed")
from albu_learned import preview
from albu_learned.pstn import diagnose
from tests.pstn.models import FAMILIES, model, perturbed, rows, seeded, still


def drawn(made, x, versions=2, **how):
    figure = preview.posterior_samples(made, x, versions, generator=seeded(1), **how)
    return np.array(figure.axes).reshape(-1, len(x))


def pixels(axes):
    return torch.tensor(np.asarray(axes.images[0].get_array()))


@pytest.mark.parametrize("crops", [1, 2])
def test_rows_are_the_original_the_mean_and_random_motions(crops):
    made = perturbed(model(crops=crops, prior_std=0.1))
    x = rows(made.family, 3)
    table = drawn(made, x, 2, title="t")
    names = [row[0].get_ylabel() for row in table]
    one = ["mean", "random", "random"]
    wanted = one if crops == 1 else [f"crop {c}, {name}" for c in (1, 2) for name in one]
    assert names == ["original", *wanted]
    with torch.no_grad():
        random = made.move(x, made.theta(x, 2, seeded(1)))
        mean = made.move(x, still(made).theta(x))
    for crop in range(crops):
        for row, images in zip(table[1 + 3 * crop :], [mean[0], *random], strict=False):
            for axes, image in zip(row, images[:, crop, 0], strict=True):
                torch.testing.assert_close(pixels(axes), image, atol=1e-5, rtol=0)


def test_frames_show_where_mean_crops_look():
    start = torch.tensor([[0.0, float(np.log(0.5)), -0.2, 0.0], [0.0, 0.0, 0.0, 0.1]])
    table = drawn(model(crops=2, start=start), rows(FAMILIES["affine"], 2))
    first, second = (np.stack(line.get_data()) for line in table[0, 0].lines)
    # Half of 8 pixels, to the left of the middle: it is moved while it is scaled, by less than 0.2.
    left = 0.5 - 0.2 * 0.5 / np.log(2) - 0.25
    assert first.min(axis=1) == pytest.approx([left * 8 - 0.5, 0.25 * 8 - 0.5], abs=1e-4)
    assert first.max(axis=1) == pytest.approx([left * 8 + 3.5, 0.75 * 8 - 0.5], abs=1e-4)
    assert second.min(axis=1) == pytest.approx([-0.5, 0.1 * 8 - 0.5], abs=1e-4)


def test_series_and_images_of_any_range():
    made = model(FAMILIES["cpab-series"])
    table = drawn(made, rows(made.family, 2))
    assert len(table[1, 0].lines) > 1
    made = model()
    x = rows(made.family, 2)
    shown = pixels(drawn(made, 6 * x - 3)[0, 0])
    low, high = x.min(), x.max()
    torch.testing.assert_close(shown, (x[0, 0] - low) / (high - low), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("error", "words", "given"),
    [
        (
            TypeError,
            "`model` must be a PSTN",
            lambda: (torch.nn.Linear(1, 1), torch.rand(1, 1, 8, 8)),
        ),
        (ValueError, "`x` must be images", lambda: (model(), torch.rand(1, 8, 8))),
        (ValueError, "`x` must be images", lambda: (model(), torch.rand(0, 1, 8, 8))),
        (ValueError, "1 or 3 channels", lambda: (model(channels=2), torch.rand(1, 2, 8, 8))),
        (ValueError, "`versions` must be", lambda: (model(), torch.rand(1, 1, 8, 8), 0)),
    ],
)
def test_what_cannot_be_drawn(error, words, given):
    with pytest.raises(error, match=words):
        preview.posterior_samples(*given())


def test_curves_of_a_training():
    made = model()
    diagnoses = []
    for size in (0.0, 0.3, 0.6):
        with torch.no_grad():
            made.heads.mean.bias.fill_(size)
        diagnoses.append(diagnose(made, rows(made.family), warn=False))
    figure = preview.posterior_plot(diagnoses, at=[0, 5, 10], title="t")
    deviation, mean, kl = figure.axes
    assert [line.get_xdata().tolist() for line in kl.lines] == [[0, 5, 10]]
    assert kl.lines[0].get_ydata() == pytest.approx([float(d.kl.mean()) for d in diagnoses])
    curves = mean.lines[:-1]  # the last is the mean of all
    assert len(curves) == made.family.dim
    assert mean.lines[-1].get_ydata() == pytest.approx([0, 0.3, 0.6], abs=1e-5)
    assert deviation.lines[0].get_ydata() == pytest.approx([0.5] * 3, abs=1e-4)
    many = preview.posterior_plot(
        [diagnose(model(FAMILIES["both"]), rows(made.family), warn=False)]
    )
    assert len(many.axes[1].lines) == 1


def test_curves_of_nothing_are_refused():
    with pytest.raises(ValueError, match="`diagnoses` must be at least one"):
        preview.posterior_plot([])
    with pytest.raises(ValueError, match=r"`diagnoses` must be .* got \['int'\]"):
        preview.posterior_plot([3])
    found = diagnose(model(), rows(FAMILIES["affine"]), warn=False)
    with pytest.raises(ValueError, match="`at` must have 1 values"):
        preview.posterior_plot([found], at=[1, 2])
