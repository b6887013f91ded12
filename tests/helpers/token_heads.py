"""spaCy's own components on the encoder, with examples for all of them."""

from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from trfcli_pipeline import TransformersLanguage

TOKEN_VECTORS = {"@architectures": "trfcli.TokenVectors.v1"}
TAGGER = {"model": {"@architectures": "spacy.Tagger.v2", "tok2vec": TOKEN_VECTORS}}
TRANSITIONS = {
    "@architectures": "spacy.TransitionBasedParser.v2",
    "extra_state_tokens": False,
    "hidden_width": 16,
    "maxout_pieces": 2,
    "use_upper": True,
    "tok2vec": TOKEN_VECTORS,
}
SPANCAT = {
    "@architectures": "spacy.SpanCategorizer.v1",
    "tok2vec": TOKEN_VECTORS,
    "reducer": {"@layers": "spacy.mean_max_reducer.v1", "hidden_size": 16},
    "scorer": {"@layers": "spacy.LinearLogistic.v1"},
}
ENSEMBLE = {
    "@architectures": "spacy.TextCatEnsemble.v2",
    "tok2vec": TOKEN_VECTORS,
    "linear_model": {
        "@architectures": "spacy.TextCatBOW.v3",
        "exclusive_classes": True,
        "ngram_size": 1,
        "no_output_layer": False,
        "length": 512,
    },
}
REDUCE = {
    "@architectures": "spacy.TextCatReduce.v1",
    "tok2vec": TOKEN_VECTORS,
    "exclusive_classes": False,
    "use_reduce_first": False,
    "use_reduce_last": False,
    "use_reduce_max": False,
    "use_reduce_mean": True,
}
HEADS: dict[str, dict[str, Any]] = {
    "tagger": TAGGER,
    "morphologizer": TAGGER,
    "senter": TAGGER,
    "trainable_lemmatizer": {**TAGGER, "min_tree_freq": 1},
    "parser": {"model": {**TRANSITIONS, "state_type": "parser"}, "min_action_freq": 1},
    "ner": {"model": {**TRANSITIONS, "state_type": "ner", "use_upper": False}},
    "spancat": {"model": SPANCAT},
    "textcat": {"model": ENSEMBLE},
    "textcat_multilabel": {"model": REDUCE},
}
WORDS = ["I", "love", " ", "Zürich", "'s", "film", ".", "Apple", "rose", "."]
SPACES = [True, False, False, False, True, False, True, True, False, False]


def make(encoder: Path, lang: str, *heads: str, sentences: bool = True) -> Language:
    # English would take longer to load than everything else.
    nlp = TransformersLanguage(meta={"lang": "xx"}) if lang == "trf" else spacy.blank(lang)
    if sentences:
        nlp.add_pipe("sentencizer")
    nlp.add_pipe("trf_wordpiecer", config={"trf_name": str(encoder)})
    nlp.add_pipe("trf_tok2vec", config={"trf_name": str(encoder), "keep": "tensor"})
    for head in heads:
        nlp.add_pipe(head, config=HEADS.get(head, {"exclusive_classes": True}))
    return nlp


def examples(nlp: Language) -> list[Example]:
    """Examples with whitespace, without tokens, and with more tokens than the encoder accepts.

    They are sorted by length, as by spaCy's training loop.
    """
    annotations: dict[str, Any] = {
        "words": WORDS,
        "spaces": SPACES,
        "tags": ["PRP", "VBP", "_SP", "NNP", "POS", "NN", ".", "NNP", "VBD", "."],
        "pos": [
            "PRON",
            "VERB",
            "SPACE",
            "PROPN",
            "PART",
            "NOUN",
            "PUNCT",
            "PROPN",
            "VERB",
            "PUNCT",
        ],
        "lemmas": ["I", "love", " ", "Zürich", "be", "film", ".", "Apple", "rise", "."],
        "heads": [1, 1, 1, 5, 3, 1, 1, 8, 8, 8],
        "deps": ["nsubj", "ROOT", "dep", "poss", "case", "dobj", "punct", "nsubj", "ROOT", "punct"],
        "sent_starts": [1, 0, 0, 0, 0, 0, 0, 1, 0, 0],
        "entities": ["O", "O", "O", "U-LOC", "O", "O", "O", "U-ORG", "O", "O"],
        "spans": {"sc": [(7, 13, "LOC")]},
        "cats": {"GOOD": 1.0, "BAD": 0.0},
    }
    one = Example.from_dict(Doc(nlp.vocab, words=WORDS, spaces=SPACES), annotations)
    empty = Example.from_dict(nlp.make_doc(""), {"cats": {"GOOD": 0.0, "BAD": 1.0}})
    n = 70
    long: dict[str, Any] = {
        "words": ["apple"] * n,
        "tags": ["NN"] * n,
        "pos": ["NOUN"] * n,
        "lemmas": ["apple"] * n,
        "heads": [0] * n,
        "deps": ["ROOT"] + ["dep"] * (n - 1),
        "sent_starts": [1] + [0] * (n - 1),
        "entities": ["O"] * n,
        "spans": {"sc": []},
        "cats": {"GOOD": 0.0, "BAD": 1.0},
    }
    return [empty, one, one, Example.from_dict(Doc(nlp.vocab, words=["apple"] * n), long)]
