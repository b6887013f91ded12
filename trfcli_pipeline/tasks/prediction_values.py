"""The form of predicted values in a file."""

import numpy as np

TOKEN_ATTRIBUTES = ("tag", "pos", "morph", "lemma", "dep")


def shortest(score: float) -> float:
    """Return the float with the fewest digits that is the same float32."""
    return float(str(np.float32(score)))
