"""The pipelines of the README of spacy-transformers 0.5."""

from copy import copy
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from trfcli_pipeline import TransformersLanguage, TransformersTok2Vec, TransformersWordPiecer

WIDTH, LAYERS, HEADS, MAX_LENGTH = 16, 2, 4, 64
TEXT = "Apple shares rose on the news. Apple pie is delicious."
TEXTS = ["Apple", "I love it", "I love this film", "A bore", "Apple pie is delicious " * 3]
TRAIN_DATA = [
    ("I love this film, it is great fun.", {"cats": {"POSITIVE": 1.0, "NEGATIVE": 0.0}}),
    ("I hate this film; it is a terrible bore.", {"cats": {"POSITIVE": 0.0, "NEGATIVE": 1.0}}),
]
EVERYTHING = {"all_hidden_states": True, "all_attentions": True}
GRADIENTS = {
    "trf_d_last_hidden_state": "trf_last_hidden_state",
    "trf_d_pooler_output": "trf_pooler_output",
    "trf_d_all_hidden_states": "trf_all_hidden_states",
    "trf_d_all_attentions": "trf_all_attentions",
}


def set_up(encoder: Path, lang: str = "xx", **settings: Any) -> Language:
    """Create a pipeline like that README. English would take longer to load than the rest."""
    name = str(encoder)
    nlp = TransformersLanguage(trf_name=name, meta={"lang": lang})
    nlp.add_pipe(nlp.create_pipe("sentencizer"))
    nlp.add_pipe(TransformersWordPiecer.from_pretrained(nlp.vocab, name))
    nlp.add_pipe(TransformersTok2Vec.from_pretrained(nlp.vocab, name, **settings))
    return nlp


def add_textcat(nlp: Language) -> Language:
    textcat = nlp.create_pipe("trf_textcat", config={"exclusive_classes": True})
    for label in ("POSITIVE", "NEGATIVE"):
        textcat.add_label(label)
    nlp.add_pipe(textcat)
    return nlp


class Head:
    """A custom component that makes hidden states grow and records what it sees."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: list[dict[str, Any]] = []

    def __call__(self, doc: Doc) -> Doc:
        return doc

    def update(self, examples: list[Example], **_: Any) -> None:
        for doc in (eg.predicted for eg in examples):
            names = [*GRADIENTS, *GRADIENTS.values()]
            # Copies, because the encoder collects the gradients in the arrays that it gave out.
            values = {name: copy(doc._.get(name)) for name in names}
            self.seen.append({"tensor": doc.tensor, **values})
            doc._.trf_d_last_hidden_state = doc._.trf_d_last_hidden_state - 1.0


@Language.factory("old_readme_head")
def make_head(nlp: Language, name: str) -> Head:
    return Head(name)
