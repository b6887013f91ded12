"""spacy-transformers as a contestant. It runs in an environment of its own."""

import time
from typing import Any

import contest
import spacy
from spacy.language import Language

_SPANS = {
    # The default in its documentation.
    "strided": {
        "@span_getters": "spacy-transformers.strided_spans.v1",
        "window": 128,
        "stride": 96,
    },
    # The same segments as ours.
    "sentences": {"@span_getters": "spacy-transformers.sent_spans.v1"},
    "doc": {"@span_getters": "spacy-transformers.doc_spans.v1"},
}


def encode(
    encoder: str, texts: str, limit: int | None, batch_size: int, spans: str
) -> dict[str, Any]:
    nlp = _pipeline(encoder, spans)
    nlp.initialize()
    found = contest.read_texts(texts, limit)
    list(nlp.pipe(found[:20]))
    start = time.perf_counter()
    for _ in nlp.pipe(found, batch_size=batch_size):
        pass
    return contest.encoding_result(found, time.perf_counter() - start)


def train(encoder: str, data: str, limit: int | None, batch_size: int) -> dict[str, Any]:
    """Update an encoder together with spaCy's own classifier."""
    nlp = _pipeline(encoder, "doc")
    listener = {
        "@architectures": "spacy-transformers.TransformerListener.v1",
        "grad_factor": 1.0,
        "pooling": {"@layers": "reduce_mean.v1"},
    }
    head = {
        "@architectures": "spacy.TextCatReduce.v1",
        "exclusive_classes": True,
        "use_reduce_first": False,
        "use_reduce_last": False,
        "use_reduce_max": False,
        "use_reduce_mean": True,
        "tok2vec": listener,
    }
    nlp.add_pipe("textcat", config={"model": head})
    return contest.update_speed(nlp, data, limit, batch_size, learn_rate=5e-5)


def _pipeline(encoder: str, spans: str) -> Language:
    nlp = spacy.blank("en")
    if spans == "sentences":
        nlp.add_pipe("sentencizer")
    model = {
        "@architectures": "spacy-transformers.TransformerModel.v3",
        "name": encoder,
        "get_spans": _SPANS[spans],
        "tokenizer_config": {"use_fast": True},
    }
    nlp.add_pipe("transformer", config={"model": model})
    return nlp


if __name__ == "__main__":
    contest.main(encode, train)
