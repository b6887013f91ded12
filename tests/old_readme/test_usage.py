"""The first half of that README: what the package is for, training, vectors, saving."""

import importlib
import json
import re
import sys
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import torch
import transformers as hf
from classifiers import encoder_weights, same
from old_readme_pipelines import (
    HEADS,
    LAYERS,
    MAX_LENGTH,
    TEXT,
    TRAIN_DATA,
    WIDTH,
    add_textcat,
    set_up,
)
from spacy.language import Language
from spacy.tokens import Doc
from spacy.tokens.underscore import Underscore
from spacy.training import Example
from tokenizers.pre_tokenizers import ByteLevel
from typer.testing import CliRunner

from trfcli.app import app
from trfcli_pipeline import TransformersLanguage


def cosine(one: Any, other: Any) -> Any:
    return pytest.approx(one @ other / np.linalg.norm(one) / np.linalg.norm(other), abs=1e-5)


# --- Features ---


def save_roberta(path: Path) -> None:
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(ByteLevel.alphabet())]
    vocab = {piece: id_ for id_, piece in enumerate(pieces)}
    hf.RobertaTokenizer(vocab=vocab, merges=[]).save_pretrained(path)
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
    sizes |= {"vocab_size": len(vocab), "max_position_embeddings": MAX_LENGTH + 2}
    config = hf.RobertaConfig(**sizes)
    hf.RobertaModel(config).save_pretrained(path)


def save_xlnet(path: Path) -> None:
    special = ["<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>"]
    pieces = [*special, "▁", *sorted(set(TEXT))]
    hf.XLNetTokenizer(vocab=[(piece, -1.0) for piece in pieces]).save_pretrained(path)
    sizes = {"d_model": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "d_inner": 32}
    config = hf.XLNetConfig(vocab_size=len(pieces), **sizes)
    hf.XLNetModel(config).save_pretrained(path)


@pytest.mark.parametrize("encoder", ["tiny_bert", "tiny_gpt2", save_roberta, save_xlnet])
def test_bert_gpt2_roberta_and_xlnet_can_be_used(
    encoder: Any, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if isinstance(encoder, str):
        path = request.getfixturevalue(encoder)
    else:
        path = tmp_path
        encoder(path)
    doc = set_up(path)("Apple pie is delicious.")
    with torch.no_grad():
        plain = hf.AutoModel.from_pretrained(path)(torch.tensor([doc._.trf_word_pieces]))
    np.testing.assert_allclose(
        doc._.trf_last_hidden_state, plain.last_hidden_state[0].numpy(), atol=1e-4
    )


def test_encoders_are_fine_tuned(trained: Language, tiny_bert: Path) -> None:
    before = hf.AutoModel.from_pretrained(tiny_bert).state_dict()
    changed = [
        not torch.equal(value, before[key]) for key, value in encoder_weights(trained).items()
    ]
    assert np.mean(changed) > 0.9


# The other features have their own sections below.

# --- Quickstart ---


def test_installing_brings_pytorch_and_spacy() -> None:
    required = [each for each in requires("trfcli") or [] if "extra ==" not in each]
    names = {re.split(r"[^\w.-]", each)[0] for each in required}
    assert {"spacy", "torch", "transformers"} <= names


def test_a_packaged_pipeline_is_loaded_like_any_other(
    packaged: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = packaged
    monkeypatch.syspath_prepend(folder)
    nlp = importlib.import_module("xx_trf_tiny").load()
    monkeypatch.delitem(sys.modules, "xx_trf_tiny")
    doc = nlp(TEXT)
    assert -1.0 < doc[0].similarity(doc[7]) < 1.0
    assert doc._.trf_last_hidden_state.shape == (len(doc._.trf_word_pieces), WIDTH)


# --- Usage ---


def test_attributes_and_components_have_the_prefix_trf(nlp: Language) -> None:
    names = [*Underscore.doc_extensions, *nlp.pipe_names]
    assert not [name for name in names if name.startswith("pytt")]
    assert {name for name in nlp.factory_names if name.startswith("trf_")} == {
        "trf_wordpiecer",
        "trf_tok2vec",
        "trf_textcat",
    }


# --- Transfer learning ---


def test_a_pretrained_encoder_is_trained_on_custom_labels(
    training: tuple[Language, list[dict[str, float]]],
) -> None:
    nlp, losses = training
    assert losses[-1]["trf_textcat"] < losses[0]["trf_textcat"]
    assert nlp(TRAIN_DATA[0][0]).cats["POSITIVE"] > 0.5
    assert nlp(TRAIN_DATA[1][0]).cats["NEGATIVE"] > 0.5


def test_a_custom_component_can_be_written(tiny_bert: Path) -> None:
    nlp = set_up(tiny_bert)
    nlp.add_pipe("old_readme_head")
    before = nlp(TEXT)._.trf_last_hidden_state.sum()
    nlp.update([TEXT], [{}], sgd=nlp.resume_training())
    assert nlp(TEXT)._.trf_last_hidden_state.sum() > before


def test_components_of_spacy_train_the_same_encoder(tiny_bert: Path) -> None:
    nlp = set_up(tiny_bert)
    tok2vec = {"@architectures": "trfcli.TokenVectors.v1"}
    model = {"@architectures": "spacy.Tagger.v2", "tok2vec": tok2vec}
    nlp.add_pipe("tagger", config={"model": model})
    batch = [Example.from_dict(nlp.make_doc("I love"), {"tags": ["PRON", "VERB"]})]
    optimizer = nlp.initialize(lambda: batch)
    optimizer.trf_weight_decay = 0.0
    before = encoder_weights(nlp)
    losses = [nlp.update(batch, sgd=optimizer)["tagger"] for _ in range(3)]
    assert losses[-1] < losses[0]
    assert not same(encoder_weights(nlp), before)


def test_trf_textcat_predicts_from_what_trf_tok2vec_assigns(trained: Language) -> None:
    doc = trained(TEXT)
    output = trained.get_pipe("trf_textcat").model.get_ref("output_layer")
    features = doc._.trf_last_hidden_state.mean(axis=0)
    odds = np.exp(output.get_param("W") @ features + output.get_param("b"))
    np.testing.assert_allclose(list(doc.cats.values()), odds / odds.sum(), rtol=1e-4)


def test_pipe_names(nlp: Language) -> None:
    assert nlp.pipe_names == ["sentencizer", "trf_wordpiecer", "trf_tok2vec"]


def test_labels_are_added_before_the_component_is(trained: Language) -> None:
    assert trained.pipe_names[-1] == "trf_textcat"
    assert trained.get_pipe("trf_textcat").labels == ("POSITIVE", "NEGATIVE")


def test_scores_of_exclusive_classes_sum_to_one(trained: Language) -> None:
    assert sum(trained(TEXT).cats.values()) == pytest.approx(1.0)


def test_resume_training_keeps_the_encoder(tiny_bert: Path) -> None:
    nlp = add_textcat(set_up(tiny_bert))
    before = encoder_weights(nlp)
    nlp.resume_training()
    assert same(encoder_weights(nlp), before)
    assert nlp(TEXT).cats == {"POSITIVE": 0.5, "NEGATIVE": 0.5}


def test_update_with_texts_and_cats(
    training: tuple[Language, list[dict[str, float]]],
) -> None:
    _, losses = training
    assert [list(each) for each in losses] == [["trf_tok2vec", "trf_textcat"]] * 10
    # Both classes are equally likely at first.
    assert losses[0]["trf_textcat"] == pytest.approx(np.log(2))


def test_a_trained_pipeline_is_saved(trained: Language, saved: Path) -> None:
    assert spacy.load(saved)(TEXT).cats == trained(TEXT).cats


def test_the_example_of_training_is_a_command(tiny_bert: Path, tmp_path: Path) -> None:
    for name in ("train", "dev"):
        records = [
            {"text": text.upper() if name == "dev" else text, **annotation}
            for text, annotation in TRAIN_DATA
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(f"{json.dumps(r)}\n" for r in records))
    model, train, dev = (str(tmp_path / each) for each in ("model", "train.jsonl", "dev.jsonl"))
    for command in (
        ["init-model", str(tiny_bert), model],
        ["train-textcat", model, train, "--dev", dev, "--epochs", "1"],
    ):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
    assert spacy.load(model)(TEXT).cats.keys() == {"POSITIVE", "NEGATIVE"}


# --- Vectors and similarity ---


def test_vectors_of_tokens_spans_and_docs_are_from_doc_tensor(doc: Doc) -> None:
    np.testing.assert_array_equal(doc[2].vector, doc.tensor[2])
    np.testing.assert_allclose(doc[1:4].vector, doc.tensor[1:4].sum(axis=0), atol=1e-5)
    np.testing.assert_allclose(doc.vector, doc.tensor.sum(axis=0), atol=1e-5)


def test_similarity_uses_doc_tensor_and_not_word_vectors(tiny_bert: Path) -> None:
    nlp = set_up(tiny_bert)
    for word in ("apple", "pie", "rose"):
        nlp.vocab.set_vector(word, np.ones(3, "f"))
    one, other = nlp("apple pie"), nlp("rose apple")
    assert one[0].similarity(other[1]) == cosine(one.tensor[0], other.tensor[1])
    assert one[0:1].similarity(other[0:1]) == cosine(one.tensor[0], other.tensor[0])
    assert one.similarity(other) == cosine(one.tensor.sum(axis=0), other.tensor.sum(axis=0))


def test_vectors_depend_on_the_context(nlp: Language) -> None:
    apples = [
        nlp(text)[0]
        for text in (
            "Apple shares rose on the news.",
            "Apple sold fewer iPhones this quarter.",
            "Apple pie is delicious.",
        )
    ]
    similarities = [apples[0].similarity(other) for other in apples[1:]]
    assert len({*similarities, 1.0}) == 3


# --- Serialization ---


def test_weights_are_written_to_disk_and_read_back(trained: Language, saved: Path) -> None:
    assert (saved / "trf_tok2vec" / "model" / "model.safetensors").exists()
    assert same(encoder_weights(spacy.load(saved)), encoder_weights(trained))


def test_weights_are_written_to_bytes_and_read_back(trained: Language) -> None:
    again = TransformersLanguage.from_config(trained.config, meta=trained.meta)
    again.from_bytes(trained.to_bytes())
    assert same(encoder_weights(again), encoder_weights(trained))
    assert again(TEXT).cats == trained(TEXT).cats


def test_a_saved_pipeline_names_its_language_class(saved: Path) -> None:
    nlp = spacy.load(saved)
    assert type(nlp) is TransformersLanguage
    assert nlp.config["nlp"]["lang"] == "trf"
    assert json.loads((saved / "meta.json").read_text())["lang"] == "xx"


def test_requirements_in_meta_name_this_package_with_its_version(saved: Path) -> None:
    (requirement,) = json.loads((saved / "meta.json").read_text())["requirements"]
    assert re.match(r"trfcli>=\d", requirement)


def test_spacy_package_puts_this_package_into_install_requires(
    packaged: tuple[Path, dict[str, Any]],
) -> None:
    _, given = packaged
    assert given["name"] == "xx_trf_tiny"
    assert sum(each.startswith("trfcli>=") for each in given["install_requires"]) == 1
