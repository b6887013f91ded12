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
    nested_directories,
    parquet,
    rows,
    zipped,
)
from data_files import as_xlsx

CLASS_FILES = {
    f"sms/{label}/{number}.txt": text.encode()
    for number, (text, label) in enumerate(zip(TEXTS, LABELS, strict=True))
}
# The flag that a member needs a password, in the list of members at the end.
SECRET = zipped({"train.csv": PLAIN}).replace(b"PK\1\2\x14\3\x14\0\0", b"PK\1\2\x14\3\x14\0\1")

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
    Case("nested", nested_directories, BY_CLASS),
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
    Case("lines.csv", LINES, SPAM),
    Case("lines.txt", LINES, SPAM),
    Case("array.csv", dumped(rows(text=TEXTS, label=LABELS)), SPAM),
    Case("table.json", PLAIN, SPAM),
    Case("table.jsonl", PLAIN, SPAM),
    Case("parquet.csv", parquet(text=TEXTS, label=LABELS), SPAM),
    Case("excel.csv", as_xlsx([("text", "label"), *zip(TEXTS, LABELS, strict=True)]), SPAM),
    Case("twice.csv.gz", gzip.compress(gzip.compress(PLAIN)), SPAM),
    Case("classes.zip", zipped(CLASS_FILES), SPAM),
    Case("nothing.parquet", b"", "{}: no records in the file"),
    Case("nothing.txt", b"", "{}: no records in the file"),
    Case("page.csv", b"<!DOCTYPE html><html></html>", "{}: a web page, not data"),
    Case(
        "pointer.csv",
        b"version https://git-lfs.github.com/spec/v1\n",
        "{}: only a pointer of Git LFS, not the file",
    ),
    Case("old.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(9), "{}: an old Excel file"),
    Case("all.tar.gz", b"\x1f\x8b", "{}: an archive of files"),
    Case("secret.zip", SECRET, "{}: protected by a password"),
    Case("prose.txt", b"One, two.\nThree\n", "{}: one text per line, but labels are needed"),
]
