"""Components that merge and split tokens, in any place of a pipeline."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from trfcli_pipeline import TransformersLanguage

# With entities, noun chunks and long tokens; one is longer than the encoder's maximum.
TEXTS = [
    "I love the lazy dog. The quick brown fox jumps!",
    "Unbelievable! I hate this film; it is a terrible bore",
    "apple " * 70 + "pie. I love the lazy dog",
    "",
]
PATTERNS = [
    {"label": "DOG", "pattern": "the lazy dog"},
    {"label": "FILM", "pattern": "this film; it"},
    # The first part is seen by the encoder, the second one isn't.
    {"label": "PIE", "pattern": "apple " * 20 + "pie"},
]
RETOKENIZERS: dict[str, dict[str, Any]] = {
    "merge_entities": {},
    "merge_noun_chunks": {},
    "token_splitter": {"min_length": 5, "split_length": 2},
    "test_merge_and_split": {},
}


@Language.component("test_parser", assigns=["token.is_sent_start", "token.dep", "token.head"])
def parse(doc: Doc) -> Doc:
    """Stand in for a parser: every second word is the determiner of the next."""
    heads, deps, first = [], [], 0
    ends = [token.i + 1 for token in doc if token.text in (".", "!")]
    for end in sorted({*ends, len(doc)}):
        for i in range(first, end):
            is_determiner = (i - first) % 2 == 0 and i < end - 1
            heads.append(i + 1 if is_determiner else end - 1)
            deps.append("det" if is_determiner else "dobj")
        first = end
    parsed = Doc(
        doc.vocab,
        words=[token.text for token in doc],
        spaces=[bool(token.whitespace_) for token in doc],
        pos=["NOUN" if dep == "dobj" else "DET" for dep in deps],
        heads=heads,
        deps=deps,
    )
    attrs = ["POS", "DEP", "HEAD"]
    return doc.from_array(attrs, parsed.to_array(attrs))


@Language.component("test_merge_and_split", retokenizes=True)
def merge_and_split(doc: Doc) -> Doc:
    """Change tokens without changing their number."""
    long = [token.i for token in doc[:-2] if len(token) > 3]
    if long:
        with doc.retokenize() as retokenizer:
            retokenizer.merge(doc[-2:])
        token = doc[long[0]]
        with doc.retokenize() as retokenizer:
            heads = [(token, 1), (token, 1)]
            retokenizer.split(token, [token.text[:2], token.text[2:]], heads)
    return doc


def make(encoder: Path, **cfg: Any) -> Language:
    """Create a classifier, with annotations for the components that change tokens."""
    nlp = TransformersLanguage(meta={"lang": "en"})
    nlp.add_pipe("test_parser")
    nlp.add_pipe("entity_ruler")
    nlp.add_pipe("trf_wordpiecer", config={"trf_name": str(encoder)})
    nlp.add_pipe("trf_tok2vec", config={"trf_name": str(encoder), **cfg})
    textcat = nlp.add_pipe("trf_textcat", config={"exclusive_classes": True})
    for label in ("GOOD", "BAD"):
        textcat.add_label(label)
    nlp.initialize()
    nlp.get_pipe("entity_ruler").add_patterns(PATTERNS)
    output = textcat.model.get_ref("output_layer")
    W = np.random.default_rng(0).normal(size=output.get_param("W").shape)
    output.set_param("W", W.astype("f"))
    return nlp


@contextmanager
def retokenizing(nlp: Language, name: str, before: str | None) -> Iterator[None]:
    """Add a component that changes tokens before another one, or last, inside the context."""
    if before == "trf_wordpiecer" and name not in ("merge_entities", "merge_noun_chunks"):
        # In spaCy, splitting a token changes sentence boundaries that are set already.
        before = "test_parser"
    nlp.add_pipe(name, before=before, config=RETOKENIZERS[name])
    try:
        yield
    finally:
        nlp.remove_pipe(name)


def process(nlp: Language, name: str, before: str | None) -> list[Doc]:
    with retokenizing(nlp, name, before):
        return list(nlp.pipe(TEXTS))


def examples(nlp: Language) -> list[Example]:
    cats = [{"GOOD": float(i % 2), "BAD": float(1 - i % 2)} for i in range(len(TEXTS))]
    return [
        Example.from_dict(nlp.make_doc(text), {"cats": each})
        for text, each in zip(TEXTS, cats, strict=True)
    ]
