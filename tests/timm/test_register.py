"""The hook of an unedited training script, in processes of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from albu_learned.spec import read
from albu_learned.timm import host, patch
from albu_learned.timm.replaced import SpecMixup
from tests.timm.cases import Squares, folder_of_images, save_toys, spec_file

SCRIPT = Path(__file__).with_name("training.py")
ROOT = SCRIPT.parents[2]
HOOK = ("--device-modules", "albu_learned.timm.register")
MIX = "- {method: ZetaMixup, gamma: 4.0}"


# Of each training its spec and options. All are started at once, as most of their time is imports.
TRAININGS = {
    "every stage": (
        """
        - {artifact: noisy_shift, stage: sample, p: 1}
        - {artifact: class_picture, stage: image, p: 0.1, resize: true}
        - {artifact: class_shift, stage: batch, p: 0.5}
        - {method: ZetaMixup, gamma: 4.0}
        """,
        ("--mixup", "1", "--mixup-off-epoch", "2"),
    ),
    "no prefetcher": (
        "- {artifact: class_shift, stage: batch, p: 1}\n" + MIX,
        ("--mixup", "1", "--cutmix", "1", "--no-prefetcher", "--mixup-off-epoch", "2"),
    ),
    "spawned": (
        """
        - {artifact: class_shift, stage: sample, p: 1, until_epoch: 1}
        - {artifact: noisy_shift, stage: image, p: 1, from_epoch: 1}
        """,
        ("--start-method", "spawn", "--epochs", "2", "--workers", "1"),
    ),
    **{
        f"rank {rank}": (
            "- {artifact: noisy_shift, stage: sample, p: 1}\n" + MIX,
            ("--mixup", "1", "--epochs", "2", "--workers", "1"),
        )
        for rank in range(2)
    },
}
RANKS = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
RANKS["MASTER_PORT"] = str(29500 + os.getpid() % 2000)


@pytest.fixture
def place(tmp_path):
    save_toys(tmp_path)
    return folder_of_images(tmp_path / "data").parent


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """The process of every training by its name."""
    processes = {}
    for name, (methods, options) in TRAININGS.items():
        place = save_toys(tmp_path_factory.mktemp("place"))
        folder_of_images(place / "data")
        ranks = {"RANK": name[-1], **RANKS} if name.startswith("rank") else {}
        processes[name] = start(place, methods, *options, **ranks)
    yield processes
    for process in processes.values():
        process.kill()


def start(place, methods, *options, **environment):
    spec = {"ALBU_LEARNED": str(spec_file(place, methods))}
    known = {key: value for key, value in os.environ.items() if key != "ALBU_LEARNED"}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", str(SCRIPT), str(place / "data"), *HOOK, *options],
        env={**known, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **spec, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """What it printed of every batch, and its log."""
    out, log = process.communicate(timeout=240)
    lines = [json.loads(line[6:]) for line in out.splitlines() if line.startswith("BATCH ")]
    return lines, log, process.returncode


def run(process):
    lines, log, code = finish(process)
    assert code == 0, log
    return lines, log


def digests(lines, epoch=None):
    return [d for line in lines if epoch in (None, line["at"][1]) for d in line["pixels"]]


def top(line):
    return [max(row) for row in line["target"]]


def test_every_stage_behind_the_prefetcher(started):
    lines, log = run(started["every stage"])
    assert log.count("albu_learned is at work") == 1
    assert len(lines) == 18  # 3 epochs of 6 batches
    assert all(len(row) == 3 and abs(sum(row) - 1) < 1e-5 for x in lines for row in x["target"])
    on = [share for line in lines if line["at"][1] < 2 for share in top(line)]
    off = [share for line in lines if line["at"][1] == 2 for share in top(line)]
    assert off == pytest.approx([0.9 + 0.1 / 3] * 24)  # smoothed and no more
    assert min(on) < 0.9  # two classes mixed
    # all images of a class are the same: what differs was augmented, in workers, batches, epochs
    assert len(set(digests(lines))) == len(digests(lines)) == 72
    assert all(line["loss"] == line["loss"] for line in lines)


def test_without_the_prefetcher_mixup_is_ours(started):
    lines, _ = run(started["no prefetcher"])
    off = [line for line in lines if line["at"][1] == 2]
    assert [s for line in off for s in top(line)] == pytest.approx([0.9 + 0.1 / 3] * 24)
    for line in off:  # moved by class, a class by a quarter downwards
        assert line["left"] == [16 if row[1] < 0.5 else 8 for row in line["target"]]
    assert min(share for line in lines for share in top(line)) < 0.9


def test_spawned_workers_are_told_epochs(started):
    lines, _ = run(started["spawned"])
    first = [line for line in lines if line["at"][1] == 0]
    for line in first:
        assert line["left"] == [16 if label != 1 else 8 for label in line["target"]]
    assert len(set(digests(lines, epoch=0))) == 3
    assert len(set(digests(lines, epoch=1))) == 24


def test_two_ranks(started):
    results = [finish(started[f"rank {rank}"]) for rank in range(2)]
    assert [code for _, _, code in results] == [0, 0], results[0][1] + results[1][1]
    assert [log.count("albu_learned is at work") for _, log, _ in results] == [1, 0]
    seen = [digest for lines, _, _ in results for line in lines for digest in line["pixels"]]
    assert len(seen) == len(set(seen)) == 48  # 2 ranks x 2 epochs x 3 batches x 4 images


def test_a_script_s_names_are_replaced_once_and_no_others(place, monkeypatch):
    script, ours = ModuleType("__main__"), ModuleType("albu_learned.timm.host")
    for module in (script, ours):
        module.create_loader, module.Mixup = host.create_loader, host.Mixup
        module.create_naflex_loader = host.create_naflex_loader
    script.FastCollateMixup = "another thing of that name"
    monkeypatch.setattr(patch, "sys", SimpleNamespace(modules={"a": script, "b": ours, "c": None}))
    monkeypatch.setattr(patch._Installed, "spec", None)
    monkeypatch.setenv("ALBU_LEARNED", str(spec_file(place, "- {artifact: free_shift}")))
    patch.install()
    assert script.create_loader is patch.create_loader
    assert script.create_naflex_loader is patch.create_naflex_loader
    assert script.Mixup is host.Mixup  # nothing is mixed
    monkeypatch.setenv("ALBU_LEARNED", str(spec_file(place, MIX)))
    patch.install()
    patch.install()
    assert script.create_loader is patch.create_loader
    assert script.Mixup is SpecMixup
    assert script.FastCollateMixup == "another thing of that name"
    assert ours.create_loader is host.create_loader


def test_the_loader_and_mixup_may_work_on_two_devices(place, monkeypatch):
    methods = "- {artifact: class_shift, stage: batch, p: 1}\n" + MIX
    monkeypatch.setattr(patch._Installed, "spec", read(spec_file(place, methods)))
    monkeypatch.setattr(SpecMixup, "latest", None)
    mixup = SpecMixup(num_classes=3)
    made = patch.create_loader(
        Squares(), (3, 32, 32), 6, is_training=True, no_aug=True, use_prefetcher=False
    )
    mixup.normal.to(torch.device("meta"))  # as the training loop does with its device
    images, target = next(iter(made))
    assert images.device.type == "cpu"
    assert mixup.mixes is not None
    assert target.ndim == 1  # mixed by the training loop, and not by the loader
