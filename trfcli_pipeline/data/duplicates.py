"""Normal forms of texts, to find duplicates and near-duplicates."""

# Characters such as + and # are missing because they carry meaning, as in "C++" and "C#".
_WITHOUT_PUNCTUATION = str.maketrans(
    "", "", ".,:;!?'\"()[]{}-*“”‘’‚„«»‹›…–—¿¡。、！？，：；（）「」"
)


def normal_form(text: str) -> str:
    """The text without case, punctuation and extra whitespace.

    A text that consists of punctuation only, such as "...", keeps it.
    """
    return fold(text.casefold().translate(_WITHOUT_PUNCTUATION)) or fold(text)


def fold(text: str) -> str:
    """The text with single spaces in place of other whitespace, and none at its ends."""
    return " ".join(text.split())
