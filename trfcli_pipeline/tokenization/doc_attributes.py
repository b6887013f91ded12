"""The values behind the `._.trf_*` attributes of a Doc, and the names of these attributes."""

from typing import Any

from spacy.tokens import Doc

WORD_PIECES, STRINGS, TYPE_IDS = "trf_word_pieces", "trf_word_pieces_", "trf_token_type_ids"
# The parts of the alignment; see `alignment.Alignment`.
LINKS, SEGMENTS, UNSEEN = "trf_alignment_links", "trf_segments", "trf_unseen_tokens"
# Start and end character of each token that the alignment refers to, of each wordpiece, and of each
# token that `doc.tensor` has a row for.
TOKEN_SPANS, PIECE_SPANS, TENSOR_SPANS = "trf_token_spans", "trf_piece_spans", "trf_tensor_spans"
# Which tokenizer and settings the wordpieces are from.
FINGERPRINT = "trf_fingerprint"
# The encoder's outputs.
HIDDEN, POOLER = "trf_last_hidden_state", "trf_pooler_output"
HIDDENS, ATTENTIONS = "trf_all_hidden_states", "trf_all_attentions"
SUMS = "trf_segment_sums"
# What `trf_labels`, `trf_unsure` and `trf_label_set` are computed from, besides `doc.cats`: the
# classifiers as plain tuples.
CLASSIFIERS = "trf_classifiers"
# How unlike the labeled texts a text is.
NOVELTY = "trf_novelty"


def gradient_of(name: str) -> str:
    """Return the name of the attribute with the gradient of one of the encoder's outputs."""
    return name.replace("trf_", "trf_d_", 1)


def stored(doc: Doc, name: str) -> Any:
    """Return an attribute of a Doc as it is stored, without following the tokens."""
    data: Any = doc.user_data
    return data.get(("._.", name, None, None))


def store(doc: Doc, name: str, value: Any) -> None:
    """Store an attribute of a Doc."""
    data: Any = doc.user_data
    data["._.", name, None, None] = value


def discard(doc: Doc, name: str) -> None:
    """Remove an attribute of a Doc, if it is stored."""
    data: Any = doc.user_data
    data.pop(("._.", name, None, None), None)
