"""Generators through the real host: pixels change, everything else stays."""

import albumentations as A
import numpy as np
import pytest
import torch

from albu_learned import About, Batch
from albu_learned.albumentations import GenerateTransform
from albu_learned.albumentations.record import generator_from
from tests.albumentations.cases import boxes, picture, points
from tests.toys import BoxPaint, ClassPicture


class Reading(ClassPicture):
    """A generator that keeps the images which its plan was given."""

    _base = True
    needs = frozenset({"labels", "images"})

    def plan(self, batch, noise):
        self.seen = batch.images
        return super().plan(batch, noise)


GIVEN = np.array([[4, 4, 20, 16], [30, 20, 40, 32]], np.float32)


def painted(**data):
    transform = A.Compose(
        [GenerateTransform(BoxPaint(), p=1)], bbox_params=boxes("names"), keypoint_params=points()
    )
    return transform(label=1, bboxes=GIVEN, names=["a", "b"], keypoints=[(3, 3)], **data)


@pytest.mark.filterwarnings("ignore:Got processor for keypoints")  # the generator leaves them alone
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_pixels_inside_the_boxes_are_new_and_all_else_stays(dtype):
    image, mask = picture(dtype=dtype), picture(channels=None)
    before = image.copy()
    out = painted(image=image, mask=mask)
    inside = np.zeros((32, 40), bool)
    inside[4:16, 4:20] = inside[20:32, 30:40] = True
    assert out["image"].dtype == dtype
    assert np.array_equal(out["image"][~inside], image[~inside])
    assert len(np.unique(out["image"][inside].reshape(-1, 3), axis=0)) == 1
    assert np.array_equal(image, before)
    assert np.array_equal(out["mask"], mask)
    assert np.allclose(out["bboxes"], GIVEN, atol=1e-4)
    assert out["names"] == ["a", "b"]
    assert np.allclose(out["keypoints"], [(3, 3)])
    assert out["label"] == 1


def test_the_host_s_noise_gives_the_core_s_pixels():
    method = BoxPaint()
    transform = GenerateTransform(method, p=1)
    fractions = torch.tensor([[0.1, 0.1, 0.5, 0.6]])
    image = picture(dtype=np.float32)
    data = {"image": image, "label": 0, "bboxes": fractions.numpy()}
    kept = transform.sample(data, np.random.default_rng(3))
    rows = torch.from_numpy(image).permute(2, 0, 1)[None]
    batch = Batch(images=rows, labels=torch.tensor([0]), boxes=[fractions])
    expected = method(batch, generator=generator_from(np.random.default_rng(3))).images
    out = transform.apply(image, **kept)
    assert np.array_equal(out, expected[0].permute(1, 2, 0).detach().numpy())


def test_the_label_chooses_and_images_get_one_draw():
    method = ClassPicture(size=32)
    transform = A.Compose([GenerateTransform(method, label_key="kind", p=1)])
    image = picture(32, 32, dtype=np.float32)
    out = transform(image=image, kind=1, images=np.stack([image] * 3))
    ratio = out["image"] / method.picture[1].permute(1, 2, 0).detach().numpy()
    assert np.allclose(ratio, ratio[0, 0, 0], atol=1e-4)
    assert all(np.array_equal(frame, out["image"]) for frame in out["images"])


@pytest.mark.parametrize("channels", [None, 1, 7])
def test_other_channel_counts_keep_their_shape(channels):
    method = ClassPicture(size=32, channels=channels or 1)
    image = picture(32, 32, channels)
    out = A.Compose([GenerateTransform(method, p=1)])(image=image, label=0)["image"]
    assert out.shape == image.shape


def test_another_size_needs_resize_and_the_given_method_is_left_alone():
    method = ClassPicture(size=8)
    data = {"image": picture(16, 24), "label": 0}
    with pytest.raises(ValueError, match=r"must have the size .* set resize=True"):
        GenerateTransform(method, p=1)(**data)
    assert GenerateTransform(method, resize=True, p=1)(**data)["image"].shape == (16, 24, 3)
    assert method.resize is False


def test_wrong_channels_are_named():
    with pytest.raises(ValueError, match="must have 3 channels"):
        GenerateTransform(ClassPicture(), p=1)(image=picture(8, 8, 1), label=0)


def test_missing_boxes_and_soft_labels_are_named():
    transform = GenerateTransform(BoxPaint(), p=1)
    with pytest.raises(ValueError, match="must be given 'bboxes', boxes, under a Compose"):
        transform(image=picture(), label=0)
    with pytest.raises(TypeError, match="`label` must be one class number"):
        transform(image=picture(), label=np.array([0.5, 0.5]), bboxes=np.zeros((0, 4)))
    with pytest.raises(ValueError, match="fractions of the image"):
        transform(image=picture(), label=0, bboxes=GIVEN)


@pytest.mark.parametrize("reader", [BoxPaint, Reading])
def test_normalised_pixels_are_refused(reader):
    transform = A.Sequential([A.Normalize(), GenerateTransform(reader(), p=1)], p=1)
    words = r"`image` must have values in \[0, 1\] .* got -2.* to 2.* before Normalize"
    data = {"image": picture(), "label": 0, "bboxes": np.zeros((0, 4))}
    with pytest.raises(ValueError, match=words):
        transform(**data)


def test_a_float_image_that_rounding_pushed_out_is_accepted_and_nan_is_not():
    transform = GenerateTransform(ClassPicture(size=8), p=1)
    image = np.full((8, 8, 3), 1.0005, np.float32)
    assert transform(image=image, label=0)["image"].max() <= 1
    with pytest.raises(ValueError, match="got nan to nan"):
        transform(image=image * np.nan, label=0)


def test_a_method_that_reads_images_is_given_floats():
    method = Reading(size=32)
    image = picture(32, 32)
    GenerateTransform(method, p=1)(image=image, label=0)
    assert np.allclose(method.seen[0], image.transpose(2, 0, 1) / 255)


def test_a_class_that_the_artifact_does_not_have_is_named():
    method = ClassPicture(size=32)
    method.about = About(classes=["cat", "dog"])
    transform = GenerateTransform(method, p=1)
    for label in (-1, 2):
        with pytest.raises(ValueError, match=r"`label` must be in 0..1 for .*'dog'\], got"):
            transform(image=picture(32, 32), label=label)


def test_no_boxes_paint_nothing():
    transform = A.Compose([GenerateTransform(BoxPaint(), p=1)], bbox_params=boxes())
    image = picture()
    assert np.array_equal(transform(image=image, label=0, bboxes=[])["image"], image)
