"""A spec as its user writes it, and what is said of every mistake in it."""

import dataclasses
import pickle

import pytest

import albu_learned as al
from albu_learned import spec
from tests import toys


@pytest.fixture
def folder(tmp_path):
    """With two artifacts, and with a function that writes a spec."""
    toys.ClassShift().save_pretrained(tmp_path / "warp")
    toys.ClassPicture().save_pretrained(tmp_path / "fitted" / "picture")
    return tmp_path


def written(folder, text):
    path = folder / "spec.yaml"
    path.write_text(text)
    return path


WHOLE = """
methods:
  - artifact: warp
    p: 0.25
    until_epoch: 90
  - artifact: fitted/picture
    resize: true
  - method: ZetaMixup   # the others have defaults
    gamma: 4
    top_k: 8
"""


def test_a_spec_is_read_stage_by_stage(folder):
    read = spec.read(written(folder, WHOLE))
    assert [e.name for e in read.entries] == ["ClassPicture", "ClassShift", "ZetaMixup"]
    assert [e.stage for e in read.entries] == ["image", "sample", "batch"]
    assert [e.p for e in read.entries] == [0.5, 0.25, 1.0]
    picture, warp, mix = read.entries
    assert (warp.from_epoch, warp.until_epoch) == (0, 90)
    assert mix.arguments == {"gamma": 4, "top_k": 8}
    assert picture.artifact == str(folder / "fitted" / "picture")
    assert picture.where == f"{folder / 'spec.yaml'}, line 6"
    assert read.at("image", "sample") == (picture, warp)
    assert "ZetaMixup(gamma=4, top_k=8) on the batch p=1" in str(read)
    assert "ClassShift on the sample p=0.25, epochs 0-89" in str(read)


def test_a_generator_may_work_after_the_warps_of_another_stage(folder):
    al.ClassVAE((1, 8, 8), 2).save_pretrained(folder / "vae")
    read = spec.read(written(folder, "methods:\n- artifact: warp\n- artifact: vae"))
    assert [(e.name, e.stage, e.p) for e in read.entries] == [
        ("ClassShift", "sample", 0.5),
        ("ClassVAE", "batch", 0.4),
    ]


def test_methods_are_built_for_the_host(folder):
    picture, warp, mix = spec.read(written(folder, WHOLE)).entries
    built = mix.build(num_classes=7)
    assert isinstance(built, al.ZetaMixup)
    assert (built.gamma, built.top_k, built.num_classes) == (4.0, 8, 7)
    assert not built.training
    assert mix.build().num_classes is None
    assert isinstance(warp.build(num_classes=7), toys.ClassShift)
    assert picture.build().resize


def test_the_number_of_classes_must_be_the_hosts(folder):
    text = "methods: [{method: ZetaMixup, num_classes: 3}]"
    with pytest.raises(ValueError, match=r"line 1: `num_classes` must be 7, .* got 3. Leave it"):
        spec.read(written(folder, text)).entries[0].build(num_classes=7)
    al.ZetaMixup(num_classes=3).save_pretrained(folder / "mix")
    with pytest.raises(ValueError, match="must be 7"):
        spec.read(written(folder, "methods: [{artifact: mix}]")).entries[0].build(num_classes=7)
    al.ZetaMixup().save_pretrained(folder / "mix")
    built = spec.read(written(folder, "methods: [{artifact: mix}]")).entries[0].build(7)
    assert built.num_classes == 7


def test_epochs_count_from_zero(folder):
    text = "methods: [{artifact: warp, from_epoch: 2, until_epoch: 4}]"
    (entry,) = spec.read(written(folder, text)).entries
    assert [entry.active(epoch) for epoch in range(6)] == [False, False, True, True, False, False]


def test_a_spec_travels_by_pickle_and_as_text(folder, tmp_path_factory):
    text = "classes: [a, b]\nmodules: [tests.toys]\n" + WHOLE
    text += "  - {artifact: warp, stage: policy}\n"
    read = spec.read(written(folder, text))
    assert pickle.loads(pickle.dumps(read)) == read
    elsewhere = tmp_path_factory.mktemp("run") / "copy.yaml"
    elsewhere.write_text(read.dump())
    again = spec.read(elsewhere)
    nowhere = dataclasses.replace
    assert [nowhere(e, where="") for e in again.entries] == [
        nowhere(e, where="") for e in read.entries
    ]
    assert (again.classes, again.modules) == (["a", "b"], ["tests.toys"])


def test_another_process_imports_the_module_of_a_method(folder, monkeypatch):
    (entry,) = spec.read(written(folder, "methods: [{artifact: warp}]")).entries
    assert entry.module == "tests.toys"
    stranger = dataclasses.replace(entry, name="Nowhere", module="nowhere_installed")
    with pytest.raises(ImportError, match="nowhere_installed"):
        stranger.build()
    scripted = dataclasses.replace(entry, name="Nowhere", module="__main__")
    with pytest.raises(ValueError, match=r"Nowhere is defined in the script .* module of its own"):
        scripted.build()


MISTAKES = [
    ("", "must list `methods:`, got an empty file"),
    ("- method: ZetaMixup", "line 1: a spec must be a mapping"),
    ("classes: [a]", "line 1: a spec must have the key `methods`"),
    ("methods: []", "line 1: `methods` must be a list of at least one"),
    ("methods: ZetaMixup", "line 1: `methods` must be a list"),
    ("methds: []", "line 1: `methds` is not a key of a spec. Did you mean `methods`?"),
    ("methods:\n- 3", "line 2: a method of the list must be a mapping"),
    ("methods:\n- 3: 4", "line 2: a key must be a text, got 3"),
    ("methods:\n- p: 1", "line 2: each method must have one of the keys"),
    ("methods:\n- {method: ZetaMixup, artifact: warp}", "line 2: each method must have one of"),
    ("methods:\n- method: ZetaMix", "line 2: .* Did you mean `ZetaMixup`. .* `modules`"),
    (
        "methods:\n- p: 1\n  method: PosteriorWarp",
        "line 3: `method` must not be PosteriorWarp, which PSTN.as_warp makes",
    ),
    ("methods:\n- method: [1]", "line 2: `method` must be one of"),
    ("methods:\n- method: {a: 1}", "line 2: `method` must be one of"),
    ("methods:\n- method: ZetaMixup\n  gama: 4", "line 3: `gama` is not .* Did you mean `gamma`?"),
    ("methods:\n- method: ZetaMixup\n  gamma: -4", "line 3: `gamma` must be a number > 0"),
    ("methods:\n- method: ZetaMixup\n  p: 1\n  p: 1", "line 4: `p` must be given once"),
    ("methods:\n- method: ZetaMixup\n  stage: sample", "line 3: `stage` of a mix must be batch"),
    ("methods:\n- method: ZetaMixup\n- method: ZetaMixup", "line 3: only one mix may be used"),
    ("methods:\n- artifact: nowhere", "line 2: `artifact`: .*does not exist"),
    ("methods:\n- artifact: 3", "line 2: `artifact` must be the folder of one, got 3"),
    ("methods:\n- artifact: warp\n  noise: 1", "line 3: .* An artifact stores its own arguments"),
    ("methods:\n- artifact: warp\n  resize: true", "line 3: `resize` is not a key of ClassShift"),
    ("methods:\n- artifact: fitted/picture\n  resize: 1", "line 3: `resize` must be true or false"),
    ("methods:\n- artifact: warp\n  p: 1.5", r"line 3: `p` must be in \[0, 1\], got 1.5"),
    ("methods:\n- artifact: warp\n  p: 1e-", "line 3: `p` must be a number .* got '1e-'"),
    ("methods:\n- artifact: warp\n  stage: sampel", "line 3: .* Did you mean `sample`?"),
    (
        "methods:\n- artifact: warp\n  from_epoch: -1",
        "line 3: `from_epoch` must be an integer >= 0",
    ),
    ("methods:\n- artifact: warp\n  until_epoch: yes", "line 3: `until_epoch` must be an integer"),
    (
        "methods:\n- artifact: warp\n  from_epoch: 3\n  until_epoch: 3",
        "line 4: `until_epoch` must be greater than from_epoch=3, got 3",
    ),
    ("methods:\n- {artifact: warp, stage: policy, p: 1}", "line 2: `p` must be left out"),
    ("methods:\n- {artifact: fitted/picture, stage: policy}", "policy is for warps"),
    (
        "methods:\n- method: ZetaMixup\n- {artifact: warp, stage: batch}",
        "line 3: ClassShift .* must be applied before ZetaMixup",
    ),
    (
        "methods:\n- {artifact: warp, stage: image}\n- {artifact: fitted/picture, stage: image}",
        "line 3: ClassPicture .* must be applied before ClassShift",
    ),
    (
        "methods:\n- method: ZetaMixup\n- {artifact: fitted/picture, stage: batch}",
        "line 3: ClassPicture .* must be applied before ZetaMixup",
    ),
    (
        "modules: [nowhere_installed]\nmethods: []",
        "line 1: `modules` .* 'nowhere_installed' is not",
    ),
    ("classes: a\nmethods: []", "line 1: `classes` must be a list of names, got 'a'"),
    ("classes: [a, a]\nmethods: []", "line 1: `classes` must name each once"),
    ("classes: [1]\nmethods: []", "line 1: `classes` must be a list of names"),
    ("methods:\n- {method: ZetaMixup, try: 4}", "line 2: `try` must be a mapping"),
    ("methods:\n- {method: ZetaMixup, try: {gama: [4]}}", "`gama` is not .* mean `gamma`"),
    (
        "methods:\n- {method: ZetaMixup, try: {gamma: 4}}",
        "`try` must list values of `gamma`, got 4",
    ),
    ("methods:\n- {method: ZetaMixup, try: {gamma: []}}", "`try` must list values of `gamma`"),
    (
        "methods:\n- method: ZetaMixup\n  try: {gamma: [4, -1]}",
        "line 3: `gamma` must be a number > 0",
    ),
    ("methods:\n- artifact: warp\n  try: {p: [0.5, 2]}", r"line 3: `p` must be in \[0, 1\], got 2"),
    ("methods:\n- artifact: warp\n  try: {noise: [a]}\n  tri: 1", "`tri` is not .* mean `try`"),
    ("methods:\n- artifact: [", "line 2: this is not YAML"),
    ("methods:\n- artifact: warp\n\tp: 1", "line 3: this is not YAML"),
    ("methods: !!python/object/apply:os.getcwd []", "line 1: `methods` must be a list"),
    ("methods:\n- {artifact: warp, p: 2020-13-45}", "line 2: this value cannot be read"),
    ("\x00", "must be text"),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_a_mistake_is_named_with_its_line(folder, text, message):
    with pytest.raises((ValueError, TypeError, OSError, ImportError), match=message):
        spec.read(written(folder, text))


def test_a_broken_artifact_is_named_with_the_line(folder):
    (folder / "warp" / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"line 2: `artifact`: .*must be JSON"):
        spec.read(written(folder, "methods:\n- artifact: warp"))


@pytest.mark.parametrize("epochs", [("until_epoch: 6", "from_epoch: 5"), ("p: 1", "from_epoch: 5")])
def test_mixes_must_not_meet(folder, epochs):
    first, second = (f"- {{method: ZetaMixup, {keys}}}" for keys in epochs)
    for pair in ([first, second], [second, first]):
        with pytest.raises(ValueError, match="line 3: only one mix may be used in an epoch"):
            spec.read(written(folder, "\n".join(["methods:", *pair])))


@pytest.mark.parametrize(("written_as", "p"), [("1e-2", 0.01), ("5.e-1", 0.5), ("1E0", 1.0)])
def test_numbers_need_no_point(folder, written_as, p):
    text = f"methods: [{{artifact: warp, p: {written_as}}}]"
    assert spec.read(written(folder, text)).entries[0].p == p


def test_paths_hold_wherever_the_process_goes(folder, monkeypatch):
    written(folder, "methods: [{artifact: fitted/../warp}]")
    monkeypatch.chdir(folder)
    (entry,) = spec.read("spec.yaml").entries
    monkeypatch.chdir("/")
    assert isinstance(entry.build(), toys.ClassShift)


def test_mixes_may_take_turns(folder):
    text = "methods:\n- {method: ZetaMixup, until_epoch: 5}\n- {method: ZetaMixup, from_epoch: 5}"
    assert len(spec.read(written(folder, text)).entries) == 2


def test_what_is_no_spec(folder):
    with pytest.raises(FileNotFoundError, match=r"must be a YAML file, got '.*none.yaml'"):
        spec.read(folder / "none.yaml")
    with pytest.raises(FileNotFoundError, match="Is a directory"):
        spec.read(folder)
    with pytest.raises(TypeError, match="`spec` must be the path of a YAML file, got int"):
        spec.read(3)


TRIES = [
    ("{method: ZetaMixup}", {"gamma": (2.8, 4.0, 6.0)}),  # those that the method knows
    ("{method: ZetaMixup, gamma: 4}", {}),  # what is written is not tried
    ("{method: ZetaMixup, top_k: 3}", {"gamma": (2.8, 4.0, 6.0)}),
    ("{method: ZetaMixup, gamma: 4, try: {gamma: [4, 5]}}", {"gamma": (4, 5)}),
    ("{method: ZetaMixup, try: {p: [1, 0.5]}}", {"p": (1, 0.5)}),
    ("{artifact: warp}", {}),
    ("{artifact: warp, try: {noise: [0.0, 0.1], p: [0.5]}}", {"noise": (0.0, 0.1), "p": (0.5,)}),
]


@pytest.mark.parametrize(("text", "wanted"), TRIES)
def test_strengths_to_try(folder, text, wanted):
    (entry,) = spec.read(written(folder, f"methods: [{text}]")).entries
    assert entry.tries == wanted


def test_a_training_takes_what_is_above_the_strengths(folder):
    text = "methods: [{method: ZetaMixup, gamma: 4, p: 0.5, try: {gamma: [5, 6], p: [1]}}]"
    (entry,) = spec.read(written(folder, text)).entries
    assert (entry.build().gamma, entry.p) == (4.0, 0.5)
    assert entry.value("gamma") == 4.0
    strong = entry.with_strength({"gamma": 6, "p": 1.0})
    assert (strong.build(num_classes=3).gamma, strong.p) == (6.0, 1.0)
    assert (entry.arguments, entry.p) == ({"gamma": 4}, 0.5)  # which is not changed


def test_the_strength_of_an_artifact(folder):
    toys.ClassShift(noise=0.25).save_pretrained(folder / "warp")
    text = "methods: [{artifact: warp, try: {noise: [0.0, 0.5]}}]"
    (entry,) = spec.read(written(folder, text)).entries
    assert entry.value("noise") == 0.25
    assert entry.with_strength({"noise": 0.5}).build().noise == 0.5
    assert entry.build().noise == 0.25


def test_strengths_survive_a_dump(folder):
    read = spec.read(written(folder, "methods: [{artifact: warp, try: {noise: [0.0, 0.5]}}]"))
    (folder / "copy.yaml").write_text(read.dump())
    assert spec.read(folder / "copy.yaml").entries[0].tries == {"noise": (0.0, 0.5)}
