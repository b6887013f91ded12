"""Exports of annotation tools."""

from data_cases import (
    BITS,
    LABELS,
    NUMBERED,
    SETS,
    SEVERAL,
    SPAM,
    TEXTS,
    Case,
    dumped,
    parquet,
    rows,
)
from data_files import jsonl

CHOICE = [{"result": [{"type": "choices", "value": {"choices": [each]}}]} for each in LABELS]
EXPORTS = [
    Case(
        "prodigy.jsonl",
        jsonl(*rows(text=TEXTS, label=LABELS, answer=["accept", "reject", "ignore"] * 2)),
        [
            (text, [label] if number % 3 == 0 else [])
            for number, (text, label) in enumerate(zip(TEXTS, LABELS, strict=True))
            if number % 3 < 2
        ],
        "that an annotator ignored",
    ),
    Case(
        "choice.jsonl",
        jsonl(
            *rows(
                text=TEXTS,
                options=[[{"id": "HAM"}]] * 6,
                accept=[[each] for each in LABELS],
                answer=["accept"] * 6,
            )
        ),
        SPAM,
    ),
    Case(
        "doccano.jsonl",
        jsonl(*rows(id=range(6), text=TEXTS, label=[[each] for each in LABELS], Comments=[[]] * 6)),
        SPAM,
    ),
    Case(
        "old_doccano.jsonl",
        jsonl(*rows(text=TEXTS, annotations=[[{"label": int(bit)}] for bit in BITS])),
        NUMBERED,
        "0, 1",
    ),
    Case(
        "data.jsonl",
        jsonl(*rows(id=range(6), data=TEXTS, label=[[each] for each in LABELS])),
        SPAM,
        '"data"',
    ),
    Case(
        "studio.json",
        dumped(
            [
                {"id": 1, "data": {"text": text}, "annotations": [each]}
                for text, each in zip(TEXTS, CHOICE, strict=True)
            ]
        ),
        SPAM,
    ),
    Case(
        "studio_min.json",
        dumped(rows(text=TEXTS, id=range(6), sentiment=LABELS, lead_time=[1.2] * 6)),
        SPAM,
        '"sentiment"',
    ),
    Case(
        "studio_choices.json",
        dumped(
            rows(
                text=TEXTS,
                sentiment=[each[0] if len(each) == 1 else {"choices": each} for each in SETS],
            )
        ),
        SEVERAL,
        '"sentiment"',
    ),
    Case(
        "argilla.jsonl",
        jsonl(
            *rows(
                text=TEXTS,
                inputs=[{"text": "x"}] * 6,
                prediction=[None] * 6,
                annotation=LABELS,
                status=["Validated"] * 6,
            )
        ),
        SPAM,
    ),
    Case(
        "argilla2.json",
        dumped(
            [
                {"fields": {"text": text}, "responses": {"label": [{"value": label}]}}
                for text, label in zip(TEXTS, LABELS, strict=True)
            ]
        ),
        SPAM,
    ),
    Case(
        "argilla3.jsonl",
        jsonl(
            *(
                {"text": text, "label.responses": [label], "label.responses.status": ["submitted"]}
                for text, label in zip(TEXTS, LABELS, strict=True)
            )
        ),
        SPAM,
    ),
    Case(
        "fasttext.txt",
        "".join(
            f"__label__{label} {text}\n" for text, label in zip(TEXTS, LABELS, strict=True)
        ).encode(),
        SPAM,
        "as in fastText",
    ),
    Case(
        "flair.csv",
        "".join(
            f"__label__{label}\t{text}\n" for text, label in zip(TEXTS, LABELS, strict=True)
        ).encode(),
        SPAM,
        "as in fastText",
    ),
    Case(
        "spans.jsonl",
        jsonl(*rows(text=TEXTS, label=[[[0, 4, "PER"]]] * 6)),
        '{}: "label" has labels of words or spans, not of texts',
    ),
    Case(
        "numbered_choice.jsonl",
        jsonl(
            *rows(
                text=TEXTS,
                options=[[{"id": 0, "text": "HAM"}, {"id": 1, "text": "SPAM"}]] * 6,
                accept=[[int(bit)] for bit in BITS],
                answer=["accept"] * 6,
            )
        ),
        SPAM,
    ),
    Case(
        "studio_spans.json",
        dumped(
            [
                {
                    "data": {"text": text},
                    "annotations": [{"result": [{"value": {"labels": ["A"]}}]}],
                }
                for text in TEXTS
            ]
        ),
        "{}, record 1: the annotation has no choices for the text",
    ),
    Case(
        "studio_two.json",
        dumped(
            [
                {"data": {"text": text}, "annotations": [each, CHOICE[2]]}
                for text, each in zip(TEXTS, CHOICE, strict=True)
            ]
        ),
        SPAM,
        "4 records on which annotators disagree",
    ),
    Case(
        "discarded.jsonl",
        jsonl(
            *(
                {"text": text, "label.responses": [label], "label.responses.status": [status]}
                for text, label, status in zip(
                    TEXTS, LABELS, ["submitted"] * 5 + ["discarded"], strict=True
                )
            )
        ),
        SPAM[:5],
        "line 6: left out a record that an annotator discarded",
    ),
    Case(
        "feedback.parquet",
        parquet(text=TEXTS, label=[[{"user_id": "u", "value": each}] for each in LABELS]),
        SPAM,
    ),
    Case(
        "lighttag.json",
        dumped(
            {
                "examples": [
                    {"content": text, "classifications": [{"classname": label}], "annotations": []}
                    for text, label in zip(TEXTS, LABELS, strict=True)
                ]
            }
        ),
        SPAM,
        '"examples"',
    ),
    Case(
        "chat.jsonl",
        jsonl(
            *(
                {
                    "messages": [
                        {"role": "user", "content": text},
                        {"role": "assistant", "content": label},
                    ]
                }
                for text, label in zip(TEXTS, LABELS, strict=True)
            )
        ),
        SPAM,
    ),
    Case(
        "spacy2.json",
        dumped(
            [
                {"id": 1, "paragraphs": [{"raw": text, "cats": [{"label": label, "value": 1}]}]}
                for text, label in zip(TEXTS, LABELS, strict=True)
            ]
        ),
        SPAM,
    ),
    Case(
        "at_the_end.txt",
        "".join(
            f"{text} __label__{label}\n" for text, label in zip(TEXTS, LABELS, strict=True)
        ).encode(),
        SPAM,
        "as in fastText",
    ),
    Case(
        "several.txt",
        "".join(
            " ".join([*(f"__label__{each}," for each in found), f"{text}\n"])
            for text, found in zip(TEXTS, SETS, strict=True)
        ).encode(),
        SEVERAL,
        "as in fastText",
    ),
]
