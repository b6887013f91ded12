import pytest
from labeled import make_records

from trfcli_pipeline.data.labels import check_labels, complete_cats, is_exclusive, label_names
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.errors import DataError


def test_label_names_are_all_labels_mentioned() -> None:
    records = [
        Record("", {"b": 0.0, "a": 1.0}, 1),
        Record("", {}, 2),
        Record("", None, 3),
        Record("", {"C": 0.5}, 4),
    ]
    assert label_names(records) == ["C", "a", "b"]


@pytest.mark.parametrize(
    ("cats", "exclusive"),
    [
        ([{"A": 1.0}, {"B": 1.0}], True),
        ([{"A": 0.6, "B": 0.4}, {"A": 0.0, "B": 0.5}], True),
        ([{"A": 1.0}, {}], False),
        ([{"A": 1.0}, None], False),
        ([{"A": 1.0}, {"A": 0.0}], False),
        ([{"A": 1.0, "B": 1.0}], False),
        ([], False),
    ],
)
def test_labels_are_exclusive_if_every_text_has_exactly_one(
    cats: list[dict[str, float] | None], exclusive: bool
) -> None:
    assert is_exclusive([Record("", given, 1) for given in cats]) is exclusive


@pytest.mark.parametrize(
    ("cats", "partial", "exclusive", "expected"),
    [
        ({"A": 1.0}, False, True, {"A": 1.0, "B": 0.0}),
        ({"A": 1.0}, True, True, {"A": 1.0, "B": 0.0}),
        ({"A": 1.0}, False, False, {"A": 1.0, "B": 0.0}),
        ({"A": 1.0}, True, False, {"A": 1.0}),
        ({}, False, False, {"A": 0.0, "B": 0.0}),
        ({}, True, False, {}),
        ({"B": 0.3, "C": 1.0}, True, False, {"B": 0.3}),
        (None, False, True, {}),
    ],
)
def test_missing_labels_are_completed_with_zero_unless_unknown(
    cats: dict[str, float] | None, partial: bool, exclusive: bool, expected: dict[str, float]
) -> None:
    record = Record("", cats, 1, partial=partial)
    assert complete_cats(record, ["A", "B"], exclusive) == expected


def test_labels_missing_from_the_training_data() -> None:
    train = make_records(("a", "HAM"), ("b", "SPAM"))
    check_labels(train, make_records(("c", "SPAM")), dev_name="dev.jsonl")
    # A label that applies to no text need not be known.
    check_labels(train, [Record("c", {"EGGS": 0.0}, 1)], dev_name="dev.jsonl")

    dev = make_records(("c", "HAM"), ("d", "Spam"), ("e", "EGGS HAM"), ("f", "EGGS"))
    with pytest.raises(DataError) as caught:
        check_labels(train, dev, dev_name="dev.jsonl")
    assert caught.value.message == (
        "dev.jsonl: 2 labels are not in the training data: Spam (line 2), EGGS (line 3)"
    )
    assert caught.value.hint == (
        "Did you mean SPAM instead of Spam? "
        "Add such texts to the training data, or remove them from dev.jsonl"
    )


@pytest.mark.parametrize(
    ("label", "is_like"),
    [("billin", True), ("biling", True), ("Billign", True), ("bill", True), ("bin", False)],
)
def test_only_similar_labels_are_suggested(label: str, is_like: bool) -> None:
    with pytest.raises(DataError) as caught:
        check_labels(make_records(("a", "billing")), make_records(("b", label)), dev_name="dev")
    suggestion = f"Did you mean billing instead of {label}?"
    assert (caught.value.hint or "").startswith(suggestion) == is_like


def test_error_about_missing_labels_agrees_in_number_and_is_short() -> None:
    train = make_records(("a", "A"))
    with pytest.raises(DataError, match="1 label is not in the training data: XXX"):
        check_labels(train, make_records(("b", "XXX")), dev_name="dev")
    dev = make_records(*((f"{number}", f"L{number}") for number in range(8)))
    with pytest.raises(DataError, match=r"8 labels are .*: L0 .*, L4 \(line 5\) and 3 more"):
        check_labels(train, dev, dev_name="dev")
