from pathlib import Path
from typing import Any

import pytest
from annotating import RECORDS, run, write

from trfcli_pipeline.data.dataset import DataSet, ReadingOptions
from trfcli_pipeline.errors import DataError, OutputError
from trfcli_pipeline.tasks.annotate_folder import FileStarted, annotate_folder


@pytest.fixture(autouse=True)
def shards(workspace: Path) -> None:
    for name in ("b.jsonl", "year/a.json", "year/c.txt"):
        Path("shards", name).parent.mkdir(parents=True, exist_ok=True)
        write(f"shards/{name}", RECORDS[:3] if name != "year/c.txt" else ["I love it", "I hate it"])
    # Not data, or not meant for readers.
    for name in ("README.md", "_SUCCESS", ".hidden.jsonl"):
        Path("shards", name).write_text("nothing")


def annotate(model: str, **options: Any) -> list[FileStarted]:
    events = annotate_folder(model, "shards", Path("out"), **options)
    return [event for event in events if isinstance(event, FileStarted)]


def test_each_file_has_the_output_that_it_has_alone(model: str) -> None:
    started = annotate(model)
    names = ["b.jsonl", "year/a.json.jsonl", "year/c.txt.jsonl"]
    assert [str(event.output) for event in started] == [f"out/{name}" for name in names]
    assert [(event.number, event.total) for event in started] == [(1, 3), (2, 3), (3, 3)]
    assert sorted(path for path in Path("out").rglob("*") if path.is_file()) == [
        Path("out", name) for name in names
    ]
    for event in started:
        run(model, str(event.source), "alone.jsonl", force=True)
        assert event.output.read_bytes() == Path("alone.jsonl").read_bytes()


def test_resuming_leaves_out_the_files_that_are_done(model: str) -> None:
    events = annotate_folder(model, "shards", Path("out"), batch_size=2)
    for event in events:
        if isinstance(event, FileStarted) and event.number == 2:
            # Stop after the first batch.
            next(events)
            next(events)
            events.close()
    with pytest.raises(OutputError, match="already exists") as caught:
        annotate(model)
    assert "--resume" in str(caught.value.hint)
    assert [event.number for event in annotate(model, resume=True, batch_size=2)] == [2, 3]
    assert annotate(model, resume=True) == []
    assert len(annotate(model, force=True)) == 3


def test_folders_that_cant_be_used_are_errors(model: str) -> None:
    with pytest.raises(OutputError, match="is inside the input"):
        list(annotate_folder(model, "shards", Path("shards/out")))
    Path("empty").mkdir()
    with pytest.raises(DataError, match="empty: has no data files"):
        list(annotate_folder(model, "empty", Path("out")))


def test_reading_options_apply_to_each_file(model: str) -> None:
    Path("columns").mkdir()
    write("columns/a.jsonl", [{"title": "I hate it", "body": "I love it"}])
    options = ReadingOptions(text_column=("body",))
    list(annotate_folder(model, DataSet(("columns",), options), Path("out")))
    run(model, DataSet(("columns/a.jsonl",), options), "alone.jsonl")
    assert Path("out/a.jsonl").read_bytes() == Path("alone.jsonl").read_bytes()

    options = ReadingOptions(text_column=("nosuch",))
    with pytest.raises(DataError, match="nosuch"):
        list(annotate_folder(model, DataSet(("columns",), options), Path("other/sub")))
    assert not Path("other").exists()


def test_directories_with_other_files_stay(model: str) -> None:
    Path("columns/sub").mkdir(parents=True)
    write("columns/sub/b.jsonl", [{"id": 1}])
    Path("other").mkdir()
    Path("other/notes.txt").write_text("mine")
    with pytest.raises(DataError, match="sub"):
        list(annotate_folder(model, "columns", Path("other")))
    assert [str(path) for path in Path("other").rglob("*")] == ["other/notes.txt"]
