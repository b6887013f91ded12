"""The names that people give to columns of texts and labels."""

import re
from collections.abc import Iterable

# In the order in which they are preferred.
TEXTS = (
    "text", "texts", "body", "content", "contents", "sentence", "sentences", "description",
    "message", "msg", "comment", "comment_text", "review", "review_text", "review_body", "tweet",
    "post", "document", "doc", "abstract", "article", "paragraph", "utterance", "question",
    "query", "prompt", "text_content", "data", "note", "notes", "narrative", "complaint",
    "feedback", "answer_text", "input", "inputs", "source_text", "summary", "title", "headline",
    "subject", "v2",
)  # fmt: skip
LABELS = (
    "label", "labels", "cats", "category", "categories", "class", "classes", "label_text",
    "label_name", "gold_label", "target", "targets", "intent", "sentiment", "tag", "tags", "topic",
    "topics", "annotation", "annotations", "emotion", "emotions", "polarity", "class_index",
    "class_label", "class_name", "coarse_label", "y", "gold", "output", "completion",
    "classification_annotation", "v1",
)  # fmt: skip
# A title of a text, which is read together with its body.
TITLES = ("title", "headline", "subject", "summary")
_BODIES = ("body", "content", "contents", "description", "message", "abstract", "article")
# The two texts of a pair.
PAIRS = (
    ("text_a", "text_b"),
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("sentence_1", "sentence_2"),
    ("sentence_a", "sentence_b"),
    ("text1", "text2"),
    ("text_1", "text_2"),
    ("question1", "question2"),
    ("query", "passage"),
    ("question", "context"),
)
# Keys that have names of the integers in another column.
LABEL_NAMES = ("label_text", "label_name", "text_label", "class_name", "label_names")
# Other names of a header, by which it is recognized.
_OTHERS = {
    "id", "ids", "index", "idx", "uuid", "guid", "date", "time", "timestamp", "created", "opened",
    "author", "user", "source", "url", "language", "lang", "split", "score", "rating", "name",
    "status", "meta", "metadata", "comments", "annotator", "ticket_id",
}  # fmt: skip
_NOT_WORD = re.compile(r"[\W_]+")


def normalized(name: str) -> str:
    """A name without regard to case, punctuation and spaces: "Ticket ID" is "ticket_id"."""
    # "textContent" is "text_content".
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    return _NOT_WORD.sub("_", words.casefold()).strip("_")


def is_known(name: str) -> bool:
    """Whether a cell of a table looks like the name of a column."""
    found = normalized(name)
    return found in _OTHERS or found in TEXTS or found in LABELS or found in _paired()


def first_of(known: Iterable[str], names: Iterable[str]) -> str | None:
    """The name that comes first among the known ones."""
    by_normal: dict[str, str] = {}
    for name in names:
        by_normal.setdefault(normalized(name), name)
    return next((by_normal[each] for each in known if each in by_normal), None)


def names_both(cells: Iterable[str]) -> bool:
    """Whether cells are the header of a table: they name a column of texts and one of labels."""
    cells = list(cells)
    return first_of(TEXTS, cells) is not None and first_of(LABELS, cells) is not None


def title_and_body(names: Iterable[str]) -> tuple[str, str] | None:
    """The title and the body of a text, if names has both."""
    names = list(names)
    title, body = first_of(TITLES, names), first_of(_BODIES, names)
    return (title, body) if title is not None and body is not None else None


def pair_of(names: Iterable[str]) -> tuple[str, str] | None:
    """The two texts of a pair, if names has both."""
    names = list(names)
    for one, other in PAIRS:
        first, second = first_of([one], names), first_of([other], names)
        if first is not None and second is not None:
            return first, second
    return None


def _paired() -> set[str]:
    return {name for pair in PAIRS for name in pair}
