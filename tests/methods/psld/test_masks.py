"""Which pixels are kept: how far they are, how often, and what becomes of objects."""

import itertools

import pytest
import torch
from scipy import ndimage, stats

from albu_learned.methods.psld import distance, masks

FAILS = 1e-4  # how often a test of goodness of fit may fail though all is well


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def objects(boxes, size=(64, 96), grow=0.0, outlines=None):
    return masks.objects_of(torch.tensor(boxes).view(-1, 4), size, grow, outlines)


ONE = [[0.25, 0.25, 0.5, 0.5]]
TWO = [[0.25, 0.25, 0.5, 0.5], [0.75, 0.5, 0.875, 0.75]]


def test_distance_from_boxes_is_that_from_their_pixels():
    boxes = torch.tensor([[3.0, 2.0, 9.0, 5.0], [15.0, 10.0, 17.0, 19.0]])
    inside = torch.zeros(21, 23, dtype=torch.bool)
    inside[2:5, 3:9] = True
    inside[10:19, 15:17] = True
    found = distance.from_boxes(boxes, (21, 23))
    assert torch.equal(found <= 0, inside)
    y, x = torch.meshgrid(torch.arange(21) + 0.5, torch.arange(23) + 0.5, indexing="ij")
    centres = torch.stack([x, y], dim=-1)
    nearest = [(centres - torch.minimum(torch.maximum(centres, b[:2]), b[2:])) for b in boxes]
    expected = torch.stack([away.norm(dim=-1) for away in nearest]).amin(0)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("share", [0.001, 0.02, 0.5])
@pytest.mark.parametrize("size", [(17, 40), (33, 9)])
def test_distance_from_a_mask_is_exact(share, size):
    mask = torch.rand(3, *size, generator=seeded(4)) < share
    mask[0, 3, 5] = True
    found = distance.from_mask(mask)
    near = distance.from_mask(mask, reach=3)
    for one, far, close in zip(mask, found, near, strict=True):
        if not one.any():
            assert far.isinf().all()
            continue
        expected = torch.from_numpy(ndimage.distance_transform_edt(~one.numpy())).float()
        torch.testing.assert_close(far, expected)
        within = expected <= 3
        torch.testing.assert_close(close[within], expected[within])
        assert (close[~within] > 3).all()


def chances(kind, given, draws, sigma, cell=8):
    """(draws, H, W), what is kept of the same image."""
    generator = seeded(7)
    kept = [masks.kept(kind, given, generator, sigma, 0.0, cell) for _ in range(draws)]
    return torch.stack(kept)


@pytest.mark.parametrize("sigma", [0.32, 0.8])
def test_pixels_are_kept_as_often_as_the_code_of_the_paper_keeps_them(sigma):
    given = objects(ONE, (40, 60))
    kept = chances("gaussian-outside", given, 60, sigma)
    far = given.away / given.away.max()
    expected = torch.from_numpy(stats.norm.sf(far.numpy() / sigma))
    outside = ~given.inside
    edges = torch.linspace(0, 1, 11)
    seen, wanted, spread = [], [], []
    for low, high in itertools.pairwise(edges):
        band = outside & (far > low) & (far <= high)
        chance = expected[band].double()
        seen.append(kept[:, band].sum().item())
        wanted.append(60 * chance.sum().item())
        spread.append(60 * (chance * (1 - chance)).sum().item())
    scores = [(s - w) ** 2 / v for s, w, v in zip(seen, wanted, spread, strict=True) if v > 5]
    assert len(scores) >= 5
    assert stats.chi2.sf(sum(scores), len(scores)) > FAILS
    beside = kept[:, given.away.eq(0.5)].float().mean()
    assert beside == pytest.approx(0.5, abs=0.06)


def test_cells_are_kept_as_often():
    given = objects(ONE, (64, 96))
    kept = chances("gaussian-blobs", given, 600, 0.32)[:, ::8, ::8]
    far = (given.away / given.away.max())[4::8, 4::8]
    chance = torch.from_numpy(stats.norm.sf(far.numpy() / 0.32)).double()
    free = ~given.inside[4::8, 4::8]
    # Cells of an image hang together, so that each is tested alone, over its draws.
    found = [
        stats.binomtest(int(kept[:, i, j].sum()), 600, float(chance[i, j])).pvalue
        for i, j in free.nonzero().tolist()
    ]
    assert len(found) > 80
    assert min(found) > FAILS / len(found)
    assert stats.kstest([p for p in found if p < 1], "uniform").pvalue > FAILS


def test_blobs_are_standard_normal_and_smooth():
    drawn = torch.stack([masks.blobs((6, 5), generator) for generator in [seeded(1)] * 1500])
    assert drawn.mean(0).abs().max() < 4.5 / 1500**0.5
    assert (drawn.var(0) - 1).abs().max() < 4.5 * (2 / 1500) ** 0.5
    assert stats.kstest(drawn[:, 2, 2], "norm").pvalue > FAILS
    alike = (drawn[:, 2, 1:] * drawn[:, 2, :-1]).mean()
    assert alike == pytest.approx(torch.exp(torch.tensor(-0.25)).item(), abs=0.05)


@pytest.mark.parametrize("size", [(64, 96), (61, 91)])
def test_blobs_keep_or_erase_whole_cells(size):
    given = objects(TWO, size)
    keep = masks.kept("gaussian-blobs", given, seeded(3))
    for top in range(0, size[0], 8):
        for left in range(0, size[1], 8):
            assert keep[top : top + 8, left : left + 8].unique().numel() == 1
    independent = masks.kept("gaussian-outside", given, seeded(3), decoys=0.0)
    cells = independent[:64, :88].unfold(0, 8, 8).unfold(1, 8, 8).flatten(2)
    assert (cells.any(-1) & ~cells.all(-1)).float().mean() > 0.3  # what the paper's masks do


@pytest.mark.parametrize("kind", ["gaussian-blobs", "gaussian-outside", "outside"])
def test_objects_are_kept_whole(kind):
    for seed in range(5):
        given = objects(TWO, (61, 91), grow=16 / 384)
        keep = masks.kept(kind, given, seeded(seed))
        assert keep[given.inside].all()
        assert not keep.all()
    boxes = torch.tensor(TWO) * torch.tensor([91, 61, 91, 61])
    assert given.boxes[0].tolist() == pytest.approx((boxes[0] + torch.tensor([-1, -1, 1, 1])
           * 16 / 384 * torch.tensor([91, 61, 91, 61])).tolist())  # fmt: skip


def test_outside_keeps_objects_alone():
    given = objects(TWO, (61, 91))
    assert torch.equal(masks.kept("outside", given, seeded(0), decoys=0.0), given.inside)


def test_inside_random_erases_a_part_of_each_object_alone():
    given = objects(TWO, (64, 96))
    for seed in range(20):
        keep = masks.kept("inside-random", given, seeded(seed))
        assert keep[~given.inside].all()
        for box in given.boxes.long().tolist():
            part = keep[box[1] : box[3], box[0] : box[2]]
            assert 0.3 < part.float().mean() < 0.99


def test_random_keeps_half_wherever_objects_are():
    given = objects(TWO, (64, 96))
    kept = torch.stack([masks.kept("random", given, seeded(s)) for s in range(200)]).float()
    assert kept.mean() == pytest.approx(0.5, abs=0.02)
    assert kept.mean(0).amax() < 0.7
    assert kept.mean(0).amin() > 0.3


def test_decoys_are_as_large_as_objects_and_lie_on_the_background():
    given = objects(TWO, (64, 96))
    sizes = set()
    for seed in range(30):
        keep = masks.kept("outside", given, seeded(seed), decoys=1.0) & ~given.inside
        count, found = 0, ndimage.find_objects(ndimage.label(keep.numpy())[0])
        for rows, columns in found:
            count += 1
            sizes.add((rows.stop - rows.start, columns.stop - columns.start))
        assert 1 <= count <= 2
    assert {(16, 24), (16, 12)} <= sizes
    many = masks.kept("outside", given, seeded(0), decoys=3.0) & ~given.inside
    assert many.sum() > keep.sum()


@pytest.mark.parametrize("kind", masks.KINDS)
@pytest.mark.parametrize(
    ("boxes", "share"),
    [
        ([], None),
        ([[0.0, 0.0, 1.0, 1.0]], None),
        ([[0.5, 0.5, 0.5, 0.5]], None),
        ([[0.5, 0.5, 0.5001, 0.5001]], None),
        ([[-0.2, 0.1, 0.1, 1.3]], None),
    ],
    ids=["none", "all of it", "a point", "tiny", "over the edge"],
)
def test_whatever_the_boxes_are(kind, boxes, share):
    given = objects(boxes, (33, 50))
    keep = masks.kept(kind, given, seeded(0))
    assert keep.shape == (33, 50)
    assert keep.dtype == torch.bool
    if kind in ("gaussian-blobs", "gaussian-outside", "outside"):
        if not boxes:
            assert keep.float().mean() < 0.05
        elif boxes[0][2] == 1.0:
            assert keep.all()


def test_outlines_are_kept_instead_of_boxes():
    outline = torch.zeros(2, 48, 48, dtype=torch.uint8)
    outline[0].fill_diagonal_(1)
    boxes = [[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.1, 0.1]]
    given = objects(boxes, (48, 48), 2 / 48, outline)
    diagonal = torch.eye(48, dtype=torch.bool)
    expected = torch.from_numpy(ndimage.distance_transform_edt(~diagonal.numpy())) <= 2.0
    assert torch.equal(given.inside, expected)
    keep = masks.kept("outside", given, seeded(0), decoys=0.0)
    assert torch.equal(keep, expected)
    assert objects([], (48, 48), 0.0, outline[:0]).away.isinf().all()
