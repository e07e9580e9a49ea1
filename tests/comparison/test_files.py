"""Files of a comparison: they come back as they were, equal ones are equal to the byte, and they
are written whole or not at all."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from albu_learned.comparison.conclusion import conclude
from albu_learned.comparison.files import read_json, write_csv, write_json
from albu_learned.comparison.result import Result
from tests.comparison.outcomes import study

GAMMAS = ({"gamma": 4.0}, {"gamma": 2.0})


def full():
    """A comparison that uses everything that can be used."""
    outcome = study(
        {"mixup": 0.02, "zeta": [0.03, 0.0]},
        sizes=(5, 0),
        controls=[("zeta", ("mixup",))],
        chosen=[("zeta", GAMMAS)],
        skipped=[("psld", "diffusers is not installed.")],
        notes=("few images", "größer"),
        settings={"seeds": 5, "sizes": [5, 0], "device": None, "fast": True},
        versions={"torch": "2.4.1"},
        command="albu-learned compare toys",
    )
    first, *others = outcome.results
    return replace(
        outcome, results=(replace(first, bins=((3, 0.1, 1 / 3), (0, 0.0, 0.0))), *others)
    )


def test_json_comes_back_as_it_was(tmp_path):
    outcome = full()
    write_json(outcome, tmp_path / "results.json")
    assert read_json(tmp_path / "results.json") == outcome


def test_json_tells_what_follows_from_it(tmp_path):
    write_json(full(), tmp_path / "results.json")
    content = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert tuple(content["sentences"]) == conclude(full()).sentences
    rows = [r for r in content["paired"] if r["arm"] == "mixup" and r["measure"] == "accuracy"]
    assert [row["size"] for row in rows] == [5, 0, None]
    assert {row["measure"] for row in content["paired"]} == {"accuracy", "macro_f1", "nll", "ece"}
    assert rows[-1]["clear"] is True


def test_numbers_that_json_has_no_word_for(tmp_path):
    outcome = full()
    outcome.results[0].measures["nll"] = math.inf
    outcome.results[1].measures["ece"] = math.nan
    outcome.results[2].measures["nll"] = np.float64(0.1)
    outcome.settings["out"] = Path("runs")
    outcome.settings["seeds"] = np.int64(5)
    write_json(outcome, tmp_path / "results.json")

    def refuse(name):
        raise AssertionError(name)

    text = (tmp_path / "results.json").read_text(encoding="utf-8")
    json.loads(text, parse_constant=refuse)  # neither NaN nor Infinity
    back = read_json(tmp_path / "results.json")
    assert back.results[0].measures["nll"] == math.inf
    assert math.isnan(back.results[1].measures["ece"])
    assert back.results[2] == outcome.results[2]
    assert (back.settings["out"], back.settings["seeds"]) == ("runs", 5)


def test_csv_by_hand(tmp_path):
    outcome = full()
    write_csv(outcome, tmp_path / "results.csv")
    content = (tmp_path / "results.csv").read_bytes()
    assert b"\r" not in content
    rows = list(csv.DictReader(content.decode().splitlines()))
    measures = ["accuracy", "macro_f1", "nll", "ece"]
    assert list(rows[0]) == ["arm", "size", "seed", *measures, "strength"]
    order = [(row["arm"], row["size"], int(row["seed"])) for row in rows]
    arms = ("plain", "mixup", "zeta")
    assert order == [(a, z, s) for a in arms for z in ("5", "all") for s in range(5)]
    found = {(r.arm, r.size, r.seed): r for r in outcome.results}
    for row in rows:
        size = 0 if row["size"] == "all" else int(row["size"])
        result = found[row["arm"], size, int(row["seed"])]
        assert all(float(row[name]) == value for name, value in result.measures.items())
        assert json.loads(row["strength"]) == result.strength


def test_equal_results_make_equal_files_in_whatever_order_they_came(tmp_path):
    outcome = full()
    mixed = [
        replace(r, measures=dict(reversed(list(r.measures.items())))) for r in outcome.results[::-1]
    ]
    for name, results in (("a", outcome.results), ("b", tuple(mixed))):
        write_csv(replace(outcome, results=results), tmp_path / name)
        write_json(outcome, tmp_path / f"{name}.json")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_csv_of_results_with_other_measures(tmp_path):
    outcome = study({}, sizes=(5,), seeds=2)
    results = (
        Result("plain", 5, 0, {"accuracy": 0.1, "zz": 1.0}, {"b": 1, "a": "x,y"}),
        Result("plain", 5, 1, {"accuracy": np.float64(0.3)}),
    )
    write_csv(replace(outcome, results=results), tmp_path / "a")
    lines = (tmp_path / "a").read_text().splitlines()
    assert lines == [
        "arm,size,seed,accuracy,zz,strength",
        'plain,5,0,0.1,1.0,"{""a"": ""x,y"", ""b"": 1}"',
        "plain,5,1,0.3,,{}",
    ]


def test_writing_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "results"

    def full_disk(*_):
        raise OSError("disk full")

    for write in (write_csv, write_json):
        write(full(), path)
        before = path.read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", full_disk)
            with pytest.raises(OSError, match="disk full"):
                write(study({"other": 0.1}), path)
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]


def without(name):
    return lambda content: content.pop(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format=2), "format 1, got 2"),
        (without("format"), "format 1, got None"),
        (without("results"), "results"),
        (without("command"), r"missing keys \['command'\]"),
        (lambda c: c.update(more=1), r"unknown keys \['more'\]"),
        (lambda c: c["results"][0].pop("seed"), r"Result has missing keys \['seed'\]"),
        (lambda c: c["arms"][0].update(colour="red"), r"ArmFacts .*unknown keys \['colour'\]"),
        (lambda c: c["results"][0]["measures"].update(nll="low"), "could not convert"),
        (lambda c: c["results"][0].update(bins=[[1, 2]]), "unpack"),
        (lambda c: c.update(results=3), "not iterable"),
    ],
)
def test_what_is_not_a_comparison_is_refused(tmp_path, change, message):
    path = tmp_path / "results.json"
    write_json(full(), path)
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match=message) as raised:
        read_json(path)
    assert "results.json" in str(raised.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_what_is_not_json_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"a\.json' must be"):
        read_json(tmp_path / "a.json")
