"""Lone surrogates, which UTF-8, spaCy and tokenizers can't handle."""

import re

SURROGATE = re.compile("[\ud800-\udfff]")


def without_surrogates(text: str) -> str:
    """Replace each lone surrogate by U+FFFD, which keeps all character offsets."""
    return SURROGATE.sub("\ufffd", text)
