"""A pool of texts without labels: read, encoded and scored without loading all of it."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trfcli_pipeline.curation.array_store import ArrayStore
from trfcli_pipeline.curation.features import encode_texts
from trfcli_pipeline.data.duplicates import normal_form
from trfcli_pipeline.data.record_store import RecordStore
from trfcli_pipeline.data.records import Record

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

    from trfcli_pipeline.evaluation.classifier import Classifier

# Bytes of memory for the records; the rest are kept on disk.
_MEMORY = 2**26


@dataclass(frozen=True, slots=True)
class PoolTexts:
    """The texts of a pool that can be suggested.

    Attributes:
        records: The texts, each only once.
        n_read: Number of texts that were read.
        n_labeled: Number of texts that are labeled already.
        n_copies: Number of copies of other texts of the pool.
        n_blank: Number of texts without any words.
    """

    records: Sequence[Record]
    n_read: int
    n_labeled: int
    n_copies: int
    n_blank: int


def read_pool(records: Iterable[Record], labeled: Collection[str]) -> PoolTexts:
    """Read a pool, and leave out copies and labeled texts, also with other case or punctuation.

    Memory holds 64 MiB of the records, and a number for each text.

    Args:
        records: The records, consumed one by one.
        labeled: The texts that are labeled already.
    """
    known = {hash(normal_form(text)) for text in labeled}
    seen: set[int] = set()
    counts = dict.fromkeys(("read", "labeled", "copies", "blank"), 0)

    def wanted() -> Iterator[Record]:
        for record in records:
            counts["read"] += 1
            # Equal forms have equal numbers, which take less memory.
            form = hash(normal_form(record.text))
            if not record.text.strip():
                counts["blank"] += 1
            elif form in known:
                counts["labeled"] += 1
            elif form in seen:
                counts["copies"] += 1
            else:
                seen.add(form)
                yield record

    kept = RecordStore(wanted(), room=_MEMORY)
    return PoolTexts(kept, *counts.values())


def encode_pool(
    nlp: "Language", records: Sequence[Record], classifier: "Classifier | None" = None
) -> tuple[ArrayStore, ArrayStore | None]:
    """Compute the features of texts, and the scores of a classifier.

    Args:
        nlp: The pipeline; what `load_encoder` returned.
        records: The texts.
        classifier: The pipeline's text classifier, if its scores are wanted.

    Returns:
        The features as in `encode_texts`, and the scores.
        *Shapes:* (texts, width) and (texts, labels)

    Raises:
        PipelineError: The pipeline fails on a text.
    """
    from trfcli_pipeline.pipeline.loading import require_encoder

    scores = None if classifier is None else ArrayStore(len(classifier.labels))

    cats: list[list[float]] = []

    def keep_cats(doc: "Doc") -> None:
        if classifier is not None:
            cats.append([doc.cats[label] for label in classifier.labels])

    wanted = {require_encoder(nlp).name, *([] if classifier is None else [classifier.name])}
    last = [name for name in nlp.pipe_names if name in wanted][-1]
    features: ArrayStore | None = None
    texts = (record.text for record in records)
    for rows in encode_texts(nlp, texts, total=len(records), last=last, on_doc=keep_cats):
        if features is None:
            features = ArrayStore(rows.shape[1])
        features.append(rows)
        if scores is not None:
            scores.append(np.array(cats))
            cats.clear()
    return ArrayStore(0) if features is None else features, scores
