import pytest

from trfcli_pipeline.data.wording import agree, enumeration, plural


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (plural(0, "text"), "0 texts"),
        (plural(1, "text"), "1 text"),
        (plural(4517, "text"), "4,517 texts"),
        (plural(1, "text", ("is", "are")), "1 text is"),
        (plural(2, "text", ("is", "are")), "2 texts are"),
        (agree(1, "has", "have"), "has"),
        (agree(0, "has", "have"), "have"),
        (enumeration([]), ""),
        (enumeration([*"ABCDE"]), "A, B, C, D, E"),
        (enumeration([*"ABCDEF"]), "A, B, C, D, E and 1 more"),
        (enumeration(["A"] * 2005), "A, A, A, A, A and 2,000 more"),
    ],
)
def test_counts_and_lists_in_messages(shown: str, expected: str) -> None:
    assert shown == expected
