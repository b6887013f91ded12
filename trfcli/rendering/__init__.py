"""Draw the alignment of a text for a terminal.

Each sentence is drawn as pairs of lines: wordpieces above the tokens that they are aligned to. A
*group* is what stays together: tokens and wordpieces that are aligned, directly or through each
other. Its color links the two lines. The drawing can be read without colors, too:

- A token with several wordpieces gets a rule below them: `cafe  ##s` above `cafés ───`.
- A wordpiece with several tokens shows their number: `don't×2` above `do  n't`.
- An unknown wordpiece has a question mark: `[UNK]?`.
- A token without wordpieces shows `(cut)` if it is past the model's maximum length, else `(none)`.
"""

from collections.abc import Iterator

from rich.text import Text

from trfcli.console.text import wrap
from trfcli.rendering.cells import GAP
from trfcli.rendering.drawing import draw
from trfcli.rendering.groups import (
    CUT,
    DIM,
    NONE,
    Json,
    Sentence,
    piece_label,
    split_sentences,
)
from trfcli.rendering.table import draw_table, table_rows
from trfcli.wording import plural

_MAX_HEADER_WIDTH = 80
_MIN_WIDTH = 20


def render_alignment(report: Json, width: int) -> list[Text]:
    """Draw the report of `trfcli_pipeline.tasks.inspect_alignment.inspect_alignment`.

    Args:
        report: The report.
        width: The columns of a line, at least 20.
    """
    width = max(width, _MIN_WIDTH)
    sentences = split_sentences(report)
    lines: list[Text] = []
    for sentence in sentences:
        lines += [*_header(sentence, width), *draw(sentence, width), Text()]
    rows = [row for sentence in sentences for row in table_rows(sentence)]
    lines += [*draw_table(rows, width), Text()]
    for note in _notes(report):
        lines += [Text(f" {line}", DIM) for line in wrap(note, width - 1, break_words=True)]
    while lines and not lines[-1].plain:
        lines.pop()
    return lines


def _header(sentence: Sentence, width: int) -> Iterator[Text]:
    title = f" sentence {sentence.number}"
    n_cut = sum(token["truncated"] for token in sentence.tokens)
    counts = f"{plural(len(sentence.pieces), 'wordpiece')}, {plural(len(sentence.tokens), 'token')}"
    if n_cut:
        counts += f", {n_cut} cut off"
    space = min(width, _MAX_HEADER_WIDTH) - len(title) - len(counts)
    if space >= GAP:
        yield Text.assemble((title, "bold"), " " * space, (counts, DIM))
    else:
        yield Text(title, "bold")
        yield from (Text(f" {line}", DIM) for line in wrap(counts, width - 1, break_words=True))


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
