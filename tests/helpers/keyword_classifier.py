"""A rule-based text classifier, which needs no training."""

from typing import Any

import spacy
from spacy.language import Language
from spacy.tokens import Doc

from trfcli_pipeline.data.records import Record

TEXTS = {"free  money\n": "SPAM", "hello there": "HAM", "feel free": "HAM", "": "HAM"}
RECORDS = [Record(text, {label: 1.0}, line) for line, (text, label) in enumerate(TEXTS.items(), 1)]


class KeywordClassifier:
    """Scores texts with "free" 0.9 for SPAM, and all others 0.2."""

    def __init__(self, exclusive_classes: bool, thresholds: dict[str, float] | None) -> None:
        self.exclusive_classes = exclusive_classes
        self.cfg = {"threshold": 0.85}
        if thresholds is not None:
            self.thresholds = thresholds
        self.labels = ("HAM", "SPAM")

    def __call__(self, doc: Doc) -> Doc:
        spam = 0.9 if "free" in doc.text else 0.2
        doc.cats = {"HAM": 1.0 - spam, "SPAM": spam, "OTHER_PIPE": 0.5}
        return doc


@Language.factory(
    "test_evaluation_keyword",
    assigns=["doc.cats"],
    default_config={"exclusive_classes": True, "thresholds": None},
)
def make_keyword_classifier(
    nlp: Language, name: str, exclusive_classes: bool, thresholds: dict[str, float] | None
) -> KeywordClassifier:
    return KeywordClassifier(exclusive_classes, thresholds)


def keyword_pipeline(**config: Any) -> Language:
    nlp = spacy.blank("xx")
    nlp.add_pipe("test_evaluation_keyword", name="keywords", config=config)
    return nlp
