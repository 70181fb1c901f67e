import torch

from sovits_serve.models.layers.padding import RowPadding

CPU = torch.device("cpu")


def test_full_batch_is_left_alone() -> None:
    """Where every row is full nothing is written and nothing is hidden."""
    padding = RowPadding(torch.tensor([4, 4]), 4, CPU)
    x = torch.ones(2, 3, 4)

    assert padding.is_empty
    assert padding.zero_(x) is x
    assert padding.zeroed(x) is x
    assert padding.hidden_keys() is None


def test_zero_reaches_from_each_rows_end() -> None:
    """Everything behind a row's end becomes zero, at any rate, even where it was NaN."""
    padding = RowPadding(torch.tensor([1, 3]), 3, CPU)
    x = torch.ones(2, 2, 6)
    x[0, :, 2:] = float("nan")

    padding.zero_(x, rate=2)

    assert x[0].tolist() == [[1, 1, 0, 0, 0, 0]] * 2
    assert x[1].tolist() == [[1] * 6] * 2


def test_zeroed_keeps_its_input() -> None:
    """``zeroed`` returns a copy when it has to write."""
    padding = RowPadding(torch.tensor([1]), 2, CPU)
    x = torch.ones(1, 1, 2)

    assert padding.zeroed(x).tolist() == [[[1, 0]]]
    assert x.tolist() == [[[1, 1]]]


def test_lengths_elsewhere_are_never_read_back() -> None:
    """Lengths on another device are not turned into numbers, so that a graph can hold the work."""
    lengths = torch.tensor([1, 2], device="meta")
    padding = RowPadding(lengths, 2, torch.device("meta"))

    zeroed = padding.zero_(torch.ones(2, 3, 8, device="meta"), rate=4)

    assert not padding.is_empty
    assert zeroed.shape == (2, 3, 8)


def test_hidden_keys_are_those_behind_each_row() -> None:
    """Attention must not look behind a row's end."""
    padding = RowPadding(torch.tensor([1, 3]), 3, CPU)
    hidden = padding.hidden_keys()

    assert hidden is not None
    assert hidden[:, 0, 0].tolist() == [[False, True, True], [False, False, False]]
