import pytest

from trfcli import wording


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (wording.thousands(4517), "4,517"),
        (wording.percent(0.8664), "86.6 %"),
        (wording.decimal(0.98712), "0.987"),
        (wording.decimal(-0.0004), "0.000"),
        (wording.decimal(-0.0004, sign="+"), "+0.000"),
        (wording.decimal(-0.254, 2, sign="+"), "-0.25"),
        (wording.megabytes(87.3), "87 MB"),
        (wording.megabytes(0.42), "0.4 MB"),
        (wording.megabytes(1340), "1.3 GB"),
        (wording.millions(22_713_216), "22.7M"),
        (wording.millions(1_500_000_000), "1.5B"),
        (wording.millions(4100), "4,100"),
        (wording.duration(4.2), "4 s"),
        (wording.duration(134), "2 min 14 s"),
        (wording.duration(7500), "2 h 5 min"),
        (wording.enumeration([*"ABCDEFGHIJKL"]), "A, B, C, D, E and 7 more"),
        (wording.plural(4517, "token"), "4,517 tokens"),
    ],
)
def test_numbers_and_lists_are_easy_to_read(shown: str, expected: str) -> None:
    assert shown == expected
