"""What a trainer does to its data on the way, and that the spec outlives it."""

import copy
import pickle

import pytest
import torch
from ultralytics.data.dataset import ClassificationDataset

from albu_learned.ultralytics import install
from albu_learned.ultralytics.dataset import attach
from tests.ultralytics.runs import SETTINGS, STILL, Recorder, model, spec_file, train

FLOOD = "method: Flood, p: 1, stage: {}"


def red(images):
    """The share of pixels that are red alone: the rest is the grey filling around images."""
    return ((images[:, 0] > 0.45) & (images[:, 1:].amax(1) < 0.02)).float().mean()


@pytest.mark.parametrize("stage", ["image", "sample"])
def test_mosaic_and_its_closing(stage, data, tmp_path):
    spec = spec_file(tmp_path, FLOOD.format(stage))
    settings = {**STILL, "mosaic": 1.0, "close_mosaic": 1, "epochs": 3}
    record = train("detect", data("detect"), tmp_path, spec, still=False, workers=2, **settings)
    for epoch in range(3):
        assert red(record.images(epoch)) == 1.0
        if stage == "image" and epoch < 2:
            shades = [len(image[0].unique()) for image in record.images(epoch)]
            assert max(shades) >= 3  # each of the images of a mosaic was changed by itself


def test_memory_that_runs_out(data, tmp_path):
    made = install(model("detect"), spec_file(tmp_path, FLOOD.format("sample")))
    record = Recorder().listen(made)
    failed = []

    def fail(trainer):
        last = trainer.preprocess_batch

        def once(batch):
            if not failed:
                failed.append(len(batch["img"]))
                raise RuntimeError("CUDA out of memory")
            return last(batch)

        trainer.preprocess_batch = once

    made.add_callback("on_train_start", fail)
    made.train(data=data("detect"), project=str(tmp_path), **SETTINGS, **STILL)
    assert failed == [4]
    assert [len(batch["img"]) for batch in record.epochs[0]] == [2, 2, 2, 2]
    assert red(record.images(0)) == red(record.images(1)) == 1.0


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("detect", {"cache": "ram"}),
        ("detect", {"cache": "disk", "mosaic": 1.0}),
        ("detect", {"rect": True, "multi_scale": 0.5}),
        ("classify", {"cache": "ram"}),
        ("classify", {"cache": "disk"}),
    ],
)
def test_caches_and_sizes(task, settings, data, tmp_path):
    # Half of the images are changed: those that are not show what the cache holds.
    spec = spec_file(tmp_path, "method: Flood, p: 0.5, stage: image")
    seen = []
    made = install(model(task), spec)
    record = Recorder().listen(made)
    made.add_callback("on_train_end", lambda trainer: seen.append(trainer.train_loader.dataset))
    given = {**SETTINGS, **STILL, **settings}
    made.train(data=data(task), project=str(tmp_path), **given)
    reds = torch.stack([red(batch["img"]) for e in (0, 1) for batch in record.epochs[e]])
    assert 0 < reds.mean() < 1
    assert {batch["img"].shape[-1] for batch in record.epochs[0]} <= {32, 64, 96}
    if task == "detect":
        raw = [torch.as_tensor(seen[0].load_image(i)[0]) for i in range(8)]
        assert max(image.max() - image.amin(-1).max() for image in raw) == 0  # all are grey


def test_epochs_of_an_entry(data, tmp_path):
    spec = spec_file(
        tmp_path,
        "method: Flood, p: 1, stage: sample, from_epoch: 1, until_epoch: 2",
        "method: Flood, p: 1, stage: batch, from_epoch: 2, low: 0.0, high: 0.1",
    )
    record = train("detect", data("detect"), tmp_path, spec, workers=2, epochs=3)
    assert red(record.images(0)) == 0
    assert record.images(0).amax() > 0.4
    assert red(record.images(1)) == 1
    assert 0 < record.images(2)[:, 0].amax() <= 0.1
    assert record.images(2)[:, 1:].amax() == 0


def test_another_loader_is_not_in_the_way_of_the_one_that_is_used(data, tmp_path):
    made = install(model("detect"), spec_file(tmp_path, FLOOD.format("sample") + ", from_epoch: 1"))
    record = Recorder().listen(made)

    def build(trainer):
        trainer.get_dataloader(trainer.data["train"], batch_size=4, rank=-1, mode="train")

    made.add_callback("on_train_start", build)
    made.train(data=data("detect"), project=str(tmp_path), **SETTINGS, **STILL)
    assert red(record.images(0)) == 0
    assert red(record.images(1)) == 1
    assert type(made.trainer.train_loader.dataset).__name__ == "YOLODataset"


@pytest.mark.parametrize(("task", "context"), [("detect", "spawn"), ("classify", "fork")])
def test_workers_draw_apart(task, context, data, tmp_path):
    made = install(model(task), spec_file(tmp_path, FLOOD.format("image")))
    record = Recorder(workers=2).listen(made)

    def use(trainer):
        trainer.train_loader.multiprocessing_context = context
        assert trainer.train_loader.num_workers == 2

    made.add_callback("on_train_start", use)
    made.train(data=data(task), project=str(tmp_path), **SETTINGS, **STILL)
    draws = [tuple(batch["img"][:, 0, 0, 0].tolist()) for e in (0, 1) for batch in record.epochs[e]]
    assert len(set(draws)) == len(draws) == 4
    assert all(len(set(draw)) > 1 for draw in draws)


def test_training_twice_augments_once(data, tmp_path):
    made = model("classify")
    for _ in range(2):
        install(made, spec_file(tmp_path, FLOOD.format("sample")))
        record = Recorder().listen(made)
        given = {**SETTINGS, **STILL, "epochs": 1}
        made.train(data=data("classify"), project=str(tmp_path), **given)
        assert red(record.images(0)) == 1
        ours = {"albu_learned", "preprocess_batch", "get_dataloader", "plot_training_samples"}
        assert not ours & vars(made.trainer).keys()  # taken off, so that it can train again
        used = made.trainer.train_loader.dataset
        assert type(used) is ClassificationDataset
        assert "albu_learned" not in vars(used)
        kinds = [type(each).__name__ for each in used.torch_transforms.transforms]
        assert "ToTensor" in kinds
        assert "PictureStage" not in kinds
        assert len([f for f in made.callbacks["teardown"] if "Hook" in str(f)]) == 1


@pytest.mark.parametrize("task", ["detect", "classify"])
def test_a_data_set_travels_to_workers_that_are_spawned(task, data, tmp_path):
    """Attached twice, and with its transforms built anew, it does its work once."""
    made = install(model(task), spec_file(tmp_path, FLOOD.format("sample")))
    found = []

    def look(trainer):
        loader = trainer.get_dataloader(trainer.data["train"], batch_size=4, rank=-1, mode="train")
        attach(loader.dataset, loader.dataset.albu_learned)
        if task == "detect":
            loader.dataset.close_mosaic(copy.copy(trainer.args))
        found.append(pickle.loads(pickle.dumps(loader.dataset)))
        validation = trainer.test_loader.dataset
        assert "albu_learned" not in vars(validation)
        raise KeyboardInterrupt  # enough

    made.add_callback("on_train_start", look)
    with pytest.raises(KeyboardInterrupt):
        made.train(data=data(task), project=str(tmp_path), **SETTINGS, **STILL)
    twin = found[0]
    sample = twin[1]
    assert type(twin).__name__.startswith("Learned")
    assert sample["albu_learned"].tolist() == [[1, 1]]
    image = sample["img"].float()[None] / (1 if task == "classify" else 255)
    assert red(image) == 1
    assert isinstance(copy.deepcopy(twin), type(twin))
