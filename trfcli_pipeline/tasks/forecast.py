"""Forecast how much a text classifier gains from more labeled texts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trfcli_pipeline.data.checks import overlap_warnings, with_text
from trfcli_pipeline.data.dataset import DataSource
from trfcli_pipeline.data.duplicates import normal_form
from trfcli_pipeline.data.labels import check_labels, label_names
from trfcli_pipeline.data.reading import read_records
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.data.wording import plural
from trfcli_pipeline.errors import DataError
from trfcli_pipeline.tasks.origin import read_origin

if TYPE_CHECKING:
    from spacy.language import Language

    from trfcli_pipeline.curation.extrapolation import Band
    from trfcli_pipeline.curation.separability import Separability

# Fewer texts have no learning curve.
_LEAST_TEXTS = 20
# A forecast for so many times the texts at hand is a guess.
_FARTHEST = 3
# With more texts the curve is measured on some of them, drawn at random.
_MOST_TEXTS = 10_000


@dataclass(frozen=True, slots=True)
class Forecast:
    """The learning curve of some data, and where it leads.

    Attributes:
        metric: The key of the score: "accuracy", or "cats_micro_f" if labels aren't exclusive.
        n_texts: Number of labeled texts.
        n_more: Number of further texts that the forecast is for.
        dev: The dev set that scores are measured on; None for cross-fitting.
        sizes: Numbers of training texts at which the curve was measured.
        measured: The score at each of these.
        now, then: The score with `n_texts`, and with `n_more` in addition.
        exponent: That of the power law.
        label_gains: The F score of each label now, and what it gains; see
            `Extrapolation.label_gains`.
        separability: The frozen encoder beside a bag of words.
        warnings: What to know before relying on the forecast, as sentences.
    """

    metric: str
    n_texts: int
    n_more: int
    dev: str | None
    sizes: Sequence[int]
    measured: "Sequence[Band]"
    now: "Band"
    then: "Band"
    exponent: float
    label_gains: "Mapping[str, tuple[float, Band]]"
    separability: "Separability"
    warnings: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        """The forecast for a program; a score is a list of value, low and high."""
        return {
            "metric": self.metric,
            "texts": self.n_texts,
            "more_texts": self.n_more,
            "dev": self.dev,
            "now": self.now.as_json(),
            "then": self.then.as_json(),
            "exponent": self.exponent,
            "curve": [
                {"texts": size, "score": band.as_json()}
                for size, band in zip(self.sizes, self.measured, strict=True)
            ],
            "labels": {
                label: {"f": f, "gain": gain.as_json()}
                for label, (f, gain) in self.label_gains.items()
            },
            "baseline": self.separability.as_json(),
            "warnings": list(self.warnings),
        }


def forecast(
    model: str,
    train: DataSource,
    *,
    dev: DataSource | None = None,
    more: int | None = None,
    seed: int = 0,
    device: str = "auto",
) -> Forecast:
    """Measure the learning curve of labeled texts, and extend it by a power law.

    Linear probes of the frozen encoder are fitted to parts of the texts, and predict texts that
    they haven't seen.

    Args:
        model: Directory or name of a pipeline, or an encoder.
        train: A data file of any format with labeled texts.
        dev: Labeled texts to score on; by default the texts are cross-fitted.
        more: Number of further texts; by default as many as there are.
        seed: Seed of all random numbers.
        device: The device to run the encoder on.

    Raises:
        DataError: A record can't be read, or there are too few texts or labels.
        PipelineError: The pipeline can't be loaded or has no encoder.
        EncoderError: The encoder can't be found or used.
        DeviceError: The machine has no such device.
    """
    records = list(with_text(read_records(train, labeled=True)))
    dev_records = [] if dev is None else list(with_text(read_records(dev, labeled=True)))
    _check(str(train), records)
    if dev is not None:
        check_labels(records, dev_records, dev_name=str(dev))
    overlaps = list(overlap_warnings(records, dev_records))

    import numpy as np

    from trfcli_pipeline.curation.cross_fitting import assign_folds, choose_penalty, linear_probe
    from trfcli_pipeline.curation.extrapolation import Extrapolation
    from trfcli_pipeline.curation.features import encode_all, load_encoder
    from trfcli_pipeline.curation.gold import Gold
    from trfcli_pipeline.curation.learning_curve import (
        cross_fitted_draws,
        curve_sizes,
        dev_draws,
        measure_curve,
    )
    from trfcli_pipeline.curation.separability import compare_with_words

    n_texts = len(records)
    if n_texts > _MOST_TEXTS:
        drawn = np.random.default_rng(seed).permutation(n_texts)[:_MOST_TEXTS]
        records = [records[index] for index in sorted(drawn.tolist())]
    labels = label_names(records)
    gold = Gold.from_records([*records, *dev_records], labels=labels)
    texts = [record.text for record in (*records, *dev_records)]
    nlp = load_encoder(model, device=device)
    features = encode_all(nlp, texts, total=len(texts))
    own = np.arange(len(records))
    folds = assign_folds(texts[: len(own)], gold.take(own), seed=seed)
    probe = linear_probe(
        features, gold, penalty=choose_penalty(features[own], gold.take(own), folds)
    )
    if dev is None:
        draws = cross_fitted_draws(texts, gold, seed=seed)
    else:
        draws = dev_draws(len(records), len(dev_records), seed=seed)
    curve = measure_curve(probe, gold, draws, curve_sizes(draws), "Measuring the learning curve")
    found = Extrapolation(curve, n_texts)
    separability = compare_with_words(curve, texts, gold, draws)
    n_more = more or n_texts
    return Forecast(
        separability.metric,
        n_texts,
        n_more,
        None if dev is None else str(dev),
        curve.sizes.tolist(),
        found.measured_bands(),
        found.at(n_texts),
        found.at(n_texts + n_more),
        float(found.laws.exponent[0]),
        found.label_gains(n_texts + n_more),
        separability,
        [
            *overlaps,
            *_warnings(model, nlp, len(records), n_texts, n_more),
            *filter(None, [separability.warning]),
        ],
    )


def _check(name: str, records: Sequence[Record]) -> None:
    """Check that there are texts and labels to measure a curve with. Copies don't count."""
    pairs = {(normal_form(record.text), label) for record in records for label in record.labels}
    n_different = len({normal_form(record.text) for record in records})
    if n_different < _LEAST_TEXTS:
        noun = "text" if n_different == len(records) else "different text"
        raise DataError(
            f"{name}: {plural(n_different, noun)}, too few for a learning curve",
            hint=f"Label at least {_LEAST_TEXTS} texts",
        )
    labels = label_names(records)
    if all(record.labels == records[0].labels for record in records):
        raise DataError(
            f"{name}: all texts have the same labels" if labels else f"{name}: no text has a label",
            hint="A classifier needs texts with different labels",
        )
    if max(Counter(label for _, label in pairs).values(), default=0) < 2:
        raise DataError(
            f"{name}: each label has only one text",
            hint="A learning curve needs several texts of a label",
        )


def _warnings(model: str, nlp: "Language", n_measured: int, n_texts: int, n_more: int) -> list[str]:
    found = []
    if n_more > _FARTHEST * n_texts:
        found.append(
            f"{n_more:,} more texts are over {_FARTHEST} times as many as there are, so the "
            "forecast is a guess"
        )
    # A frozen encoder has no learning rate.
    if "trf_lr" in (read_origin(nlp.meta)["training"] or {}):
        found.append(
            f"The encoder of {model} was fine-tuned. If these texts were among its training texts, "
            "all scores are too high: use the pipeline that the training started from"
        )
    if n_measured < n_texts:
        found.append(
            f"The curve was measured on {n_measured:,} of {plural(n_texts, 'text')}, drawn at "
            "random"
        )
    return found
