"""A training data set that changes its samples: the host's own object, given a derived class.

Ultralytics builds transforms anew when it closes the mosaic, and reads the partners of a mosaic
past the transforms. So the stages hang on the data set itself: on the method that reads an image,
and on the attribute that holds the transforms, whoever assigns it. Changing the class of the object
keeps everything that the host or the user has made of it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from albu_learned.ultralytics.host import ClassificationDataset, Format, YOLODataset
from albu_learned.ultralytics.work import KEY, LabelStage, PictureStage, Work

__all__ = ["attach", "detach", "parts", "works"]

TO_TENSOR = ("ToTensor", "PILToTensor", "ToImage")


def parts(dataset: Any) -> list[Any]:
    """The data sets that a data set is made of: itself, or those that it puts in a row."""
    return list(getattr(dataset, "datasets", None) or [dataset])


def works(dataset: Any) -> list[Work]:
    """What the parts of a data set do, of those that do anything."""
    return [vars(each)[KEY] for each in parts(dataset) if KEY in vars(each)]


def attach(dataset: Any, work: Work) -> None:
    """Makes a data set do the work, instead of any that it was given before."""
    plain: Any = getattr(dataset, "_plain", type(dataset))
    wanted = learned(plain)
    dataset.albu_learned = work
    dataset.__class__ = wanted
    setattr(dataset, wanted._transforms, getattr(dataset, wanted._transforms))


def detach(dataset: Any) -> None:
    """Leaves a data set as it was before `attach`."""
    if not hasattr(dataset, "_plain"):
        return
    transforms = getattr(dataset, dataset._transforms)
    stages = (LabelStage, PictureStage)
    transforms.transforms = [each for each in transforms.transforms if not isinstance(each, stages)]
    dataset.__class__ = dataset._plain
    del dataset.albu_learned


@cache
def learned(plain: type) -> Any:
    """The class that does the work, derived from the class of a data set."""
    if issubclass(plain, ClassificationDataset):
        made = _pictures(plain)
    elif issubclass(plain, YOLODataset):
        made = _labels(plain)
    else:
        raise TypeError(
            "The training data set must be a YOLODataset or a ClassificationDataset, or derived "
            f"from one, to be augmented by a spec, got {plain.__name__}."
        )
    made._plain = plain
    made.__name__ = made.__qualname__ = f"Learned{plain.__name__}"
    return made


def revive(plain: type) -> Any:
    """An empty data set, for pickle: a class that was made in another process has no name here."""
    made = learned(plain)
    return made.__new__(made)


def _reduce(dataset: Any, protocol: Any) -> Any:
    plain: Any = object.__reduce_ex__(dataset, max(int(protocol), 2))
    return revive, (dataset._plain,), *plain[2:]


# Each has one base alone: with a second one, a mixin, Python lays objects out in another way, and
# an object cannot change its class.


def _labels(plain: Any) -> Any:
    """For detection, segmentation, pose and oriented boxes."""

    class Learned(plain):
        _transforms = "transforms"
        __reduce_ex__ = _reduce

        def __getitem__(self, index: int) -> dict[str, Any]:
            self.albu_learned.begin()
            return {**super().__getitem__(index), KEY: self.albu_learned.evidence}

        def get_image_and_label(self, index: int) -> dict[str, Any]:
            labels: dict[str, Any] = super().get_image_and_label(index)
            self.albu_learned.change_labels("image", labels, self.use_obb)
            return labels

        @property
        def transforms(self) -> Any:
            return self.__dict__["transforms"]

        @transforms.setter
        def transforms(self, new: Any) -> None:
            listed = [each for each in new.transforms if not isinstance(each, LabelStage)]
            places = [i for i, each in enumerate(listed) if isinstance(each, Format)]
            place = _place(places, "Format", new)
            listed.insert(place, LabelStage(self.albu_learned, self.use_obb))
            new.transforms = listed
            self.__dict__["transforms"] = new

    return Learned


def _pictures(plain: Any) -> Any:
    """For classification."""

    class Learned(plain):
        _transforms = "torch_transforms"
        __reduce_ex__ = _reduce

        def __getitem__(self, index: int) -> dict[str, Any]:
            file, label = self.samples[index][:2]
            self.albu_learned.begin(int(label), str(file))
            return {**super().__getitem__(index), KEY: self.albu_learned.evidence}

        @property
        def torch_transforms(self) -> Any:
            return self.__dict__["torch_transforms"]

        @torch_transforms.setter
        def torch_transforms(self, new: Any) -> None:
            listed = [each for each in new.transforms if not isinstance(each, PictureStage)]
            places = [i for i, each in enumerate(listed) if type(each).__name__ in TO_TENSOR]
            place = _place(places, "ToTensor", new)
            listed.insert(place, PictureStage(self.albu_learned, "sample"))
            listed.insert(0, PictureStage(self.albu_learned, "image"))
            new.transforms = listed
            self.__dict__["torch_transforms"] = new

    return Learned


def _place(places: list[int], name: str, transforms: Any) -> int:
    if not places:
        raise RuntimeError(
            f"The transforms of the training data must contain {name}, before which samples are "
            f"changed, got {transforms!r}. Put yours around it."
        )
    return places[-1]
