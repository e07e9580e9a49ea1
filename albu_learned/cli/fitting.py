"""The commands `albu-learned fit` and `albu-learned preview`.

(typer reads the annotations of a command as it finds them, so they are not postponed here.)
"""

import copy
import inspect
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch

from albu_learned import Batch, LatentDiffusion, Method, checks, load, preview
from albu_learned.artifact import PICTURE
from albu_learned.batch import Rows
from albu_learned.cli import diffusion
from albu_learned.data import Boxes, Data, open_data
from albu_learned.kinds import Generate, Warp
from albu_learned.method import methods
from albu_learned.synth import known_classes

if TYPE_CHECKING:
    import typer

__all__ = ["declare", "run_fit", "run_preview"]

Say = Callable[[str], object]
_SHOWN, _LENGTH = 8, 100  # samples in a picture; steps of a series that is made up
_LONGEST = 256  # pixels of an image with boxes


def declare(cli: "typer.Typer", carry_out: Callable[[Callable[[Say], object]], object]) -> None:
    """Adds the commands to a command line; `carry_out` runs what they ask for.

    The options of `fit` are those of any method's `fit`: one that is not given is left to the
    method, one that the method does not know is refused.
    """
    import typer

    option, argument = typer.Option, typer.Argument

    @cli.command()
    def fit(
        method: Annotated[str, argument(help="theta-warp, class-vae or latent-diffusion.")],
        data: Annotated[
            Path,
            argument(
                help="A folder of images by class, an .npz, or series; see compare. "
                "For latent-diffusion any images, or a data.yaml."
            ),
        ],
        out: Annotated[
            Path, option("--out", "-o", help="The artifact: a new folder, or of a stopped fit.")
        ],
        image_size: Annotated[
            int | None,
            option(min=1, help="The side of images, to which files are cropped; or of crops."),
        ] = None,
        groups: Annotated[
            Path | None, option(help="CSV with image,group: partners are of other groups.")
        ] = None,
        kind: Annotated[str | None, option(help="images or series, for arrays in doubt.")] = None,
        seed: Annotated[int, option(min=0, help="Of every random choice.")] = 0,
        device: Annotated[str | None, option(help="cpu or cuda; CUDA where there is one.")] = None,
        pairs: Annotated[str | None, option(help="neighbours, random or all, of a class.")] = None,
        partners: Annotated[int | None, option(min=1, help="Of each image.")] = None,
        cells: Annotated[
            str | None, option(help="Of the warp: 4,4 (columns,rows); for series one number.")
        ] = None,
        per_class: Annotated[
            bool | None, option("--per-class", help="Learn one distribution for each class.")
        ] = None,
        most: Annotated[
            int | None, option(min=0, help="Images of each class to look at; 0 for all.")
        ] = None,
        scale: Annotated[
            float | None, option(help="Multiplies the strength; 1 is as in the data.")
        ] = None,
        padding: Annotated[
            str | None, option(help="Beyond the border: border, zeros or reflection.")
        ] = None,
        box: Annotated[
            str | None, option(help="What a box is taken for: outline, ellipse or mask.")
        ] = None,
        chunk: Annotated[int | None, option(min=1, help="Pairs at a time: memory.")] = None,
        network: Annotated[
            str | None, option(help="Of a VAE: convolutional, dense, garay-2018 or pca.")
        ] = None,
        latent: Annotated[int | None, option(min=1, help="Numbers that encode an image.")] = None,
        width: Annotated[
            int | None, option(min=2, help="Channels of its first layer, or units of a dense one.")
        ] = None,
        likelihood: Annotated[str | None, option(help="Of pixels: bernoulli or gaussian.")] = None,
        steps: Annotated[int | None, option(min=1, help="Of the training, at most.")] = None,
        autoencoder_steps: Annotated[
            int | None, option(min=0, help="Of the training of a diffusion model's first part.")
        ] = None,
        flip: Annotated[
            bool | None, option("--flip", help="Its images may be turned left to right.")
        ] = None,
        batch: Annotated[int | None, option(min=1, help="Images of each network a step.")] = None,
        learning_rate: Annotated[float | None, option(help="Of the training.")] = None,
        validation: Annotated[
            float | None, option(help="Share that is held out to judge the training; 0 for none.")
        ] = None,
        stop: Annotated[
            bool | None, option(help="By held-out images; or learn from all, for fixed steps.")
        ] = None,
        conditional: Annotated[
            bool | None, option(help="One network for all classes; or not, whatever their number.")
        ] = None,
        few: Annotated[
            str | None, option(help="Classes of fewer than 4 images: error, merge or keep.")
        ] = None,
        sampler: Annotated[
            str | None, option(help="Codes from: prior, posterior, mixture or convex.")
        ] = None,
        temperature: Annotated[
            float | None, option(help="Of the codes' spread; below 1 images are more typical.")
        ] = None,
        reject: Annotated[
            float | None,
            option(help="Draw again what is less likely than all but this share of real images."),
        ] = None,
        share: Annotated[
            float | None,
            option(help="Of a batch that will be samples, for what is expected."),
        ] = None,
        expect: Annotated[
            bool | None, option(help="Ask whether samples are expected to help, or do not.")
        ] = None,
        precision: Annotated[str | None, option(help="float32 or bfloat16.")] = None,
    ) -> None:
        """Fit a method to your data. Stop it and run it again: it goes on."""
        options = dict(locals())
        for name in ("carry_out", "run_fit"):  # from around this function
            options.pop(name, None)
        carry_out(partial(run_fit, options))

    @cli.command("preview")
    def preview_(
        folder: Annotated[Path, argument(metavar="DIR", help="The artifact.")],
        data: Annotated[
            Path | None, argument(help="Samples to show, boxes too; digits or waves if left out.")
        ] = None,
        out: Annotated[
            Path | None, option("--out", "-o", help="The picture, a .png; DIR/preview.png.")
        ] = None,
        image_size: Annotated[int | None, option(min=1, help="The side of the images.")] = None,
        kind: Annotated[str | None, option(help="images or series, for arrays in doubt.")] = None,
        seed: Annotated[int, option(min=0, help="Of the noise.")] = 0,
    ) -> None:
        """Draw what an artifact does to samples."""
        how = {"image_size": image_size, "kind": kind}
        carry_out(partial(run_preview, folder, data, out, how, seed))


def run_fit(options: Mapping[str, Any], say: Say) -> None:
    """The command `fit`."""
    given = dict(options)
    asked = given.pop("method")
    data, out = Path(given.pop("data")), Path(given.pop("out"))
    if diffusion.NAME in (asked, _written(asked)):
        given["size"] = given.pop("image_size")
        chosen = _chosen(given, diffusion.NAME, LatentDiffusion)
        return diffusion.run_fit(data, out, chosen, say)
    name, method = _fittable(asked)
    opening = {key: given.pop(key) for key in ("image_size", "groups", "kind")}
    chosen = _chosen(given, name, method)
    preview.new_figure(1, 1)  # without matplotlib there is no need to begin
    opened = _classified(open_data(data, **opening), data)
    say(
        f"Fitting {method.__name__} to {opened.name}: {len(opened.train):,} {_rows(opened)} to "
        f"learn from, {len(opened.classes)} classes."
    )
    try:
        with warnings.catch_warnings(record=True) as careful:
            warnings.simplefilter("always", UserWarning)
            fitted = _fitted(method, opened, out, chosen)
    except KeyboardInterrupt:
        say(f"\nStopped. What is finished is kept in {out}: the same command goes on from here.")
        raise
    for warning in careful:
        say(f"Careful: {warning.message}")
    _draw(fitted, _samples(opened, fitted), opened.classes, out / PICTURE, chosen["seed"])
    fitted.save_pretrained(out)  # again, with a card that shows the picture
    say(fitted.summary())
    say(f"Wrote {out}, with {PICTURE}: look at it. Load it with albu_learned.load({str(out)!r}).")


def _fitted(method: Any, data: Data, out: Path, chosen: Mapping[str, Any]) -> Any:
    """What the method's `fit` returns. Of a size that it cannot take, the remedy is here another
    than in Python."""
    try:
        return method.fit(data, folder=out, **chosen)
    except ValueError as error:
        if not str(error).startswith("`shape`"):
            raise
        raise ValueError(f"{error} Here that is --image-size, such as --image-size 64.") from error


def run_preview(
    folder: Path, data: Path | None, out: Path | None, how: Mapping[str, Any], seed: int, say: Say
) -> None:
    """The command `preview`."""
    method = load(folder)
    path = folder / PICTURE if out is None else out
    if data is None:
        batch, classes = _made_up(method), None
    else:
        batch, classes = _shown(data, method, how)
    _draw(method, batch, classes, path, seed)
    if out is None:
        method.save_pretrained(folder)  # so that its card shows the picture
    say(f"Wrote {path}")


def _fittable(given: str) -> tuple[str, Any]:
    """The method of that name, as the command line writes names, or as Python does."""
    known = {_written(name): method for name, method in methods().items()}
    able = [name for name, method in known.items() if callable(getattr(method, "fit", None))]
    name = given if given in known else _written(given)
    if name in able:
        return name, known[name]
    what = "needs no fit" if name in known else "is no method"
    made_by = getattr(known.get(name), "made_by", "")
    what = f"is made by {made_by}" if made_by else what
    able.append(diffusion.NAME)
    near = "" if name in known else checks.nearest(given, able)
    raise ValueError(f"`{given}` {what}. Methods with a fit: {', '.join(able)}.{near}")


def _written(name: str) -> str:
    """ThetaWarp as theta-warp, ClassVAE as class-vae."""
    parts = "".join(
        f"-{c}" if c.isupper() and not name[i - 1 : i].isupper() else c for i, c in enumerate(name)
    )
    return parts.strip("-").lower()


def _chosen(given: dict[str, Any], name: str, method: Any) -> dict[str, Any]:
    """The arguments of the method's `fit`: the options that were given."""
    chosen = {"seed": 0, **{key: value for key, value in given.items() if value is not None}}
    if chosen.get("most") == 0:
        chosen["most"] = None
    known = set(inspect.signature(method.fit).parameters)
    if "cells" in chosen:
        chosen["family"] = _cells(chosen.pop("cells"))
    unknown = sorted({"family": "cells"}.get(key, key) for key in set(chosen) - known)
    if unknown:
        flags = ", ".join("--" + key.replace("_", "-") for key in unknown)
        raise ValueError(f"The fit of {name} has no {flags}.")
    return chosen


def _cells(text: str) -> int | tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in (1, 2):
        raise ValueError(
            f"`cells` must be columns,rows such as 4,4, or one number for series, got {text!r}."
        )
    return numbers if len(numbers) == 2 else numbers[0]


def _classified(opened: Data | Boxes, path: Path) -> Data:
    if not isinstance(opened, Data):
        raise ValueError(
            f"`data` must be a data set of classes, got {str(path)!r}, which is for "
            f"{opened.kind}. Cut its objects out, one folder a class."
        )
    return opened


def _rows(data: Data) -> str:
    return "series" if data.kind == "series" else "images"


def _shown(path: Path, method: Method, how: Mapping[str, Any]) -> tuple[Batch, Any]:
    """Samples of a data set: with their classes or, of one for detection, with their boxes."""
    opened = open_data(path, **how)
    if isinstance(opened, Boxes) and isinstance(method, Warp) and "labels" not in method.needs:
        rows = opened.present.any(dim=1).nonzero()[:_SHOWN, 0]
        images, boxes = opened.read(rows, _LONGEST)
        return Batch(images=images, boxes=Rows.of(boxes)), None
    data = _classified(opened, path)
    return _samples(data, method), data.classes


def _samples(data: Data, method: Method) -> Batch:
    """A few rows to learn from, of as many classes as possible."""
    if isinstance(method, Generate):
        return _many(data, method)
    labels = data.train.labels
    firsts = [(labels == number).nonzero()[:_SHOWN, 0] for number in range(len(data.classes))]
    turns = [row[turn] for turn in range(_SHOWN) for row in firsts if turn < len(row)]
    rows = torch.stack(turns[:_SHOWN])
    return Batch(images=data.train.read(rows), labels=_own(data, method)[rows])


def _own(data: Data, method: Method) -> torch.Tensor:
    """The labels of all rows to learn from, as the method numbers its classes."""
    labels = data.train.labels
    if method.about.classes is not None and "labels" in method.needs:
        return method.class_order(data.classes)[labels]
    return labels


def _many(data: Data, method: Method) -> Batch:
    """Rows in which a generator's samples are looked for, of a few of the classes that it makes."""
    labels = _own(data, method)
    known = set(known_classes(method)) & set(labels.tolist())
    if not known:
        raise ValueError(
            f"`data` must have images of a class that the {type(method).__name__} makes, got "
            f"{', '.join(data.classes)}. Give the data that it was fitted to."
        )
    classes = preview.some_classes(sorted(known))
    each = [(labels == label).nonzero()[: preview.COMPARED, 0] for label in classes]
    rows = torch.cat(each)
    return Batch(images=data.train.read(rows), labels=labels[rows])


def _made_up(method: Method) -> Batch:
    """Samples where there are no data: digits, or waves for a method of series; of a generator
    of classes no more than which classes it makes."""
    if isinstance(method, Generate) and method.needs <= {"labels"}:
        return Batch(labels=torch.tensor(known_classes(method)))
    size, channels = method.about.image_size, method.about.channels or 1
    labels = torch.arange(_SHOWN) % int(getattr(method, "distributions", 10))
    family = getattr(method, "family", None)
    if len(size or ()) == 1 or getattr(family, "ndim", 2) == 1:
        time = torch.linspace(0, 1, size[0] if size else _LENGTH)
        waves = torch.stack([torch.sin(6.3 * (1 + i / 2) * time) for i in range(_SHOWN)])
        return Batch(images=waves[:, None].repeat(1, channels, 1), labels=labels)
    from albu_learned.demo import clear_digits

    digits = clear_digits(_SHOWN)
    shown = 3 if channels == 3 else 1
    return Batch(images=digits.repeat(1, shown, 1, 1), labels=labels)


def _draw(method: Method, batch: Batch, classes: Any, path: Path, seed: int) -> None:
    names = None if "labels" in method.needs and method.about.classes is None else classes
    if method.about.classes is not None and "labels" in method.needs:
        names = method.about.classes
    if isinstance(method, Warp) and method.box == "mask" and batch.instances is None:
        method = copy.copy(method)
        method.box = "outline"  # where there are no masks
    figure = preview.samples(
        method, batch, names, type(method).__name__, torch.Generator().manual_seed(seed)
    )
    preview.save(figure, path)
