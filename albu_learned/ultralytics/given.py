"""What the tasks of Ultralytics have to give to a method, and what they have not."""

from __future__ import annotations

from collections.abc import Sequence

from albu_learned.spec import Given, Spec, check_needs

__all__ = ["check", "check_classes", "check_stages", "given"]

TASKS = ("detect", "segment", "pose", "obb", "classify")
BOXED = frozenset({"images", "boxes"})
LABELLED = frozenset({"images", "labels"})


def given(task: str, names: Sequence[str] | None = None) -> Given:
    """What a task has at every stage; `names` are its classes, once they are known."""
    if task not in TASKS:
        raise ValueError(
            f"The task must be one of {', '.join(TASKS)} to be augmented by a spec, got {task!r}."
        )
    if task != "classify":
        return Given("a detector of Ultralytics", BOXED)
    classes = None if names is None else tuple(names)
    count = None if names is None else len(names)
    return Given("a classifier of Ultralytics", LABELLED, classes, count)


def check(spec: Spec, task: str) -> None:
    """Raises what can be known to be wrong before the data are."""
    parts = given(task)
    check_stages(spec)
    for entry in spec.entries:
        check_needs(entry, entry.build(), parts)


def check_stages(spec: Spec) -> None:
    for entry in spec.at("policy"):
        raise ValueError(
            f"{entry.where}: `stage` policy is for timm, got it in Ultralytics, which has no such "
            "stage. Write stage: sample."
        )


def check_classes(spec: Spec, names: Sequence[str]) -> None:
    """The data know their own classes; a spec may repeat them, not contradict them."""
    if spec.classes is not None and list(names) != list(spec.classes):
        raise ValueError(
            f"{spec.path}: `classes` must be those of the data, {list(names)}, in their order, got "
            f"{spec.classes}. Leave it out: Ultralytics knows the names."
        )
