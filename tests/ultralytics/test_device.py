"""Learned methods on a batch of Ultralytics: every object of the batch is where its pixels are."""

import copy

import numpy as np
import pytest
import torch
from ultralytics.data.augment import Format
from ultralytics.data.dataset import YOLODataset
from ultralytics.utils.ops import xywh2xyxy, xywhr2xyxyxyxy

from albu_learned import Mix, ZetaMixup
from albu_learned.ultralytics.device import change_batch, change_classified
from albu_learned.ultralytics.sample import change_labels
from tests.toys import ClassShift
from tests.ultralytics import scenes
from tests.ultralytics.scenes import at_work

WARPS = {
    "rotate": scenes.rotate(20),
    "bend": scenes.bend(0.06),
    "shift": scenes.shift(0.07, -0.03),
}
SIZE = (96, 128)
OBJECTS = [  # of each picture: the class of an object is its place here, and its colour
    [scenes.rectangle(40, 28, 66, 44), scenes.rectangle(72, 50, 96, 70)],
    [],
    [scenes.rectangle(36, 56, 54, 72)],
]


def collated(pictures, task="detect", size=SIZE, **options):
    """What the host's `preprocess_batch` returns for these objects."""
    form = {"segment": "return_mask", "pose": "return_keypoint", "obb": "return_obb"}.get(task)
    formed = Format(**({form: True} if form else {}), **options)
    polygonal = task in ("segment", "obb")
    samples = []
    for polygons in pictures:
        keypoints = np.zeros((0, 4, 3), np.float32)
        if polygons:
            corners = np.stack([np.floor(polygon) for polygon in polygons])
            keypoints = np.concatenate([corners, np.full((*corners.shape[:2], 1), 2.0)], axis=2)
        keypoints = keypoints.astype(np.float32) if task == "pose" else None
        samples.append(formed(scenes.labels_of(polygons, size, polygonal, keypoints, 100)))
    batch = YOLODataset.collate_fn(samples)
    batch["img"] = batch["img"].float() / 255
    return batch


def pictures_of(batch):
    """Images as the host's arrays."""
    rows = (batch["img"] * 255).round().byte().flip(1)
    return rows.permute(0, 2, 3, 1).numpy()


def corners_in_pixels(batch):
    height, width = batch["img"].shape[2:]
    return xywh2xyxy(batch["bboxes"]).numpy() * [width, height, width, height]


class Fade(Mix):
    """Every image, with a share of the one behind it."""

    citation = "@misc{fade}"

    def __init__(self, share=0.3, **options):
        super().__init__(**options)
        self.share = share

    def draw(self, rows, generator=None, device=None):
        return {"none": torch.zeros(rows, device=device)}

    def plan(self, batch, noise):
        own = torch.arange(len(batch))
        index = torch.stack([own, own.roll(-1)], dim=1)
        return {"index": index, "weight": torch.tensor([[1 - self.share, self.share]] * len(own))}


def test_a_warp_moves_boxes_with_the_pixels():
    for name, warp in WARPS.items():
        batch = collated(OBJECTS)
        assert change_batch(at_work(warp), batch, "detect") == 3, name
        assert batch["batch_idx"].tolist() == [0, 0, 2]
        assert batch["cls"].tolist() == [[0], [1], [0]]
        images = pictures_of(batch)
        rows = zip(batch["batch_idx"], batch["cls"], corners_in_pixels(batch), strict=True)
        for image, number, box in rows:
            pixels = scenes.seen(images[int(image)], scenes.COLOURS[int(number)])
            assert np.abs(box - scenes.extent(pixels)).max() < 1.5, name


@pytest.mark.parametrize("warp", WARPS)
@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb"])
def test_a_batch_is_changed_as_its_samples_are(task, warp):
    """The same warp before the host's Format and behind it."""
    step = at_work(WARPS[warp])
    given = [[*OBJECTS[0]], [scenes.bar(60, 48, 44, 14, 25)]]
    if task == "segment":
        given = [[polygon * 2.5 for polygon in polygons] for polygons in given]
    size = (240, 320) if task == "segment" else SIZE
    form = {"segment": {"return_mask": True, "mask_ratio": 2}, "pose": {"return_keypoint": True}}
    formed, samples = Format(**form.get(task, {}), return_obb=task == "obb"), []
    batch = collated(given, task, size, **({"mask_ratio": 2} if task == "segment" else {}))
    for polygons in given:
        keypoints = None
        if task == "pose":
            seen = np.full((len(polygons), 4, 1), 2.0, np.float32)
            keypoints = np.concatenate([np.floor(np.stack(polygons)), seen], axis=2)
        polygonal = task in ("segment", "obb")
        labels = scenes.labels_of(polygons, size, polygonal, keypoints, 100)
        change_labels(step, labels, oriented=task == "obb")
        samples.append(formed(labels))
    expected = YOLODataset.collate_fn(samples)
    assert change_batch(step, batch, task) == 2
    assert set(batch) == set(expected)
    for key in ("batch_idx", "cls"):
        assert torch.equal(batch[key], expected[key])
    assert (batch["img"] - expected["img"] / 255).abs().mean() < 0.01
    apart = (batch["bboxes"] - expected["bboxes"]).abs()
    assert apart.max() < (0.025 if task == "segment" else 0.012)  # masks are drawn small
    if task == "pose":
        assert (batch["keypoints"] - expected["keypoints"]).abs().max() < 1e-5
    if task == "segment":
        assert batch["masks"].dtype == expected["masks"].dtype
        assert (batch["masks"] != expected["masks"]).float().mean() < 0.02
        on = (batch["masks"] > 0) & (expected["masks"] > 0)
        assert torch.equal(batch["sem_masks"][on], expected["sem_masks"][on])


def test_oriented_boxes_cover_their_bars():
    for size in ((128, 128), (112, 144)):
        for warp in ("rotate", "shift"):
            batch = collated([[scenes.bar(62, 60, 40, 12, 30)]], "obb", size)
            change_batch(at_work(WARPS[warp]), batch, "obb")
            scale = torch.tensor([*size[::-1]] * 2)
            box = torch.cat([batch["bboxes"][0, :4] * scale, batch["bboxes"][0, 4:]])
            pixels = scenes.seen(pictures_of(batch)[0], scenes.COLOURS[0])
            wide = torch.cat([box[:2], box[2:4] + 1.5, box[4:]])
            assert not (pixels & ~scenes.inside(xywhr2xyxyxyxy(wide).numpy(), size)).any()
            assert box[2] * box[3] < 1.25 * pixels.sum()


@pytest.mark.parametrize("columns", [2, 3])
def test_keypoints_that_leave_are_not_visible(columns):
    batch = collated(OBJECTS, "pose")
    batch["keypoints"] = batch["keypoints"][..., :columns]
    change_batch(at_work(scenes.shift(0.3, 0)), batch, "pose")
    assert batch["keypoints"].shape == (3, 4, columns)
    expected = torch.tensor([[40, 28], [66, 28], [66, 44], [40, 44]]) / torch.tensor([128, 96])
    assert torch.allclose(batch["keypoints"][0, :, :2], expected + torch.tensor([0.3, 0]))
    if columns == 3:
        assert batch["keypoints"][1, :, 2].tolist() == [2, 0, 0, 2]
    assert batch["keypoints"][..., 0].max() <= 1


@pytest.mark.parametrize("overlap", [True, False])
def test_what_leaves_is_dropped_with_all_its_rows(overlap):
    batch = collated(OBJECTS, "segment", mask_overlap=overlap)
    change_batch(at_work(scenes.shift(-0.53, 0)), batch, "segment")
    assert batch["batch_idx"].tolist() == [0]
    big = collated([[scenes.rectangle(72 - 67.84, 50, 96 - 67.84, 70)], [], []], "segment")
    assert torch.allclose(batch["bboxes"], big["bboxes"], atol=1e-5)
    assert batch["masks"].shape == ((3, 24, 32) if overlap else (1, 24, 32))
    assert batch["masks"][0].max() == 1  # it has become the first
    assert (batch["masks"][0] != big["masks"][0]).float().mean() < 0.02
    assert batch["cls"].tolist() == [[1]]
    present = batch["masks"][0] > 0
    assert (batch["sem_masks"][0][present] == batch["cls"][0, 0]).all()
    assert not batch["masks"][1:].any()


def test_numbers_close_up_in_maps():
    batch = collated(OBJECTS, "segment")
    assert batch["cls"].tolist() == [[1], [0], [0]]  # the larger is the first
    change_batch(at_work(scenes.shift(0.5, 0)), batch, "segment")
    assert batch["cls"].tolist() == [[0], [0]]
    assert batch["masks"].flatten(1).amax(dim=1).tolist() == [1, 0, 1]
    assert not batch["sem_masks"].any()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb"])
def test_pictures_that_are_not_chosen_keep_every_bit(task, seed):
    torch.manual_seed(seed)
    tiny = scenes.rectangle(3, 3, 4, 4)  # which the host would drop, had it been moved
    pictures = [[*polygons, tiny] for polygons in OBJECTS * 3]
    batch = collated(pictures, task)
    before = copy.deepcopy(batch)
    changed = change_batch(at_work(scenes.shift(0.07, 0), p=0.5), batch, task)
    moved = (batch["img"] != before["img"]).flatten(1).any(dim=1)
    assert 0 < changed < 9
    assert int(moved.sum()) == changed
    for image in (~moved).nonzero()[:, 0].tolist():
        now, then = batch["batch_idx"] == image, before["batch_idx"] == image
        for key in ("cls", "bboxes", "keypoints"):
            if key in batch:
                assert torch.equal(batch[key][now], before[key][then])
        for key in ("masks", "sem_masks"):
            if key in batch:
                assert torch.equal(batch[key][image], before[key][image])
    for image in moved.nonzero()[:, 0].tolist():
        assert (batch["batch_idx"] == image).sum() == (before["batch_idx"] == image).sum() - 1
    assert batch["im_file"] == before["im_file"]


def test_nothing_happens_without_luck():
    for method in (scenes.shift(0.1, 0), ZetaMixup(), scenes.RedBoxes()):
        batch = collated(OBJECTS, "segment")
        before = dict(batch)
        assert change_batch(at_work(method, p=0.0), batch, "segment") == 0
        assert all(torch.equal(batch[k], before[k]) for k in ("img", "masks", "bboxes", "cls"))


def test_masks_of_another_size_than_the_picture():
    """As multi_scale leaves them."""
    for overlap in (True, False):
        batch = collated([OBJECTS[0]], "segment", mask_overlap=overlap)
        batch["img"] = torch.nn.functional.interpolate(batch["img"], size=(64, 160))
        change_batch(at_work(WARPS["rotate"]), batch, "segment")
        assert batch["img"].shape == (1, 3, 64, 160)
        masks = (
            batch["masks"] if not overlap else torch.stack([batch["masks"][0] == k for k in (1, 2)])
        )
        image = torch.nn.functional.interpolate(batch["img"], size=masks.shape[-2:], mode="area")
        for number, mask in zip(batch["cls"][:, 0], masks, strict=True):
            colour = torch.tensor(scenes.COLOURS[int(number)].astype(int)).flip(0)[:, None, None]
            pixels = (image[0] * 255 - colour).abs().amax(dim=0) < 128
            assert (pixels & (mask > 0)).sum() / (pixels | (mask > 0)).sum() > 0.75


def ellipse(x, y, width, height):
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    points = np.stack([x + width / 2 * np.cos(t), y + height / 2 * np.sin(t)], axis=1)
    return points.astype(np.float32)


@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("ratio", [1, 4])
def test_a_box_is_that_of_its_mask_where_it_was(overlap, ratio):
    pictures = [[ellipse(64, 48, 60, 60), ellipse(20, 20, 20, 24)], [], [ellipse(64, 48, 80, 30)]]
    batch = collated(pictures, "segment", mask_overlap=overlap, mask_ratio=ratio)
    change_batch(at_work(scenes.rotate(35)), batch, "segment")
    boxes = corners_in_pixels(batch) / ratio
    assert len(boxes) == 3
    for row, (image, box) in enumerate(zip(batch["batch_idx"].int().tolist(), boxes, strict=True)):
        number = row - batch["batch_idx"].int().tolist().index(image) + 1
        mask = batch["masks"][image] == number if overlap else batch["masks"][row] > 0
        tight = scenes.extent(mask.numpy())
        assert np.abs(box - tight).max() <= 1.01
        if ratio == 1:
            assert _area(box) / _area(tight) < 1.1


def _area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def test_a_hidden_object_keeps_the_box_around_its_own():
    left, over = scenes.rectangle(40, 30, 88, 66), scenes.rectangle(64, 28, 90, 68)
    for overlap in (True, False):
        batch = collated([[left, over]], "segment", mask_overlap=overlap, mask_ratio=1)
        plain = {key: batch[key] for key in ("img", "cls", "bboxes", "batch_idx")}
        for given, task in ((batch, "segment"), (plain, "detect")):
            change_batch(at_work(scenes.rotate(35)), given, task)
        assert torch.allclose(batch["bboxes"], plain["bboxes"], atol=1.01 / 96)
        assert torch.equal(batch["bboxes"][0], plain["bboxes"][0])


# Mixes.


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb"])
@pytest.mark.parametrize("method", [ZetaMixup(min_weight=0.05), ZetaMixup(top_k=2), Fade(0.5)])
def test_a_mix_sums_images_and_unites_objects(method, task):
    torch.manual_seed(1)
    pictures = [*OBJECTS, [scenes.bar(60, 48, 44, 14, 25)]]
    batch = collated(pictures, task)
    before = copy.deepcopy(batch)
    plans, plan = [], method.plan
    method.plan = lambda *given: plans.append(plan(*given)) or plans[-1]
    assert change_batch(at_work(method), batch, task) == 4
    del method.plan
    W = torch.zeros(4, 4, dtype=torch.float64)
    W.scatter_add_(1, plans[0]["index"], plans[0]["weight"].double())
    expected = torch.einsum("ij,jchw->ichw", W, before["img"].double())
    assert (batch["img"] - expected).abs().max() < 1e-6
    assert (batch["batch_idx"].diff() >= 0).all()
    for image in range(4):
        own = W[image].argmax()
        given = [j for j in range(4) if W[image, j] >= method.min_weight or j == own]
        rows = torch.cat([(before["batch_idx"] == j).nonzero()[:, 0] for j in given])
        got = (batch["batch_idx"] == image).nonzero()[:, 0]
        for key in ("cls", "bboxes", "keypoints"):
            if key in batch:
                assert batch[key].dtype == before[key].dtype
                assert _same_rows(batch[key][got], before[key][rows])


def _same_rows(one, other):
    return sorted(one.flatten(1).tolist()) == sorted(other.flatten(1).tolist())


def test_zeros_for_a_box_are_not_taken_for_padding():
    batch = collated(OBJECTS)
    batch["bboxes"][1] = 0
    change_batch(at_work(Fade(0.5)), batch, "detect")
    assert len(batch["bboxes"]) == 2 * 3


BIG, SMALL = scenes.rectangle(20, 16, 100, 80), scenes.rectangle(48, 32, 80, 56)
APART = scenes.rectangle(4, 4, 16, 12)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("overlap", [True, False])
def test_the_smaller_object_is_on_top(overlap, flip):
    pictures = [[BIG, APART], [SMALL]]
    batch = collated(pictures[::-1] if flip else pictures, "segment", mask_overlap=overlap)
    classes = torch.tensor([5.0, 6.0, 7.0])[:, None]  # of big, apart and small
    batch["cls"] = classes.roll(1, dims=0) if flip else classes
    alone = collated([[BIG], [APART], [SMALL]], "segment")["masks"] > 0
    dtype = batch["masks"].dtype
    change_batch(at_work(Fade(0.5)), batch, "segment", overlap)
    assert batch["masks"].dtype == dtype
    for image in range(2):
        rows = (batch["batch_idx"] == image).nonzero()[:, 0]
        assert sorted(batch["cls"][rows, 0].tolist()) == [5, 6, 7]
        hidden = {5: alone[0] & ~alone[2], 6: alone[1], 7: alone[2]}
        for number, row in enumerate(rows.tolist()):
            name = int(batch["cls"][row, 0])
            if overlap:
                assert torch.equal(batch["masks"][image] == number + 1, hidden[name])
            else:
                assert torch.equal(batch["masks"][row] > 0, alone[name - 5])
            assert (batch["sem_masks"][image][hidden[name]] == name).all()
        bare = ~alone.any(dim=0)
        assert batch["sem_masks"][image][bare].unique().tolist() == [0]


def test_semantic_masks_are_those_of_the_host():
    for overlap in (True, False):
        batch = collated([[BIG, APART], [SMALL], []], "segment", mask_overlap=overlap)
        host = batch["sem_masks"].clone()
        maps = collated([[BIG, APART], [SMALL], []], "segment")["masks"]
        batch["sem_masks"] = torch.full_like(host, 9)
        change_batch(at_work(scenes.rotate(0)), batch, "segment")
        on = maps > 0
        assert torch.equal(batch["sem_masks"][on], host[on])
        assert batch["sem_masks"].dtype == host.dtype


def test_more_objects_than_a_byte_holds():
    number = torch.arange(160)
    maps = torch.stack([160 - number, number + 1]).view(2, 16, 10).byte()
    maps[1, :8] = 0  # so that half of the first shows
    batch = {
        "img": torch.rand(2, 3, 16, 10),
        "cls": torch.arange(320.0)[:, None],
        "bboxes": torch.tensor([[0.5, 0.5, 0.1, 0.1]]).repeat(320, 1),
        "batch_idx": torch.arange(2.0).repeat_interleave(160),
        "masks": maps,
        "sem_masks": torch.zeros(2, 16, 10),
    }
    change_batch(at_work(Fade(0.5)), batch, "segment")
    assert batch["masks"].dtype == torch.int32
    first, second = batch["masks"].flatten(1).tolist()
    assert first == list(range(160, 0, -1))  # of equals the first is on top
    assert second[:80] == list(range(320, 240, -1))
    assert second[80:] == list(range(81, 161))
    assert batch["sem_masks"][1].flatten()[:80].tolist() == list(range(159, 79, -1))


def test_as_many_masks_as_pictures():
    """The two forms are told apart, where nothing says which it is."""
    for overlap in (True, False):
        batch = collated([[BIG, APART], []], "segment", mask_overlap=overlap)
        twin = copy.deepcopy(batch)
        change_batch(at_work(scenes.rotate(7)), batch, "segment")
        change_batch(at_work(scenes.rotate(7)), twin, "segment", overlap)
        assert torch.equal(batch["masks"], twin["masks"])
        assert batch["masks"].max() == (2 if overlap else 1)


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb"])
@pytest.mark.parametrize("overlap", [True, False])
def test_batches_without_objects_and_of_one_picture(task, overlap):
    options = {"mask_overlap": overlap} if task == "segment" else {}
    for pictures in ([[], []], [[]], [OBJECTS[0]]):
        for method in (ZetaMixup(), Fade(), WARPS["rotate"], scenes.RedBoxes()):
            batch = collated(pictures, task, **options)
            before = copy.deepcopy(batch)
            alone = isinstance(method, Mix) and len(pictures) == 1
            changed = change_batch(at_work(method), batch, task)
            assert changed == (0 if alone else len(pictures))
            assert len(batch["cls"]) == sum(map(len, pictures))
            for key in ("cls", "bboxes", "batch_idx", "masks", "sem_masks", "keypoints"):
                if key in batch:
                    assert batch[key].shape == before[key].shape, key
                    assert batch[key].dtype == before[key].dtype, key


def test_a_generator_paints_boxes_and_moves_nothing():
    batch = collated(OBJECTS)
    batch["img"] *= 0
    before = copy.deepcopy(batch)
    change_batch(at_work(scenes.RedBoxes()), batch, "detect")
    for image, polygons in enumerate(OBJECTS):
        red = np.zeros(SIZE, bool)
        for polygon in polygons:
            red |= scenes.inside(polygon, SIZE)
        assert np.array_equal(batch["img"][image, 0].numpy(), red)
    assert not batch["img"][:, 1:].any()
    assert all(batch[key] is not None for key in before)
    assert torch.equal(batch["bboxes"], before["bboxes"])


class Learned(scenes.Fixed):
    def __init__(self):
        super().__init__(lambda rows: scenes.RotateField(0.3, rows))
        self.centre = torch.nn.Parameter(torch.zeros(2))

    def field(self, plan):
        field = super().field(plan)
        field.matrix = field.matrix + self.centre
        return field


def test_parameters_get_no_gradient_and_autocast_does_not_reach():
    for method in (Learned(), Fade(0.3)):
        batch = collated(OBJECTS, "pose")
        exact = copy.deepcopy(batch)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            change_batch(at_work(method), batch, "pose")
        change_batch(at_work(method), exact, "pose")
        for key in ("img", "bboxes", "keypoints"):
            assert not batch[key].requires_grad
            assert torch.equal(batch[key], exact[key])
            assert batch[key].dtype == torch.float32


def test_refusals():
    batch = collated(OBJECTS)
    with pytest.raises(ValueError, match=r"`task` must be one of .*, got 'depth'"):
        change_batch(at_work(ZetaMixup()), batch, "depth")
    batch["texts"] = [["a"], ["b"], ["c"]]
    with pytest.raises(ValueError, match=r"toy.yaml:1: ZetaMixup .*'texts'"):
        change_batch(at_work(ZetaMixup()), batch, "detect")


# Classifiers.

CLASSIFIER = {"parts": frozenset({"images", "labels"}), "num_classes": 3}


def test_classes_become_soft_by_a_mix_alone():
    torch.manual_seed(0)
    images, labels = torch.rand(3, 3, 8, 8), torch.tensor([0, 2, 1])
    batch = {"img": images, "cls": labels}
    assert change_classified(at_work(Fade(0.25, num_classes=3), **CLASSIFIER), batch) == 3
    expected = [[0.75, 0, 0.25], [0, 0.25, 0.75], [0.25, 0.75, 0]]
    assert torch.allclose(batch["cls"], torch.tensor(expected))
    assert torch.allclose(batch["img"], 0.75 * images + 0.25 * images.roll(-1, dims=0))
    again = dict(batch)  # soft labels can be mixed once more
    change_classified(at_work(Fade(0.25, num_classes=3), **CLASSIFIER), again)
    assert torch.allclose(again["cls"].sum(dim=1), torch.ones(3))
    rare = {"img": images, "cls": labels}
    assert change_classified(at_work(Fade(num_classes=3), p=0.0, **CLASSIFIER), rare) == 0
    assert rare["cls"].tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]


def test_a_warp_of_classified_images_leaves_their_classes():
    warp = ClassShift(3)
    warp.shift.data[:, 0] = torch.tensor([0.0, 0.25, 0.5])
    images, labels = torch.rand(3, 3, 8, 8), torch.tensor([0, 2, 1])
    batch = {"img": images, "cls": labels}
    assert change_classified(at_work(warp, **CLASSIFIER), batch) == 3
    assert batch["cls"] is labels
    assert torch.allclose(batch["img"][0], images[0])
    assert torch.allclose(batch["img"][1, :, :, 4:], images[1, :, :, :4], atol=1e-5)
    assert torch.allclose(batch["img"][2, :, :, 2:], images[2, :, :, :6], atol=1e-5)
