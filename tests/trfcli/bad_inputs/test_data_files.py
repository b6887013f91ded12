"""Data files that can't be used."""

import gzip
import io
import json
import re
import zipfile
from functools import partial

import pytest
from bad_inputs import Build, Case, CheckCase, fifo, link, nothing, put, steps
from data_files import as_parquet, as_spacy, as_xlsx

EVALUATE, TRAIN = "evaluate model data{}", "train model data{}"
ANNOTATE, BENCHMARK = "annotate model data{} out.jsonl", "benchmark model data{} --rounds 1"
COMPARE = "compare model model data{}"
RECORD = '{"text": "a", "label": "GOOD"}\n'


def data(suffix: str, content: str | bytes) -> Build:
    return partial(put, f"data{suffix}", content)


def file(name: str, suffix: str, content: str | bytes, command: str, message: str) -> Case:
    return Case(name, data(suffix, content), command.format(suffix), message)


def without_sheets(workbook: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbook)) as old, zipfile.ZipFile(stream, "w") as new:
        for name in old.namelist():
            new.writestr(name, re.sub(rb"<sheet .*?/>", b"", old.read(name)))
    return stream.getvalue()


CASES = [
    Case("no such file", nothing, "evaluate model tran.jsonl", "tran.jsonl: no such file"),
    Case(
        "directory of a model",
        nothing,
        "train model encoder",
        "encoder: the directory of a model, not of data",
    ),
    Case(
        "directory without data",
        partial(put, "folder/notes.md", "a\n"),
        "train model folder",
        "folder: a directory without data files",
    ),
    Case(
        "directory with several data sets",
        steps(partial(put, "sets/train.csv", ""), partial(put, "sets/test.csv", "")),
        "train model sets",
        "sets: several data files: test.csv, train.csv",
    ),
    Case("pattern", nothing, "train model *.csv", "*.csv: no file matches"),
    file("unknown suffix", ".docs", "a", ANNOTATE, 'data.docs: unknown suffix ".docs"'),
    file("not Excel", ".xlsx", "?", EVALUATE, "data.xlsx: not an .xlsx file, or damaged"),
    file(
        "Excel cut off",
        ".xlsx",
        as_xlsx([("text", "label"), ("a", "GOOD")])[:2000],
        TRAIN,
        "data.xlsx: not an .xlsx file, or damaged",
    ),
    file(
        "Excel without sheets",
        ".xlsx",
        without_sheets(as_xlsx([("text", "label")])),
        EVALUATE,
        "data.xlsx: no sheet in it",
    ),
    file(
        "no such sheet",
        ".xlsx",
        as_xlsx([("text", "label"), ("a", "GOOD")]),
        "evaluate model data{}#Test",
        'data.xlsx: no sheet is called "Test"',
    ),
    Case(
        "named pipe",
        partial(fifo, "data.jsonl"),
        ANNOTATE.format(".jsonl"),
        "data.jsonl: a named pipe, not a file",
    ),
    Case(
        "named pipe, trained on",
        partial(fifo, "data.csv"),
        TRAIN.format(".csv"),
        "data.csv: a named pipe, not a file",
    ),
    Case(
        "named pipe, compared on",
        partial(fifo, "data.jsonl.gz"),
        COMPARE.format(".jsonl.gz"),
        "data.jsonl.gz: a named pipe, not a file",
    ),
    Case(
        "link to itself",
        partial(link, "data.jsonl", "data.jsonl"),
        EVALUATE.format(".jsonl"),
        "data.jsonl: can't be read (Too many levels of symbolic links)",
    ),
    Case(
        "device",
        partial(link, "data.jsonl", "/dev/null"),
        BENCHMARK.format(".jsonl"),
        "data.jsonl: a device, not a file",
    ),
    file(
        "list not closed", ".json", "[" + RECORD, EVALUATE, "data.json, line 2: not valid JSON (…"
    ),
    file(
        "list with a comma too many",
        ".json",
        f"[{RECORD},]",
        TRAIN,
        "data.json, line 2: not valid JSON (…",
    ),
    file(
        "list of numbers",
        ".json",
        "[1, 2]",
        ANNOTATE,
        "data.json, record 1: the record is a number, not an object or pair",
    ),
    file(
        "list and more", ".json", f"[{RECORD}] x", EVALUATE, "data.json, line 2: not valid JSON (…"
    ),
    file(
        "table without text",
        ".csv",
        "txt,label\na,GOOD\n",
        EVALUATE,
        'data.csv: which column has the text? Its columns: "txt" (a), "label" (GOOD)',
    ),
    file(
        "table with two columns of labels",
        ".csv",
        "text,topic,sentiment\na,x,GOOD\nb,y,BAD\n" * 3,
        TRAIN,
        "data.csv: which column has the labels? Its columns: …",
    ),
    file(
        "no such column",
        ".csv",
        "text,label\na,GOOD\n",
        "evaluate model data{} --label-column lable",
        'data.csv: has no column "lable" (--label-column)',
    ),
    file(
        "scores as labels",
        ".csv",
        "text,label\n" + "".join(f"a b,{number}.5\n" for number in range(20)),
        TRAIN,
        'data.csv: "label" looks like scores, not labels (20 different numbers from 0.5 to 19.5)',
    ),
    file(
        "table with an open quote",
        ".csv",
        'text,label\n"a,GOOD\n',
        "train model data{} --quoting minimal",
        "data.csv, line 2: the quoted field that starts here is never closed",
    ),
    file(
        "table with a field too many",
        ".csv",
        "text,label\na,b,c\n",
        EVALUATE,
        "data.csv, line 2: 3 fields, but the header names 2 columns",
    ),
    file(
        "table with an empty header",
        ".tsv",
        "\t\n",
        EVALUATE,
        "data.tsv: no records in the file",
    ),
    file(
        "table not UTF-8",
        ".tsv",
        b"text\n\x81\n",
        ANNOTATE,
        "data.tsv, line 2: not valid UTF-8 (0x81)",
    ),
    file(
        "table in another encoding",
        ".csv",
        b"text\n\xff\n",
        "annotate model data{} out.jsonl --encoding ascii",
        "data.csv: not valid ascii (ordinal not in range(128))",
    ),
    file(
        "UTF-16 cut off",
        ".csv",
        "text\na\n".encode("utf-16")[:-1],
        BENCHMARK,
        "data.csv: not valid utf-16 (truncated data)",
    ),
    file(
        "table with zeros",
        ".csv",
        b"\0\0\0\n",
        ANNOTATE,
        'data.csv: which column has the text? Its columns: "column_1" (…',
    ),
    file("empty text file", ".txt", "", ANNOTATE, "data.txt: no records in the file"),
    file(
        "labels from a text file",
        ".txt",
        "a\n",
        TRAIN,
        "data.txt: one text per line, but labels are needed",
    ),
    file(
        "not Parquet", ".parquet", "hello", EVALUATE, "data.parquet: not a Parquet file, or damaged"
    ),
    file(
        "Parquet cut off",
        ".parquet",
        as_parquet([("a", {"GOOD": 1.0})])[:100],
        TRAIN,
        "data.parquet: not a Parquet file, or damaged",
    ),
    file(
        "empty Parquet",
        ".parquet",
        as_parquet([]),
        ANNOTATE,
        "data.parquet: no records in the file",
    ),
    file(
        "not a DocBin", ".spacy", "hello", EVALUATE, "data.spacy: not a spaCy 3 DocBin, or damaged"
    ),
    file(
        "DocBin cut off",
        ".spacy",
        as_spacy([("a", {"GOOD": 1.0})])[:30],
        TRAIN,
        "data.spacy: not a spaCy 3 DocBin, or damaged",
    ),
    file(
        "not gzip",
        ".jsonl.gz",
        "hello",
        EVALUATE,
        "data.jsonl.gz, line 1: not valid JSON (…",
    ),
    file(
        "gzip cut off",
        ".jsonl.gz",
        gzip.compress(RECORD.encode())[:-12],
        ANNOTATE,
        "data.jsonl.gz: not a compressed file, or damaged (…",
    ),
    file(
        "gzip damaged",
        ".csv.gz",
        gzip.compress(b"text\na\n")[:-8] + bytes(8),
        ANNOTATE,
        "data.csv.gz: not a compressed file, or damaged (…",
    ),
    file(
        "unknown label",
        ".jsonl",
        json.dumps({"text": "a", "label": "UGLY"}),
        EVALUATE,
        "data.jsonl: 1 label is not in the model: UGLY (line 1)",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_data_that_cannot_be_used_is_one_line(case: Case, check_case: CheckCase) -> None:
    check_case(case)
