"""How many labels `trf suggest` saves, against random texts and small-text's query strategies.

All of them start without labels and choose from the same features of MiniLM. After each batch, a
linear probe is fitted to the labeled texts and scored on the test texts.

    python benchmarks/active_learning.py shared/data/trec6 --batch 25 --budget 400 \
        --peer ~/small-text/bin/python

The peer's Python has small-text and scikit-learn. Prints the accuracy after each batch, in the mean
over draws, and the number of texts that each needs for the accuracy of random texts at the budget.
For `suggest` also how much each batch changed the predictions, which tells when to stop.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trfcli_pipeline.curation.array_store import ArrayStore
from trfcli_pipeline.curation.features import encode_all, load_encoder
from trfcli_pipeline.curation.gold import Gold
from trfcli_pipeline.curation.probe import fit_probe
from trfcli_pipeline.curation.selection import select_typical, select_unsure
from trfcli_pipeline.curation.stability import STOP_SET, cohen_kappa
from trfcli_pipeline.curation.suggesting import probe_scores
from trfcli_pipeline.data.reading import read_records

PENALTY = 0.1
PEERS = (
    "random",
    "breaking ties",
    "breaking ties+kmeans",
    "least confidence",
    "prediction entropy",
)
Array = NDArray[Any]


def main() -> None:
    """Run all strategies, and print their curves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path, help="directory with train.jsonl and test.jsonl")
    parser.add_argument("--batch", type=int, default=25)
    parser.add_argument("--budget", type=int, default=400, help="number of random texts to match")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--rounds", type=int, help="batches of all strategies but random")
    parser.add_argument("--strategies", nargs="*", default=["suggest", *PEERS])
    parser.add_argument("--features", type=Path, help="directory for features, to reuse them")
    parser.add_argument("--peer", default=sys.executable, help="a Python with small-text")
    arguments = parser.parse_args()
    data = read_data(arguments.data, arguments.features)
    rounds = arguments.budget // arguments.batch
    curves: dict[str, Array] = {}
    kappas: list[tuple[float, ...]] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.npz"
        np.savez(path, **data)
        for name in arguments.strategies:
            n = rounds if name == "random" else arguments.rounds or rounds
            draws = []
            for seed in range(arguments.draws):
                if name == "suggest":
                    found, agreements = zip(*suggest(data, arguments.batch, n, seed), strict=True)
                    draws.append(found)
                    kappas.append(agreements)
                else:
                    draws.append(run_peer(arguments.peer, path, name, arguments.batch, n, seed))
            curves[name] = np.mean(draws, axis=0)
            print(
                name,
                json.dumps([round(100 * each, 1) for each in curves[name].tolist()]),
                flush=True,
            )
    if kappas:
        print("suggest, kappa", json.dumps(np.mean(kappas, axis=0).round(3).tolist()))
    if "random" in curves:
        goal = curves["random"][-1]
        for name, curve in curves.items():
            needed = texts_needed(curve, goal, arguments.batch)
            share = "" if needed is None else f"{needed / arguments.budget:.2f}"
            print(f"{name}: {needed} texts for {100 * goal:.1f} % ({share})")


def read_data(folder: Path, cache: Path | None) -> dict[str, Array]:
    """The features and label numbers of both parts of a data set."""
    data: dict[str, Array] = {}
    labels: list[str] = []
    nlp = None
    for part in ("train", "test"):
        records = read_records(folder / f"{part}.jsonl", labeled=True)
        labels = labels or sorted({label for record in records for label in record.labels})
        path = None if cache is None else cache / f"feat_{folder.name}_{part}.npy"
        if path is not None and path.exists():
            data[part] = np.load(path)
        else:
            nlp = nlp or load_encoder("minilm")
            data[part] = encode_all(nlp, [record.text for record in records])
            if path is not None:
                np.save(path, data[part])
        data[f"{part}_labels"] = np.array([labels.index(*record.labels) for record in records])
    return data


def suggest(
    data: dict[str, Array], batch: int, rounds: int, seed: int
) -> Iterator[tuple[float, float]]:
    """Yield the accuracy after each batch that `trf suggest` chooses, and what the batch changed.

    The latter is Cohen's kappa of the predictions before and after it; 0 for the first one.
    """
    train, classes = data["train"], data["train_labels"]
    names = tuple(map(str, range(classes.max() + 1)))
    chosen: Array = np.array([], dtype=np.int_)
    gold: Gold | None = None
    before: Array | None = None
    every_class = np.arange(classes.max() + 1)
    drawn = np.random.default_rng(seed).permutation(len(train))[:STOP_SET]
    stop_set = train[drawn]
    for _ in range(rounds):
        rest = np.setdiff1d(np.arange(len(train)), chosen)
        pool = ArrayStore(train.shape[1])
        pool.append(train[rest])
        if gold is None:
            picked = select_typical(pool, train[chosen], batch, seed=seed)
        else:
            scorer, scores = probe_scores(pool, train[chosen], gold, penalty=PENALTY)
            margins = scorer.all_margins(scores)
            picked = select_unsure(pool, scores, margins, batch, seed=seed)
        chosen = np.concatenate([chosen, rest[picked]])
        # As in practice, only labels that were seen are known.
        seen = np.unique(classes[chosen])
        values = (classes[chosen][:, np.newaxis] == seen).astype(float)
        gold = Gold(tuple(names[each] for each in seen), values, exclusive=True)
        probe = fit_probe(train[chosen], gold, penalty=PENALTY)
        predicted = seen[probe.predict(data["test"]).argmax(axis=1)]
        decisions = seen[probe.predict(stop_set).argmax(axis=1)][:, np.newaxis] == every_class
        kappa = 0.0 if before is None else cohen_kappa(before, decisions)
        before = decisions
        yield float((predicted == data["test_labels"]).mean()), kappa


def run_peer(python: str, path: Path, name: str, batch: int, rounds: int, seed: int) -> list[float]:
    """Run a strategy of small-text in an environment of its own."""
    program = Path(__file__).parent / "with_small_text.py"
    command = [python, str(program), str(path), name, str(batch), str(rounds), str(seed)]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    accuracies: list[float] = json.loads(found.stdout)
    return accuracies


def texts_needed(curve: Array, goal: float, batch: int) -> int | None:
    """The number of texts at which a curve first reaches an accuracy; None if it doesn't.

    Between two batches, the accuracy is interpolated.
    """
    reached = np.flatnonzero(curve >= goal)
    if not len(reached):
        return None
    index = int(reached[0])
    if index == 0:
        return batch
    before, after = curve[index - 1], curve[index]
    return round(batch * (index + (goal - before) / (after - before)))


if __name__ == "__main__":
    main()
