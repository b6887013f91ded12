"""Measure when a classifier doesn't answer, its label sets, and texts that belong to no label.

usage: selective.py DATA [--encoder minilm] [--draws 5] [--left-out 20] [--cache DIR] [--finetune]

DATA is a directory with train.jsonl and test.jsonl, whose texts have one label each. In each draw,
a tenth of the training set is held out as the dev set, and a linear probe of the frozen encoder is
trained on the others; with --finetune, the encoder is trained as well, as `trf train` does. For the
texts that belong to no label, some labels are left out of the training set and of the dev set; the
test texts that have them are to be found.
"""

import argparse
import json
import random
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp
from scipy.stats import rankdata

from trfcli_pipeline.curation.features import encode_all, load_encoder, normalized
from trfcli_pipeline.curation.gold import Gold
from trfcli_pipeline.curation.probe import fit_probe
from trfcli_pipeline.data.reading import read_records
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.data.splitting import stratified_split
from trfcli_pipeline.evaluation.abstention import Aim, fit_abstention
from trfcli_pipeline.evaluation.eval_prediction import EvalPrediction
from trfcli_pipeline.evaluation.promises import SelectiveEvaluation
from trfcli_pipeline.evaluation.temperature import logits_of
from trfcli_pipeline.heads.novelty import Novelty

PENALTY = 0.1
TARGETS = (0.95, 0.97)


class Texts:
    """The texts of a data set, and their features under a frozen encoder."""

    def __init__(self, data: Path, encoder: str, cache: Path | None) -> None:
        self.records: dict[str, Sequence[Record]] = {
            part: read_records(str(data / f"{part}.jsonl"), labeled=True)
            for part in ("train", "test")
        }
        self.labels = sorted({label for record in self.records["train"] for label in record.labels})
        self.features = {}
        for part, records in self.records.items():
            file = None if cache is None else cache / f"feat_{data.name}_{part}.npy"
            if file is not None and file.exists():
                self.features[part] = np.load(file)
            else:
                texts = [record.text for record in records]
                self.features[part] = encode_all(load_encoder(encoder), texts)
        self.place = {
            id(record): (part, place)
            for part, records in self.records.items()
            for place, record in enumerate(records)
        }

    def features_of(self, records: Sequence[Record]) -> Any:
        places = [self.place[id(record)] for record in records]
        return np.stack([self.features[part][place] for part, place in places])


class Predicted(NamedTuple):
    """What a classifier reads of some texts, and what it predicts.

    Attributes:
        features: *Shape:* (texts, width)
        scores: *Shape:* (texts, labels)
        logits: *Shape:* (texts, labels)
    """

    features: np.ndarray
    scores: np.ndarray
    logits: np.ndarray


def with_probe(
    texts: Texts, parts: Mapping[str, Sequence[Record]], labels: Sequence[str], seed: int
) -> dict[str, Predicted]:
    """Features and scores of each part's texts, by a linear probe."""
    features = {part: texts.features_of(records) for part, records in parts.items()}
    gold = Gold.from_records(parts["train"], labels=labels, exclusive=True)
    probe = fit_probe(features["train"], gold, penalty=PENALTY)
    return {
        part: Predicted(each, probe.predict(each), each @ probe.weights.T + probe.bias)
        for part, each in features.items()
    }


def with_finetuning(
    texts: Texts, parts: Mapping[str, Sequence[Record]], labels: Sequence[str], seed: int
) -> dict[str, Predicted]:
    """Features and scores of each part's texts, by a pipeline that was trained as a whole."""
    import spacy

    from trfcli_pipeline.pipeline.creating import create_pipeline
    from trfcli_pipeline.training.abstaining import predict_features
    from trfcli_pipeline.training.arguments import TrainingArguments
    from trfcli_pipeline.training.train import train_textcat

    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        create_pipeline("minilm")[0].to_disk(root / "start")
        for part in ("train", "dev"):
            rows = [{"text": each.text, "labels": list(each.labels)} for each in parts[part]]
            lines = "".join(f"{json.dumps(row)}\n" for row in rows)
            (root / f"{part}.jsonl").write_text(lines)
        for _ in train_textcat(
            str(root / "start"),
            str(root / "train.jsonl"),
            dev=str(root / "dev.jsonl"),
            output=root / "trained",
            arguments=TrainingArguments(seed=seed),
        ):
            pass
        nlp = spacy.load(root / "trained")
        classifier = nlp.get_pipe("trf_textcat")
        output = classifier.model.get_ref("output_layer")
        order = [classifier.labels.index(label) for label in labels]
        found = {}
        for part, records in parts.items():
            both = predict_features(nlp, classifier, [each.text for each in records])
            logits = both[0] @ output.get_param("W").T + output.get_param("b")
            found[part] = Predicted(both[0], both[1][:, order], logits[:, order])
        return found


def measure(texts: Texts, seed: int, left_out: int, predict: Any) -> dict[str, float]:
    """Run one draw, and return what was found."""
    train, dev = stratified_split(texts.records["train"], 0.1, seed)
    parts = {"train": [*train], "dev": [*dev], "test": [*texts.records["test"]]}
    found = {}
    predicted = predict(texts, parts, texts.labels, seed)
    predictions = {
        part: _prediction(parts[part], predicted[part].scores, texts.labels)
        for part in ("dev", "test")
    }
    found["accuracy"] = float(predictions["test"].correct.mean())
    for target in TARGETS:
        fitted = fit_abstention(predictions["dev"], Aim("accuracy", target))
        result = SelectiveEvaluation(predictions["test"], fitted)
        coverage, accuracy = result.coverage, result.accuracy
        found[f"answered for {target:.0%}"] = coverage.found if coverage else 0.0
        found[f"accuracy for {target:.0%}"] = accuracy.found if accuracy else 1.0
        # Without a bound: the plain dev accuracy, which is too optimistic.
        found[f"accuracy for {target:.0%}, no bound"] = _plain_choice(predictions, result, target)
    sets = result.set_coverage
    found |= {"coverage of sets": sets.found, "labels per set": result.set_size or 0.0}
    found["AURC"] = result.curve.area
    found |= measure_novelty(texts, parts, seed, left_out, predict)
    return found


def _plain_choice(predictions: Any, test: SelectiveEvaluation, target: float) -> float:
    dev = SelectiveEvaluation(predictions["dev"], test.fitted)
    curve = dev.curve
    enough = curve.coverage[1.0 - curve.risk >= target]
    least = np.quantile(dev.confidence, 1 - enough.max()) if len(enough) else 2.0
    answered = test.confidence >= least
    return float(test.prediction.correct[answered].mean()) if answered.any() else 1.0


def measure_novelty(
    texts: Texts, parts: Mapping[str, Sequence[Record]], seed: int, left_out: int, predict: Any
) -> dict[str, float]:
    """AUROC of texts that belong to no label, for each score."""
    out = {*random.Random(seed).sample(texts.labels, left_out)}
    labels = [label for label in texts.labels if label not in out]
    known = {
        part: [each for each in records if part == "test" or out.isdisjoint(each.labels)]
        for part, records in parts.items()
    }
    is_new = np.array([not out.isdisjoint(each.labels) for each in known["test"]])
    predicted = predict(texts, known, labels, seed)
    train, dev, test = (predicted[part] for part in ("train", "dev", "test"))
    novelty = Novelty.fit(train.features, dev.features, dev.scores, exclusive=True)
    columns = {label: place for place, label in enumerate(labels)}
    classes = np.array([columns[min(each.labels)] for each in known["train"]])
    nearest = normalized(test.features) @ normalized(train.features).T
    values = {
        "trf novelty": novelty.score(test.features, test.scores),
        "1 - highest probability": -test.scores.max(axis=1),
        "entropy": -(test.scores * logits_of(test.scores, exclusive=True)).sum(axis=1),
        "energy": -logsumexp(test.logits, axis=1),
        "highest logit": -test.logits.max(axis=1),
        "nearest neighbors": -np.sort(nearest, axis=1)[:, -3:].mean(axis=1),
        **mahalanobis(train.features, classes, test.features),
    }
    return {f"AUROC, {name}": _auroc(each, is_new) for name, each in values.items()}


def mahalanobis(train: np.ndarray, classes: np.ndarray, test: np.ndarray) -> dict[str, np.ndarray]:
    """Mahalanobis distance to the nearest class (Lee et al. 2018), and relative to all texts.

    The latter is by Ren et al. 2021, "A Simple Fix to Mahalanobis Distance for Improving Near-OOD
    Detection".
    """
    train, test = train.astype(np.float64), test.astype(np.float64)
    means = np.stack([train[classes == each].mean(axis=0) for each in range(classes.max() + 1)])
    within = _distances(test, means, train - means[classes]).min(axis=1)
    background = _distances(test, train.mean(axis=0, keepdims=True), train - train.mean(axis=0))
    return {"Mahalanobis": within, "relative Mahalanobis": within - background[:, 0]}


def _distances(rows: np.ndarray, means: np.ndarray, centered: np.ndarray) -> np.ndarray:
    covariance = centered.T @ centered / len(centered)
    ridge = 1e-6 * np.trace(covariance) / len(covariance)
    root = np.linalg.cholesky(np.linalg.inv(covariance + ridge * np.eye(len(covariance))))
    rows, means = rows @ root, means @ root
    return (rows**2).sum(axis=1)[:, None] + (means**2).sum(axis=1) - 2 * rows @ means.T


def _auroc(values: np.ndarray, positive: np.ndarray) -> float:
    ranks = rankdata(values)
    n_positive = positive.sum()
    above = ranks[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(above / (n_positive * (~positive).sum()))


def _prediction(
    records: Sequence[Record], scores: np.ndarray, labels: Sequence[str]
) -> EvalPrediction:
    gold = Gold.from_records(records, labels=labels, exclusive=True)
    return EvalPrediction(
        labels=tuple(labels),
        exclusive=True,
        thresholds=np.full(len(labels), 0.5),
        indices=np.arange(len(records)),
        gold=gold.values,
        scores=scores,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--left-out", type=int, default=20)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--finetune", action="store_true")
    arguments = parser.parse_args()
    texts = Texts(arguments.data, arguments.encoder, arguments.cache)
    predict = with_finetuning if arguments.finetune else with_probe
    results = []
    for seed in range(arguments.draws):
        results.append(measure(texts, seed, arguments.left_out, predict))
        print(json.dumps({"draw": seed, **results[-1]}), flush=True)
    print("| | mean | " + " | ".join(f"draw {seed}" for seed in range(len(results))) + " |")
    print("| --- |" + " ---: |" * (len(results) + 1))
    for name in results[0]:
        values = [result[name] for result in results]
        cells = [f"{value:.4f}" for value in (float(np.mean(values)), *values)]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
