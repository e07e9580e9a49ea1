"""The command `albu-learned synth`: images of classes, or variants of a detection set.

(typer reads the annotations of a command as it finds them, so they are not postponed here.)
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from albu_learned.cli.stoppable import Say, stoppable
from albu_learned.synth import write_classes, write_variants

if TYPE_CHECKING:
    import typer

__all__ = ["declare", "run_synth", "run_variants"]

OF_CLASSES = ("per_class", "reject", "temperature")
_HANDS = ("engine", "jobs", "threads", "gpus", "address")
OF_VARIANTS = ("artifact", "variants", "ratio", "mask", "steps", "batch", "detector", *_HANDS)
_ARGUMENTS = ("mask", "steps", "sampler")  # of the method


def declare(cli: "typer.Typer", carry_out: Callable[[Callable[[Say], object]], object]) -> None:
    """Adds the command to a command line; `carry_out` runs what it asks for."""
    import typer

    option, argument = typer.Option, typer.Argument

    @cli.command()
    def synth(
        source: Annotated[
            Path,
            argument(
                metavar="DIR|DATA.yaml",
                help="The artifact of a generator of classes, such as class-vae; or the data.yaml "
                "of a detection set, whose images are varied.",
            ),
        ],
        out: Annotated[
            Path, option("--out", "-o", help="A new folder, or one that was begun so before.")
        ],
        per_class: Annotated[
            int | None, option(min=1, help="Images of each class (of an artifact).")
        ] = None,
        artifact: Annotated[
            Path | None,
            option(help="What varies images: a psld-inpaint, or a pipeline of diffusers."),
        ] = None,
        variants: Annotated[
            int | None, option(min=1, help="Of each image of a detection set; 2 if left out.")
        ] = None,
        ratio: Annotated[
            float | None,
            option(help="Variants for each real image that the data.yaml trains on; else all."),
        ] = None,
        seed: Annotated[int, option(min=0, help="Of every random choice.")] = 0,
        reject: Annotated[
            float | None,
            option(help="Draw again what is less likely than all but this share of real images."),
        ] = None,
        sampler: Annotated[
            str | None,
            option(
                help="Of classes: prior, posterior, mixture or convex. Of variants: decoder-only, "
                "psld or blending. The artifact's own if left out."
            ),
        ] = None,
        temperature: Annotated[
            float | None, option(help="Of the spread; below 1 images are more typical.")
        ] = None,
        mask: Annotated[
            str | None, option(help="Which pixels variants keep, such as gaussian-blobs.")
        ] = None,
        steps: Annotated[int | None, option(help="Noise levels of a variant.")] = None,
        batch: Annotated[
            int | None, option(min=1, help="Variants of an image that are made together.")
        ] = None,
        detector: Annotated[
            Path | None,
            option(help="Weights of YOLO: variants whose objects it loses are rejected."),
        ] = None,
        device: Annotated[str | None, option(help="cpu or cuda; CUDA where there is one.")] = None,
        engine: Annotated[
            str | None, option(help="What makes variants: local, or ray for a cluster.")
        ] = None,
        jobs: Annotated[int | None, option(min=1, help="Processes that make variants.")] = None,
        threads: Annotated[int | None, option(min=1, help="CPU threads of each.")] = None,
        gpus: Annotated[float | None, option(min=0, help="GPUs of each task on Ray.")] = None,
        address: Annotated[str | None, option(help="Of a Ray cluster.")] = None,
    ) -> None:
        """Write generated images. Stop it and run it again: it goes on.

        Of an artifact, images of each class. Of a detection set, variants of its training images
        with other backgrounds, their labels, and a data.yaml that trains on both.
        """
        given = {name: value for name, value in locals().items() if name in _NAMES}
        carry_out(partial(_run, source, out, {k: v for k, v in given.items() if v is not None}))


_NAMES = (*OF_CLASSES, *OF_VARIANTS, "seed", "sampler", "device")


def _run(source: Path, out: Path, given: dict[str, Any], say: Say) -> None:
    varied = source.suffix.lower() in (".yaml", ".yml") or (source / "data.yaml").is_file()
    what = "a detection set" if varied else "the artifact of a generator of classes"
    for name in OF_CLASSES if varied else OF_VARIANTS:
        if name in given:
            raise ValueError(f"{_flag(name)} must be left out for {what}, got {given[name]}.")
    needed = "artifact" if varied else "per_class"
    if needed not in given:
        raise ValueError(f"Missing option '{_flag(needed)}', which {what} needs.")
    if varied:
        run_variants(source, out, given, say)
    else:
        run_synth(source, out, given.pop("per_class"), given, say)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def run_synth(folder: Path, out: Path, per_class: int, how: Mapping[str, Any], say: Say) -> None:
    """The command `synth` of an artifact."""
    with stoppable(out, "written", say):
        written = write_classes(folder, out, per_class, **how)
    say(written.summary())


def run_variants(data: Path, out: Path, given: Mapping[str, Any], say: Say) -> None:
    """The command `synth` of a detection set. Ends with code 1 if images were left out that are
    broken."""
    import typer

    taken = ("artifact", *_ARGUMENTS)
    how = {name: value for name, value in given.items() if name not in taken}
    arguments = {name: given[name] for name in _ARGUMENTS if name in given}
    with stoppable(out, "written", say):
        written = write_variants(data, given["artifact"], out, arguments=arguments, **how)
    say(written.summary())
    if written.errors:
        raise typer.Exit(1)
