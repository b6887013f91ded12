"""JSON, archives and directories as people have them."""

import bz2
import gzip
import lzma

import zstandard
from data_cases import (
    BY_CLASS,
    LABELS,
    LINES,
    PLAIN,
    SPAM,
    TEXTS,
    Case,
    class_directories,
    dumped,
    rows,
    zipped,
)

SHAPES = [
    Case("lines.ndjson", LINES, SPAM),
    Case("lines.data", LINES, SPAM),
    Case("lines", LINES, SPAM),
    Case("array.jsonl", dumped(rows(text=TEXTS, label=LABELS)), SPAM),
    Case(
        "indented.jsonl",
        b"\n".join(dumped(each, indent=2) for each in rows(text=TEXTS, label=LABELS)),
        SPAM,
    ),
    Case("pairs.json", dumped([*zip(TEXTS, LABELS, strict=True)]), SPAM, "column_1"),
    Case(
        "split.json", dumped({"version": 3, "data": rows(text=TEXTS, label=LABELS)}), SPAM, '"data"'
    ),
    Case(
        "split_indented.json",
        dumped({"data": rows(text=TEXTS, label=LABELS)}, indent=1),
        SPAM,
        '"data"',
    ),
    Case(
        "clinc.json",
        dumped({"train": [*zip(TEXTS, LABELS, strict=True)], "test": []}),
        SPAM,
        '"train"',
    ),
    Case(
        "columns.json",
        dumped(
            {
                name: {str(n): value for n, value in enumerate(values)}
                for name, values in (("text", TEXTS), ("label", LABELS))
            }
        ),
        SPAM,
        "by column",
    ),
    Case("lists.json", dumped({"text": TEXTS, "label": LABELS}), SPAM, "by column"),
    Case(
        "rows.json",
        dumped({f"id{n}": row for n, row in enumerate(rows(text=TEXTS, label=LABELS))}),
        SPAM,
        "by column",
    ),
    Case(
        "viewer.json",
        dumped(
            {
                "rows": [
                    {"row_idx": n, "row": row}
                    for n, row in enumerate(rows(text=TEXTS, label=LABELS))
                ]
            }
        ),
        SPAM,
        '"rows"',
    ),
    Case("utf16.jsonl", LINES.decode().encode("utf-16"), SPAM),
    Case("gzip.csv", gzip.compress(PLAIN), SPAM),
    Case("lines.jsonl.gz", gzip.compress(LINES), SPAM),
    Case("lines.jsonl.xz", lzma.compress(LINES), SPAM),
    Case("lines.jsonl.bz2", bz2.compress(LINES), SPAM),
    Case("lines.jsonl.zst", zstandard.compress(LINES), SPAM),
    Case("train.zip", zipped({"train.csv": PLAIN, "__MACOSX/train.csv": b"x"}), SPAM),
    Case("folder", class_directories, BY_CLASS),
    Case(
        "sets.json",
        dumped({"train": rows(text=TEXTS, label=LABELS), "test": [{"text": "a"}]}),
        "{}: several lists of records: train (6 records), test (1 record)",
    ),
    Case(
        "sets.zip",
        zipped({"train.csv": PLAIN, "test.csv": PLAIN}),
        "{}: several data files: train.csv, test.csv",
    ),
]
