"""The table of tokens: their wordpieces, with indices and shares."""

from collections.abc import Iterator

from trfcli.rendering.groups import CUT, DIM, NONE, Sentence, piece_label
from trfcli.text import visible

Row = tuple[str, str, str, str]


def table_rows(sentence: Sentence) -> Iterator[tuple[Row, str]]:
    """Yield a row for each wordpiece of each token, and its style.

    The last rows are the wordpieces that all tokens of the sentence share.
    """
    pieces = {piece["i"]: piece for piece in sentence.pieces}
    styles = {token["i"]: group.style for group in sentence.groups for token in group.tokens}
    for token in sentence.tokens:
        linked = [pieces[i] for i in token["wordpieces"]]
        cells = [
            (piece_label(each), str(each["i"]), _share(len(each["tokens"]))) for each in linked
        ]
        if token["truncated"]:
            cells.append((CUT, "", ""))
        yield from _rows(visible(token["text"]), cells or [(NONE, "", "")], styles[token["i"]])
    share = _share(sum(not token["truncated"] for token in sentence.tokens))
    shared = [piece for piece in sentence.pieces if not piece["tokens"]]
    cells = [(piece_label(piece), str(piece["i"]), share) for piece in shared]
    yield from _rows(f"(sentence {sentence.number})", cells, DIM)


def _rows(label: str, cells: list[tuple[str, str, str]], style: str) -> Iterator[tuple[Row, str]]:
    for number, (piece, index, share) in enumerate(cells):
        yield ("" if number else label, piece, index, share), style


def _share(n_tokens: int) -> str:
    return {0: "-", 1: "1"}.get(n_tokens, f"1/{n_tokens}")
