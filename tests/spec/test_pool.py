"""A pool of variants in a spec: its path, its stage, and epochs in which it changed nothing."""

import pytest
import torch

pytest.importorskip("PIL", reason="the extra `cli` is not installed")
pytest.importorskip("tqdm", reason="the extra `cli` is not installed")

from albu_learned.batch import Batch
from albu_learned.spec import Given, Step, Tally, read
from tests import pools

GIVEN = Given("a toy", frozenset({"images"}))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a pool of four scenes."""
    folder = tmp_path_factory.mktemp("place")
    pools.pool_of(folder, pools.scenes())
    return folder


def spec(place, text):
    file = place / "spec.yaml"
    file.write_text(f"methods:\n  - method: PSLDPool\n{text}")
    return file


def test_its_path_is_relative_to_the_file(place, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (entry,) = read(spec(place, "    pool: pool\n")).entries
    assert entry.arguments == {"pool": str(place / "pool")}
    assert (entry.stage, entry.p) == ("image", 0.5)
    assert entry.build().pool == str(place / "pool")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("    pool: none\n", r"spec.yaml, line 3: `pool` must be a folder of variants .*no such"),
        ("    pool: 3\n", r"line 3: `pool` must be the folder of one, got 3"),
        ("    p: 1\n", r"line 2: PSLDPool must have the key `pool`, the path of a folder"),
        ("    pool: pool\n    stage: batch\n", r"line 4: `stage` of PSLDPool must be image, got b"),
        ("    pool: pool\n    must_hit: 2\n", r"line 4: `must_hit` must be True or False, got 2"),
    ],
)
def test_mistakes_get_their_line(place, text, error):
    with pytest.raises((ValueError, TypeError, OSError), match=error):
        read(spec(place, text))


def shown(place, images, more=""):
    """How many of the rows were changed, and the tally of that."""
    (entry,) = read(spec(place, f"    pool: pool\n    p: 1\n{more}")).entries
    _, changed = Step(entry, GIVEN)(Batch(images=images))
    tally = Tally([entry])
    tally.add(0, len(images), changed)
    return changed, tally


def test_rows_that_were_found_are_counted(place):
    known = torch.from_numpy(pools.scenes(4)).permute(0, 3, 1, 2)
    other = torch.from_numpy(pools.scenes(3, seed=7)).permute(0, 3, 1, 2)
    changed, tally = shown(place, torch.cat([known[:2], other]))
    assert changed == 2
    tally.close(0)
    changed, tally = shown(place, other)
    assert changed == 0
    with pytest.raises(RuntimeError, match=r"changed none of 3 rows. None of the images .*synth"):
        tally.close(0)
    _, tally = shown(place, other, "    must_hit: false\n")
    tally.close(0)


def test_what_could_have_been_hit_by_chance_is_let_be(place):
    (entry,) = read(spec(place, "    pool: pool\n    p: 0.5\n")).entries
    tally = Tally([entry])
    tally.add(0, 1000, 0)  # of which no more than four have variants
    tally.close(0)
    tally.add(0, 0, 0)
    with pytest.raises(RuntimeError, match=r"never called. Something has removed it"):
        tally.close(0)
