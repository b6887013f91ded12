"""Pipelines with the language trf, created as in spaCy 2 and spaCy 3."""

from typing import Any

from spacy.language import Language
from spacy.training import Example

from trfcli_pipeline import TransformersLanguage, TransformersTok2Vec, TransformersWordPiecer

TEXTS = ["I love this film.", "Apple pie is delicious! And the dog...", "", "Zürich 😀"]
DATA = [
    ("I love this film, it is great fun.", {"POSITIVE": 1.0, "NEGATIVE": 0.0}),
    ("I hate this film; it is a terrible bore.", {"POSITIVE": 0.0, "NEGATIVE": 1.0}),
]


def make_like_spacy_2(name: str) -> Language:
    nlp = TransformersLanguage(trf_name=name, meta={"lang": "en"})
    nlp.add_pipe(nlp.create_pipe("sentencizer"))
    nlp.add_pipe(TransformersWordPiecer.from_pretrained(nlp.vocab, name))
    nlp.add_pipe(TransformersTok2Vec.from_pretrained(nlp.vocab, name))
    textcat = nlp.create_pipe("trf_textcat", config={"exclusive_classes": True})
    for label in ("POSITIVE", "NEGATIVE"):
        textcat.add_label(label)
    nlp.add_pipe(textcat)
    nlp.resume_training()
    return nlp


def make_like_spacy_3(name: str, nlp: Language | None = None) -> Language:
    # English would take longer to load than everything else.
    nlp = nlp or TransformersLanguage(meta={"lang": "xx"})
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("trf_wordpiecer", config={"trf_name": name})
    nlp.add_pipe("trf_tok2vec", config={"trf_name": name})
    nlp.add_pipe("trf_textcat", config={"exclusive_classes": True})
    nlp.initialize(lambda: examples(nlp))
    return nlp


def examples(nlp: Language) -> list[Example]:
    return [Example.from_dict(nlp.make_doc(text), {"cats": cats}) for text, cats in DATA]


def predictions(nlp: Language) -> list[Any]:
    docs = nlp.pipe(TEXTS)
    return [(doc.cats, doc.tensor.tobytes(), doc._.trf_alignment) for doc in docs]
