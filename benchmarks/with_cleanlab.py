"""cleanlab as a contestant: rank texts by how likely their labels are wrong.

usage: with_cleanlab.py TASKS.npz RANKS.npz

It runs in an environment of its own, with cleanlab and scikit-learn. It must not import trfcli.
"""

import sys

import numpy as np
from cleanlab.multilabel_classification import get_label_quality_scores as multilabel_quality
from cleanlab.rank import get_label_quality_scores
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.multiclass import OneVsRestClassifier

_METHODS = ("self_confidence", "normalized_margin")
_FOLDS = 5
_ITERATIONS = 1000


def rank(features: np.ndarray, values: np.ndarray, *, exclusive: bool) -> dict[str, np.ndarray]:
    """Rate the labels of texts, higher where they are more likely wrong.

    Args:
        features: *Shape:* (texts, width)
        values: 1 where a label is given. *Shape:* (texts, labels)

    Returns:
        A score for each text, by the name of cleanlab's method.
    """
    model = LogisticRegression(max_iter=_ITERATIONS)
    if exclusive:
        given = values.argmax(axis=1)
        folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
        scores = cross_val_predict(model, features, given, cv=folds, method="predict_proba")
        return {
            name: -get_label_quality_scores(given, scores, method=name, adjust_pred_probs=False)
            for name in _METHODS
        }
    lists = [np.flatnonzero(row).tolist() for row in values]
    scores = cross_val_predict(
        OneVsRestClassifier(model),
        features,
        values,
        cv=KFold(_FOLDS, shuffle=True, random_state=0),
        method="predict_proba",
    )
    return {
        name: -multilabel_quality(lists, scores, method=name, adjust_pred_probs=False)
        for name in _METHODS
    }


if __name__ == "__main__":
    tasks = np.load(sys.argv[1])
    exclusive = bool(tasks["exclusive"])
    ranks = {}
    for draw, values in enumerate(tasks["values"]):
        for name, scores in rank(tasks["features"], values, exclusive=exclusive).items():
            ranks[f"{name}_{draw}"] = scores
    np.savez(sys.argv[2], **ranks)
