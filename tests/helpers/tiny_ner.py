"""Pipelines that predict entities and labels."""

from pathlib import Path

import spacy
from spacy.language import Language
from spacy.training import Example

from trfcli_pipeline import TransformersLanguage

TOKEN_VECTORS = {"@architectures": "trfcli.TokenVectors.v1"}
NER = {
    "@architectures": "spacy.TransitionBasedParser.v2",
    "state_type": "ner",
    "extra_state_tokens": False,
    "hidden_width": 16,
    "maxout_pieces": 2,
    "use_upper": False,
    "tok2vec": TOKEN_VECTORS,
}
DATA = [
    ("I love this film.", "GOOD", []),
    ("I hate this film. It is a bore!", "BAD", []),
    ("Apple is great fun", "GOOD", [(0, 5, "ORG")]),
    ("a terrible dog of Apple", "BAD", [(18, 23, "ORG")]),
]
TEXT = DATA[2][0]


def make_nlp(encoder: Path, lang: str = "trf") -> Language:
    # English would take longer to load than everything else.
    nlp = TransformersLanguage(meta={"lang": "xx"}) if lang == "trf" else spacy.blank(lang)
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("trf_wordpiecer", config={"trf_name": str(encoder)})
    nlp.add_pipe("trf_tok2vec", config={"trf_name": str(encoder)})
    return nlp


def examples(nlp: Language) -> list[Example]:
    return [
        Example.from_dict(
            nlp.make_doc(text),
            {"cats": {each: float(each == label) for each in ("GOOD", "BAD")}, "entities": ents},
        )
        for text, label, ents in DATA
    ]


def same_predictions(one: Language, other: Language) -> bool:
    for text, _, _ in DATA:
        left, right = one(text), other(text)
        if left.cats != right.cats or left.to_json()["ents"] != right.to_json()["ents"]:
            return False
    return True
