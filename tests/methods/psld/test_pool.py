"""A pool that is served: what is found, what is shown, what is counted, and what is refused."""

import json
import pickle
import shutil

import numpy as np
import pytest
import torch

pytest.importorskip("PIL", reason="the extra `cli` is not installed")
pytest.importorskip("tqdm", reason="the extra `cli` is not installed")

import albu_learned as al
from albu_learned.data import label_file, pictures
from tests import pools


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A pool of four scenes, and their files."""
    return pools.pool_of(tmp_path_factory.mktemp("pool"), pools.scenes())


@pytest.fixture
def copied(made, tmp_path):
    """The same to be spoilt."""
    return shutil.copytree(made[0], tmp_path / "copied")


def read(file):
    return pictures.decoded(file.read_bytes())


def rows(files):
    pixels = np.stack([np.atleast_3d(read(file)) for file in files])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def variants(pool, file, count=2):
    """(count, C, H, W)."""
    name = f"images/train/{file.name}.v"
    return rows([pool / f"{name}{number}.png" for number in range(count)])


def is_one_of(image, shown, error=0):
    return bool(((shown.int() - image.int()).abs().flatten(1).amax(1) <= error).any())


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def edited(pool, change):
    """The manifest after a change."""
    file = pool / "manifest.json"
    told = json.loads(file.read_text())
    change(told)
    file.write_text(json.dumps(told))
    return pool


def test_an_image_is_found_by_its_pixels_and_others_are_left_alone(made):
    pool, files = made
    serve = al.PSLDPool(pool)
    images = torch.cat([rows(files), rows(files[:1]).flip(3)])
    out = serve(images, generator=seeded())
    assert (serve.hits, serve.misses) == (4, 1)
    assert torch.equal(out[4], images[4])
    drawn = {tuple(serve(images, generator=seeded(k))[:, 0, 0, 0].tolist()) for k in range(9)}
    assert len(drawn) > 2
    for image, real, file in zip(out, images[:4], files, strict=False):
        assert not torch.equal(image, real)
        assert is_one_of(image, variants(pool, file))
        assert torch.equal(image[:, 12:20, 18:30], real[:, 12:20, 18:30])  # within its box
    floats = serve(images / 255, generator=seeded())
    assert torch.equal((floats * 255).round().byte(), out)


def test_an_image_is_found_by_its_file_wherever_that_is_and_as_the_host_has_resized_it(
    made, tmp_path
):
    cv2 = pytest.importorskip("cv2")
    pool, files = made
    place = tmp_path / "elsewhere" / "renamed.bin"
    place.parent.mkdir()
    place.symlink_to(files[2])
    small = cv2.resize(read(files[2]), (24, 16))  # as Ultralytics does it
    image = torch.from_numpy(small).permute(2, 0, 1)[None]
    serve = al.PSLDPool(pool)
    out = serve(al.Batch(images=image, files=(str(place),)), generator=seeded()).images[0]
    shown = [cv2.resize(one.permute(1, 2, 0).numpy(), (24, 16)) for one in variants(pool, files[2])]
    assert is_one_of(out, torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2), error=1)
    # A file that is another or cannot be read (one within an archive, say) leaves the pixels.
    real = rows(files[:2])
    given = al.Batch(images=torch.cat([real, image.new_zeros(1, *real.shape[1:])]))
    names = ("train.tar/0.png", str(pool / "manifest.json"), str(tmp_path))
    serve(al.Batch(images=given.images, files=names))
    assert (serve.hits, serve.misses) == (3, 1)


def test_images_that_are_the_same_but_for_their_labels(tmp_path):
    scene = pools.scenes(1)[0]
    lines = ["0 0.5 0.5 0.3 0.3\n", "1 0.2 0.2 0.3 0.3\n", "0 0.5 0.5 0.3 0.3\n"]
    pool, files = pools.pool_of(tmp_path, [scene] * 3, lines)
    serve = al.PSLDPool(pool, must_hit=False)
    assert len(serve.ready.originals) == 2  # the third is the first
    image = rows(files[:1])
    assert torch.equal(serve(image), image)  # nobody knows which labels it has
    for file in files:
        out = serve(al.Batch(images=image, files=(str(file),))).images[0]
        twin = files[0] if file == files[2] else file
        assert is_one_of(out, variants(pool, twin))
    files[1].with_name("9.png").write_bytes(files[1].read_bytes())  # without labels, which is it?
    given = al.Batch(images=image, files=(str(files[1].with_name("9.png")),))
    assert torch.equal(serve(given).images, image)


def test_copies_with_the_same_pixels_and_labels_are_one_image(tmp_path):
    """As other files, such as a PNG and a BMP."""
    scene = pools.scenes(1)[0]
    pool, files = pools.pool_of(tmp_path, [scene] * 2, [pools.LINE] * 2)
    files[1].unlink()
    image, _ = pictures.pillow()
    image.fromarray(scene).save(files[1].with_suffix(".bmp"))
    pools.again(tmp_path)
    serve = al.PSLDPool(pool)
    assert len(serve.ready.originals) == 2
    assert is_one_of(serve(rows(files[:1]))[0], variants(pool, files[0]))
    assert (serve.hits, serve.misses) == (1, 0)


def test_labels_that_have_changed_since_are_named(tmp_path):
    pool, files = pools.pool_of(tmp_path, pools.scenes(1))
    file = tmp_path / "set" / "labels" / "train" / "0.txt"
    file.write_text("0 0.1 0.1 0.1 0.1\n")
    with pytest.raises(ValueError, match=r"labels/train/0.txt' is another now than that of"):
        al.PSLDPool(pool)(al.Batch(images=rows(files), files=(str(files[0]),)))


def test_an_image_that_was_saved_anew_with_its_labels_is_another(tmp_path):
    pool, files = pools.pool_of(tmp_path, pools.scenes(1))
    images, labels = (tmp_path / "new" / name / "0" for name in ("images", "labels"))
    for place in (images, labels):
        place.parent.mkdir(parents=True)
    content = files[0].read_bytes()
    images.with_suffix(".png").write_bytes(content + b"the same pixels")
    serve = al.PSLDPool(pool)
    given = al.Batch(images=rows(files), files=(str(images.with_suffix(".png")),))
    serve(given)
    assert (serve.hits, serve.misses) == (1, 0)
    labels.with_suffix(".txt").write_text("0 0.1 0.1 0.1 0.1\n")  # for other objects, maybe
    again = al.PSLDPool(pool)
    assert torch.equal(again(given).images, given.images)
    assert (again.hits, again.misses) == (0, 1)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("grey", [True, False])
def test_grey_and_colour_of_8_and_16_bits(bits, grey, tmp_path):
    scenes = pools.scenes(2, (20, 24), grey=grey, bits=bits)
    pool, files = pools.pool_of(tmp_path, scenes)
    serve = al.PSLDPool(pool)
    images = torch.from_numpy(np.stack([np.atleast_3d(s) for s in scenes]).astype(np.float32))
    images = images.permute(0, 3, 1, 2) / (2**bits - 1)
    if grey:
        images = torch.cat([images, images])  # read as grey, and as colour
        images = images.expand(-1, 3, -1, -1)
    out = serve(images)
    assert serve.misses == 0
    assert not torch.equal(out, images)
    assert torch.equal(out[..., 7:13, 9:15], images[..., 7:13, 9:15])
    one = al.Batch(images=images[:1, :1], files=(str(files[0]),))
    assert serve(one).images.shape == (1, 1, 20, 24)  # colour that a host reads as grey


def test_pictures_that_are_turned_are_refused(made):
    pool, files = made
    image = rows(files[:1]).transpose(2, 3)
    with pytest.raises(ValueError, match="turned the way the camera was held"):
        al.PSLDPool(pool)(al.Batch(images=image, files=(str(files[0]),)))


def test_other_channels_are_refused(made):
    pool, files = made
    image = torch.zeros(1, 5, 32, 48)
    with pytest.raises(ValueError, match="must have 1 or 3 channels to be shown variants, got 5"):
        al.PSLDPool(pool)(al.Batch(images=image, files=(str(files[0]),)))


def test_nothing_found_is_no_accident_after_a_while(made):
    pool, files = made
    other = torch.from_numpy(pools.scenes(13, seed=9)).permute(0, 3, 1, 2)
    serve = al.PSLDPool(pool)
    serve(other)
    with pytest.raises(RuntimeError, match=r"has none of the first 14. .* put this first"):
        serve(other[:1])
    serve = al.PSLDPool(pool)
    serve(torch.cat([rows(files[:1]), other]))
    serve(other)
    assert (serve.hits, serve.misses) == (1, 26)
    al.PSLDPool(pool, must_hit=False)(torch.cat([other, other]))


def test_images_that_cannot_be_read_here_count_among_those_that_are_shown(copied):
    total = al.PSLDPool(copied).ready.total
    edited(copied, lambda told: told.update(unread=["images/train/9.jp2"]))
    assert al.PSLDPool(copied).ready.total == total + 1


def test_how_many_an_epoch_could_have_hit(copied):
    assert al.PSLDPool(copied).reach(3) == 3
    assert al.PSLDPool(copied).reach(100) == 4
    assert al.PSLDPool(copied, must_hit=False).reach(100) == 0
    empty = [f"{number}.png" for number in range(4)]
    serve = al.PSLDPool(edited(copied, lambda told: told.update(empty=empty)))
    assert serve.reach(4) == 2
    assert serve.changed({"image": torch.tensor([-1, 5, 0])}) == 2


def test_a_plan_can_be_replayed_in_another_process_and_when_more_are_made(made, tmp_path):
    pool, files = pools.pool_of(tmp_path, pools.scenes(2))
    serve = al.PSLDPool(pool)
    images = rows(files)
    batch = al.Batch(images=images)
    plan = serve.planned(batch, seeded())
    wanted = serve.apply(batch, plan).images
    twin = pickle.loads(pickle.dumps(serve))
    assert "ready" not in vars(twin)
    pools.pool_of(tmp_path, pools.scenes(2), variants=4)
    for again in (twin, al.PSLDPool(pool)):
        assert torch.equal(again.apply(batch, plan).images, wanted)
    with pytest.raises(ValueError, match=r"has no variant .* of this image. Give the pool that it"):
        al.PSLDPool(made[0]).apply(batch, {name: v + 1 for name, v in plan.items()})


def test_variants_that_lost_labels_are_not_shown(copied, made):
    def change(told):
        for row in told["images"]:
            row["relabelled"] = row["variant"] == 1

    serve = al.PSLDPool(edited(copied, change))
    images = rows(made[1])
    for seed in range(4):
        out = serve(images, generator=seeded(seed))
        for image, file in zip(out, made[1], strict=True):
            assert is_one_of(image, variants(copied, file, 1))
    edited(copied, lambda told: [row.update(relabelled=True) for row in told["images"]])
    with pytest.raises(ValueError, match=r'has none. With mask="random" objects are erased'):
        al.PSLDPool(copied)


def test_what_is_no_pool_is_named(made, tmp_path):
    with pytest.raises(TypeError, match="`pool` must be the folder of a pool of variants, got int"):
        al.PSLDPool(3)
    with pytest.raises(TypeError, match="`must_hit` must be True or False, got 'no'"):
        al.PSLDPool(made[0], must_hit="no")
    folder = tmp_path / "some"
    told = "`pool` must be a folder of variants that `albu-learned synth` has written"
    with pytest.raises(FileNotFoundError, match=f"{told} .*and there is no such folder"):
        al.PSLDPool(folder)
    folder.mkdir()
    with pytest.raises(FileNotFoundError, match=r"which has no manifest.json"):
        al.PSLDPool(folder)
    (folder / "model_index.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"which is a model. Make a pool with it first"):
        al.PSLDPool(folder)
    (folder / ".synth.json").write_text('{"facts": {"seed": 0}}')
    with pytest.raises(FileNotFoundError, match=r"which holds images of classes"):
        al.PSLDPool(folder)


def test_a_pool_that_is_not_finished_is_named(copied):
    (copied / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"which is not finished. Run the same"):
        al.PSLDPool(copied)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda told: told["settings"].update(format=1), "must be of the format 3 .* the format 1"),
        (lambda told: told["settings"].update(type="dog"), r"manifest.json' is another \(it is of"),
        (lambda told: told.pop("images"), r"is another \(KeyError: 'images'\)"),
        (lambda told: told.pop("unread"), r"is another \(KeyError: 'unread'\)"),
        (lambda told: told.update(images={}), "is another"),
        (lambda told: told["images"][0].update(objects="zz"), r"another \(`objects` is 'zz'"),
        (lambda told: told["images"][0].pop("pixels"), r"is another \(an image of it is {"),
        (lambda told: told["images"][0].update(shape="big"), r"is another \(an image of it is"),
        (lambda told: told["images"][0].update(content="zz"), r"another \(`content` is 'zz'"),
        (lambda told: told["images"][0].update(digest="../x"), r"another \(`digest` is '../x'"),
        (lambda told: told["images"][0].update(variant=True), r"is another \(an image of it is"),
        (lambda told: told["images"][0].update(shape=[[64], 64, 3]), r"\(a shape is \[\[64\]"),
        (lambda told: told["images"][0].update(bits=7), "of 7 bits"),
        (lambda told: told["images"][0].update(file="../x.png"), "inside of its own folder"),
        (lambda told: told["images"][0].update(file="/etc/passwd"), "names '/etc/passwd'"),
        (lambda told: told["images"][0].update(file="images\\..\\x"), "inside of its own folder"),
    ],
)
def test_a_manifest_that_was_changed_is_named(change, error, copied):
    with pytest.raises(ValueError, match=error):
        al.PSLDPool(edited(copied, change))


def test_a_manifest_that_is_no_json_is_named(copied):
    for text in ("{", "[]", '{"settings": 3}', 10**5 * "["):
        (copied / "manifest.json").write_text(text)
        with pytest.raises(ValueError, match="Run the same `albu-learned synth` again"):
            al.PSLDPool(copied)


def serve_as(pool, name, contents):
    """The pool with other contents of an image's variants, which its manifest knows."""

    def know(told):
        for row in told["images"]:
            if row["file"].startswith(name):
                row["digest"] = label_file.digest(contents[row["variant"]])

    for number, content in contents.items():
        (pool / f"{name}{number}.png").write_bytes(content)
    return al.PSLDPool(edited(pool, know))


def test_a_pool_that_was_made_anew_for_other_labels_must_be_opened_anew(tmp_path):
    scenes = pools.scenes(2)
    pool, files = pools.pool_of(tmp_path, scenes)
    images, serve = rows(files), al.PSLDPool(pool)
    serve(images)
    pools.pool_of(tmp_path, scenes, ["0 0.3 0.3 0.2 0.2\n", "0 0.7 0.7 0.2 0.2\n"])
    with pytest.raises(ValueError, match=r"another than the pool had when it was opened; .* begin"):
        serve(images)
    again = al.PSLDPool(pool)
    again(images)
    assert again.hits == 2


def test_files_that_are_missing_or_broken_are_named(copied, made):
    images = rows(made[1][:1])
    name = "images/train/0.png.v"
    serve, cut, small = al.PSLDPool(copied), {}, {}
    for number in (0, 1):
        file = copied / f"{name}{number}.png"
        cut[number] = file.read_bytes()[:-40]
        small[number] = pictures.encoded(np.zeros((9, 9, 3), np.uint8))
        file.write_bytes(cut[number])
    with pytest.raises(ValueError, match=r"0.png.v\d.png' is broken .* Delete that file"):
        serve_as(copied, name, cut)(images)
    with pytest.raises(ValueError, match=r"is broken \(its shape is \(9, 9, 3\), not \(32, 48, 3"):
        serve_as(copied, name, small)(images)
    (copied / f"{name}0.png").unlink()
    with pytest.raises(ValueError, match="is broken"):
        [serve(images, generator=seeded(k)) for k in range(9)]
    with pytest.raises(FileNotFoundError, match=r"'images/train/0.png.v0.png' are missing"):
        al.PSLDPool(copied)


def test_without_pillow_variants_are_read_by_opencv(made, monkeypatch):
    pytest.importorskip("cv2")
    pool, _ = made
    file = next((pool / "images" / "train").glob("*.png"))
    wanted = pictures.decoded_png(file.read_bytes())
    monkeypatch.setattr(pictures.importlib.util, "find_spec", lambda name: None)
    assert np.array_equal(pictures.decoded_png(file.read_bytes()), wanted)
    with pytest.raises(ValueError, match="cannot be read as a PNG"):
        pictures.decoded_png(file.read_bytes()[:-40])
