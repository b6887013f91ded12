"""Texts that fail, and are skipped."""

import json
from pathlib import Path
from typing import Any

import pytest
import spacy
from annotating import RECORDS, interrupt, read, run, stdin, write
from spacy.language import Language
from spacy.tokens import DocBin

from trfcli_pipeline.errors import DataError, OutputError
from trfcli_pipeline.tasks.annotate import AnnotationFinished, AnnotationStarted

LIST = "out.jsonl.skipped.jsonl"
# The texts of these records fail: one has no text, one isn't JSON, one is too long, and two make
# the pipeline fail.
ROWS: list[Any] = [*RECORDS]
ROWS[3], ROWS[11] = {"txt": "none"}, "{"
ROWS[20] = {"text": "a" * 1_000_001}
for row in (7, 8):
    ROWS[row] = {"text": f"refused {row}", "id": row}
FAILED = [4, 8, 9, 12, 21]  # counted from 1
REASONS = [
    'the record has no "text" (its keys: "txt")',
    "not this one",
    "not this one",
    "not valid JSON (expecting property name enclosed in double quotes at column 2)",
    "the text has 1,000,001 characters, but the pipeline takes at most 1,000,000",
]


@Language.component("test_refusing", assigns=["doc.ents"])
def refusing(doc: Any) -> Any:
    if doc.text.startswith("refused"):
        raise ValueError("not this one")
    return doc


@pytest.fixture
def picky(model: str) -> str:
    """A pipeline that fails on some texts."""
    nlp = spacy.load(model)
    nlp.add_pipe("test_refusing")
    nlp.to_disk("picky")
    write("in.jsonl", ROWS)
    return "picky"


def check_output(*, skipped: list[int] = FAILED) -> None:
    kept = [number for number in range(30) if number + 1 not in skipped]
    assert [row["id"] for row in read("out.jsonl")] == kept
    assert [row["line"] for row in read(LIST)] == skipped


@pytest.mark.parametrize("options", [{}, {"batch_size": 4}, {"batch_size": 1}, {"n_process": 2}])
def test_others_go_on_and_the_skipped_are_listed(picky: str, options: dict[str, Any]) -> None:
    started, *_, finished = run(picky, "in.jsonl", "out.jsonl", on_error="skip", **options)
    assert started == AnnotationStarted(total=30, done=0)
    assert isinstance(finished, AnnotationFinished)
    assert (finished.texts, finished.skipped, finished.skipped_path) == (25, 5, Path(LIST))
    check_output()
    assert [row["error"] for row in read(LIST)] == REASONS
    assert [row.get("text", "")[:8] for row in read(LIST)] == [
        *("", "refused ", "refused ", "", "aaaaaaaa")
    ]


def test_by_default_the_first_failure_stops(picky: str) -> None:
    with pytest.raises(DataError, match=r"in\.jsonl, line 4: the record has no"):
        run(picky, "in.jsonl", "out.jsonl")
    assert not Path(LIST).exists()


def test_without_failures_there_is_no_list(model: str) -> None:
    *_, finished = run(model, "in.jsonl", "out.jsonl", on_error="skip")
    assert finished.skipped == 0
    assert not Path(LIST).exists()


@pytest.mark.parametrize("batches", [1, 2, 3, 6])
def test_list_is_complete_after_resuming(picky: str, batches: int) -> None:
    options: dict[str, Any] = {"batch_size": 4, "on_error": "skip"}
    interrupt(picky, "in.jsonl", "out.jsonl", batches=batches, **options)
    # What was written after the last state.
    with Path(LIST).open("a") as file:
        file.write("more")
    run(picky, "in.jsonl", "out.jsonl", resume=True, **options)
    check_output()


def test_list_that_was_changed_cannot_be_continued(picky: str) -> None:
    interrupt(picky, "in.jsonl", "out.jsonl", batches=3, batch_size=4, on_error="skip")
    Path(LIST).write_text("")
    with pytest.raises(OutputError, match=r"skipped\.jsonl: damaged"):
        run(picky, "in.jsonl", "out.jsonl", batch_size=4, on_error="skip", resume=True)


def test_an_older_list_is_overwritten_by_force_only(picky: str) -> None:
    Path(LIST).write_text("mine\n")
    with pytest.raises(OutputError, match=r"skipped\.jsonl: already exists"):
        run(picky, "in.jsonl", "out.jsonl", on_error="skip")
    assert Path(LIST).read_text() == "mine\n"
    run(picky, "in.jsonl", "out.jsonl", on_error="skip", force=True)
    check_output()


def test_stdin_to_stdout(
    picky: str, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    stdin(monkeypatch, ROWS)
    run(picky, "-", "-", on_error="skip")
    assert [row["line"] for row in read("stdout.skipped.jsonl")] == FAILED


@pytest.mark.parametrize("name", ["out.csv", "out.spacy"])
def test_other_formats(picky: str, name: str) -> None:
    run(picky, "in.jsonl", name, on_error="skip", batch_size=4)
    assert [row["line"] for row in read(f"{name}.skipped.jsonl")] == FAILED
    if name == "out.spacy":
        assert len(DocBin().from_disk(name)) == 25
    else:
        assert len(Path(name).read_text(encoding="utf8").splitlines()) == 26


@pytest.mark.parametrize(
    "change",
    [{"texts": "x"}, {"texts": -1}, {"labels": []}, {"writer": None}, {"model": None}],
    ids=str,
)
def test_state_without_its_parts_is_an_error(model: str, change: dict[str, Any]) -> None:
    interrupt(model, "in.jsonl", "out.jsonl", batches=2, batch_size=4)
    path = Path("out.jsonl.partial.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(OutputError, match=r"partial\.json: damaged"):
        run(model, "in.jsonl", "out.jsonl", resume=True)
