"""The command `albu-learned preview`.

(typer reads the annotations of a command as it finds them, so they are not postponed here.)
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from albu_learned import load
from albu_learned.artifact import PICTURE
from albu_learned.cli.shown import draw, made_up, shown
from albu_learned.cli.stoppable import Say

if TYPE_CHECKING:
    import typer

__all__ = ["declare", "run_preview"]


def declare(cli: "typer.Typer", carry_out: Callable[[Callable[[Say], object]], object]) -> None:
    """Adds the command to a command line; `carry_out` runs what it asks for."""
    import typer

    option, argument = typer.Option, typer.Argument

    @cli.command()
    def preview(
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


def run_preview(
    folder: Path, data: Path | None, out: Path | None, how: Mapping[str, Any], seed: int, say: Say
) -> None:
    """The command `preview`."""
    method = load(folder)
    path = folder / PICTURE if out is None else out
    if data is None:
        batch, classes = made_up(method), None
    else:
        batch, classes = shown(data, method, how)
    draw(method, batch, classes, path, seed)
    if out is None:
        method.save_pretrained(folder)  # so that its card shows the picture
    say(f"Wrote {path}")
