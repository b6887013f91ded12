"""The registered factories of the components, with their settings.

spaCy finds them by the entry points of this package.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from spacy.language import Language

from trfcli_pipeline.pipeline import textcat, tok2vec
from trfcli_pipeline.pipeline.textcat import TransformersTextCategorizer
from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec
from trfcli_pipeline.pipeline.wordpiecer import TransformersWordPiecer
from trfcli_pipeline.tokenization.segments import Segmentation


@Language.factory(
    "trf_wordpiecer",
    default_config={"trf_name": "", **asdict(Segmentation())},
    assigns=["doc._.trf_word_pieces", "doc._.trf_word_pieces_", "doc._.trf_alignment"],
    requires=["token.is_sent_start"],
)
def make_wordpiecer(
    nlp: Language,
    name: str,
    trf_name: str,
    segments: str,
    long_sentences: str,
    max_length: int | None,
    separator: str,
) -> TransformersWordPiecer:
    """Create trf_wordpiecer from its config.

    Args:
        nlp: The pipeline.
        name: Name of the component in the pipeline.
        trf_name: The encoder whose tokenizer `nlp.initialize` loads: a hub id, a directory, or a
            packaged encoder such as "minilm".
        segments: What the encoder sees as one input: each of the "sentences", the whole "doc", or
            "windows" of as many consecutive sentences as fit.
        long_sentences: What to do with a segment that is too long: "truncate" it, or "window" it
            into consecutive segments.
        max_length: Maximum number of wordpieces in a segment, special tokens included; null for
            the encoder's own maximum (2048 if it has none).
        separator: Text that separates the two texts of a pair; "" for no pairs.
    """
    return TransformersWordPiecer.from_nlp(
        nlp,
        name=name,
        trf_name=trf_name,
        segments=segments,
        long_sentences=long_sentences,
        max_length=max_length,
        separator=separator,
    )


@Language.factory(
    "trf_tok2vec",
    default_config={"trf_name": "", **tok2vec.DEFAULT_SETTINGS},
    assigns=[
        "doc.tensor",
        "doc._.trf_last_hidden_state",
        "doc._.trf_pooler_output",
        "doc._.trf_segment_sums",
    ],
    requires=["doc._.trf_word_pieces"],
)
def make_tok2vec(
    nlp: Language,
    name: str,
    trf_name: str,
    words_per_batch: int | str | None,
    device: str,
    all_hidden_states: bool,
    all_attentions: bool,
    precision: str,
    keep: str | list[str],
) -> TransformersTok2Vec:
    """Create trf_tok2vec from its config.

    Args:
        nlp: The pipeline.
        name: Name of the component in the pipeline.
        trf_name: The encoder that `nlp.initialize` loads: a hub id, a directory, or a packaged
            encoder such as "minilm".
        words_per_batch: Maximum number of wordpieces in a sub-batch, padding included; "auto" to
            choose it by the memory that is free, 0 for no sub-batching, null for 2,000 on a CPU and
            "auto" on other devices.
        device: Where the encoder runs: "auto" for the machine's accelerator if it has one, or a
            name that torch knows, such as "cpu" or "cuda:1".
        all_hidden_states: Whether to return the output of every layer.
        all_attentions: Whether to return the attentions.
        precision: Precision of training: "fp32", "bf16", "fp16", or "auto" for bf16 where the
            device supports it natively and is faster with it, else fp32; predictions are always
            computed in float32.
        keep: Activations to keep on predicted Docs beside `doc.tensor`: "all", "tensor" for none,
            or a list of "last_hidden_state", "pooler_output", "all_hidden_states" and
            "all_attentions".
    """
    return TransformersTok2Vec.from_nlp(
        nlp,
        name=name,
        trf_name=trf_name,
        words_per_batch=words_per_batch,
        device=device,
        all_hidden_states=all_hidden_states,
        all_attentions=all_attentions,
        precision=precision,
        keep=keep,
    )


@Language.factory(
    "trf_textcat",
    default_config={
        **textcat.DEFAULT_SETTINGS,
        "scorer": {"@scorers": "trfcli.textcat_scorer.v1"},
    },
    assigns=["doc.cats"],
    requires=["doc._.trf_segment_sums"],
    default_score_weights={
        "cats_score": 1.0,
        "cats_score_desc": None,
        "cats_micro_p": None,
        "cats_micro_r": None,
        "cats_micro_f": None,
        "cats_macro_p": None,
        "cats_macro_r": None,
        "cats_macro_f": None,
        "cats_macro_auc": None,
        "cats_f_per_type": None,
    },
)
def make_textcat(
    nlp: Language,
    name: str,
    architecture: str,
    pooling: str,
    exclusive_classes: bool,
    threshold: float,
    class_weights: dict[str, float],
    focal_gamma: float,
    scorer: Callable[..., dict[str, Any]] | None,
) -> TransformersTextCategorizer:
    """Create trf_textcat from its config; see `TransformersTextCategorizer` for the settings."""
    return TransformersTextCategorizer.from_nlp(
        nlp,
        name=name,
        architecture=architecture,
        pooling=pooling,
        exclusive_classes=exclusive_classes,
        threshold=threshold,
        class_weights=class_weights,
        focal_gamma=focal_gamma,
        scorer=scorer,
    )
