"""Joins consecutive sentences into windows that fill the encoder's maximum length."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from trfcli_pipeline.tokenization.encodings import Encoding
from trfcli_pipeline.tokenization.segments import Layout


def pack(
    layouts: Sequence[Layout],
    encodings: Sequence[Sequence[Encoding]],
    encode: Callable[[Sequence[Layout]], list[list[Encoding]]],
    room: int | None,
) -> tuple[list[Layout], list[list[Encoding]]]:
    """Join consecutive segments of each Doc as long as their wordpieces fit into one.

    Args:
        layouts: The segments of each Doc.
        encodings: The wordpieces of each Doc's segments.
        encode: Finds the wordpieces of layouts.
        room: Maximum number of wordpieces in a window, special tokens excluded; None for no limit.

    Returns:
        The layouts and encodings of the windows.
    """
    packed, results = list(layouts), [list(each) for each in encodings]
    chosen = [_choose(each, room) for each in encodings]
    pending = [i for i, which in enumerate(chosen) if len(which) < len(layouts[i].firsts)]
    while pending:
        for i in pending:
            packed[i] = replace(layouts[i], firsts=layouts[i].firsts[chosen[i]])
        encoded = encode([packed[i] for i in pending])
        for i, own in zip(pending, encoded, strict=True):
            results[i] = own
            chosen[i] = _divide(chosen[i], own, len(layouts[i].firsts))
        # A joined text may have more wordpieces than its parts together.
        pending = [i for i in pending if len(chosen[i]) > len(packed[i].firsts)]
    return packed, results


def _choose(encodings: Sequence[Encoding], room: int | None) -> list[int]:
    """Choose the segments that start a new window."""
    if len(encodings) == 1:
        return [0]
    chosen: list[int] = []
    left = 0
    for index, encoding in enumerate(encodings):
        size = sum(sequence is not None for sequence in encoding.sequence_ids)
        if not chosen or (room is not None and size > left):
            chosen.append(index)
            left = room or 0
        left -= size
    return chosen


def _divide(chosen: Sequence[int], encodings: Sequence[Encoding], n_segments: int) -> list[int]:
    """Halve each window that turned out too long, unless it is a single segment."""
    divided: list[int] = []
    for start, end, encoding in zip(chosen, [*chosen[1:], n_segments], encodings, strict=True):
        divided.append(start)
        if end - start > 1 and encoding.overflowing:
            divided.append((start + end) // 2)
    return divided
