"""Features of texts from all layers of the encoder, for linear probes."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from thinc.api import get_array_module, to_numpy

from trfcli_pipeline.curation.features import Features, encode_texts, normalized
from trfcli_pipeline.progress import phase
from trfcli_pipeline.tokenization.doc_attributes import HIDDENS, store, stored

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

# Neighboring layers are alike, so their average says almost as much as all of them.
_GROUPS = 3
# Weight of the last layer beside all layers.
_LAST_WEIGHT = 2.0


def encode_layers(
    nlp: "Language", texts: Iterable[str], *, total: int | None = None
) -> tuple[Features, list[Features]]:
    """Encode texts by the last layer, and by all layers.

    The last layer of a sentence encoder tells what a text is about. Lower layers also know its
    words and its grammar. Which of these help a linear probe depends on the labels and on the
    number of texts; see `cross_fitting.choose_features`. The layers are averaged in groups, and the
    joined groups are reduced to their principal components.

    Args:
        nlp: The pipeline; what `features.load_encoder` returned.
        texts: The texts.
        total: Number of texts, to show the progress.

    Returns:
        The vectors by the last layer, as `features.encode_all` returns them, and the features to
        choose from, also of unit length: by all layers, and by all layers with more weight on the
        last one. If the encoder returns its last layer only, that is the only choice.
        *Shapes:* (texts, width), and (texts, at most width) for each choice

    Raises:
        PipelineError: The pipeline fails on a text.
    """
    from trfcli_pipeline.pipeline.loading import require_encoder

    encoder = require_encoder(nlp)
    groups: list[NDArray[np.float32]] = []

    def keep_groups(doc: "Doc") -> None:
        groups.append(_group_means(stored(doc, HIDDENS)))
        # The layers of a batch of long texts would take gigabytes.
        store(doc, HIDDENS, None)

    before = encoder.kept
    with encoder.model.shim.returning_layers() as has_layers:
        encoder.kept = before | {"all_hidden_states"} if has_layers else before
        on_doc = keep_groups if has_layers else None
        try:
            rows = list(encode_texts(nlp, texts, total=total, on_doc=on_doc))
        finally:
            encoder.kept = before
    last = np.concatenate(rows)
    if not has_layers:
        return last, [last]
    by_layers = np.array(groups)
    both = np.concatenate([by_layers, _LAST_WEIGHT * last], axis=1)
    with phase("Combining the encoder's layers"):
        return last, [principal_components(each, last.shape[1]) for each in (by_layers, both)]


def principal_components(rows: NDArray[np.float32], number: int) -> Features:
    """Reduce rows to their principal components, scaled to a length of 1.

    Args:
        rows: *Shape:* (texts, columns)
        number: Largest number of components.

    Returns:
        *Shape:* (texts, components)
    """
    from scipy.linalg import eigh

    centered = rows - rows.mean(axis=0)
    n_columns = rows.shape[1]
    largest = n_columns - min(number, *rows.shape), n_columns - 1
    _, directions = eigh(centered.T @ centered, subset_by_index=largest)
    return normalized(centered @ directions)


def _group_means(layers: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The vectors of a text by each group of layers, joined. *Shape:* (groups * width,)

    Args:
        layers: The output of the embeddings and of each layer. *Shape of each:* (wordpieces, width)
    """
    xp = get_array_module(layers[0])
    sums = to_numpy(xp.stack([layer.sum(axis=0) for layer in layers]))
    groups = np.array_split(normalized(sums), min(_GROUPS, len(sums)))
    return normalized(np.array([group.mean(axis=0) for group in groups])).ravel()
