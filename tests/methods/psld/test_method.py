"""PSLDInpaint: what it keeps, what it is given, how it is saved."""

import inspect
import pickle

import pytest
import torch

import albu_learned as al
from albu_learned.methods.psld.samplers import SAMPLERS
from tests.methods.psld import tiny

FAST = {"steps": 3, "settings": {"guidance": 1, "polish": 1}, "batch": 4}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def ldm():
    return tiny.model("tiny")


def make(ldm, **arguments):
    return al.PSLDInpaint(ldm, **{**FAST, **arguments})


def batch_of(size=(16, 16), channels=3, dtype=torch.float32, **more):
    images = torch.rand(3, channels, *size, generator=seeded(1))
    images = (images * 255).round() if dtype == torch.uint8 else images
    boxes = [[[0.25, 0.25, 0.5, 0.5]], [], [[0.0, 0.0, 0.3, 0.2], [0.6, 0.5, 0.9, 0.9]]]
    boxes = [torch.tensor(own).view(-1, 4) for own in boxes]
    return al.Batch(images=images.to(dtype), boxes=boxes, labels=torch.tensor([0, 1, 2]), **more)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16, torch.float64])
def test_what_is_kept_is_the_same_bit_by_bit_and_labels_stay(ldm, dtype):
    method, batch = make(ldm), batch_of(dtype=dtype)
    plan = method.plan(method.readable(batch), method.draw(3, seeded()))
    out = method.apply(batch, plan)
    kept = plan["keep"].expand_as(batch.images)
    assert torch.equal(out.images[kept], batch.images[kept])
    assert not torch.equal(out.images, batch.images)
    assert torch.equal(out.labels, batch.labels)
    assert torch.equal(out.boxes.values, batch.boxes.values)
    for row in batch.boxes.split():
        for x1, y1, x2, y2 in (row.values * 16).tolist():
            image = int(row.image[0])
            assert kept[image, :, round(y1) : round(y2), round(x1) : round(x2)].all()


def test_the_same_image_in_another_form_gives_the_same(ldm):
    method, batch = make(ldm), batch_of(dtype=torch.uint8)
    expected = method(batch, generator=seeded()).images
    for dtype in (torch.float32, torch.float64):
        given = batch.with_images(batch.images.to(dtype) / 255)
        found = method(given, generator=seeded()).images
        assert ((found * 255).round() - expected).abs().max() <= 1


@pytest.mark.parametrize("sampler", ["decoder-only", "psld", "blending"])
def test_every_sampler(ldm, sampler):
    method = al.PSLDInpaint(ldm, steps=2, sampler=sampler)
    out = method(batch_of(), generator=seeded())
    assert out.images.isfinite().all()
    assert (out.images - batch_of().images).abs().max() > 0.01


@pytest.mark.parametrize("known", ["gaussian-blur", "motion-blur", "downsample"])
def test_what_is_known_of_erased_pixels(ldm, known):
    out = make(ldm, known=known, coarse=4)(batch_of(), generator=seeded())
    assert out.images.isfinite().all()


@pytest.mark.parametrize("size", [(5, 7), (16, 16), (19, 40)])
@pytest.mark.parametrize("channels", [1, 3])
def test_sizes_and_colours(ldm, size, channels):
    batch = batch_of(size, channels)
    out = make(ldm)(batch, generator=seeded())
    assert out.images.shape == batch.images.shape
    assert not torch.equal(out.images, batch.images)


def test_a_model_of_grey_images():
    method = make(tiny.model(channels=1))
    assert method(batch_of(channels=1), generator=seeded()).images.shape == (3, 1, 16, 16)
    with pytest.raises(ValueError, match="`images` must have 1 channels"):
        method(batch_of(channels=3))


def test_rows_are_worked_on_together_or_one_by_one():
    ldm, batch = tiny.model(), batch_of()  # without the kinks of the other, which magnify rounding
    together = make(ldm)(batch, generator=seeded()).images
    alone = make(ldm, batch=1)(batch, generator=seeded()).images
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_every_row_and_seed_is_drawn_anew(ldm):
    method = make(ldm, mask="outside", decoys=0.0)
    images = torch.rand(1, 3, 16, 16, generator=seeded()).expand(2, -1, -1, -1)
    batch = al.Batch(images=images, boxes=torch.tensor([[[0.2, 0.2, 0.4, 0.4]]] * 2))
    one, other = (method(batch, generator=seeded(s)).images for s in (0, 1))
    assert (one[0] - one[1]).abs().max() > 0.01
    assert (one - other).abs().flatten(1).amax(1).min() > 0.01


def test_where_memory_does_not_suffice_half_is_tried(ldm, monkeypatch):
    method, noise = make(ldm), ldm.noise

    def greedy(latents, time):
        if len(latents) > 1:
            raise torch.cuda.OutOfMemoryError
        return noise(latents, time)

    expected = make(ldm, batch=1)(batch_of(), generator=seeded()).images
    monkeypatch.setattr(ldm, "noise", greedy)
    with pytest.warns(UserWarning, match="batch=1"):
        found = method(batch_of(), generator=seeded()).images
    assert torch.equal(found, expected)


def test_where_memory_does_not_suffice_for_one_image_that_is_raised(ldm, monkeypatch):
    def greedy(latents, time):
        raise torch.cuda.OutOfMemoryError

    monkeypatch.setattr(ldm, "noise", greedy)
    with (
        pytest.warns(UserWarning, match="3 images at once: going on with 1"),
        pytest.raises(torch.cuda.OutOfMemoryError),
    ):
        make(ldm)(batch_of(), generator=seeded())


def test_an_image_full_of_objects_costs_nothing(ldm, monkeypatch):
    monkeypatch.setattr(ldm, "noise", None)
    images = torch.rand(1, 3, 16, 16)
    batch = al.Batch(images=images, boxes=[torch.tensor([[0.0, 0.0, 1.0, 1.0]])])
    assert torch.equal(make(ldm)(batch).images, images)


def test_instances_are_kept_instead_of_boxes(ldm):
    outline = torch.zeros(1, 16, 16)
    outline[0, 3:7, 3:12] = 1
    batch = al.Batch(
        images=torch.rand(1, 3, 16, 16),
        boxes=[torch.tensor([[0.0, 0.0, 1.0, 1.0]])],
        instances=[outline],
    )
    method = make(ldm, mask="outside", protect="instances", grow=0.0, decoys=0.0)
    plan = method.planned(batch, seeded())
    assert torch.equal(plan["keep"][0, 0], outline[0] > 0)
    with pytest.raises(ValueError, match="instances"):
        method(batch_of())


def test_boxes_that_are_not_valid_do_not_count(ldm):
    padded = torch.tensor([[[0.2, 0.2, 0.4, 0.4], [0.0, 0.0, 0.0, 0.0]]])
    batch = al.Batch(images=torch.rand(1, 3, 16, 16), boxes=padded)
    keep = make(ldm, mask="outside", grow=0.1, decoys=0.0).planned(batch, seeded())["keep"]
    assert not keep[0, 0, 0, 0]  # where padding would lie, grown
    assert keep.sum() == 36


def test_progress_is_told(ldm):
    method, told = make(ldm, batch=2), []
    method.progress = lambda done, total: told.append((done, total))
    method(batch_of(), generator=seeded())
    assert told == [(1, 3), (2, 3), (3, 3)] * 2


def test_under_inference_mode_too(ldm):
    batch = batch_of()
    with torch.inference_mode():
        inside = make(ldm)(batch, generator=seeded()).images
    assert torch.equal(inside, make(ldm)(batch, generator=seeded()).images)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_on_cuda(precision):
    method, batch = make(tiny.model(), precision=precision), batch_of()
    plan = method.plan(batch, method.draw(3, seeded()))
    there = al.Batch(images=batch.images.cuda())
    out = method.apply(there, {name: value.cuda() for name, value in plan.items()}).images.cpu()
    kept = plan["keep"].expand_as(out)
    assert torch.equal(out[kept], batch.images[kept])
    assert out.isfinite().all()
    assert method.prior.device.type == "cuda"


# Saved


def test_the_artifact_holds_the_model(ldm, tmp_path, monkeypatch):
    method = make(ldm, mask="outside")
    method.save_pretrained(tmp_path / "one")
    assert (tmp_path / "one/ldm/model_index.json").is_file()
    assert not (tmp_path / "one/model.safetensors").exists()
    (tmp_path / "one").rename(tmp_path / "moved")
    (tmp_path / "ldm").mkdir()
    monkeypatch.chdir(tmp_path)  # where another folder has its model's name
    loaded = al.load(tmp_path / "moved")
    assert (loaded.mask, loaded.steps, loaded.settings) == ("outside", 3, FAST["settings"])
    expected = method(batch_of(), generator=seeded()).images
    assert torch.equal(loaded(batch_of(), generator=seeded()).images, expected)
    loaded.save_pretrained(tmp_path / "moved")  # over itself
    loaded.save_pretrained(tmp_path / "two")
    again = al.load(tmp_path / "two")
    assert torch.equal(again(batch_of(), generator=seeded()).images, expected)


def test_a_folder_or_a_repository_may_be_named(ldm, tmp_path):
    ldm.save_pretrained(tmp_path / "mine")
    method = make(tmp_path / "mine")
    expected = make(ldm)(batch_of(), generator=seeded()).images
    assert torch.equal(method(batch_of(), generator=seeded()).images, expected)
    named = make("somebody/diffusion")
    named.save_pretrained(tmp_path / "named")
    assert not (tmp_path / "named/ldm").exists()
    assert al.load(tmp_path / "named").ldm == "somebody/diffusion"
    with pytest.raises(FileNotFoundError):
        make("neither a folder nor a name").prior  # noqa: B018


def test_other_arguments_have_the_same_model(ldm, tmp_path):
    method = make(ldm)
    twin = method.with_arguments(steps=5)
    assert twin.steps == 5
    assert twin.prior is ldm
    method.save_pretrained(tmp_path)
    loaded = al.load(tmp_path).with_arguments(mask="outside")
    assert loaded.prior.cell == 2


def test_it_goes_to_a_worker(ldm):
    twin = pickle.loads(pickle.dumps(make(ldm)))
    assert torch.equal(
        twin(batch_of(), generator=seeded()).images,
        make(ldm)(batch_of(), generator=seeded()).images,
    )


def test_precision_is_that_of_the_network():
    method = make(tiny.model("tiny"), precision="bfloat16")
    assert method(batch_of(), generator=seeded()).images.dtype == torch.float32
    assert method.prior.dtype == torch.bfloat16


def test_precision_is_ones_own(tmp_path):
    """Others that hold the same model, and what is saved, stay as they are."""
    ldm = tiny.told()
    first = make(ldm)
    expected, known = first(batch_of(), generator=seeded()).images, first.identity()
    twins = [make(ldm, precision="bfloat16"), first.with_arguments(precision="bfloat16")]
    for twin in twins:
        assert not torch.equal(twin(batch_of(), generator=seeded()).images, expected)
        assert twin.prior is twin.prior
        assert (ldm.dtype, twin.prior.dtype) == (torch.float32, torch.bfloat16)
        assert (twin.identity(), ldm.embedding.dtype) == (known, torch.float32)
        back = twin.with_arguments(precision=None)
        assert torch.equal(back(batch_of(), generator=seeded()).images, expected)
        assert pickle.loads(pickle.dumps(twin)).prior.dtype == torch.bfloat16
    assert make(ldm, precision="float32").prior is ldm
    twins[0].save_pretrained(tmp_path)
    assert al.load(tmp_path).with_arguments(precision=None).identity() == known


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"ldm": 3}, "`ldm`"),
        ({"mask": "inside"}, "`mask`"),
        ({"steps": 1}, "`steps`"),
        ({"sampler": "ddim"}, "`sampler`"),
        ({"sigma": 0}, "`sigma`"),
        ({"grow": 1}, "`grow`"),
        ({"decoys": -1}, "`decoys`"),
        ({"protect": "points"}, "`protect`"),
        ({"known": "jpeg"}, "`known`"),
        ({"strength": 0}, "`strength`"),
        ({"feather": -1}, "`feather`"),
        ({"tile": 1}, "`tile`"),
        ({"batch": 0}, "`batch`"),
        ({"precision": "int8"}, "`precision`"),
        ({"settings": {"guidence": 3}}, "Did you mean `guidance`"),
        ({"settings": [1]}, r"`settings` must map names .* got \[1\]"),
        ({"settings": {"guidance": -1}}, r"`settings\['guidance'\]` must be an integer >= 0"),
        ({"settings": {"guidance": "x"}}, r"`settings\['guidance'\]` .* got 'x'"),
        ({"settings": {"polish": 1.5}}, r"`settings\['polish'\]`"),
        ({"settings": {"beyond": -1}}, r"`settings\['beyond'\]`"),
        ({"sampler": "psld", "settings": {"pace": 0}}, r"`settings\['pace'\]` .* \(0, inf\)"),
        ({"sampler": "psld", "settings": {"eta": 2.0}}, r"`settings\['eta'\]` .* \[0, 1\]"),
        ({"sampler": "psld", "settings": {"published": 1}}, r"`settings\['published'\]`"),
        ({"sampler": "blending", "known": "downsample", "settings": None}, "`known`"),
    ],
)
def test_says_what_is_wrong(arguments, says):
    with pytest.raises((ValueError, TypeError), match=says):
        make(**{"ldm": "a/b", **arguments})


@pytest.mark.parametrize("name", SAMPLERS)
def test_settings_of_a_sampler_are_its_own_arguments(name):
    taken = {"model", "problem", "draw", "steps", "strength", "progress"}
    own = inspect.signature(SAMPLERS[name]).parameters
    defaults = {key: value.default for key, value in own.items() if key not in taken}
    assert make("a/b", sampler=name, settings=defaults).settings == defaults


def test_a_motion_blur_must_fit(ldm):
    make(ldm, known="motion-blur", coarse=15)(batch_of())
    with pytest.raises(ValueError, match=r"`coarse` must be at most 15 for .* of 16 x 16, got 16"):
        make(ldm, known="motion-blur", coarse=16)(batch_of())


@pytest.mark.parametrize("name", ["runs/typo", "typo", "./typo/x"])
def test_a_folder_that_is_not_there(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=rf"got '{name}'.* there is no such folder"):
        make(name)(batch_of())


def test_a_tile_must_fit(ldm):
    with pytest.raises(ValueError, match="`tile` must be a multiple of 4"):
        make(ldm, tile=10)(batch_of())
