"""Texts that fail, and are skipped."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import spacy
from annotating import RECORDS, interrupt, read, run, stdin, write
from spacy.language import Language
from spacy.tokens import DocBin

from trfcli_pipeline.data.outputs.resumable import ResumableFile
from trfcli_pipeline.data.records import BadRecord
from trfcli_pipeline.errors import DataError, OutputError
from trfcli_pipeline.tasks.annotate import AnnotationFinished, AnnotationStarted
from trfcli_pipeline.tasks.predictions import Batch, Predicted, Predictor
from trfcli_pipeline.tasks.skipped_texts import SkippedTexts

LIST = "out.jsonl.skipped.jsonl"
PARTIAL = f"{LIST}.partial"
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


@pytest.mark.parametrize("number", [0, 123, 299])
def test_a_text_that_fails_is_found_in_few_runs(
    picky: str, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    texts = 300 * ["fine"]
    texts[number] = "refused"
    predictor = Predictor(spacy.load(picky), skip=True)
    sizes = []
    predict = predictor._predict

    def counted(some: list[str]) -> Predicted:
        sizes.append(len(some))
        return predict(some)

    monkeypatch.setattr(predictor, "_predict", counted)
    found = predictor(Batch("", "line", list(range(300)), texts))
    assert found.failed == {number: "not this one"}
    assert len(found.content) == 299
    assert len(sizes) < 60


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
    if Path(PARTIAL).exists():
        with Path(PARTIAL).open("a") as file:
            file.write("more")
    assert not Path(LIST).exists()
    run(picky, "in.jsonl", "out.jsonl", resume=True, **options)
    check_output()


def test_list_that_was_changed_cannot_be_continued(picky: str) -> None:
    interrupt(picky, "in.jsonl", "out.jsonl", batches=3, batch_size=4, on_error="skip")
    Path(PARTIAL).write_text("")
    with pytest.raises(OutputError, match=r"skipped\.jsonl\.partial: damaged"):
        run(picky, "in.jsonl", "out.jsonl", batch_size=4, on_error="skip", resume=True)


def test_an_older_list_is_overwritten_by_force_only(picky: str) -> None:
    older = '{"line": 1, "error": "older"}\n'
    Path(LIST).write_text(older)
    with pytest.raises(OutputError, match=r"skipped\.jsonl: already exists"):
        run(picky, "in.jsonl", "out.jsonl", on_error="skip")
    assert Path(LIST).read_text() == older
    run(picky, "in.jsonl", "out.jsonl", on_error="skip", force=True)
    check_output()


def test_an_older_list_is_removed_if_nothing_is_skipped(model: str) -> None:
    Path(LIST).write_text('{"line": 1, "error": "older"}\n')
    run(model, "in.jsonl", "out.jsonl", on_error="skip", force=True)
    assert not Path(LIST).exists()


@pytest.mark.parametrize("content", ["mine\n", "{}\n", "[" * 100_000, "\xff"])
def test_another_file_is_never_overwritten(picky: str, content: str) -> None:
    Path(LIST).write_text(content, encoding="latin-1")
    with pytest.raises(OutputError, match=r"skipped\.jsonl: .* is not a list of skipped texts"):
        run(picky, "in.jsonl", "out.jsonl", on_error="skip", force=True)
    assert Path(LIST).read_text(encoding="latin-1") == content
    assert not Path("out.jsonl").exists()


def test_list_is_not_the_input(picky: str) -> None:
    Path("in.jsonl").rename(LIST)
    with pytest.raises(OutputError, match=r"skipped\.jsonl: is the input"):
        run(picky, LIST, "out.jsonl", on_error="skip", force=True)


def test_list_has_one_writer(picky: str) -> None:
    with (
        ResumableFile(LIST, resume=False, force=False),
        pytest.raises(OutputError, match=r"skipped\.jsonl: is being written by another process"),
    ):
        run(picky, "in.jsonl", "out.jsonl", on_error="skip")


@pytest.mark.parametrize("name", ["out.spacy", "-"])
def test_output_that_cannot_be_resumed_leaves_no_list(picky: str, name: str) -> None:
    before = set(Path.cwd().iterdir())
    interrupt(picky, "in.jsonl", name, batches=4, batch_size=4, on_error="skip")
    assert set(Path.cwd().iterdir()) == before


def test_skipping_run_is_not_continued_without_skipping(picky: str) -> None:
    write("in.jsonl", [*RECORDS[:5], ROWS[7], *RECORDS[5:]])
    interrupt(picky, "in.jsonl", "out.jsonl", batches=3, batch_size=4, on_error="skip")
    with pytest.raises(OutputError, match="written with --on-error skip"):
        run(picky, "in.jsonl", "out.jsonl", batch_size=4, resume=True)


def test_list_of_a_run_that_ended_before_its_output_has_a_state(picky: str) -> None:
    skipped = SkippedTexts("out.jsonl", resumable=True, resume=False, force=False)
    with suppress(KeyboardInterrupt), skipped:
        skipped.add([BadRecord(1, "not this one")])
        raise KeyboardInterrupt
    run(picky, "in.jsonl", "out.jsonl", on_error="skip", resume=True)
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
    [{"texts": "x"}, {"texts": -1}, {"labels": []}, {"columns": {}}, {"model": None}],
    ids=str,
)
def test_state_without_its_parts_is_an_error(model: str, change: dict[str, Any]) -> None:
    interrupt(model, "in.jsonl", "out.jsonl", batches=2, batch_size=4)
    path = Path("out.jsonl.partial.json")
    progress = json.loads(path.read_text())
    progress["state"] |= change
    path.write_text(json.dumps(progress))
    with pytest.raises(OutputError, match=r"partial\.json: damaged"):
        run(model, "in.jsonl", "out.jsonl", resume=True)
