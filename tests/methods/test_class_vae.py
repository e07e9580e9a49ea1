"""ClassVAE: what it takes, what it learns, where its samples come from, what it refuses."""

import pytest
import torch

import albu_learned as al
from albu_learned.fitting import Checkpoint
from albu_learned.methods.class_vae import choices, expect, safety, training
from albu_learned.methods.class_vae import fit as fitting
from albu_learned.methods.class_vae.expect import gain
from albu_learned.methods.class_vae.network import Networks
from albu_learned.methods.class_vae.samplers import SAMPLERS, mixture
from albu_learned.methods.class_vae.settings import Settings
from albu_learned.methods.class_vae.words import summary
from tests.digits import digits

QUICK = {"network": "dense", "steps": 50, "expect": False, "progress": False}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def quick():
    return al.ClassVAE.fit(*digits(), **QUICK)


@pytest.fixture(scope="module")
def fifty():
    """Fitted as users fit it, to fifty of each digit."""
    return al.ClassVAE.fit(*digits(50, 10), expect=False, progress=False)


def test_a_classifier_that_saw_no_sample_recognises_them(fifty):
    svm = pytest.importorskip("sklearn.svm").SVC(gamma="scale")
    others, of = digits(80, 10, first=50)
    svm.fit(others.flatten(1).numpy() / 255, of.numpy())
    labels = torch.arange(10).repeat_interleave(50)
    samples = fifty.sample(labels, generator=seeded())
    right = (svm.predict(samples.flatten(1).numpy()) == labels.numpy()).mean()
    assert right >= 0.9
    doubtful = fifty.doubtful(samples, labels)
    assert doubtful.float().mean() < 0.3
    assert fifty.doubtful(samples, labels.roll(50)).float().mean() > 0.9


def test_samples_are_no_copies_and_differ(fifty):
    images, labels = digits(50, 10)
    for label in range(10):
        real = images[labels == label].float() / 255
        samples = fifty.sample(torch.full((50,), label), generator=seeded())
        near, between = safety.memorised(samples, real)
        assert near.mean() >= 0.5 * between.mean()
        assert samples.std(dim=0).mean() > 0.2 * real.std(dim=0).mean()
    assert fifty.about.figures["distance to real"] > 0


def test_memorised_measures_what_it_says():
    real = torch.zeros(3, 1, 2, 2)
    real[1], real[2] = 1.0, 3.0
    near, between = safety.memorised(real[:1] + 0.25, real)
    assert near.tolist() == [0.25]
    assert between.tolist() == [1, 1, 2]


def of_class(images, labels, which):
    rows = [(labels == label).nonzero()[:, 0] for label in which]
    pixels = images.float() / 255
    return training.Images(
        pixels,
        torch.zeros(len(images), dtype=torch.long),
        [own[2:] for own in rows],
        [own[:2] for own in rows],
    )


def schedule(**other):
    facts = {"steps": 75, "batch": 4, "learning_rate": 1e-3, "beta": 1.0, "free_bits": 0.1}
    facts |= {"patience": 1000, "optimizer": "adam", "precision": "float32", "seed": 0}
    return training.Schedule(**{**facts, **other})


def trained(which, name="dense", store=None, **other):
    images = of_class(*digits(8, 4), which)
    networks = Networks(name, len(which), (1, 8, 8), 3)
    networks.begin([training.seeded("weights", label) for label in which])
    store = Checkpoint(None) if store is None else store
    return networks, training.train(networks, images, schedule(**other), store)


@pytest.mark.parametrize("name", ["dense", "convolutional"])
@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_networks_learn_together_what_they_learn_alone(name, optimizer):
    _, together = trained([0, 1, 2, 3], name, optimizer=optimizer)
    for label in range(4):
        _, alone = trained([label], name, optimizer=optimizer)
        torch.testing.assert_close(together.train[:, label], alone.train[:, 0], rtol=1e-3, atol=0)
        torch.testing.assert_close(together.held[:, label], alone.held[:, 0], rtol=1e-3, atol=0)
    assert together.train[-1].mean() < 0.9 * together.train[0].mean()


def test_classes_of_different_size_learn_what_they_learn_alone():
    images, labels = digits(8, 2)
    keep = (labels == 0) | (torch.arange(16) < 10)  # eight of one, five of the other
    found = []
    for which in ([0, 1], [1]):
        networks = Networks("dense", len(which), (1, 8, 8), 3)
        networks.begin([training.seeded("weights", label) for label in which])
        own = of_class(images[keep], labels[keep], which)
        found.append(training.train(networks, own, schedule(), Checkpoint(None)))
    torch.testing.assert_close(found[0].train[:, 1], found[1].train[:, 0], rtol=1e-3, atol=0)
    torch.testing.assert_close(found[0].held[:, 1], found[1].held[:, 0], rtol=1e-3, atol=0)


def test_the_weights_of_the_best_round_come_back():
    networks, history = trained([0, 1], steps=300, learning_rate=5e-3)
    assert history.best < len(history.held) - 1
    assert history.best == int(history.held.mean(dim=1).argmin())
    images = of_class(*digits(8, 4), [0, 1])
    again = training.explained(networks, images, images.held, 0)
    means = torch.stack([own.mean() for own in again])
    torch.testing.assert_close(means, history.held[history.best])


def test_it_stops_when_held_out_images_are_explained_no_better():
    _, history = trained([0, 1], steps=2000, learning_rate=5e-3, patience=100)
    assert len(history.held) * training.ROUND == (history.best + 1) * training.ROUND + 100


def test_free_bits_and_beta_have_their_meaning():
    def divergence(**other):
        networks, _ = trained([0], steps=200, **other)
        mean, log_variance = networks.encode(
            *of_class(*digits(8, 4), [0]).at(torch.arange(4)[:, None])
        )
        return training.divergence(mean, log_variance).sum(dim=2).mean().item()

    dear = divergence(beta=20.0, free_bits=0.0)
    assert dear < 0.5 * divergence(beta=1.0, free_bits=0.0)
    assert divergence(beta=20.0, free_bits=2.0) > 3 * dear


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_fit_that_was_stopped_goes_on_with_the_same_bits(tmp_path, precision):
    images, labels = digits()
    how = {**QUICK, "steps": 600, "precision": precision, "learning_rate": 1e-4}
    whole = al.ClassVAE.fit(images, labels, **how)
    seen = []

    def stop(done, total):
        seen.append(done)
        if done >= 425:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        al.ClassVAE.fit(images, labels, **{**how, "progress": stop}, folder=tmp_path / "vae")
    first = seen[:]
    seen.clear()
    rest = al.ClassVAE.fit(
        images, labels, **{**how, "progress": lambda d, t: seen.append(d)}, folder=tmp_path / "vae"
    )
    assert first[0] == 25
    assert seen[0] == 400  # what was kept is not computed again
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, rest.state_dict()[name]), name
    with pytest.raises(FileExistsError, match="folder"):
        al.ClassVAE.fit(images, labels, **how, folder=tmp_path / "vae")


@pytest.mark.usefixtures("_short")
@pytest.mark.parametrize("network", ["dense", "pca"])
def test_images_that_are_held_out_to_ask_are_learned_from_in_the_end(tmp_path, network):
    images, labels = digits()
    how = {**QUICK, "network": network, "steps": 225, "folder": tmp_path / "vae"}
    done = []

    def stop(step, total):
        done.append(step)
        if done.count(225) == 2:  # at the end of the second training
            raise KeyboardInterrupt

    if network == "dense":
        with pytest.raises(KeyboardInterrupt):
            al.ClassVAE.fit(images, labels, **{**how, "expect": True, "progress": stop})
        done.clear()
    asked = al.ClassVAE.fit(
        images, labels, **{**how, "expect": True, "progress": lambda step, total: done.append(step)}
    )
    assert "gain" in asked.about.figures
    if network == "dense":
        assert done[:2] == [200, 225]  # of the first training, which was kept so far
        assert done[-2:] == [200, 225]  # and of the second
    told = al.ClassVAE.fit(images, labels, **{**how, "folder": None})
    assert "none held out: nothing is asked of them" in told.about.data
    for name, tensor in told.networks.state_dict().items():
        assert torch.equal(tensor, asked.networks.state_dict()[name]), name
    assert torch.equal(told.table.mean, asked.table.mean)
    assert asked.scores.isfinite().sum() == 3
    assert not told.scores.isfinite().any()


def test_what_is_asked_about_are_samples_of_known_images(monkeypatch):
    """Those of the sampler that was chosen, which draws from no image that is held out."""
    seen = {}

    def asked(sample, images, labels, held, *_):
        seen.update(samples=sample(labels.repeat(20), seeded()), labels=labels, held=held)

    monkeypatch.setattr(fitting, "gain", asked)
    how = {**QUICK, "expect": True, "stop": True}  # so that networks stay as they are
    vae = al.ClassVAE.fit(*digits(), **how, sampler="posterior", temperature=0.0)
    labels, held = seen["labels"], seen["held"]
    every = vae.pixels(None, {"z": vae.table.mean, "label": labels}).flatten(1)
    away = torch.cdist(seen["samples"].flatten(1), every, p=1)
    away = away.masked_fill(labels.repeat(20)[:, None] != labels, torch.inf)
    drawn = away.min(dim=1)
    assert held.sum() == 3
    assert drawn.values.max() < 1e-3
    assert drawn.indices.unique().tolist() == (~held).nonzero()[:, 0].tolist()


def test_an_answer_is_kept_for_the_samples_that_it_is_of(monkeypatch, tmp_path):
    answers, train = [], fitting.train

    def stopped(*given):
        if given[-1] == "all":  # the second training
            raise KeyboardInterrupt
        return train(*given)

    monkeypatch.setattr(fitting, "train", stopped)
    monkeypatch.setattr(fitting, "gain", lambda *_: answers.append(1) or (0.1, 0.1, 0.1))
    how = {**QUICK, "expect": True, "folder": tmp_path / "vae"}
    for sampler, count in (("prior", 1), ("prior", 1), ("mixture", 2)):
        with pytest.raises(KeyboardInterrupt):
            al.ClassVAE.fit(*digits(), **how, sampler=sampler)
        assert len(answers) == count


def test_who_stops_a_training_and_which_network_it_is_of():
    usual = Settings()
    assert usual.network_for((1, 32, 20)) == "dense"
    assert usual.network_for((3, 20, 33)) == "convolutional"
    dense, pca = (Settings(network=name) for name in ("dense", "pca"))
    assert not dense.stops([[0], [1]])
    assert dense.stops([[0], [1, 2]])
    assert Settings(network="dense", stop=True).stops([[0], [1]])
    assert Settings(network="convolutional").stops([[0], [1]])
    assert not pca.stops([[0, 1]])
    stopped = al.ClassVAE.fit(*digits(), **QUICK, stop=True)
    assert "3 were held out." in stopped.about.data
    assert "held-out loss" in stopped.about.figures
    assert stopped.scores.isfinite().sum() == 3


def test_an_artifact_comes_back_bit_for_bit(quick, tmp_path):
    quick.save_pretrained(tmp_path / "vae")
    again = al.load(tmp_path / "vae")
    assert isinstance(again, al.ClassVAE)
    assert again.about == quick.about
    labels = torch.tensor([2, 0, 1, 1])
    for sampler in SAMPLERS:
        samples = [
            vae.with_arguments(sampler=sampler).sample(labels, generator=seeded())
            for vae in (quick, again)
        ]
        assert torch.equal(*samples)


@pytest.mark.parametrize(
    "starts", [[0, 30, 12, 18], [0, 6, 12, 19], [0, 6, 12, 17], [1, 6, 12, 18], [0, 6, 6, 18]]
)
def test_an_artifact_whose_classes_begin_elsewhere_is_refused(quick, starts, tmp_path):
    broken = quick.with_arguments()
    broken.table.starts.copy_(torch.tensor(starts))
    broken.save_pretrained(tmp_path / "vae")
    with pytest.raises(ValueError, match=r"`table\.starts` must rise from 0 to 18"):
        al.load(tmp_path / "vae")


def test_a_seed_repeats_a_fit_and_its_samples(quick):
    again = al.ClassVAE.fit(*digits(), **QUICK)
    other = al.ClassVAE.fit(*digits(), **QUICK, seed=1)
    labels = torch.arange(3)
    draw = lambda vae, seed: vae.sample(labels, generator=seeded(seed))  # noqa: E731
    assert torch.equal(draw(quick, 0), draw(again, 0))
    assert not torch.equal(draw(quick, 0), draw(other, 0))
    assert not torch.equal(draw(quick, 0), draw(quick, 1))


def test_rows_are_of_the_class_that_is_asked_for(fifty):
    images = torch.rand(20, 1, 8, 8)
    labels = torch.arange(20) % 10
    made, same = fifty(images, labels, generator=seeded())
    assert torch.equal(same, labels)
    each = [fifty.sample(torch.full((200,), k), generator=seeded()).mean(dim=0) for k in range(10)]
    far = torch.cdist(made.flatten(1), torch.stack(each).flatten(1))
    assert (far.argmin(dim=1) == labels).float().mean() > 0.8


def test_samplers_draw_from_where_they_say(quick):
    table, count = quick.table, 4000
    labels = torch.full((count,), 1)
    own = slice(int(table.starts[1]), int(table.starts[2]))
    mean, variance = table.mean[own], table.log_variance[own].exp()
    noise = quick.draw(count, seeded())

    def codes(**how):
        vae = quick.with_arguments(**how)
        return vae.plan(al.Batch(labels=labels), noise)["z"]

    z = noise["z"][:, 0]
    torch.testing.assert_close(codes(), z)
    torch.testing.assert_close(codes(temperature=0.5), 0.5 * z)
    # The aggregated posterior, and one Gaussian with its moments.
    total = mean.T.cov(correction=0) + torch.diag(variance.mean(dim=0))
    one = al.ClassVAE.fit(*digits(), **QUICK, components=1, sampler="mixture")
    for found in (codes(sampler="posterior"), one.plan(al.Batch(labels=labels), noise)["z"]):
        torch.testing.assert_close(found.mean(dim=0), mean.mean(dim=0), atol=0.1, rtol=0)
        torch.testing.assert_close(found.T.cov(), total, atol=0.15, rtol=0.1)
    still = codes(sampler="posterior", temperature=0.0)
    assert (still[:, None] == mean).all(dim=2).any(dim=1).all()
    assert len(still.unique(dim=0)) == len(mean)  # every image of the class, and no other
    between = codes(sampler="convex", temperature=0.0)
    assert (between <= mean.amax(dim=0) + 1e-5).all()
    assert (between >= mean.amin(dim=0) - 1e-5).all()
    assert len(between.unique(dim=0)) > 100


def test_a_mixture_finds_what_it_was_made_of():
    generator = seeded()
    centres = torch.tensor([[-3.0, 0.0], [3.0, 1.0]], dtype=torch.float64)
    belongs = (torch.rand(600, generator=generator) < 0.25).long()
    mean = centres[belongs] + 0.2 * torch.randn(600, 2, generator=generator, dtype=torch.float64)
    shares, found, factors = mixture(mean, torch.full((600, 2), 0.05, dtype=torch.float64), 2)
    order = found[:, 0].argsort()
    torch.testing.assert_close(found[order], centres, atol=0.05, rtol=0)
    torch.testing.assert_close(shares[order][1], belongs.double().mean(), atol=0.01, rtol=0)
    wanted = torch.eye(2, dtype=torch.float64) * (0.2**2 + 0.05)
    torch.testing.assert_close(factors[0] @ factors[0].T, wanted, atol=0.01, rtol=0)


def test_rejected_samples_are_drawn_again():
    strict = al.ClassVAE.fit(*digits(30), **QUICK, temperature=2.5, reject=0.2)
    labels = torch.arange(3).repeat_interleave(50)
    wild = strict.with_arguments(reject=None)
    share = lambda vae: float(  # noqa: E731
        vae.doubtful(vae.sample(labels, generator=seeded()), labels, 0.2).float().mean()
    )
    assert share(strict) < 0.5 * share(wild)
    noise = strict.draw(4, seeded())
    assert noise["z"].shape == (4, 4, strict.latent)


def test_real_images_set_the_limits():
    real = torch.cat([torch.arange(20.0), torch.tensor([5.0, torch.inf]), torch.arange(100.0, 120)])
    starts = torch.tensor([0, 20, 22, 42])
    found = safety.limits(real, starts, 0.5)
    assert found[0] == 9.5
    assert found[2] == 109.5
    assert found[1] == real[real.isfinite()].quantile(0.5)  # one is too few: those of all classes
    nothing = safety.limits(torch.full((3,), torch.inf), torch.tensor([0, 2, 3]), 0.5)
    assert (nothing == -torch.inf).all()


def varied(directions, count=120):
    """Images that vary in so many directions."""
    g = seeded(1)
    patterns = torch.linalg.qr(torch.randn(100, directions, generator=g))[0]
    z = torch.randn(count, directions, generator=g)
    return (0.5 + 0.3 * z @ patterns.T).clamp(0, 1).view(count, 1, 10, 10)


@pytest.mark.parametrize(("directions", "latent"), [(1, 2), (4, 4), (8, 8), (40, 16)])
def test_the_latent_size_follows_from_the_data(directions, latent):
    vae = al.ClassVAE.fit(varied(directions), torch.zeros(120).long(), **{**QUICK, "steps": 1})
    assert abs(vae.latent - latent) <= 1


def test_many_classes_share_a_network():
    images, labels = torch.rand(132, 1, 8, 8), torch.arange(132) % 33
    vae = al.ClassVAE.fit(images, labels, **QUICK)
    assert vae.members == [list(range(33))]
    apart = al.ClassVAE.fit(images, labels, **QUICK, conditional=False)
    assert len(apart.members) == 33
    together = al.ClassVAE.fit(*digits(), **QUICK, conditional=True)
    assert together.members == [[0, 1, 2]]
    assert together.sample([0, 2], generator=seeded()).shape == (2, 1, 8, 8)


def test_few_images_of_a_class():
    images, labels = digits(6, 4)
    keep = torch.ones(len(labels), dtype=torch.bool)
    keep[(labels == 1).nonzero()[3:]] = False
    keep[(labels == 3).nonzero()[1:]] = False
    given = images[keep], labels[keep]
    with pytest.raises(
        ValueError, match=r"4 or more of every class, got fewer of 1 \(3\), 3 \(1\)"
    ):
        al.ClassVAE.fit(*given, **QUICK)
    merged = al.ClassVAE.fit(*given, **QUICK, few="merge")
    assert merged.members == [[0], [2], [1, 3]]
    kept = al.ClassVAE.fit(*given, **QUICK, few="keep")
    assert kept.members == [[0], [1], [2], [3]]
    for vae in (merged, kept):
        samples = vae.sample(torch.arange(4), generator=seeded())
        assert samples.isfinite().all()
        assert 0 <= samples.min() <= samples.max() <= 1


def test_a_class_without_images_is_refused_when_it_is_asked_for():
    images, labels = digits(6, 2)
    vae = al.ClassVAE.fit(images, labels, classes=["a", "b", "c"], **QUICK)
    assert vae.members == [[0], [1]]
    with pytest.raises(ValueError, match="has not of 'c'"):
        vae.sample([0, 2])


def test_groups_are_held_out_whole():
    images, labels = digits(12, 2)
    groups = torch.arange(24) // 4
    sample = choices.by_class(fitting_sample(images, labels, groups))
    held, why = choices.held_out(sample, Settings())
    assert held.any()
    assert not why
    for group in sample.groups.unique():
        assert held[sample.groups == group].float().mean() in (0, 1)
    alone = fitting_sample(images, labels, labels)  # one group a class
    held, why = choices.held_out(alone, Settings())
    assert not held.any()
    assert why == "there is one group of each class"
    vae = al.ClassVAE.fit(images, labels, groups=labels, **QUICK)
    assert "none held out" in vae.about.data


def test_a_rare_class_alone_shares_with_the_next_rarest():
    images, labels = digits(9, 3)
    keep = torch.ones(len(labels), dtype=torch.bool)
    keep[(labels == 0).nonzero()[2:]] = False
    keep[(labels == 2).nonzero()[7:]] = False
    sample = choices.by_class(fitting_sample(images[keep], labels[keep], None))
    assert choices.members_of(sample, Settings(few="merge")) == [[1], [0, 2]]
    assert choices.members_of(sample, Settings(few="keep")) == [[0], [1], [2]]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "around", [torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)]
)
def test_what_is_set_around_a_fit_changes_nothing(around, precision):
    how = {**QUICK, "steps": 30, "precision": precision}
    wanted = al.ClassVAE.fit(*digits(9, 2), **how)
    with around():
        found = al.ClassVAE.fit(*digits(9, 2), **how)
    for name, tensor in wanted.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor), name


def fitting_sample(images, labels, groups):
    from albu_learned.fitting import collect

    return collect(images, labels, None, groups, None, 0)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_gray_and_colour_at_any_size(sampler):
    images = (torch.rand(12, 3, 9, 20) * 255).to(torch.uint8)
    vae = al.ClassVAE.fit(
        images,
        torch.arange(12) % 2,
        **{**QUICK, "network": "convolutional", "steps": 2},
        sampler=sampler,
    )
    assert vae.likelihood == "gaussian"
    made, _ = vae(images[:4], torch.tensor([0, 1, 0, 1]))
    assert made.dtype == torch.uint8
    assert made.shape == (4, 3, 9, 20)


@pytest.fixture
def _short(monkeypatch):
    monkeypatch.setattr(expect, "_STEPS", 100)


@pytest.mark.usefixtures("_short")
def test_it_says_whether_samples_help():
    images, labels = digits(40, 4)
    real = images.float() / 255
    held = torch.zeros(len(labels), dtype=torch.bool)
    held[12:] = True

    def good(wanted, generator):  # unlimited new real images
        rows = [
            (labels[held] == k).nonzero()[:, 0][
                torch.randint(int((labels[held] == k).sum()), (1,), generator=generator)
            ]
            for k in wanted
        ]
        return real[held][torch.cat(rows)]

    def wrong(wanted, generator):  # of another class
        return good((wanted + 1) % 4, generator)

    few = torch.arange(len(labels)) < 12
    mean, error, right = gain(good, real, labels, ~few, 0.5, 0)
    assert mean > 2 * error > 0
    assert right >= 0
    mean, error, right = gain(wrong, real, labels, ~few, 0.9, 0)
    assert mean < -2 * error
    assert right < -0.3
    assert gain(good, real[:2], labels[:2] * 0, torch.tensor([True, False]), 0.5, 0) is None


@pytest.mark.usefixtures("_short")
def test_the_summary_says_what_was_found():
    images, labels = digits(20, 3)
    vae = al.ClassVAE.fit(images, labels, **{**QUICK, "expect": True, "steps": 25})
    words = vae.summary()
    assert "60 images of 8 x 8 pixels in 3 classes; 9 were held out, and learned from" in words
    assert "times as far from the nearest image" in words
    assert "of samples in a batch a small network's log-likelihood on 9 held-out images" in words
    assert summary(al.ClassVAE((1, 8, 8), 2).about).startswith("It was not fitted")


GIVEN = {"images": torch.rand(8, 1, 8, 8), "labels": torch.arange(8) % 2}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"labels": torch.arange(7) % 2}, r"`labels` must be \(8,\)"),
        ({"labels": None}, "`labels` must be given"),
        ({"labels": torch.rand(8, 2)}, "Of soft labels"),
        ({"images": torch.full((8, 1, 8, 8), torch.nan)}, "`images` must be finite"),
        ({"images": torch.rand(8, 1, 8, 8) * 9}, r"float in \[0, 1\]"),
        ({"images": torch.rand(8, 1, 30)}, "not made for series"),
        ({"images": torch.rand(8, 1, 7, 30)}, "sides of 8 to 128"),
        ({"images": torch.rand(8, 1, 129, 30)}, "sides of 8 to 128"),
        ({"network": "big"}, "`network` must be one of"),
        ({"sampler": "best"}, "`sampler` must be one of"),
        ({"few": "some"}, "`few` must be one of"),
        ({"likelihood": "poisson"}, "`likelihood` must be one of"),
        ({"precision": "float16"}, "`precision` must be one of"),
        ({"beta": -1.0}, "`beta` must be in"),
        ({"validation": 1.0}, "`validation` must be in"),
        ({"share": 0}, "`share` must be in"),
        ({"temperature": -1.0}, "`temperature` must be in"),
        ({"reject": 1.0}, "`reject` must be in"),
        ({"steps": 0}, "`steps` must be an integer >= 1"),
        ({"latent": 0}, "`latent` must be an integer >= 1"),
        ({"learning_rate": 2.0}, "`learning_rate` must be in"),
        ({"conditional": 1}, "`conditional` must be True or False"),
        ({"device": "tpu9"}, "`device` must be one"),
    ],
)
def test_wrong_input_is_named(given, message):
    with pytest.raises((ValueError, TypeError), match=message):
        al.ClassVAE.fit(**{**GIVEN, **QUICK, **given})


def test_a_training_that_leaves_the_numbers_is_told():
    with pytest.raises(ValueError, match="`learning_rate` must let the training stay finite"):
        trained([0, 1], learning_rate=1e6, steps=200)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (8, 8)}, r"`shape` must be \(C, H, W\)"),
        ({"shape": (1, 8, 200)}, "sides of 8 to 128"),
        ({"members": [[0], [0]]}, "`members` must name classes"),
        ({"members": [[0, 5]]}, "`members` must name classes"),
        ({"sampler": "posterior"}, "`codes` must be"),
        ({"reject": 0.1}, "`codes` must be"),
        ({"shape": (1, 9, 8), "network": "garay-2018"}, "even sides"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        al.ClassVAE(**{"shape": (1, 8, 8), "num_classes": 2, **arguments})


def test_what_it_is_asked_to_change_is_checked(quick):
    images = torch.rand(2, 1, 8, 8)
    with pytest.raises(ValueError, match="needs labels"):
        quick(images)
    with pytest.raises(ValueError, match="soft labels"):
        quick(images, torch.rand(2, 3))
    with pytest.raises(ValueError, match=r"`labels` must be in 0\.\.2"):
        quick(images, torch.tensor([0, 3]))
    with pytest.raises(ValueError, match=r"must have the size \(8, 8\)"):
        quick(torch.rand(2, 1, 9, 9), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="must have 1 channels"):
        quick(torch.rand(2, 3, 8, 8), torch.tensor([0, 1]))
    bigger, _ = quick.resized()(torch.rand(2, 1, 19, 9), torch.tensor([0, 1]))
    assert bigger.shape == (2, 1, 19, 9)


@pytest.mark.parametrize("labels", ["abc", None, [[0, 1], [2]], ["a"], []])
def test_labels_that_are_no_numbers_are_named(quick, labels):
    for ask in (quick.sample, lambda wrong: quick.doubtful(torch.rand(2, 1, 8, 8), wrong)):
        with pytest.raises((TypeError, ValueError), match=r"`labels` must be .*class number"):
            ask(labels)


def test_what_was_kept_is_read_where_torch_makes_doubles(quick, tmp_path):
    quick.save_pretrained(tmp_path / "vae")
    try:
        torch.set_default_dtype(torch.float64)
        again = al.load(tmp_path / "vae")
        assert again.sample([0, 1], generator=seeded()).shape == (2, 1, 8, 8)
        again.save_pretrained(tmp_path / "again")
    finally:
        torch.set_default_dtype(torch.float32)
    for name in ("config.json", "model.safetensors"):
        files = (tmp_path / folder / name for folder in ("vae", "again"))
        assert len({file.read_bytes() for file in files}) == 1


def test_settings_of_a_spec_are_checked_before_there_are_data():
    assert al.ClassVAE.unfitted((1, 12, 12), 3, few="keep", latent=4).latent == 4
    with pytest.raises(ValueError, match="`few`"):
        al.ClassVAE.unfitted(few="all")
    with pytest.raises(TypeError, match="steeps"):
        al.ClassVAE.unfitted(steeps=3)


def test_the_paper_s_training_has_its_epochs():
    settings = Settings(network="garay-2018")
    assert settings.schedule(10, 1).steps == 200
    assert settings.schedule(50, 1).steps == 300
    assert settings.schedule(250, 1).steps == 875  # 350 epochs of 2.5 batches
    assert settings.schedule(50, 1).optimizer == "rmsprop"


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
def test_it_fits_and_samples_on_cuda():
    images, labels = digits()
    vae = al.ClassVAE.fit(images, labels, **QUICK, device="cuda", reject=0.05).cuda()
    made, same = vae(images.cuda(), labels.cuda())
    assert made.is_cuda
    assert torch.equal(same.cpu(), labels)
    half = al.ClassVAE.fit(images, labels, **QUICK, device="cuda", precision="bfloat16")
    assert half.sample([0, 1]).isfinite().all()


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (lambda x: x * torch.nan, lambda y: y, r"`images` must be floats in \[0, 1\].*NaN"),
        (lambda x: x * 255, lambda y: y, r"`images` must be floats in \[0, 1\].*255"),
        (lambda x: x[:, :, 1:], lambda y: y, r"`images` must be \(B, 1, 8, 8\).*\(6, 1, 7, 8\)"),
        (lambda x: x, lambda y: y[:2], r"labels"),
        (lambda x: x, lambda y: torch.eye(3)[y], r"`labels` must be \(B,\) class numbers"),
    ],
)
def test_doubts_need_images_as_they_were_learned_from(quick, images, labels, words):
    given, own = digits(2)
    with pytest.raises((ValueError, TypeError), match=words):
        quick.doubtful(images(given / 255), labels(own))
    assert quick.doubtful(given / 255, own.tolist()).shape == (6,)


@pytest.mark.parametrize(
    ("held", "gain", "error", "words"),
    [
        (40, 0.02, 0.004, "expected to help"),
        (40, -0.02, 0.004, "expected to harm"),
        (40, 0.02, 0.02, "too little"),
        (40, 0.001, 0.0001, "too little"),
        (6, 0.02, 0.004, "too little"),
    ],
)
def test_what_is_expected_takes_enough_of_a_difference(quick, held, gain, error, words):
    figures = {**quick.about.figures, "share": 0.4, "held out": held, "gain": gain}
    figures |= {"gain, error": error, "gain, accuracy": 0.0}
    assert words in summary(al.About(figures=figures))


def test_how_near_samples_are_is_told_where_it_can_be(quick):
    def told(apart):
        figures = {**quick.about.figures, "distance to real": 2.0, "distance between real": apart}
        return summary(al.About(figures=figures))

    assert "A sample is 0.80 times as far" in told(2.5)
    assert "0.40 times as far" in told(5.0)
    assert "look whether samples are copies" in told(5.0)
    assert "Every image has its equal in its class" in told(0.0)


@pytest.mark.parametrize("network", ["dense", "convolutional"])
def test_a_fit_is_the_same_where_torch_makes_doubles(network, monkeypatch):
    monkeypatch.setattr(expect, "TIMES", 1)
    images, labels = digits(6)

    def fitted():
        how = {"latent": 2, "width": 8, "steps": 20, "progress": False}
        how["expect"] = network == "dense"
        vae = al.ClassVAE.fit(images, labels, network=network, **how)
        return vae, vae.sample([0, 1, 2], generator=seeded())

    wanted, samples = fitted()
    try:
        torch.set_default_dtype(torch.float64)
        found, again = fitted()
    finally:
        torch.set_default_dtype(torch.float32)
    for name, value in wanted.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value, msg=name)
    torch.testing.assert_close(again, samples)
    assert found.about.figures == pytest.approx(wanted.about.figures, abs=1e-3, nan_ok=True)
