"""The columns of the output: those of the input, and the predictions."""

import csv
import json
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
import spacy
from annotating import interrupt, read, run, stdin, write
from spacy.tokens import DocBin
from spacy.training import Example

from trfcli_pipeline.data.reading import read_records
from trfcli_pipeline.errors import DataError, OutputError
from trfcli_pipeline.tasks.annotate import AnnotationFinished

N_ROWS = 3_000
N_COLUMNS = 12


def write_table(name: str, *rows: list[str]) -> None:
    with Path(name).open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)


def read_table(name: str) -> list[list[str]]:
    """Read a table without our readers."""
    if name.endswith(".parquet"):
        table = pq.read_table(name)
        rows = [list(row.values()) for row in table.to_pylist()]
        return [table.column_names, *([str(cell or "") for cell in row] for row in rows)]
    if name.endswith(".xlsx"):
        sheet: Any = openpyxl.load_workbook(name).active
        return [[str(cell or "") for cell in row] for row in sheet.iter_rows(values_only=True)]
    with Path(name).open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


def finish(*args: str, **options: Any) -> AnnotationFinished:
    *_, finished = run(*args, **options)
    assert isinstance(finished, AnnotationFinished)
    return finished


def train_model(path: Path, labels: list[str], *, exclusive: bool, entities: bool = False) -> str:
    """Train a pipeline that loads and predicts in no time, with scores that differ."""
    nlp = spacy.blank("xx")
    bag_of_words = {
        "@architectures": "spacy.TextCatBOW.v3",
        "exclusive_classes": exclusive,
        "ngram_size": 1,
        "no_output_layer": False,
        "length": 64,
    }
    name = "textcat" if exclusive else "textcat_multilabel"
    nlp.add_pipe(name, config={"model": bag_of_words})
    examples = [
        Example.from_dict(
            nlp.make_doc(f"Number {number} film"),
            {"cats": {label: float(number % len(labels) == i) for i, label in enumerate(labels)}},
        )
        for number in range(10)
    ]
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(5):
        nlp.update(examples, sgd=optimizer)
    if entities:
        ruler: Any = nlp.add_pipe("entity_ruler")
        ruler.add_patterns([{"label": "WORK", "pattern": [{"LOWER": "film"}]}])
    nlp.to_disk(path)
    return str(path)


@pytest.fixture(scope="module")
def exclusive(tmp_path_factory: pytest.TempPathFactory) -> str:
    return train_model(tmp_path_factory.mktemp("models"), ["BAD", "GOOD"], exclusive=True)


@pytest.fixture(scope="module")
def multilabel(tmp_path_factory: pytest.TempPathFactory) -> str:
    return train_model(tmp_path_factory.mktemp("models"), ["A|B", "C"], exclusive=False)


@pytest.fixture(scope="module")
def with_entities(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("models")
    return train_model(path, ["X", "Y", "Z"], exclusive=True, entities=True)


def odd_table() -> list[list[str]]:
    """A table with what tables have: quotes, line ends, leading zeros, empty and missing cells."""
    header = ["id", "text", "a,b", 'a "quoted" name', "empty", "zeros"]
    header += [f"column {number}" for number in range(len(header), N_COLUMNS)]
    rows = [["0", "a film"]]
    for number in range(1, N_ROWS):
        odd = [
            f'"{number}"',
            f"{number}\nnext\r\nlast",
            "",
            f"00{number}",
            f" {number} ",
            "a,b;c\td|e",
        ]
        rest = [*odd, "NaN", "1e5", "ü€😀", "-1"]
        rows.append([str(number), f"film {number % 50}", *rest])
    return [header, *rows]


def test_every_cell_survives_from_csv_to_parquet_and_back(exclusive: str) -> None:
    header, short, *rows = odd_table()
    write_table("in.csv", header, short, *rows)
    run(exclusive, "in.csv", "one.parquet", batch_size=1000)
    assert finish(exclusive, "one.parquet", "two.csv", batch_size=1000).replaced == [
        *("label", "score")
    ]
    padded = [header, short + [""] * (N_COLUMNS - len(short)), *rows]
    for name in ("one.parquet", "two.csv"):
        written = read_table(name)
        assert written[0][N_COLUMNS:] == ["label", "score"]
        assert [row[:N_COLUMNS] for row in written] == padded


def test_table_has_the_label_and_its_score(exclusive: str) -> None:
    write_table("in.csv", ["text", "id"], ["a", "007"], ["I love this film", ""])
    for name in ("out.jsonl", "out.csv", "out.parquet", "out.xlsx"):
        run(exclusive, "in.csv", name)
    run(exclusive, "in.csv", "scores.csv", scores=True)
    header, *rows = read_table("scores.csv")
    assert header == ["text", "id", "label", "score", "score_BAD", "score_GOOD"]
    for row, predicted in zip(rows, read("out.jsonl"), strict=True):
        [label] = predicted["labels"]
        cats = predicted["cats"]
        assert row[2:] == [label, *map(str, [cats[label], cats["BAD"], cats["GOOD"]])]
    for name in ("out.csv", "out.parquet", "out.xlsx"):
        assert read_table(name) == [row[:4] for row in [header, *rows]]


def test_labels_with_a_separator_are_json(multilabel: str) -> None:
    run(multilabel, "in.jsonl", "out.csv")
    run(multilabel, "in.jsonl", "out.jsonl")
    header, *rows = read_table("out.csv")
    assert header == ["text", "id", "labels", "score"]
    predicted = read("out.jsonl")
    assert ["A|B"] in [each["labels"] for each in predicted]
    assert [json.loads(row[2]) for row in rows] == [each["labels"] for each in predicted]
    records = read_records("out.csv", labeled=True)
    assert [record.labels for record in records] == [
        frozenset(each["labels"]) for each in predicted
    ]
    best = [each["cats"][each["labels"][0]] if each["labels"] else "" for each in predicted]
    assert [row[3] for row in rows] == [str(score) for score in best]


def test_columns_are_those_of_all_records(exclusive: str) -> None:
    write("in.jsonl", [{"text": "a"}, {"text": "b", "n": 1, "x": 1}, {"text": "c", "x": "y"}])
    assert finish(exclusive, "in.jsonl", "out.parquet").left_out == []
    table = pq.read_table("out.parquet")
    assert table.column_names == ["text", "n", "x", "label", "score"]
    assert [str(each) for each in table.schema.types] == [
        *("string", "int64", "string", "string", "double")
    ]
    assert table.column("n").to_pylist() == [None, 1, None]
    assert table.column("x").to_pylist() == [None, "1", "y"]


def test_on_stdin_the_first_batch_decides(exclusive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"text": "a", "n": 1}, {"text": "b"}, {"text": "c", "mood": "sad", "label": "MINE"}]
    stdin(monkeypatch, rows)
    assert finish(exclusive, "-", "out.csv", batch_size=2).left_out == ["input_label", "mood"]
    assert read_table("out.csv")[0] == ["text", "n", "label", "score"]
    stdin(monkeypatch, [{"text": "a", "n": 1}, {"text": "b", "n": "x"}])
    run(exclusive, "-", "out.parquet", batch_size=1)
    assert pq.read_table("out.parquet").column("n").to_pylist() == ["1", "x"]
    stdin(monkeypatch, [{"text": "a"}, {"text": "b", "labels": ["MINE"]}])
    run(exclusive, "-", "out.jsonl", batch_size=1)
    assert [list(row) for row in read("out.jsonl")] == [
        ["text", "cats", "labels"],
        ["text", "input_labels", "cats", "labels"],
    ]


def test_own_labels_keep_their_names(exclusive: str) -> None:
    rows: list[Any] = [
        {"text": "a", "label": "CORRECTED", "input_label": "OLD", "ents": "none"},
        ["b", {"cats": {"SPAM": 1.0}}],
    ]
    write("in.jsonl", rows)
    finished = finish(exclusive, "in.jsonl", "out.jsonl")
    assert finished.renamed == {"cats": "cats_predicted", "labels": "labels_predicted"}
    one, two = read("out.jsonl")
    predicted = ["cats_predicted", "labels_predicted"]
    assert list(one) == ["text", "label", "input_label", "ents", *predicted]
    assert (one["label"], one["input_label"], one["ents"]) == ("CORRECTED", "OLD", "none")
    assert set(two) == {"text", "cats", *predicted}
    assert two["cats"] == {"SPAM": 1.0}
    assert finish(exclusive, "out.jsonl", "again.jsonl").replaced == predicted
    assert read("again.jsonl") == read("out.jsonl")


def test_gold_labels_and_other_scores_stay_in_a_table(exclusive: str) -> None:
    # Ratings and rounded numbers aren't scores that a run has written.
    write_table("in.csv", ["text", "label", "score"], ["a", "HAM", "0.75"], ["b", "SPAM", "0.5"])
    finished = finish(exclusive, "in.csv", "out.csv")
    assert finished.renamed == {"label": "label_predicted", "score": "score_predicted"}
    assert finished.replaced == []
    header, *rows = read_table("out.csv")
    assert header == ["text", "label", "score", "label_predicted", "score_predicted"]
    assert [row[:3] for row in rows] == [["a", "HAM", "0.75"], ["b", "SPAM", "0.5"]]
    assert finish(exclusive, "out.csv", "again.csv").replaced == header[3:]
    assert read_table("again.csv") == read_table("out.csv")


@pytest.mark.parametrize(("name", "numbers"), [("csv", [6, 4]), ("jsonl", [3, 2])])
def test_predictions_of_another_model_are_replaced_as_a_whole(
    with_entities: str, multilabel: str, name: str, numbers: list[int]
) -> None:
    run(with_entities, "in.jsonl", f"one.{name}", scores=True)
    two = finish(multilabel, f"one.{name}", f"two.{name}", scores=True)
    three = finish(with_entities, f"two.{name}", f"three.{name}", scores=True)
    assert [len(two.replaced), len(three.replaced)] == numbers
    assert Path(f"three.{name}").read_bytes() == Path(f"one.{name}").read_bytes()


def test_corrected_label_beside_all_scores_is_kept(exclusive: str) -> None:
    run(exclusive, "in.jsonl", "one.csv", scores=True)
    header, first, *rows = read_table("one.csv")
    first[2] = "BAD" if first[2] == "GOOD" else "GOOD"
    write_table("one.csv", header, first, *rows)
    assert finish(exclusive, "one.csv", "two.csv").replaced == []
    assert [row[: len(header)] for row in read_table("two.csv")] == [header, first, *rows]


def test_docs_keep_other_columns_as_user_data(exclusive: str) -> None:
    rows = [{"text": "a", "id": 7, "label": "MINE", "big": 10**30}, {"text": "b", "x": [None, 0.5]}]
    write("in.jsonl", rows)
    run(exclusive, "in.jsonl", "out.spacy")
    one, two = DocBin().from_disk("out.spacy").get_docs(spacy.blank("xx").vocab)
    assert one.user_data == {"id": 7, "label": "MINE", "big": str(10**30)}
    assert two.user_data == {"x": (None, 0.5)}
    assert set(one.cats) == {"BAD", "GOOD"}


def test_resumed_run_keeps_columns_and_scores(exclusive: str) -> None:
    write("in.jsonl", [{"text": "a", "label": "MINE"}, {"text": "b"}, {"text": "c", "late": 1}])
    interrupt(exclusive, "in.jsonl", "out.csv", batches=1, batch_size=1, scores=True)
    with pytest.raises(OutputError, match="written with --scores") as caught:
        run(exclusive, "in.jsonl", "out.csv", batch_size=1, resume=True)
    assert caught.value.hint == "Use that option again"
    finished = finish(exclusive, "in.jsonl", "out.csv", batch_size=1, resume=True, scores=True)
    assert finished.renamed == {"label": "label_predicted"}
    header, *rows = read_table("out.csv")
    assert header[:5] == ["text", "label", "late", "label_predicted", "score"]
    assert [row[2] for row in rows] == ["", "", "1"]


def test_row_that_a_sheet_cannot_hold_is_refused_first(exclusive: str) -> None:
    write("in.jsonl", [{"text": "a"}, {"text": "b", "page": "x" * 40_000}])
    with pytest.raises(DataError) as caught:
        run(exclusive, "in.jsonl", "out.xlsx")
    assert caught.value.message == (
        'in.jsonl, line 2: "page" has 40,000 characters, '
        "but a cell of an .xlsx file holds at most 32,767"
    )
    finished = finish(exclusive, "in.jsonl", "out.xlsx", on_error="skip")
    assert (finished.texts, finished.skipped) == (1, 1)
    assert [row[0] for row in read_table("out.xlsx")] == ["text", "a"]
