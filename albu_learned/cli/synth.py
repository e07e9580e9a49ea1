"""The command `albu-learned synth`.

(typer reads the annotations of a command as it finds them, so they are not postponed here.)
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from albu_learned.synth import write_classes

if TYPE_CHECKING:
    import typer

__all__ = ["declare", "run_synth"]

Say = Callable[[str], object]


def declare(cli: "typer.Typer", carry_out: Callable[[Callable[[Say], object]], object]) -> None:
    """Adds the command to a command line; `carry_out` runs what it asks for."""
    import typer

    option, argument = typer.Option, typer.Argument

    @cli.command()
    def synth(
        folder: Annotated[
            Path, argument(metavar="DIR", help="The artifact of a generator, such as class-vae.")
        ],
        out: Annotated[
            Path, option("--out", "-o", help="A new folder, or one that was begun so before.")
        ],
        per_class: Annotated[int, option(min=1, help="Images of each class.")],
        seed: Annotated[int, option(min=0, help="Of every random choice.")] = 0,
        reject: Annotated[
            float | None,
            option(help="Draw again what is less likely than all but this share of real images."),
        ] = None,
        sampler: Annotated[
            str | None, option(help="prior, posterior, mixture or convex; the artifact's own.")
        ] = None,
        temperature: Annotated[
            float | None, option(help="Of the spread; below 1 images are more typical.")
        ] = None,
        device: Annotated[str | None, option(help="cpu or cuda; CUDA where there is one.")] = None,
    ) -> None:
        """Write generated images, one folder a class. Stop it and run it again: it goes on."""
        how = {"seed": seed, "reject": reject, "sampler": sampler, "temperature": temperature}
        carry_out(partial(run_synth, folder, out, per_class, {**how, "device": device}))


def run_synth(folder: Path, out: Path, per_class: int, how: Mapping[str, Any], say: Say) -> None:
    """The command `synth`."""
    try:
        written = write_classes(folder, out, per_class, **how)
    except KeyboardInterrupt:
        say(f"\nStopped. What is written is kept in {out}: the same command goes on from here.")
        raise
    say(written.summary())
