"""How far a model's confidence can be believed: figures and the plot of them."""

import math
import warnings

import pytest
import torch

pytest.importorskip("matplotlib", reason="the extra `cli` is not installed")
pytest.importorskip("torchmetrics", reason="the extra `cli` is not installed")
from albu_learned import preview
from albu_learned.measures import calibration_bins, measures
from albu_learned.pstn import diagnose
from tests.pstn.models import CLASSES, labels, model, perturbed, rows


def sure(accuracy=0.5, confidence=0.9, count=40):
    """Probabilities of two classes, all as sure; so many of them right."""
    probabilities = torch.tensor([confidence, 1 - confidence]).expand(count, 2).clone()
    truth = (torch.arange(count) >= accuracy * count).long()
    return probabilities, truth


def test_diagnose_measures_predictions():
    made = perturbed(model(prior_std=0.1))
    x, y = rows(made.family, 50), labels(50)
    found = diagnose(made, x, y=y)
    with torch.no_grad():
        wanted = measures(made.eval()(x), y)  # fixed motions in place of random ones
    assert found.measures.keys() == wanted.keys()
    assert found.measures["nll"] == pytest.approx(wanted["nll"], rel=0.05)
    assert diagnose(made, x).measures is None


def test_a_probability_of_nothing_costs_a_finite_price():
    made = model(stn=True)
    with torch.no_grad():
        made.classifier[1].bias.copy_(torch.tensor([1000.0, 0.0, 0.0]))
    found = diagnose(made, rows(made.family, 4), y=torch.full((4,), CLASSES - 1))
    assert 50 < found.measures["nll"] < math.inf


def test_a_warning_can_be_left_to_the_diagnosis():
    made = model()
    with torch.no_grad():
        made.heads.deviation.bias.fill_(math.log(math.expm1(1.0)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = diagnose(made, rows(made.family), warn=False)
    assert "is its prior" in found.warning


def test_the_plot_shows_accuracy_by_confidence():
    models = {"a$b": sure(0.5, 0.9), "b": calibration_bins(sure(0.7, 0.7)[0].log(), sure(0.7)[1])}
    figure = preview.calibration_plot(models, "t$")
    curve, strip = figure.axes
    first, second, diagonal = curve.lines
    assert first.get_xdata() == pytest.approx([0.9], abs=1e-6)
    assert first.get_ydata() == pytest.approx([0.5])
    assert second.get_ydata() == pytest.approx([0.7])
    assert list(diagonal.get_xdata()) == [0, 1]
    texts = [text.get_text() for text in curve.get_legend().get_texts()]
    assert texts == [r"a\$b, ECE 40.0 %", "b, ECE 0.0 %"]
    heights = strip.patches[0].get_data().values
    assert sum(heights) == pytest.approx(1)
    assert heights[13] == 1  # of 15, that with 0.9 in it


def test_the_ece_in_the_legend_is_that_of_torchmetrics():
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.randn(300, 5, generator=generator).softmax(1)
    truth = torch.randint(5, (300,), generator=generator)
    wanted = 100 * measures(probabilities.log(), truth)["ece"]
    figure = preview.calibration_plot({"m": (probabilities, truth)})
    (text,) = figure.axes[0].get_legend().get_texts()
    assert text.get_text() == f"m, ECE {wanted:.1f} %"


@pytest.mark.parametrize(
    ("words", "models"),
    [
        ("1 to 8 models by name, got 0", {}),
        ("1 to 8 models by name, got tuple", sure()),
        ("none for 'm'", {"m": [(0, 0.5, 0.5)]}),
        ("Of logits, give", {"m": (torch.randn(4, 3), torch.zeros(4).long())}),
        ("probabilities \\(N, K\\) and class numbers", {"m": (sure()[0], sure()[1][:3])}),
    ],
)
def test_what_cannot_be_plotted(words, models):
    with pytest.raises(ValueError, match=words):
        preview.calibration_plot(models)
