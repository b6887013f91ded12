"""Print the alignment of a text.

Each sentence is drawn as pairs of lines: wordpieces above the tokens that they are aligned to. A
*group* is a set of tokens and wordpieces that are aligned with each other, directly or through
others. It is drawn in one place, and its color links the two lines. The drawing can be read without
colors, too:

- A token with several wordpieces gets a rule below them: `cafe  ##s` above `cafés ───`.
- A wordpiece with several tokens shows their number: `don't×2` above `do  n't`.
- An unknown wordpiece has a question mark: `[UNK]?`.
- A token without wordpieces shows `(cut)` if it is past the model's maximum length, else `(none)`.
"""

from collections.abc import Iterator

from rich.text import Text

from trfcli import console
from trfcli.rendering.drawing import draw
from trfcli.rendering.groups import CUT, DIM, NONE, Json, Sentence, piece_label, split_sentences
from trfcli.text import terminal_width, visible
from trfcli.wording import plural

Row = tuple[str, str, str, str]

_MIN_WIDTH = 20


def print_alignment(report: Json) -> None:
    """Print the report of `trfcli_pipeline.tasks.inspect_alignment.inspect_alignment`."""
    width = max(terminal_width(), _MIN_WIDTH)
    sentences = split_sentences(report)
    for sentence in sentences:
        console.data_lines([_header(sentence), *draw(sentence, width), Text()])
    rows, styles = zip(*(row for each in sentences for row in table_rows(each)), strict=True)
    headers = ("token", "wordpiece", "index", "share")
    console.data_table(headers, rows, left=2, styles=styles)
    notes = list(_notes(report))
    if notes:
        console.data("")
    for note in notes:
        console.data_line(note)


def _header(sentence: Sentence) -> Text:
    counts = f"{plural(len(sentence.pieces), 'wordpiece')}, {plural(len(sentence.tokens), 'token')}"
    n_cut = sum(token["truncated"] for token in sentence.tokens)
    if n_cut:
        counts += f", {n_cut} cut off"
    return Text.assemble((f" sentence {sentence.number}", "bold"), (f"   {counts}", DIM))


def _notes(report: Json) -> Iterator[str]:
    """Explain the signs that occur in the drawing."""
    pieces, tokens = report["wordpieces"], report["tokens"]
    shared = sorted({piece_label(piece) for piece in pieces if not piece["tokens"]})
    if shared:
        names = ", ".join(shared)
        yield f"Special and unaligned pieces ({names}) are shared by all tokens of their sentence."
    if any(len(piece["tokens"]) > 1 for piece in pieces):
        yield "×n: a wordpiece shared by n tokens."
    if any(piece["unknown"] for piece in pieces):
        yield "?: a wordpiece that is not in the model's vocabulary."
    if any(token["truncated"] for token in tokens):
        yield f"{CUT}: past the model's maximum length; the token gets a zero vector."
    if any(not token["wordpieces"] and not token["truncated"] for token in tokens):
        yield f"{NONE}: the tokenizer produces no wordpiece for this token."


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
