"""Store a pipeline's encoder in 16 bits, and measure what that costs."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from spacy.util import load_config

from trfcli_pipeline.data.files import directory_bytes
from trfcli_pipeline.encoder.backends import saved_inference
from trfcli_pipeline.encoder.half_precision import halve_weights
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec
from trfcli_pipeline.tasks.before_after import row_cosines
from trfcli_pipeline.tasks.offline_predictions import predict_offline


class Halved(NamedTuple):
    """What it cost to store an encoder in 16 bits.

    Attributes:
        before, after: Size of the pipeline in bytes.
        texts: Number of texts that both predicted.
        score_change: Largest change of a score of a label; None without a text classifier.
        cosine: Smallest cosine similarity of a token's vector before and after.
    """

    before: int
    after: int
    texts: int
    score_change: float | None
    cosine: float


def halve_encoder(pipeline_dir: Path) -> tuple[int, int]:
    """Round the encoder's weights in a pipeline's directory; see `halve_weights`.

    Returns:
        Size of the directory before and after, in bytes.

    Raises:
        PipelineError: The pipeline has no encoder with weights in float32.
    """
    components = load_config(pipeline_dir / "config.cfg").get("components", {})
    factory = TransformersTok2Vec.factory
    names = [name for name, config in components.items() if config.get("factory") == factory]
    if not names:
        raise PipelineError(
            f"The pipeline has no {factory}, whose weights --half stores in 16 bits",
            hint="Package it without --half",
        )
    size = directory_bytes(pipeline_dir)
    for name in names:
        encoder_dir = pipeline_dir / name / "model"
        was = saved_inference(encoder_dir)
        if not was.is_trainable:
            raise PipelineError(
                f"The pipeline is already optimized ({was.precision}, {was.backend})",
                hint="Package it without --half, or package the original pipeline",
            )
        halve_weights(encoder_dir)
    return size, directory_bytes(pipeline_dir)


def compare_halved(
    before: Path, after: Path, sizes: tuple[int, int], texts: Sequence[str]
) -> Halved:
    """Compare a pipeline with its copy whose encoder is stored in 16 bits.

    Args:
        before, after: Their directories.
        sizes: What `halve_encoder` returned.
        texts: The texts to compare on.

    Raises:
        PipelineError: One of them can't be loaded.
    """
    old, new = (predict_offline(sys.executable, str(path), texts)[1] for path in (before, after))
    pairs = list(zip(old, new, strict=True))
    changes = [
        abs(one.cats[label] - other.cats[label]) for one, other in pairs for label in one.cats
    ]
    cosines = [
        cosine for one, other in pairs for cosine in row_cosines(one.tensor, other.tensor).tolist()
    ]
    return Halved(
        *sizes,
        texts=len(texts),
        score_change=max(changes, default=None),
        cosine=min(cosines, default=1.0),
    )
