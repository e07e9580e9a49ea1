"""`albu_learned.compare`: sets a comparison up, runs what of it is not there yet, and tells."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from albu_learned import checks
from albu_learned.comparison import cells
from albu_learned.comparison.finish import Comparison, finish
from albu_learned.comparison.prepare import prepare
from albu_learned.comparison.result import size_name
from albu_learned.comparison.settings import Settings
from albu_learned.comparison.store import Store
from albu_learned.comparison.study import Cell, Source, Study, forget_data
from albu_learned.comparison.words import counted
from albu_learned.comparison.work import test_work, train_work
from albu_learned.data import Boxes, Data
from albu_learned.engine import Task, check, run

__all__ = ["Comparison", "carry_out", "compare", "set_up"]

Say = Callable[[str], object]
Name = str | os.PathLike[str]


def compare(
    data: Name | Data | Boxes,
    arms: Sequence[str] | None = None,
    *,
    specs: Sequence[Name] = (),
    against: Mapping[str, Sequence[str]] | None = None,
    out: Name = "comparison",
    kind: str | None = None,
    groups: Name | None = None,
    test_share: float = 0.3,
    jobs: int = 1,
    engine: str = "local",
    address: str | None = None,
    say: Say = print,
    **settings: Any,
) -> Comparison:
    """Trains every arm on subsets of the data, and tells which of them helps.

    Finished cells are kept in `out`: run it again and it goes on where it was stopped.

    Args:
        data: a folder of images, an .npz file, series, or a data.yaml of YOLO; or opened data.
        arms: their names (see `albu_learned.comparison.arms`); None for the usual ones.
        specs: files of specs, each of which becomes an arm alone and one with the recipe.
        against: more controls: which arms, by name, one has to beat.
        out: the folder for the results.
        kind: "images" or "series" where an array may be either.
        groups: a CSV file of the images' patients or scenes, which stay on one side of a split.
        test_share: of the data for testing, where they come unsplit.
        jobs: trainings at a time on this machine.
        engine: "local", or "ray" for a Ray cluster.
        address: of the Ray cluster; None for the one that runs here or is named by RAY_ADDRESS.
        say: takes the lines of text.
        **settings: see `albu_learned.comparison.Settings`.
    """
    check(engine)
    study = set_up(
        data,
        arms,
        specs=specs,
        against=against,
        kind=kind,
        groups=groups,
        test_share=test_share,
        say=say,
        **settings,
    )
    asked = {"arms": arms, "specs": specs, "against": against}
    how = {"engine": engine, "jobs": jobs, "address": address}
    return carry_out(study, asked, out, how, say)


def set_up(
    data: Name | Data | Boxes,
    arms: Sequence[str] | None = None,
    *,
    specs: Sequence[Name] = (),
    against: Mapping[str, Sequence[str]] | None = None,
    kind: str | None = None,
    groups: Name | None = None,
    test_share: float = 0.3,
    say: Say = print,
    **settings: Any,
) -> Study:
    """The first half of `compare`: finds whatever is wrong with what is asked for."""
    known = [field.name for field in fields(Settings)]
    for name in settings:
        if name not in known:
            near = checks.nearest(name, known)
            raise TypeError(f"`{name}` is no argument of compare.{near}")
    for name, given in (("arms", arms), ("specs", specs)):
        if isinstance(given, (str, os.PathLike)):
            raise TypeError(f"`{name}` must be a list, got {given!r}. Write [{str(given)!r}].")
    sizes = settings.get("sizes")
    if 0 in (sizes if isinstance(sizes, (list, tuple)) else [sizes]):
        raise ValueError('`sizes` must be integers >= 1, or "all", got 0.')
    _forget()  # files may have changed since this process opened them
    source = _source(data, kind, groups, test_share)
    paths = [os.fspath(path) for path in specs]
    try:
        return prepare(source, Settings(**settings), arms, paths, against)
    except KeyboardInterrupt:
        say(
            "\nStopped before the first training, while data and arms were checked: there is "
            "nothing new to keep, and the same command begins again."
        )
        raise


def carry_out(
    study: Study, asked: Mapping[str, Any], out: Name, how: Mapping[str, Any], say: Say = print
) -> Comparison:
    """The second half: trains and tests what is not there yet, and writes the report."""
    folder = Path(out)
    if how.get("engine") == "ray" and str(study.settings.device).startswith("cuda"):
        how = {**how, "gpus": 1}
    with Store(folder) as store:
        todo: dict[str, Cell] = {}
        try:
            todo.update((study.key(cell), cell) for cell in study.cells())
            _announce(study, todo.keys(), store, say)
            found = _train_and_test(study, todo, store, functools.partial(run, **how))
            return finish(study, found, folder, asked, say)
        except KeyboardInterrupt:
            say(f"\nStopped. {_kept(todo.keys(), store)}")
            raise
        finally:
            _forget()


def _kept(keys: Collection[str], store: Store) -> str:
    """What there is of a comparison that is stopped, and how to go on."""
    done = store.read()
    stages = [done.get(key, {}) for key in keys]
    trained, tested = (sum(name in each for each in stages) for name in ("trained", "tested"))
    if not trained:
        return "No training was finished, so nothing is kept: the same command begins again."
    return (
        f"What is finished is kept in {store.folder}, {trained} of {counted(len(keys), 'cell')} "
        f"trained and {tested} tested: the same command goes on from here."
    )


def _forget() -> None:
    forget_data()
    cells.forget()


def _source(
    data: Name | Data | Boxes,
    kind: str | None,
    groups: Name | None,
    test_share: float,
) -> Source:
    if isinstance(data, (Data, Boxes)):
        if (kind, groups, test_share) != (None, None, 0.3):
            raise ValueError(
                "`kind`, `groups` and `test_share` must be left out for data that are open. Give "
                "them to open_data."
            )
        if isinstance(data, Data) and not len(data.test):
            raise ValueError(
                "`data` must have something to test on, got none. Open them without test_share=0."
            )
        return Source(data.path, opened=data)
    checks.between("test_share", test_share, "(0, 1)")
    # Absolute, for workers elsewhere; and so that the folder may be left.
    named = None if groups is None else os.path.abspath(groups)
    return Source(os.path.abspath(data), kind, named, test_share)


def _announce(study: Study, keys: Collection[str], store: Store, say: Say) -> None:
    settings, data = study.settings, study.data
    ran = [arm for arm in study.arms if not arm.skipped]
    done = store.read()
    kept = sum("tested" in done.get(key, {}) for key in keys)
    unit = "images in all" if isinstance(data, Boxes) else "a class"
    sizes = ", ".join(map(size_name, settings.sizes))
    say(
        f"{data.name}: {counted(len(data.classes), 'class', 'classes')}, "
        f"{counted(len(data.train), *_rows(study))} to train on, {len(data.test)} to test on."
    )
    for remark in study.remarks:
        say(f"Careful: {remark}")
    say(
        f"{counted(len(ran), 'arm')}, {counted(settings.seeds, 'seed')}, {sizes} {unit}: "
        f"{counted(len(keys), 'cell')} of {counted(settings.steps, 'step')}."
        + (f" {kept} {'is' if kept == 1 else 'are'} there already." if kept else "")
    )
    others = len(done.keys() - set(keys))
    if others:
        say(
            f"{store.folder} has {counted(others, 'cell')} of other comparisons too, which stay. "
            "But results, plots and the report are replaced by this one's."
        )
    for arm in study.arms:
        if arm.skipped:
            say(f"Skipped: {arm.name}: {arm.skipped}.")


def _rows(study: Study) -> tuple[str, str]:
    """The words for one row and for several."""
    return ("series", "series") if study.data.kind == "series" else ("image", "images")


def _train_and_test(
    study: Study, todo: Mapping[str, Cell], store: Store, how: Callable[..., None]
) -> list[tuple[Cell, dict[str, Any]]]:
    """All trainings, then all tests: until the last network is trained, nothing but a check that
    they can be read has touched the test images."""
    threads = study.settings.threads
    kept = store.read()
    missing = [key for key in todo if "tested" not in kept.get(key, {})]
    untrained = [
        key
        for key in missing
        if "trained" not in kept.get(key, {}) or not store.weights(key).is_file()
    ]

    def trained(task: Task, result: dict[str, Any]) -> None:
        store.put_weights(task.key, result.pop("weights"))
        store.append(task.key, "trained", {"cell": task.what, **result})

    def tested(task: Task, result: dict[str, Any]) -> None:
        store.append(task.key, "tested", {"cell": task.what, **result})
        store.drop_weights(task.key)

    def loaded(key: str) -> Callable[[], Any]:
        return lambda: (todo[key], store.take_weights(key))

    to_train = [Task(key, str(todo[key]), todo[key]) for key in untrained]
    to_test = [Task(key, str(todo[key]), load=loaded(key)) for key in missing]
    how(to_train, functools.partial(train_work, study), trained, threads=threads, title="training")
    how(to_test, functools.partial(test_work, study), tested, threads=threads, title="testing")
    kept = store.read()
    return [(cell, kept[key]) for key, cell in todo.items()]
