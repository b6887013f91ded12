"""Align the tokens of a text with wordpieces, as plain values."""

from typing import Any

from spacy.language import Language

from trfcli_pipeline.data.surrogates import without_surrogates
from trfcli_pipeline.pipeline.components import require_component
from trfcli_pipeline.pipeline.language import TransformersLanguage
from trfcli_pipeline.pipeline.loading import is_pipeline, load_pipeline
from trfcli_pipeline.pipeline.wordpiecer import TransformersWordPiecer
from trfcli_pipeline.tokenization.extensions import doc_alignment


def inspect_alignment(text: str, model: str = "minilm") -> dict[str, Any]:
    """Align the tokens of a text with a model's wordpieces.

    Args:
        text: The text. Lone surrogates are replaced.
        model: Directory or name of a pipeline or encoder. Only its tokenizers are loaded.

    Returns:
        A dict with four keys. "text". "sentences": the start and end character of each. "tokens":
        dicts with "i", "text", "start", "end", "wordpieces" (indices) and "truncated".
        "wordpieces": dicts with "i", "id", "text", "special", "unknown" and "tokens" (indices). All
        indices count over the whole text.

    Raises:
        EncoderError: The encoder can't be found or used.
        PipelineError: The pipeline can't be loaded or has no trf_wordpiecer.
    """
    text = without_surrogates(text)
    nlp, wordpiecer = _tokenizing_pipeline(model)
    doc = nlp(text)
    tokenizer = wordpiecer.tokenizer
    special = set(tokenizer.all_special_ids)
    alignment = doc._.trf_alignment
    seen = set(doc_alignment(doc).shares().seen_tokens.tolist())
    tokens_of_piece: list[list[int]] = [[] for _ in doc._.trf_word_pieces]
    for token, pieces in enumerate(alignment):
        for piece in pieces:
            tokens_of_piece[piece].append(token)
    return {
        "text": doc.text,
        "sentences": [[sentence.start_char, sentence.end_char] for sentence in doc.sents],
        "tokens": [
            {
                "i": token.i,
                "text": token.text,
                "start": token.idx,
                "end": token.idx + len(token),
                "wordpieces": alignment[token.i],
                "truncated": token.i not in seen,
            }
            for token in doc
        ],
        "wordpieces": [
            {
                "i": i,
                "id": id_,
                "text": string,
                # The unknown piece is a special token, but it represents text.
                "special": id_ in special and id_ != tokenizer.unk_token_id,
                "unknown": id_ == tokenizer.unk_token_id,
                "tokens": tokens,
            }
            for i, (id_, string, tokens) in enumerate(
                zip(doc._.trf_word_pieces, doc._.trf_word_pieces_, tokens_of_piece, strict=True)
            )
        ],
    }


def _tokenizing_pipeline(model: str) -> tuple[Language, TransformersWordPiecer]:
    """Load or create a pipeline up to its wordpiecer, without an encoder."""
    if is_pipeline(model):
        nlp = load_pipeline(model, exclude=["trf_tok2vec"])
    else:
        nlp = TransformersLanguage()
        nlp.add_pipe("sentencizer")
        nlp.add_pipe(TransformersWordPiecer.from_pretrained(nlp.vocab, model))
    wordpiecer = require_component(nlp, TransformersWordPiecer)
    nlp.select_pipes(enable=nlp.pipe_names[: nlp.pipe_names.index(wordpiecer.name) + 1])
    return nlp, wordpiecer
