import pytest
import torch

from albu_learned import Batch, Rows


def rows():
    """Images 0 and 2 of three have boxes: two and one."""
    return Rows.of([torch.tensor([[0, 0, 0.5, 0.5], [0.1, 0.1, 1, 1]]), torch.zeros(0, 4),
                    torch.tensor([[0.2, 0.2, 0.4, 0.4]])])  # fmt: skip


def test_rows_know_their_images_and_sources():
    table = rows()
    assert table.count == 3
    assert table.image.tolist() == [0, 0, 2]
    assert table.source.tolist() == [[0, 0], [0, 1], [2, 0]]
    assert table.valid.all()


def test_rows_from_one_tensor():
    table = Rows.of(torch.arange(24.0).view(2, 3, 4))
    assert table.image.tolist() == [0, 0, 0, 1, 1, 1]
    assert table.source[4].tolist() == [1, 1]


def test_rows_pad_and_split():
    padded, place = rows().pad()
    assert padded.shape == (3, 2, 4)
    assert place.tolist() == [0, 1, 4]
    assert torch.equal(padded.flatten(0, 1)[place], rows().values)
    assert (padded[1] == 0).all()
    assert [len(part) for part in rows().split()] == [2, 0, 1]


def test_rows_without_any_row():
    table = Rows.of([torch.zeros(0, 4)] * 3)
    assert table.pad()[0].shape == (3, 0, 4)
    assert len(table.select(torch.tensor([2, 0]))) == 0
    assert Batch(boxes=[]).boxes.count == 0


def test_rows_select_renumbers_in_the_order_given():
    chosen = rows().select(torch.tensor([2, 0]))
    assert chosen.image.tolist() == [0, 1, 1]
    assert chosen.source.tolist() == [[2, 0], [0, 0], [0, 1]]
    assert chosen.count == 2


def test_rows_put_back_what_was_selected():
    table, images = rows(), torch.tensor([2, 0])
    back = table.put(images, table.select(images))
    assert torch.equal(back.values, table.values)
    assert torch.equal(back.source, table.source)
    assert torch.equal(back.image, table.image)


def test_batch_selects_and_puts_every_part():
    g = torch.Generator().manual_seed(0)
    batch = Batch(
        images=torch.rand(3, 1, 4, 4, generator=g),
        labels=torch.tensor([0, 1, 2]),
        masks=torch.zeros(3, 4, 4, dtype=torch.long),
        boxes=rows(),
        points=[torch.rand(2, 2, generator=g)] * 3,
        instances=[torch.ones(1, 4, 4)] * 3,
    )
    chosen = batch.select(torch.tensor([2, 1]))
    assert len(chosen) == 2
    assert chosen.labels.tolist() == [2, 1]
    assert chosen.boxes.image.tolist() == [0]
    assert torch.equal(chosen.images, batch.images[[2, 1]])
    back = batch.put(torch.tensor([2, 1]), Batch(**{**vars(chosen), "images": chosen.images * 0}))
    assert (back.images[1:] == 0).all()
    assert torch.equal(back.images[0], batch.images[0])
    assert torch.equal(back.instances.values, batch.instances.values)
    assert batch.images[1:].abs().sum() > 0, "put must not write into the batch"


@pytest.mark.parametrize(
    ("parts", "error", "words"),
    [
        ({"boxes": [torch.tensor([[0.5, 0, 0.2, 1]])]}, ValueError, ["boxes", "x1 <= x2", "0.5"]),
        ({"boxes": [torch.rand(2, 3)]}, ValueError, ["boxes", "x1, y1, x2, y2", "(2, 3)"]),
        ({"boxes": [torch.tensor([[0, 0, 30, 40]])]}, ValueError, ["boxes", "40", "Divide"]),
        ({"points": [torch.tensor([[0, torch.nan]])]}, ValueError, ["points", "finite"]),
        ({"images": torch.zeros(2, 3, 4, 4, dtype=torch.long)}, TypeError, ["images", "int64"]),
        ({"images": torch.tensor(1.0)}, ValueError, ["images", "batch dimension"]),
        ({"images": [1, 2]}, TypeError, ["images", "torch.Tensor", "list"]),
        ({"labels": torch.rand(4)}, TypeError, ["labels", "integer", "float32", ".long()"]),
        ({"labels": torch.zeros(2, 2, 2)}, ValueError, ["labels", "(2, 2, 2)"]),
        ({"masks": torch.zeros(2, 4)}, ValueError, ["masks", "(2, 4)"]),
        ({"instances": [torch.zeros(1, 4)]}, ValueError, ["instances", "(1, 4)"]),
        (
            {"images": torch.rand(3, 1, 4, 4), "labels": torch.tensor([0, 1])},
            ValueError,
            ["3 images", "2 labels"],
        ),
        (
            {"images": torch.rand(1, 1, 4, 4), "labels": torch.zeros(1, device="meta").long()},
            ValueError,
            ["one device", "labels on meta", ".to(device)"],
        ),
    ],
)
def test_bad_input_is_named(parts, error, words):
    with pytest.raises(error) as raised:
        Batch(**parts)
    for word in words:
        assert word in str(raised.value)


def test_integer_boxes_become_float():
    assert Batch(boxes=[torch.tensor([[0, 0, 1, 1]])]).boxes.values.dtype == torch.float32


def test_boxes_of_zeros_are_padding():
    boxes = torch.tensor([[[0.1, 0.1, 0.5, 0.5], [0, 0, 0, 0]]] * 2)
    assert Batch(boxes=boxes).boxes.valid.tolist() == [True, False, True, False]


def test_files_go_with_their_images():
    batch = Batch(images=torch.rand(3, 3, 4, 4), files=("a.png", "b.png", "c.png"))
    chosen = batch.select(torch.tensor([2, 0]))
    assert chosen.files == ("c.png", "a.png")
    assert batch.put(torch.tensor([2, 0]), chosen).files == batch.files
    assert batch.with_images(batch.images).files == batch.files
    assert Batch(files=("a.png",)).device == torch.device("cpu")
    assert len(Batch(files=("a.png", "b.png"))) == 2
    with pytest.raises(ValueError, match="got 3 images, 1 files"):
        Batch(images=batch.images, files=("a.png",))
    for wrong in ("a.png", ["a.png"], (1,)):
        with pytest.raises(TypeError, match="`files` must be a tuple of texts"):
            Batch(files=wrong)
