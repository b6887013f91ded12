"""Docs with random alignments and activations, as input of Thinc layers."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import NumpyOps

from trfcli_pipeline.heads.token_rows import token_rows
from trfcli_pipeline.tokenization.alignment import Alignment
from trfcli_pipeline.tokenization.extensions import doc_alignment, install_extensions

# No deadline: the duration of an example depends on the machine.
quick = settings(max_examples=60)

install_extensions()

OPS = NumpyOps()
WIDTH = 3
CLASS_ID, SEP_ID = 101, 102

# Number of seen tokens, number of truncated ones, and for each wordpiece the tokens that it is
# linked with (none for a special token)
Segment = tuple[int, int, list[set[int]]]


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    n_seen = draw(st.integers(1, 5))
    tokens = st.sets(st.integers(0, n_seen - 1), max_size=3)
    return n_seen, draw(st.integers(0, 2)), draw(st.lists(tokens, max_size=7))


batches = st.lists(segments(), max_size=4)
seeds = st.integers(0, 2**16)


def make_alignment(batch: list[Segment]) -> Alignment:
    links, rows, token, piece = [], [], 0, 0
    for n_seen, n_truncated, pieces in batch:
        rows.append((token, token + n_seen, len(pieces)))
        links += [(token + i, piece + j) for j, tokens in enumerate(pieces) for i in tokens]
        token, piece = token + n_seen + n_truncated, piece + len(pieces)
    return Alignment(
        np.array(sorted(links), dtype=np.int32).reshape(-1, 2),
        np.array(rows, dtype=np.int32).reshape(-1, 3),
        token,
    )


def share_matrix(batch: list[Segment]) -> np.ndarray:
    """The part of each wordpiece's row that each token gets. Shape: (tokens, wordpieces)"""
    n_tokens = sum(n_seen + n_truncated for n_seen, n_truncated, _ in batch)
    matrix = np.zeros((n_tokens, sum(len(pieces) for _, _, pieces in batch)))
    token = piece = 0
    for n_seen, n_truncated, pieces in batch:
        for tokens in pieces:
            for i in tokens or range(n_seen):
                matrix[token + i, piece] = 1 / len(tokens or range(n_seen))
            piece += 1
        token += n_seen + n_truncated
    return matrix


def random_rows(n_rows: int, seed: int, low: float = -1.0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, 1.0, (n_rows, WIDTH)).astype("f")


def make_doc(lengths: list[int], seed: int = 0, *, class_at: int = 0) -> Doc:
    """A Doc whose sentences have `lengths` wordpieces, with zeros as gradients."""
    doc = Doc(Vocab(), words=["word"] * len(lengths))
    sentences = [[SEP_ID] * length for length in lengths]
    for ids in sentences:
        ids[class_at] = CLASS_ID
    doc._.trf_word_pieces = [id_ for ids in sentences for id_ in ids]
    segments = [(i, i + 1, length) for i, length in enumerate(lengths)]
    doc._.trf_segments = np.array(segments, dtype=np.int32).reshape(-1, 3)
    doc._.trf_alignment = [[] for _ in lengths]
    doc._.trf_last_hidden_state = random_rows(sum(lengths), seed)
    doc._.trf_segment_sums = segment_sums(doc._.trf_last_hidden_state, lengths)
    doc.tensor = token_rows(OPS, doc_alignment(doc).shares(), doc._.trf_last_hidden_state)
    doc._.trf_pooler_output = random_rows(len(lengths), seed + 1)
    doc._.trf_d_last_hidden_state = np.zeros((sum(lengths), WIDTH), "f")
    doc._.trf_d_pooler_output = np.zeros((len(lengths), WIDTH), "f")
    doc._.trf_d_segment_sums = np.zeros((len(lengths), WIDTH), "f")
    return doc


def segment_sums(rows: np.ndarray, lengths: list[int]) -> np.ndarray:
    ends = np.cumsum(lengths, dtype=int)
    sums = [rows[end - length : end].sum(axis=0) for end, length in zip(ends, lengths, strict=True)]
    return np.array(sums, dtype="f").reshape(-1, WIDTH)


def clear_gradients(docs: list[Doc]) -> None:
    for doc in docs:
        doc._.trf_d_last_hidden_state = doc._.trf_d_pooler_output = None
        doc._.trf_d_segment_sums = None


def make_aligned_doc(batch: list[Segment], seed: int) -> Doc:
    alignment = make_alignment(batch)
    doc = Doc(Vocab(), words=["word"] * alignment.n_tokens)
    doc._.trf_alignment_links, doc._.trf_segments = alignment.links, alignment.segments
    doc._.trf_last_hidden_state = random_rows(alignment.n_pieces, seed)
    doc._.trf_d_last_hidden_state = np.zeros_like(doc._.trf_last_hidden_state)
    doc.tensor = token_rows(OPS, alignment.shares(), doc._.trf_last_hidden_state)
    return doc
