"""The entries of a spec at work on batches, and the count of what they did."""

import dataclasses
import sys

import pytest
import torch
import yaml

import albu_learned as al
from albu_learned import spec
from tests import toys
from tests.cases import make_batch, posterior_model, shifted

CLASSIFIER = spec.Given("a classifier", frozenset({"images", "labels"}), ("a", "b"), 2)
DETECTOR = spec.Given("a detector", frozenset({"images", "boxes"}))


@pytest.fixture
def make(tmp_path):
    """A step for an artifact of a method, or for one by name."""

    def step(method, given=CLASSIFIER, **keys):
        if isinstance(method, str):
            first = f"method: {method}"
        else:
            method.save_pretrained(tmp_path / "artifact")
            first = "artifact: artifact"
        lines = [first, *(f"{key}: {value}" for key, value in keys.items())]
        (tmp_path / "s.yaml").write_text("methods:\n  - " + "\n    ".join(lines))
        (entry,) = spec.read(tmp_path / "s.yaml").entries
        return spec.Step(entry, given)

    return step


def labelled(rows=6):
    batch = make_batch(rows)
    return al.Batch(images=batch.images, labels=batch.labels)


def test_p_chooses_rows(make):
    step = make(shifted(toys.ClassShift(), [[0.5, 0.0], [0.5, 0.0]]), p=0.5)
    batch = labelled(200)
    torch.manual_seed(0)
    changed, count = step(batch)
    differs = (changed.images != batch.images).flatten(1).any(dim=1)
    assert 70 < count < 130
    assert differs.sum() == count
    assert (changed.labels == batch.labels).all()


def test_p_of_zero_and_one(make):
    batch = labelled()
    moved, count = make(shifted(toys.ClassShift(), [[0.5, 0.0]] * 2), p=1)(batch)
    assert count == 6
    assert (moved.images != batch.images).flatten(1).any(dim=1).all()
    same, count = make(shifted(toys.ClassShift(), [[0.5, 0.0]] * 2), p=0)(batch)
    assert count == 0
    assert same is batch


def test_what_it_does_is_what_the_method_does(make):
    batch = labelled()
    step = make(shifted(toys.ClassShift(noise=0.1), [[0.25, 0.0], [0.0, 0.25]]), p=1)
    torch.manual_seed(3)
    torch.rand(len(batch))  # what chooses the rows
    expected = step.method(batch)
    torch.manual_seed(3)
    changed, _ = step(batch)
    assert torch.equal(changed.images, expected.images)


def test_a_mix_makes_labels_soft_whether_it_fires_or_not(make):
    batch = labelled()
    mixed, count = make("ZetaMixup", p=1, smoothing=0.1)(batch)
    assert count == 6
    assert mixed.labels.shape == (6, 2)
    alone, count = make("ZetaMixup", p=0, smoothing=0.1)(batch)
    assert count == 0
    assert torch.equal(alone.images, batch.images)
    assert torch.allclose(alone.labels.amax(1), torch.tensor(0.95))


def test_no_gradient_and_no_autocast(make):
    step = make("ZetaMixup", p=1)
    batch = labelled()
    batch.images.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed, _ = step(batch)
    assert mixed.images.dtype == mixed.labels.dtype == torch.float32
    assert not mixed.images.requires_grad


class Turn(toys.FreeShift):
    """Plans by a product of matrices, which autocast would make in half precision."""

    def plan(self, batch, noise):
        return {"shift": noise["z"] @ torch.eye(2) / 3}


def test_a_plan_is_made_in_full_precision(make):
    step = make(Turn(), p=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        changed, _ = step(al.Batch(images=torch.rand(2, 3, 8, 8)))
    assert changed.images.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        assert step.plan(al.Batch(images=torch.rand(2, 3, 8, 8)))["shift"].dtype == torch.bfloat16
        seen = []
        plan, step.plan = step.plan, lambda batch: seen.append(plan(batch)) or seen[0]
        step(al.Batch(images=torch.rand(2, 3, 8, 8)))
    assert seen[0]["shift"].dtype == torch.float32


def test_what_shows_no_images_points_to_a_warp_that_needs_none(make):
    blind = spec.Given("a host", frozenset({"labels"}))
    with pytest.raises(ValueError, match=r"needs images, .* only labels\. .*marginal=images"):
        make(posterior_model().as_warp(), given=blind)


def test_a_method_sees_uint8_images_as_floats(make):
    step = make(shifted(toys.ImageShift(), [[0.5, 0.0], [0.0, 0.0]]))
    batch = al.Batch(images=torch.full((1, 3, 8, 8), 51, dtype=torch.uint8))
    assert torch.allclose(step.plan(batch)["shift"], torch.tensor([[0.1, 0.0]]))


def test_a_batch_that_a_method_cannot_take(make):
    with pytest.raises(ValueError, match="`images` must be"):
        make(toys.FreeShift(), p=1)(al.Batch(images=torch.rand(2, 3, 8, 8, 8)))
    named = toys.ClassShift()
    named.about = al.About(classes=["a", "b"])
    soft = al.Batch(images=torch.rand(2, 3, 8, 8), labels=torch.rand(2, 2))
    with pytest.raises(ValueError, match="Put it before mixes"):
        make(named, p=1)(soft)


def test_classes_go_by_name(make):
    method = shifted(toys.ClassShift(), [[0.5, 0.0], [0.0, 0.0]])
    method.about = al.About(classes=["a", "b"])
    swapped = spec.Given("a classifier", frozenset({"images", "labels"}), ("b", "a"), 2)
    batch = al.Batch(images=torch.rand(2, 3, 8, 8), labels=torch.tensor([0, 1]))
    moved, _ = make(method, swapped, p=1)(batch)
    differs = (moved.images != batch.images).flatten(1).any(dim=1)
    assert differs.tolist() == [False, True]  # their 1 is the artifact's "a", which moves
    with pytest.raises(ValueError, match=r"`labels` must be in 0..1 for the classes"):
        make(method, swapped, p=1)(al.Batch(images=batch.images, labels=torch.tensor([0, 2])))


def test_class_names_that_do_not_match(make):
    method = toys.ClassShift()
    method.about = al.About(classes=["a", "b"])
    strange = spec.Given("a classifier", frozenset({"images", "labels"}), ("x", "y"), 2)
    with pytest.raises(ValueError, match=r"s.yaml, line 2: `classes` must name the classes"):
        make(method, strange)
    nameless = spec.Given("a classifier", frozenset({"images", "labels"}), None, 2)
    with pytest.raises(ValueError, match=r"line 2: .* does not know the names of yours"):
        make(method, nameless)


def test_what_a_host_does_not_have(make):
    with pytest.raises(ValueError, match=r"line 2: ClassShift needs labels, but .* a detector has"):
        make(toys.ClassShift(), DETECTOR)
    with pytest.raises(ValueError, match=r"BoxPaint needs boxes, .* a classifier has only"):
        make(toys.BoxPaint())


def test_boxes_stay_in_step(make):
    batch = make_batch(4)
    batch = al.Batch(images=batch.images, boxes=batch.boxes)
    step = make(shifted(toys.FreeShift(), [[0.25, 0.0], [0.25, 0.0]]), DETECTOR, p=0.5)
    torch.manual_seed(1)
    moved, count = step(batch)
    assert 0 < count < 4
    differs = (moved.images != batch.images).flatten(1).any(dim=1)
    shift = (moved.boxes.values - batch.boxes.values)[:, 0]
    assert torch.allclose((shift > 0.01).float(), differs[batch.boxes.image].float())


def test_it_moves_to_a_device(make):
    method = toys.ClassShift()
    method.about = al.About(classes=["b", "a"])
    step = make(method).to(torch.device("meta"))
    assert step.method.shift.device.type == "meta"
    assert step.order.device.type == "meta"


def test_one_row_has_none_to_be_mixed_with(make):
    batch = labelled(1)
    mixed, count = make("ZetaMixup", p=1)(batch)
    assert count == 0
    assert mixed.labels.shape == (1, 2)
    assert torch.equal(mixed.images, batch.images)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_plan_is_of_finite_numbers(make, value):
    step = make(toys.FreeShift(), p=1)
    step.method.shift.data[0] = value
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"line 2: 'shift' in the plan of FreeShift must be fini"):
        step(al.Batch(images=images))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_pixels_are_finite_numbers(make, dtype):
    step = make(toys.ClassPicture(), p=1)
    step.method.picture.data[0, 0, 0, 0] = float("nan")
    batch = al.Batch(images=torch.zeros(2, 3, 8, 8, dtype=dtype), labels=torch.tensor([1, 0]))
    with pytest.raises(ValueError, match="`pixels` of ClassPicture must be finite"):
        step(batch)


class Faulty(toys.FreeShift):
    """A user's method with a mistake in one of its parts."""

    def __init__(self, num_classes=2, noise=0.0, part="plan"):
        super().__init__(num_classes, noise)
        self.part = part

    def plan(self, batch, noise):
        return {"shift": self._shift("plan", noise["z"])}

    def field(self, plan):
        return super().field({"shift": self._shift("field", plan["shift"])})

    def _shift(self, part, values):
        return values[1, 2, 3] if part == self.part else values


@pytest.mark.skipif(sys.version_info < (3, 11), reason="errors have no notes")
@pytest.mark.parametrize("part", ["plan", "field"])
def test_an_error_of_a_method_names_its_entry(make, part):
    step = make(Faulty(part=part), p=1)
    with pytest.raises(IndexError) as raised:
        step(al.Batch(images=torch.rand(2, 3, 8, 8)))
    (note,) = raised.value.__notes__
    assert note.endswith("s.yaml, line 2: Faulty on the sample")


def test_a_dump_names_the_modules_of_its_methods(make, tmp_path):
    entries = (make(toys.FreeShift()).entry, make("ZetaMixup").entry)
    dumped = spec.Spec(entries, modules=["json"]).dump()
    assert yaml.safe_load(dumped)["modules"] == ["json", toys.__name__]
    (tmp_path / "again.yaml").write_text(dumped)
    assert [e.name for e in spec.read(tmp_path / "again.yaml").entries] == [
        "FreeShift",
        "ZetaMixup",
    ]
    scripted = dataclasses.replace(entries[1], module="__main__")
    first, *rest = spec.Spec((scripted,)).dump().splitlines()
    assert first == "# Defined in a script, not in a module: ZetaMixup"
    assert "modules" not in yaml.safe_load("\n".join(rest))


class TestTally:
    """Epochs in which nothing happens."""

    @pytest.fixture
    def tally(self, make):
        first = make("ZetaMixup", until_epoch=2).entry
        second = make(toys.FreeShift(), p=0.1).entry
        return spec.Tally([first, second])

    def test_work_that_is_done_passes(self, tally):
        tally.add(0, 8, 8)
        tally.add(1, 100, 1)
        tally.close(0)
        assert tally.shown == [0, 0]

    def test_an_entry_that_was_never_called_raises(self, tally):
        tally.add(0, 8, 8)
        with pytest.raises(RuntimeError, match=r"FreeShift must .* epoch 0 it changed nothing"):
            tally.close(0)

    def test_an_entry_that_changed_nothing_raises(self, tally):
        tally.add(0, 8, 0)
        tally.add(1, 100, 1)
        with pytest.raises(RuntimeError, match=r"ZetaMixup must .* changed none of 8 rows"):
            tally.close(0)

    def test_chance_is_no_reason_to_raise(self, tally):
        tally.add(0, 8, 8)
        tally.add(1, 100, 0)  # .9 ** 100 is 3e-5
        tally.close(0)
        tally.add(0, 8, 8)
        tally.add(1, 100, 0)  # and twice that 7e-10
        with pytest.raises(RuntimeError, match="FreeShift"):
            tally.close(1)

    def test_epochs_of_few_rows_add_up(self, tally):
        for epoch in range(2):
            tally.add(0, 8, 8)
            tally.add(1, 60, 0)  # .9 ** 60 is 2e-3, .9 ** 180 is 6e-9
            tally.close(epoch)
        tally.add(1, 60, 1)
        tally.close(2)  # it is at work: all is forgotten
        for epoch in (3, 4):
            tally.add(1, 60, 0)
            tally.close(epoch)
        tally.add(1, 60, 0)
        with pytest.raises(RuntimeError, match="none of 60 rows, and none in the epochs before"):
            tally.close(5)

    def test_an_entry_out_of_its_epochs_may_rest(self, tally):
        tally.add(1, 100, 9)
        tally.close(2)
