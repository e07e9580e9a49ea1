"""The command `albu-learned fit`.

(typer reads the annotations of a command as it finds them, so they are not postponed here.)
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from albu_learned import LatentDiffusion, checks, preview
from albu_learned.artifact import PICTURE
from albu_learned.cli import diffusion
from albu_learned.cli.shown import classified, draw, samples
from albu_learned.cli.stoppable import Say, fitted
from albu_learned.data import Data, open_data
from albu_learned.method import methods

if TYPE_CHECKING:
    import typer

__all__ = ["declare", "run_fit"]


def declare(cli: "typer.Typer", carry_out: Callable[[Callable[[Say], object]], object]) -> None:
    """Adds the command to a command line; `carry_out` runs what it asks for.

    Its options are those of any method's `fit`: one that is not given is left to the method, one
    that the method does not know is refused.
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
            option(
                min=1,
                help="The side of images, to which files are cropped (64 at most if left out); "
                "or of crops.",
            ),
        ] = None,
        groups: Annotated[
            Path | None, option(help="CSV with image,group: partners are of other groups.")
        ] = None,
        kind: Annotated[str | None, option(help="images or series, for arrays in doubt.")] = None,
        test_share: Annotated[
            float | None,
            option(help="Of data without a test part, 0.3 as in compare; 0 to learn from all."),
        ] = None,
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
        background: Annotated[
            bool | None, option("--background", help="It learns what is outside of boxes alone.")
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
    if (share := given.pop("test_share")) is not None:
        opening["test_share"] = share
    chosen = _chosen(given, name, method)
    preview.new_figure(1, 1)  # without matplotlib there is no need to begin
    opened = classified(open_data(data, **opening), data)
    say(
        f"Fitting {method.__name__} to {opened.name}: {len(opened.train):,} {_rows(opened)} to "
        f"learn from, {len(opened.classes)} classes.{_left_out(opened)}"
    )
    size = ("shape", "Here that is --image-size, such as --image-size 64.")
    made = fitted(lambda: method.fit(opened, folder=out, **chosen), out, size, say)
    draw(made, samples(opened, made), opened.classes, out / PICTURE, chosen["seed"])
    made.save_pretrained(out)  # again, with a card that shows the picture
    say(made.summary())
    say(f"Wrote {out}, with {PICTURE}: look at it. Load it with albu_learned.load({str(out)!r}).")


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


def _left_out(data: Data) -> str:
    if not data.split or not len(data.test):
        return ""
    return (
        f" {len(data.test):,} others are left to be tested on, as `compare` leaves them: "
        "--test-share 0 learns from all."
    )


def _rows(data: Data) -> str:
    return "series" if data.kind == "series" else "images"
