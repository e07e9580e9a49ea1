"""Fitting a ThetaWarp: what it takes, which pairs it makes, what it learns, and that it goes on."""

import runpy
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import albu_learned as al
from albu_learned.batch import Batch
from albu_learned.data import open_data
from albu_learned.families import covariance
from albu_learned.fitting import Checkpoint, collect
from albu_learned.methods.theta_warp import fit as fitting
from albu_learned.methods.theta_warp.fit import as_unit
from albu_learned.methods.theta_warp.pairs import choose
from albu_learned.methods.theta_warp.retention import retention
from albu_learned.methods.theta_warp.words import summary
from tests.digits import digits

FEW = {"family": al.CPAB((2, 2)), "partners": 2, "progress": False}


def blobs(count=24, seed=0, along=0):
    """Series-like images of one bright spot, which lies somewhere along one axis."""
    place = 0.5 + 0.1 * torch.randn(count, generator=torch.Generator().manual_seed(seed))
    at = (torch.arange(16) + 0.5) / 16
    own = torch.exp(-0.5 * ((at - place[:, None]) / 0.12) ** 2)
    still = torch.exp(-0.5 * ((at - 0.5) / 0.12) ** 2).expand(count, -1)
    x, y = (own, still) if along == 0 else (still, own)
    return (y[:, :, None] * x[:, None, :])[:, None]


class Listed(Dataset):
    """A dataset that counts how often it is read."""

    def __init__(self, images, labels, **attributes):
        self.images, self.labels, self.read = images, labels, 0
        vars(self).update(attributes)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        if not 0 <= i < len(self.images):
            raise IndexError
        self.read += 1
        return self.images[i], int(self.labels[i])


class Streamed(IterableDataset):
    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __iter__(self):
        return zip(self.images, self.labels, strict=True)


def forms(tmp_path):
    """The same digits in every form that is taken: arguments of `collect`, images and labels."""
    images, labels = digits()
    floats = images.float() / 255
    path = tmp_path / "digits.npz"
    x = images[:, 0].numpy()
    np.savez(path, train_x=x, train_y=labels.numpy(), test_x=255 - x, test_y=labels.numpy())
    return {
        "uint8": (images, labels),
        "float": (floats, labels),
        "float64 array": (floats.numpy().astype(np.float64), labels.tolist()),
        "array": (images.numpy(), labels.numpy()),
        "dataset": (Listed(images, labels), None),
        "dataset with targets": (Listed(floats, labels, targets=labels.tolist()), None),
        "stream": (Streamed(images, labels), None),
        "loader": (DataLoader(TensorDataset(floats, labels), 4), None),
        "path": (path, None),
        "data": (open_data(path), None),
    }


@pytest.mark.parametrize("most", [None, 4])
def test_every_form_of_the_same_images_gives_the_same_sample(tmp_path, most):
    given = forms(tmp_path)
    first = collect(*given.pop("uint8"), None, None, most, seed=1)
    assert len(first.labels) == 18 if most is None else 12
    for name, (images, labels) in given.items():
        sample = collect(images, labels, None, None, most, seed=1)
        assert torch.equal(as_unit(sample), as_unit(first)), name
        assert torch.equal(sample.labels, first.labels), name
        assert (sample.given, sample.count) == (18, 3), name


def test_every_kind_of_input_gives_the_same_fit(tmp_path):
    given = forms(tmp_path)
    fits = [al.ThetaWarp.fit(*given[name], **FEW) for name in ("uint8", "loader", "path")]
    for other in fits[1:]:
        assert torch.equal(other.factor, fits[0].factor)
        assert other.std == fits[0].std
        assert other.about.figures == fits[0].about.figures
    assert fits[2].about.classes == ["0", "1", "2"]
    assert fits[2].about.data.startswith("digits: 18 images of 8 x 8 pixels in 3 classes.")
    assert (fits[0].about.image_size, fits[0].about.channels) == ([8, 8], 1)
    assert not fits[0].training


def test_most_takes_a_random_sample_of_each_class_and_reads_no_more():
    images, labels = digits(each=20, classes=2)
    data = Listed(images, labels, targets=labels.tolist())
    sample = collect(data, None, None, None, 5, seed=0)
    assert sample.labels.bincount().tolist() == [5, 5]
    assert sample.given == 40
    assert data.read <= 10 + 5  # and a few, to see that the targets are true
    other = collect(Listed(images, labels), None, None, None, 5, seed=1)
    assert not torch.equal(sample.images, other.images)
    assert len({tuple(row.flatten().tolist()) for row in sample.images}) == 10  # no row twice


def test_targets_that_are_not_the_labels_are_not_believed():
    images, labels = digits()
    wrong = Listed(images, labels, targets=(2 - labels).tolist())
    assert torch.equal(
        collect(wrong, None, None, None, 4, 0).labels.bincount(), torch.tensor([4] * 3)
    )
    assert torch.equal(
        collect(wrong, None, None, None, 4, 0).images,
        collect(images, labels, None, None, 4, 0).images,
    )


def test_neighbours_are_the_nearest_of_the_class():
    place = torch.tensor([0.1, 0.12, 0.2, 0.5, 0.55, 0.9])
    at = (torch.arange(64) + 0.5) / 64
    series = torch.exp(-0.5 * ((at - place[:, None]) / 0.1) ** 2)[:, None]
    labels = torch.tensor([0, 0, 0, 0, 1, 1])
    pairs = choose(series, labels, None, "neighbours", 1, 0).rows
    found = {(s, t) for s, t in pairs.tolist()}
    assert found == {(0, 1), (1, 0), (2, 1), (3, 2), (4, 5), (5, 4)}


@pytest.mark.parametrize(("how", "count"), [("neighbours", 2), ("random", 2), ("all", 5)])
def test_pairs_are_within_a_class_and_never_twice(how, count):
    images, labels = digits()
    rows = choose(images.float() / 255, labels, None, how, 2, 0).rows
    assert len({tuple(row) for row in rows.tolist()}) == len(rows) == 18 * count
    assert (labels[rows[:, 0]] == labels[rows[:, 1]]).all()
    assert (rows[:, 0] != rows[:, 1]).all()
    again = choose(images.float() / 255, labels, None, how, 2, 0).rows
    other = choose(images.float() / 255, labels, None, how, 2, 1).rows
    assert torch.equal(rows, again)
    assert not torch.equal(rows, other)  # at least their order


def test_partners_come_from_other_groups_where_there_are_any():
    images, labels = digits()
    groups = torch.arange(18) // 6  # classes come in turn: two images of each class in a group
    groups[labels == 2] = 7  # of this class there is one group only
    rows = choose(images.float() / 255, labels, groups, "neighbours", 3, 0).rows
    apart = groups[rows[:, 0]] != groups[rows[:, 1]]
    lonely = labels[rows[:, 0]] == 2
    assert apart[~lonely].all()
    assert not apart[lonely].any()
    assert lonely.sum() == 18
    free = choose(images.float() / 255, labels, None, "neighbours", 3, 0).rows
    assert (groups[free[:, 0]] == groups[free[:, 1]])[labels[free[:, 0]] < 2].any()


def test_copies_and_flat_images_have_no_partner_in_each_other():
    images = digits(each=3, classes=1)[0].float() / 255
    given = torch.cat([images, images[:1], torch.full((2, 1, 8, 8), 0.5)])
    pairs = choose(given, torch.zeros(6, dtype=torch.long), None, "all", 1, 0)
    assert pairs.flat == 2
    assert {tuple(row) for row in pairs.rows.tolist()} == {
        *[(0, 1), (0, 2), (1, 0), (1, 2), (1, 3), (2, 0), (2, 1), (2, 3), (3, 1), (3, 2)]
    }


@pytest.mark.parametrize("along", [0, 1])
def test_it_learns_along_which_axis_things_move(along):
    labels = torch.zeros(24, dtype=torch.long)
    warp = al.ThetaWarp.fit(
        blobs(along=along), labels, family=al.Affine(), pairs="random", partners=3, progress=False
    )
    moments = (warp.factor[0] @ warp.factor[0].mT).diagonal()[2:]  # of the shifts
    assert moments[along] > 10 * moments[1 - along]
    # Pairs lie 0.1 * sqrt(2) apart; the prior holds back a little.
    assert 0.07 < warp.std < 0.16
    assert warp.about.figures["residual left"] < 0.2
    assert "label retention" not in warp.about.figures
    assert "there is one class only" in warp.about.data
    assert "look at the picture" in warp.summary()


def test_series_are_fitted_in_any_unit():
    time = torch.linspace(0, 1, 40)
    shift = 0.06 * torch.randn(16, 1, generator=torch.Generator().manual_seed(0))
    series = torch.sin(9 * (time + shift))[:, None]
    labels = torch.arange(16) % 2
    one, other = (
        al.ThetaWarp.fit(unit * series, labels, family=6, partners=2, progress=False)
        for unit in (1.0, 1000.0)
    )
    assert one.family.arguments()["cells"] == 6
    assert one.about.image_size == [40]
    assert other.std == pytest.approx(one.std, rel=1e-2)
    assert other(series).shape == series.shape


def test_a_distribution_for_each_class():
    images = torch.cat([blobs(12), blobs(12, along=1), blobs(1)])
    labels = torch.tensor([0] * 12 + [1] * 12 + [2])
    how = {"family": al.Affine(), "pairs": "random", "progress": False}
    with pytest.warns(UserWarning, match=r"1 of the classes \('c'\)"):
        warp = al.ThetaWarp.fit(images, labels, per_class=True, classes=["a", "b", "c"], **how)
    assert (warp.distributions, warp.needs) == (3, {"labels"})
    x, y = (warp.factor @ warp.factor.mT).diagonal(dim1=1, dim2=2)[:, 2:].unbind(dim=1)
    assert x[0] > 1.5 * y[0]
    assert y[1] > 1.5 * x[1]
    assert x[2] == pytest.approx(y[2].item(), rel=0.7)  # what the others have in common
    assert warp(Batch(images=images, labels=labels)).images.isfinite().all()
    assert "No pair could be made in 'c'." in warp.about.data


def test_halves_keep_groups_whole():
    """Rows of a group are alike: to know one is to know the other, whatever the labels."""
    patients = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    images, groups = patients.repeat_interleave(4, 0), torch.arange(20).repeat_interleave(4)
    labels = groups % 2
    known = retention(Moving(0), images, labels, None, 0)
    assert known == (1.0, "")  # by heart
    assert retention(Moving(0), images, labels, groups, 0)[0] is None  # nothing can be known


class Moving:
    """Moves every image so far to the right."""

    def __init__(self, by):
        self.by = by

    def __call__(self, batch, generator):
        return batch.with_images(batch.images.roll(round(self.by * batch.images.shape[3]), 3))


def test_retention_is_the_share_of_right_answers_kept():
    left = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.3
    labels = torch.arange(60) % 2
    left[labels == 0, :, :, :4] += 0.7
    left[labels == 1, :, :, 4:] += 0.7
    assert retention(Moving(0), left, labels, None, 0) == (1.0, "")
    assert retention(Moving(0.5), left, labels, None, 0) == (0.0, "")  # the one becomes the other
    one, why = retention(Moving(0), left[:4], labels[:4], None, 0)
    assert one is None
    assert "of 4 as they are, too few to tell" in why
    noise = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    assert retention(Moving(0), noise, labels, None, 0)[0] is None  # nothing to be right about
    groups = torch.zeros(60, dtype=torch.long)
    assert "keeps groups whole" in retention(Moving(0), left, labels, groups, 0)[1]
    groups = torch.arange(60) // 2 % 10
    assert retention(Moving(0), left, labels, groups, 0) == (1.0, "")


def test_stronger_warps_keep_fewer_labels():
    images, labels = digits(each=20, classes=5)

    def kept(std):
        warp = al.ThetaWarp(al.Affine(), std=std)
        ask = lambda batch, generator: warp(batch, generator=generator)  # noqa: E731
        return retention(ask, images.float() / 255, labels, None, 0)[0]

    weak, strong = kept(0.01), kept(0.3)
    assert weak > 0.97
    assert strong < 0.8


def test_an_interrupted_fit_goes_on_and_ends_with_the_same_bits(tmp_path, monkeypatch):
    images, labels = digits()
    how = {**FEW, "chunk": 10}
    whole = al.ThetaWarp.fit(images, labels, **how)

    def stop(done, total):
        if done > 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        al.ThetaWarp.fit(images, labels, folder=tmp_path, **{**how, "progress": stop})
    assert not (tmp_path / "config.json").exists()
    calls, align, seen = [], fitting.align, []

    def counted(*given, **options):
        calls.append(len(given[0]))
        return align(*given, **options)

    monkeypatch.setattr(fitting, "align", counted)
    tell = {"progress": lambda done, total: seen.append((done, total))}
    again = al.ThetaWarp.fit(images, labels, folder=tmp_path, **{**how, **tell})
    assert calls == [9, 9]  # two of four chunks were finished
    assert seen == [(27, 36), (36, 36)]
    assert torch.equal(again.factor, whole.factor)
    assert (again.std, again.about) == (whole.std, whole.about)
    assert not (tmp_path / ".fit").exists()
    kept = al.load(tmp_path)
    assert torch.equal(kept.factor, whole.factor)
    assert (kept.arguments(), kept.about) == (whole.arguments(), whole.about)


def test_the_smooth_prior_is_computed_once_for_all_chunks(monkeypatch):
    calls, root = [], covariance.root

    def counted(*given):
        calls.append(given)
        return root(*given)

    monkeypatch.setattr(covariance, "root", counted)
    chunks, align = [], fitting.align
    monkeypatch.setattr(fitting, "align", lambda *a, **o: chunks.append(1) or align(*a, **o))
    al.ThetaWarp.fit(*digits(each=3), **{**FEW, "family": (2, 2), "chunk": 10})
    assert (len(chunks), len(calls)) == (2, 1)


def test_another_fit_in_the_folder_is_refused(tmp_path):
    images, labels = digits()

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        al.ThetaWarp.fit(images, labels, folder=tmp_path, **{**FEW, "progress": stop})
    changed = images.clone()
    changed[0, 0, 0, 0] += 1
    for given, options, differs in (
        ((images, labels), {"partners": 1}, r"differs in partners \(2, now 1\)\."),
        ((changed, labels), {}, r"differs in images \("),
        ((images, labels), {"seed": 3}, r"differs in seed \(0, now 3\)"),
    ):
        with pytest.raises(ValueError, match=differs):
            al.ThetaWarp.fit(*given, folder=tmp_path, **{**FEW, **options})
    with pytest.raises(ValueError, match=r"delete '.*\.fit' to begin anew"):
        al.ThetaWarp.fit(images, labels, folder=tmp_path, **{**FEW, "pairs": "all"})
    al.ThetaWarp.fit(images, labels, folder=tmp_path, scale=0.5, **FEW)  # comes after the pairs
    assert al.load(tmp_path).scale == 0.5


def test_a_finished_artifact_is_not_replaced(tmp_path, monkeypatch):
    al.ThetaWarp.fit(*digits(each=3), folder=tmp_path, **FEW)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(fitting, "choose", None)  # no work is done
        with pytest.raises(FileExistsError, match=r"`folder` must be new.*albu_learned\.load\('"):
            al.ThetaWarp.fit(*digits(each=3), folder=tmp_path, **FEW)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    al.ThetaWarp(al.Affine()).save_pretrained(tmp_path)  # which is there to replace
    assert isinstance(al.load(tmp_path).family, al.Affine)


def test_a_fit_killed_after_it_wrote_the_artifact_goes_on(tmp_path, monkeypatch):
    def killed(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            al.ThetaWarp.fit(*digits(each=3), folder=tmp_path, **FEW)
    whole = al.load(tmp_path)
    assert (tmp_path / ".fit" / "facts.json").is_file()
    monkeypatch.setattr(fitting, "align", None)
    again = al.ThetaWarp.fit(*digits(each=3), folder=tmp_path, **FEW)
    assert torch.equal(again.factor, whole.factor)
    assert not (tmp_path / ".fit").exists()


def test_files_of_somebody_else_are_refused_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "README.md").write_text("mine")
    monkeypatch.setattr(fitting, "align", None)
    with pytest.raises(FileExistsError, match=r"README\.md would be overwritten"):
        al.ThetaWarp.fit(*digits(), folder=tmp_path, **FEW)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


@pytest.mark.parametrize("below", [".", "deeper/still"])
def test_a_file_in_the_place_of_the_folder_is_refused_before_the_data_are_read(tmp_path, below):
    (tmp_path / "w").write_text("mine")
    data = Listed(*digits(each=3))
    with pytest.raises(NotADirectoryError, match=r"`folder` must be a folder.*w' is a file"):
        al.ThetaWarp.fit(data, folder=tmp_path / "w" / below, **FEW)
    assert data.read == 0
    with pytest.raises(NotADirectoryError, match=r"`save_directory` must be a folder.* is a file"):
        al.ThetaWarp().save_pretrained(tmp_path / "w" / below)
    assert (tmp_path / "w").read_text() == "mine"


def test_pairs_that_nothing_aligns_end_in_an_error(tmp_path, monkeypatch):
    align = fitting.align

    def failing(*given, **options):
        theta, report = align(*given, **options)
        report.kept[:] = False
        return theta, report

    monkeypatch.setattr(fitting, "align", failing)
    with pytest.raises(ValueError, match=r"none of 18 could be\. Check that labels belong"):
        al.ThetaWarp.fit(*digits(each=3), folder=tmp_path, **FEW)
    assert not (tmp_path / ".fit").exists()  # other labels shall not be refused


def test_it_works_without_tqdm_and_leaves_the_global_seed(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    with torch.no_grad():  # alignment takes its own gradients
        warp = al.ThetaWarp.fit(*digits(each=3), **{**FEW, "progress": True})
    assert torch.equal(torch.random.get_rng_state(), before)
    assert warp.factor.isfinite().all()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_off(mode):
    images, labels = digits(each=3)
    wanted = al.ThetaWarp.fit(images, labels, **FEW)
    with mode():
        for given in (images.clone(), images / 255):
            how = {**FEW, "family": al.CPAB((2, 2))}
            warp = al.ThetaWarp.fit(given, labels.clone(), **how)
            assert torch.equal(warp.factor, wanted.factor)
            assert warp(given).shape == given.shape
    assert torch.is_grad_enabled()
    warp.factor.mul_(2)  # an ordinary tensor


@pytest.mark.parametrize(("family", "cells"), [(3, 3), (al.AffineCPAB(4), 4)])
def test_series_of_as_many_channels_as_steps_have_a_family_of_series(family, cells):
    warp = al.ThetaWarp.fit(IMAGES[:, 0], LABELS, family=family, partners=1, progress=False)
    assert warp.family.arguments()["cells"] == cells


def test_open_series_of_as_many_channels_as_steps_are_known_to_be_series(tmp_path):
    np.savez(tmp_path / "square.npz", x=np.random.rand(12, 12, 12), y=np.arange(12) % 2)
    data = open_data(tmp_path / "square.npz", kind="series")
    assert collect(data, None, None, None, None, 0).images.shape[1:] == (12, 12)


class Elsewhere(torch.Tensor):
    """Stands for a tensor on a GPU: it has to be brought here before numpy may see it."""

    def __array__(self, *_, **__):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def cpu(self):
        return self.as_subclass(torch.Tensor)


@pytest.mark.parametrize("loaded", [False, True])
def test_what_is_on_a_gpu_is_brought_here(loaded):
    images, labels = digits(each=2)
    there = Streamed(*([row.as_subclass(Elsewhere) for row in rows] for rows in (images, labels)))
    batches = Streamed([x[None] for x in there.images], [[y] for y in there.labels])
    given = DataLoader(batches, batch_size=None) if loaded else there
    sample = collect(given, None, None, None, None, 0)
    assert type(sample.images) is type(sample.labels) is torch.Tensor
    assert torch.equal(sample.images, images)
    assert torch.equal(sample.labels, labels)


LOCKED = """
import sys, time
import albu_learned as al
from tests.methods.test_theta_warp_fit import FEW, digits
def wait(done, total):
    print("fitting", flush=True)
    time.sleep(60)
al.ThetaWarp.fit(*digits(), folder=sys.argv[1], **{**FEW, "chunk": 10, "progress": wait})
"""


def test_two_fits_in_a_folder_are_refused_until_one_dies(tmp_path):
    pytest.importorskip("fcntl")
    how = {**FEW, "chunk": 10, "folder": tmp_path}
    given = [sys.executable, "-c", LOCKED, str(tmp_path)]
    where = Path(__file__).parents[2]
    with subprocess.Popen(given, stdout=subprocess.PIPE, text=True, cwd=where) as other:
        assert other.stdout.readline() == "fitting\n"
        with pytest.raises(BlockingIOError, match=r"`folder` must be .* another is fitting\. W"):
            al.ThetaWarp.fit(*digits(), **how)
        other.kill()
    warp = al.ThetaWarp.fit(*digits(), **how)  # goes on where that one was
    assert torch.equal(al.load(tmp_path).factor, warp.factor)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("README.md", "config.json", "model.safetensors")
    ]


def test_flat_images_are_set_aside_and_counted():
    images, labels = digits()
    images[labels == 1] = 7
    with pytest.warns(UserWarning, match=r"1 of the classes \(1\)"):
        warp = al.ThetaWarp.fit(images, labels, **FEW)
    assert "6 of them show nothing and were set aside." in warp.about.data
    assert warp.about.figures["pairs"] == 24
    assert all(np.isfinite(value) for value in warp.about.figures.values())


def test_the_summary_tells_residual_areas_and_labels_together():
    warp = al.ThetaWarp.fit(*digits(each=12), **FEW)
    for part in ("difference of the others", "areas come out", "right answers", "Points move by"):
        assert part in warp.summary()
    assert {"residual left", "area, 5 %", "area, 95 %", "label retention"} <= set(
        warp.about.figures
    )
    assert "not fitted" in al.ThetaWarp().summary()


def test_the_summary_warns_of_figures_that_are_bad():
    good = {"pairs": 9.0, "pairs dropped": 1.0, "residual left": 0.5, "label retention": 0.9}
    good |= {"area, 5 %": 0.9, "area, 50 %": 1.0, "area, 95 %": 1.1, "rms displacement": 0.05}

    def told(**changed):
        return summary(al.About(image_size=[8], figures={**good, **changed}))

    assert "nearly all" not in told()
    assert "lower `scale`" not in told()
    assert "That is nearly all" in told(**{"residual left": 0.95})
    assert "lower `scale`" in told(**{"label retention": 0.6})
    assert "lengths come out at 0.90 to 1.10" in told()


IMAGES, LABELS = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)), [0, 1] * 3
NAN = IMAGES.clone()
NAN[4, 0, 1, 1] = torch.nan
SIZES = [*IMAGES[:3], IMAGES[3, :, :6]]
BAD = [
    ((IMAGES, None), {}, ValueError, "`labels` must be given with `images`"),
    ((IMAGES, LABELS[:5]), {}, ValueError, r"`labels` must be \(6,\) class numbers.*\(5,\)"),
    ((IMAGES, [0.5] * 6), {}, TypeError, "`labels` must be integer class numbers, got float64"),
    ((IMAGES, ["a"] * 6), {}, TypeError, "give names as `classes`"),
    ((IMAGES, torch.rand(6, 2)), {}, ValueError, r"Of soft labels, give \.argmax"),
    ((IMAGES, [-1] * 6), {}, ValueError, "`labels` must be class numbers from 0, got -1"),
    ((IMAGES[:0], []), {}, ValueError, "`images` must have rows"),
    ((Listed([], []), None), {}, ValueError, "`images` must have rows, got an empty Listed"),
    ((NAN, LABELS), {}, ValueError, "`images` must be finite.* 1 of them, the first is 4"),
    ((IMAGES * 255, LABELS), {}, ValueError, r"float in \[0, 1\] or uint8.*Divide by 255"),
    ((IMAGES.long(), LABELS), {}, TypeError, "float in .* or uint8, got torch.int64"),
    ((IMAGES.permute(0, 2, 3, 1), LABELS), {}, ValueError, "channels first"),
    ((IMAGES[:, 0].byte(), LABELS), {}, ValueError, r"give images\[:, None\]"),
    ((IMAGES[0, 0], [0] * 8), {}, ValueError, r"must be \(N, C, H, W\)"),
    ((IMAGES[:, 0], LABELS), {}, ValueError, r"images\[:, None\].*give family=AffineCPAB\(10\)"),
    ((IMAGES[:, 0], LABELS), {"family": al.CPAB()}, ValueError, "which looks like grey images"),
    ((IMAGES[:, 0], LABELS), {"family": (2, 2)}, ValueError, "which looks like grey images"),
    ((Listed(IMAGES[:, 0], LABELS), None), {}, ValueError, "which looks like grey images"),
    (([1, 2], LABELS), {}, TypeError, "`images` must be a tensor.*got list"),
    (([(IMAGES[0], 0)], None), {}, TypeError, r"torch\.stack, and give .* apart, as `labels`"),
    ((Listed(SIZES, [0] * 4), None), {}, ValueError, r"one size, got \(1, 8, 8\) as 0 and .* as 3"),
    ((DataLoader(Listed(SIZES, [0] * 4), 4), None), {}, ValueError, "must be of one size"),
    ((Listed(["file"], [0]), None), {}, TypeError, "must yield tensors .* got str as 0"),
    ((Streamed(IMAGES, LABELS), LABELS), {}, ValueError, "`labels` must be left out"),
    (
        (IMAGES, LABELS),
        {"classes": ["a"]},
        ValueError,
        r"`classes` must be a name for each .*0\.\.1",
    ),
    ((IMAGES, LABELS), {"groups": [0]}, ValueError, "`groups` must be 6 whole numbers or texts"),
    ((IMAGES, LABELS), {"pairs": "nearest"}, ValueError, "`pairs` must be one of"),
    ((IMAGES, LABELS), {"partners": 0}, ValueError, "`partners` must be an integer >= 1"),
    ((IMAGES, LABELS), {"most": 1}, ValueError, "`most` must be an integer >= 2, or None"),
    ((IMAGES, LABELS), {"per_class": 2}, TypeError, "`per_class` must be True or False"),
    ((IMAGES, LABELS), {"padding": "wrap"}, ValueError, "`padding` must be one of"),
    ((IMAGES, LABELS), {"scale": 0}, ValueError, "`scale` must be a number > 0"),
    ((IMAGES, LABELS), {"device": "moon"}, ValueError, "`device` must be one that torch has here"),
    ((IMAGES, LABELS), {"family": "cpab"}, TypeError, "`family` must be a Family"),
    ((IMAGES, LABELS), {"family": al.AffineCPAB(4)}, ValueError, "must be one for images"),
    ((IMAGES, LABELS), {"family": al.CPAB((4, 9))}, ValueError, r"no more cells.*family=\(4, 4\)"),
    ((IMAGES, range(6)), {}, ValueError, "a class with two different images"),
    ((IMAGES * 0, LABELS), {}, ValueError, "a class with two different images that show something"),
]


@pytest.mark.parametrize(("given", "options", "error", "message"), BAD)
def test_what_is_wrong_is_said(given, options, error, message, tmp_path):
    with pytest.raises(error, match=message):
        al.ThetaWarp.fit(*given, folder=tmp_path / "new", progress=False, **options)
    assert not (tmp_path / "new" / ".fit").exists()


def test_groups_of_a_loader_that_shuffles_are_refused():
    loader = DataLoader(TensorDataset(IMAGES, torch.tensor(LABELS)), 2, shuffle=True)
    with pytest.raises(ValueError, match="`groups` must be left out for a DataLoader that shuf"):
        al.ThetaWarp.fit(loader, groups=[0] * 6, **FEW)


def test_large_images_are_aligned_small_and_known_by_their_size():
    given = torch.nn.functional.interpolate(digits(each=2, classes=1)[0].float() / 255, (96, 80))
    sample = collect(given, [0, 0], None, None, None, 0)
    assert as_unit(sample).shape == (2, 1, 64, 53)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warp = al.ThetaWarp.fit(given, [0, 0], **FEW)
    assert warp.about.image_size == [96, 80]


def test_the_example_of_series_gains_by_warps(capsys):
    path = Path(__file__).parents[2] / "examples" / "theta_warp_series.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) < 80
    with torch.random.fork_rng():
        runpy.run_path(str(path), run_name="__main__")
    *_, batch, plain, warped = capsys.readouterr().out.splitlines()
    assert batch == "a batch: (16, 1, 64) torch.float32, labels (16,)"
    assert float(warped.split()[-1]) > float(plain.split()[-1]) - 0.02 > 0.6
