import pytest
from labelled import make_distinct, make_records

from trfcli_pipeline.data.checks import remarks
from trfcli_pipeline.data.records import Record


def test_clean_data_gives_no_remarks() -> None:
    train = make_distinct({"A": 20, "B": 30})
    dev = make_records(("x", "A"), ("y", "B"))
    assert remarks(train, dev) == []
    assert remarks(train, []) == []
    assert remarks([], []) == []


def test_remark_on_texts_in_both_parts() -> None:
    train = make_distinct({"A": 20, "B": 20})
    dev = make_records(("new", "A"), ("text  7", "A"), ("text 7 ", "B"), ("newer", "B"))
    assert remarks(train, dev)[0] == (
        "2 of 4 texts in dev occur in train too, which makes scores on dev too good (first: line 2)"
    )


def test_remark_on_conflicting_labels() -> None:
    train = make_distinct({"A": 20, "B": 20})
    train += make_records(("x", "A"), ("y", "B"), ("x ", "B"), ("y", "A"), ("x", "A"), ("y", "B"))
    assert remarks(train, []) == [
        "2 texts in train occur more than once, 6 times in all (first: line 1)",
        "2 texts in train occur with different labels (first: lines 1 and 3)",
    ]
    assert remarks(make_distinct({"A": 20, "B": 20}), make_records(("p", "A"), ("p", "B"))) == [
        "1 text in dev occurs with different labels (first: lines 1 and 2)"
    ]


def test_remark_on_empty_texts() -> None:
    train = make_records(
        ("", "A"), *((f"{n}", "A") for n in range(20)), *((f"b{n}", "B") for n in range(20))
    )
    assert remarks(train, []) == ["1 text in train is empty (first: line 1)"]
    dev = make_records(("p", "A"), (" \n", "B"), ("", "B"))
    assert remarks(train[1:], dev) == ["2 texts in dev are empty (first: line 2)"]


def test_remark_on_slips_in_exclusive_labels() -> None:
    train = make_distinct({"A": 30, "B": 30})
    slips = [*train, Record("x", {}, 61), Record("y", {"A": 1.0, "B": 1.0}, 62)]
    assert remarks(slips, []) == [
        "2 of 62 texts in train don't have exactly one label (1 none, 1 several), "
        "so labels are not exclusive (first: line 61)"
    ]
    assert remarks([*train, Record("x", {}, 61)], [])[0].startswith(
        "1 of 61 texts in train doesn't"
    )
    # Where several labels are common, nothing has slipped.
    common = [Record(f"y{n}", {"A": 1.0, "B": 1.0}, n) for n in range(30)]
    assert remarks(train + common, []) == []


def test_remark_on_rare_labels() -> None:
    train = make_distinct({"A": 20, "B": 20, "D": 9, "C": 3})
    train.append(Record("partial", {"A": 1.0, "E": 0.0}, 99))
    assert remarks(train, []) == ["3 labels have fewer than 10 texts in train: E (0), C (3), D (9)"]
    assert remarks(make_distinct({"A": 20, "B": 9}), []) == [
        "1 label has fewer than 10 texts in train: B (9)"
    ]


def test_remark_on_one_sided_labels() -> None:
    assert remarks(make_distinct({"A": 90, "B": 10}), []) == [
        "A holds for 90.0 % of the texts in train: accuracy says little, look at macro F"
    ]
    assert remarks(make_distinct({"A": 89, "B": 11}), []) == []
    assert remarks(make_distinct({"A": 30}), []) == [
        "A holds for every text in train, so there is nothing to tell it from"
    ]


def test_remark_on_labels_without_dev_texts() -> None:
    train = make_distinct(dict.fromkeys("ABCDEFG", 15))
    assert remarks(train, make_records(("x", "A B C D E F"))) == ["1 label has no text in dev: G"]
    assert remarks(train, make_records(("x", "A"))) == [
        "6 labels have no text in dev: B, C, D, E, F and 1 more"
    ]


def test_remark_on_texts_that_differ_only_in_punctuation() -> None:
    train = [*make_distinct({"A": 20, "B": 20}), *make_records(("Thank you!", "A"), ("...", "B"))]
    dev = make_records(("new", "A"), ("thank you", "A"), ("?!", "B"), ("THANK  YOU.", "A"))
    assert remarks(train, dev) == [
        "2 of 4 texts in dev differ only in case or punctuation from texts in train, "
        "which makes scores on dev too good (first: line 2)"
    ]


def test_remark_on_copies() -> None:
    train = make_distinct({"A": 100, "B": 100})
    assert remarks([*train, Record("text 7 ", {"A": 1.0}, 201)], []) == []
    train += [Record(f"text {n}", {"A": 1.0}, 201) for n in (7, 7, 8)]
    assert remarks(train, []) == [
        "2 texts in train occur more than once, 5 times in all (first: line 8)"
    ]


def test_remark_on_overlong_texts() -> None:
    train = make_distinct({"A": 20, "B": 20})
    train.append(Record("word " * 5000, {"A": 1.0}, 41))
    assert remarks(train, []) == [
        "1 text in train has more than 20,000 characters, where half have at most 7: "
        "is a quote or line end missing? (first: line 41)"
    ]
    # Where all are long, none is odd.
    long = [Record(each.text * 3000, each.cats, each.line) for each in train[:-1]]
    assert remarks(long, []) == []


MISREAD = "characters of UTF-8 that were read in another encoding"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("cafÃ\u00a9", f'{MISREAD}, such as "Ã\u00a9"'),
        ("itâ€™s", f'{MISREAD}, such as "â€™"'),
        ("caf\ufffd", "U+FFFD, which stands for a character that was lost"),
        ("it\x92s", "control characters, such as U+0092"),
        ("a &amp; b", 'HTML that was not decoded, such as "&amp;"'),
        ("good<br />bad", 'HTML that was not decoded, such as "<br />"'),
    ],
)
def test_remark_on_encodings(text: str, what: str) -> None:
    train = make_distinct({"A": 20, "B": 20})
    odd = Record(text, {"A": 1.0}, 41)
    assert remarks([*train, odd], []) == [f"1 text in train has {what} (first: line 41)"]
    dev = make_records(("fine", "A B"), (f"{text} 2", "A"), (f"{text} 3", "B"))
    assert f"2 texts in dev have {what} (first: line 2)" in remarks(train, dev)


@pytest.mark.parametrize(
    "text",
    [
        "Ação, SÃO PAULO, Âge, Œuvre, naïve café",
        "« Ça va » – “quoted” … ™ €5",
        "한국어, 日本語, हिन्दी, עברית, 👍🏽",
        "AT&T; R&D, a<b>c, tabs\tand\r\nlines\x0b",
    ],
)
def test_clean_characters_are_no_false_alarm(text: str) -> None:
    assert remarks([*make_distinct({"A": 20, "B": 20}), Record(text, {"A": 1.0}, 41)], []) == []


def test_remark_on_labels_that_look_alike() -> None:
    assert remarks(make_distinct({"Spam": 20, "SPAM": 20, "HAM": 20, "ham.": 20}), []) == [
        "HAM and ham. differ only in case or punctuation: is one label meant?",
        "SPAM and Spam differ only in case or punctuation: is one label meant?",
    ]


def test_texts_are_looked_at_as_often_in_large_data() -> None:
    class Counted(str):
        """A text that counts how often it is taken apart."""

        looks = 0

        def split(self, *args: object) -> list[str]:  # type: ignore[override]
            Counted.looks += 1
            return super().split(*args)  # type: ignore[arg-type]

    def looks(number: int) -> int:
        Counted.looks = 0
        records = [Record(Counted(f"text {n}"), {"AB"[n % 2]: 1.0}, n) for n in range(number)]
        remarks(records[::2], records[1::2])
        return Counted.looks

    assert looks(400) == 4 * looks(100) > 0
