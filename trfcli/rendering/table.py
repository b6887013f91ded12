"""Draw the table of tokens with their wordpieces, the indices and the shares."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.cells import cell_len, chop_cells
from rich.text import Text

from trfcli.rendering.cells import GAP, INNER_GAP, pad, visible
from trfcli.rendering.groups import CUT, DIM, NONE, Sentence, piece_label

_MIN_TABLE_WIDTH = 48  # columns


@dataclass(frozen=True)
class Row:
    """A token, or all unaligned wordpieces of a sentence.

    `indices` and `shares` have one entry for each wordpiece.
    """

    label: str
    pieces: list[str]
    indices: list[str]
    shares: list[str]
    style: str


def table_rows(sentence: Sentence) -> Iterator[Row]:
    """Yield a row for each token of a sentence, then one for the wordpieces that all share."""
    pieces = {piece["i"]: piece for piece in sentence.pieces}
    style_of_token = {
        token["i"]: group.style for group in sentence.groups for token in group.tokens
    }
    for token in sentence.tokens:
        linked = [pieces[i] for i in token["wordpieces"]]
        labels = [piece_label(piece) for piece in linked]
        if token["truncated"]:
            labels.append(CUT)
        yield Row(
            label=visible(token["text"]),
            pieces=labels or [NONE],
            indices=[str(piece["i"]) for piece in linked],
            shares=[_share(len(piece["tokens"])) for piece in linked],
            style=style_of_token[token["i"]],
        )
    shared = [piece for piece in sentence.pieces if not piece["tokens"]]
    if shared:
        n_tokens = sum(not token["truncated"] for token in sentence.tokens)
        yield Row(
            label=f"(sentence {sentence.number})",
            pieces=[piece_label(piece) for piece in shared],
            indices=[str(piece["i"]) for piece in shared],
            shares=[_share(n_tokens)] * len(shared),
            style=DIM,
        )


def _share(n_tokens: int) -> str:
    return {0: "-", 1: "1"}.get(n_tokens, f"1/{n_tokens}")


def draw_table(rows: Sequence[Row], width: int) -> Iterator[Text]:
    if width < _MIN_TABLE_WIDTH:
        yield from _stacked_table(rows, width)
        return
    headers = ("token", "wordpieces", "indices", "share")
    natural = [
        max([cell_len(header), *(cell_len(text) for text in column)])
        for header, column in zip(
            headers,
            (
                [row.label for row in rows],
                [" ".join(row.pieces) for row in rows],
                [" ".join(row.indices) for row in rows],
                [" ".join(row.shares) for row in rows],
            ),
            strict=True,
        )
    ]
    available = width - 1 - GAP * (len(headers) - 1)
    sizes = natural if sum(natural) <= available else _squeeze(natural, available)
    yield _line([(header, size) for header, size in zip(headers, sizes, strict=True)], "bold")
    for row in rows:
        labels = chop_cells(row.label, sizes[0])
        for label, chunk in zip_longest(labels, _chunks(row, sizes[1:]), fillvalue=None):
            cells = [label or "", *(chunk or ("", "", ""))]
            yield _line(list(zip(cells, sizes, strict=True)), row.style)


def _squeeze(natural: Sequence[int], available: int) -> list[int]:
    """Shrink the columns: numbers get up to a sixth of the width each, the token up to a third."""
    indices, shares = (min(size, max(available // 6, 7)) for size in natural[2:])
    token = min(natural[0], available // 3)
    return [token, available - token - indices - shares, indices, shares]


def _chunks(row: Row, sizes: Sequence[int]) -> Iterator[tuple[str, str, str]]:
    """Split the lists of a row together where one of them would get too wide."""
    current: list[tuple[str, str, str]] = []
    for entry in zip_longest(row.pieces, row.indices, row.shares, fillvalue=""):
        fits = zip(_joined([*current, entry]), sizes, strict=True)
        if current and any(cell_len(text) > size for text, size in fits):
            yield _joined(current)
            current = []
        piece, index, share = entry
        if cell_len(piece) <= sizes[0]:
            current.append(entry)
        else:
            first, *rest = chop_cells(piece, sizes[0])
            yield first, index, share
            yield from ((part, "", "") for part in rest)
    if current:
        yield _joined(current)


def _joined(entries: Iterable[tuple[str, str, str]]) -> tuple[str, str, str]:
    pieces, indices, shares = (" ".join(column).rstrip() for column in zip(*entries, strict=True))
    return pieces, indices, shares


def _stacked_table(rows: Sequence[Row], width: int) -> Iterator[Text]:
    """Yield a line for each token and one for each of its wordpieces, for narrow terminals."""
    indices = max((len(text) for row in rows for text in row.indices), default=1)
    shares = max((len(text) for row in rows for text in row.shares), default=1)
    longest = max((cell_len(text) for row in rows for text in row.pieces), default=1)
    pieces = max(min(longest, width - 3 - 2 * INNER_GAP - indices - shares), 2)
    yield Text(" token: wordpieces,", "bold")
    yield Text("   indices, share", "bold")
    for row in rows:
        yield from (Text(f" {part}", row.style) for part in chop_cells(row.label, width - 1))
        for piece, index, share in zip_longest(row.pieces, row.indices, row.shares, fillvalue=""):
            first, *rest = chop_cells(piece, pieces) or [""]
            numbers = f"{index.rjust(indices)}{' ' * INNER_GAP}{share}"
            line = f"   {pad(first, pieces)}{' ' * INNER_GAP}{numbers}".rstrip()
            yield Text(line, row.style)
            yield from (Text(f"   {part}", row.style) for part in rest)


def _line(cells: list[tuple[str, int]], style: str) -> Text:
    padded = (" " * GAP).join(pad(text, size) for text, size in cells)
    return Text(f" {padded}".rstrip(), style)
