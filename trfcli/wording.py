"""Numbers, sizes and lists as people read them."""

from collections.abc import Sequence


def thousands(number: float) -> str:
    """4517 -> 4,517"""
    return f"{number:,.0f}"


def decimal(number: float, digits: int = 3, *, sign: str = "") -> str:
    """0.98712 -> 0.987, -0.0004 -> 0.000 rather than -0.000; with sign="+" 0.5 -> +0.500"""
    return f"{round(number, digits) + 0.0:{sign}.{digits}f}"


def percent(share: float) -> str:
    """0.8664 -> 86.6 %"""
    return f"{100 * share:.1f} %"


def megabytes(size: float) -> str:
    """A size in MB: 87.3 -> 87 MB, 0.42 -> 0.4 MB, 1340 -> 1.3 GB"""
    if size >= 1000:
        return f"{size / 1000:.1f} GB"
    return f"{size:.0f} MB" if size >= 10 else f"{size:.1f} MB"


def millions(number: float) -> str:
    """A number of parameters: 22713216 -> 22.7M, 4100 -> 4,100"""
    for unit, letter in ((1e9, "B"), (1e6, "M")):
        if number >= unit:
            return f"{number / unit:.1f}{letter}"
    return thousands(number)


def duration(seconds: float) -> str:
    """A time: 4.2 -> 4 s, 134 -> 2 min 14 s, 7500 -> 2 h 5 min"""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


# The library's functions, imported when they are called: importing the library takes seconds.


def enumeration(items: Sequence[str], *, shown: int = 5) -> str:
    """The first items and the number of the others: "A, B, C, D, E and 4 more"."""
    from trfcli_pipeline.data import wording

    return wording.enumeration(items, shown=shown)


def plural(number: int, noun: str) -> str:
    """1 token, 2 tokens, 4,517 tokens"""
    from trfcli_pipeline.data import wording

    return wording.plural(number, noun)


def learning_rates(encoder: float | None, classifier: float) -> str:
    """The peak learning rates of a training run, as a phrase.

    Args:
        encoder: None if it is frozen.
    """
    from trfcli_pipeline.training.size_rules import format_rate

    head = f"{format_rate(classifier)} for the classifier"
    if encoder is None:
        return f"encoder frozen, learning rate {head}"
    return f"learning rate {format_rate(encoder)} for the encoder, {head}"
