"""zeta-mixup of one image with references."""

import warnings

import albumentations as A
import numpy as np
import pytest
import torch

from albu_learned import Batch
from albu_learned import ZetaMixup as Core
from albu_learned.albumentations import MixTransform, ZetaMixup
from albu_learned.albumentations.host import FIRES
from albu_learned.albumentations.record import generator_from
from tests.albumentations.cases import Seeing, picture, references


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [None, 1, 3, 7])
def test_the_output_is_row_0_of_the_core_s_mix(dtype, channels):
    image = picture(channels=channels, dtype=dtype)
    others = references(image, 5)
    transform = ZetaMixup(gamma=2.0, top_k=4, num_classes=3, smoothing=0.1, p=1)
    data = {"image": image, "label": 2, "zeta_metadata": others, FIRES: True}
    kept = transform.sample(data, np.random.default_rng(8))
    out = transform.change(data, kept)
    core = Core(gamma=2.0, top_k=4, num_classes=3, smoothing=0.1)
    images = torch.from_numpy(np.stack([image, *(other["image"] for other in others)]))
    batch = Batch(images=images, labels=torch.tensor([2, *(other["label"] for other in others)]))
    expected = core(batch, generator=generator_from(np.random.default_rng(8)))
    assert np.allclose(out["image"], expected.images[0].numpy(), atol=1e-6)
    assert out["image"].dtype == dtype
    assert out["image"].shape == image.shape
    assert np.allclose(out["label"], expected.labels[0].numpy(), atol=1e-7)


@pytest.mark.parametrize("channels", [None, 1, 3])
def test_through_compose_the_label_is_soft_and_inputs_stay(channels):
    image = picture(channels=channels)
    others = references(image)
    before = [image.copy(), *(other["image"].copy() for other in others)]
    transform = A.Compose([ZetaMixup(num_classes=3, p=1)], strict=True)
    out = transform(image=image, label=1, zeta_metadata=others)
    assert out["image"].shape == image.shape
    assert out["image"].flags.c_contiguous
    assert not np.array_equal(out["image"], image)
    assert out["label"].shape == (3,)
    assert out["label"].dtype == np.float32
    assert out["label"].sum() == pytest.approx(1)
    assert out["label"].argmax() == 1
    assert out["zeta_metadata"] is others
    for array, old in zip([image, *(other["image"] for other in others)], before, strict=True):
        assert np.array_equal(array, old)


@pytest.mark.parametrize("wrap", [A.Compose, lambda ts: ts[0]])
def test_where_p_does_not_fire_the_label_is_soft_all_the_same(wrap):
    image = picture()
    out = wrap([ZetaMixup(num_classes=3, smoothing=0.3, p=0)])(image=image, label=1)
    assert np.array_equal(out["image"], image)
    assert np.allclose(out["label"], [0.1, 0.8, 0.1])
    assert set(out) == {"image", "label"}
    transform = wrap([ZetaMixup(num_classes=3, p=0.5)])
    transform.set_random_seed(0)
    changed = 0
    for _ in range(60):
        out = transform(image=image, label=1, zeta_metadata=references(image))
        assert out["label"].shape == (3,)
        changed += not np.array_equal(out["image"], image)
        assert np.array_equal(out["image"], image) == bool(out["label"][1] == 1)
    assert 15 < changed < 45  # a binomial of 60 halves leaves this once in 10,000


def test_one_of_applies_the_chosen_mix_whatever_its_p():
    image = picture()
    transform = A.OneOf([ZetaMixup(num_classes=3, p=0.01)], p=1)
    out = transform(image=image, label=1, zeta_metadata=references(image))
    assert not np.array_equal(out["image"], image)


def test_soft_labels_mix_and_torch_labels_are_read():
    image = picture()
    others = [{"image": image // 2, "label": np.array([0.5, 0.5])}]
    out = ZetaMixup(p=1)(image=image, label=[0.0, 1.0], zeta_metadata=others)
    assert out["label"].sum() == pytest.approx(1)
    out = ZetaMixup(num_classes=2, p=0)(image=image, label=torch.tensor(1))
    assert out["label"].tolist() == [0, 1]


def test_replay_mixes_alike_and_a_record_is_free_of_pixels():
    import json

    image = picture()
    given = {"image": image, "label": 1, "zeta_metadata": references(image)}
    transform = A.ReplayCompose([ZetaMixup(num_classes=3, p=0.5)])
    for _ in range(6):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            out = transform(**given)
        record = json.loads(json.dumps(out["replay"]))
        again = A.ReplayCompose.replay(record, **given)
        assert np.array_equal(again["image"], out["image"])
        assert np.array_equal(again["label"], out["label"])


IMAGE = picture(8, 8)
FINE = {"image": IMAGE, "label": 1, "zeta_metadata": [{"image": IMAGE, "label": 0}]}


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"zeta_metadata": None}, ValueError, "`zeta_metadata` must be a list of at least one"),
        ({"zeta_metadata": []}, ValueError, "`zeta_metadata` must be a list .* got \\[\\]"),
        ({"zeta_metadata": [IMAGE]}, TypeError, r"`zeta_metadata\[0\]` must be a dict"),
        ({"zeta_metadata": [(IMAGE, 2)]}, TypeError, r"`zeta_metadata\[0\]` .* got tuple"),
        (
            {"zeta_metadata": [*FINE["zeta_metadata"], {"image": IMAGE}]},
            ValueError,
            r"`zeta_metadata\[1\]` must .* without label",
        ),
        (
            {"zeta_metadata": [{"image": IMAGE[:4], "label": 0}]},
            ValueError,
            r"must have the shape and type of the image, \(8, 8, 3\) uint8, got \(4, 8, 3\)",
        ),
        (
            {"zeta_metadata": [{"image": IMAGE.reshape(4, 16, 3), "label": 0}]},
            ValueError,
            "must have the shape and type of the image",
        ),
        (
            {"zeta_metadata": [{"image": IMAGE / 255, "label": 0}]},
            ValueError,
            "got .* float64. Resize and convert",
        ),
        ({"zeta_metadata": [{"image": IMAGE, "label": "cat"}]}, TypeError, r"\[0\]\['label'\]"),
        (
            {"zeta_metadata": [{"image": IMAGE, "label": [0.5, 0.5, 0]}]},
            ValueError,
            "must all be class numbers, or all be vectors",
        ),
        ({"label": None}, ValueError, "must be given 'label', the image's label"),
        ({"label": 3}, ValueError, "`labels` must be in 0..2"),
        ({"mask": IMAGE[..., 0]}, ValueError, r"must not be given \['mask'\].*ZetaCollate"),
        ({"bboxes": np.zeros((0, 4))}, ValueError, r"given \['bboxes'\].*kornia.Learned"),
        ({"keypoints": np.zeros((1, 2))}, ValueError, r"must not be given \['keypoints'\]"),
        ({"images": IMAGE[None]}, ValueError, r"must be given one 'image', got \['images'\]"),
    ],
)
def test_errors_name_the_argument_and_the_remedy(change, error, words):
    data = {key: value for key, value in {**FINE, **change}.items() if value is not None}
    with pytest.raises(error, match=words):
        ZetaMixup(num_classes=3, p=1)(**data)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [None, 3])
def test_a_method_that_reads_images_plans_from_channels_first_floats(channels, dtype):
    image = picture(8, 9, channels, dtype)
    method = Seeing(num_classes=3)
    MixTransform(method, p=1)(image=image, label=1, mix_metadata=references(image, 2))
    assert method.seen.shape == (3, channels or 1, 8, 9)
    first = np.atleast_3d(image).transpose(2, 0, 1) / (255 if dtype == np.uint8 else 1)
    assert np.allclose(method.seen[0], first)


def test_a_mix_that_reads_boxes_is_refused():
    method = Seeing()
    method.needs = frozenset({"images", "boxes"})
    with pytest.raises(ValueError, match=r"Seeing needs \['boxes'\]. .*kornia.Learned"):
        MixTransform(method)


@pytest.mark.parametrize("wrap", [A.OneOf, lambda ts, p: A.SomeOf(ts, n=1, p=p), A.Compose])
def test_a_host_that_skips_the_mix_leaves_the_label_as_the_docstrings_say(wrap):
    image = picture()
    out = wrap([ZetaMixup(num_classes=3, p=1)], p=0)(
        image=image, label=1, zeta_metadata=references(image)
    )
    assert out["label"] == 1
    for cls in (MixTransform, ZetaMixup):
        words = " ".join(cls.__doc__.split())
        assert "must stand outside OneOf, SomeOf and a Compose with p < 1" in words


def test_another_image_of_additional_targets_is_refused():
    transform = A.Compose([ZetaMixup(num_classes=3)], additional_targets={"image2": "image"})
    with pytest.raises(ValueError, match=r"one 'image', got \['image2'\]"):
        transform(**FINE, image2=IMAGE)


def test_bad_references_raise_on_every_call_where_p_may_fire():
    transform = ZetaMixup(num_classes=3, p=1e-9)
    with pytest.raises(ValueError, match="`zeta_metadata` must be a list"):
        transform(image=IMAGE, label=1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"gamma": -1}, "`gamma` must be"),
        ({"top_k": 1}, "`top_k` must be an integer >= 2"),
        ({"num_classes": 0}, "`num_classes` must be"),
        ({"smoothing": 1.0}, r"`smoothing` must be in \[0, 1\)"),
        ({"gamma": "much"}, "gamma"),
    ],
)
def test_invalid_arguments_raise_value_errors(arguments, words):
    with pytest.raises(ValueError, match=words):
        ZetaMixup(**arguments)


def test_class_numbers_without_num_classes_are_named():
    with pytest.raises(ValueError, match="`num_classes` must be given"):
        ZetaMixup(p=0)(image=IMAGE, label=1)
