import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import spacy
from annotating import RECORDS, TEXTS, interrupt, read, run, stdin, write
from spacy.language import Language

from trfcli_pipeline.errors import DataError, OutputError, PipelineError
from trfcli_pipeline.tasks.annotate import AnnotationFinished, AnnotationStarted


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz", "out.csv", "out.tsv.gz"])
@pytest.mark.parametrize("n_process", [1, 2])
def test_resumed_run_writes_the_same_file(model: str, name: str, n_process: int) -> None:
    run(model, "in.jsonl", f"whole-{name}", batch_size=4)
    for batches in (1, 2):
        interrupt(model, "in.jsonl", name, batches=batches, batch_size=4, resume=batches > 1)
    assert not Path(name).exists()
    started, *_, finished = run(
        model, "in.jsonl", name, batch_size=4, resume=True, n_process=n_process
    )
    assert isinstance(started, AnnotationStarted)
    assert isinstance(finished, AnnotationFinished)
    # A batch is reported once it is written.
    assert started.done == 12
    assert (finished.texts, sum(finished.labels.values())) == (30, 30)
    assert Path(name).read_bytes() == Path(f"whole-{name}").read_bytes()


def test_resume_refuses_another_model_and_other_texts(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(model, "in.jsonl", "out.jsonl", batches=2, batch_size=4)
    shutil.copytree(model, tmp_path / "other")
    meta = tmp_path / "other" / "meta.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "description": "another version"}))
    with pytest.raises(OutputError, match="written with another model"):
        run(str(tmp_path / "other"), "in.jsonl", "out.jsonl", resume=True)
    # Texts that aren't annotated yet may be corrected.
    for number, refused in ((5, True), (25, False)):
        changed = [*RECORDS]
        changed[number] = {"text": "changed"}
        write("changed.jsonl", changed)
        if refused:
            with pytest.raises(OutputError, match="written with another input"):
                run(model, "changed.jsonl", "out.jsonl", resume=True)
            assert Path("out.jsonl.partial").exists()
        else:
            run(model, "changed.jsonl", "out.jsonl", resume=True)
            assert read("out.jsonl")[25]["text"] == "changed"


def test_resume_refuses_fewer_texts(model: str) -> None:
    interrupt(model, "in.jsonl", "out.jsonl", batches=2, batch_size=4)
    write("in.jsonl", RECORDS[:7])
    with pytest.raises(OutputError, match="written with another input"):
        run(model, "in.jsonl", "out.jsonl", resume=True)


def test_annotated_texts_are_kept_if_stdin_has_a_bad_record(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin(monkeypatch, [*RECORDS[:10], "{", *RECORDS[11:]])
    with pytest.raises(DataError, match="stdin, line 11: not valid JSON"):
        run(model, "-", "out.jsonl", batch_size=4)
    stdin(monkeypatch, RECORDS)
    started, *_ = run(model, "-", "out.jsonl", batch_size=4, resume=True)
    assert started == AnnotationStarted(total=None, done=8)
    assert [row["id"] for row in read("out.jsonl")] == list(range(30))


@Language.component("test_picky", assigns=["doc.cats"])
def picky(doc: Any) -> Any:
    if doc.text == TEXTS[17]:
        raise ValueError("not this one")
    return doc


@pytest.mark.parametrize("n_process", [1, 2])
def test_annotated_texts_are_kept_if_the_pipeline_fails(model: str, n_process: int) -> None:
    nlp = spacy.load(model)
    nlp.add_pipe("test_picky")
    nlp.to_disk("picky")
    with pytest.raises(PipelineError) as caught:
        run("picky", "in.jsonl", "out.jsonl", batch_size=4, n_process=n_process)
    assert caught.value.message == "in.jsonl, line 18: not this one"
    state = json.loads(Path("out.jsonl.partial.json").read_bytes())
    assert state["state"]["texts"] == 16


@pytest.mark.parametrize("name", ["out.spacy", "out.parquet", "out.xlsx"])
def test_some_formats_cannot_be_resumed(model: str, name: str) -> None:
    with pytest.raises(OutputError, match="files of this format can't be resumed"):
        run(model, "in.jsonl", name, resume=True)
    interrupt(model, "in.jsonl", name, batches=2, batch_size=4)
    assert os.listdir() == ["in.jsonl"]


def test_stdout_cannot_be_resumed(model: str) -> None:
    with pytest.raises(OutputError, match="stdout can't be resumed"):
        run(model, "in.jsonl", "-", resume=True)
