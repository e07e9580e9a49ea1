"""The demo: what its arms share, what it concludes, and what it writes; and the pictures."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("sklearn", reason="the extra `cli` is not installed")
pytest.importorskip("matplotlib", reason="the extra `cli` is not installed")
from albu_learned import demo as d
from albu_learned import preview
from albu_learned.batch import Batch
from albu_learned.verdict import Score, clearly_positive, table, verdict

TINY = d.Settings(seeds=2, per_class=2, steps=4)
EXAMPLES = Path(__file__).parents[1] / "examples"
PLAIN = [0.80, 0.82, 0.78, 0.81, 0.79]


@pytest.fixture(scope="module")
def digits():
    return d.load_digits()


def moved(by, wobble=0.001):
    """Accuracies that differ from the plain ones by about so much in every seed."""
    return [a + by + wobble * (-1) ** i for i, a in enumerate(PLAIN)]


def png(path):
    from matplotlib.image import imread

    assert path.read_bytes().startswith(b"\x89PNG")
    return imread(path)


def test_the_demo_prints_every_arm_and_writes_its_pictures(tmp_path):
    lines = []
    scores = d.demo(TINY, tmp_path / "new", lines.append)
    text = "\n".join(lines)
    for arm in d.arms():
        assert sum(line.startswith(arm + " ") for line in text.splitlines()) == 1
        assert len(scores[arm]) == TINY.seeds
    assert "No conclusion from 2 seeds" in text
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["mixup.png", "zeta_mixup.png"]
    for path in (tmp_path / "new").iterdir():
        assert png(path).std() > 0.1  # not an empty page


def test_the_same_seeds_give_the_same_table_whatever_the_global_generator(digits):
    torch.manual_seed(1)
    first = table(d.run(TINY, digits))
    state = torch.get_rng_state()
    assert table(d.run(TINY, digits)) == first
    assert torch.equal(torch.get_rng_state(), state)  # nor is it touched


def test_training_and_test_images_are_apart(digits):
    assert len(digits.images) + len(digits.test_images) == 1797
    assert int(digits.labels.bincount().min()) == d.MOST
    trial = d.make_trial(digits, 0, d.Settings(per_class=d.MOST))
    assert torch.equal(trial.labels.bincount(), torch.full((10,), d.MOST))
    train = {tuple(image.flatten().tolist()) for image in digits.images}
    test = {tuple(image.flatten().tolist()) for image in digits.test_images}
    assert not train & test


def test_the_arms_of_a_seed_share_images_batches_and_initial_weights(digits, monkeypatch):
    seen, starts = {}, {}
    real = d.stack_module_state

    def spying(networks):
        starts[len(starts)] = real(networks)[0]
        return real(networks)

    def spy(arm, mixer):
        def mix(images, labels, generator):
            seen.setdefault(arm, []).append((images.clone(), labels.clone()))
            return mixer(images, labels, generator)

        return mix

    everything = {arm: spy(arm, mixer) for arm, mixer in d.arms().items()}
    monkeypatch.setattr(d, "stack_module_state", spying)
    monkeypatch.setattr(d, "arms", lambda: everything)
    d.run(TINY, digits)
    assert len(seen) == len(starts) == 5
    for arm in seen:
        assert len(seen[arm]) == TINY.seeds * TINY.steps
        for (images, labels), (other, others) in zip(seen["plain"], seen[arm], strict=True):
            assert torch.equal(images, other)
            assert torch.equal(labels, others)
    for start in starts.values():
        for name, weight in start.items():
            assert torch.equal(weight, starts[0][name])


def test_seeds_differ(digits):
    first, second = (d.make_trial(digits, seed, TINY) for seed in (0, 1))
    assert not torch.equal(first.images, second.images)
    assert not torch.equal(first.network[1].weight, second.network[1].weight)


def test_training_leaves_the_initial_weights_alone(digits):
    trial = d.make_trial(digits, 0, TINY)
    before = trial.network[1].weight.clone()
    trained = d.train([trial], d.arms()["plain"])
    assert torch.equal(trial.network[1].weight, before)
    assert not torch.equal(trained["1.weight"][0], before)


def test_training_side_by_side_is_training_one_after_another(digits):
    settings = d.Settings(seeds=2, per_class=4, steps=10)
    trials = [d.make_trial(digits, seed, settings) for seed in range(2)]
    mixer = d.arms()["zeta-mixup gamma 2.8"]
    together = d.train(trials, mixer)
    for i, trial in enumerate(trials):
        for name, weight in d.train([trial], mixer).items():
            torch.testing.assert_close(together[name][i], weight[0], rtol=1e-3, atol=1e-4)


def test_training_learns(digits):
    trial = d.make_trial(digits, 0, d.Settings(per_class=10, steps=60))
    weights = d.train([trial], d.arms()["plain"])
    (result,) = d.score(trial.network, weights, digits.test_images, digits.test_labels)
    assert result.accuracy > 0.7
    assert result.nll < 1.5


def test_mixup_by_hand():
    images, labels = torch.eye(6).view(6, 1, 1, 6), torch.arange(6)
    mixed, soft = d.mixup(images, labels, torch.Generator().manual_seed(3))
    torch.testing.assert_close(mixed.view(6, 6), soft[:, :6])  # images and labels mix alike
    torch.testing.assert_close(soft.sum(1), torch.ones(6))
    assert bool((soft.argmax(1) == labels).all())
    weights = torch.stack(
        [d.mixup(images, labels, torch.Generator().manual_seed(s))[1].amax() for s in range(40)]
    )
    assert 0.5 <= weights.min() < weights.max() <= 1


def test_the_arms_do_what_their_names_say(digits):
    images, labels = digits.images[:32], digits.labels[:32]
    soft = {}
    for arm, mixer in d.arms().items():
        changed, soft[arm] = mixer(images, labels, torch.Generator().manual_seed(0))
        torch.testing.assert_close(soft[arm].sum(1), torch.ones(32))
        assert torch.equal(changed, images) == (arm in ("plain", "label smoothing 0.1"))
    assert soft["plain"].amax(1).unique().tolist() == [1.0]
    torch.testing.assert_close(soft["label smoothing 0.1"].amax(1), torch.full((32,), 0.91))
    method = d.ZetaMixup(gamma=4.0, num_classes=10)
    expected = method(
        Batch(images=images, labels=labels), generator=torch.Generator().manual_seed(0)
    )
    assert torch.equal(soft["zeta-mixup gamma 4"], expected.labels)


@pytest.mark.parametrize(
    ("accuracies", "wanted", "unwanted"),
    [
        ({"mixup": moved(-0.001), "zeta": moved(0.0005)}, "Nothing beat plain", "Worse"),
        (
            {"mixup": moved(-0.05), "zeta": moved(-0.04)},
            "Worse than plain beyond its error: mixup, z",
            "Bet",
        ),
        (
            {"zeta": moved(0.05)},
            "Better than plain beyond its error: zeta. Better than both",
            "Nothing",
        ),
        (
            {"mixup": moved(0.05), "zeta": moved(0)},
            "Better than plain beyond its error: mixup.",
            "both",
        ),
        (
            {"mixup": moved(0.05), "zeta": moved(0.05)},
            "Better than both controls as well: none.",
            "Not",
        ),
        (
            {"mixup": moved(0.02), "zeta": moved(0.05)},
            "Better than both controls as well: zeta.",
            "Not",
        ),
        ({"mixup": moved(0.01, 0.05), "zeta": moved(0.01, 0.05)}, "Nothing beat plain", "Better"),
    ],
)
def test_the_verdict(accuracies, wanted, unwanted):
    text = verdict({"plain": PLAIN, **accuracies}, d.CONTROLS)
    assert wanted in text
    assert unwanted not in text
    assert "Paired over 5 seeds" in text


def test_the_verdict_asks_for_both_controls():
    one_of_two = {d.CONTROLS[0]: moved(0.05), d.CONTROLS[1]: moved(0.02), "zeta": moved(0.05)}
    assert "both controls as well: none." in verdict({"plain": PLAIN, **one_of_two}, d.CONTROLS)
    one_of_two[d.CONTROLS[0]] = moved(0.03)
    assert "both controls as well: zeta." in verdict({"plain": PLAIN, **one_of_two}, d.CONTROLS)


@pytest.mark.parametrize("seeds", [1, 2])
def test_no_verdict_from_too_few_seeds(seeds):
    text = verdict({"plain": PLAIN[:seeds], "mixup": moved(0.1)[:seeds]})
    assert text == f"No conclusion from {seeds} seed{'s' * (seeds > 1)}: take at least 3."


def test_the_error_is_students():
    differences = [1.0, 2.0, 3.0]  # mean 2, error 1/sqrt(3): t is 3.46, its 97.5 % is 4.30
    assert not clearly_positive(differences)
    assert clearly_positive([1.5, 2.0, 2.5])  # t is 6.93
    assert not clearly_positive([1.5, 2.0, 2.5], comparisons=4)  # its 99.375 % is 8.86
    assert not clearly_positive([0.0, 0.0, 0.0])


def test_the_table_by_hand():
    scores = {
        "plain": [Score(0.80, 1.0), Score(0.82, 2.0)],
        "mixup": [Score(0.83, 1.0), Score(0.83, 1.0)],
    }
    plain, mixup = table(scores).splitlines()[1:3]
    assert plain.split() == ["plain", "81.0", "±", "1.4", "1.500", "±", "0.707"]
    assert mixup.split() == ["mixup", "83.0", "±", "0.0", "1.000", "±", "0.000", "+2.0", "±", "1.0"]


def picture(**changes):
    given = {
        "images": torch.rand(2, 3, 4, 5),
        "labels": torch.tensor([0, 1]),
        "mixed": torch.rand(2, 3, 4, 5),
        "soft": torch.tensor([[0.7, 0.3], [0.0, 1.0]]),
        "class_names": ["cat", "aeroplane"],
    }
    return preview.mixed_samples(**{**given, **changes})


def test_a_picture_labels_its_bars():
    figure = picture()
    original, _, bars = figure.axes[0], figure.axes[2], figure.axes[4]
    assert original.get_title() == "cat"
    assert [text.get_text() for text in bars.get_yticklabels()] == ["cat", "aeroplane"]
    assert [text.get_text() for text in bars.texts] == ["70 %", "30 %"]
    assert [bar.get_width() for bar in bars.patches] == pytest.approx([0.7, 0.3])
    from matplotlib.colors import to_hex

    colours = [to_hex(bar.get_facecolor()) for bar in bars.patches]
    assert colours == [preview._LEAD, preview._OTHER]  # the class of the original is marked


def test_a_picture_of_many_classes_keeps_every_share():
    soft = torch.tensor([[0.05, 0.02, 0.8, 0.03, 0.1], [0.2, 0.2, 0.2, 0.2, 0.2]])
    bars = picture(soft=soft, class_names=None).axes[4]
    assert [text.get_text() for text in bars.get_yticklabels()] == ["2", "4", "0", "others"]
    assert sum(bar.get_width() for bar in bars.patches) == pytest.approx(1)


def test_uint8_and_float_give_the_same_picture(tmp_path):
    whole = torch.arange(120, dtype=torch.uint8).view(2, 3, 4, 5)
    paths = [
        preview.save(picture(images=images, mixed=images), tmp_path / f"{i}.png")
        for i, images in enumerate((whole, whole.float() / 255))
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": torch.rand(2, 4, 5)}, "`images` must be"),
        ({"mixed": torch.rand(2, 2, 4, 5)}, "`mixed` must be"),
        ({"soft": torch.tensor([0, 1])}, "`soft` must be"),
        ({"labels": torch.tensor([0])}, r"one row each .*\[2, 1, 2, 2\]"),
        ({"class_names": ["cat"]}, "`class_names` must name each of the 2"),
    ],
)
def test_a_picture_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        picture(**changes)


def test_saving_is_all_or_nothing(tmp_path, monkeypatch):
    path = preview.save(picture(), tmp_path / "folder" / "a.png")
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"must end in \.png"):
        preview.save(picture(), tmp_path / "a.jpg")

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        preview.save(picture(), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_pictures_without_matplotlib_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install \"albu_learned\[cli\]\""):
        picture()


def run_example(name, *arguments):
    """Runs an example as a script, but in this process: importing torch anew takes seconds."""
    path = EXAMPLES / name
    assert len(path.read_text(encoding="utf-8").splitlines()) < 80
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        patch.setattr(sys, "argv", [str(path), *map(str, arguments)])
        runpy.run_path(str(path), run_name="__main__")


def test_the_pytorch_example_trains(capsys):
    run_example("zeta_mixup_pytorch.py")
    assert float(capsys.readouterr().out.removeprefix("test accuracy ")) > 0.7


def test_the_gallery_makes_the_picture_of_the_readme(tmp_path):
    run_example("gallery.py", "--out", tmp_path)
    made, kept = tmp_path / "gallery.png", EXAMPLES / "gallery.png"
    assert kept.stat().st_size < 150_000
    # Fonts differ a little between versions of matplotlib, so pixels need not agree everywhere.
    assert png(made).shape == png(kept).shape
    assert abs(png(made) - png(kept)).mean() < 0.02
