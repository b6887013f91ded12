"""Records of .jsonl files that can't be used."""

from functools import partial

import pytest
from bad_inputs import Case, CheckCase, put

EVALUATE, TRAIN = "evaluate model data.jsonl", "train model data.jsonl"
ANNOTATE, BENCHMARK = "annotate model data.jsonl out.jsonl", "benchmark model data.jsonl"
COMPARE, OPTIMIZE = "compare model model data.jsonl", "optimize model out --calibrate data.jsonl"
DIGITS = "9" * 400
RECORD = '{"text": "a", "label": "GOOD"}\n'


def jsonl(name: str, content: str | bytes, command: str, message: str) -> Case:
    return Case(name, partial(put, "data.jsonl", content), command, f"data.jsonl{message}")


def text(value: str, label: str = '"GOOD"') -> str:
    return f'{RECORD}{{"text": {value}, "label": {label}}}\n'


def cats(value: str) -> str:
    return f'{{"text": "a", "cats": {{"GOOD": {value}}}}}\n'


CASES = [
    jsonl("empty", "", EVALUATE, ": no records in the file"),
    jsonl("not JSON", "hello\n", TRAIN, ", line 1: not valid JSON (…"),
    jsonl(
        "not UTF-8",
        b'{"text": "\x81"}\n',
        ANNOTATE,
        ", line 1: not valid UTF-8 (0x81 at byte 11)",
    ),
    jsonl(
        "UTF-16",
        '{"text": "a"}\n'.encode("utf-16")[:-1],
        BENCHMARK,
        ": not valid utf-16 (truncated data)",
    ),
    jsonl(
        "nested deeply",
        "[" * 100_000 + "\n",
        COMPARE,
        ", line 1: not valid JSON (nested too deeply)",
    ),
    jsonl(
        "number of 5,000 digits",
        f"{RECORD}{'9' * 5000}\n",
        OPTIMIZE,
        ", line 2: not valid JSON (…",
    ),
    jsonl(
        "number as record",
        "7\n",
        EVALUATE,
        ", line 1: the record is a number, not an object or pair",
    ),
    jsonl(
        "null as record",
        "null\n",
        ANNOTATE,
        ", line 1: the record is null, not an object or pair",
    ),
    jsonl(
        "no text",
        '{"txt": "a"}\n',
        TRAIN,
        ', line 1: the record has no "text" (its keys: "txt")',
    ),
    jsonl(
        "number as text",
        text("7"),
        EVALUATE,
        ', line 2: "text" is a number, not a string',
    ),
    jsonl("null as text", text("null"), ANNOTATE, ', line 2: "text" is null, not a string'),
    jsonl("NaN as text", text("NaN"), EVALUATE, ', line 2: "text" is a number, not a string'),
    jsonl(
        "no label",
        '{"text": "a"}\n',
        EVALUATE,
        ", line 1: the record has no labels (it has no other keys)",
    ),
    jsonl(
        "number as label",
        text('"b"', "1"),
        EVALUATE,
        ": 1 label is not in the model: 1 (line 2)",
    ),
    jsonl(
        "infinite label",
        text('"b"', "-Infinity"),
        EVALUATE,
        ', line 2: -inf in "label" isn\'t a label',
    ),
    jsonl("null as label", text('"b"', "null"), TRAIN, ', line 2: "label" is null'),
    jsonl(
        "null in a list",
        text('"b"', '["GOOD", null]'),
        TRAIN,
        ', line 2: null in "label" isn\'t a label',
    ),
    jsonl(
        "object as label",
        text('"b"', '{"GOOD": "yes"}'),
        EVALUATE,
        ', line 2: the value of "GOOD" in "label" is a string, not a number from 0 to 1',
    ),
    jsonl(
        "empty label",
        text('"b"', '" "'),
        TRAIN,
        ', line 2: "label" is empty',
    ),
    jsonl(
        "empty label in a list",
        text('"b"', '["GOOD", " "]'),
        TRAIN,
        ', line 2: a label in "label" has an empty name',
    ),
    jsonl(
        "label with an escape",
        text('"b"', '"\\u001b[31m\\u202e"'),
        EVALUATE,
        ": 1 label is not in the model: \\x1b[31m\\u202e (line 2)",
    ),
    jsonl(
        "score NaN",
        cats("NaN"),
        EVALUATE,
        ', line 1: the value of "GOOD" in "cats" is nan, not a number from 0 to 1',
    ),
    jsonl(
        "score infinite",
        cats("1e999"),
        TRAIN,
        ', line 1: the value of "GOOD" in "cats" is inf, not a number from 0 to 1',
    ),
    jsonl(
        "score of 400 digits",
        cats(DIGITS),
        EVALUATE,
        ', line 1: the value of "GOOD" in "cats" is 99999…',
    ),
    jsonl(
        "score is text",
        cats('"1"'),
        EVALUATE,
        ', line 1: the value of "GOOD" in "cats" is a string, not a number from 0 to 1',
    ),
    jsonl(
        "text too long",
        f'{{"text": "{"a" * 1_000_001}"}}\n',
        ANNOTATE,
        ", line 1: the text has 1,000,001 characters, but …",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_record_that_cannot_be_used_is_one_line(case: Case, check_case: CheckCase) -> None:
    check_case(case)
