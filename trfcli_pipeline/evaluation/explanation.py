"""An explained prediction: what each token adds to the score of a label."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

HIGHEST_LEVEL = 4
# Weaker tokens, relative to the strongest one, aren't highlighted.
_WEAKEST = 0.05


class TokenAttribution(NamedTuple):
    """A token, and what it adds to the log-odds of a label.

    Attributes:
        text: The token.
        whitespace: What follows it in the text: a space or nothing.
        value: In log-odds.
    """

    text: str
    whitespace: str
    value: float

    @property
    def signed(self) -> str:
        """The value with its sign and two decimals."""
        return signed(self.value)


class Highlight(NamedTuple):
    """How strongly to highlight a token.

    Attributes:
        token: The token.
        level: From 1 to `HIGHEST_LEVEL`; 0 if it adds and subtracts next to nothing.
        is_for: Whether it speaks for the label.
    """

    token: TokenAttribution
    level: int
    is_for: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the tokens of a text add to the score of a label.

    Attributes:
        label: The label.
        score: Its probability.
        is_predicted: Whether the label applies.
        log_odds: log(p / (1 - p)) of the probability p.
        base: The log-odds for an empty input.
        tokens: All tokens of the text, in order. Their values add up to `log_odds - base`, except
            for `remainder`.
        steps: Number of gradients that were averaged.
        is_complete: Whether the remainder is within the tolerance.
    """

    label: str
    score: float
    is_predicted: bool
    log_odds: float
    base: float
    tokens: tuple[TokenAttribution, ...]
    steps: int
    is_complete: bool

    @property
    def text(self) -> str:
        """The text."""
        return "".join(token.text + token.whitespace for token in self.tokens)

    @property
    def remainder(self) -> float:
        """What is missing for the tokens to add up to the difference from an empty input."""
        return self.log_odds - self.base - sum(token.value for token in self.tokens)

    @property
    def strengths(self) -> list[float]:
        """The values, divided by the largest of the absolute values. *Shape:* (tokens,)"""
        largest = max((abs(token.value) for token in self.tokens), default=0.0) or 1.0
        return [token.value / largest for token in self.tokens]

    def highlights(self, characters: int | None = None) -> list[Highlight]:
        """How strongly to highlight each token.

        Args:
            characters: Where to cut the text off, with an ellipsis; None for the whole text.
        """
        found: list[Highlight] = []
        length = 0
        for token, strength in zip(self.tokens, self.strengths, strict=True):
            length += len(token.text) + len(token.whitespace)
            if characters is not None and length > characters:
                found.append(Highlight(TokenAttribution("…", "", 0.0), 0, True))
                break
            is_weak = abs(strength) < _WEAKEST or not token.text.strip()
            level = 0 if is_weak else math.ceil(abs(strength) * HIGHEST_LEVEL)
            found.append(Highlight(token, level, strength > 0))
        return found

    def as_json(self) -> dict[str, Any]:
        """Everything, with the place of each token in the text."""
        rows, start = [], 0
        for token in self.tokens:
            end = start + len(token.text)
            rows.append({"start": start, "end": end, "text": token.text, "value": token.value})
            start = end + len(token.whitespace)
        return {
            "text": self.text,
            "label": self.label,
            "score": self.score,
            "is_predicted": self.is_predicted,
            "log_odds": self.log_odds,
            "base_log_odds": self.base,
            "remainder": self.remainder,
            "steps": self.steps,
            "tokens": rows,
        }


def signed(value: float) -> str:
    """A number with its sign and two decimals: "+1.92", never "-0.00"."""
    return f"{round(value, 2) + 0.0:+.2f}"
