"""Labeled texts, gold labels and predictions."""

from collections.abc import Mapping

from hypothesis import strategies as st

from trfcli_pipeline.data.records import Record

Cats = Mapping[str, float]
Pairs = list[tuple[Cats, Cats]]
LABELS = ("HAM", "SPAM", "ODD")


def one_hot(label: str) -> dict[str, float]:
    return {name: float(name == label) for name in LABELS}


# Five texts, three of them classified correctly.
GOLD: list[Cats] = [one_hot(label) for label in ("HAM", "HAM", "HAM", "SPAM", "SPAM")]
PREDICTED: list[Cats] = [
    {"HAM": 0.75, "SPAM": 0.25},
    {"HAM": 0.95, "SPAM": 0.05},
    {"HAM": 0.35, "SPAM": 0.65},
    {"HAM": 0.55, "SPAM": 0.45},
    {"HAM": 0.05, "SPAM": 0.95},
]

scores = st.floats(0.0, 1.0, width=32)
# spaCy breaks ties by the order in doc.cats, so keep the order of the labels.
predictions = st.tuples(scores, scores, scores).map(lambda row: dict(zip(LABELS, row, strict=True)))
exclusive_pairs = st.lists(
    st.tuples(st.sampled_from(LABELS).map(one_hot), predictions), min_size=1, max_size=30
)
multilabel_pairs = st.lists(
    st.tuples(st.dictionaries(st.sampled_from(LABELS), st.sampled_from([0.0, 1.0])), predictions),
    min_size=1,
    max_size=30,
).filter(lambda pairs: any(gold for gold, _ in pairs))


def make_records(*rows: tuple[str, str]) -> list[Record]:
    """Records from pairs of a text and its labels, separated by spaces."""
    return [
        Record(text, dict.fromkeys(labels.split(), 1.0), line)
        for line, (text, labels) in enumerate(rows, start=1)
    ]


def make_distinct(counts: dict[str, int]) -> list[Record]:
    """The given number of records per label, with distinct texts."""
    labels = [label for label, count in counts.items() for _ in range(count)]
    return make_records(*((f"text {number}", label) for number, label in enumerate(labels)))
