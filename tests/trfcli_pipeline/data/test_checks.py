import pytest
from labeled import make_distinct, make_records

from trfcli_pipeline.data.checks import data_warnings
from trfcli_pipeline.data.records import Record


def test_clean_data_gives_no_warnings() -> None:
    train = make_distinct({"A": 20, "B": 30})
    dev = make_records(("x", "A"), ("y", "B"))
    assert data_warnings(train, dev) == []
    assert data_warnings(train, []) == []
    assert data_warnings([], []) == []


def test_warning_about_texts_in_both_sets() -> None:
    train = make_distinct({"A": 20, "B": 20})
    dev = make_records(("new", "A"), ("text  7", "A"), ("text 7 ", "B"), ("newer", "B"))
    assert data_warnings(train, dev)[0] == (
        "2 of 4 texts in the dev set also occur in the training set, "
        "so dev scores will be too high (first: line 2)"
    )


def test_warning_about_conflicting_labels() -> None:
    train = make_distinct({"A": 20, "B": 20})
    train += make_records(("x", "A"), ("y", "B"), ("x ", "B"), ("y", "A"), ("x", "A"), ("y", "B"))
    assert data_warnings(train, []) == [
        "2 texts in the training set occur more than once, 6 times in total (first: line 1)",
        "2 texts in the training set occur with different labels (first: lines 1 and 3)",
    ]
    assert data_warnings(
        make_distinct({"A": 20, "B": 20}), make_records(("p", "A"), ("p", "B"))
    ) == ["1 text in the dev set occurs with different labels (first: lines 1 and 2)"]


def test_warning_about_empty_texts() -> None:
    train = make_records(
        ("", "A"), *((f"{n}", "A") for n in range(20)), *((f"b{n}", "B") for n in range(20))
    )
    assert data_warnings(train, []) == ["1 text in the training set is empty (first: line 1)"]
    # They aren't called copies, neither of each other nor of those in the other set.
    dev = make_records(("p", "A"), (" \n", "B"), ("", "A"))
    assert data_warnings([*train[1:], *dev[1:]], []) == [
        "2 texts in the training set are empty (first: line 2)"
    ]
    assert len(data_warnings(train, dev)) == 2
    assert data_warnings(train[1:], dev) == ["2 texts in the dev set are empty (first: line 2)"]


def test_warning_about_shares() -> None:
    train = [*make_distinct({"A": 20, "B": 20}), Record("x", {"A": 0.9, "B": 0.2}, 41)]
    assert data_warnings(train, []) == [
        "1 text in the training set has labels with values between 0 and 1: training uses the "
        "values as they are; for scores, a label counts from 0.5 on (first: line 41)"
    ]


def test_warning_about_odd_texts_in_exclusive_data() -> None:
    train = make_distinct({"A": 30, "B": 30})
    odd = [*train, Record("x", {}, 61), Record("y", {"A": 1.0, "B": 1.0}, 62)]
    assert data_warnings(odd, []) == [
        "2 of 62 texts in the training set do not have exactly one label "
        "(1 without labels, 1 with several), so labels are not exclusive (first: line 61)"
    ]
    assert data_warnings([*train, Record("x", {}, 61)], [])[0].startswith(
        "1 of 61 texts in the training set does not have exactly one label"
    )
    # If texts with several labels are common, they are intended.
    common = [Record(f"y{n}", {"A": 1.0, "B": 1.0}, n) for n in range(30)]
    assert data_warnings(train + common, []) == []


def test_warning_about_rare_labels() -> None:
    train = make_distinct({"A": 20, "B": 20, "D": 9, "C": 3})
    train.append(Record("partial", {"A": 1.0, "E": 0.0}, 99))
    assert data_warnings(train, []) == [
        "3 labels have fewer than 10 texts in the training set: E (0), C (3), D (9)"
    ]
    assert data_warnings(make_distinct({"A": 20, "B": 9}), []) == [
        "1 label has fewer than 10 texts in the training set: B (9)"
    ]


def test_warning_about_imbalanced_labels() -> None:
    assert data_warnings(make_distinct({"A": 90, "B": 10}), []) == [
        "90.0 % of the texts in the training set have the label A: "
        "look at macro F instead of accuracy"
    ]
    assert data_warnings(make_distinct({"A": 89, "B": 11}), []) == []
    assert data_warnings(make_distinct({"A": 30}), []) == [
        "Every text in the training set has the label A: there is nothing to learn"
    ]


def test_warning_about_labels_without_dev_texts() -> None:
    train = make_distinct(dict.fromkeys("ABCDEFG", 15))
    assert data_warnings(train, make_records(("x", "A B C D E F"))) == [
        "1 label has no text in the dev set: G"
    ]
    assert data_warnings(train, make_records(("x", "A"))) == [
        "6 labels have no text in the dev set: B, C, D, E, F and 1 more"
    ]


def test_warning_about_near_duplicates_in_both_sets() -> None:
    train = [*make_distinct({"A": 20, "B": 20}), *make_records(("Thank you!", "A"), ("...", "B"))]
    dev = make_records(("new", "A"), ("thank you", "A"), ("?!", "B"), ("THANK  YOU.", "A"))
    assert data_warnings(train, dev) == [
        "2 of 4 texts in the dev set differ from texts in the training set only in case or "
        "punctuation, so dev scores will be too high (first: line 2)"
    ]


def test_warning_about_duplicates() -> None:
    train = make_distinct({"A": 100, "B": 100})
    assert data_warnings([*train, Record("text 7 ", {"A": 1.0}, 201)], []) == []
    train += [Record(f"text {n}", {"A": 1.0}, 201) for n in (7, 7, 8)]
    assert data_warnings(train, []) == [
        "2 texts in the training set occur more than once, 5 times in total (first: line 8)"
    ]


def test_warning_about_overlong_texts() -> None:
    train = make_distinct({"A": 20, "B": 20})
    train.append(Record("word " * 5000, {"A": 1.0}, 41))
    assert data_warnings(train, []) == [
        "1 text in the training set has more than 20,000 characters (median: 7): "
        "is a quote or newline missing? (first: line 41)"
    ]
    # Long texts are fine if all texts are long.
    long = [Record(each.text * 3000, each.cats, each.line) for each in train[:-1]]
    assert data_warnings(long, []) == []


MISREAD = "UTF-8 that was decoded with another encoding"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("cafÃ\u00a9", f'{MISREAD}, such as "Ã\u00a9"'),
        ("itâ€™s", f'{MISREAD}, such as "â€™"'),
        ("caf\ufffd", "the replacement character U+FFFD, left by a decoding error"),
        ("it\x92s", r"control characters, such as '\x92'"),
        ("a &amp; b", 'HTML, such as "&amp;"'),
        ("good<br />bad", 'HTML, such as "<br />"'),
    ],
)
def test_warning_about_decoding_errors(text: str, what: str) -> None:
    train = make_distinct({"A": 20, "B": 20})
    odd = Record(text, {"A": 1.0}, 41)
    assert data_warnings([*train, odd], []) == [
        f"1 text in the training set contains {what} (first: line 41)"
    ]
    dev = make_records(("fine", "A B"), (f"{text} 2", "A"), (f"{text} 3", "B"))
    assert f"2 texts in the dev set contain {what} (first: line 2)" in data_warnings(train, dev)


@pytest.mark.parametrize(
    "text",
    [
        "Ação, SÃO PAULO, Âge, Œuvre, naïve café",
        "« Ça va » – “quoted” … ™ €5",
        "한국어, 日本語, हिन्दी, עברית, 👍🏽",
        "AT&T; R&D, a<b>c, tabs\tand\r\nlines\x0b",
    ],
)
def test_valid_characters_give_no_warning(text: str) -> None:
    assert (
        data_warnings([*make_distinct({"A": 20, "B": 20}), Record(text, {"A": 1.0}, 41)], []) == []
    )


def test_warning_about_similar_labels() -> None:
    assert data_warnings(make_distinct({"Spam": 20, "SPAM": 20, "HAM": 20, "ham.": 20}), []) == [
        "The labels HAM and ham. differ only in case or punctuation: should they be one label?",
        "The labels SPAM and Spam differ only in case or punctuation: should they be one label?",
    ]


def test_run_time_is_linear_in_the_number_of_texts() -> None:
    class Counted(str):
        """A text that counts how often it is split."""

        splits = 0

        def split(self, *args: object) -> list[str]:  # type: ignore[override]
            Counted.splits += 1
            return super().split(*args)  # type: ignore[arg-type]

    def splits(number: int) -> int:
        Counted.splits = 0
        records = [Record(Counted(f"text {n}"), {"AB"[n % 2]: 1.0}, n) for n in range(number)]
        data_warnings(records[::2], records[1::2])
        return Counted.splits

    assert splits(400) == 4 * splits(100) > 0
