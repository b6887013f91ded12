import pytest

from trfcli_pipeline.data.duplicates import normal_form


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("Thank you!", " thank\tyou ", True),
        ("It’s “fine”", "It's fine...", True),
        ("STRASSE", "Straße", True),
        ("C++ or C#?", "C or C?", False),
        ("3 apples", "4 apples", False),
        ("कि", "का", False),
        ("?!", "...", False),
        ("?!", " ?! ", True),
    ],
)
def test_normal_form_ignores_case_punctuation_and_whitespace(
    one: str, other: str, alike: bool
) -> None:
    assert (normal_form(one) == normal_form(other)) is alike
