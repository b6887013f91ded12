"""Compare the ranking of `trf check` with cleanlab's on data sets with wrong labels put in.

usage: label_errors.py --data DIR --peer-python PYTHON [--sets trec6 sst2] [--draws 5] [--finetune]

Some labels of a training set are replaced by others: by any other one ("uniform"), or by the one
that a classifier confuses most with it ("confused"). Both contestants rank all texts: `trf check`
by the features that it chooses, cleanlab by those that are chosen for the correct labels. With
--finetune, `trf check` fine-tunes the encoder instead. Wrong labels that the data sets have anyway
count as correct ones. Prints Markdown.
"""

import argparse
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trfcli_pipeline.curation.cross_fitting import (
    Indices,
    assign_folds,
    choose_features,
    cross_fit,
    linear_probe,
)
from trfcli_pipeline.curation.features import Features, load_encoder
from trfcli_pipeline.curation.gold import Gold
from trfcli_pipeline.curation.label_errors import NEIGHBORS, LabelErrors, find_label_errors
from trfcli_pipeline.curation.layer_features import encode_layers
from trfcli_pipeline.curation.neighbors import Neighbors, find_neighbors
from trfcli_pipeline.curation.weighted_probes import WeightedProbes
from trfcli_pipeline.data.reading import read_records
from trfcli_pipeline.training.fine_tuned_folds import fine_tuning

_SETS = ("trec6", "banking77", "goemotions", "sst2")
_RATES = (0.05, 0.2)
_KINDS = ("uniform", "confused")
_PENALTY = 0.3


class Task(NamedTuple):
    """Labels of which some are wrong.

    Attributes:
        values: *Shape:* (texts, labels)
        wrong: Which texts have a wrong label. *Shape:* (texts,)
    """

    rate: float
    kind: str
    draw: int
    values: np.ndarray
    wrong: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="Directory of the data sets.")
    parser.add_argument("--peer-python", required=True, help="Python with cleanlab.")
    parser.add_argument("--sets", nargs="+", default=_SETS)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--first-draw", type=int, default=0, help="seed of the first draw")
    parser.add_argument("--rates", nargs="+", type=float, default=_RATES)
    parser.add_argument("--finetune", action="store_true", help="check with fine-tuned encoders")
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--features", type=Path, help="Directory to keep features and ranks in.")
    options = parser.parse_args()
    print("| set | wrong labels | AP of trf | AP of cleanlab | ratio | first n | about |")
    print("|---|---|--:|--:|--:|--:|--:|", flush=True)
    ratios = []
    with tempfile.TemporaryDirectory() as temporary:
        cache = options.features or Path(temporary)
        for name in options.sets:
            ratios.append(compare(name, options.data, cache, options))
    print(f"\nMean ratio of the sets: {np.mean(ratios):.3f}")


def compare(name: str, data: Path, cache: Path, options: argparse.Namespace) -> float:
    """Compare on a data set, print a row for each kind of noise, and return the mean ratio."""
    records = read_records(data / name / "train.jsonl", labeled=True)
    texts = [record.text for record in records]
    gold = Gold.from_records(records)
    candidates = _features(texts, cache / f"layers_{name}_train.npy", options.encoder)
    folds = assign_folds(texts, gold)
    features, _ = choose_features(candidates, gold, folds)
    clean = (np.nan_to_num(gold.values) >= 0.5).astype(np.int8)
    probe = linear_probe(features, gold, penalty=_PENALTY)
    scores = cross_fit(probe, folds, len(gold.labels))
    confused = clean.T @ scores
    draws = range(options.first_draw, options.first_draw + options.draws)
    tasks = list(draw_tasks(clean, confused, draws, options.rates))
    peers = _run_peer(name, features, tasks, gold.exclusive, cache, options.peer_python)
    neighbors = find_neighbors(candidates[0], NEIGHBORS)
    rows: dict[tuple[float, str], list[tuple[float, ...]]] = {}
    seconds = []
    for number, task in enumerate(tasks):
        start = time.perf_counter()
        noisy = Gold(gold.labels, task.values.astype(float), gold.exclusive)
        noisy_folds = assign_folds(texts, noisy)
        if options.finetune:
            found = check_fine_tuned(options.encoder, texts, noisy, neighbors, noisy_folds)
        else:
            probes = WeightedProbes.choose(candidates, noisy, noisy_folds)
            own = find_neighbors(probes.features, NEIGHBORS)
            found = find_label_errors(probes.predict, noisy, own, noisy_folds)
        seconds.append(time.perf_counter() - start)
        best = max(average_precision(task.wrong, each) for each in peers[number])
        ours = average_precision(task.wrong, found.doubts)
        first = np.argsort(-found.doubts, kind="stable")[: task.wrong.sum()]
        row = ours, best, ours / best, task.wrong[first].mean(), found.number
        rows.setdefault((task.rate, task.kind), []).append(row)
    for (rate, kind), values in rows.items():
        mine, theirs, ratio, first_n, number_found = np.mean(values, axis=0)
        print(
            f"| {name} | {100 * rate:g} % {kind} ({rate * len(texts):,.0f}) | {mine:.3f} "
            f"| {theirs:.3f} | {ratio:.3f} | {first_n:.3f} | {number_found:,.0f} |",
            flush=True,
        )
    mean = float(np.mean([ratio for values in rows.values() for _, _, ratio, *_ in values]))
    print(f"| {name} | all | | | {mean:.3f} | {np.mean(seconds):.1f} s per run | |", flush=True)
    return mean


def check_fine_tuned(
    encoder: str, texts: list[str], gold: Gold, neighbors: Neighbors, folds: Indices
) -> LabelErrors:
    """Find label errors by fine-tuned encoders, as `trf check --finetune` does."""
    with fine_tuning(load_encoder(encoder), texts, gold, seed=0, device="auto") as fit_predict:
        scores = cross_fit(fit_predict, folds, len(gold.labels))
    return find_label_errors(lambda _: scores, gold, neighbors, folds, rounds=1)


def draw_tasks(
    clean: np.ndarray, confused: np.ndarray, draws: Iterable[int], rates: Iterable[float]
) -> Iterator[Task]:
    """Replace labels of some texts.

    Args:
        clean: 1 where a label applies. *Shape:* (texts, labels)
        confused: How much one label is predicted for texts with another. *Shape:* (labels, labels)
        draws: Seeds of the draws of each kind.
        rates: Shares of the labels to replace.
    """
    for draw in draws:
        for rate in rates:
            for kind in _KINDS:
                rng = np.random.default_rng(draw)
                values, wrong = clean.copy(), np.zeros(len(clean), dtype=bool)
                labeled = np.flatnonzero(clean.any(axis=1))
                for index in rng.choice(labeled, round(rate * len(clean)), replace=False):
                    old = rng.choice(np.flatnonzero(clean[index]))
                    others = np.flatnonzero(clean[index] == 0)
                    likeliest = others[confused[old, others].argmax()]
                    new = rng.choice(others) if kind == "uniform" else likeliest
                    values[index, old], values[index, new] = 0, 1
                    wrong[index] = True
                yield Task(rate, kind, draw, values, wrong)


def average_precision(wrong: np.ndarray, doubts: np.ndarray) -> float:
    """Mean precision at the rank of each wrong label, ties in the order of the texts."""
    hits = wrong[np.argsort(-doubts, kind="stable")]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean())


def _features(texts: list[str], path: Path, encoder: str) -> list[Features]:
    if not path.exists():
        _, candidates = encode_layers(load_encoder(encoder), texts, total=len(texts))
        np.save(path, np.array(candidates))
    return list(np.load(path))


def _run_peer(
    name: str, features: Features, tasks: list[Task], exclusive: bool, cache: Path, python: str
) -> list[list[np.ndarray]]:
    """Ranks of cleanlab for each task, one by each of its methods."""
    given, ranks = cache / f"tasks_{name}.npz", cache / f"ranks_{name}.npz"
    if not ranks.exists():
        values = np.array([task.values for task in tasks])
        np.savez(given, features=features, values=values, exclusive=exclusive)
        program = Path(__file__).with_name("with_cleanlab.py")
        subprocess.run([python, "-W", "ignore", program, given, ranks], check=True)
    found = np.load(ranks)
    return [
        [found[key] for key in found.files if key.endswith(f"_{number}")]
        for number in range(len(tasks))
    ]


if __name__ == "__main__":
    main()
