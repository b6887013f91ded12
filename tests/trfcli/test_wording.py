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
        (wording.duration(112.4), "1:52"),
        (wording.duration(59.7), "1:00"),
        (wording.duration(3723), "1:02:03"),
        (wording.enumeration(["A", "B", "C"], limit=3), "A, B, C"),
        (wording.enumeration(["A", "B", "C"], limit=2), "A, B and 1 more"),
        (wording.plural(1, "token"), "1 token"),
        (wording.plural(4517, "token"), "4,517 tokens"),
    ],
)
def test_as_people_read_it(shown: str, expected: str) -> None:
    assert shown == expected
