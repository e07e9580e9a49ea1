"""What is installed decides the hook; anything else is refused in words."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from albu_learned.albumentations import GenerateTransform, MixTransform, WarpTransform, ZetaMixup
from albu_learned.albumentations.host import form
from tests.albumentations.cases import shift
from tests.toys import BoxPaint, ClassPicture


def test_both_forms_are_told_apart_and_a_third_is_refused():
    classic = SimpleNamespace(BasicTransform=SimpleNamespace(get_params_dependent_on_data=1))
    assert form(classic) == "classic"
    assert form(SimpleNamespace(SampledParams=1)) == "current"
    between = SimpleNamespace(
        __version__="2.4.0", BasicTransform=SimpleNamespace(sample_parameters=1)
    )
    with pytest.raises(ImportError, match=r"needs albumentations 2.0.8 or .* got 2.4.0"):
        form(between)
    with pytest.raises(ImportError, match=r"got 3\.0"):
        form(SimpleNamespace(__version__="3.0", BasicTransform=SimpleNamespace()))


def test_without_the_host_the_import_names_the_extra():
    code = "import sys; sys.modules['albumentations'] = None; import albu_learned.albumentations"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert 'pip install "albu_learned[albumentations]"' in done.stderr


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: WarpTransform(ClassPicture()),
            TypeError,
            "must be a Warp .* got ClassPicture, a gen",
        ),
        (
            lambda: GenerateTransform(shift(1, 1)),
            TypeError,
            "must be a Generate .* FreeShift, a warp",
        ),
        (lambda: MixTransform(shift(1, 1)), TypeError, "must be a Mix or the folder of one"),
        (lambda: WarpTransform(3), TypeError, "must be a Warp or the folder of one, got int"),
        (lambda: WarpTransform("nowhere"), FileNotFoundError, "must be an artifact"),
        (lambda: ZetaMixup(p=2), ValueError, "p"),
    ],
)
def test_a_wrong_method_is_named(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_a_folder_of_another_kind_is_named(tmp_path):
    ClassPicture().save_pretrained(tmp_path)
    with pytest.raises(TypeError, match=r"is a ClassPicture, but Warp was asked for"):
        WarpTransform(tmp_path)


def test_a_need_that_the_host_cannot_serve_is_named():
    method = BoxPaint()
    method.needs = frozenset({"labels", "instances"})
    with pytest.raises(ValueError, match=r"BoxPaint needs \['instances'\]"):
        GenerateTransform(method)


def test_a_method_off_the_cpu_is_refused():
    with pytest.raises(ValueError, match=r"must be on the CPU .* Give method.cpu\(\)"):
        WarpTransform(shift(1, 1).to("meta"))
