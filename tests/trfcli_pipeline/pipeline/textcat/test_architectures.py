"""Architectures that an encoder supports, and errors for the others."""

from pathlib import Path

import pytest
import spacy
from spacy.language import Language
from textcats import ARCHITECTURES, CLASS_VECTOR, LABELS, LAST_HIDDEN, POOLER_OUTPUT, TEXTS, make

from trfcli_pipeline.errors import PipelineError


@pytest.mark.parametrize(
    ("encoder", "architecture", "lacks", "works", "fails"),
    [
        ("tiny_gpt2", CLASS_VECTOR, "class token", [LAST_HIDDEN], [CLASS_VECTOR, POOLER_OUTPUT]),
        ("tiny_gpt2", POOLER_OUTPUT, "pooler", [LAST_HIDDEN], [CLASS_VECTOR, POOLER_OUTPUT]),
        (
            "tiny_bert_without_pooler",
            POOLER_OUTPUT,
            "pooler",
            [LAST_HIDDEN, CLASS_VECTOR],
            [POOLER_OUTPUT],
        ),
    ],
)
def test_an_architecture_that_the_encoder_does_not_support_is_an_error(
    request: pytest.FixtureRequest,
    encoder: str,
    architecture: str,
    lacks: str,
    works: list[str],
    fails: list[str],
) -> None:
    path = request.getfixturevalue(encoder)
    with pytest.raises(PipelineError, match=f"{architecture}: this encoder has no .*{lacks}") as e:
        make(path, architecture=architecture)
    assert e.value.hint is not None
    assert all(name in e.value.hint for name in works)
    assert not any(name in e.value.hint for name in fails)
    for name in works:
        assert make(path, architecture=name)("I love it").cats.keys() == set(LABELS)


def test_an_unknown_architecture_is_an_error() -> None:
    with pytest.raises(PipelineError, match="cnn: no such architecture") as caught:
        spacy.blank("xx").add_pipe("trf_textcat", config={"architecture": "cnn"})
    assert caught.value.hint is not None
    assert all(name in caught.value.hint for name in ARCHITECTURES)


def test_a_missing_encoder_is_an_error() -> None:
    nlp = spacy.blank("xx")
    textcat = nlp.add_pipe("trf_textcat")
    textcat.add_label("A")
    with pytest.raises(PipelineError, match="has no trf_tok2vec"):
        nlp.initialize()


def test_missing_activations_are_an_error(exclusive: Language) -> None:
    with pytest.raises(PipelineError, match="has no trf_segment_sums"):
        exclusive.get_pipe("trf_textcat")(exclusive.make_doc("I love it"))


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"architecture": CLASS_VECTOR}, "last_hidden_state"),
        ({"architecture": POOLER_OUTPUT}, "pooler_output"),
    ],
)
def test_an_architecture_requires_keep_to_include_what_it_reads(
    tiny_bert: Path, config: dict[str, str], kind: str
) -> None:
    with pytest.raises(
        PipelineError, match=f"reads {kind}, which trf_tok2vec doesn't keep"
    ) as caught:
        make(tiny_bert, keep="tensor", **config)
    assert f'keep = ["{kind}"]' in caught.value.hint
    assert make(tiny_bert, keep=[kind], **config)("I love it").cats.keys() == set(LABELS)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_the_default_architecture_needs_nothing_optional(tiny_bert: Path, pooling: str) -> None:
    every, few = (make(tiny_bert, keep=keep, pooling=pooling) for keep in ("all", "tensor"))
    for one, other in zip(every.pipe(TEXTS), few.pipe(TEXTS), strict=True):
        assert one.cats == other.cats
        assert other._.trf_last_hidden_state is None
