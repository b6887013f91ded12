"""The encoder's features of texts: one vector per text."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trfcli_pipeline.pipeline.loading import (
    is_pipeline,
    keep_only,
    keep_what_heads_read,
    load_pipeline,
)
from trfcli_pipeline.progress import phase, track

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

# *Shape:* (texts, width)
Features = NDArray[np.float32]

# Texts are encoded in batches of so many, so that those in a sub-batch can be of similar length.
_BATCH = 256


def load_encoder(model: str, *, device: str = "auto", heads: bool = False) -> "Language":
    """Load a pipeline whose encoder gives the features of texts.

    Args:
        model: Directory or name of a pipeline, or an encoder as `create_pipeline` takes it.
        device: The device to run the encoder on.
        heads: Whether the pipeline's heads will run, too.

    Raises:
        PipelineError: The pipeline can't be loaded or has no encoder.
        EncoderError: The encoder can't be found or used.
        DeviceError: The machine has no such device.
    """
    from trfcli_pipeline.pipeline.creating import create_pipeline
    from trfcli_pipeline.pipeline.loading import require_encoder

    if is_pipeline(model):
        nlp = load_pipeline(model, device=device)
    else:
        with phase(f"Loading {model}"):
            nlp, _ = create_pipeline(model)
    encoder = require_encoder(nlp)
    encoder.model.shim.to(device)
    if heads:
        keep_what_heads_read(nlp)
    else:
        keep_only(nlp, [])
    return nlp


def encode_texts(
    nlp: "Language",
    texts: Iterable[str],
    *,
    total: int | None = None,
    last: str | None = None,
    on_doc: Callable[["Doc"], None] | None = None,
) -> Iterator[Features]:
    """Encode texts, some at a time.

    A text's vector is the mean of the last hidden states of its wordpieces, scaled to a length of
    1: what sentence encoders such as MiniLM are trained to compare. Empty texts have zeros.

    Args:
        nlp: The pipeline; what `load_encoder` returned.
        texts: The texts.
        total: Number of texts, to show the progress.
        last: The last component to run, by default the encoder.
        on_doc: Called with each Doc, which it mustn't keep, for callers that need more than its
            vector.

    Yields:
        The vectors of the next texts. *Shape:* (some texts, width)

    Raises:
        PipelineError: The pipeline fails on a text.
    """
    from spacy.util import minibatch

    from trfcli_pipeline.heads.doc_features import mean_last_hidden
    from trfcli_pipeline.pipeline.loading import require_encoder
    from trfcli_pipeline.pipeline.running import bounded_vocab, few_collections, pipe_up_to

    layer = mean_last_hidden()
    last = last or require_encoder(nlp).name
    tracked = track(texts, "Encoding the texts", total=total, unit="texts")
    with few_collections():
        for chunk in minibatch(tracked, _BATCH):
            with bounded_vocab(nlp):
                docs = []
                for doc in pipe_up_to(nlp, last, map(nlp.make_doc, chunk)):
                    if on_doc is not None:
                        on_doc(doc)
                    docs.append(doc)
                rows = normalized(layer.ops.to_numpy(layer.predict(docs)))
                # Without a reference to them, Docs don't outlive the words.
                del docs, doc
            yield rows


def encode_all(nlp: "Language", texts: Iterable[str], *, total: int | None = None) -> Features:
    """Encode texts; see `encode_texts`. *Shape:* (texts, width)"""
    return np.concatenate(list(encode_texts(nlp, texts, total=total)))


def normalized(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale rows to a length of 1; rows of zeros stay as they are."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
