"""Parts of a method in a spec: by their names, with arguments of their own."""

import pytest

import albu_learned as al
from albu_learned import spec


def read(folder, method):
    path = folder / "spec.yaml"
    path.write_text(f"methods:\n  - {{{method}}}\n")
    return spec.read(path)


def test_a_prior_is_written_with_scalars_alone(tmp_path):
    (entry,) = read(tmp_path, "method: ThetaWarp, std: 0.03, scale: 2").entries
    assert (entry.kind, entry.stage, entry.p) == ("warp", "sample", 0.5)
    made = entry.build(num_classes=7)
    assert isinstance(made.family, al.AffineCPAB)
    assert (made.std, made.scale, made.distributions, made.needs) == (0.03, 2.0, 1, frozenset())


@pytest.mark.parametrize(
    ("family", "cells"),
    [("{CPAB: {cells: [3, 2]}}", [3, 2]), ("{CPAB: }", [4, 4]), ("{CPAB: {}}", [4, 4])],
)
def test_a_family_is_named_with_its_arguments(family, cells, tmp_path):
    given = read(tmp_path, f"method: ThetaWarp, family: {family}, box: ellipse, p: 1")
    made = given.entries[0].build()
    assert isinstance(made.family, al.CPAB)
    assert (made.family.cells, made.box) == (cells, "ellipse")
    copy = tmp_path / "copy.yaml"
    copy.write_text(given.dump())
    assert spec.read(copy).entries[0].build().arguments() == made.arguments()


@pytest.mark.parametrize(
    ("family", "words"),
    [
        ("{CPAV: {}}", "line 2: `family` must name a part that is known, got CPAV. Did you mean"),
        ("{CPAB: {cels: 3}}", "line 2: `cels` is not an argument of CPAB. Did you mean `cells`"),
        ("{CPAB: 3}", "line 2: `family` must give CPAB its arguments as `key: value`, got 3"),
        ("{CPAB: {cells: [0, 1]}}", "line 2: .*`cells"),
        ("{ZetaMixup: {}}", "line 2: .*`family` must be a Family"),
        ("CPAB", "line 2: `family` must be a Family"),
        ("{cells: 3}", "line 2: `family` must be a Family"),
    ],
)
def test_mistakes_in_a_part_are_named(family, words, tmp_path):
    with pytest.raises((ValueError, TypeError), match=words):
        read(tmp_path, f"method: ThetaWarp, family: {family}")
