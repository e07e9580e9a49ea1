"""The numbers of zeta-mixup: weights, order, sums, labels, gradients, errors.

Statistical tests have fixed seeds, so they never flicker; each would fail a correct draw once in
`FAILS` seeds.
"""

import itertools
import math
import warnings

import pytest
import torch
from scipy import stats

import albu_learned as al
from albu_learned import mixing
from albu_learned.methods import zeta_mixup
from albu_learned.methods.zeta_mixup import draw_order, rank_weights

FAILS = 1e4
SIZES = [1, 2, 3, 5, 8, 33]
SIZES_AND_TOPS = [(n, k) for n in SIZES for k in [None, *range(2, n + 2)]]
ROUTES = {"sort": zeta_mixup._sort_order, "pick": zeta_mixup._pick_order}


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`gamma`")
        yield


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def by_hand(rows, order, gamma):
    """The mixture of nested lists of numbers, written as the paper's formula."""
    mixed = []
    for ranking in order.tolist():
        constant = sum((rank + 1) ** -gamma for rank in range(len(ranking)))
        total = [0.0] * len(rows[0])
        for rank, sample in enumerate(ranking):
            for place, number in enumerate(rows[sample]):
                total[place] += (rank + 1) ** -gamma / constant * number
        mixed.append(total)
    return torch.tensor(mixed, dtype=torch.float64)


def one_hot(labels, num_classes):
    return [[float(label == k) for k in range(num_classes)] for label in labels.tolist()]


# --- weights and sums ---


@pytest.mark.parametrize(("n", "top_k"), SIZES_AND_TOPS)
def test_every_row_sums_to_one_and_is_led_by_its_own_sample(n, top_k):
    W = al.zeta_weights(n, gamma=1.9, top_k=top_k, generator=seeded())
    size = n if top_k is None else min(n, top_k)
    ranks = torch.tensor([(r + 1) ** -1.9 for r in range(size)])
    expected = torch.zeros(n)
    expected[:size] = ranks / ranks.sum()
    torch.testing.assert_close(W.sum(1), torch.ones(n))
    assert W.argmax(1).tolist() == list(range(n))
    torch.testing.assert_close(W.sort(1, descending=True).values, expected.expand(n, n))


@pytest.mark.parametrize("top_k", [None, 2, 4, 7])
@pytest.mark.parametrize("n", SIZES)
def test_mixture_equals_the_formula(n, top_k):
    images = torch.rand(n, 2, 3, 2, generator=seeded(1))
    labels = torch.randint(4, (n,), generator=seeded(2))
    method = al.ZetaMixup(gamma=2.2, top_k=top_k, num_classes=4)
    mixed, soft = method(images, labels, generator=seeded(3))
    order = method.draw(n, seeded(3))["order"]
    expected = by_hand(images.flatten(1).tolist(), order, 2.2).view(images.shape)
    torch.testing.assert_close(mixed.double(), expected, rtol=1e-5, atol=1e-6)
    expected = by_hand(one_hot(labels, 4), order, 2.2)
    torch.testing.assert_close(soft.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("top_k", [None, 4, 16])
def test_large_batches_equal_the_formula(top_k):
    """Large enough for the fast ways of drawing, of multiplying and of gathering."""
    images = torch.rand(65, 4096, generator=seeded(1))
    method = al.ZetaMixup(top_k=top_k)
    mixed = method(images, generator=seeded(3))
    order = method.draw(65, seeded(3))["order"]
    few = by_hand(images[:, :40].tolist(), order, 2.8)
    torch.testing.assert_close(mixed[:, :40].double(), few, rtol=1e-5, atol=1e-6)
    W = torch.zeros(65, 65, dtype=torch.float64)
    weights = rank_weights(order.shape[1], 2.8).double()
    W.scatter_add_(1, order, weights.expand(order.shape))
    torch.testing.assert_close(mixed.double(), W @ images.double(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("share", [0.5, 0.6, 0.9])
def test_two_samples_are_mixup_with_the_same_partners(share):
    images, labels = torch.rand(8, 3, 4, 4), torch.arange(8) % 3
    gamma = math.log2(share / (1 - share)) or 1e-9
    method = al.ZetaMixup(gamma=gamma, top_k=2, num_classes=3)
    mixed, soft = method(images, labels, generator=seeded())
    partner = method.draw(8, seeded())["order"][:, 1]
    hot = torch.nn.functional.one_hot(labels, 3).float()
    torch.testing.assert_close(mixed, share * images + (1 - share) * images[partner])
    torch.testing.assert_close(soft, share * hot + (1 - share) * hot[partner])


def test_mixing_commutes_with_normalisation():
    images = torch.rand(9, 3, 5, 5)
    mean, std = torch.rand(3, 1, 1), torch.rand(3, 1, 1) + 0.5
    method = al.ZetaMixup(top_k=4)
    before = method((images - mean) / std, generator=seeded())
    after = (method(images, generator=seeded()) - mean) / std
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("route", ["_dense", "_gathered"])
def test_both_routes_add_up_repeated_rows_for_any_number_of_outputs(route):
    flat = torch.rand(6, 5, dtype=torch.float64)
    index, weight = torch.tensor([[1, 1, 4], [0, 5, 0]]), torch.rand(2, 3, dtype=torch.float64)
    expected = torch.stack(
        [sum(weight[i, k] * flat[index[i, k]] for k in range(3)) for i in range(2)]
    )
    torch.testing.assert_close(getattr(mixing, route)(flat, index, weight), expected)


@pytest.mark.parametrize(
    ("shape", "terms", "sparse"),
    [
        ((2048, 3072), 8, True),
        ((512, 3072), 8, True),
        ((128, 3072), 8, True),
        ((128, 3072), 128, False),
        ((32, 150_528), 8, False),
        ((64, 0), 2, False),
    ],
)
def test_few_of_many_rows_are_gathered(shape, terms, sparse):
    flat, index = torch.empty(shape, device="meta"), torch.empty(shape[0], terms, device="meta")
    assert mixing._is_sparse(flat, index, index) == sparse


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_large_product_is_written_to_memory_of_ours(monkeypatch, dtype):
    X = torch.rand(9, 20_001, dtype=dtype)
    index, weight = torch.rand(5, 9).argsort(1), torch.rand(5, 9, dtype=dtype)
    expected = mixing._dense(X, index, weight)
    monkeypatch.setattr(mixing, "BIG", 0)
    assert mixing._takes_output(weight, X)
    first, second = mixing._dense(X, index, weight), mixing._dense(X, index, weight)
    assert torch.equal(first, expected)
    assert first.data_ptr() != second.data_ptr(), "a caller may still hold the first"


def test_memory_of_ours_carries_no_derivatives():
    W, X = torch.rand(20, 20), torch.rand(20, 2**18)
    assert mixing._takes_output(W, X)
    assert not mixing._takes_output(W, X.clone().requires_grad_())
    assert not mixing._takes_output(W.clone().requires_grad_(), X)
    assert not mixing._takes_output(W, X[:, :100])


# --- the order, by goodness of fit ---


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("rows", "size"), [(2, 2), (3, 3), (4, 2), (4, 4), (5, 3), (5, 5), (6, 4)])
def test_all_orders_of_others_are_equally_likely_in_every_row(route, rows, size):
    tuples = {t: i for i, t in enumerate(itertools.permutations(range(rows - 1), size - 1))}
    counts = torch.zeros(rows, len(tuples))
    generator = seeded(7)
    for _ in range(20 * len(tuples)):
        order = ROUTES[route](rows, size, generator, None)
        assert order[:, 0].tolist() == list(range(rows))
        for row, others in enumerate(order[:, 1:].tolist()):
            assert row not in others
            counts[row, tuples[tuple(o - (o > row) for o in others)]] += 1
    if len(tuples) > 1:
        worst = min(stats.chisquare(row.numpy()).pvalue for row in counts)
        assert worst > 1 / FAILS / rows


@pytest.mark.parametrize("route", ROUTES)
def test_rows_are_independent_of_each_other(route):
    """Not one permutation shifted from row to row: the orders of any two rows, seen jointly."""
    rows = 4
    tuples = {t: i for i, t in enumerate(itertools.permutations(range(rows - 1)))}
    pairs = list(itertools.combinations(range(rows), 2))
    counts = torch.zeros(len(pairs), len(tuples), len(tuples))
    generator = seeded(11)
    for _ in range(20 * len(tuples) ** 2):
        order = ROUTES[route](rows, rows, generator, None).tolist()
        codes = [tuples[tuple(o - (o > i) for o in order[i][1:])] for i in range(rows)]
        for pair, (i, j) in enumerate(pairs):
            counts[pair, codes[i], codes[j]] += 1
    worst = min(stats.chisquare(table.flatten().numpy()).pvalue for table in counts)
    assert worst > 1 / FAILS / len(pairs)


@pytest.mark.parametrize("route", ROUTES)
def test_each_rank_of_a_large_batch_is_uniform_and_without_repeats(route):
    rows, size = 70, 8
    counts = torch.zeros(size - 1, rows - 1)
    pairs = torch.zeros(rows - 1, rows - 1)  # of the last two ranks
    generator = seeded(13)
    for _ in range(300):
        others = ROUTES[route](rows, size, generator, None)[:, 1:]
        assert all(len(set(row)) == size - 1 for row in others.tolist())
        others = others - (others > torch.arange(rows)[:, None]).long()
        for rank in range(size - 1):
            counts[rank] += torch.bincount(others[:, rank], minlength=rows - 1)
        pairs.view(-1).scatter_add_(0, others[:, -2] * (rows - 1) + others[:, -1], torch.ones(rows))
    worst = min(stats.chisquare(count.numpy()).pvalue for count in counts)
    assert worst > 1 / FAILS / size
    distinct = pairs[~torch.eye(rows - 1, dtype=torch.bool)]
    assert stats.chisquare(distinct.numpy()).pvalue > 1 / FAILS


@pytest.mark.parametrize(
    ("rows", "size"), [(64, 2), (64, 8), (64, 9), (600, 64), (600, 65), (1, 1)]
)
def test_order_has_the_size_asked_for_and_no_repeats(rows, size):
    order = draw_order(rows, size, seeded())
    assert order.shape == (rows, size)
    assert order.dtype == torch.int64
    assert order[:, 0].tolist() == list(range(rows))
    assert order.min() >= 0
    assert order.max() < rows
    assert (order.sort(1).values.diff(dim=1) > 0).all()


def test_the_routes_are_chosen_by_size(monkeypatch):
    monkeypatch.setattr(zeta_mixup, "_pick_order", lambda *_: "pick")
    monkeypatch.setattr(zeta_mixup, "_sort_order", lambda *_: "sort")
    asked = [(2048, 8), (512, 8), (128, 8), (32, 2), (128, 128), (2048, 2048), (1, 1)]
    assert [draw_order(*sizes) for sizes in asked] == ["pick"] * 3 + ["sort"] * 4


@pytest.mark.parametrize("top_k", [None, 4])
def test_the_generator_decides(top_k):
    images, method = torch.rand(64, 2), al.ZetaMixup(top_k=top_k)
    state = torch.get_rng_state()
    first, again = (method(images, generator=seeded(1)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, method(images, generator=seeded(2)))
    assert torch.equal(state, torch.get_rng_state())


# --- images of every kind ---


@pytest.mark.parametrize("top_k", [None, 3])
@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.uint8]
)
def test_dtypes_are_kept_and_summed_accurately(dtype, top_k):
    numbers = torch.rand(13, 3, 4, 4, dtype=torch.float64, generator=seeded())
    images = (numbers * 255).to(dtype) if dtype == torch.uint8 else numbers.to(dtype)
    method = al.ZetaMixup(top_k=top_k)
    mixed = method(images, generator=seeded(1))
    order = method.draw(13, seeded(1))["order"]
    expected = by_hand(images.double().flatten(1).tolist(), order, 2.8).view(images.shape)
    assert mixed.dtype == dtype
    if dtype == torch.uint8:  # the nearest integer, whichever way a near-half is rounded
        assert (mixed.double() - expected).abs().max() <= 0.5 + 1e-4
    else:  # one rounding to the type, at the end, beside what float32 weights and sums cost
        half_step = 0.51 * torch.finfo(dtype).eps
        torch.testing.assert_close(mixed.double(), expected, rtol=half_step, atol=1e-6)


@pytest.mark.parametrize("shape", [(), (5,), (2, 6), (3, 4, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_any_number_of_dimensions_and_odd_batches(shape, rows):
    images = torch.rand(rows, *shape)
    mixed = al.ZetaMixup(top_k=2)(images, generator=seeded())
    assert mixed.shape == images.shape
    if rows == 1:
        assert torch.equal(mixed, images)


@pytest.mark.parametrize("rows", [9, 40])
@pytest.mark.parametrize("kind", ["channels_last", "transposed", "strided", "flipped", "expanded"])
def test_memory_layouts_change_nothing_but_the_layout(kind, rows):
    plain = torch.rand(rows, 3, 6, 5)
    images = {
        "channels_last": lambda: plain.contiguous(memory_format=torch.channels_last),
        "transposed": lambda: plain.transpose(2, 3).contiguous().transpose(2, 3),
        "strided": lambda: torch.stack([plain, plain], -1)[..., 0],
        "flipped": lambda: plain.flip(0).contiguous()[torch.arange(rows - 1, -1, -1)],
        "expanded": lambda: plain[:, :1].expand(-1, 3, -1, -1),
    }[kind]()
    method = al.ZetaMixup(top_k=4)
    mixed = method(images, generator=seeded())
    torch.testing.assert_close(mixed, method(images.contiguous(), generator=seeded()))
    if kind in ("channels_last", "transposed"):
        assert mixed.stride() == images.stride()


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_dense_layouts_are_not_copied(layout):
    """Flattened in memory order, the batch is a view of itself."""
    images = torch.rand(4, 3, 6, 5).contiguous(memory_format=layout)
    laid = images.permute(mixing._memory_order(images))
    assert laid.reshape(4, -1).data_ptr() == images.data_ptr()
    assert laid.is_contiguous()


@pytest.mark.parametrize("top_k", [None, 2])
@pytest.mark.parametrize("rows", [1, 8, 33])
def test_inputs_are_never_modified_and_never_returned(rows, top_k):
    images, labels = torch.rand(rows, 3, 4, 4), torch.rand(rows, 5)
    kept, kept_labels = images.clone(), labels.clone()
    mixed, soft = al.ZetaMixup(top_k=top_k)(images, labels)
    mixed.add_(1), soft.add_(1)
    assert torch.equal(images, kept)
    assert torch.equal(labels, kept_labels)


@pytest.mark.parametrize("top_k", [None, 2])
def test_autocast_changes_nothing(top_k):
    images, labels = torch.rand(16, 3, 32, 32), torch.rand(16, 5)
    method = al.ZetaMixup(top_k=top_k)
    plain = method(images, labels, generator=seeded())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = method(images, labels, generator=seeded())
    assert under[0].dtype == under[1].dtype == torch.float32
    assert torch.equal(under[0], plain[0])
    assert torch.equal(under[1], plain[1])


# --- labels ---


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_class_numbers_are_smoothed_then_mixed(smoothing, dtype):
    labels = torch.tensor([0, 3, 3, 1, 3, 2, 0]).to(dtype)
    method = al.ZetaMixup(num_classes=5, smoothing=smoothing)
    _, soft = method(torch.rand(7, 1), labels, generator=seeded())
    order = method.draw(7, seeded())["order"]
    smooth = [[x * (1 - smoothing) + smoothing / 5 for x in row] for row in one_hot(labels, 5)]
    assert soft.dtype == torch.float32
    torch.testing.assert_close(soft.double(), by_hand(smooth, order, 2.8), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["soft", "multi-label"])
def test_dense_labels_are_mixed_as_they_are(kind, dtype):
    labels = torch.rand(6, 4, generator=seeded(5)).to(dtype)
    labels = labels / labels.sum(1, keepdim=True) if kind == "soft" else labels.round()
    method = al.ZetaMixup(num_classes=4)
    _, soft = method(torch.rand(6, 1), labels, generator=seeded())
    order = method.draw(6, seeded())["order"]
    step = max(torch.finfo(dtype).eps, 1e-6)
    assert soft.dtype == dtype
    torch.testing.assert_close(
        soft.double(), by_hand(labels.double().tolist(), order, 2.8), rtol=step, atol=step
    )


def test_integer_multi_labels_become_float32():
    labels = torch.tensor([[1, 0, 1], [0, 1, 1]])
    _, soft = al.ZetaMixup()(torch.rand(2, 1), labels)
    assert soft.dtype == torch.float32


# --- gradients and compilation ---


@pytest.mark.parametrize("route", ["_dense", "_gathered"])
@pytest.mark.parametrize("shape", [(6,), (6, 2, 3)])
def test_gradients_of_images_and_weights(monkeypatch, route, shape):
    monkeypatch.setattr(mixing, "_is_sparse", lambda *_: route == "_gathered")
    images = torch.rand(shape, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(4, 3, dtype=torch.float64, requires_grad=True)
    index = torch.tensor([[0, 1, 2], [3, 3, 5], [5, 0, 1], [2, 4, 2]])
    assert torch.autograd.gradcheck(lambda x, w: mixing.mix(x, index, w), (images, weight))


@pytest.mark.parametrize("labels", [torch.tensor([0, 2, 1]), torch.rand(3, 3).double()])
def test_gradients_of_weights_through_labels(labels):
    method = al.ZetaMixup(num_classes=3)
    index = torch.tensor([[0, 1], [1, 1], [2, 0]])
    weight = torch.rand(3, 2, dtype=torch.float64, requires_grad=True)
    method.mix_labels(labels, {"index": index, "weight": weight}).pow(2).sum().backward()
    hot = method.soften(labels).double()
    twin = weight.detach().clone().requires_grad_()
    (hot[index] * twin[..., None]).sum(1).pow(2).sum().backward()
    torch.testing.assert_close(weight.grad, twin.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rows", [40, 128])
def test_large_images_that_need_gradients_get_them(rows):
    """Memory of ours has no gradient and must not be taken."""
    images = torch.rand(rows, 2**17, requires_grad=True)
    al.ZetaMixup()(images, generator=seeded()).sum().backward()
    W = al.zeta_weights(rows, generator=seeded())
    expected = W.sum(0)[:, None].expand(images.shape)
    torch.testing.assert_close(images.grad, expected, rtol=1e-4, atol=1e-5)


def test_large_images_carry_forward_derivatives():
    """Memory of ours would drop them."""
    images, index = torch.rand(32, 2**17), torch.rand(32, 32).argsort(1)
    weight = torch.rand(32, 32)
    inputs, steps = (images, weight), (torch.rand(32, 2**17), torch.rand(32, 32))
    _, slope = torch.func.jvp(lambda x, w: mixing.mix(x, index, w), inputs, steps)
    expected = mixing.mix(steps[0], index, weight) + mixing.mix(images, index, steps[1])
    torch.testing.assert_close(slope, expected, rtol=1e-4, atol=1e-4)
    one_sided = torch.func.jvp(lambda w: mixing.mix(images, index, w), (weight,), (steps[1],))[1]
    expected = mixing.mix(images, index, steps[1])
    torch.testing.assert_close(one_sided, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("rows", "top_k"), [(8, None), (64, 4)])
def test_compiles_as_one_graph(rows, top_k):
    torch.compiler.reset()
    images, labels = torch.rand(rows, 3, 4, 4), torch.arange(rows) % 5
    method = al.ZetaMixup(top_k=top_k, num_classes=5, smoothing=0.1)
    forward = torch.compile(method, fullgraph=True, backend="aot_eager")
    mixed, soft = forward(images, labels)
    assert mixed.shape == images.shape
    torch.testing.assert_close(soft.sum(1), torch.ones(rows))
    batch = al.Batch(images=images, labels=labels)
    plan = method.plan(batch, method.draw(rows, seeded()))
    apply = torch.compile(
        lambda x, y: method.apply(al.Batch(images=x, labels=y), plan).images,
        fullgraph=True,
        backend="aot_eager",
    )
    torch.testing.assert_close(apply(images, labels), method.apply(batch, plan).images)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
@pytest.mark.parametrize("top_k", [None, 4])
def test_cuda_gives_what_the_cpu_gives(top_k):
    images, labels = torch.rand(64, 3, 16, 16), torch.arange(64) % 5
    method = al.ZetaMixup(top_k=top_k, num_classes=5)
    generator = torch.Generator("cuda").manual_seed(0)
    noise = method.draw(64, generator, "cuda")
    there = al.Batch(images=images.cuda(), labels=labels.cuda())
    here = al.Batch(images=images, labels=labels)
    result = method.apply(there, method.plan(there, noise))
    expected = method.apply(here, method.plan(here, {"order": noise["order"].cpu()}))
    torch.testing.assert_close(result.images.cpu(), expected.images, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(result.labels.cpu(), expected.labels)


# --- warnings and errors ---


@pytest.mark.parametrize(
    ("gamma", "size", "warns"),
    [
        (1.0, 4, True),
        (1.1, 4, False),
        (1.4, 8, True),
        (1.5, 8, False),
        (1.69, 128, True),
        (1.72, 128, False),
        (1e-9, 2, True),
        (0.1, 1, False),
    ],
)
def test_warns_when_the_leader_has_half_the_weight_or_less(gamma, size, warns):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        al.ZetaMixup(gamma)(torch.rand(size, 1))
    assert [str(w.message).startswith("`gamma`") for w in caught] == [True] * warns
    assert all("Raise gamma" in str(w.message) for w in caught)


images, classes = torch.rand(3, 1), torch.tensor([0, 1, 2])
WRONG = {
    "gamma zero": (lambda: al.ZetaMixup(0), ValueError, "gamma", "0", "such as"),
    "gamma negative": (lambda: al.ZetaMixup(-2.0), ValueError, "gamma", "-2.0", "such as"),
    "gamma NaN": (lambda: al.ZetaMixup(math.nan), ValueError, "gamma", "nan", "such as"),
    "gamma inf": (lambda: al.ZetaMixup(math.inf), ValueError, "gamma", "inf", "such as"),
    "gamma text": (lambda: al.ZetaMixup("2"), TypeError, "gamma", "str", "must be a number"),
    "gamma bool": (lambda: al.ZetaMixup(True), TypeError, "gamma", "bool", "must be a number"),
    "top_k 1": (lambda: al.ZetaMixup(top_k=1), ValueError, "top_k", "1", "or None"),
    "top_k float": (lambda: al.ZetaMixup(top_k=4.0), TypeError, "top_k", "4.0", "or None"),
    "top_k bool": (lambda: al.ZetaMixup(top_k=True), TypeError, "top_k", "True", "or None"),
    "n": (lambda: al.zeta_weights(0), ValueError, "n", "0", "integer >= 1"),
    "no num_classes": (
        lambda: al.ZetaMixup()(images, classes), ValueError, "num_classes", "None", "Write"
    ),
    "label too high": (
        lambda: al.ZetaMixup(num_classes=2)(images, classes), ValueError, "labels", "2",
        "must be in",
    ),
    "label negative": (
        lambda: al.ZetaMixup(num_classes=3)(images, classes - 1), ValueError, "labels", "-1",
        "must be in",
    ),
    "wrong K": (
        lambda: al.ZetaMixup(num_classes=4)(images, torch.rand(3, 3)), ValueError, "labels",
        "(3, 3)", "must be (B, 4)",
    ),
    "NaN labels": (
        lambda: al.ZetaMixup()(images, torch.full((3, 2), math.nan)), ValueError, "labels", "NaN",
        "probabilities",
    ),
    "smoothing dense": (
        lambda: al.ZetaMixup(smoothing=0.1)(images, torch.rand(3, 2)), ValueError, "smoothing",
        "0.1", "Smooth them beforehand",
    ),
    "empty": (lambda: al.ZetaMixup()(images[:0]), ValueError, "ZetaMixup", "empty", "drop_last"),
    "lengths": (
        lambda: al.ZetaMixup(num_classes=3)(images, classes[:2]), ValueError, "2 labels",
        "3 images", "one entry an image",
    ),
    "integer images": (
        lambda: al.ZetaMixup()(images.long()), TypeError, "images", "int64", "Convert"
    ),
    "integer masks": (
        lambda: al.ZetaMixup()(al.Batch(images=images, masks=torch.ones(3, 2, 2).long())),
        TypeError, "masks", "int64", "leave them out",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_errors_name_the_argument_the_value_and_a_remedy(case):
    call, error, argument, value, remedy = WRONG[case]
    with pytest.raises(error) as caught:
        call()
    for word in (argument, value, remedy):
        assert word in str(caught.value)


def test_second_derivatives_do_not_depend_on_the_size_of_the_batch():
    for rows in (4, 64):
        images = torch.rand(rows, 3, requires_grad=True)
        mixed = al.ZetaMixup(top_k=2)(images).square().sum()
        (slope,) = torch.autograd.grad(mixed, images, create_graph=True)
        slope.square().sum().backward()
        assert images.grad.isfinite().all()
