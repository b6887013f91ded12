"""Exports of annotation tools."""

from data_cases import BITS, LABELS, NUMBERED, SETS, SEVERAL, SPAM, TEXTS, Case, dumped, rows
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
]
