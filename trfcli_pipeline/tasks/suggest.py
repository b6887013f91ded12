"""Suggest which texts of a pool to label next."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trfcli_pipeline.data.dataset import DataSource
from trfcli_pipeline.data.outputs.files import open_file
from trfcli_pipeline.data.reading import Reading, check_beginning, read_records
from trfcli_pipeline.data.reading.tracking import track_reading
from trfcli_pipeline.data.records import Record, where
from trfcli_pipeline.data.wording import agree
from trfcli_pipeline.errors import ArgumentError, DataError
from trfcli_pipeline.tasks.suggestion_files import SUGGESTIONS, choose_format, render

if TYPE_CHECKING:
    from trfcli_pipeline.curation.pool import PoolTexts
    from trfcli_pipeline.curation.stability import Stability
    from trfcli_pipeline.curation.suggestions import Suggestion

# The penalty of the linear probe.
PENALTY = 0.1
# More are clustered for hours, and nobody labels so many at once.
MOST_SUGGESTED = 5_000


@dataclass(frozen=True, slots=True)
class Suggestions:
    """Texts to label next.

    Attributes:
        suggestions: The texts, the most useful first.
        pool: The pool that they are from.
        stability: How much the latest labels still changed; None if there are too few.
        is_uniform: Whether the labeled texts don't differ in their labels, which scores nothing.
    """

    suggestions: "Sequence[Suggestion]"
    pool: "PoolTexts"
    stability: "Stability | None"
    is_uniform: bool = False


def suggest(
    model: str,
    pool: DataSource,
    *,
    n: int = 50,
    labeled: DataSource | None = None,
    output: Path | None = None,
    format: str | None = None,
    seed: int = 0,
    device: str = "auto",
) -> Suggestions:
    """Suggest which texts of a pool to label next, and write them to a file if asked for.

    With labeled texts, a linear probe on the encoder's features scores the pool; without them, the
    pipeline's text classifier does. Then texts are suggested that it is unsure about. Without
    either, the most typical text of each cluster is suggested.

    Args:
        model: Directory or name of a pipeline, or an encoder as `create_pipeline` takes it.
        pool: Texts without labels, in any format; "-" is JSONL on stdin.
        n: Number of texts to suggest; all of the pool if it has fewer.
        labeled: Texts with labels, in the order in which they were labeled.
        output: A file to write the suggestions to.
        format: Its format; see `choose_format`.
        seed: The same seed suggests the same texts.
        device: The device to run the encoder on.

    Raises:
        ArgumentError: `n` or the format can't be used.
        DataError: A record can't be read, or there is no text to suggest.
        PipelineError: The pipeline can't be loaded, has no encoder, or fails on a text.
        EncoderError: The encoder can't be found or used.
        DeviceError: The machine has no such device.
        OutputError: The file can't be written, is an input, or is there already and isn't one of
            suggestions without labels.
    """
    if not 0 < n <= MOST_SUGGESTED:
        raise ArgumentError(f"-n: from 1 to {MOST_SUGGESTED:,} texts can be suggested, not {n:,}")
    form = choose_format(output, format)
    with ExitStack() as claims:
        file = None
        if output is not None:
            file = claims.enter_context(
                open_file(output, SUGGESTIONS, models=[model], data=[pool, labeled])
            )
        check_beginning(pool, labeled=False)
        known = [] if labeled is None else read_records(labeled, labeled=True)
        found = _suggest(model, pool, known, n=n, seed=seed, device=device)
        if file is not None:
            file.write(render(found.suggestions, form))
        return found


def _suggest(
    model: str, pool: DataSource, known: Sequence[Record], *, n: int, seed: int, device: str
) -> Suggestions:
    # spaCy and torch take seconds to import, so the checks above come first.
    from trfcli_pipeline.curation.features import encode_all, load_encoder
    from trfcli_pipeline.curation.gold import Gold
    from trfcli_pipeline.curation.pool import encode_pool, read_pool
    from trfcli_pipeline.curation.stability import has_two_labels, measure_stability
    from trfcli_pipeline.curation.suggesting import classifier_scorer, probe_scores, suggest_texts
    from trfcli_pipeline.evaluation.classifier import find_classifiers
    from trfcli_pipeline.tasks.annotation_batches import too_long

    nlp = load_encoder(model, device=device, heads=not known)

    def checked(records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            if problem := too_long(nlp, record.text):
                raise DataError(f"{where(record)}: {problem}", hint="Split the text")
            yield record

    known = list(checked(known))
    reading = track_reading(Reading(pool, labeled=False), pool)
    texts = read_pool(checked(reading), [record.text for record in known])
    if not texts.records:
        raise DataError(
            f"{pool}: no text is left to suggest ({left_out(texts)})",
            hint="Give a pool with other texts",
        )
    classifier = None if known else next(iter(find_classifiers(nlp)), None)
    features, scores = encode_pool(nlp, texts.records, classifier)
    labeled = np.empty((0, features.width), dtype=np.float32)
    scorer = stability = None
    if classifier is not None:
        scorer = classifier_scorer(classifier)
    elif known:
        labeled = encode_all(nlp, [record.text for record in known], total=len(known))
        gold = Gold.from_records(known)
        if has_two_labels(gold):
            scorer, scores = probe_scores(features, labeled, gold, penalty=PENALTY)
            stability = measure_stability(
                labeled, gold, features, min(n, len(texts.records)), penalty=PENALTY, seed=seed
            )
    found = suggest_texts(
        texts.records, features, labeled, n, scorer=scorer, scores=scores, seed=seed
    )
    return Suggestions(found, texts, stability, is_uniform=bool(known) and scorer is None)


def left_out(texts: "PoolTexts") -> str:
    """Which texts of a pool can't be suggested: "3 labeled already, 12 copies"."""
    counts = [
        f"{texts.n_labeled:,} labeled already" if texts.n_labeled else "",
        f"{texts.n_copies:,} {agree(texts.n_copies, 'copy', 'copies')}" if texts.n_copies else "",
        f"{texts.n_blank:,} without words" if texts.n_blank else "",
    ]
    return ", ".join(filter(None, counts))
