"""Features of texts in groups, and labels for them."""

from typing import Any

import numpy as np

from trfcli_pipeline.curation.array_store import ArrayStore
from trfcli_pipeline.curation.features import Features, normalized


def make_groups(sizes: list[int], width: int = 8) -> tuple[Features, Any]:
    """Unit vectors in groups around the axes, and the group of each."""
    random = np.random.default_rng(1)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    rows = np.eye(width)[groups] + 0.02 * random.normal(size=(len(groups), width))
    return normalized(rows.astype(np.float32)), groups


def store_of(rows: Any) -> ArrayStore:
    store = ArrayStore(rows.shape[1])
    store.append(rows)
    return store


FEATURES, GROUPS = make_groups([40, 30, 20, 10])
NONE = FEATURES[:0]
