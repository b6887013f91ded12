import json
import re
from dataclasses import replace
from typing import Any

import pytest

from trfcli_pipeline.curation.confusions import Confusion
from trfcli_pipeline.curation.copies import Copy
from trfcli_pipeline.curation.doubtful_texts import DoubtfulText
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.tasks.check_files import as_json, render_corrections
from trfcli_pipeline.tasks.check_page import render_check
from trfcli_pipeline.tasks.check_result import CheckResult

EVIL = "</script><script>alert(1)</script> & <b>"


@pytest.fixture(params=[True, False])
def result(request: pytest.FixtureRequest) -> CheckResult:
    records = [
        Record(EVIL, {"A": 1.0}, 1, file="d.jsonl"),
        Record("like it", {"<i>": 1.0}, 2, file="d.jsonl"),
        Record(EVIL, {"A": 1.0}, 3, file="d.jsonl"),
    ]
    doubtful = [
        DoubtfulText(0, ("A",), ("<i>",), 0.9, "probably wrong (90 %)", 1, 0.8),
        DoubtfulText(2, ("A",), ("<i>",), 0.8, "probably wrong (80 %)", None, None),
    ]
    return CheckResult(
        records=records,
        others=records[:1],
        labels=["<i>", "A"],
        unchecked=[],
        exclusive=request.param,
        n_errors=1.7,
        interval=(1.0, 3.0),
        doubtful=doubtful,
        disagreements=[Copy(0, 1, "near", 0.96)],
        confusions=[Confusion(("A", "<i>"), 1.7, (1.0, 3.0))],
        outliers=[(1, 0.7)],
        leaks=[Copy(0, 0, "same", 1.0)],
        remarks=["a <remark>"],
        warnings=["a <warning>"],
    )


def test_page_is_self_contained_and_escaped(result: CheckResult) -> None:
    page = render_check(result, data="<data>", model="minilm")
    assert "<script>alert" not in page
    assert page.count("<script") == page.count("</script>") == 2
    assert "<i>" not in page and "<data>" not in page and "<remark>" not in page
    assert not re.search(r"(src|href)=|url\(|https?://", page)
    assert "default-src 'none'" in page
    assert page == render_check(result, data="<data>", model="minilm")


def test_page_has_all_that_a_correction_needs(result: CheckResult) -> None:
    page = render_check(result, data="d.jsonl", model="minilm")
    facts = re.search(r'<script type="application/json" id="facts">(.*)</script>', page)
    assert facts is not None
    found = json.loads(facts[1])
    rows = [json.loads(line) for line in render_corrections(result).splitlines()]
    assert found == {"rows": rows, "labels": ["<i>", "A"], "exclusive": result.exclusive}
    # The same text with the same label is corrected once.
    assert len(rows) == 1
    key = "label" if result.exclusive else "labels"
    assert rows[0][key] == rows[0]["given"] == ("A" if result.exclusive else ["A"])


@pytest.mark.parametrize(
    ("changes", "is_clean", "sentence"),
    [
        ({"disagreements": []}, True, "No label looks wrong"),
        ({"disagreements": [], "unchecked": ["A"]}, True, "No other label looks wrong"),
        ({"disagreements": [], "unchecked": ["<i>", "A"]}, False, "No label could be checked"),
        ({}, False, "No label is clearly wrong, but see the near-copies with other labels"),
    ],
)
def test_page_without_doubtful_texts(
    result: CheckResult, changes: dict[str, Any], is_clean: bool, sentence: str
) -> None:
    found = replace(result, doubtful=[], **changes)
    assert found.is_clean == is_clean
    page = render_check(found, data="d.jsonl", model="minilm")
    assert f"<p>{sentence}.</p>" in page
    assert ("Label errors, about" in page) == found.is_checked


def test_copies_and_near_copies_are_named(result: CheckResult) -> None:
    pairs = [Copy(0, 1, "near", 0.96), Copy(0, 2, "same", 1.0)]
    found = replace(result, disagreements=pairs)
    assert found.disagreeing_pairs == "2 pairs of copies and near-copies with different labels"
    page = render_check(found, data="d.jsonl", model="minilm")
    assert ">Copies and near-copies with different labels</h2>" in page
    assert replace(result, disagreements=pairs[1:]).kinds_of_copies == "copies"


def test_json_is_standard(result: CheckResult) -> None:
    found = json.loads(json.dumps(as_json(result), allow_nan=False))
    assert found["confusions"][0]["texts"] == 1.7
    assert found["leaks"][0]["copy_place"] == "line 1"
