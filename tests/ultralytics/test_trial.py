"""Trials: what has to be the same for all arms of a comparison is the same."""

import logging
import multiprocessing
import os
import random
from itertools import chain
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import yaml
from ultralytics.data import utils as data_utils
from ultralytics.utils import DEFAULT_CFG_DICT, USER_CONFIG_DIR, checks, plotting
from ultralytics.utils import SETTINGS as SETTINGS_OF_YOLO
from ultralytics.utils.callbacks import default_callbacks

from albu_learned.spec import read
from albu_learned.ultralytics import trial, trial_trainer
from albu_learned.ultralytics.trial import PLAIN, RECIPE, train_detector
from tests.ultralytics.runs import spec_file
from tests.ultralytics.trials import CLASSES, COUNT, Record, make, same, settings

# Arguments of Ultralytics that do not change training samples, or only where PLAIN has already
# switched off what they belong to (copy_paste_mode). A key in neither list is new: sort it.
OTHER = """
task mode model data epochs time patience batch imgsz save save_period cache device workers project
name exist_ok pretrained cls_remap optimizer verbose seed deterministic single_cls rect cos_lr
resume amp fraction profile freeze compile channels_last overlap_mask mask_ratio dropout val split
save_json conf iou max_det quantize dnn plots nms source vid_stride stream_buffer visualize augment
agnostic_nms classes retina_masks embed show save_frames save_txt save_conf save_crop show_labels
show_conf show_boxes line_width format optimize dynamic simplify opset workspace lr0 lrf momentum
weight_decay warmup_epochs warmup_momentum warmup_bias_lr distill_model dis box cls cls_pw dfl pose
kobj rle angle dlog dgrad dlam nbs copy_paste_mode cfg tracker end2end keras
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("trial")


@pytest.fixture(scope="module")
def images(place):
    return make(place / "data")


@pytest.fixture(scope="module")
def train(place, images):
    """A function that trains an arm in a folder of its own, and gives its record."""

    def run(seed=0, workers=0, images=images, folder=None, **given):
        changed = {key: given.pop(key) for key in list(given) if key in SETTINGS}
        record = Record(workers)
        folder = folder or place / f"run{len(list(place.iterdir()))}"
        with record.listening():
            shared = settings(place / "data", **changed)
            record.weights = train_detector(shared, images, CLASSES, seed, folder, **given)
        return record

    return run


SETTINGS = ("model", "steps", "batch", "learning_rate")


@pytest.fixture(scope="module")
def arms(place, train):
    """Trainings of one seed that are augmented in as many ways as can be."""
    flood = spec_file(place, "method: Flood, p: 0.5, until_epoch: 1", "method: ZetaMixup")
    spec = read(flood)
    return {
        "plain": train(),
        "recipe": train(overrides=RECIPE),
        "spec": train(spec=spec),
        "workers": train(spec=spec, overrides=RECIPE, workers=2),
        "closing": train(overrides={**RECIPE, "close_mosaic": 50}, workers=2),  # in its second
        "diluted": train(overrides=RECIPE, plain_share=0.5),
        "all": train(spec=spec, overrides={"mixup": 0.5, "mosaic": 0.5}, plain_share=0.3),
    }


def test_initial_weights_are_those_of_the_seed(arms, train):
    assert len({record.start for record in arms.values()}) == 1
    assert train(seed=1).start != arms["plain"].start


def test_weights_that_are_given_are_where_all_begin(arms, train):
    weights = str(arms["plain"].weights)
    one, other = train(model=weights, steps=1), train(model=weights, steps=1, overrides=RECIPE)
    assert one.start == other.start != arms["plain"].start


def test_batches_are_those_of_the_seed(arms, train):
    first = arms["plain"].batches
    assert all(record.batches == first for record in arms.values())
    assert [len(names) for names in first] == [3, 3, 1, 3, 3]
    whole = sorted(f"{number}.png" for number in range(COUNT))
    assert sorted(chain(*first[:3])) == whole
    assert first[:2] != first[3:]  # another order in another epoch
    assert train(seed=1).batches != first


def test_order_of_the_given_images_does_not_matter(arms, train, images):
    assert same(train(images=images[::-1]).weights, arms["plain"].weights)


def test_arms_are_augmented(arms):
    plain = torch.cat(arms["plain"].images)
    for name in set(arms) - {"plain"}:
        assert not torch.equal(torch.cat(arms[name].images), plain), name
    assert not same(arms["plain"].weights, arms["recipe"].weights)


def test_steps_and_learning_rates_are_the_same(arms):
    for record in arms.values():
        assert record.steps == 5
        assert record.rates == arms["plain"].rates
        assert record.epochs == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("steps", "batch", "sizes"),
    [
        (1, 2, [2]),
        (3, 50, [7, 7, 7]),  # more than there are
        (8, 2, [2, 2, 2, 1, 2, 2, 2, 1]),
        (21, 4, [4, 3] * 10 + [4]),  # longer than the warm-up
    ],
)
def test_every_batch_is_a_step(train, steps, batch, sizes):
    record = train(steps=steps, batch=batch)
    assert record.steps == steps
    assert [len(names) for names in record.batches] == sizes


def test_rate_warms_up_and_falls(train):
    rates = [rate[0] for rate in train(steps=21, batch=4).rates]
    assert rates[0] == 0 < rates[1] < rates[2] == max(rates)
    assert rates[-1] < 0.2 * max(rates)


def test_nothing_is_validated(arms):
    assert not any(record.validations for record in arms.values())


def test_bfloat16_needs_neither_a_check_nor_a_scaler(place, images, tmp_path, monkeypatch):
    def autocast(enabled, device):
        assert enabled is torch.bfloat16
        return torch.autocast(device, enabled)

    def check(*_):
        raise AssertionError("downloads a model")

    monkeypatch.setattr("ultralytics.engine.trainer.autocast", autocast)  # wants a GPU
    monkeypatch.setattr("ultralytics.engine.trainer.check_amp", check)
    shared = settings(place / "data", amp=True, device="0")
    object.__setattr__(shared, "device", "cpu")
    with Record().listening() as record:
        train_detector(shared, images, CLASSES, 0, tmp_path)
    assert not record.trainer.scaler.is_enabled()
    assert record.steps == 5


def test_same_call_gives_the_same_weights(arms, train, place):
    spec = read(place / "spec.yaml")
    again = train(spec=spec, overrides={"mixup": 0.5, "mosaic": 0.5}, plain_share=0.3)
    assert same(again.weights, arms["all"].weights)
    assert same(train(overrides=RECIPE).weights, arms["recipe"].weights)


def test_other_processes_train_the_same(arms, place, images):
    given = (settings(place / "data"), images, CLASSES, 0, place / "spawned", None, RECIPE)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert same(pool.apply(train_detector, given), arms["recipe"].weights)


def test_plain_is_the_image_itself(arms, images):
    paths = {path.name: path for path in images}
    for name, image in arms["plain"].epoch(0).items():
        found = (image.permute(1, 2, 0) * 255).round().byte().numpy()
        assert np.array_equal(found, cv2.imread(str(paths[name])))


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_share_is_plain_in_every_epoch(train, share):
    mosaic = {"mosaic": 1.0, "scale": 0.5, "close_mosaic": 50}  # the last two epochs without
    record = train(overrides=mosaic, plain_share=share, steps=4, batch=COUNT)
    undisturbed = train(steps=1, batch=COUNT).epoch(0)
    counts = []
    for epoch in range(4):
        shown = record.epoch(epoch)
        counts.append(sum(torch.equal(shown[name], undisturbed[name]) for name in shown))
    assert all(counts)
    assert (sum(counts) == 4 * COUNT) == (share == 1.0)
    assert len(set(counts)) > 1 or share == 1.0  # drawn for each sample


def test_plain_is_spared_by_the_spec(train, tmp_path):
    spec = read(spec_file(tmp_path, "method: Flood, p: 1, stage: image"))
    images = torch.cat(train(spec=spec, plain_share=0.5, steps=9).images)
    red = images[:, 1].amax(dim=(1, 2)) == 0
    assert 0 < red.sum() < len(images)


def test_share_that_does_nothing_raises(train, monkeypatch):
    monkeypatch.setattr(trial_trainer, "dilute", lambda *_: None)
    with pytest.raises(RuntimeError, match=r"`plain_share` must have an effect, got 0\.5"):
        train(plain_share=0.5)


def test_mosaic_of_the_recipe_ends_as_late_as_by_default(train):
    closed = {}
    for steps in (1, 10):  # as many epochs
        record = train(overrides=RECIPE, steps=steps, batch=COUNT)
        closed[steps] = record.trainer.args.close_mosaic
        assert record.trainer.args.mosaic == 1.0
    assert closed == {1: 0, 10: 1}


def test_every_argument_of_ultralytics_is_known():
    known = {*PLAIN, *OTHER.split()}
    new = set(DEFAULT_CFG_DICT) - known
    assert not new, "do these augment? Then switch them off in PLAIN; else add them to OTHER"
    assert not set(PLAIN) & set(OTHER.split())
    assert all(RECIPE[key] == DEFAULT_CFG_DICT.get(key) for key in PLAIN)
    assert RECIPE["mosaic"] == 1.0
    assert RECIPE["augmentations"] is None


def files(*folders):
    return {
        path: (path.stat().st_mtime_ns, path.stat().st_size)
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_nothing_is_written_or_asked_for_elsewhere(train, place, images, tmp_path, monkeypatch):
    def ask(*_):
        raise AssertionError("asks the network")

    for module, name in (
        (data_utils, "check_font"),
        (plotting, "check_font"),
        (checks, "check_pip_update_available"),
    ):
        monkeypatch.setattr(module, name, ask)
    monkeypatch.setattr("socket.getaddrinfo", ask)
    monkeypatch.setattr("ultralytics.utils.downloads.safe_download", ask)
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    watched = (place / "data", tmp_path / "cwd", USER_CONFIG_DIR)
    before = files(*watched)
    record = train(overrides=RECIPE, folder=tmp_path / "run", steps=1)
    shared = settings(place / "data")
    trial.test_detector(record.weights, images, CLASSES, shared, tmp_path / "run")
    trial.sample_batch(shared, images, CLASSES, 0, tmp_path / "run")
    assert files(*watched) == before
    assert data_utils.check_font is plotting.check_font is ask  # put back
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"train", "test", "sample"}
    assert record.weights.is_relative_to(tmp_path / "run")


def test_telemetry_and_loggers_are_left_out(train, place, images, monkeypatch, tmp_path):
    told = []
    events = ("on_pretrain_routine_start", "on_train_start", "on_train_end", "on_val_start")
    monkeypatch.setattr("ultralytics.utils.events.callbacks", dict.fromkeys(events, told.append))
    monkeypatch.setattr("ultralytics.utils.callbacks.base.import_module", None)  # of loggers
    monkeypatch.setitem(SETTINGS_OF_YOLO, "wandb", True)
    record = train(steps=1)
    trial.test_detector(record.weights, images, CLASSES, settings(place / "data"), tmp_path)
    assert told.append in record.trainer.callbacks["on_train_start"]  # Ultralytics adds it
    assert not told


def test_labels_are_read_anew(train, tmp_path):
    """Ultralytics knows changed labels by the size of their files."""
    images = make(tmp_path / "data", 3)
    first = train(images=images, folder=tmp_path / "run", steps=1)
    label = tmp_path / "data" / "labels" / "0.txt"
    label.write_text("1" + label.read_text()[1:])
    second = train(images=images, folder=tmp_path / "run", steps=1)
    given = [record.trainer.train_loader.dataset.labels[0]["cls"] for record in (first, second)]
    assert [value.item() for value in given] == [0, 1]


def test_subset_is_all_that_is_seen(train, images):
    record = train(images=images[2:4], steps=2)
    assert set(chain(*record.batches)) == {"2.png", "3.png"}
    described = yaml.safe_load((record.weights.parents[2] / "data.yaml").read_text())
    assert described["names"] == {0: "low", 1: "high"}


@pytest.fixture
def globals_():
    """The settings of a process that wants something else than Ultralytics."""
    torch.use_deterministic_algorithms(True, warn_only=False)
    torch.backends.cudnn.deterministic = True
    torch.utils.deterministic.fill_uninitialized_memory = False
    os.environ["PYTHONHASHSEED"] = "77"
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False
    torch.utils.deterministic.fill_uninitialized_memory = True
    del os.environ["PYTHONHASHSEED"]


def everything():
    return SimpleNamespace(
        strict=torch.are_deterministic_algorithms_enabled(),
        warn=torch.is_deterministic_algorithms_warn_only_enabled(),
        cudnn=torch.backends.cudnn.deterministic,
        fill=torch.utils.deterministic.fill_uninitialized_memory,
        threads=torch.get_num_threads(),
        environment=dict(os.environ),
        place=os.getcwd(),
        python=random.getstate(),
        numpy=str(np.random.get_state()),
        torch=torch.get_rng_state().tolist(),
        level=logging.getLogger("ultralytics").level,
    )


def test_process_is_left_as_it_was(train, place, images, arms, tmp_path, globals_, capfd):
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 3)
    try:
        before = everything()
        shared = settings(place / "data")
        train(overrides=RECIPE, steps=1)
        trial.test_detector(arms["plain"].weights, images, CLASSES, shared, tmp_path)
        trial.sample_batch(shared, images, CLASSES, 0, tmp_path)
        assert everything() == before
    finally:
        torch.set_num_threads(threads)
    assert capfd.readouterr() == ("", "")


def test_interrupt_passes_through(train):
    def interrupt(_):
        raise KeyboardInterrupt

    before = everything()
    default_callbacks["on_train_batch_end"].append(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            train()
    finally:
        default_callbacks["on_train_batch_end"].remove(interrupt)
    assert everything() == before


def test_detector_finds_what_it_has_learned(train, place, images, tmp_path):
    record = train(steps=120, batch=2, learning_rate=0.02)  # 30 epochs, each of which is saved
    given = (CLASSES, settings(place / "data"), tmp_path)
    found = trial.test_detector(record.weights, images, *given)
    assert 0.2 < found["map50_95"] <= found["map50"] <= 1
    assert 0.2 < found["f1"] <= 1
    assert trial.test_detector(record.weights, images, *given) == found
    low = trial.test_detector(record.weights, images[:1], *given)
    assert low != found  # other images


def test_picture_shows_the_batch_that_is_trained_on(place, images, tmp_path):
    shared = settings(place / "data", batch=4)
    flood = read(spec_file(tmp_path, "method: Flood, p: 1, stage: image"))
    paths = [
        trial.sample_batch(shared, images, CLASSES, 0, tmp_path / name, spec=spec)
        for name, spec in (("plain", None), ("flood", flood))
    ]
    plain, red = (cv2.imread(str(path)) for path in paths)
    assert plain.shape == red.shape == (640, 640, 3)
    assert np.median(red[..., 1]) < 20 < np.median(red[..., 2])
    assert not any(
        path.parent.rglob("*.pt") for path in paths for path in path.parent.rglob("*.pt")
    )


def test_out_of_memory_is_no_smaller_batch(train, monkeypatch):
    def fail(*_):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr("ultralytics.nn.tasks.DetectionModel.loss", fail)
    with pytest.raises(MemoryError, match="`batch` must fit into the memory of cpu"):
        train()


def test_divergence_is_told(train, monkeypatch):
    before = trial_trainer.Trial.optimizer_step

    def spoil(self):
        before(self)
        for weight in self.model.parameters():
            weight.data.mul_(torch.nan)

    monkeypatch.setattr(trial_trainer.Trial, "optimizer_step", spoil)
    with pytest.raises(FloatingPointError, match="The loss must stay finite, got nan at step 3"):
        train()


def test_missing_steps_are_told(train):
    def wait(trainer):
        trainer.accumulate = 2

    default_callbacks["on_train_start"].append(wait)
    try:
        with pytest.raises(RuntimeError, match="must take 5 steps, but this one took 3"):
            train()
    finally:
        default_callbacks["on_train_start"].remove(wait)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image_size": 100}, "`image_size` must be a multiple of 32, got 100"),
        ({"steps": 0}, "`steps` must be an integer >= 1, got 0"),
        ({"batch": 2.5}, "`batch` must be an integer"),
        ({"optimizer": "auto"}, '`optimizer` must be the same for all arms, got "auto"'),
        ({"device": "0,1"}, '`device` must be "cpu" or one GPU such as "0", got \'0,1\''),
        ({"amp": True}, "`amp` must be False on cpu"),
        ({"learning_rate": 0}, r"`learning_rate` must be in \(0, 1\], got 0"),
    ],
)
def test_wrong_settings(place, changed, message):
    with pytest.raises((ValueError, TypeError), match=message):
        settings(place / "data", **changed)


def test_devices_of_torch_are_those_of_ultralytics(place):
    named = ("cuda", "cuda:1", "1", "cpu")
    devices = [settings(place / "data", device=name).device for name in named]
    assert devices == ["0", "1", "1", "cpu"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"overrides": {"mixupp": 1.0}}, "got 'mixupp'. Did you mean `mixup`?"),
        ({"overrides": {"lr0": 1.0}}, "`overrides` must be augmentation of YOLO, got 'lr0'"),
        ({"plain_share": 1.5}, r"`plain_share` must be in \[0, 1\], got 1.5"),
        ({"seed": -1}, "`seed` must be an integer >= 0, got -1"),
        ({"model": "yolo11n.pt"}, "`model` must be the path of weights that are here"),
        ({"model": "yolo11n-seg.yaml"}, "`model` must be a detector, got 'yolo11n-seg.yaml'"),
        ({"images": []}, "`images` must be the paths of at least one image"),
    ],
)
def test_wrong_arguments(train, given, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        train(**given)


def test_wrong_images(train, tmp_path):
    images = make(tmp_path / "data", 3)
    with pytest.raises(ValueError, match=r"`images` must name each once, got '.*0\.png' twice"):
        train(images=[*images, images[0]])
    with pytest.raises(FileNotFoundError, match=r"`images` must be files, but '.*no\.png'"):
        train(images=[*images, tmp_path / "no.png"])
    label = tmp_path / "data" / "labels" / "1.txt"
    label.write_text("2" + label.read_text()[1:])  # a class too many
    with pytest.raises(ValueError, match=r"leaves out 1 of 3, the first '000001_1\.png'"):
        train(images=images)
    for path in label.parent.iterdir():
        path.write_text("")
    with pytest.raises(ValueError, match="`images` must have at least one box, but none of 3"):
        train(images=images)


def test_folder_of_others_is_not_replaced(train, tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(FileExistsError, match=r"`folder` must be free for .*Choose another"):
        train(folder=tmp_path)
