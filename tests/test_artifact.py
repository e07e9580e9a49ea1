import json
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

import albu_learned as al
from albu_learned.parts import Part
from tests import toys


@pytest.fixture
def folder(tmp_path):
    toy = toys.ClassShift(num_classes=3, noise=0.5)
    with torch.no_grad():
        toy.shift.copy_(torch.rand(3, 2))
    toy.about = al.About(
        classes=["cat", "dog", "eel"], image_size=[8, 8], channels=3, data="30 made images",
        licence="cc0-1.0", figures={"residual": 0.25},
    )  # fmt: skip
    toy.save_pretrained(tmp_path / "toy")
    return tmp_path / "toy"


def edit(folder, change):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def test_a_folder_holds_it_all(folder):
    assert sorted(p.name for p in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    config = json.loads((folder / "config.json").read_text())
    assert config["type"] == "ClassShift"
    assert config["arguments"] == {"num_classes": 3, "noise": 0.5}
    card = (folder / "README.md").read_text()
    for fact in ("# ClassShift", "30 made images", "cat, dog, eel", "license: cc0-1.0", "residual"):
        assert fact in card


def test_comes_back_the_same(folder):
    loaded = al.load(folder)
    assert isinstance(loaded, toys.ClassShift)
    assert loaded.about.classes == ["cat", "dog", "eel"]
    assert torch.equal(loaded.shift, load_file(folder / "model.safetensors")["shift"])
    assert torch.equal(toys.ClassShift.from_pretrained(folder).shift, loaded.shift)
    again = folder.parent / "again"
    loaded.save_pretrained(again)
    for name in ("config.json", "model.safetensors", "README.md"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_overwriting_leaves_nothing_of_the_old(folder):
    al.ZetaMixup(gamma=4.0).save_pretrained(folder)
    assert not (folder / "model.safetensors").exists()
    assert "# ZetaMixup" in (folder / "README.md").read_text()
    assert al.load(folder).gamma == 4.0


def test_an_interrupted_write_is_no_artifact(folder, monkeypatch):
    monkeypatch.setattr(al.artifact, "to_safetensors", lambda *_: (_ for _ in ()).throw(OSError()))
    with pytest.raises(OSError):
        al.load(folder).save_pretrained(folder)
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        al.load(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "README.md"])
def test_files_of_others_are_not_overwritten(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(FileExistsError, match=name):
        al.ZetaMixup().save_pretrained(tmp_path)
    assert (tmp_path / name).read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_holds_other_things_is_fine(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    al.ZetaMixup().save_pretrained(tmp_path)
    al.ZetaMixup(gamma=3.0).save_pretrained(tmp_path)
    assert al.load(tmp_path).gamma == 3.0


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda toy: toy.half(), "float32"),
        (lambda toy: setattr(toy, "noise", float("inf")), "noise.*finite"),
        (lambda toy: setattr(toy, "num_classes", 7), r"\(7, 2\)"),
        (
            lambda toy: setattr(toy, "about", al.About(figures={"loss": float("nan")})),
            "figures.*nan",
        ),
    ],
)
def test_what_could_not_be_loaded_again_is_not_saved(folder, spoil, words):
    before = (folder / "config.json").read_bytes()
    toy = al.load(folder)
    spoil(toy)
    with pytest.raises(ValueError, match=words):
        toy.save_pretrained(folder)
    assert (folder / "config.json").read_bytes() == before


def test_saving_leaves_the_random_numbers_alone(tmp_path):
    picture = toys.ClassPicture()
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    picture.save_pretrained(tmp_path)
    assert torch.rand(1) == expected


def test_names_that_artifacts_use_are_refused(tmp_path):
    class Named(toys.ClassPicture):
        def __init__(self, type=1):
            super().__init__()
            self.type = type

    with pytest.raises(ValueError, match=r"Named.*`type`"):
        Named().save_pretrained(tmp_path)


def test_a_script_that_is_run_and_imported_is_one_home(tmp_path):
    script = tmp_path / "mine.py"
    script.write_text(
        "import albu_learned as al\n"
        "class Mine(al.ZetaMixup):\n    pass\n"
        "if __name__ == '__main__':\n    import mine\n    print(mine.Mine is Mine)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "False\n", done.stderr


def test_loading_from_what_is_no_folder(tmp_path):
    with pytest.raises(TypeError, match=r"folder.*NoneType"):
        al.load(None)
    al.ZetaMixup().save_pretrained(tmp_path)
    with pytest.raises(NotADirectoryError, match=r"config\.json"):
        al.load(tmp_path / "config.json")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        al.ZetaMixup.from_pretrained("./typo")


def test_classes_go_by_name(folder):
    toy = al.load(folder)
    assert toy.class_order(["eel", "cat", "dog"]).tolist() == [2, 0, 1]
    for wrong in (["cat", "dog"], ["cat", "dog", "fox"], ["cat", "cat", "dog"]):
        with pytest.raises(ValueError, match=r"classes.*eel"):
            toy.class_order(wrong)
    with pytest.raises(ValueError, match="no class names"):
        al.ZetaMixup().class_order(["a"])


def remove_tensor(folder):
    save_file({}, folder / "model.safetensors")


def add_tensor(folder):
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "extra": torch.zeros(1)}, folder / "model.safetensors")


def reshape_tensor(folder):
    save_file({"shift": torch.zeros(4, 2)}, folder / "model.safetensors")


def retype_tensor(folder):
    save_file({"shift": torch.zeros(3, 2).double()}, folder / "model.safetensors")


def other(key, value):
    return lambda folder: edit(folder, lambda config: config.update({key: value}))


@pytest.mark.parametrize(
    ("break_it", "error", "words"),
    [
        (remove_tensor, ValueError, ["missing ['shift']"]),
        (add_tensor, ValueError, ["unknown ['extra']"]),
        (reshape_tensor, ValueError, ["shift", "(3, 2)", "(4, 2)"]),
        (retype_tensor, ValueError, ["shift", "float32", "float64"]),
        (lambda f: (f / "model.safetensors").unlink(), FileNotFoundError, ["model.safetensors"]),
        (lambda f: (f / "config.json").unlink(), FileNotFoundError, ["config.json", "has none"]),
        (
            lambda f: (f / "config.json").rename(f / "model_index.json"),
            FileNotFoundError,
            ["has none", "diffusion model: give it to PSLDInpaint"],
        ),
        (
            lambda f: (f / "config.json").rename(f / "manifest.json"),
            FileNotFoundError,
            ["pool of variants, use PSLDPool"],
        ),
        (shutil.rmtree, FileNotFoundError, ["does not exist", "from_pretrained"]),
        (lambda f: (f / "config.json").write_text("{"), ValueError, ["config.json", "JSON"]),
        (lambda f: (f / "config.json").write_text("[]"), ValueError, ["not an albu_learned"]),
        (other("format", 99), ValueError, ["format 1", "99", "another version"]),
        (other("surprise", 1), ValueError, ["unknown ['surprise']"]),
        (other("type", "Nonsense"), ValueError, ["Nonsense", "ZetaMixup", "import its module"]),
        (other("arguments", {"colour": 1}), ValueError, ["colour", "ClassShift", "num_classes"]),
        (other("about", {"owner": "x"}), ValueError, ["owner", "about"]),
        (other("about", {"classes": 5}), ValueError, ["classes", "a list of names", "5"]),
        (other("about", {"figures": [1]}), ValueError, ["figures", "named, finite numbers"]),
        (other("about", None), ValueError, ["not an albu_learned"]),
        (other("type", ["ZetaMixup"]), ValueError, ["not an albu_learned"]),
        (other("format", True), ValueError, ["format 1", "True"]),
        (other("arguments", {"num_classes": -2}), ValueError, ["negative"]),
        (
            lambda f: (f / "config.json").write_text("[" * 100_000),
            ValueError,
            ["config.json", "JSON"],
        ),
        (
            lambda f: (f / "model.safetensors").write_bytes(b"rubbish"),
            ValueError,
            ["model.safetensors", "safetensors"],
        ),
    ],
)
def test_a_broken_folder_is_named(folder, break_it, error, words):
    break_it(folder)
    with pytest.raises(error) as raised:
        al.load(folder)
    for word in [*words, "toy"]:
        assert word in str(raised.value)


def test_nan_is_refused_and_infinity_is_not(folder, tmp_path):
    toy = al.load(folder)
    toy.shift.data[1, 0] = float("inf")
    toy.save_pretrained(folder)
    assert al.load(folder).shift[1, 0] == float("inf")
    toy.shift.data[1, 0] = float("nan")
    with pytest.raises(ValueError, match="This ClassShift must hold numbers as `shift`, got NaN"):
        toy.save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    save_file({"shift": toy.shift.detach()}, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"The artifact .* must hold numbers as `shift`, got NaN"):
        al.load(folder)


def test_arguments_are_checked_by_the_constructor(tmp_path):
    al.ZetaMixup().save_pretrained(tmp_path)
    edit(tmp_path, lambda config: config["arguments"].update(gamma=-1))
    with pytest.raises(ValueError, match="gamma") as raised:
        al.load(tmp_path)
    assert str(tmp_path) in str(raised.value)


def test_an_artifact_of_another_type(folder):
    with pytest.raises(TypeError, match=r"ClassShift.*ZetaMixup was asked for"):
        al.ZetaMixup.from_pretrained(folder)
    assert al.Warp.from_pretrained(folder).about.classes


def test_arguments_cannot_be_changed_on_loading(folder):
    with pytest.raises(TypeError, match="num_classes"):
        toys.ClassShift.from_pretrained(folder, num_classes=4)


def test_a_name_is_registered_once():
    with pytest.raises(TypeError, match="taken by"):

        class ZetaMixup(al.Mix):
            def draw(self, rows, generator=None, device=None): ...
            def plan(self, batch, noise): ...

    assert Part._registry["ZetaMixup"] is al.ZetaMixup


def test_parts_are_saved_by_their_own_type(tmp_path):
    class Palette(Part):
        def __init__(self, shades=3):
            self.shades = shades

    class Painter(toys.ClassPicture):
        def __init__(self, palette, size=8):
            super().__init__(size=size)
            self.palette = palette

    Painter(Palette(5)).save_pretrained(tmp_path)
    loaded = al.load(tmp_path)
    assert isinstance(loaded.palette, Palette)
    assert loaded.palette.shades == 5


def test_what_cannot_be_saved_is_named(tmp_path):
    class Forgetful(toys.ClassPicture):
        def __init__(self, secret=1):
            super().__init__()

    class Holder(toys.ClassPicture):
        def __init__(self, tensor):
            super().__init__()
            self.tensor = tensor

    with pytest.raises(AttributeError, match="secret"):
        Forgetful().save_pretrained(tmp_path)
    with pytest.raises(TypeError, match=r"Holder\.tensor.*buffers"):
        Holder(torch.zeros(2)).save_pretrained(tmp_path)


@pytest.fixture
def pushed(monkeypatch):
    """What went to the hub's own upload call, stopped at the network's edge."""
    seen = {}

    def upload(self, *, repo_id, folder_path, **_):
        seen[repo_id] = {path.name: path.read_bytes() for path in folder_path.iterdir()}
        return "url"

    monkeypatch.setattr("huggingface_hub.HfApi.upload_folder", upload)
    monkeypatch.setattr(
        "huggingface_hub.HfApi.create_repo",
        lambda self, repo_id, **_: type("R", (), {"repo_id": repo_id}),
    )
    return seen


def test_pushes_what_it_saves(pushed):
    toys.ClassShift().push_to_hub("someone/shift")
    assert sorted(pushed["someone/shift"]) == ["README.md", "config.json", "model.safetensors"]


def test_pushes_the_picture_that_lies_in_its_folder(pushed, folder):
    saved = toys.ClassShift()
    saved.save_pretrained(folder)
    (folder / "preview.png").write_bytes(b"picture")
    for method in (saved, al.load(folder), toys.ClassShift.from_pretrained(folder)):
        for repository in ("someone/once", "someone/twice"):
            assert method.push_to_hub(repository) == "url"
            found = pushed.pop(repository)
            assert found["preview.png"] == b"picture"
            assert b"(preview.png)" in found["README.md"]
    saved.save_pretrained(folder, push_to_hub=True, repo_id="someone/saved")
    assert pushed["someone/saved"]["preview.png"] == b"picture"
    al.load(folder).with_arguments(noise=0.25).push_to_hub("someone/other")  # shown nowhere
    assert "preview.png" not in pushed["someone/other"]
