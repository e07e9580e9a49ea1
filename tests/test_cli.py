"""The command line, through its runner, through `main`, and once as the script itself."""

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import albu_learned as al
from albu_learned import cli

pytest.importorskip("typer", reason="the extra `cli` is not installed")
from typer.testing import CliRunner

from tests import toys
from tests.comparison import toy_data

BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {module!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
from albu_learned.cli import main
main({arguments!r})
"""


def run(*arguments):
    return CliRunner().invoke(cli.app(), list(arguments))


def failure(capsys, *arguments):
    """The one line on stderr, and the exit code, of a command that fails."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1, printed.err
    return printed.err, ended.value.code


def in_subprocess(module, *arguments, cwd=None):
    code = BLOCKED.format(module=module, arguments=list(arguments))
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=cwd
    )


def test_list_shows_every_registered_method():
    result = run("list")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["method", "kind", "needs", "fit?", "changes", "hosts"]
    row = next(line for line in lines if line.startswith("ZetaMixup"))
    assert row.split()[1:3] == ["mix", "no"]
    assert "PyTorch" in row
    row = next(line for line in lines if line.startswith("PosteriorWarp"))
    assert row.split()[1:3] == ["warp", "PSTN.as_warp"]


def test_list_knows_who_needs_a_fit(monkeypatch):
    class Fitted(al.ZetaMixup):
        _base = True  # unregistered

        @classmethod
        def fit(cls):
            return cls()

    monkeypatch.setattr(cli, "methods", lambda: {"Fitted": Fitted})
    assert cli.overview().splitlines()[-1].split()[:3] == ["Fitted", "mix", "yes"]


def test_hosts_are_read_from_their_doors(tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "__file__", str(tmp_path / "cli" / "__init__.py"))
    (tmp_path / "kornia").mkdir()
    (tmp_path / "kornia" / "__init__.py").write_text(
        "import nowhere_installed\nfrom nowhere_installed.mix import Old as ZetaMixup\n"
    )
    row = next(line for line in cli.overview().splitlines() if line.startswith("ZetaMixup"))
    assert row.endswith("  PyTorch, kornia, timm, ultralytics")  # the last two by a spec


def test_cite_without_arguments_prints_every_paper_once():
    result = run("cite")
    assert result.exit_code == 0
    assert result.stdout.count("abhishek2024zetamixup") == 1
    for method in al.method.methods().values():
        assert method.citation in result.stdout


def test_cite_prints_only_what_was_named(monkeypatch):
    class Other(al.ZetaMixup):
        _base = True
        citation = "@misc{other}"

    monkeypatch.setattr(cli, "methods", lambda: {"Other": Other, "ZetaMixup": al.ZetaMixup})
    assert cli.bibtex(["Other"]) == "@misc{other}"
    assert cli.bibtex(["ZetaMixup", "ZetaMixup"]) == al.ZetaMixup.citation
    assert cli.bibtex([]) == "@misc{other}\n\n" + al.ZetaMixup.citation


def test_cite_of_a_folder_prints_the_method_in_it(tmp_path):
    al.ZetaMixup(gamma=4).save_pretrained(tmp_path / "mix")
    assert run("cite", str(tmp_path / "mix")).stdout.strip() == al.ZetaMixup.citation


def test_cite_of_an_unknown_name_lists_the_known_ones(capsys):
    error, code = failure(capsys, "cite", "Zeta")
    assert code == 2
    assert "`Zeta` must be a method or the folder of an artifact" in error
    assert "ZetaMixup" in error


def test_cite_of_a_folder_without_an_artifact_says_so(capsys, tmp_path):
    error, code = failure(capsys, "cite", str(tmp_path))
    assert code == 2
    assert "config.json" in error


def test_cite_of_a_broken_artifact_says_so(capsys, tmp_path):
    al.ZetaMixup().save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"ZetaMixup"', '"Nothing"'))
    error, code = failure(capsys, "cite", str(tmp_path))
    assert code == 2
    assert "unknown type 'Nothing'" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lst"], "No such command 'lst'"),
        (["list", "--fast"], "No such option"),
        (["demo", "--seeds", "many"], "Invalid value for '--seeds'"),
        (["demo", "--seeds", "0"], "Invalid value for '--seeds'"),
        (["demo", "--steps", "-1"], "Invalid value for '--steps'"),
        (["demo", "--per-class", "99"], "must be at most 98"),
        (["compare"], "Missing argument"),
        (["compare", "none.npz"], "none.npz', which does not exist"),
        (["compare", "toys.npz", "--arms", "mixpu"], "Did you mean `mixup`?"),
        (["compare", "toys.npz", "--sizes", "4,x"], """or "all", got 'x'"""),
        (["compare", "toys.npz", "--sizes", "99"], "`sizes` must be at most 10"),
        (["compare", "toys.npz", "--against", "mixup"], "`against` must be ARM=OTHER, got 'mixup'"),
        (["compare", "toys.npz", "none.yaml"], "The spec must be a YAML file, got 'none.yaml'"),
        (["compare", "toys.npz", "few.yaml", "--sizes", "4"], "'few' cannot be used on toys"),
        (["compare", "toys.npz", "--jobs", "0"], "Invalid value for '--jobs'"),
    ],
)
def test_what_the_user_did_wrong_is_one_line(capsys, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    toy_data.as_npz(tmp_path / "toys.npz", toy_data.images())
    toys.ClassShift().save_pretrained(tmp_path / "few")  # of two classes
    toy_data.written(tmp_path, "methods: [{artifact: few, p: 1}]", "few.yaml")
    error, code = failure(capsys, *arguments)
    assert code == 2
    assert error.startswith("albu-learned: ")
    assert message in error


def test_an_unwritable_folder_is_one_line(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    error, code = failure(capsys, "demo", "--out", str(tmp_path / "file" / "demo"), "--seeds", "1")
    assert code == 2
    assert "file" in error


def test_a_defect_keeps_its_traceback(monkeypatch):
    def broken():
        raise ValueError("a defect")

    monkeypatch.setattr(cli, "overview", broken)
    with pytest.raises(ValueError, match="a defect"):
        cli.main(["list"])


def test_ctrl_c_ends_with_a_short_message(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("albu_learned.demo.demo", interrupted)
    error, code = failure(capsys, "demo")
    assert (error, code) == ("albu-learned: stopped.\n", 130)


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_no_command_prints_the_help(capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert not ended.value.code
    printed = capsys.readouterr().out
    for command in ("list", "cite", "demo", "fit", "preview", "synth", "compare", "yolo"):
        assert f"  {command} " in printed


def test_compare_takes_the_arguments_of_the_function(monkeypatch, tmp_path):
    from albu_learned import comparison

    seen = []
    monkeypatch.setattr(comparison, "set_up", lambda **given: seen.append(given) or "study")
    monkeypatch.setattr(comparison, "carry_out", lambda *given: seen.append(given))
    words = "compare d.npz a.yaml b.yaml --arms recipe,zeta+recipe --sizes 5,all --seeds 3"
    words += " --against recipe=mixup --against recipe=plain --out o --jobs 2 --pretrained"
    assert run(*words.split()).exit_code == 0
    given, (study, asked, out, how, _) = seen
    assert study == "study"
    assert given["sizes"] == [5, "all"]
    assert (given["arms"], given["seeds"]) == (["recipe", "zeta+recipe"], 3)
    assert [str(path) for path in given["specs"]] == ["a.yaml", "b.yaml"]
    assert given["against"] == {"recipe": ["mixup", "plain"]} == asked["against"]
    assert given["pretrained"] is True
    assert (str(out), how) == ("o", {"engine": "local", "jobs": 2, "address": None})


def test_the_options_of_compare_are_the_arguments_of_the_function(monkeypatch):
    """Whatever the function takes can be said on the command line, with the same default."""
    from albu_learned import comparison

    seen = []
    monkeypatch.setattr(comparison, "set_up", lambda **given: seen.append(given))
    monkeypatch.setattr(comparison, "carry_out", lambda *given: None)
    assert run("compare", "d.npz").exit_code == 0
    usual = {f.name: f.default for f in dataclasses.fields(comparison.Settings)}
    given = {name: seen[0][name] for name in usual}
    assert given == {**usual, "sizes": list(usual["sizes"])}


def test_version():
    assert run("--version").stdout == f"albu_learned {al.__version__}\n"


def test_the_console_script():
    script = shutil.which("albu-learned", path=Path(sys.executable).parent)
    if script is None:
        pytest.skip("the package is not installed, so it has no script")
    result = subprocess.run([script, "list"], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("method")
    assert "\nZetaMixup " in result.stdout


@pytest.mark.parametrize(
    ("module", "arguments"),
    [("typer", ["list"]), ("matplotlib", ["demo", "--seeds", "1", "--steps", "1"])],
)
def test_a_missing_extra_is_named(module, arguments, tmp_path):
    result = in_subprocess(module, *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr == (
        f'albu-learned: this needs {module}. Install it with pip install "albu_learned[cli]"\n'
    )


def test_the_host_of_yolo_is_named_if_it_is_missing(tmp_path):
    result = in_subprocess("ultralytics", "yolo", "train", "spec=spec.yaml", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("albu-learned: albu_learned.ultralytics needs Ultralytics")
    assert 'pip install "albu_learned[ultralytics]"' in result.stderr


def test_the_package_does_not_import_its_command_line():
    code = "import sys, albu_learned; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    loaded = set(result.stdout.split())
    assert "albu_learned.method" in loaded  # so that the next line can fail
    unwanted = {"albu_learned.cli", "albu_learned.demo", "albu_learned.preview"}
    assert not loaded & (unwanted | {"typer", "matplotlib", "sklearn"})
