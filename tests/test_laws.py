"""The laws that every method keeps, over all of tests/cases.py."""

import copy
import importlib.util
import pickle

import pytest
import torch

import albu_learned as al
from albu_learned.method import methods
from tests.cases import CASES, fit_for, make_batch
from tests.elsewhere import DEVICE, elsewhere

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.uint8]


every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def cases_of(law):
    """The cases that a law holds for; cases.py says why the others are exempt."""
    kept = [case for case in CASES if not case.why_not(law)]
    assert kept, f"nothing keeps the law {law!r}"
    return pytest.mark.parametrize("case", kept, ids=lambda case: case.name)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def parts(batch):
    """All tensors of a batch, by name."""
    found = {name: getattr(batch, name) for name in ("images", "labels", "masks")}
    for name in ("boxes", "points", "instances"):
        rows = getattr(batch, name)
        if rows is not None:
            columns = ("values", "image", "source", "valid")
            found |= {f"{name}.{column}": getattr(rows, column) for column in columns}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def assert_same(first, second, **tolerance):
    first, second = parts(first), parts(second)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(
            tensor, second[name], msg=lambda m, n=name: f"{n}: {m}", **tolerance
        )


def assert_equal(first, second):
    assert_same(first, second, rtol=0, atol=0)


def test_every_method_is_among_the_cases():
    tried = {type(case.make()).__name__ for case in CASES}
    ours = {name for name, c in methods().items() if c.__module__.startswith("albu_learned.")}
    if importlib.util.find_spec("diffusers") is None:
        ours -= {"PSLDInpaint"}
    if importlib.util.find_spec("PIL") is None:
        ours -= {"PSLDPool"}
    assert ours <= tried, f"add to tests/cases.py: {sorted(ours - tried)}"


@every_case
def test_has_a_citation(case):
    assert case.make().citation.startswith("@")


@every_case
def test_keeps_shape_dtype_and_device(case):
    method = case.make()
    for dtype in DTYPES:
        batch = fit_for(method, make_batch(dtype=dtype))
        out = method(batch, generator=seeded(0))
        assert out.images.shape == batch.images.shape
        assert out.images.dtype == dtype
        assert out.images.device == batch.images.device
        assert out.masks.dtype == batch.masks.dtype


@cases_of("dtypes agree")
def test_dtypes_agree(case):
    method = case.make()
    exact = method(fit_for(method, make_batch()), generator=seeded(0)).images
    for dtype, tolerance in [(torch.float64, 1e-6), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)]:
        batch = fit_for(method, make_batch(dtype=dtype))
        got = method(batch, generator=seeded(0)).images.float()
        torch.testing.assert_close(got, exact, rtol=0, atol=tolerance)
    batch = fit_for(method, make_batch(dtype=torch.uint8))
    got = method(batch, generator=seeded(0)).images.float() / 255
    torch.testing.assert_close(got, exact, rtol=0, atol=1.5 / 255)


@every_case
def test_changes_images_but_not_its_input(case):
    method = case.make()
    batch, untouched = fit_for(method, make_batch()), fit_for(method, make_batch())
    out = method(batch, generator=seeded(0))
    assert_equal(batch, untouched)
    assert not torch.equal(out.images, batch.images)
    assert out.images.isfinite().all()


@every_case
def test_noise_and_plan_are_rows_of_plain_tensors(case):
    method = case.make()
    batch = fit_for(method, make_batch())
    noise = method.draw(4, seeded(0))
    plan = method.plan(batch, noise)
    for tensor in [*noise.values(), *plan.values()]:
        assert isinstance(tensor, torch.Tensor)
        assert len(tensor) == 4
    assert not any(tensor.requires_grad for tensor in noise.values())


@every_case
def test_the_seed_decides(case):
    method = case.make()
    batch = fit_for(method, make_batch())
    first, again = method(batch, generator=seeded(3)), method(batch, generator=seeded(3))
    assert_equal(first, again)
    torch.manual_seed(0)
    one = method.draw(4)
    two = method.draw(4)
    torch.manual_seed(0)
    three = method.draw(4)
    for name in one:
        assert torch.equal(one[name], three[name])
    assert any(not torch.equal(one[name], two[name]) for name in one)


@every_case
def test_a_plan_replays_part_by_part(case):
    method = case.make()
    batch = fit_for(method, make_batch())
    plan = method.plan(batch, method.draw(4, seeded(0)))
    whole = method.apply(batch, plan)
    assert_equal(whole, method.apply(batch, plan))
    for name in ("images", "masks", "boxes", "points"):
        alone = method.apply(al.Batch(**{name: getattr(batch, name)}), plan)
        expected = al.Batch(**{name: getattr(whole, name)})
        assert_equal(alone, expected)


@cases_of("element by element")
def test_a_batch_is_its_elements(case):
    method = case.make()
    batch = fit_for(method, make_batch())
    noise = method.draw(4, seeded(0))
    whole = method.apply(batch, method.plan(batch, noise))
    for i in range(4):
        row = torch.tensor([i])
        one = batch.select(row)
        alone = method.apply(one, method.plan(one, {k: v[row] for k, v in noise.items()}))
        expected = whole.select(row)
        torch.testing.assert_close(alone.images, expected.images)
        torch.testing.assert_close(alone.boxes.values, expected.boxes.values)
        assert torch.equal(alone.boxes.valid, expected.boxes.valid)


@cases_of("identity")
def test_the_identity_plan_changes_nothing(case):
    method = case.make()
    batch = fit_for(method, make_batch())
    out = method.apply(batch, method.identity(4))
    for name, tensor in parts(out).items():
        if name != "labels":
            torch.testing.assert_close(tensor, parts(batch)[name], rtol=0, atol=1e-6)


@cases_of("labels unchanged")
def test_labels_stay_classes(case):
    method = case.make()
    batch = fit_for(method, make_batch())
    assert torch.equal(method(batch).labels, batch.labels)


@cases_of("labels soft")
def test_labels_become_probabilities(case):
    method = case.make()
    labels = method(fit_for(method, make_batch())).labels
    assert labels.shape == (4, 2)
    assert (labels >= 0).all()
    torch.testing.assert_close(labels.sum(1), torch.ones(4))


@cases_of("boxes follow masks")
def test_boxes_points_and_masks_move_together(case):
    """The first box of each image is the extent of its mask: so it must be afterwards."""
    method = case.make()
    batch = make_batch(size=64, seed=5)
    out = method(batch, generator=seeded(1))
    for i in range(4):
        ys, xs = (out.masks[i] == 7).nonzero(as_tuple=True)
        rows = out.boxes.take((out.boxes.image == i).nonzero()[:, 0])
        if len(xs) == 0:
            assert not rows.valid[0]
            continue
        extent = torch.stack([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]) / 64
        torch.testing.assert_close(rows.values[0], extent.float(), rtol=0, atol=1.01 / 64)
        assert rows.valid[0]


@cases_of("invert")
def test_inverts(case):
    method = case.make()
    batch = make_batch()
    plan = method.plan(batch, method.draw(4, seeded(0)))
    points = al.Batch(points=batch.points)
    back = method.invert(method.apply(points, plan), plan)
    torch.testing.assert_close(back.points.values, batch.points.values, rtol=0, atol=1e-5)


@every_case
def test_gradients_reach_what_is_learned(case):
    method = case.make()
    learned = [p for p in method.parameters() if p.requires_grad]
    batch = fit_for(method, make_batch())
    if not learned:
        buffers = dict(method.named_buffers())
        assert method.kind == "mix" or "factor" in buffers or case.why_not("gradient to images")
        return
    method(batch, generator=seeded(0)).images.square().sum().backward()
    reached = [p.grad is not None and bool(p.grad.abs().sum() > 0) for p in learned]
    assert any(reached) if case.why_not("gradient to all that is learned") else all(reached)


@cases_of("gradient to images")
def test_gradcheck_of_images(case):
    method = case.make().double()
    batch = fit_for(method, make_batch(rows=2, dtype=torch.float64, size=8))
    noise = {
        k: v.double() if v.is_floating_point() else v for k, v in method.draw(2, seeded(0)).items()
    }
    plan = {k: v.detach() for k, v in method.plan(batch, noise).items()}

    def images(x):
        return method.apply(al.Batch(images=x), plan).images

    start = batch.images[:, :1].expand(-1, 3, -1, -1).clone().requires_grad_()
    assert torch.autograd.gradcheck(images, start, fast_mode=True)


@every_case
def test_survives_saving(case, tmp_path):
    method = case.make()
    batch = fit_for(method, make_batch())
    method.save_pretrained(tmp_path)
    loaded = al.load(tmp_path)
    assert type(loaded) is type(method)
    assert_equal(loaded(batch, generator=seeded(0)), method(batch, generator=seeded(0)))


@every_case
def test_survives_pickle_and_deepcopy(case):
    method = case.make()
    batch = fit_for(method, make_batch())
    expected = method(batch, generator=seeded(0))
    for twin in (pickle.loads(pickle.dumps(method)), copy.deepcopy(method)):
        assert_equal(twin(batch, generator=seeded(0)), expected)


@every_case
def test_says_what_it_needs(case):
    method = case.make()
    for name in method.needs:
        batch = fit_for(method, make_batch())
        left = {
            part: getattr(batch, part) for part in ("images", "labels", "boxes") if part != name
        }
        with pytest.raises(ValueError, match=name):
            method(al.Batch(**left))


@every_case
def test_an_empty_batch_is_refused(case):
    with pytest.raises(ValueError, match="empty batch"):
        case.make()(torch.zeros(0, 3, 8, 8))


@cases_of("one graph")
@pytest.mark.parametrize("name", ["apply", "forward"])
def test_compiles_in_one_graph(case, name):
    method = case.make()
    batch = fit_for(method, make_batch())
    given = al.Batch(images=batch.images, labels=batch.labels)
    if "boxes" in method.needs:
        if name == "forward":
            return  # ragged rows are the stated exception
        plan = method.plan(batch, method.draw(4, seeded(0)))
    else:
        plan = method.plan(given, method.draw(4, seeded(0)))
    torch._dynamo.reset()
    if name == "apply":
        compiled = torch.compile(method.apply, fullgraph=True, backend="eager")
        assert_same(compiled(given, plan), method.apply(given, plan))
    else:
        compiled = torch.compile(method, fullgraph=True, backend="eager")
        out = compiled(given.images, given.labels)
        assert out[0].shape == given.images.shape


def moved(batch, device):
    return al.Batch(
        images=batch.images.to(device),
        labels=batch.labels.to(device),
        masks=batch.masks.to(device),
        boxes=[rows.values.to(device) for rows in batch.boxes.split()],
        points=[rows.values.to(device) for rows in batch.points.split()],
    )


def assert_same_on(device, case):
    """The method and a batch there, and what it makes there is what it makes on the CPU."""
    method = case.make()
    batch = fit_for(method, make_batch())
    noise = method.draw(4, seeded(0))
    expected = parts(method.apply(batch, method.plan(batch, noise)))
    there, method = moved(batch, device), method.to(device)
    plan = method.plan(there, {k: v.to(device) for k, v in noise.items()})
    for name, tensor in parts(method.apply(there, plan)).items():
        assert tensor.device.type == device.type
        torch.testing.assert_close(tensor.cpu(), expected[name])
    return method, there


@cases_of("elsewhere")
def test_another_device_gives_what_the_cpu_gives(case):
    with elsewhere():
        method, there = assert_same_on(DEVICE, case)
        assert method(there).images.device == DEVICE


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@cases_of("cuda")
def test_cuda_gives_what_the_cpu_gives(case):
    assert_same_on(torch.device("cuda"), case)
