"""The encoder's features of texts: one vector per text."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trfcli_pipeline.pipeline.loading import (
    is_pipeline,
    keep_what_heads_read,
    load_pipeline,
)
from trfcli_pipeline.progress import phase, track

if TYPE_CHECKING:
    from spacy.language import Language
    from thinc.api import Model
    from thinc.types import Floats2d

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
        # `doc.tensor` is all that features need.
        encoder.kept = frozenset()
    return nlp


def encode_texts(
    nlp: "Language", texts: Iterable[str], *, total: int | None = None
) -> Iterator[Features]:
    """Encode texts, some at a time.

    A text's vector is the mean of the last hidden states of its wordpieces, scaled to a length of
    1: what sentence encoders such as MiniLM are trained to compare. Empty texts have zeros.

    Args:
        nlp: The pipeline; what `load_encoder` returned.
        texts: The texts.
        total: Number of texts, to show the progress.

    Yields:
        The vectors of the next texts. *Shape:* (some texts, width)

    Raises:
        PipelineError: The pipeline fails on a text.
    """
    from spacy.util import minibatch

    from trfcli_pipeline.heads.doc_features import mean_last_hidden

    layer = mean_last_hidden()
    for chunk in minibatch(track(texts, "Encoding the texts", total=total, unit="texts"), _BATCH):
        yield normalized(layer.ops.to_numpy(encode_chunk(nlp, chunk, layer)))


def encode_all(nlp: "Language", texts: Iterable[str], *, total: int | None = None) -> Features:
    """Encode texts; see `encode_texts`. *Shape:* (texts, width)"""
    return np.concatenate(list(encode_texts(nlp, texts, total=total)))


def encode_chunk(nlp: "Language", texts: Iterable[str], layer: "Model") -> "Floats2d":
    """Run a pipeline up to its encoder, and a layer on the Docs.

    Args:
        layer: A layer that reads the activations of Docs; see `heads.doc_features`.

    Returns:
        *Shape:* (texts, width of the layer)
    """
    from trfcli_pipeline.pipeline.components import run_up_to
    from trfcli_pipeline.pipeline.loading import require_encoder

    docs = run_up_to(nlp, require_encoder(nlp).name, [nlp.make_doc(text) for text in texts])
    return layer.predict(docs)


def normalized(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale rows to a length of 1; rows of zeros stay as they are."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
