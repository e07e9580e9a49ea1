"""Fits of a diffusion model: what they read, that they learn, go on, and tell what came of them."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import albu_learned as al
from albu_learned.data import open_data, pictures
from albu_learned.fitting import Checkpoint
from albu_learned.methods.psld import crops, fit, losses, networks, training, words
from albu_learned.methods.psld.copies import nearest
from albu_learned.methods.psld.folder import diffusers
from tests.data import cases
from tests.methods.psld import tiny

QUICK = {
    "size": 8,
    "width": 4,
    "cell": 2,
    "latent": 2,
    "steps": 8,
    "autoencoder_steps": 8,
    "batch": 2,
    "device": "cpu",
    "progress": False,
}


def small(patch):
    """Networks, figures and checkpoints for tests."""
    patch.setattr(networks, "LEVELS", 2)
    for name, value in (("_LOOKED", 4), ("_MADE", 2), ("_SAMPLING", 2), ("_MEASURED", 4)):
        patch.setattr(fit, name, value)
    patch.setattr(training, "_LEAST", 3)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    small(monkeypatch)


def scenes(count=6, channels=3, height=14, width=20):
    """Discs on slopes."""
    y, x = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
    place = torch.rand(count, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    disc = ((y - place[:, 0]).square() + (x - place[:, 1]).square() < 0.05).float()
    return (0.3 * (x + y) / 2 + 0.6 * disc)[:, None].expand(-1, channels, -1, -1).contiguous()


def weights(ldm):
    parts = [*ldm.unet.state_dict().values(), *ldm.autoencoder.state_dict().values()]
    return torch.cat([tensor.flatten() for tensor in parts])


# What comes of it


@pytest.fixture(scope="module")
def whole():
    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        return al.LatentDiffusion.fit(scenes(), **QUICK)


def test_a_model_and_its_figures(whole, tmp_path):
    figures = whole.about.figures
    names = ["psnr", "psnr, learned from", "distance to real", "distance between real", "loss"]
    assert all(np.isfinite(figures[name]) for name in [*names, "loss, autoencoder"])
    assert (figures["images"], figures["held out"]) == (6, 1)
    assert (whole.channels, whole.side, whole.cell, whole.multiple) == (3, 8, 2, 4)
    assert "6 images; 1 were held out" in whole.summary()
    assert "dB. That is poor" in whole.summary()
    whole.save_pretrained(tmp_path)
    again = al.LatentDiffusion.from_pretrained(tmp_path)
    assert again.about == whole.about
    assert torch.equal(weights(again), weights(whole))
    assert "nothing is known" in tiny.model().summary()


def test_samples_follow_the_generator(whole):
    first, same = (
        whole.sample(2, steps=3, generator=torch.Generator().manual_seed(1)) for _ in range(2)
    )
    assert first.shape == (2, 3, 8, 8)
    assert torch.equal(first, same)
    assert not torch.equal(first[0], first[1])
    assert whole.sample(size=16, steps=2).shape == (1, 3, 16, 16)


def test_diffusers_reads_the_folder(whole, tmp_path):
    whole.save_pretrained(tmp_path)
    pipeline = diffusers().LDMPipeline.from_pretrained(tmp_path)
    made = pipeline.vqvae.decode(whole.encode(scenes()[:1, :, :8, :8])).sample / 2 + 0.5
    torch.testing.assert_close(made, whole.decode(whole.encode(scenes()[:1, :, :8, :8])))


def test_it_learns():
    torch.manual_seed(0)
    network = torch.nn.Linear(1, 1)
    schedule = training.Schedule(400, 0.2, 0.9, "float32", 0)

    def loss(generator):
        x = torch.rand(8, 1, generator=generator)
        return (network(x) - 3 * x).square().mean()

    last = training.train(network, loss, schedule, Checkpoint(None), lambda n: None, "line")
    assert last < 1e-3
    assert not network.weight.requires_grad
    torch.testing.assert_close(network.weight.item(), 3.0, atol=0.05, rtol=0)


def test_the_average_of_the_weights_is_kept():
    network, seen = torch.nn.Linear(1, 1, bias=False), []
    average = network.weight.detach().clone()
    schedule = training.Schedule(5, 0.1, 0.3, "float32", 0)
    training.train(
        network,
        lambda generator: network.weight.sum(),
        schedule,
        Checkpoint(None),
        lambda more: seen.append(network.weight.detach().clone()),
        "slope",
    )
    for step, weight in enumerate(seen):
        decay = min(0.3, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weight
    torch.testing.assert_close(network.weight, average)
    assert not torch.equal(network.weight, seen[-1])


def test_images_that_are_held_out_are_not_learned_from(monkeypatch):
    seen, some = [], losses.Look.some

    def looked(self, generator):
        seen.append(self.rows)
        return some(self, generator)

    monkeypatch.setattr(losses.Look, "some", looked)
    al.LatentDiffusion.fit(scenes(), **{**QUICK, "steps": 1, "autoencoder_steps": 1})
    held = crops.pictures(scenes(), None, 0).held(0.1, 0)
    assert held.sum() == 1
    assert not held[torch.cat(seen)].any()


def test_latents_are_standardised_and_images_stay():
    torch.manual_seed(0)
    network = tiny.autoencoder()
    images = torch.rand(16, 3, 8, 8) * 2 - 1
    spread = network.encode(images).latent_dist
    before = network.decode(spread.mean).sample
    mean, deviation = spread.mean.mean(dim=(0, 2, 3)), spread.mean.std(dim=(0, 2, 3))
    networks.standardise(network, mean.detach(), deviation.detach())
    after = network.encode(images).latent_dist
    torch.testing.assert_close(after.mean.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(after.mean.std(dim=(0, 2, 3)), torch.ones(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(after.std, spread.std / deviation[:, None, None])
    torch.testing.assert_close(network.decode(after.mean).sample, before, atol=1e-5, rtol=1e-4)


# It goes on


@pytest.mark.parametrize(
    ("last", "first", "parts"),
    [
        (5, 3, ["autoencoder0000003"]),
        (8, 6, ["autoencoder0000006"]),
        (12, 8, ["autoencoder", "latents", "unet0000003"]),
    ],
)
def test_a_fit_that_was_stopped_goes_on_with_the_same_bits(whole, tmp_path, last, first, parts):
    seen = []

    def stop(done, total):
        if done >= last:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        al.LatentDiffusion.fit(scenes(), **{**QUICK, "progress": stop}, folder=tmp_path)
    kept = sorted(file.stem for file in (tmp_path / ".fit").glob("*.safetensors"))
    assert kept == parts
    rest = al.LatentDiffusion.fit(
        scenes(), **{**QUICK, "progress": lambda done, total: seen.append(done)}, folder=tmp_path
    )
    assert seen[0] == first  # what was kept is not computed again
    assert seen[-1] == 16
    assert torch.equal(weights(rest), weights(whole))
    assert not (tmp_path / ".fit").exists()
    assert torch.equal(weights(al.LatentDiffusion.from_pretrained(tmp_path)), weights(whole))
    with pytest.raises(FileExistsError, match="finished model"):
        al.LatentDiffusion.fit(scenes(), **QUICK, folder=tmp_path)


def test_an_unfinished_fit_of_something_else_is_left_alone(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        al.LatentDiffusion.fit(scenes(), **{**QUICK, "progress": stop}, folder=tmp_path)
    with pytest.raises(ValueError, match=r"differs in seed \(0, now 1\)"):
        al.LatentDiffusion.fit(scenes(), **QUICK, seed=1, folder=tmp_path)


def test_an_unfinished_fit_from_another_model_is_left_alone(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    how = {**QUICK, "size": 16, "steps": 1, "autoencoder_steps": 0, "folder": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        al.LatentDiffusion.fit(scenes(height=16), **{**how, "progress": stop}, start=tiny.model())
    other = tiny.model()
    next(other.unet.parameters()).data[0] += 1e-3
    with pytest.raises(ValueError, match=r"differs in start \([0-9a-f]{16}, now [0-9a-f]{16}\)"):
        al.LatentDiffusion.fit(scenes(height=16), **how, start=other)


# A given model is fine-tuned


@pytest.mark.parametrize("make", [tiny.model, tiny.told])
def test_a_given_model_is_fine_tuned_and_stays_as_it_is(make):
    start = make()
    before = weights(start).clone()
    how = {**QUICK, "size": 16, "steps": 2, "autoencoder_steps": 2, "precision": "bfloat16"}
    tuned = al.LatentDiffusion.fit(scenes(channels=1, height=16), **how, start=start)
    assert torch.equal(weights(start), before)
    assert not torch.equal(weights(tuned), before)
    images = torch.rand(1, 3, 16, 16)
    assert torch.equal(tuned.encode(images), start.encode(images))  # the decoder alone learns
    assert not torch.equal(tuned.decode(tuned.encode(images)), start.decode(start.encode(images)))


# What it reads


def test_the_training_images_of_a_detection_set(tmp_path):
    root = cases.yolo(tmp_path, each=4)
    found = crops.pictures(root, None, 0)
    assert (len(found), found.channels) == (4, 3)
    assert all("train" in name for name in found.names)


def test_files_lists_and_tensors_are_read_alike(tmp_path):
    for i in range(4):
        cases.picture(tmp_path / f"{i}.png", (50 * i, 9, 9), (6 + i, 5))
    paths = sorted(tmp_path.glob("*.png"))
    ways = [tmp_path, str(tmp_path), paths, [crops.native([path])[0] for path in paths]]
    found = [crops.pictures(way, None, 0) for way in ways]
    assert {tuple(image.shape) for image in found[0].pixels} == {(3, 5, 6 + i) for i in range(4)}
    assert len({images.digest() for images in found}) == 1


def test_only_so_many_images_are_chosen_by_the_seed():
    chosen = [crops.pictures(scenes(9), 5, seed) for seed in (0, 0, 1)]
    assert [len(images) for images in chosen] == [5, 5, 5]
    assert chosen[0].given == 9
    assert chosen[0].names == chosen[1].names != chosen[2].names


def test_crops_are_of_every_place():
    image = torch.arange(20.0).view(1, 4, 5) / 20
    images = crops.Images([image], ["it"], None, 1, "")
    places = torch.rand(200, 2, generator=torch.Generator().manual_seed(0))
    cut = images.crops(torch.zeros(200, dtype=torch.int64), places, 3)
    assert set((cut[:, 0, 0, 0] * 20).round().int().tolist()) == {0, 1, 2, 5, 6, 7}
    torch.testing.assert_close(cut[:, 0, 1, 2] - cut[:, 0, 0, 0], torch.full((200,), 7 / 20))


# The background alone


def detection(root, count=4):
    """White squares on black, each in a box but for the first."""
    for i in range(count):
        pixels = np.zeros((12, 16, 3), np.uint8)
        left = i % 10
        pixels[4:8, left : left + 6] = 255
        pictures.pillow()[0].fromarray(pixels).save(cases.picture(root / f"images/train/{i}.png"))
        box = f"0 {(left + 3) / 16} 0.5 {6 / 16} {4 / 12}\n" if i else ""
        file = root / f"labels/train/{i}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(box)
    keys = {"train": "images/train", "val": "images/val", "names": ["square"]}
    cases.picture(root / "images/val/0.png")
    (root / "data.yaml").write_text(json.dumps(keys))
    return root / "data.yaml"


def test_where_objects_are(tmp_path):
    found = crops.pictures(open_data(detection(tmp_path)), None, 0, True)
    first, *rest = zip(found.pixels, found.outside, strict=True)
    assert first[1].all()
    assert all(torch.equal(outside, image[:1] == 0) for image, outside in rest)
    plain = crops.pictures(open_data(tmp_path / "data.yaml"), None, 0)
    assert plain.outside is None
    assert plain.digest() != found.digest()


def test_objects_are_turned_with_their_crops(tmp_path):
    images = crops.pictures(open_data(detection(tmp_path)), None, 0, True)
    look = losses.Look(images, torch.tensor([1, 2, 3]), 3, 8, 4, True, torch.device("cpu"))
    drawn = look.draw(look.rows, 50, torch.Generator().manual_seed(0))
    assert 0 < drawn.turned.sum() < 50
    seen, outside = look.seen(drawn), look.outside(drawn)
    assert torch.equal(outside, seen[:, :1] == 0)
    again = look.these(look.rows, 50, torch.Generator().manual_seed(0))
    assert torch.equal(again, seen)


def test_what_is_made_is_judged_beside_what_it_shall_be(tmp_path):
    """Empty places are like one another: beside others they would be taken for copies."""
    images = crops.pictures(open_data(detection(tmp_path)), None, 0, True)
    rows = torch.arange(4)
    look = losses.Look(images, rows, 3, 6, 4, True, torch.device("cpu"))
    every = look.these(rows, 40, torch.Generator().manual_seed(0))
    found = look.like_made(rows, 10, torch.Generator().manual_seed(0))
    shown = look.outside(look.draw(rows, 40, torch.Generator().manual_seed(0)))
    empty = shown.float().mean(dim=(1, 2, 3))
    chosen = [(every == one).all(dim=(1, 2, 3)) for one in found]
    least = min(empty[which].max().item() for which in chosen)
    assert least == empty.sort(descending=True).values[9].item() > empty.min().item()
    plain = losses.Look(crops.pictures(scenes(), None, 0), rows, 3, 6, 4, True, look.place)
    both = [
        make(rows, 9, torch.Generator().manual_seed(0)) for make in (plain.these, plain.like_made)
    ]
    assert torch.equal(*both)


@pytest.mark.parametrize("share", [0.1, 0.4, 0.6])
def test_objects_do_not_count_where_it_is_open_what_will_be_there(tmp_path, share):
    images = crops.pictures(open_data(detection(tmp_path)), None, 0, True)
    look = losses.Look(images, torch.tensor([2]), 3, 8, 4, False, torch.device("cpu"))
    seen = look.some(torch.Generator().manual_seed(0))
    cells = torch.nn.functional.max_pool2d(seen, 2)[:, :1]  # 1 where there is some of an object
    wrong = {"objects": cells, "background": 1 - cells}

    def loss(where):
        network = SimpleNamespace(
            encode=lambda images: torch.nn.functional.avg_pool2d(images, 2),
            unet=lambda noisy, times: SimpleNamespace(
                sample=torch.nn.functional.avg_pool2d(seen, 2) + 3 * wrong[where]
            ),
            alphas=torch.full((10,), share, dtype=torch.float64),
            embedding=None,
            prediction="sample",
            cell=2,
        )
        return losses.Denoising(network, look)(torch.Generator().manual_seed(0)).item()

    decided = share > 0.5
    everywhere = cells.numel() if decided else (1 - cells).sum().item()
    assert loss("background") == pytest.approx(9 * (1 - cells).sum().item() / everywhere)
    assert loss("objects") == pytest.approx(9 * cells.mean().item() if decided else 0)


def test_a_model_of_the_background_draws_no_objects(tmp_path):
    how = {**QUICK, "width": 8, "steps": 60, "autoencoder_steps": 60, "batch": 8}
    how |= {"learning_rate": 3e-3}
    file, bright = detection(tmp_path, 12), {}
    (tmp_path / "labels/train/0.txt").write_text("0 0.1875 0.5 0.375 0.3333\n")
    for background in (False, True):
        ldm = al.LatentDiffusion.fit(file, **how, background=background)
        made = ldm.sample(32, steps=20, generator=torch.Generator().manual_seed(0))
        assert ldm.about.data.endswith(" What is in boxes was not learned.") == background
        bright[background] = (made > 0.5).float().mean().item()
    assert bright[True] < 0.2 * bright[False]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("0 0.5 0.5\n", "labels that can be read for background=True, but .*3.txt', line 1"),
        ("0 0.5 0.5 1 1\n", "boxes fill every image"),
    ],
)
def test_a_background_that_is_not_known(tmp_path, lines, says):
    file = detection(tmp_path)
    for i in range(3):
        (tmp_path / f"labels/train/{i}.txt").write_text("0 0.5 0.5 1 1\n")
    (tmp_path / "labels/train/3.txt").write_text(lines)
    with pytest.raises(ValueError, match=says):
        al.LatentDiffusion.fit(file, background=True, **QUICK)
    with pytest.raises(ValueError, match="`background` must be False for images without boxes"):
        al.LatentDiffusion.fit(scenes(), background=True, **QUICK)


# Copies


def test_a_copy_is_found_wherever_it_is():
    images = torch.rand(5, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    found = nearest(images[:2, :, 30:62, 10:42], images)
    torch.testing.assert_close(found, torch.zeros(2), atol=1e-3, rtol=0)
    assert (nearest(images[:2, :, 30:62, 10:42], images[2:]) > 0.1).all()
    brighter = nearest(images[:2, :, 30:62, 10:42] + 0.05, images)
    torch.testing.assert_close(brighter, torch.full((2,), 0.05), atol=1e-3, rtol=0)


def test_a_model_that_memorised_is_told_of(monkeypatch):
    given = torch.rand(6, 3, 14, 20, generator=torch.Generator().manual_seed(0))
    seen = (~crops.pictures(given, None, 0).held(0.1, 0)).nonzero()[0, 0]

    def sample(self, count, **how):
        return given[seen, :, 2:10, 5:13].expand(count, -1, -1, -1)

    monkeypatch.setattr(al.LatentDiffusion, "sample", sample)
    with pytest.warns(UserWarning, match="memorised"):
        found = al.LatentDiffusion.fit(given, **QUICK)
    assert words.copied(found.about.figures) < 0.5
    assert "memorised" in found.summary()


# What is wrong is said


@pytest.mark.parametrize(
    ("images", "how", "error", "says"),
    [
        (scenes(3), {}, ValueError, "`images` must be 4 or more"),
        (scenes(), {"size": 16}, ValueError, r"`size`.* first is number 0 .*Give size=12"),
        (scenes(), {"size": 10}, ValueError, "`size` must be a multiple of 4.*8 or 12"),
        (scenes() * torch.nan, {}, ValueError, "`images` must be finite"),
        (scenes() * 255, {}, ValueError, r"`images` must be float in \[0, 1\]"),
        (scenes().int(), {}, TypeError, "`images` must be float"),
        (scenes()[:, 0], {}, ValueError, "`images` must be images"),
        ([scenes()[0], scenes()[1, :1], *scenes()], {}, ValueError, "number of channels"),
        ([1, 2, 3, 4], {}, TypeError, "`images` must be tensors"),
        (["no.png"] * 4, {}, ValueError, "cannot be read"),
        ("nowhere", {}, FileNotFoundError, "does not exist"),
        (scenes(), {"cell": 3}, ValueError, "`cell`"),
        (scenes(), {"width": 6}, ValueError, "`width`"),
        (scenes(), {"steps": 0}, ValueError, "`steps`"),
        (scenes(), {"precision": "half"}, ValueError, "`precision`"),
        (scenes(), {"prediction": "sample"}, ValueError, "`prediction`"),
        (scenes(), {"validation": 0}, ValueError, "`validation`"),
        (scenes(), {"flip": 1}, TypeError, "`flip`"),
        (scenes(), {"background": 1}, TypeError, "`background`"),
        (scenes(), {"start": "folder"}, TypeError, "`start`"),
        (scenes(channels=2), {"start": tiny.model()}, ValueError, "`images` must have 3 channels"),
        (scenes(), {"device": "nowhere"}, ValueError, "`device`"),
    ],
)
def test_says_what_is_wrong(images, how, error, says):
    with pytest.raises(error, match=says):
        al.LatentDiffusion.fit(images, **{**QUICK, **how})


def test_a_training_that_diverges_is_told_of(monkeypatch):
    def lost(ldm, look):
        return lambda generator: next(ldm.unet.parameters()).sum() * torch.nan

    monkeypatch.setattr(fit, "Denoising", lost)
    with pytest.raises(ValueError, match="`learning_rate` must let"):
        al.LatentDiffusion.fit(scenes(), **QUICK)


def test_files_of_others_are_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(FileExistsError, match="`folder`"):
        al.LatentDiffusion.fit(scenes(), **QUICK, folder=tmp_path)
    with pytest.raises(NotADirectoryError, match="`folder`"):
        al.LatentDiffusion.fit(scenes(), **QUICK, folder=tmp_path / "thesis.tex")
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("text", ["{", "[]", '{"other": 1}', '{"figures": {"psnr": "high"}}'])
def test_a_record_that_is_none_is_refused(whole, tmp_path, text):
    whole.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "fit.json").read_text())["figures"] == whole.about.figures
    (tmp_path / "fit.json").write_text(text)
    with pytest.raises(ValueError, match=r"fit\.json"):
        al.LatentDiffusion.from_pretrained(tmp_path)
