"""Check forecasts of learning curves against what more texts really give.

usage: forecast.py DATA ... [--sizes 600 900 1300] [--draws 5] [--seed 10] [--results FILE]

DATA is a directory with train.jsonl and test.jsonl. Each trial draws twice N texts. The first N
are what `trf forecast` would be given; a probe that is fitted to all of them is scored on the
remaining texts (at most 5,000). Each trial is a line of the results, and a table follows.
"""

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from trfcli_pipeline.curation.cross_fitting import (
    Indices,
    assign_folds,
    choose_penalty,
    linear_probe,
)
from trfcli_pipeline.curation.extrapolation import Extrapolation
from trfcli_pipeline.curation.features import Features, encode_all, load_encoder
from trfcli_pipeline.curation.gold import Gold
from trfcli_pipeline.curation.learning_curve import (
    Draw,
    cross_fitted_draws,
    curve_sizes,
    measure_curve,
)
from trfcli_pipeline.data.reading import read_records

_MOST_TEST_TEXTS = 5000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", nargs="*", type=Path)
    parser.add_argument("--sizes", nargs="+", type=int, default=[600, 900, 1300])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--seed", type=int, default=10)
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--features", type=Path, help="Directory to keep features in.")
    parser.add_argument("--results", type=Path, required=True)
    arguments = parser.parse_args()
    for data in arguments.data:
        for trial in trials(data, arguments):
            with arguments.results.open("a", encoding="utf8") as file:
                file.write(f"{json.dumps(trial)}\n")
    lines = arguments.results.read_text(encoding="utf8").splitlines()
    print("\n".join(table([json.loads(line) for line in lines])))


def trials(data: Path, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Run the trials of one data set."""
    records = [
        record
        for part in ("train", "test")
        for record in read_records(data / f"{part}.jsonl", labeled=True)
    ]
    gold, texts = Gold.from_records(records), [record.text for record in records]
    features = _features(data, texts, arguments)
    for n_texts in arguments.sizes:
        for seed in range(arguments.seed, arguments.seed + arguments.draws):
            order = np.random.default_rng(seed).permutation(len(records))
            own, twice, rest = order[:n_texts], order[: 2 * n_texts], order[2 * n_texts :]
            own_gold, own_texts = gold.take(own), [texts[index] for index in own]
            draws = cross_fitted_draws(own_texts, own_gold)
            penalty = choose_penalty(features[own], own_gold, assign_folds(own_texts, own_gold))
            probe = linear_probe(features[own], own_gold, penalty=penalty)
            curve = measure_curve(probe, own_gold, draws, curve_sizes(draws), "Measuring")
            found = Extrapolation(curve, n_texts)
            now, then = found.at(n_texts), found.at(2 * n_texts)
            test = rest[:_MOST_TEST_TEXTS]
            truths = [_true_score(features, gold, texts, part, test) for part in (own, twice)]
            yield {
                "data": data.name,
                "texts": n_texts,
                "seed": seed,
                "now": now.as_json(),
                "then": then.as_json(),
                "true_now": truths[0],
                "true_then": truths[1],
            }


def _true_score(
    features: Features, gold: Gold, texts: list[str], train: Indices, test: Indices
) -> float:
    """The score on the test texts of a probe that is fitted to all training texts."""
    part = gold.take(train)
    folds = assign_folds([texts[index] for index in train], part)
    probe = linear_probe(features, gold, penalty=choose_penalty(features[train], part, folds))
    sizes = np.array([len(train)])
    curve = measure_curve(probe, gold, [Draw(train, test)], sizes, "Scoring")
    tp, fp, fn = (each.sum() for each in curve.label_counts(np.ones((1, len(test)))))
    return float(2 * tp / (2 * tp + fp + fn))


def _features(data: Path, texts: list[str], arguments: argparse.Namespace) -> Features:
    kept = None if arguments.features is None else arguments.features / f"{data.name}.npy"
    if kept is not None and kept.exists():
        found: Features = np.load(kept)
        return found
    features = encode_all(load_encoder(arguments.encoder), texts, total=len(texts))
    if kept is not None:
        np.save(kept, features)
    return features


def table(results: list[dict[str, Any]]) -> Iterator[str]:
    """The lines of a table with a row for each data set, each number of texts, and all trials."""
    yield "| | trials | within the band | width: mean | width: most | mean error of the forecast |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for key in ("data", "texts"):
        for value in dict.fromkeys(each[key] for each in results):
            name = f"{value:,} texts" if key == "texts" else value
            yield _row(name, [each for each in results if each[key] == value])
    yield _row("all", results)


def _row(name: str, results: Iterable[dict[str, Any]]) -> str:
    results = list(results)
    bands = np.array([each["then"] for each in results])
    truth = np.array([each["true_then"] for each in results])
    inside = (bands[:, 1] <= truth) & (truth <= bands[:, 2])
    widths = 100 * (bands[:, 2] - bands[:, 1])
    error = 100 * np.abs(bands[:, 0] - truth).mean()
    return (
        f"| {name} | {len(results)} | {100 * inside.mean():.0f} % | {widths.mean():.1f} "
        f"| {widths.max():.1f} | {error:.1f} |"
    )


if __name__ == "__main__":
    main()
