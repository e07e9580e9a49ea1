"""The command line `albu-learned`. Needs typer, from the extra `cli`.

typer is imported when a command is run, never with this module, so that a missing extra is a
message and not a traceback. What the user did wrong ends in one line on stderr and exit code 2.
"""

import ast
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from albu_learned import __version__, load
from albu_learned.method import methods
from albu_learned.parts import Part

if TYPE_CHECKING:
    import typer

__all__ = ["app", "bibtex", "main", "overview"]

HOSTS = ("albumentations", "kornia", "timm", "ultralytics")
BY_SPEC = ("timm", "ultralytics")  # which take any method that a spec names
EXTRA = {
    "typer",
    "tqdm",
    "matplotlib",
    "sklearn",
    "scipy",
    "torchmetrics",
    "PIL",
}  # what the extra `cli` brings
INTERRUPTED = 130
CHANGES = {
    "mix": "images, boxes, points; labels become soft",
    "warp": "images, masks, boxes, points; never the class",
    "generate": "pixels; never a label",
}


class UserError(Exception):
    """Something the user can put right; its text is all that is shown."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The console script."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        sys.exit(_run(given or ["--help"]))
    except KeyboardInterrupt:
        _fail("stopped.", INTERRUPTED)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRA:
            raise
        _fail(f'this needs {error.name}. Install it with pip install "albu_learned[cli]"')
    except (UserError, OSError) as error:
        _fail(str(error))


def app() -> "typer.Typer":
    """The commands, each a thin skin around a function below."""
    import typer

    cli = typer.Typer(
        help="Learned data augmentation for the pipeline you have.",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )

    @cli.callback(invoke_without_command=True)
    def root(
        version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    ) -> None:
        if version:
            typer.echo(f"albu_learned {__version__}")
            raise typer.Exit

    @cli.command("list")
    def list_() -> None:
        """List the methods and what they do."""
        typer.echo(overview())

    @cli.command()
    def cite(
        names: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="[METHOD|FOLDER]...",
                help="Methods, or folders they were saved in; all methods if left out.",
            ),
        ] = None,
    ) -> None:
        """Print the papers of methods as BibTeX."""
        typer.echo(bibtex(names or []))

    @cli.command()
    def demo(
        out: Annotated[Path, typer.Option(help="Folder for all that it writes.")] = Path("demo"),
        seeds: Annotated[int, typer.Option(min=1, help="Runs of every arm.")] = 5,
        per_class: Annotated[int, typer.Option(min=1, help="Training images of each digit.")] = 10,
        steps: Annotated[int, typer.Option(min=1, help="Steps of every training.")] = 110,
        jobs: Annotated[int, typer.Option(min=1, help="Trainings at a time.")] = 2,
    ) -> None:
        """Compare the usual arms on a few handwritten digits. Under two minutes."""
        from albu_learned.demo import demo as run_demo

        try:
            run_demo(out, seeds, per_class, steps, jobs, typer.echo)
        except ValueError as error:
            raise UserError(str(error)) from error

    from albu_learned.cli import fitting, previewing, synth
    from albu_learned.comparison.command import declare

    for command in (fitting, previewing, synth):
        command.declare(cli, lambda run: _in_one_line(lambda: run(typer.echo)))
    declare(cli, lambda options: run_compare(options, typer.echo))

    @cli.command(context_settings={"ignore_unknown_options": True})
    def yolo(
        arguments: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="ARGUMENTS...",
                help="As for Ultralytics' own `yolo`: train model=... data=... epochs=...",
            ),
        ] = None,
        spec: Annotated[
            str | None,
            typer.Option(help="The YAML file of the methods; or write spec=... (train only)."),
        ] = None,
    ) -> None:
        """Ultralytics' command line, with the methods of a spec in its trainings."""
        run_yolo(arguments or [], spec)

    return cli


def _in_one_line(run: Callable[[], object]) -> None:
    """What is wrong with a command's options or data is one line."""
    try:
        run()
    except (ValueError, TypeError, LookupError, ImportError) as error:
        raise UserError(str(error)) from error


def run_compare(options: dict[str, Any], say: Callable[[str], object]) -> None:
    """The command `compare`: what is wrong with its options, data or specs is one line."""
    sys.path.append(os.getcwd())  # where a script would find a spec's modules
    from albu_learned.comparison import carry_out, set_up
    from albu_learned.engine import check

    out = options.pop("out")
    how = {key: options.pop(key) for key in ("engine", "jobs", "address")}
    try:
        options["sizes"] = [_size(text) for text in options["sizes"].split(",")]
        if options["arms"] is not None:
            options["arms"] = [name.strip() for name in options["arms"].split(",") if name.strip()]
        options["specs"] = options["specs"] or []
        options["against"] = _against(options["against"] or [])
        check(how["engine"])
        study = set_up(**options)
        asked = {key: options[key] for key in ("arms", "specs", "against")}
    except (ValueError, TypeError, RuntimeError, LookupError, ImportError) as error:
        raise UserError(str(error)) from error
    carry_out(study, asked, out, how, say)


def _size(text: str) -> int | str:
    text = text.strip()
    return int(text) if text.lstrip("-").isdigit() else text


def _against(given: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in given:
        arm, equals, other = text.partition("=")
        if not equals:
            raise UserError(f"`against` must be ARM=OTHER, got {text!r}.")
        found.setdefault(arm.strip(), []).append(other.strip())
    return found


def run_yolo(arguments: Sequence[str], spec: str | None) -> None:
    """The command `yolo`: what is wrong with its arguments or the spec is one line."""
    sys.path.append(os.getcwd())  # where a script would find the spec's modules
    try:
        from albu_learned.ultralytics import command

        rest, found = command.parse(arguments, spec)
    except (ImportError, ValueError, TypeError) as error:
        raise UserError(str(error)) from error
    try:
        command.run(rest, found)
    except SyntaxError as error:
        raise UserError(str(error)) from error


def overview() -> str:
    """The registered methods as a table."""
    header = ("method", "kind", "needs fit?", "changes", "hosts")
    return _columns([header, *(_facts(name, method) for name, method in methods().items())])


def _facts(name: str, method: type[Part]) -> tuple[str, ...]:
    kind = str(getattr(method, "kind", ""))
    made_by = str(getattr(method, "made_by", ""))
    fit = "yes" if callable(getattr(method, "fit", None)) else made_by or "no"
    hosts = [host for host in HOSTS if host in BY_SPEC or name in _offered_by(host)]
    return name, kind, fit, CHANGES.get(kind, ""), ", ".join(["PyTorch", *hosts])


def _offered_by(host: str) -> set[str]:
    """What the door to a host offers, read and not imported: the host may not be installed."""
    door = Path(__file__).parent.with_name(host) / "__init__.py"
    if not door.is_file():
        return set()
    names = set()
    for node in ast.walk(ast.parse(door.read_text(encoding="utf-8"))):
        if isinstance(node, ast.alias):
            names.add(node.asname or node.name)
        elif isinstance(node, ast.ClassDef):
            names.add(node.name)
    return names


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    padded.insert(1, ["-" * width for width in widths])
    return "\n".join("  ".join(row).rstrip() for row in padded)


def bibtex(names: Sequence[str]) -> str:
    """The citations of methods, given by name or by the folder of an artifact; of all if none."""
    known = methods()
    used = [_used(name, known) for name in names] or list(known)
    citations = [str(getattr(known[name], "citation", "")) for name in used]
    return "\n\n".join(dict.fromkeys(filter(None, citations)))


def _used(name: str, known: Mapping[str, type[Part]]) -> str:
    if name in known:
        return name
    if not Path(name).is_dir():
        raise UserError(
            f"`{name}` must be a method or the folder of an artifact. "
            f"Known methods: {', '.join(known)}."
        )
    try:
        return type(load(name)).__name__
    except (ValueError, TypeError) as error:
        raise UserError(str(error)) from error


def _run(arguments: Sequence[str]) -> int:
    cli = app()  # first, so that a missing typer is met here
    import typer

    usage_error: Any = typer.BadParameter.__base__
    try:
        code = cli(args=list(arguments), prog_name="albu-learned", standalone_mode=False)
    except typer.Abort:  # older releases turn Ctrl-C into this, newer ones into code 130
        raise KeyboardInterrupt from None
    except usage_error as error:
        raise UserError(error.format_message()) from error
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    return code or 0


def _fail(message: str, code: int = 2) -> NoReturn:
    print("albu-learned: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(code)
