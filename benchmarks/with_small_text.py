"""Active learning with small-text's query strategies, in an environment without trfcli.

usage: with_small_text.py FEATURES.npz STRATEGY BATCH ROUNDS SEED

FEATURES.npz has the arrays `train`, `train_labels`, `test` and `test_labels`. Prints the accuracy
on the test texts after each batch, as JSON. The first batch is random unless the strategy ends in
"+kmeans": then it is the one of `EmbeddingKMeans`.
"""

import json
import sys
import warnings
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from small_text import query_strategies

STRATEGIES: dict[str, Any] = {
    "random": query_strategies.RandomSampling,
    "breaking ties": query_strategies.BreakingTies,
    "least confidence": query_strategies.LeastConfidence,
    "prediction entropy": query_strategies.PredictionEntropy,
    "embedding k-means": query_strategies.EmbeddingKMeans,
    "coreset": query_strategies.LightweightCoreset,
    "contrastive": query_strategies.ContrastiveActiveLearning,
}
PENALTY = 0.1


class FrozenEncoder:
    """What a query strategy asks of a classifier, for texts that are rows of features."""

    def __init__(self) -> None:
        self.model = LogisticRegression()

    def fit(self, rows: Any, labels: Any) -> None:
        """Start from the last weights if there is no new label."""
        if not np.array_equal(np.unique(labels), getattr(self.model, "classes_", None)):
            options = {"C": 1 / PENALTY, "max_iter": 1000, "tol": 1e-5, "warm_start": True}
            self.model = LogisticRegression(**options)
        self.model.fit(rows, labels)

    def predict_proba(self, rows: Any) -> Any:
        return self.model.predict_proba(rows)

    def embed(self, rows: Any, *, return_proba: bool = False, **_: Any) -> Any:
        return (rows, self.predict_proba(rows)) if return_proba else rows


def main() -> None:
    """Run one strategy once."""
    warnings.filterwarnings("ignore")
    path, strategy, *numbers = sys.argv[1:]
    batch, rounds, seed = map(int, numbers)
    data = np.load(path)
    train, labels = data["train"], data["train_labels"]
    # small-text draws from numpy's global generator.
    np.random.seed(seed)
    name, _, start = strategy.partition("+")
    query = STRATEGIES[name]()
    classifier = FrozenEncoder()
    chosen = np.array([], dtype=int)
    accuracies = []
    for number in range(rounds):
        rest = np.setdiff1d(np.arange(len(train)), chosen)
        if number == 0 and start:
            picked = query_strategies.EmbeddingKMeans().sample(
                None, train, rest, chosen, None, batch, train
            )
        elif number == 0:
            picked = np.random.choice(rest, size=batch, replace=False)
        else:
            picked = query.query(classifier, train, rest, chosen, labels[chosen], n=batch)
        chosen = np.concatenate([chosen, picked])
        classifier.fit(train[chosen], labels[chosen])
        predicted = classifier.model.predict(data["test"])
        accuracies.append(float((predicted == data["test_labels"]).mean()))
    print(json.dumps(accuracies))


if __name__ == "__main__":
    main()
