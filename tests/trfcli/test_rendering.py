from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from trfcli.rendering.alignment import print_alignment, table_rows
from trfcli.rendering.drawing import draw
from trfcli.rendering.groups import COLORS, split_sentences
from trfcli.text import visible

Report = dict[str, Any]
MakeReport = Callable[..., Report]

CLS = ("[CLS]", 101)
SEP = ("[SEP]", 102)

ODD_TEXTS = (
    "日本語",
    "🦩",
    "a\u0301",
    "\u0301",
    "\n",
    "\u200b",
    "x" * 300,
    "字" * 90,
    " ",
    "▁",
    "\x1b[31m",
)
texts = st.one_of(st.sampled_from(ODD_TEXTS), st.text(min_size=1, max_size=12))


@st.composite
def sentence_parts(draw: st.DrawFn) -> dict[str, Any]:
    """Tokens and their wordpieces, both in text order, as tokenizers produce them."""
    n_pieces = draw(st.integers(0, 8))
    tokens = []
    first = 1
    for text in draw(st.lists(texts, max_size=6)):
        last = draw(st.integers(first - 1, n_pieces))
        tokens.append((text, list(range(first, last + 1))))
        # The next token shares the last wordpiece of this one, or doesn't.
        first = max(first, draw(st.sampled_from((last, last + 1))))
    pieces = draw(st.lists(texts, min_size=n_pieces, max_size=n_pieces))
    return {"tokens": tokens, "pieces": [CLS, *pieces, SEP]}


@st.composite
def reports(draw: st.DrawFn, make_report: MakeReport) -> Report:
    parts = draw(st.lists(sentence_parts(), min_size=1, max_size=4))
    report = make_report(*((part["tokens"], part["pieces"]) for part in parts))
    for token in report["tokens"]:
        token["truncated"] = not token["wordpieces"] and draw(st.booleans())
    for piece in report["wordpieces"]:
        piece["unknown"] = not piece["special"] and draw(st.booleans())
    return report


def drawn(report: Report, width: int = 80) -> list[str]:
    """Return the lines of all sentences."""
    return [line.plain for each in split_sentences(report) for line in draw(each, width)]


def rows(report: Report) -> list[tuple[str, ...]]:
    return [row for each in split_sentences(report) for row, _ in table_rows(each)]


def test_tokens_are_drawn_below_their_pieces(
    cafes: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    print_alignment(cafes)
    assert capsys.readouterr().out.splitlines() == [
        " sentence 1   8 wordpieces, 4 tokens",
        " [CLS]   zurich   '  s   cafe  ##s   .   [SEP]",
        "         Zürich   's ─   cafés ───   .",
        "",
        " token          wordpiece   index   share",
        " Zürich         zurich          1       1",
        " 's             '               2       1",
        "                s               3       1",
        " cafés          cafe            4       1",
        "                ##s             5       1",
        " .              .               6       1",
        " (sentence 1)   [CLS]           0     1/4",
        "                [SEP]           7     1/4",
        "",
        " Special and unaligned pieces ([CLS], [SEP]) are shared by all tokens of their sentence.",
    ]


def test_pair_of_lines_wraps_between_groups(cafes: Report) -> None:
    assert drawn(cafes, 26) == [
        " [CLS]   zurich   '  s",
        "         Zürich   's ─",
        "",
        " cafe  ##s   .   [SEP]",
        " cafés ───   .",
    ]


def test_shared_piece_shows_its_number_of_tokens(make_report: MakeReport) -> None:
    report = make_report(([("do", [0]), ("n't", [0])], ["don't"]))
    assert drawn(report) == [" don't×2 ─", " do  n't"]
    assert ("do", "don't", "0", "1/2") in rows(report)


def test_overlapping_tokens_stay_together(make_report: MakeReport) -> None:
    report = make_report(([("can", [0]), ("not", [0, 1])], ["cann", "ot"]))
    assert drawn(report) == [" cann×2  ot", " can  not ─"]
    assert rows(report)[1:] == [("not", "cann", "0", "1/2"), ("", "ot", "1", "1")]


def test_special_cases_are_marked_without_color(
    make_report: MakeReport, capsys: pytest.CaptureFixture[str]
) -> None:
    report = make_report(
        ([("🦩", [1]), ("\n", []), ("mat", [])], [CLS, "[UNK]", SEP]), truncated=(2,)
    )
    assert drawn(report) == [
        " [CLS]   [UNK]?   (none)   (cut)   [SEP]",
        "         🦩       \\n       mat",
    ]
    # The truncated token gets no share of the special pieces.
    assert ("(sentence 1)", "[CLS]", "0", "1/2") in rows(report)
    print_alignment(report)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("3 wordpieces, 3 tokens, 1 cut off")
    assert "vocabulary" in lines[-3] and "zero vector" in lines[-2] and "(none)" in lines[-1]


def test_notes_appear_only_where_they_apply(
    cafes: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    print_alignment(cafes)
    text = capsys.readouterr().out
    assert "×n" not in text and "?" not in text and "(cut)" not in text and "(none)" not in text


def test_long_token_is_cropped_only_if_it_does_not_fit(make_report: MakeReport) -> None:
    report = make_report(([("x" * 300, [0, 1])], ["y" * 150, "##" + "y" * 150]))
    assert not any("…" in line for line in drawn(report, 400))
    assert drawn(report, 40) == [
        f" {'y' * 38}…",
        f" {'x' * 38}…",
        "",
        f" ##{'y' * 36}…",
        f" {'─' * 39}",
    ]


def test_special_pieces_belong_to_their_sentence(make_report: MakeReport) -> None:
    bert = make_report(([("a", [1])], [CLS, "a", SEP]), ([("b", [1])], [CLS, "b", SEP]))
    assert [len(sentence.pieces) for sentence in split_sentences(bert)] == [3, 3]


def test_special_pieces_of_xlnet_end_a_sentence(make_report: MakeReport) -> None:
    end = [("<sep>", 4), ("<cls>", 3)]
    xlnet = make_report(([("a", [1])], ["▁", "a", *end]), ([("b", [1])], ["▁", "b", *end]))
    pieces = [[piece["i"] for piece in sentence.pieces] for sentence in split_sentences(xlnet)]
    assert pieces == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_sentence_without_links_keeps_its_special_pieces(make_report: MakeReport) -> None:
    report = make_report(
        ([("a", [1])], [CLS, "a", SEP]), ([("\n", [])], [CLS, SEP]), ([("b", [1])], [CLS, "b", SEP])
    )
    assert [len(sentence.pieces) for sentence in split_sentences(report)] == [3, 2, 3]


def test_model_without_special_pieces(
    make_report: MakeReport, capsys: pytest.CaptureFixture[str]
) -> None:
    report = make_report(([("a", [0])], ["a"]), ([("b", [0]), ("c", [1])], ["b", "Ġc"]))
    assert [len(sentence.pieces) for sentence in split_sentences(report)] == [1, 2]
    print_alignment(report)
    assert "Special" not in capsys.readouterr().out


def test_neighboring_groups_differ_in_color(make_report: MakeReport) -> None:
    tokens = [(str(number), [number]) for number in range(20)]
    report = make_report((tokens, [str(number) for number in range(20)]))
    [sentence] = split_sentences(report)
    styles = [group.style for group in sentence.groups]
    assert set(styles) == set(COLORS)
    assert all(style != after for style, after in pairwise(styles))


def test_token_has_the_color_of_its_pieces(cafes: Report) -> None:
    [sentence] = split_sentences(cafes)
    above, below = draw(sentence, 80)
    styles = [
        {line.plain[span.start : span.end].strip(): span.style for span in line.spans}
        for line in (above, below)
    ]
    assert styles[0]["zurich"] == styles[1]["Zürich"] != styles[1]["cafés ───"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b", "a␣b"),
        ("\n\t", r"\n\t"),
        ("\u200b", r"\u200b"),
        ("a\u0301", "a\u0301"),
        ("\u0301", r"\u0301"),
        (" \u0301", r"␣\u0301"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\ud800", r"\ud800"),
        ("\xa0", r"\xa0"),
        ("日本", "日本"),
    ],
)
def test_every_character_is_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(data=st.data(), width=st.integers(20, 200))
def test_drawing_fits_the_width(data: st.DataObject, width: int, make_report: MakeReport) -> None:
    for line in drawn(data.draw(reports(make_report)), width):
        assert cell_len(line) <= width
        assert line == line.rstrip()


@given(data=st.data())
def test_table_lists_each_token_once_with_all_its_pieces(
    data: st.DataObject, make_report: MakeReport
) -> None:
    report = data.draw(reports(make_report))
    labels = [label for label, *_ in rows(report) if label and not label.startswith("(sentence ")]
    assert labels == [visible(token["text"]) for token in report["tokens"]]
    indices = [int(index) for _, _, index, _ in rows(report) if index]
    for piece in report["wordpieces"]:
        assert indices.count(piece["i"]) == max(len(piece["tokens"]), 1)


@given(data=st.data())
def test_wide_drawing_has_every_token(data: st.DataObject, make_report: MakeReport) -> None:
    report = data.draw(reports(make_report))
    text = "\n".join(drawn(report, 10_000))
    for token in report["tokens"]:
        assert visible(token["text"]) in text


def test_report_is_not_modified(cafes: Report) -> None:
    before = repr(cafes)
    print_alignment(cafes)
    assert repr(cafes) == before
