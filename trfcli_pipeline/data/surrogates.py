"""Halves of characters that stand alone: neither UTF-8, nor spaCy, nor a tokenizer takes them."""

import re

SURROGATE = re.compile("[\ud800-\udfff]")


def without_surrogates(text: str) -> str:
    """Replace each lone surrogate by U+FFFD, so that all characters stay where they are."""
    return SURROGATE.sub("\ufffd", text)
