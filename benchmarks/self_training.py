"""Measure what unlabeled texts add to a few labeled ones.

usage: self_training.py DATA ... [--per-label 8] [--draws 5] [--fine-tune MODEL] --results FILE

DATA is a directory with train.jsonl and test.jsonl. Each draw labels some texts of each label, and
the rest of train.jsonl is the pool. By default linear probes of the frozen encoder are compared:
without the pool, and as `trf train --unlabeled` would start a classifier (with the pool only if
cross-fitting says that it helps). With --fine-tune, `trf train` trains MODEL both ways.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import spacy
import srsly

from trfcli_pipeline.curation.features import Features, encode_all, load_encoder
from trfcli_pipeline.curation.gold import Gold
from trfcli_pipeline.curation.self_training import MOST_UNLABELED, compare_self_training, fit_start
from trfcli_pipeline.data.reading import read_records
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.events import Planned
from trfcli_pipeline.training.train import train_textcat


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", nargs="*", type=Path)
    parser.add_argument("--per-label", type=int, default=8)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--fine-tune", metavar="MODEL")
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--features", type=Path, help="Directory to keep features in.")
    parser.add_argument("--results", type=Path, required=True)
    arguments = parser.parse_args()
    for data in arguments.data:
        for result in draws(data, arguments):
            with arguments.results.open("a", encoding="utf8") as file:
                file.write(f"{json.dumps(result)}\n")
    lines = arguments.results.read_text(encoding="utf8").splitlines()
    print("\n".join(table([json.loads(line) for line in lines])))


def draws(data: Path, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Run the draws of one data set."""
    train, test = (read_records(data / f"{part}.jsonl", labeled=True) for part in ("train", "test"))
    gold = Gold.from_records([*train, *test])
    classes = gold.classes[: len(train)]
    features = None if arguments.fine_tune else _features(data, [*train, *test], arguments)
    for seed in range(arguments.draws):
        order = np.random.default_rng(seed).permutation(len(train))
        labeled = np.concatenate(
            [order[classes[order] == each][: arguments.per_label] for each in np.unique(classes)]
        )
        pool = order[~np.isin(order, labeled)][:MOST_UNLABELED]
        if features is None:
            own, rest = ([train[index] for index in part] for part in (labeled, pool))
            found = _fine_tune(arguments.fine_tune, own, rest, test)
        else:
            found = _fit_probes(features, gold, labeled, pool, train)
        yield {"data": data.name, "draw": seed, **found}


def _fit_probes(
    features: Features, gold: Gold, labeled: Any, pool: Any, train: list[Record]
) -> dict[str, Any]:
    own, texts = gold.take(labeled), [train[index].text for index in labeled]
    test = np.arange(len(train), len(gold))
    found = compare_self_training(texts, features[labeled], own, features[pool])
    without, always = (
        float((probe.predict(features[test]).argmax(axis=1) == gold.classes[test]).mean())
        for probe in (fit_start(features[labeled], own), found.probe)
    )
    return {"without": without, "always": always, "kept": found.helps}


def _fine_tune(
    model: str, labeled: list[Record], pool: list[Record], test: list[Record]
) -> dict[str, Any]:
    accuracies, kept = [], False
    with tempfile.TemporaryDirectory() as folder:
        train, unlabeled = Path(folder) / "train.jsonl", Path(folder) / "pool.jsonl"
        srsly.write_jsonl(train, [{"text": each.text, "cats": each.cats} for each in labeled])
        srsly.write_jsonl(unlabeled, [{"text": each.text} for each in pool])
        for given in (None, unlabeled):
            out = Path(folder) / f"with-{given is not None}"
            arguments = TrainingArguments(eval_every=10**6, checkpoint_every=0)
            for event in train_textcat(
                model, train, unlabeled=given, output=out, arguments=arguments
            ):
                if isinstance(event, Planned):
                    kept = event.n_unlabeled > 0
            docs = spacy.load(out).pipe(record.text for record in test)
            right = [
                max(doc.cats, key=doc.cats.__getitem__) in record.labels
                for doc, record in zip(docs, test, strict=True)
            ]
            accuracies.append(sum(right) / len(right))
    return {"without": accuracies[0], "always": accuracies[1], "kept": kept}


def _features(data: Path, records: list[Record], arguments: argparse.Namespace) -> Features:
    kept = None if arguments.features is None else arguments.features / f"{data.name}.npy"
    if kept is not None and kept.exists():
        found: Features = np.load(kept)
        return found
    texts = [record.text for record in records]
    features = encode_all(load_encoder(arguments.encoder), texts, total=len(texts))
    if kept is not None:
        np.save(kept, features)
    return features


def table(results: list[dict[str, Any]]) -> Iterator[str]:
    """The lines of a table with a row for each data set."""
    yield "| | without | with --unlabeled | difference | lowest | highest | kept |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for name in dict.fromkeys(each["data"] for each in results):
        own = [each for each in results if each["data"] == name]
        before = np.array([each["without"] for each in own])
        after = np.array([each["always" if each["kept"] else "without"] for each in own])
        gains = 100 * (after - before)
        yield (
            f"| {name} | {100 * before.mean():.1f} | {100 * after.mean():.1f} "
            f"| {gains.mean():+.1f} | {gains.min():+.1f} | {gains.max():+.1f} "
            f"| {sum(each['kept'] for each in own)} of {len(own)} |"
        )


if __name__ == "__main__":
    main()
