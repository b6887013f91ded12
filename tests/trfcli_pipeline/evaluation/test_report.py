import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from trfcli_pipeline.data.records import Record
from trfcli_pipeline.errors import DataError
from trfcli_pipeline.evaluation import report
from trfcli_pipeline.evaluation.abstention import Abstention, Aim, FittedAbstention
from trfcli_pipeline.evaluation.explanation import Explanation, TokenAttribution
from trfcli_pipeline.evaluation.report import read_history, render_report
from trfcli_pipeline.evaluation.results import Evaluation, score_cats

ORIGIN = {"model": "./model", "pipeline": "en_trf 1.0.0", "data": "test.jsonl"}
# Attempts to break out of a text node, an attribute, a script, a style and a comment.
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</script><script>alert(1)</script>",
    "</style><b>",
    "--><svg onload=alert(1)>",
    "{{ 7 * 191 }}{% raw %}",
    "javascript:alert(1)",
]
VOID = {"meta", "input", "img", "link", "br", "wbr"}
HISTORY = [
    {"step": 10, "epoch": 0.5, "loss": 1.2, "score": 0.4, "accuracy": 0.5, "cats_macro_f": 0.4},
    {"step": 20, "epoch": 1.0, "loss": 0.7, "score": 0.8, "accuracy": 0.8, "cats_macro_f": 0.75},
]


class Page(HTMLParser):
    """The tags and texts of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data.strip())

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)

    def has_text(self, *expected: str) -> bool:
        whole = " ".join(" ".join(self.texts).split())
        return all(" ".join(text.split()) in whole for text in expected)


def exclusive_case(labels: list[str], texts: list[str] | None = None) -> Any:
    """Two texts per label: the first is predicted correctly, the second as the next label."""
    n = 2 * len(labels)
    gold = [{labels[i % len(labels)]: 1.0} for i in range(n)]
    predicted_columns = [(i + (i >= len(labels))) % len(labels) for i in range(n)]
    predicted = [
        {label: 0.8 if place == each else 0.2 / len(labels) for place, label in enumerate(labels)}
        for each in predicted_columns
    ]
    evaluation = score_cats(gold, predicted, labels, exclusive=True)
    given = texts or [f"text {i}" for i in range(n)]
    return evaluation, [Record(given[i % len(given)], None, i + 1) for i in range(n)]


def multilabel_case() -> tuple[Evaluation, list[Record]]:
    gold: list[dict[str, float]] = [{"A": 1.0, "B": 0.0}, {"A": 0.0}, {}, {"B": 1.0, "A": 1.0}]
    predicted = [{"A": 0.9, "B": 0.7}, {"A": 0.3, "B": 0.1}, {"A": 0.5}, {"A": 0.6, "B": 0.2}]
    thresholds = {"A": 0.25, "B": 0.5, "C": 0.5}
    evaluation = score_cats(gold, predicted, ["A", "B", "C"], exclusive=False, threshold=thresholds)
    return evaluation, [Record(f"text {i}", None, i + 1) for i in range(4)]


def explained(text: str, label: str) -> Explanation:
    first, _, rest = text.partition(" ")
    return Explanation(
        label=label,
        score=0.8,
        is_predicted=True,
        log_odds=1.4,
        base=0.0,
        tokens=(TokenAttribution(first, " ", 2.0), TokenAttribution(rest, "", -0.6)),
        steps=16,
        is_complete=True,
    )


def test_explained_mistakes_are_highlighted() -> None:
    evaluation, records = exclusive_case(["HAM", "SPAM"], ["<b> one", "two b"])
    first, *others = evaluation.mistakes[::-1]
    explanations = {first.index: explained(records[first.index].text, first.label)}
    page = Page(render_report(evaluation, records, explanations=explanations, **ORIGIN))
    marks = [attributes for tag, attributes in page.tags if tag == "mark"]
    assert [(each["class"], each["title"]) for each in marks if "title" in each] == [
        ("for level-4", "+2.00"),
        ("against level-2", "-0.60"),
    ]
    assert others
    assert page.has_text("The tokens of the first 1 mistake are highlighted")
    assert page.count("b") == Page(render_report(evaluation, records, **ORIGIN)).count("b")


def test_report_on_exclusive_labels() -> None:
    evaluation, records = exclusive_case(["HAM", "SPAM", "ODD"])
    evaluation = replace(evaluation, n_words=1200, seconds=2.0)
    page = Page(render_report(evaluation, records, **ORIGIN))
    assert page.open == []
    low, high = evaluation.intervals["accuracy"]
    assert page.has_text("Accuracy 0.500", f"{low:.3f} to {high:.3f}", "Words per second 600")
    assert page.has_text(
        "Model ./model on 6 texts from test.jsonl", "3 labels, exactly one per text"
    )
    assert page.has_text("3 of 6 texts right, but 6 texts are too few to rely on.")
    assert page.has_text("Confusion matrix", "HAM 1 1", "Most frequent confusions")
    assert page.has_text("Texts True label Predicted label 1 HAM SPAM")
    assert not page.has_text("Micro F")
    assert not page.has_text("Threshold")
    charts = [
        attributes["aria-label"]
        for tag, attributes in page.tags
        if tag == "svg" and "role" in attributes
    ]
    assert [str(title).partition(" ")[0] for title in charts] == [
        "Reliability",
        "Histogram",
        "Risk-coverage",
        "Precision-recall",
    ]
    rows = [
        attributes for tag, attributes in page.tags if tag == "tr" and "data-gold" in attributes
    ]
    assert rows == [
        {"data-gold": "2", "data-predicted": "0"},
        {"data-gold": "1", "data-predicted": "2"},
        {"data-gold": "0", "data-predicted": "1"},
    ]


def test_report_on_multi_label_predictions() -> None:
    evaluation, records = multilabel_case()
    page = Page(render_report(evaluation, records, **ORIGIN))
    assert page.has_text("Micro F", "any number per text", "the label’s decision threshold")
    assert page.has_text("1 text has no label in the data and is not scored", "Threshold")
    assert not page.has_text("Confusion matrix")
    # No text has C, so its AUC and average precision are undefined.
    assert page.has_text("C 0 0.000 0.000 0.000 – – 0.5")
    rows = [
        attributes for tag, attributes in page.tags if tag == "tr" and "data-gold" in attributes
    ]
    assert {"data-gold": "0", "data-predicted": "0 1"} in rows
    assert {"data-gold": "", "data-predicted": "0"} in rows


def test_report_on_promises() -> None:
    evaluation, records = exclusive_case(["HAM", "SPAM", "ODD"])
    page = Page(render_report(evaluation, records, **ORIGIN))
    assert page.has_text("Risk and coverage", "by their share of all texts (area under the curve: ")
    assert not page.has_text("The classifier answers")
    fitted = FittedAbstention(Abstention(1.0, 0.5, 0.2), Aim(), 500, 1.0, 0.97, 0.95, 1.5)
    evaluation = replace(evaluation, fitted_abstention=fitted)
    found = "50.0% (95% CI 11.8% to 88.2%; promised: 95.0%)"
    page = Page(render_report(evaluation, records, **ORIGIN))
    assert page.open == []
    assert page.has_text(
        f"The classifier answers 100.0% of the texts; {found} of the answers are correct.",
        f"Its label sets have 1.0 labels on average; {found} of the true labels are in them.",
    )


def test_report_without_mistakes() -> None:
    gold = [{"A": 1.0}, {"B": 1.0}]
    evaluation = score_cats(gold, gold, ["A", "B"], exclusive=True)
    records = [Record("a", None, 1), Record("b", None, 2)]
    page = Page(render_report(evaluation, records, **ORIGIN))
    assert page.has_text("None: all predictions are correct.")
    assert page.count("form") == 0
    assert not page.has_text("Most frequent confusions")


def test_undefined_metrics_are_dashes() -> None:
    evaluation = score_cats([{"A": 0.0}], [{"A": 0.2}], ["A"], exclusive=False)
    page = Page(render_report(evaluation, [Record("a", None, 1)], **ORIGIN))
    assert page.has_text("Accuracy 1.000", "Macro AUC –", "Average precision –")


def test_report_on_many_labels() -> None:
    labels = [f"a_rather_long_name_of_a_label_{i}" for i in range(77)]
    evaluation, records = exclusive_case(labels)
    html = render_report(evaluation, records, **ORIGIN)
    page = Page(html)
    assert '<table class="matrix many dense">' in html
    assert "--n:77;--d:1" in html
    assert page.count("option") == 77 + 4
    assert page.has_text("72 other labels")
    # The script shows the first mistakes and the button. Without it, all mistakes are shown.
    assert sum("data-gold" in attributes for _, attributes in page.tags) == 77
    assert [attributes for tag, attributes in page.tags if tag == "button"] == [
        {"type": "button", "id": "more", "hidden": None}
    ]
    assert "const PAGE = 100;" in html
    assert len(html) < 500_000


def test_long_names_can_break_between_words() -> None:
    html = render_report(*exclusive_case(["card_not_working", "R&D/other", "_"]), **ORIGIN)
    assert '<span class="name">card_<wbr>not_<wbr>working</span>' in html
    assert '<span class="name">R&amp;D/<wbr>other</span>' in html
    assert '<span class="name">_</span>' in html


def test_training_history_is_plotted() -> None:
    evaluation, records = exclusive_case(["A", "B"])
    history = [*HISTORY, {"step": 30}, {"epoch": "x"}]
    page = Page(
        render_report(evaluation, records, **ORIGIN, history=history, metric="cats_micro_f")
    )
    assert page.has_text("Training: dev scores", "Training: loss", "20 1 0.7 0.8 0.8 0.75")
    assert page.has_text("Step Epoch Loss Micro F Accuracy Macro F")
    assert page.has_text("Checkpoints are compared by micro F.")
    assert not Page(render_report(evaluation, records, **ORIGIN)).has_text("Training")


@pytest.mark.parametrize(
    ("metric", "names"),
    [
        ("cats_micro_f", ["micro F", "accuracy", "macro F"]),
        ("cats_macro_f", ["macro F", "accuracy"]),
        ("accuracy", ["accuracy", "macro F"]),
        # Pipelines of earlier versions don't record the metric.
        ("score", ["score", "accuracy", "macro F"]),
    ],
)
def test_learning_curve_names_each_metric_once(metric: str, names: list[str]) -> None:
    evaluation, records = exclusive_case(["A", "B"])
    html = render_report(evaluation, records, **ORIGIN, history=HISTORY, metric=metric)
    titles = re.findall(r"<title>([^<]*)</title>", html)
    assert titles[-len(names) - 1 :] == [*names, "loss"]
    assert f"Dev scores by epoch: {', '.join(names)}" in html


@pytest.mark.parametrize("exclusive", [True, False])
def test_texts_and_labels_are_escaped(exclusive: bool) -> None:
    evaluation, records = exclusive_case(HOSTILE, HOSTILE)
    if not exclusive:
        prediction = evaluation.prediction
        evaluation = replace(evaluation, prediction=replace(prediction, exclusive=False))
    html = render_report(
        evaluation,
        records,
        model=HOSTILE[0],
        pipeline=HOSTILE[1],
        data=HOSTILE[3],
        history=HISTORY,
    )
    page = Page(html)
    assert page.open == []
    harmless = Page(render_report(*exclusive_case(list("ABCDEFGH")), **ORIGIN))
    allowed = {tag for tag, _ in harmless.tags} | {"details", "summary", "wbr"}
    assert {tag for tag, _ in page.tags} <= allowed
    assert (page.count("script"), page.count("style"), page.count("b")) == (1, 1, 2)
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert "src" not in attributes
        assert "href" not in attributes
    assert all(page.has_text(text) for text in HOSTILE)
    assert "1337" not in html


def test_page_is_self_contained_and_allows_no_other_script() -> None:
    html = render_report(*exclusive_case(["A", "B"]), **ORIGIN)
    assert not re.search(r"https?://|@import|url\(", html.replace("http://www.w3.org/2000/svg", ""))
    (script,) = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in html


def test_long_texts_and_many_mistakes_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "_SHOWN_MISTAKES", 2)
    monkeypatch.setattr(report, "_SHOWN_TEXT", 10)
    html = render_report(*exclusive_case(["A", "B", "C"], ["x" * 11]), **ORIGIN)
    page = Page(html)
    assert page.has_text("This page has the first 2 of 3.", "x" * 10 + "…")
    assert "x" * 11 not in html


def test_names_with_invalid_utf_8_can_be_written() -> None:
    html = render_report(*exclusive_case(["A", "B"]), **{**ORIGIN, "model": "\udcff"})
    assert html.encode("utf8")


def test_training_history_is_read_from_the_model_directory(tmp_path: Path) -> None:
    assert read_history(None) == []
    assert read_history(tmp_path) == []
    path = tmp_path / "training.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in HISTORY))
    assert [row["step"] for row in read_history(tmp_path)] == [row["step"] for row in HISTORY]
    path.write_text(f"{json.dumps(HISTORY[0])}\n{{\n")
    with pytest.raises(DataError, match=r"training\.jsonl: Invalid JSON on line 2"):
        read_history(tmp_path)
