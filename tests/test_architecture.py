"""Imports point one way, hosts stay in their folders, and the base install is enough to import.

Each check is also run on code that breaks the rule, to show that it can fail.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import albu_learned

ROOT = Path(albu_learned.__file__).parent
HOSTS = {"kornia", "albumentations", "timm", "ultralytics"}
BASE = {"torch", "numpy", "huggingface_hub", "safetensors", "yaml"}
# What may be imported from beside the standard library and the base, and where.
EXTRAS = {
    "cli": {"typer"},
    "comparison": {"matplotlib", "PIL", "scipy", "tqdm", "typer"},
    "data": {"PIL", "cv2"},
    "demo": {"sklearn"},
    "engine": {"ray", "tqdm"},
    "fitting": {"tqdm"},
    "methods/psld": {"diffusers", "transformers"},
    "measures": {"torchmetrics"},
    "preview": {"matplotlib", "PIL"},
    "remap": {"cv2"},
    "synth": {"PIL"},
}
OF_HOSTS = {"cv2", "pydantic", "PIL", "torchvision"}  # what hosts themselves need
CORE = {"batch", "rows", "parts", "method", "artifact", "resample", "mixing", "checks"}
CORE |= {"kinds", "families", "lock"}
LAYERS = [
    CORE,
    {"data", "engine", "measures"},
    {"fitting"},
    {"methods", "remap"},
    {"pstn"},  # which moves images by the field of the warps
    {"spec", "preview", "dimension"},
    HOSTS,
    {"synth", "comparison"},
    {"demo"},
    {"cli"},
]


def imports(source):
    """Every module that a source file imports, in functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [alias.name for alias in node.names]
            yield from (f"{node.module}.{name}" for name in names)


def layer(part):
    return next(i for i, names in enumerate(LAYERS) if part in names)


def violations(place, source):
    """What a file at `place` (such as "kornia/warp.py") imports against the rules."""
    here = place.split("/")[0].removesuffix(".py")
    wrong = {"__init__": allowed_at_top}.get(here, allowed_below)
    return [f"{place} imports {name}" for name in imports(source) if not wrong(name, here, place)]


def allowed_at_top(name, here, place):
    if name in ("typing.TYPE_CHECKING", "albu_learned.comparison.compare"):
        return True  # the latter is loaded when it is asked for
    return name.split(".")[0] == "albu_learned" and name.split(".")[1] in CORE | {"methods", "pstn"}


def allowed_below(name, here, place):
    top, *rest = name.split(".")
    if top != "albu_learned":
        return allowed_from_outside(top, here, "/".join(place.split("/")[:2]))
    if rest[0] in albu_learned.__all__ or rest[0] == "__version__":
        return layer(here) > layer("methods")  # the flat API imports what lies below
    if place.startswith("methods/") and rest[0] == "methods":
        return rest[1] == place.split("/")[1]  # methods never import one another
    return rest[0] == here or layer(rest[0]) < layer(here) or {rest[0], here} <= CORE


def allowed_from_outside(top, here, folder):
    if top in HOSTS:
        return top == here
    if top in sys.stdlib_module_names | BASE | EXTRAS.get(here, set()) | EXTRAS.get(folder, set()):
        return True
    return here in HOSTS and top in OF_HOSTS


def test_imports_point_one_way():
    files = {str(path.relative_to(ROOT)): path.read_text() for path in ROOT.rglob("*.py")}
    assert len(files) > 10
    assert [
        found for place, text in sorted(files.items()) for found in violations(place, text)
    ] == []


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("method.py", "from albu_learned.methods.zeta_mixup import ZetaMixup"),
        ("methods/other.py", "from albu_learned.methods.zeta_mixup import ZetaMixup"),
        ("methods/other.py", "def f():\n    import kornia.augmentation"),
        ("methods/other/fit.py", "import diffusers"),
        ("kornia/warp.py", "import albumentations as A"),
        ("kornia/warp.py", "from albu_learned.albumentations import ZetaMixup"),
        ("timm/mixup.py", "from albu_learned.cli import main"),
        ("batch.py", "import scipy"),
    ],
)
def test_the_import_check_can_fail(place, source):
    assert violations(place, source)


# Run in a fresh interpreter: nothing outside of the base install can be imported there.
BLOCKED = """
import sys, importlib.abc

class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Block())
{code}
found = sorted({blocked!r} & {{name.split(".")[0] for name in sys.modules}})
assert not found, f"loaded {{found}}"
"""
NOT_BASE = HOSTS | {"cv2", "sklearn", "scipy", "matplotlib", "typer", "diffusers", "ray", "pandas"}


def run(code, blocked=frozenset(NOT_BASE)):
    text = BLOCKED.format(code=code, blocked=set(blocked))
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=120)


def test_imports_with_the_base_install_alone():
    done = run("import albu_learned, torch\nalbu_learned.ZetaMixup()(torch.rand(2, 3, 4, 4))")
    assert done.returncode == 0, done.stderr


def test_the_isolation_check_can_fail():
    done = run("import albu_learned, kornia")
    assert done.returncode != 0
    done = run("sys.meta_path.pop(0)\nimport albu_learned, typer")
    assert "loaded ['typer']" in done.stderr


@pytest.mark.parametrize("host", sorted(HOSTS))
def test_a_missing_host_names_the_extra(host):
    done = run(f"import albu_learned.{host}")
    assert done.returncode != 0
    assert f'pip install "albu_learned[{host}]"' in done.stderr.splitlines()[-1]


def test_import_touches_no_network():
    code = """
import socket
def refuse(*args, **kwargs): raise AssertionError("network")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
import albu_learned
"""
    done = run(code)
    assert done.returncode == 0, done.stderr


def test_public_names_are_exactly_those():
    public = {
        name
        for name, value in vars(albu_learned).items()
        if not name.startswith("_") and not isinstance(value, type(sys))
    }
    assert public | {"compare"} == set(albu_learned.__all__)  # which comes when asked for
    assert callable(albu_learned.compare)
    assert len(set(albu_learned.__all__)) == len(albu_learned.__all__)
