import pytest

from trfcli_pipeline.evaluation.explanation import Explanation, TokenAttribution, signed

TOKENS = (
    TokenAttribution("Not", " ", -0.5),
    TokenAttribution("good", "", 1.0),
    TokenAttribution(" ", "", 0.9),
    TokenAttribution("!", "", 0.02),
)


def explanation(*tokens: TokenAttribution) -> Explanation:
    return Explanation(
        label="GOOD",
        score=0.8,
        is_predicted=True,
        log_odds=1.5,
        base=0.0,
        tokens=tokens,
        steps=16,
        is_complete=True,
    )


def test_text_and_sum() -> None:
    found = explanation(*TOKENS)
    assert found.text == "Not good !"
    assert found.remainder == pytest.approx(0.08)


def test_highlights() -> None:
    found = explanation(*TOKENS).highlights()
    assert [(each.level, each.is_for) for each in found] == [
        (2, False),
        (4, True),
        # Whitespace and weak tokens aren't highlighted.
        (0, True),
        (0, True),
    ]


def test_highlights_of_a_long_text() -> None:
    found = explanation(*TOKENS).highlights(8)
    assert [each.token.text for each in found] == ["Not", "good", "…"]


def test_no_token_adds_anything() -> None:
    assert [each.level for each in explanation(TokenAttribution("a", "", 0.0)).highlights()] == [0]
    assert explanation().highlights() == []


def test_json_has_the_places_of_tokens() -> None:
    found = explanation(*TOKENS).as_json()
    for row in found["tokens"]:
        assert found["text"][row["start"] : row["end"]] == row["text"]
    assert [row["value"] for row in found["tokens"]] == [-0.5, 1.0, 0.9, 0.02]


@pytest.mark.parametrize(("value", "text"), [(1.916, "+1.92"), (-0.004, "+0.00"), (-3, "-3.00")])
def test_signed(value: float, text: str) -> None:
    assert signed(value) == text
