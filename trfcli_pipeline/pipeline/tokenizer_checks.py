"""Checks that a tokenizer and an encoder belong together."""

from typing import Any

from spacy.language import Language

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.pipeline.wordpiecer import TransformersWordPiecer

_HINT = "Give trf_wordpiecer and trf_tok2vec the same trf_name, and initialize both again"


def check_tokenizers(nlp: Language | None, config: Any) -> None:
    """Check that the encoder of a pipeline knows the wordpieces that the pipeline finds.

    Args:
        nlp: The pipeline; None if there is none.
        config: The encoder's config.

    Raises:
        PipelineError: It doesn't.
    """
    for _, pipe in () if nlp is None else nlp.components:
        if isinstance(pipe, TransformersWordPiecer) and pipe.is_loaded:
            _check_tokenizer(pipe, config)


def _check_tokenizer(wordpiecer: TransformersWordPiecer, config: Any) -> None:
    known: int | None = getattr(config, "vocab_size", None)
    if known is None:
        return
    own = wordpiecer.vocab_size
    if own is not None and own != known:
        raise PipelineError(
            f"{wordpiecer.name}: its tokenizer is that of another model, with {own} wordpieces; "
            f"the encoder has {known}",
            hint=_HINT,
        )
    unknown = _unknown_pieces(wordpiecer.tokenizer, known)
    if unknown:
        raise PipelineError(
            f"{wordpiecer.name}: its tokenizer has {len(unknown)} wordpieces that the encoder "
            f"doesn't know, such as {unknown[0]!r}",
            hint=_HINT,
        )
    # XLNet has -1.
    limit, positions = wordpiecer.max_length, getattr(config, "max_position_embeddings", None)
    if limit is not None and positions is not None and 0 < positions < limit:
        raise PipelineError(
            f"{wordpiecer.name}: its segments have up to {limit} wordpieces; the encoder accepts "
            f"{positions}",
            hint=_HINT,
        )


def _unknown_pieces(tokenizer: Any, known: int) -> list[str]:
    """Return the wordpieces in texts whose id is too large."""
    if len(tokenizer) <= known:
        return []
    # A special token that was added for padding or masks doesn't occur in inputs.
    used = {*tokenizer("")["input_ids"], tokenizer.unk_token_id}
    unused = {*tokenizer.all_special_ids} - used
    vocab = tokenizer.get_vocab()
    return sorted(piece for piece, id_ in vocab.items() if id_ >= known and id_ not in unused)
