"""Fine-tuned classifiers for cross-fitted predictions."""

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from spacy.language import Language

from trfcli_pipeline.curation.cross_fitting import FitPredict, Indices
from trfcli_pipeline.curation.gold import Gold
from trfcli_pipeline.data.formats.json import to_json
from trfcli_pipeline.evaluation.eval_prediction import FloatArray
from trfcli_pipeline.evaluation.run import predict_texts
from trfcli_pipeline.pipeline.loading import load_pipeline
from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.train import train_textcat


@contextmanager
def fine_tuning(
    nlp: Language, texts: Sequence[str], gold: Gold, *, seed: int, device: str
) -> Iterator[FitPredict]:
    """Fine-tune an encoder with a new classifier on some texts, and predict others with it.

    Each model is trained in a temporary directory, as `train_textcat` does it by default, and
    removed once it has predicted.

    Args:
        nlp: A pipeline that isn't changed, without a text classifier.
        texts: The texts that indices count.
        gold: Their labels.
        seed: Seed of all random numbers.
        device: The device to train on.

    Yields:
        The function for `cross_fit`.
    """
    arguments = TrainingArguments(exclusive=gold.exclusive, seed=seed, device=device)
    with tempfile.TemporaryDirectory(prefix="trf-check-") as name:
        directory = Path(name)
        untrained, trained, data = (directory / each for each in ("encoder", "model", "data.jsonl"))
        nlp.to_disk(untrained)

        def fit_predict(seen: Indices, held_out: Indices) -> FloatArray:
            rows = (f"{to_json(_row(texts[index], gold, index))}\n" for index in seen.tolist())
            data.write_text("".join(rows), encoding="utf8")
            training = train_textcat(
                str(untrained), data, output=trained, arguments=arguments, force=True
            )
            for _ in training:
                pass
            model = load_pipeline(str(trained), device=device)
            found = predict_texts(model, [texts[index] for index in held_out], title="Predicting")
            # A rare label may be missing from the texts of the other folds.
            rows_of_scores = [[cats.get(each, 0.0) for each in gold.labels] for cats in found.cats]
            return np.array(rows_of_scores)

        yield fit_predict


def _row(text: str, gold: Gold, index: int) -> dict[str, object]:
    values = dict(zip(gold.labels, gold.values[index].tolist(), strict=True))
    if gold.exclusive:
        return {"text": text, "label": max(values, key=values.__getitem__)}
    known = {label: value for label, value in values.items() if not math.isnan(value)}
    return {"text": text, "cats": known}
