"""Labels as people write them."""

from data_cases import (
    BITS,
    JSONS,
    LABELS,
    NUMBERED,
    PLAIN,
    SETS,
    SEVERAL,
    SPAM,
    TEXTS,
    Case,
    Records,
    dumped,
    rows,
    table,
)
from data_files import jsonl

from trfcli_pipeline.data.dataset import ReadingOptions

EMOTIONS = ["20", "27,19", "4", "4,27", "19", "20,4"]


def missing(mark: str) -> tuple[bytes, str, None, ReadingOptions, Records]:
    """A file in which a mark takes the place of a label, and what is expected of it."""
    return (
        table(("text", "label"), TEXTS, [*LABELS[:5], mark]),
        f'{{}}, line 7: "label" is "{mark}"',
        None,
        ReadingOptions(skip_unlabeled=True),
        SPAM[:5],
    )


LABEL_FORMS = [
    Case("ints.csv", table(("text", "label"), TEXTS, BITS), NUMBERED, "labels are numbers: 0, 1"),
    Case("ints.jsonl", jsonl(*rows(text=TEXTS, label=map(int, BITS))), NUMBERED, "0, 1"),
    Case("floats.csv", table(("text", "label"), TEXTS, [f"{b}.0" for b in BITS]), NUMBERED, "0, 1"),
    Case(
        "bools.jsonl",
        jsonl(*rows(text=TEXTS, label=[bit == "1" for bit in BITS])),
        [
            (text, ["true" if bit == "1" else "false"])
            for text, bit in zip(TEXTS, BITS, strict=True)
        ],
    ),
    Case(
        "bools.csv",
        table(("text", "label"), TEXTS, ["True" if bit == "1" else "False" for bit in BITS]),
        [
            (text, ["true" if bit == "1" else "false"])
            for text, bit in zip(TEXTS, BITS, strict=True)
        ],
    ),
    Case(
        "scores.csv",
        table(("text", "label"), TEXTS * 4, [f"{n + 0.25}" for n in range(24)]),
        '{}: "label" looks like scores, not labels (24 different numbers from 0.25 to 23.25)',
        options=ReadingOptions(label_column=("label",)),
        then=[(text, [f"{n + 0.25}"]) for n, text in enumerate(TEXTS * 4)],
    ),
    Case("lists.jsonl", jsonl(*rows(text=TEXTS, label=SETS)), SEVERAL),
    Case(
        "nested.jsonl",
        jsonl(*rows(text=TEXTS, labels=[[each] for each in SETS])),
        SEVERAL,
        "lists in lists",
    ),
    Case("json.csv", table(("text", "labels"), TEXTS, JSONS), SEVERAL),
    Case("python.csv", table(("text", "labels"), TEXTS, map(str, SETS)), SEVERAL),
    *(
        Case(
            f"separated{number}.csv",
            table(("text", "label"), TEXTS, map(mark.join, SETS)),
            SEVERAL,
            f'separated by "{mark.strip()}"',
        )
        for number, mark in enumerate((",", ", ", ";", "#", "|"))
    ),
    Case("labels.csv", table(("text", "labels"), TEXTS, map("|".join, SETS)), SEVERAL),
    Case(
        "emotions.tsv",
        table(
            None,
            TEXTS,
            ["20", "27,19", "4", "4,27", "19", "20,4"],
            map(str, range(6)),
            delimiter="\t",
        ),
        [
            (text, found)
            for text, found in zip(
                TEXTS, (["20"], ["19", "27"], ["4"], ["27", "4"], ["19"], ["20", "4"]), strict=True
            )
        ],
        'separated by ","',
    ),
    Case(
        "bar.jsonl",
        jsonl(*rows(text=TEXTS, label=["HUM|person", "LOC"] * 3)),
        [(text, [label]) for text, label in zip(TEXTS, ["HUM|person", "LOC"] * 3, strict=True)],
    ),
    Case(
        "one_hot.csv",
        table(
            ("id", "comment_text", "toxic", "threat", "insult"),
            map(str, range(1, 7)),
            TEXTS,
            *(["01"[name in each] for each in SETS] for name in ("toxic", "threat", "insult")),
        ),
        SEVERAL,
        "the labels are the columns",
    ),
    Case(
        "vector.csv",
        table(
            ("text", "labels"),
            TEXTS,
            [str([int(name in each) for name in ("toxic", "threat", "insult")]) for each in SETS],
        ),
        [
            (text, sorted(str(("toxic", "threat", "insult").index(each)) for each in found))
            for text, found in zip(TEXTS, SETS, strict=True)
        ],
        "3 zeros and ones",
    ),
    Case(
        "cats.csv",
        table(("text", "cats"), TEXTS, [dumped({each: 1}).decode() for each in LABELS]),
        SPAM,
    ),
    Case(
        "cats.jsonl",
        jsonl(*rows(text=TEXTS, cats=[[{"label": each, "value": 1}] for each in LABELS])),
        SPAM,
    ),
    Case(
        "setfit.jsonl",
        jsonl(*rows(text=TEXTS, label=map(int, BITS), label_text=LABELS)),
        SPAM,
        '"label_text"',
    ),
    Case(
        "both.jsonl",
        jsonl(*rows(text=TEXTS, label=LABELS, labels=[[each] for each in LABELS])),
        SPAM,
    ),
    Case(
        "nan.jsonl",
        jsonl({"text": "x", "label": float("nan")}, *rows(text=TEXTS, label=LABELS)),
        '{}, line 1: "label" is NaN',
        options=ReadingOptions(skip_unlabeled=True),
        then=SPAM,
    ),
    Case(
        "null.jsonl",
        jsonl({"text": None, "label": "A"}, *rows(text=TEXTS, label=LABELS)),
        '{}, line 1: "text" is null, not a string',
        options=ReadingOptions(skip_unlabeled=True),
        then=SPAM,
    ),
    Case(
        "empty.csv",
        PLAIN + b"nothing,\n",
        '{}, line 8: "label" is empty',
        options=ReadingOptions(skip_unlabeled=True),
        then=SPAM,
    ),
    Case(
        "long.jsonl",
        jsonl(
            *(
                row
                for text, found in SEVERAL * 3
                for row in rows(text=[text] * 2, label=[*found, *"xy"][:2])
            )
        ),
        [(text, sorted([*found, *"xy"][:2])) for text, found in SEVERAL * 3],
        "a row for each text and label",
    ),
    Case(
        "premise.jsonl",
        jsonl(*rows(premise=TEXTS, hypothesis=LABELS, label=LABELS)),
        [(f"{text} ||| {label}", [label]) for text, label in zip(TEXTS, LABELS, strict=True)],
        '"premise" and "hypothesis"',
    ),
    Case(
        "numpy.csv",
        table(("text", "labels"), TEXTS, [str(each).replace(",", "") for each in SETS]),
        SEVERAL,
    ),
    Case(
        "numpy_bits.csv",
        table(("text", "labels"), TEXTS, ["[1 0]", "[0. 1.]"] * 3),
        [(text, [label]) for text, label in zip(TEXTS, "01" * 3, strict=True)],
        "2 zeros and ones",
    ),
    Case("tuples.csv", table(("text", "labels"), TEXTS, map(str, map(tuple, SETS))), SEVERAL),
    Case("sets.csv", table(("text", "labels"), TEXTS, map(str, map(set, SETS))), SEVERAL),
    Case("dash.csv", *missing("-")),
    Case("dot.csv", *missing(".")),
    Case(
        "plus_and_minus.csv",
        table(("text", "label"), TEXTS, "+-+-+-"),
        [(text, [label]) for text, label in zip(TEXTS, "+-" * 3, strict=True)],
    ),
    Case(
        "na.csv",
        table(("text", "label"), TEXTS, ["A", "NA", "B"] * 2),
        [(text, [label]) for text, label in zip(TEXTS, ["A", "NA", "B"] * 2, strict=True)],
        '"NA", which is read as a label',
    ),
    Case(
        "minus_one.jsonl",
        jsonl(*rows(text=TEXTS, label=[0, 1, 2, 0, 1, -1])),
        '{}, line 6: "label" is -1, which stands for no label',
        options=ReadingOptions(skip_unlabeled=True),
        then=[(text, [label]) for text, label in zip(TEXTS[:5], "01201", strict=True)],
    ),
    Case(
        "polarity.jsonl",
        jsonl(*rows(text=TEXTS, label=[0, 1, -1] * 2)),
        [(text, [label]) for text, label in zip(TEXTS, ["0", "1", "-1"] * 2, strict=True)],
        "labels are numbers: -1, 0, 1",
    ),
    Case(
        "gold.jsonl",
        jsonl(*rows(sentence=TEXTS, gold_label=LABELS, annotator_labels=[["x"]] * 6)),
        SPAM,
        '"gold_label"',
    ),
    Case(
        "crosses.csv",
        table(("text", "toxic", "threat"), TEXTS, ["x", "", "x", "x", "", "x"], ["", "x"] * 3),
        '{}: which column has the labels? Its columns: "text" (Go until jurong point, …), "toxic" '
        '(x), "threat" (x)',
        options=ReadingOptions(label_column=("toxic", "threat")),
        then=[
            (text, found)
            for text, found in zip(
                TEXTS,
                (["toxic"], ["threat"], ["toxic"], ["threat", "toxic"], [], ["threat", "toxic"]),
                strict=True,
            )
        ],
    ),
    Case(
        "true_false.csv",
        table(("text", "toxic", "threat"), TEXTS, ["True", "False"] * 3, ["False", "True"] * 3),
        [(text, [label]) for text, label in zip(TEXTS, ["toxic", "threat"] * 3, strict=True)],
        "the labels are the columns",
    ),
    Case(
        "people.csv",
        table(("text", "label"), TEXTS, ["Smith, John", "Smith, Jane", "Doe, John"] * 2),
        [
            (text, [label])
            for text, label in zip(
                TEXTS, ["Smith, John", "Smith, Jane", "Doe, John"] * 2, strict=True
            )
        ],
    ),
    Case(
        "years.csv",
        table(("text", "year"), TEXTS, ["2019", "2020"] * 3),
        '{}: which column has the labels? Its columns: "text" (Go until jurong point, …), "year" '
        "(2019)",
        options=ReadingOptions(label_column=("year",)),
        then=[(text, [year]) for text, year in zip(TEXTS, ["2019", "2020"] * 3, strict=True)],
    ),
]
