"""The command `albu-learned compare`: its options are the arguments of `albu_learned.compare`.

(typer reads the annotations of a command as it finds them, so they are not postponed here.)
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from albu_learned.comparison.settings import Settings

if TYPE_CHECKING:
    import typer

__all__ = ["declare"]


def declare(cli: "typer.Typer", run: Callable[[dict[str, Any]], object]) -> None:
    """Adds the command to a command line; its options are given to `run`."""
    import typer

    usual = Settings(device="cpu")
    option, argument = typer.Option, typer.Argument

    @cli.command()
    def compare(
        data: Annotated[
            Path, argument(help="A folder of images, an .npz, series, or YOLO's data.yaml.")
        ],
        specs: Annotated[
            list[Path] | None,
            argument(help="Spec files: each becomes an arm alone, and one with the recipe."),
        ] = None,
        arms: Annotated[
            str | None,
            option(
                help="In place of the usual ones, with commas between them: "
                '"recipe, zeta-mixup, recipe + my.yaml". Their controls are added. Not among the '
                'usual ones, for their fits take long: "class-vae", images of networks for each '
                'class, and "pca-gaussian", their control; both for images alone.'
            ),
        ] = None,
        sizes: Annotated[
            str, option(help='Training images a class (YOLO: in all), such as 5,10,50; or "all".')
        ] = ",".join(map(str, usual.sizes)),
        seeds: Annotated[int, option(min=1, help="How often all is repeated.")] = usual.seeds,
        steps: Annotated[int, option(min=1, help="Steps of every training.")] = usual.steps,
        batch: Annotated[int, option(min=2, help="Images a step.")] = usual.batch,
        model: Annotated[
            str, option(help='"small", "nearest", a model of timm, or a YAML of YOLO.')
        ] = usual.model,
        pretrained: Annotated[
            bool, option("--pretrained", help="Let timm load (and download) published weights.")
        ] = False,
        learning_rate: Annotated[float | None, option(help="The highest of one cycle.")] = None,
        image_size: Annotated[int | None, option(min=1, help="The side of the images.")] = None,
        holdouts: Annotated[
            int, option(min=1, help="How often a third is held out to choose a strength.")
        ] = usual.holdouts,
        measure: Annotated[
            str | None, option(help="accuracy, macro_f1, nll, ece; map50_95, map50, f1.")
        ] = None,
        against: Annotated[
            list[str] | None, option(metavar="ARM=OTHER", help="Another control of an arm.")
        ] = None,
        groups: Annotated[
            Path | None, option(help="CSV with image,group: a group stays on one side.")
        ] = None,
        kind: Annotated[str | None, option(help="images or series, for arrays in doubt.")] = None,
        test_share: Annotated[float, option(help="For testing, of data without a split.")] = 0.3,
        out: Annotated[Path, option(help="Folder for the results.")] = Path("comparison"),
        jobs: Annotated[int, option(min=1, help="Trainings at a time.")] = 1,
        threads: Annotated[int, option(min=1, help="CPU threads of each.")] = usual.threads,
        together: Annotated[
            int | None, option(min=1, help="Candidates trained as one stack of networks.")
        ] = None,
        engine: Annotated[str, option(help="local or ray.")] = "local",
        address: Annotated[str | None, option(help="Of the Ray cluster.")] = None,
        device: Annotated[str | None, option(help="cpu or cuda; CUDA where there is one.")] = None,
        precision: Annotated[str, option(help="float32, bfloat16 or float16.")] = usual.precision,
    ) -> None:
        """Find out which augmentation helps on your data. Stop it and run it again: it goes on."""
        options = dict(locals())
        options.pop("run")  # from around this function
        run(options)
