"""A bag-of-words baseline: what a classifier reaches that knows nothing but the texts' words."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from trfcli_pipeline.curation.cross_fitting import FitPredict, Indices
from trfcli_pipeline.curation.gold import Gold
from trfcli_pipeline.evaluation.eval_prediction import FloatArray

# A weaker penalty than scikit-learn's default: each word occurs in few texts.
_INVERSE_PENALTY = 10.0


def bag_of_words(texts: Sequence[str], gold: Gold) -> FitPredict:
    """Make a function that fits TF-IDF features and a logistic regression for each label.

    Words and pairs of words are features, with logarithmic counts.

    Args:
        texts: All texts.
        gold: Their labels. Probabilities count as labels from 0.5 on.
    """

    def fit_predict(seen: Indices, held_out: Indices) -> FloatArray:
        from sklearn.feature_extraction.text import TfidfVectorizer

        # Words of one letter count, too.
        vectorizer = TfidfVectorizer(
            sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b"
        )
        try:
            known = vectorizer.fit_transform([texts[index] for index in seen])
        except ValueError:
            # No text has a word.
            return np.zeros((len(held_out), len(gold.labels)))
        unknown = vectorizer.transform([texts[index] for index in held_out])
        columns = gold.values[seen].T
        return np.stack([_fit_label(known, column, unknown) for column in columns], axis=1)

    return fit_predict


def _fit_label(known: Any, values: FloatArray, unknown: Any) -> FloatArray:
    """The probability of one label. *Shape:* (unknown texts,)"""
    from sklearn.linear_model import LogisticRegression

    labeled = np.flatnonzero(~np.isnan(values))
    applies = values[labeled] >= 0.5
    if applies.all() or not applies.any():
        share = float(applies.mean()) if len(labeled) else 0.0
        return np.full(unknown.shape[0], share)
    model = LogisticRegression(C=_INVERSE_PENALTY, solver="liblinear", random_state=0)
    found: FloatArray = model.fit(known[labeled], applies).predict_proba(unknown)[:, 1]
    return found
