import csv
import gzip
import io
import json
import os
import shutil
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.language import Language
from spacy.tokens import DocBin

from trfcli_pipeline.data.records import read_records
from trfcli_pipeline.errors import DataError, OutputError, PipelineError, TrfError
from trfcli_pipeline.tasks import annotate as task
from trfcli_pipeline.tasks.annotate import Advanced, Event, Finished, Started, annotate
from trfcli_pipeline.tasks.init_model import init_model

# Of very different length, so that wherever order could be lost, it would be.
TEXTS = [f"Number {number}. " + "I love this film! " * (number * 7 % 11) for number in range(30)]
RECORDS = [{"text": text, "id": number} for number, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> str:
    """A pipeline with an untrained classifier whose scores differ from text to text."""
    path = tmp_path_factory.mktemp("models") / "model"
    nlp, _ = init_model(str(tiny_bert), path)
    textcat: Any = nlp.add_pipe("trf_textcat", config={"exclusive_classes": True})
    textcat.initialize(None, nlp=nlp, labels=["BAD", "GOOD"])
    output = textcat.model.get_ref("output_layer")
    output.set_param("W", output.ops.asarray2f([[1.0, 0.0] * 8, [0.0, 1.0] * 8]))
    ruler: Any = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "WORK", "pattern": [{"LOWER": "film"}]}])
    nlp.to_disk(path)
    return str(path)


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write("in.jsonl", RECORDS)
    return tmp_path


def write(name: str, rows: list[Any]) -> None:
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    Path(name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_text(encoding="utf-8").splitlines()]


def run(*args: str, **options: Any) -> list[Event]:
    return list(annotate(*args, **options))


def interrupt(*args: str, batches: int, **options: Any) -> None:
    """End a run from outside after some batches."""
    events = annotate(*args, **options)
    for _ in range(1 + batches):
        next(events)
    events.close()


def test_rows_are_what_the_pipeline_says(model: str) -> None:
    events = run(model, "in.jsonl", "out.jsonl", batch_size=8)
    rows = read("out.jsonl")
    assert [{"text": row["text"], "id": row["id"]} for row in rows] == RECORDS
    docs = list(spacy.load(model).pipe(TEXTS))
    for row, doc in zip(rows, docs, strict=True):
        assert list(row) == ["text", "id", "cats", "labels", "ents"]
        assert row["cats"] == pytest.approx(doc.cats, abs=1e-6)
        assert row["labels"] == [max(doc.cats, key=doc.cats.__getitem__)]
        assert [doc.text[ent["start"] : ent["end"]] for ent in row["ents"]] == [
            ent.text for ent in doc.ents
        ]
    started, *advanced, finished = events
    words = sum(not token.is_space for doc in docs for token in doc)
    assert started == Started(total=30, done=0)
    assert [event.texts for event in advanced if isinstance(event, Advanced)] == [8, 8, 8, 6]
    assert isinstance(finished, Finished)
    assert (finished.texts, finished.words) == (30, words)
    assert sum(finished.labels.values()) == 30
    assert finished.words_per_second > 0
    assert sorted(os.listdir()) == ["in.jsonl", "out.jsonl"]


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.jsonl.gz", "out.spacy"])
def test_processes_change_nothing(model: str, name: str) -> None:
    run(model, "in.jsonl", name, batch_size=4)
    alone = Path(name).read_bytes()
    run(model, "in.jsonl", name, batch_size=4, n_process=2, force=True)
    assert Path(name).read_bytes() == alone


def test_what_is_written_can_be_trained_on(model: str) -> None:
    run(model, "in.jsonl", "out.jsonl")
    rows = read("out.jsonl")
    for suffix in (".csv", ".tsv.gz", ".spacy", ".jsonl.gz"):
        run(model, "in.jsonl", f"out{suffix}")
    for suffix in (".jsonl", ".jsonl.gz", ".csv", ".tsv.gz"):
        records = read_records(f"out{suffix}", labelled=True)
        assert [record.text for record in records] == TEXTS
        assert [sorted(record.labels) for record in records] == [row["labels"] for row in rows]
    docs = list(DocBin().from_disk("out.spacy").get_docs(spacy.blank("en").vocab))
    assert [doc.text for doc in docs] == TEXTS
    assert [len(doc.ents) for doc in docs] == [len(row["ents"]) for row in rows]


def test_table(model: str) -> None:
    run(model, "in.jsonl", "out.csv")
    with Path("out.csv").open(newline="", encoding="utf-8") as stream:
        header, first, *_ = csv.reader(stream)
    assert header == ["text", "id", "labels", "ents", "score_BAD", "score_GOOD"]
    assert first[:2] == [TEXTS[0], "0"]
    assert json.loads(first[3]) == []


def test_key_that_a_table_has_no_column_for_is_told(model: str) -> None:
    write("in.jsonl", [{"text": "a"}, {"text": "b", "mood": "sad"}])
    *_, finished = run(model, "in.jsonl", "out.csv")
    assert isinstance(finished, Finished)
    assert finished.left_out == ["mood"]


def test_labels_of_the_input_are_kept_under_another_name(model: str) -> None:
    rows = [
        {"text": "a", "label": "HAM", "ents": "none", "id": 1},
        ["b", {"cats": {"SPAM": 1.0}}],
        {"text": "c", "labels": ["X"], "input_labels": ["FIRST"]},
    ]
    write("in.jsonl", rows)
    run(model, "in.jsonl", "out.jsonl")
    found = [
        {key: value for key, value in row.items() if key not in ("text", "cats", "labels", "ents")}
        for row in read("out.jsonl")
    ]
    assert found == [
        {"input_label": "HAM", "input_ents": "none", "id": 1},
        {"input_cats": {"SPAM": 1.0}},
        {"input_labels": ["FIRST"]},
    ]


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz", "out.csv", "out.tsv.gz"])
@pytest.mark.parametrize("n_process", [1, 2])
def test_interrupted_run_continues_to_the_same_file(model: str, name: str, n_process: int) -> None:
    run(model, "in.jsonl", f"whole-{name}", batch_size=4)
    for batches in (1, 2):
        interrupt(model, "in.jsonl", name, batches=batches, batch_size=4, resume=batches > 1)
    assert not Path(name).exists()
    started, *_, finished = run(
        model, "in.jsonl", name, batch_size=4, resume=True, n_process=n_process
    )
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)
    # A consumer that stops has seen what was written before.
    assert started.done == 12
    assert (finished.texts, sum(finished.labels.values())) == (30, 30)
    assert Path(name).read_bytes() == Path(f"whole-{name}").read_bytes()


def test_resume_refuses_another_model_and_other_texts(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(model, "in.jsonl", "out.jsonl", batches=2, batch_size=4)
    shutil.copytree(model, tmp_path / "other")
    (tmp_path / "other" / "notes.txt").write_text("another version")
    with pytest.raises(OutputError, match="made with another model"):
        run(str(tmp_path / "other"), "in.jsonl", "out.jsonl", resume=True)
    # What comes after the part that is done may have changed: it may be what was corrected.
    for number, refused in ((5, True), (25, False)):
        changed = [*RECORDS]
        changed[number] = {"text": "changed"}
        write("changed.jsonl", changed)
        if refused:
            with pytest.raises(OutputError, match="made with another input"):
                run(model, "changed.jsonl", "out.jsonl", resume=True)
            assert Path("out.jsonl.partial").exists()
        else:
            run(model, "changed.jsonl", "out.jsonl", resume=True)
            assert read("out.jsonl")[25]["text"] == "changed"


def test_resume_refuses_fewer_texts(model: str) -> None:
    interrupt(model, "in.jsonl", "out.jsonl", batches=2, batch_size=4)
    write("in.jsonl", RECORDS[:7])
    with pytest.raises(OutputError, match="made with another input"):
        run(model, "in.jsonl", "out.jsonl", resume=True)


def test_bad_record_of_a_file_shows_before_any_work(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task, "load_pipeline", None)
    write("in.jsonl", [*RECORDS, "{"])
    with pytest.raises(DataError, match=r"in\.jsonl, line 31: not valid JSON"):
        run(model, "in.jsonl", "out.jsonl")
    assert os.listdir() == ["in.jsonl"]


def stdin(monkeypatch: pytest.MonkeyPatch, rows: list[Any]) -> None:
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    content = "".join(f"{line}\n" for line in lines).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), "utf-8"))


def test_bad_record_on_stdin_keeps_what_was_done(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin(monkeypatch, [*RECORDS[:10], "{", *RECORDS[11:]])
    with pytest.raises(DataError, match="stdin, line 11: not valid JSON"):
        run(model, "-", "out.jsonl", batch_size=4)
    stdin(monkeypatch, RECORDS)
    started, *_ = run(model, "-", "out.jsonl", batch_size=4, resume=True)
    assert started == Started(total=None, done=8)
    assert [row["id"] for row in read("out.jsonl")] == list(range(30))


def test_stdin_to_stdout(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    stdin(monkeypatch, RECORDS)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "utf-8"))
    run(model, "-", "-", batch_size=4)
    lines = written.getvalue().splitlines()
    assert [json.loads(line)["id"] for line in lines] == list(range(30))
    with pytest.raises(OutputError, match="stdout can't be continued"):
        run(model, "-", "-", resume=True)


def test_docbin_cannot_be_continued(model: str) -> None:
    with pytest.raises(OutputError, match="it is only written at the end"):
        run(model, "in.jsonl", "out.spacy", resume=True)
    interrupt(model, "in.jsonl", "out.spacy", batches=2, batch_size=4)
    assert os.listdir() == ["in.jsonl"]


def test_text_that_is_too_long_is_named(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write("in.jsonl", [*RECORDS[:2], {"text": "a" * 1_000_001}])
    with pytest.raises(DataError) as caught:
        run(model, "in.jsonl", "out.jsonl")
    assert caught.value.message == (
        "in.jsonl, line 3: 1,000,001 characters, and the pipeline takes at most 1,000,000 in a text"
    )
    assert os.listdir() == ["in.jsonl"]
    stdin(monkeypatch, [*RECORDS[:2], {"text": "a" * 1_000_001}])
    with pytest.raises(DataError, match="stdin, line 3: 1,000,001 characters"):
        run(model, "-", "out.jsonl")


def test_long_texts_make_small_batches(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "_BATCH_CHARACTERS", 300)
    events = run(model, "in.jsonl", "out.jsonl")
    sizes = [event.texts for event in events if isinstance(event, Advanced)]
    assert sum(sizes) == 30
    assert len(sizes) > 5
    assert len(read("out.jsonl")) == 30


@pytest.mark.parametrize("n_process", [1, 2])
def test_failing_pipeline_names_the_texts_and_keeps_the_rest(model: str, n_process: int) -> None:
    @Language.component("test_picky", assigns=["doc.cats"])
    def picky(doc: Any) -> Any:
        if doc.text == TEXTS[17]:
            raise ValueError("not this one")
        return doc

    nlp = spacy.load(model)
    nlp.add_pipe("test_picky")
    nlp.to_disk("picky")
    with pytest.raises(PipelineError) as caught:
        run("picky", "in.jsonl", "out.jsonl", batch_size=4, n_process=n_process)
    assert caught.value.message == "in.jsonl, lines 17 to 20: not this one"
    state = json.loads(Path("out.jsonl.partial.json").read_bytes())
    assert state["texts"] == 16


@pytest.mark.parametrize(
    ("args", "options", "problem"),
    [
        (["nowhere", "in.jsonl", "out.jsonl"], {}, "nowhere: there is no such directory"),
        (["model", "no.jsonl", "out.jsonl"], {}, "no.jsonl: no such file"),
        (["model", "in.jsonl", "out.parquet"], {}, 'out.parquet: unknown suffix ".parquet"'),
        (["model", "in.jsonl", "in.jsonl"], {}, "in.jsonl: exists"),
        (["model", "in.jsonl", "no/out.jsonl"], {}, "no: there is no such directory"),
        (["model", "in.jsonl", "out.jsonl"], {"device": "warp"}, "warp: not a device"),
    ],
)
def test_wrong_input(model: str, args: list[str], options: dict[str, Any], problem: str) -> None:
    args = [model if each == "model" else each for each in args]
    with pytest.raises(TrfError) as caught:
        run(*args, **options)
    assert caught.value.message.startswith(problem)
    assert read("in.jsonl") == RECORDS
    assert os.listdir() == ["in.jsonl"]


def test_input_may_be_replaced(model: str) -> None:
    run(model, "in.jsonl", "in.jsonl", force=True)
    assert [row["id"] for row in read("in.jsonl")] == list(range(30))


def test_memory_stays_flat(model: str) -> None:
    with gzip.open("many.jsonl.gz", "wt", compresslevel=1) as stream:
        for number in range(2000):
            stream.write(f'{{"text": "film {number % 200}", "id": {number}}}\n')
    in_use = []
    for event in annotate(model, "many.jsonl.gz", "out.jsonl", batch_size=25):
        if isinstance(event, Started):
            tracemalloc.start()
        elif isinstance(event, Advanced):
            in_use.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert len(in_use) == 80
    # A record alone takes some 500 bytes: the last 1000 would show.
    assert max(in_use[-20:]) < max(in_use[20:40]) + 100_000
