import gc
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from textcats import ARCHITECTURES, make
from transformers import AutoModel

from trfcli_pipeline.errors import ArgumentError, PipelineError
from trfcli_pipeline.pipeline.attributions import Attributions, attribute

TEXT = "Apple pie is delicious! The lazy dog."


def attributions(nlp: Language, doc: Doc, **options: Any) -> Attributions:
    encoder, classifier = nlp.get_pipe("trf_tok2vec"), nlp.get_pipe("trf_textcat")
    return attribute(doc, encoder, classifier, "DOG", **options)


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("pooling", ["mean", "attention"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_tokens_add_up_to_the_difference_from_an_empty_input(
    tiny_bert: Path, architecture: str, pooling: str, exclusive: bool
) -> None:
    nlp = make(tiny_bert, architecture=architecture, pooling=pooling, exclusive_classes=exclusive)
    doc = nlp(TEXT)
    found = attributions(nlp, doc)
    p = doc.cats["DOG"]
    assert found.values.shape == (len(doc),)
    assert found.values.dtype == np.float32
    assert found.score == pytest.approx(np.log(p / (1 - p)), abs=1e-4)
    assert found.values.sum() == pytest.approx(found.score - found.base, abs=0.011)
    assert found.is_complete
    assert np.abs(found.values).max() > 0.01


def test_max_pooling(tiny_bert: Path) -> None:
    # The gradient jumps wherever another segment has the maximum of a column.
    nlp = make(tiny_bert, pooling="max", exclusive_classes=True)
    found = attributions(nlp, nlp(TEXT), steps=256)
    assert found.values.sum() == pytest.approx(found.score - found.base, abs=0.05)


def test_equal_to_integrated_gradients_by_hand(tiny_bert: Path) -> None:
    nlp = make(tiny_bert, exclusive_classes=False)
    doc = nlp("Apple pie is fun.")
    assert [len(each) for each in doc._.trf_alignment] == [1, 1, 1, 1, 1]
    found = attributions(nlp, doc, steps=20)
    plain = AutoModel.from_pretrained(tiny_bert)
    output = nlp.get_pipe("trf_textcat").model.get_ref("output_layer")
    column = torch.from_numpy(output.get_param("W")[1])
    bias = float(output.get_param("b")[1])
    ids = torch.tensor([doc._.trf_word_pieces])
    own = plain.embeddings.word_embeddings(ids).detach()
    empty = own.clone()
    empty[:, 1:-1] = plain.embeddings.word_embeddings.weight[0].detach()

    def score(embeddings: torch.Tensor) -> torch.Tensor:
        return plain(inputs_embeds=embeddings).last_hidden_state.mean(dim=1)[0] @ column + bias

    total = torch.zeros(own.shape[1])
    nodes, weights = np.polynomial.legendre.leggauss(20)
    for node, weight in zip(nodes, weights, strict=True):
        point = (empty + (node + 1) / 2 * (own - empty)).requires_grad_()
        (gradient,) = torch.autograd.grad(score(point), point)
        total += weight / 2 * (gradient * (own - empty)).sum(dim=-1)[0]
    np.testing.assert_allclose(found.values, total[1:-1].numpy(), atol=1e-4)
    with torch.inference_mode():
        assert found.score == pytest.approx(float(score(own)), abs=1e-4)
        assert found.base == pytest.approx(float(score(empty)), abs=1e-4)


def test_one_step_is_gradient_times_input(tiny_bert: Path) -> None:
    nlp = make(tiny_bert, exclusive_classes=False)
    doc = nlp(TEXT)
    found = attributions(nlp, doc, steps=1)
    assert found.steps == 1
    assert not np.allclose(found.values, attributions(nlp, doc).values, atol=0.01)


def test_tokens_share_wordpieces(tiny_bert: Path) -> None:
    nlp = make(tiny_bert)
    doc = nlp(TEXT)
    before = doc._.trf_attributions("DOG")
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[0:3])
    after = doc._.trf_attributions("DOG")
    assert after[0] == pytest.approx(before[:3].sum(), abs=1e-4)
    np.testing.assert_allclose(after[1:], before[3:], atol=1e-4)


def test_truncated_tokens_add_nothing(tiny_bert: Path) -> None:
    nlp = make(tiny_bert)
    doc = nlp("lazy dog " * 40)
    values = doc._.trf_attributions("DOG", steps=2)
    unaligned = [not each for each in doc._.trf_alignment]
    assert any(unaligned)
    assert not values[unaligned].any()
    assert values[~np.array(unaligned)].all()


@pytest.mark.parametrize(("text", "length"), [("", 0), (" ", 1)])
def test_text_without_words(tiny_bert: Path, text: str, length: int) -> None:
    nlp = make(tiny_bert)
    assert nlp(text)._.trf_attributions("DOG").tolist() == [0.0] * length


@pytest.mark.filterwarnings(r"ignore:\[W109\]")
def test_doc_and_gradients_are_left_alone(tiny_bert: Path) -> None:
    nlp = make(tiny_bert, pooling="attention")
    doc = nlp(TEXT)
    before = doc.to_bytes()
    doc._.trf_attributions("DOG")
    assert doc.to_bytes() == before
    layers = nlp.get_pipe("trf_textcat").model.walk()
    assert not any(layer.has_grad(name) for layer in layers for name in layer.param_names)


def test_pipeline_of_spacy(tiny_bert: Path, tmp_path: Path) -> None:
    make(tiny_bert, keep="tensor").to_disk(tmp_path / "model")
    nlp = spacy.load(tmp_path / "model")
    first, second = nlp.pipe([TEXT, "I love this film"])
    assert first._.trf_attributions("DOG").shape == (len(first),)
    assert second._.trf_attributions("FILM", steps=4).shape == (len(second),)


@pytest.mark.filterwarnings(r"ignore:\[W109\]")
def test_doc_from_elsewhere(tiny_bert: Path) -> None:
    nlp = make(tiny_bert)
    doc = nlp(TEXT)
    others = [
        nlp.make_doc(TEXT),
        Doc(nlp.vocab).from_bytes(doc.to_bytes()),
        *DocBin(docs=[doc], store_user_data=True).get_docs(nlp.vocab),
    ]
    for each in others:
        with pytest.raises(PipelineError, match="wasn't classified in this process"):
            each._.trf_attributions("DOG")
    with pytest.raises(PipelineError, match="no longer exists"):
        pickle.loads(pickle.dumps(doc))._.trf_attributions("DOG")


def test_lost_pipeline(tiny_bert: Path) -> None:
    nlp = make(tiny_bert)
    doc = nlp(TEXT)
    for name in ("trf_textcat", "trf_tok2vec"):
        nlp.remove_pipe(name)
    gc.collect()
    with pytest.raises(PipelineError, match="no longer exists") as caught:
        doc._.trf_attributions("DOG")
    assert "Keep it in a variable" in str(caught.value.hint)


def test_unknown_label_and_steps(tiny_bert: Path) -> None:
    nlp = make(tiny_bert)
    doc = nlp(TEXT)
    with pytest.raises(ArgumentError, match="'CAT': not a label") as caught:
        doc._.trf_attributions("CAT")
    assert caught.value.hint == "Use one of: FRUIT, DOG, FILM"
    with pytest.raises(ArgumentError, match="0 is too few"):
        doc._.trf_attributions("DOG", steps=0)


def test_second_classifier(tiny_bert: Path) -> None:
    nlp = make(tiny_bert)
    other = nlp.add_pipe("trf_textcat", name="other")
    for label in ("DOG", "CAT"):
        other.add_label(label)
    other.initialize(None, nlp=nlp, labels=["DOG", "CAT"])
    doc = nlp(TEXT)
    assert doc._.trf_attributions("FILM").any()
    # Its weights are zero.
    assert not doc._.trf_attributions("CAT").any()
