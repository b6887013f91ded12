"""Tables as people have them."""

from data_cases import (
    BITS,
    CLASSES,
    LABELS,
    NUMBERED,
    PLAIN,
    SPAM,
    TEXTS,
    TSV,
    UNQUOTED,
    WRAPPED,
    Case,
    arrow,
    parquet,
    table,
)
from data_files import as_xlsx

from trfcli_pipeline.data.dataset import ReadingOptions

TABLES = [
    Case("headcase.csv", table(("Text", "Label"), TEXTS, LABELS), SPAM, 'the text is in "Text"'),
    Case("sentence.csv", table(("sentence", "label"), TEXTS, LABELS), SPAM, '"sentence"'),
    Case("sst.tsv", table(("sentence", "label"), TEXTS, BITS, delimiter="\t"), NUMBERED, "0, 1"),
    Case("doccano.csv", table(("id", "data", "label"), BITS, TEXTS, LABELS), SPAM, '"data"'),
    Case(
        "tickets.csv",
        table(("Ticket ID", "Description", "Category"), BITS, TEXTS, LABELS, delimiter=";"),
        SPAM,
        "separated by semicolons",
    ),
    Case("sep.csv", b"sep=;\r\n" + table(("text", "label"), TEXTS, LABELS, delimiter=";"), SPAM),
    Case("bars.csv", table(("text", "label"), TEXTS, LABELS, delimiter="|"), SPAM, "vertical bars"),
    Case("bom.csv", b"\xef\xbb\xbf" + PLAIN, SPAM),
    Case("noheader.csv", table(None, TEXTS, LABELS), SPAM, "no header"),
    Case("agnews.csv", table(None, BITS, TEXTS), NUMBERED, "column_1 to column_2"),
    Case("v.csv", table(("v1", "v2", "", ""), LABELS, TEXTS, [""] * 6, [""] * 6), SPAM, '"v2"'),
    Case(
        "title.csv",
        table(("Class Index", "Title", "Description"), LABELS, ["A title"] * 6, TEXTS),
        [(f"A title\n\n{text}", [label]) for text, label in zip(TEXTS, LABELS, strict=True)],
        '"Title" and "Description"',
    ),
    Case(
        "pairs.csv",
        table(("text_a", "text_b", "labels"), TEXTS, LABELS, LABELS),
        [(f"{text} ||| {label}", [label]) for text, label in zip(TEXTS, LABELS, strict=True)],
        'joined by "|||"',
    ),
    Case("utf16.csv", PLAIN.decode().encode("utf-16"), SPAM),
    Case(
        "excel.txt",
        table(("text", "label"), TEXTS, LABELS, delimiter="\t").decode().encode("utf-16"),
        SPAM,
    ),
    Case(
        "cp1252.csv",
        PLAIN.replace(b"Joking", b"caf\xe9"),
        [(text.replace("Joking", "café"), labels) for text, labels in SPAM],
        "cp1252",
    ),
    Case("mac.csv", PLAIN.replace(b"\r\n", b"\r"), SPAM, "old Macs"),
    Case(
        "unquoted.tsv",
        f"text\tlabel\n{TSV}".encode(),
        [(text, [label]) for text, label in zip(UNQUOTED, LABELS, strict=True)],
        "quotes are read as part of the text",
    ),
    Case(
        "quoted.tsv",
        b'text\tlabel\n"Wow" she said\tHAM\n"Oh" he said\tSPAM\n"No" they\tHAM\n',
        [('"Wow" she said', ["HAM"]), ('"Oh" he said', ["SPAM"]), ('"No" they', ["HAM"])],
        "quotes are read as part of the text",
    ),
    Case(
        "backslash.csv",
        b'text,label\n"a \\"quoted\\" thing, yes",HAM\n"no, thanks",SPAM\n"yes, a",HAM\n',
        [('a "quoted" thing, yes', ["HAM"]), ("no, thanks", ["SPAM"]), ("yes, a", ["HAM"])],
        "a backslash is before quotes",
    ),
    Case(
        "wrapped.csv",
        "".join(f"{text},{labels[0]}\n" for text, labels in WRAPPED)
        .join(["text,label\n", ""])
        .encode(),
        WRAPPED,
        "joined from several lines",
    ),
    Case("blank.csv", PLAIN.replace(b"\r\nU dun", b"\r\n,\r\nU dun"), SPAM, "without values"),
    Case("footer.csv", PLAIN + b"\nTotal,6\n", SPAM, "line 9: left out"),
    Case("psql.csv", PLAIN + b"(6 rows)\n", SPAM, "footer"),
    Case("title_row.csv", b"Report of May,\n" + PLAIN, SPAM, "the table starts below"),
    Case("joined.csv", PLAIN + PLAIN.replace(b"ham", b"HAM"), SPAM + SPAM, "repeats the header"),
    Case("twice.csv", table(("text", "label", "text"), TEXTS, LABELS, BITS), SPAM, '"text_2"'),
    Case("index.csv", table(("", "text", "label"), BITS, TEXTS, LABELS), SPAM, "column_1"),
    Case(
        "swallow.csv",
        b'text,label\n"a, b",A\n"c,B\nd,A\ne,B\nf",A\n"g, h",B\n',
        [("a, b", ["A"]), ("c,B\nd,A\ne,B\nf", ["A"]), ("g, h", ["B"])],
        "line 3: a quoted field has 2 lines in it",
    ),
    Case("book.xlsx", as_xlsx([("text", "label"), *zip(TEXTS, LABELS, strict=True)]), SPAM),
    Case(
        "numbers.xlsx",
        as_xlsx([("Text", "Label"), *zip(TEXTS, map(int, BITS), strict=True)]),
        NUMBERED,
        "0, 1",
    ),
    Case("Text.parquet", parquet(Text=TEXTS, label=LABELS), SPAM, '"Text"'),
    Case("classes.parquet", parquet(CLASSES, text=TEXTS, label=map(int, BITS)), SPAM),
    Case(
        "lists.parquet",
        parquet(
            {"info": {"features": {"label": {"feature": {"names": ["HAM", "SPAM"]}}}}},
            text=TEXTS,
            label=[[int(bit)] for bit in BITS],
        ),
        SPAM,
    ),
    Case("data.arrow", arrow(text=TEXTS, label=LABELS), SPAM),
    Case(
        "two_labels.csv",
        table(("text", "Team", "Area"), TEXTS, LABELS, ["x", "y"] * 3),
        '{}: which column has the labels? Its columns: "text" (Go until jurong point, …), "Team" '
        '(HAM), "Area" (x)',
        options=ReadingOptions(label_column=("Team",)),
        then=SPAM,
    ),
    Case(
        "comments.csv",
        b"# exported by Bob, 2024\n#\n" + PLAIN,
        SPAM,
        "line 1: left out, because the table starts below it",
    ),
    Case("two_headers.csv", b"Ticket,Result\n" + PLAIN, SPAM, "the table starts below it"),
    Case(
        "above.xlsx",
        as_xlsx(
            [
                ("Export", "", ""),
                ("On", "2024-01-01", ""),
                ("Nr", "Fall", "Art"),
                *zip("123456", TEXTS, LABELS, strict=True),
            ]
        ),
        SPAM,
        "row 2: left out",
    ),
    Case(
        "psql.txt",
        b" text | label \n----+----\n" + table(None, TEXTS, LABELS, delimiter="|") + b"(6 rows)\n",
        SPAM,
        "vertical bars",
    ),
    Case(
        "row_names.tsv",
        b"text\tlabel\n" + table(None, "abcdef", TEXTS, LABELS, delimiter="\t"),
        SPAM,
        "column_1",
    ),
    Case(
        "spaces.txt",
        b'"text" "label"\n"1" "a text" "A"\n"2" "a text" "B"\n"3" "a text" "A"\n',
        [("a text", [label]) for label in "ABA"],
        "separated by spaces",
    ),
    Case(
        "escaped.csv",
        b"id,text,label\n" + b"".join(b'%d,so\\, he said \\"x\\",A\n' % n for n in range(3)),
        [('so, he said "x"', ["A"])] * 3,
        "a backslash is before",
    ),
    Case(
        "emotions.txt",
        table(None, ["i feel it"] * 6, LABELS, delimiter=";"),
        [("i feel it", [label]) for label in LABELS],
        "semicolons",
    ),
    Case(
        "pandas.csv",
        table(("", "0", "1"), "123456", TEXTS, LABELS),
        SPAM,
        'the text is in "0"',
    ),
    Case(
        "reviews.csv",
        table(
            ("product_category", "helpful", "verified", "stars", "vine", "review_body"),
            ["Toys"] * 6,
            BITS,
            BITS[::-1],
            "123123",
            LABELS,
            TEXTS,
        ),
        '{}: which column has the labels? Its columns: "product_category" (Toys), "helpful" (0), '
        '"verified" (0), "stars" (1), "vine" (HAM), "review_body" (Go until jurong point, …)',
        options=ReadingOptions(label_column=("vine",)),
        then=SPAM,
    ),
    Case(
        "headline.csv",
        table(("headline", "short_description", "category"), ["News"] * 6, TEXTS, LABELS),
        [(f"News\n\n{text}", [label]) for text, label in zip(TEXTS, LABELS, strict=True)],
        '"headline" and "short_description"',
    ),
    Case(
        "one_column.csv",
        table(("text",), TEXTS),
        '{}: has only one column, "text", and no labels',
    ),
    Case(
        "sheets.xlsx",
        as_xlsx([("text", "label"), *zip(TEXTS, LABELS, strict=True)], notes=[("by Bob",)]),
        SPAM,
        'reading "Data", one of 2 sheets',
    ),
    Case(
        "hashtags.csv",
        table(None, [f"#{text}" for text in TEXTS], LABELS),
        [(f"#{text}", [label]) for text, label in zip(TEXTS, LABELS, strict=True)],
        "no header",
    ),
    # pandas writes columns with two levels like this.
    Case(
        "levels.csv",
        b",review,review,rating\n,text,lang,value\n0,a film,en,A\n1,a pie,en,B\n2,a dog,en,A\n",
        [("a film", ["A"]), ("a pie", ["B"]), ("a dog", ["A"])],
        'the columns are called "review text", "review lang", "rating value"',
    ),
    Case(
        "named_rows.csv",
        b",doc,doc,tag\n,body,lang,\nid,,,\n7,a film,en,A\n8,a pie,en,B\n9,a dog,en,A\n",
        [("a film", ["A"]), ("a pie", ["B"]), ("a dog", ["A"])],
        'the columns are called "doc body", "doc lang", "tag"',
    ),
    Case(
        "known_levels.csv",
        b",doc,doc\n,text,label\nid,,\n7,a film,A\n8,a pie,B\n9,a dog,A\n",
        [("a film", ["A"]), ("a pie", ["B"]), ("a dog", ["A"])],
        "line 1: left out, because the table starts below it",
    ),
    Case(
        "commas.csv",
        b"text,label\n" + b"".join(b"Hello you %d, there,A\n" % n for n in range(4)),
        "{}, line 2: 3 fields, but the header names 2 columns",
    ),
    Case(
        "flags.csv",
        table(("text", "team", "vip", "old", "big"), TEXTS, LABELS, BITS, BITS, BITS[::-1]),
        '{}: which column has the labels? Its columns: "text" (Go until jurong point, …), "team" '
        '(HAM), "vip" (0), "old" (0), "big" (0)',
        options=ReadingOptions(label_column=("team",)),
        then=SPAM,
    ),
]
