"""Generated images behind the real ones of a batch."""

import pytest
import torch
from torch.utils.data import DataLoader

import albu_learned as al
from albu_learned.synth import AppendCollate
from tests import toys
from tests.synth import cases


@pytest.fixture(scope="module")
def vae():
    return cases.vae()


def pairs(count=12, dtype=torch.float32):
    images, labels = cases.digits()
    rows = torch.arange(count) * 5 % len(images)
    images = images[rows] if dtype.is_floating_point else (images[rows] * 255).to(dtype)
    return [
        (image, int(label)) for image, label in zip(images.to(dtype), labels[rows], strict=True)
    ]


def test_real_images_stay_and_generated_ones_follow(vae):
    samples = pairs()
    torch.manual_seed(0)
    images, labels = AppendCollate(vae, share=0.4)(samples)
    assert (images.shape, labels.shape) == ((20, 1, 8, 8), (20,))  # 8 of 20 are generated
    assert torch.equal(images[:12], torch.stack([image for image, _ in samples]))
    assert labels[:12].tolist() == [label for _, label in samples]
    torch.manual_seed(0)
    chosen = torch.randint(12, (8,))
    assert torch.equal(labels[12:], labels[chosen])
    assert torch.equal(images[12:], vae.sample(labels[12:]))


def test_classes_are_those_of_the_batch(vae):
    collate = AppendCollate(vae, per_batch=60)
    of_two = [(image, label) for image, label in pairs() if label != 1]
    made = collate(of_two)[1][len(of_two) :]
    assert set(made.tolist()) == {0, 2}
    part = [row for row in of_two if row[1] == 2][:1] + [row for row in of_two if row[1] == 0]
    made = AppendCollate(vae, per_batch=900)(part)[1][len(part) :]
    assert (made == 2).float().mean() == pytest.approx(1 / len(part), abs=0.05)


@pytest.mark.parametrize(
    ("given", "count"), [({}, 8), ({"share": 0.0}, 0), ({"share": 0.5}, 12), ({"per_batch": 3}, 3)]
)
def test_how_many(vae, given, count):
    assert len(AppendCollate(vae, **given)(pairs())[0]) == 12 + count


def test_whole_numbers_stay_whole(vae):
    images, labels = AppendCollate(vae, per_batch=6)(pairs(dtype=torch.uint8))
    assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
    assert images[12:].amax() > 100
    assert AppendCollate(vae)(pairs(dtype=torch.float64))[0].dtype == torch.float64


def test_dicts_and_another_collate(vae):
    rows = [{"pixels": image, "y": label} for image, label in pairs()]
    batch = AppendCollate(vae, per_batch=3, image_key="pixels", label_key="y")(rows)
    assert {key: len(value) for key, value in batch.items()} == {"pixels": 15, "y": 15}

    def collate(samples):
        return torch.stack([s[0] for s in samples]), torch.tensor([s[1] for s in samples])

    result = AppendCollate(vae, per_batch=3, collate=collate)(pairs())
    assert isinstance(result, tuple)
    assert len(result[1]) == 15


def generated(vae, seed, workers):
    """The generated images of each batch."""
    torch.manual_seed(seed)
    collate = AppendCollate(vae, per_batch=2)
    loader = DataLoader(pairs(4) * 4, 4, collate_fn=collate, num_workers=workers)
    return [images[4:] for images, _ in loader]


def test_workers_differ_and_a_seed_repeats_them(vae):
    first, again, other = (generated(vae, seed, 2) for seed in (0, 0, 1))
    assert len(first) == 4
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    different = [*first, *other]
    assert len({batch.numpy().tobytes() for batch in different}) == 8


def test_classes_go_by_name(vae):
    collate = AppendCollate(vae, per_batch=6, classes=["two", "nil", "one"])
    zeros = [(image, 1) for image, label in pairs() if label == 0]
    torch.manual_seed(0)
    images, labels = collate(zeros)
    assert labels.tolist() == [1] * len(labels)
    torch.manual_seed(0)
    torch.randint(len(zeros), (6,))
    assert torch.equal(images[len(zeros) :], vae.sample(torch.zeros(6, dtype=torch.int64)))
    with pytest.raises(ValueError, match=r"`labels` must be in 0\.\.2 for these `classes`, got 3"):
        collate([(zeros[0][0], 3)])


def test_classes_that_were_never_seen_get_none():
    images, labels = cases.digits()
    part = al.ClassVAE.fit(
        images[labels != 1], labels[labels != 1], classes=["nil", "one", "two"], **cases.QUICK
    )
    collate = AppendCollate(part, per_batch=40)
    assert set(collate(pairs())[1][12:].tolist()) == {0, 2}
    ones = [row for row in pairs() if row[1] == 1]
    assert len(collate(ones)[0]) == len(ones)
    with pytest.raises(ValueError, match=r"must be in 0\.\.2"):
        collate([(pairs()[0][0], 3)])


def test_other_sizes_are_resized_if_asked(vae):
    large = [(torch.rand(1, 20, 16), 0)] * 4
    with pytest.raises(ValueError, match=r"`images` must have the size \(8, 8\).* resize=True"):
        AppendCollate(vae)(large)
    assert AppendCollate(vae, resize=True)(large)[0].shape == (7, 1, 20, 16)
    assert vae.resize is False


def test_a_generator_of_images_is_given_those_of_its_class():
    class Copies(toys.ClassPicture):
        _base = True
        needs = frozenset({"images", "labels"})

        def plan(self, batch, noise):
            return {"image": batch.images}

        def pixels(self, images, plan):
            return plan["image"]

    images, labels = AppendCollate(Copies(3), per_batch=5)(pairs())
    for image, label in zip(images[12:], labels[12:], strict=True):
        assert any(torch.equal(image, real) and label == own for real, own in pairs())


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([(torch.rand(1, 8, 8) * 3 - 1, 0)], r"floats in \[0, 1\] or uint8, got .*Normalise in"),
        ([(torch.full((1, 8, 8), torch.nan), 0)], r"floats in \[0, 1\] or uint8, got floats from"),
        ([(torch.rand(8, 8), 0)], r"must be \(C, H, W\) tensors .*, got \(1, 8, 8\)"),
        ([(torch.rand(8, 9, 3), 0)], r"channels first, \(C, H, W\), got \(8, 9, 3\)"),
        ([(torch.rand(3, 8, 8), 0)], "`images` must have 1 channels for this ClassVAE"),
        ([(torch.rand(1, 8, 8), torch.tensor([0.2, 0.8]))], r"one class number .* got \(1, 2\)"),
        ([(torch.rand(1, 8, 8), 0.5)], r"one class number .* got \(1,\) torch.float64"),
        ([(torch.rand(1, 8, 8), "nil")], "one class number a sample, got tuple"),
        ([(torch.rand(1, 8, 8), 3)], r"`labels` must be in 0\.\.2 for this ClassVAE, got 3"),
        ([(torch.rand(1, 8, 8), 0, 7)], r"\(image, label\) pairs, got a list of 3"),
        ([torch.rand(1, 8, 8)], "got a Tensor after collating"),
        ([{"image": torch.rand(1, 8, 8)}], "must have the key 'label', got"),
        ([{"image": torch.rand(1, 8, 8), "label": 0, "path": "a"}], r"got \['path'\] too"),
    ],
)
def test_what_is_wrong_with_a_batch_is_said(vae, samples, message):
    with pytest.raises((ValueError, TypeError), match=message):
        AppendCollate(vae, per_batch=1)(samples)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": al.ZetaMixup()}, "`method` must be a Generate or the folder of one"),
        ({"method": toys.BoxPaint()}, "got a BoxPaint, which needs boxes"),
        ({"share": 1.0}, r"`share` must be in \[0, 1\)"),
        ({"per_batch": -1}, "`per_batch` must be an integer >= 0"),
        ({"share": 0.2, "per_batch": 3}, "`share` must be left out where `per_batch` is given"),
        ({"classes": ["nil", "two"]}, "`classes` must name the classes of the artifact"),
    ],
)
def test_what_is_wrong_with_the_arguments_is_said(vae, given, message):
    with pytest.raises((ValueError, TypeError), match=message):
        AppendCollate(**{"method": vae, **given})


def test_the_folder_of_an_artifact_will_do(vae, tmp_path):
    vae.save_pretrained(tmp_path)
    assert len(AppendCollate(tmp_path, per_batch=2)(pairs())[0]) == 14
