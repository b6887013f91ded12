"""The alignment of a text as lines for a terminal: a pure function of the report and a width.

Each sentence is drawn as pairs of lines, wordpieces above the tokens that they belong to. A *group*
is what stays together in that drawing: tokens and wordpieces that are linked, directly or through
each other. What colours say is said without them, too:

- a token with several wordpieces is drawn out below them: `cafe  ##s` above `cafés ───`
- a wordpiece with several tokens says how many: `don't×2` above `do  n't`
- an unknown wordpiece has a question mark: `[UNK]?`
- a token without wordpieces says why: `(cut)` behind the model's maximum length, else `(none)`
"""

from collections.abc import Iterator

from rich.text import Text

from trfcli.rendering.cells import GAP, wrap
from trfcli.rendering.drawing import draw
from trfcli.rendering.groups import (
    COMMON,
    CUT,
    NONE,
    Json,
    Sentence,
    piece_label,
    split_sentences,
)
from trfcli.rendering.table import draw_table, table_rows
from trfcli.wording import plural

_HEADER_WIDTH = 80
_MIN_WIDTH = 20


def render_alignment(report: Json, width: int) -> list[Text]:
    """Draw the report of `trfcli_pipeline.tasks.inspect_alignment.inspect_alignment`.

    Args:
        width: Cells that a line may take, at least 20.
    """
    width = max(width, _MIN_WIDTH)
    sentences = split_sentences(report)
    lines: list[Text] = []
    for sentence in sentences:
        lines += [*_header(sentence, width), *draw(sentence, width), Text()]
    rows = [row for sentence in sentences for row in table_rows(sentence)]
    lines += [*draw_table(rows, width), Text()]
    for note in _notes(report):
        lines += [Text(f" {line}", COMMON) for line in wrap(note, width - 1)]
    while lines and not lines[-1].plain:
        lines.pop()
    return lines


def _header(sentence: Sentence, width: int) -> Iterator[Text]:
    title = f" sentence {sentence.number}"
    n_cut = sum(token["truncated"] for token in sentence.tokens)
    counts = f"{plural(len(sentence.pieces), 'wordpiece')}, {plural(len(sentence.tokens), 'token')}"
    if n_cut:
        counts += f", {n_cut} cut off"
    space = min(width, _HEADER_WIDTH) - len(title) - len(counts)
    if space >= GAP:
        yield Text.assemble((title, "bold"), " " * space, (counts, COMMON))
    else:
        yield Text(title, "bold")
        yield from (Text(f" {line}", COMMON) for line in wrap(counts, width - 1))


def _notes(report: Json) -> Iterator[str]:
    pieces, tokens = report["wordpieces"], report["tokens"]
    common = sorted({piece_label(piece) for piece in pieces if not piece["tokens"]})
    if common:
        names = ", ".join(common)
        yield f"Special and unaligned pieces ({names}) are shared by all tokens of their sentence."
    if any(len(piece["tokens"]) > 1 for piece in pieces):
        yield "×n: a piece that n tokens share."
    if any(piece["unknown"] for piece in pieces):
        yield "?: a piece that the model doesn't know."
    if any(token["truncated"] for token in tokens):
        yield f"{CUT}: behind the model's maximum length; such tokens get a zero vector."
    if any(not token["wordpieces"] and not token["truncated"] for token in tokens):
        yield f"{NONE}: the tokenizer makes no piece of this token."
