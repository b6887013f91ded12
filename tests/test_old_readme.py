"""What the README of spacy-transformers 0.5 promises, statement by statement, in its order.

People who come from that package find here what still holds. Each test is the shortest check of
one statement from end to end; the tests of the modules go deeper. What doesn't hold any more:

- Python 3.6 and spaCy 2.2: Python 3.11 and spaCy 3.8 are the least.
- Extras for CUDA versions: torch's own builds bring CUDA along.
- Packages of pretrained models to download: `trf init-model` makes a pipeline of any encoder.
- `torch.set_default_tensor_type`: trf_tok2vec finds the GPU itself, or has it from its `device`.
- `lang_factory` in meta.json: in spaCy 3, `lang` in the config says which `Language` it is.
- `python setup.py sdist`: setuptools would rather have `python -m build`, which `trf package` runs.
- `GoldParse`, and `docs` and `golds` as keywords of `update`: spaCy 3 has `Example` in their place,
  and texts with annotations go by position.
- `TransformersWordPiecer(vocab, name=...)`: spaCy 3 names the component so. The encoder's name
  goes by position.
- An error from a second `install_extensions`: it is harmless now.
- `(strings, None)` from `TransformersWordPiecer.predict`, a named tuple from that of
  `TransformersTok2Vec`: the one finds out more than strings, the other gives `Activations`, whose
  attributes have the same names.
- A list as `trf_pooler_output`: it is an array, which has a row where that list had an array.
- `doc.tensor.sum(axis=1)`: the two arrays have as many columns, not as many rows, so `axis=0`.
- 3,000 as the default of `words_per_batch`, at one place of two: 2,000, as at the other. They are
  wordpieces rather than words.
- `from spacy.tokens import Vocab`, `thinc.neural.Model`: `spacy.vocab` and `thinc.api` have them.
"""

import importlib
import inspect
import json
import random
import re
import runpy
import sys
import warnings
from dataclasses import fields, is_dataclass
from importlib.metadata import entry_points, requires
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import torch
import transformers as hf
from safetensors.torch import load_file
from spacy.cli.package import package as spacy_package
from spacy.language import Language
from spacy.pipeline import TextCategorizer
from spacy.tokens import Doc, Span, Token
from spacy.tokens.underscore import Underscore
from spacy.training import Example
from spacy.util import fix_random_seed, get_lang_class, minibatch
from spacy.vocab import Vocab
from thinc.api import Model
from tokenizers.pre_tokenizers import ByteLevel
from typer.testing import CliRunner

from trfcli.app import app
from trfcli_pipeline import (
    Activations,
    TransformersLanguage,
    TransformersTextCategorizer,
    TransformersTok2Vec,
    TransformersWordPiecer,
)
from trfcli_pipeline.errors import PipelineError

WIDTH, LAYERS, HEADS, MAX_LENGTH = 16, 2, 4, 64
TEXT = "Apple shares rose on the news. Apple pie is delicious."
TRAIN_DATA = [
    ("I love this film, it is great fun.", {"cats": {"POSITIVE": 1.0, "NEGATIVE": 0.0}}),
    ("I hate this film; it is a terrible bore.", {"cats": {"POSITIVE": 0.0, "NEGATIVE": 1.0}}),
]
EVERYTHING = {"all_hidden_states": True, "all_attentions": True}
GRADIENTS = {
    "trf_d_last_hidden_state": "trf_last_hidden_state",
    "trf_d_pooler_output": "trf_pooler_output",
    "trf_d_all_hidden_states": "trf_all_hidden_states",
    "trf_d_all_attentions": "trf_all_attentions",
}


def set_up(encoder: Path, lang: str = "xx", **settings: Any) -> Language:
    """A pipeline in the way of that README. English takes longer to load than all of the rest."""
    name = str(encoder)
    nlp = TransformersLanguage(trf_name=name, meta={"lang": lang})
    nlp.add_pipe(nlp.create_pipe("sentencizer"))
    nlp.add_pipe(TransformersWordPiecer.from_pretrained(nlp.vocab, name))
    nlp.add_pipe(TransformersTok2Vec.from_pretrained(nlp.vocab, name, **settings))
    return nlp


def add_textcat(nlp: Language) -> Language:
    textcat = nlp.create_pipe("trf_textcat", config={"exclusive_classes": True})
    for label in ("POSITIVE", "NEGATIVE"):
        textcat.add_label(label)
    nlp.add_pipe(textcat)
    return nlp


class Head:
    """A component of one's own: it wants hidden states to grow, and notes what it gets to see."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: list[dict[str, Any]] = []

    def __call__(self, doc: Doc) -> Doc:
        return doc

    def update(self, examples: list[Example], **_: Any) -> None:
        for doc in (eg.predicted for eg in examples):
            names = [*GRADIENTS, *GRADIENTS.values()]
            self.seen.append({"tensor": doc.tensor, **{name: doc._.get(name) for name in names}})
            doc._.trf_d_last_hidden_state = doc._.trf_d_last_hidden_state - 1.0


@Language.factory("old_readme_head")
def make_head(nlp: Language, name: str) -> Head:
    return Head(name)


def weights(nlp: Language) -> dict[str, torch.Tensor]:
    state = nlp.get_pipe("trf_tok2vec").transformers_model.state_dict()
    return {key: value.clone() for key, value in state.items()}


def same_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def cosine(one: Any, other: Any) -> Any:
    return pytest.approx(one @ other / np.linalg.norm(one) / np.linalg.norm(other), abs=1e-5)


@pytest.fixture(scope="module")
def nlp(tiny_bert: Path) -> Language:
    return set_up(tiny_bert, "en", **EVERYTHING)


@pytest.fixture(scope="module")
def doc(nlp: Language) -> Doc:
    return nlp(TEXT)


@pytest.fixture(scope="module")
def training(tiny_bert: Path) -> tuple[Language, list[dict[str, float]]]:
    """That README's loop: the pipeline that comes of it, and the losses of each epoch."""
    fix_random_seed(0)
    nlp = add_textcat(set_up(tiny_bert))
    data, history = list(TRAIN_DATA), []
    optimizer = nlp.resume_training()
    for _ in range(10):
        random.shuffle(data)
        losses: dict[str, float] = {}
        for batch in minibatch(data, size=8):
            texts, cats = zip(*batch, strict=True)
            nlp.update(texts, cats, sgd=optimizer, losses=losses)
        history.append(losses)
    return nlp, history


@pytest.fixture(scope="module")
def trained(training: tuple[Language, list[dict[str, float]]]) -> Language:
    return training[0]


@pytest.fixture(scope="module")
def saved(trained: Language, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pipelines") / "bert-textcat"
    trained.to_disk(path)
    return path


@pytest.fixture(scope="module")
def packaged(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """What `spacy package` makes of it, and what its setup.py gives to setuptools."""
    folder = tmp_path_factory.mktemp("packages") / "xx_trf_tiny-1.0.0"
    given: dict[str, Any] = {}
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        # It leaves it to the garbage collector to close what it writes.
        warnings.simplefilter("ignore", ResourceWarning)
        spacy_package(saved, folder.parent, name="trf_tiny", version="1.0.0", create_sdist=False)
        patch.setattr("setuptools.setup", given.update)
        patch.chdir(folder)
        runpy.run_path("setup.py", run_name="__main__")
    return folder, given


@pytest.fixture(scope="module")
def seen(tiny_bert: Path) -> dict[str, Any]:
    """What a head behind another sees of a text during an update."""
    nlp = add_textcat(set_up(tiny_bert, **EVERYTHING))
    head = nlp.add_pipe("old_readme_head")
    optimizer = nlp.resume_training()
    for _ in range(2):
        # In the first update, the classifier's weights are still zero, and so is its gradient.
        nlp.update([TRAIN_DATA[0][0]], [TRAIN_DATA[0][1]], sgd=optimizer)
    return head.seen[-1]


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
    changed = [not torch.equal(value, before[key]) for key, value in weights(trained).items()]
    assert np.mean(changed) > 0.9


# The other features have sections of their own, below.

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


def test_a_pretrained_encoder_is_trained_on_labels_of_ones_own(
    training: tuple[Language, list[dict[str, float]]],
) -> None:
    nlp, losses = training
    assert losses[-1]["trf_textcat"] < losses[0]["trf_textcat"]
    assert nlp(TRAIN_DATA[0][0]).cats["POSITIVE"] > 0.5
    assert nlp(TRAIN_DATA[1][0]).cats["NEGATIVE"] > 0.5


def test_a_component_for_another_task_can_be_written(tiny_bert: Path) -> None:
    nlp = set_up(tiny_bert)
    nlp.add_pipe("old_readme_head")
    before = nlp(TEXT)._.trf_last_hidden_state.sum()
    nlp.update([TEXT], [{}], sgd=nlp.resume_training())
    assert nlp(TEXT)._.trf_last_hidden_state.sum() > before


def test_components_of_spacys_own_train_the_same_encoder(tiny_bert: Path) -> None:
    nlp = set_up(tiny_bert)
    tok2vec = {"@architectures": "trfcli.TokenVectors.v1"}
    model = {"@architectures": "spacy.Tagger.v2", "tok2vec": tok2vec}
    nlp.add_pipe("tagger", config={"model": model})
    batch = [Example.from_dict(nlp.make_doc("I love"), {"tags": ["PRON", "VERB"]})]
    optimizer = nlp.initialize(lambda: batch)
    optimizer.trf_weight_decay = 0.0
    before = weights(nlp)
    losses = [nlp.update(batch, sgd=optimizer)["tagger"] for _ in range(3)]
    assert losses[-1] < losses[0]
    assert not same_weights(weights(nlp), before)


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


def test_exclusive_classes_exclude_each_other(trained: Language) -> None:
    assert sum(trained(TEXT).cats.values()) == pytest.approx(1.0)


def test_resume_training_keeps_the_encoder(tiny_bert: Path) -> None:
    nlp = add_textcat(set_up(tiny_bert))
    before = weights(nlp)
    nlp.resume_training()
    assert same_weights(weights(nlp), before)
    assert nlp(TEXT).cats == {"POSITIVE": 0.5, "NEGATIVE": 0.5}


def test_update_with_texts_and_cats(
    training: tuple[Language, list[dict[str, float]]],
) -> None:
    _, losses = training
    assert [list(each) for each in losses] == [["trf_tok2vec", "trf_textcat"]] * 10
    # Both of its classes are as likely at first.
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
    assert same_weights(weights(spacy.load(saved)), weights(trained))


def test_weights_are_written_to_bytes_and_read_back(trained: Language) -> None:
    again = TransformersLanguage.from_config(trained.config, meta=trained.meta)
    again.from_bytes(trained.to_bytes())
    assert same_weights(weights(again), weights(trained))
    assert again(TEXT).cats == trained(TEXT).cats


def test_a_saved_pipeline_says_which_language_class_it_needs(saved: Path) -> None:
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


# --- Extension attributes ---


def test_trf_alignment_is_a_list_of_indices_for_each_token(doc: Doc) -> None:
    alignment = doc._.trf_alignment
    assert len(alignment) == len(doc)
    assert all(type(index) is int for indices in alignment for index in indices)


def test_trf_alignment_of_a_token_is_its_list_of_indices(doc: Doc) -> None:
    assert [token._.trf_alignment for token in doc] == doc._.trf_alignment
    assert doc[0]._.trf_alignment == [1]


def test_trf_word_pieces_are_ids(doc: Doc, tiny_bert: Path) -> None:
    tokenizer = hf.AutoTokenizer.from_pretrained(tiny_bert)
    expected = [tokenizer(sentence.text)["input_ids"] for sentence in doc.sents]
    assert doc._.trf_word_pieces == [id_ for ids in expected for id_ in ids]


def test_trf_word_pieces_with_an_underscore_are_strings(doc: Doc, tiny_bert: Path) -> None:
    tokenizer = hf.AutoTokenizer.from_pretrained(tiny_bert)
    assert doc._.trf_word_pieces_ == tokenizer.convert_ids_to_tokens(doc._.trf_word_pieces)
    assert doc._.trf_word_pieces_[:3] == ["[CLS]", "apple", "shares"]


def test_trf_last_hidden_state_is_an_array(doc: Doc) -> None:
    assert isinstance(doc._.trf_last_hidden_state, np.ndarray)
    assert doc._.trf_last_hidden_state.shape == (len(doc._.trf_word_pieces), WIDTH)


def test_trf_pooler_output_has_an_array_for_each_sentence(doc: Doc) -> None:
    assert [each.shape for each in doc._.trf_pooler_output] == [(WIDTH,)] * 2


def test_trf_all_hidden_states_is_a_list_of_arrays(doc: Doc) -> None:
    states = doc._.trf_all_hidden_states
    shape = (len(doc._.trf_word_pieces), WIDTH)
    assert [state.shape for state in states] == [shape] * (LAYERS + 1)
    np.testing.assert_array_equal(states[-1], doc._.trf_last_hidden_state)


def test_all_attentions_is_a_list_of_arrays(doc: Doc) -> None:
    sizes = doc._.trf_segments[:, 2].tolist()
    assert [each.shape for each in doc._.all_attentions] == [(LAYERS, HEADS, n, n) for n in sizes]
    assert doc._.all_attentions is doc._.trf_all_attentions


def test_trf_d_last_hidden_state_is_the_gradient_of_the_heads(seen: dict[str, Any]) -> None:
    gradient, hidden = seen["trf_d_last_hidden_state"], seen["trf_last_hidden_state"]
    assert gradient.shape == hidden.shape
    assert gradient.any()


def test_trf_d_pooler_output_is_a_gradient(seen: dict[str, Any]) -> None:
    assert seen["trf_d_pooler_output"].shape == seen["trf_pooler_output"].shape


@pytest.mark.parametrize("name", ["trf_d_all_hidden_states", "trf_d_all_attentions"])
def test_gradients_of_lists_are_lists(seen: dict[str, Any], name: str) -> None:
    shapes = [[each.shape for each in seen[key]] for key in (name, GRADIENTS[name])]
    assert shapes[0] == shapes[1]


PIECES = ["trf_alignment", "trf_word_pieces", "trf_word_pieces_"]


@pytest.mark.parametrize("name", [*PIECES, *GRADIENTS.values(), "all_attentions", *GRADIENTS])
def test_attributes_are_on_docs_spans_and_tokens(name: str) -> None:
    assert all(owner.has_extension(name) for owner in (Doc, Span, Token))


def test_a_span_and_a_token_have_their_part_of_the_values(doc: Doc) -> None:
    assert doc[0:2]._.trf_word_pieces_ == ["apple", "shares"]
    np.testing.assert_array_equal(
        doc[0]._.trf_last_hidden_state, doc._.trf_last_hidden_state[doc._.trf_alignment[0]]
    )


# --- Setting up the pipeline ---


def test_the_pipeline_needs_wordpieces_before_vectors(tiny_bert: Path) -> None:
    nlp = spacy.blank("xx")
    tok2vec = TransformersTok2Vec.from_pretrained(nlp.vocab, str(tiny_bert))
    with pytest.raises(PipelineError, match="no wordpieces"):
        tok2vec(nlp(TEXT))


def test_trf_name_says_which_pretrained_model_to_use(tiny_bert: Path) -> None:
    nlp = TransformersLanguage(trf_name=str(tiny_bert), meta={"lang": "xx"})
    for name in ("sentencizer", "trf_wordpiecer", "trf_tok2vec"):
        nlp.add_pipe(nlp.create_pipe(name))
    nlp.initialize()
    assert nlp(TEXT)._.trf_word_pieces_[:2] == ["[CLS]", "apple"]


def test_the_way_of_spacy_3_gives_the_same_pipeline(nlp: Language, tiny_bert: Path) -> None:
    other = spacy.blank("trf")
    other.add_pipe("sentencizer")
    other.add_pipe("trf_wordpiecer", config={"trf_name": str(tiny_bert)})
    other.add_pipe("trf_tok2vec", config={"trf_name": str(tiny_bert), **EVERYTHING})
    other.initialize()
    assert other.config == nlp.config
    assert other.meta == nlp.meta
    np.testing.assert_array_equal(other(TEXT).tensor, nlp(TEXT).tensor)


def test_from_pretrained_loads_the_model_of_transformers(nlp: Language, tiny_bert: Path) -> None:
    plain = hf.AutoModel.from_pretrained(tiny_bert)
    assert type(nlp.get_pipe("trf_tok2vec").transformers_model) is type(plain)
    assert same_weights(weights(nlp), plain.state_dict())
    tokenizer = hf.AutoTokenizer.from_pretrained(tiny_bert)
    assert nlp.get_pipe("trf_wordpiecer").tokenizer.get_vocab() == tokenizer.get_vocab()


def test_the_example_of_making_a_model_is_a_command(tiny_bert: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["init-model", str(tiny_bert), str(tmp_path / "model")])
    assert result.exit_code == 0, result.output
    nlp = spacy.load(tmp_path / "model")
    assert nlp.pipe_names == ["sentencizer", "trf_wordpiecer", "trf_tok2vec"]
    assert nlp.meta["lang"] == "en"


def test_a_model_is_loaded_from_a_path_with_the_old_files(tiny_bert: Path, tmp_path: Path) -> None:
    """The name of the model is in the path; the config doesn't say it."""
    path = tmp_path / "scibert-scivocab-uncased"
    path.mkdir()
    torch.save(load_file(tiny_bert / "model.safetensors"), path / "pytorch_model.bin")
    vocab = hf.AutoTokenizer.from_pretrained(tiny_bert).get_vocab()
    (path / "vocab.txt").write_text("\n".join(sorted(vocab, key=vocab.__getitem__)), "utf-8")
    config = json.loads((tiny_bert / "config.json").read_text())
    del config["model_type"], config["architectures"]
    (path / "config.json").write_text(json.dumps(config))
    expected = set_up(tiny_bert)(TEXT).tensor
    np.testing.assert_array_equal(set_up(path)(TEXT).tensor, expected)


# --- Tokenization alignment ---


def test_rare_words_have_several_wordpieces(nlp: Language) -> None:
    doc = nlp("I love iPhones")
    assert len(doc[2]._.trf_alignment) > 1
    assert [len(token._.trf_alignment) for token in doc[:2]] == [1, 1]


def test_alignment_may_be_many_to_many(nlp: Language) -> None:
    doc = Doc(nlp.vocab, ["fil", "ms"], spaces=[False, False])
    nlp.get_pipe("trf_wordpiecer")(doc)
    assert doc._.trf_word_pieces_ == ["[CLS]", "film", "##s", "[SEP]"]
    assert doc._.trf_alignment == [[1], [1, 2]]


def test_alignment_lists_consecutive_indices_of_wordpieces(nlp: Language) -> None:
    doc = nlp("Zürich's iPhones reopened. Unbelievable!")
    assert len(doc._.trf_alignment) == len(doc)
    for indices in doc._.trf_alignment:
        assert indices == list(range(indices[0], indices[-1] + 1))
    assert doc._.trf_alignment[-1][-1] < len(doc._.trf_word_pieces_)


def test_the_last_hidden_state_has_a_row_for_each_wordpiece(doc: Doc) -> None:
    assert len(doc._.trf_last_hidden_state) == len(doc._.trf_word_pieces)


def test_doc_tensor_has_a_row_for_each_token(doc: Doc) -> None:
    assert doc.tensor.shape == (len(doc), WIDTH)


def test_doc_tensor_sums_to_the_last_hidden_state(doc: Doc) -> None:
    hidden = doc._.trf_last_hidden_state
    np.testing.assert_allclose(doc.tensor.sum(axis=0), hidden.sum(axis=0), atol=1e-4)


def test_a_wordpiece_is_shared_equally_by_its_tokens(nlp: Language) -> None:
    doc = Doc(nlp.vocab, ["fil", "ms"], spaces=[False, False])
    for name in ("trf_wordpiecer", "trf_tok2vec"):
        nlp.get_pipe(name)(doc)
    first, film, plural, last = doc._.trf_last_hidden_state
    np.testing.assert_allclose(doc.tensor[0], film / 2 + (first + last) / 2, atol=1e-5)
    np.testing.assert_allclose(doc.tensor[1], film / 2 + plural + (first + last) / 2, atol=1e-5)


def test_special_tokens_are_shared_by_all_tokens_of_their_sentence(nlp: Language) -> None:
    doc = nlp("I love it. A bore")
    hidden, sizes = doc._.trf_last_hidden_state, doc._.trf_segments[:, 2]
    boundary = hidden[sizes[0]] + hidden[-1]
    assert doc[4].text == "A"
    (index,) = doc[4]._.trf_alignment
    np.testing.assert_allclose(doc.tensor[4], hidden[index] + boundary / 2, atol=1e-5)


# --- Batching, padding and per-sentence processing ---


def test_the_sentencizer_can_be_added_first(tiny_bert: Path) -> None:
    nlp = TransformersLanguage(meta={"lang": "xx"})
    nlp.add_pipe(TransformersWordPiecer.from_pretrained(nlp.vocab, str(tiny_bert)))
    nlp.add_pipe(nlp.create_pipe("sentencizer"), first=True)
    assert nlp.pipe_names == ["sentencizer", "trf_wordpiecer"]
    assert nlp(TEXT)._.trf_word_pieces_.count("[CLS]") == 2


def test_sentences_are_encoded_one_by_one_and_put_together_again(nlp: Language) -> None:
    whole = nlp(TEXT)
    parts = [nlp(sentence.text) for sentence in whole.sents]
    assert len(parts) == 2
    for name in ("trf_last_hidden_state", "trf_pooler_output"):
        together = np.concatenate([part._.get(name) for part in parts])
        np.testing.assert_allclose(whole._.get(name), together, atol=1e-5)
    together = np.concatenate([part.tensor for part in parts])
    np.testing.assert_allclose(whole.tensor, together, atol=1e-5)


TEXTS = ["Apple", "I love it", "I love this film", "A bore", "Apple pie is delicious " * 3]


def sub_batches(nlp: Language, words_per_batch: int) -> list[tuple[int, int]]:
    """Rows and length of what the torch module is called with for TEXTS."""
    shapes = []
    tok2vec = nlp.get_pipe("trf_tok2vec")
    module, encode = tok2vec.transformers_model, tok2vec.transformers_model.forward

    def forward(input_ids: torch.Tensor, **inputs: Any) -> Any:
        shapes.append(tuple(input_ids.shape))
        return encode(input_ids, **inputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "forward", forward)
        patch.setitem(tok2vec.model.attrs, "words_per_batch", words_per_batch)
        list(nlp.pipe(TEXTS))
    # Several may have been encoded at once.
    return sorted(shapes, key=itemgetter(1), reverse=True)


def test_sentences_of_like_length_are_encoded_together(nlp: Language) -> None:
    shapes = sub_batches(nlp, 16)
    lengths = sorted((len(nlp(text)._.trf_word_pieces) for text in TEXTS), reverse=True)
    ends = np.cumsum([rows for rows, _ in shapes])
    # However they stand in the batch: the longest, then those that come next to it.
    assert len(ends) > 1
    assert ends[-1] == len(TEXTS)
    assert [length for _, length in shapes] == [lengths[start] for start in (0, *ends[:-1])]


def test_words_per_batch_limits_a_subbatch_with_its_padding(nlp: Language) -> None:
    shapes = sub_batches(nlp, 16)
    assert any(rows > 1 for rows, _ in shapes)
    assert all(rows * length <= 16 or rows == 1 for rows, length in shapes)


def test_words_per_batch_of_0_disables_subbatching(nlp: Language) -> None:
    ((rows, _),) = sub_batches(nlp, 0)
    assert rows == len(TEXTS)


def test_a_sentence_that_is_too_long_is_truncated_and_has_zero_vectors(nlp: Language) -> None:
    doc = nlp("apple " * 100)
    assert len(doc._.trf_word_pieces) == MAX_LENGTH
    assert doc.tensor[: MAX_LENGTH - 2].any(axis=1).all()
    assert not doc.tensor[MAX_LENGTH - 2 :].any()


# --- TransformersLanguage ---


def test_transformers_language_is_a_subclass_of_language() -> None:
    assert issubclass(TransformersLanguage, Language)


def test_update_runs_the_encoder_before_the_other_components(seen: dict[str, Any]) -> None:
    assert seen["tensor"].any()
    assert seen["trf_last_hidden_state"].any()


def test_update_runs_the_backward_pass_after_the_other_components(tiny_bert: Path) -> None:
    nlp = set_up(tiny_bert)
    nlp.add_pipe("old_readme_head")
    nlp.add_pipe("old_readme_head", name="another")
    nlp.update([TEXT], [{}], sgd=nlp.resume_training())
    first, second = (nlp.get_pipe(name).seen[0] for name in ("old_readme_head", "another"))
    # The gradient is still there for the last one, with that of the first in it.
    assert not first["trf_d_last_hidden_state"].any()
    np.testing.assert_array_equal(second["trf_d_last_hidden_state"], -1.0)


def test_install_extensions_ran_at_the_import_and_is_a_static_method() -> None:
    assert Doc.has_extension("trf_alignment")
    assert isinstance(
        inspect.getattr_static(TransformersLanguage, "install_extensions"), staticmethod
    )
    TransformersLanguage.install_extensions()


@pytest.mark.parametrize("way", ["meta", "keyword"])
def test_transformers_language_takes_trf_name_from_meta_or_keyword(
    tiny_bert: Path, way: str
) -> None:
    name = str(tiny_bert)
    if way == "meta":
        nlp = TransformersLanguage(meta={"lang": "xx", "trf_name": name})
    else:
        nlp = TransformersLanguage(trf_name=name, meta={"lang": "xx"})
    wordpiecer = nlp.create_pipe("trf_wordpiecer")
    wordpiecer.initialize(list)
    assert len(wordpiecer.tokenizer) == len(hf.AutoTokenizer.from_pretrained(name))


@pytest.fixture
def untrained(tiny_bert: Path) -> Language:
    nlp = add_textcat(set_up(tiny_bert))
    nlp.resume_training()
    return nlp


TEXTS_AND_CATS: Any = tuple(zip(*TRAIN_DATA, strict=True))


def test_update_takes_docs_and_dictionaries(untrained: Language) -> None:
    texts, annotations = TEXTS_AND_CATS
    docs = [untrained.make_doc(text) for text in texts]
    assert untrained.update(docs, annotations)["trf_textcat"] == pytest.approx(np.log(2))


def test_update_takes_examples(untrained: Language) -> None:
    docs = [untrained.make_doc(text) for text, _ in TRAIN_DATA]
    pairs = zip(docs, TRAIN_DATA, strict=True)
    batch = [Example.from_dict(doc, annotation) for doc, (_, annotation) in pairs]
    assert untrained.update(batch)["trf_textcat"] == pytest.approx(np.log(2))


def test_update_takes_a_dropout_rate(untrained: Language) -> None:
    untrained.update(*TEXTS_AND_CATS, drop=0.25)
    assert untrained.get_pipe("trf_tok2vec").model.attrs["dropout_rate"] == 0.25


def test_update_takes_an_optimizer(untrained: Language) -> None:
    before = weights(untrained)
    optimizer = untrained.create_optimizer()
    optimizer.trf_lr = 0.0
    untrained.update(*TEXTS_AND_CATS, sgd=optimizer)
    assert same_weights(weights(untrained), before)
    assert untrained(TEXT).cats != {"POSITIVE": 0.5, "NEGATIVE": 0.5}


def test_update_adds_losses_by_component(untrained: Language) -> None:
    losses: dict[str, float] = {}
    untrained.update(*TEXTS_AND_CATS, sgd=False, losses=losses)
    once = losses["trf_textcat"]
    untrained.update(*TEXTS_AND_CATS, sgd=False, losses=losses)
    assert losses["trf_textcat"] == pytest.approx(2 * once)


def test_update_takes_settings_for_components(untrained: Language) -> None:
    untrained.update(*TEXTS_AND_CATS, drop=0.25, component_cfg={"trf_tok2vec": {"drop": 0.5}})
    assert untrained.get_pipe("trf_tok2vec").model.attrs["dropout_rate"] == 0.5


# --- TransformersWordPiecer ---


def test_the_wordpiecer_leaves_tokens_as_they_are(doc: Doc) -> None:
    assert [token.text for token in doc] == [token.text for token in spacy.blank("en")(TEXT)]


def test_the_wordpiecer_sets_three_attributes(nlp: Language) -> None:
    with nlp.select_pipes(disable=["trf_tok2vec"]):
        doc = nlp(TEXT)
    assert doc._.trf_word_pieces
    assert doc._.trf_word_pieces_
    assert doc._.trf_alignment
    assert not doc.tensor.size


def test_the_wordpiecer_is_created_by_name(nlp: Language, tiny_bert: Path) -> None:
    wordpiecer = nlp.create_pipe("trf_wordpiecer", config={"trf_name": str(tiny_bert)})
    assert isinstance(wordpiecer, TransformersWordPiecer)
    assert wordpiecer.cfg["trf_name"] == str(tiny_bert)


def test_wordpiecer_from_nlp(nlp: Language) -> None:
    wordpiecer = TransformersWordPiecer.from_nlp(nlp, trf_name="other", max_length=10)
    assert isinstance(wordpiecer, TransformersWordPiecer)
    assert wordpiecer.cfg.items() >= {"trf_name": "other", "max_length": 10}.items()


def test_wordpiecer_init(tiny_bert: Path) -> None:
    wordpiecer = TransformersWordPiecer(Vocab(), str(tiny_bert), max_length=10)
    assert wordpiecer.cfg.items() >= {"trf_name": str(tiny_bert), "max_length": 10}.items()


def test_wordpiecer_predict_returns_the_strings_of_each_doc(nlp: Language) -> None:
    docs = [nlp.make_doc(text) for text in TEXTS]
    outputs = nlp.get_pipe("trf_wordpiecer").predict(docs)
    assert [each.strings for each in outputs] == [nlp(text)._.trf_word_pieces_ for text in TEXTS]
    assert all(doc._.trf_word_pieces_ is None for doc in docs)


def test_wordpiecer_set_annotations_assigns_strings_and_ids(nlp: Language) -> None:
    wordpiecer = nlp.get_pipe("trf_wordpiecer")
    docs = [nlp.make_doc(text) for text in TEXTS]
    outputs = wordpiecer.predict(docs)
    wordpiecer.set_annotations(docs, outputs)
    assert [doc._.trf_word_pieces for doc in docs] == [each.ids for each in outputs]
    assert [doc._.trf_word_pieces_ for doc in docs] == [each.strings for each in outputs]


# --- TransformersTok2Vec ---


def test_a_token_of_several_wordpieces_has_the_sum_of_their_rows(nlp: Language) -> None:
    doc = nlp("iPhones")
    hidden = doc._.trf_last_hidden_state
    assert len(doc) == 1
    assert len(doc._.trf_alignment[0]) > 1
    np.testing.assert_allclose(doc.tensor[0], hidden.sum(axis=0), atol=1e-4)


def test_the_token_vector_encoder_is_created_by_name(nlp: Language) -> None:
    tok2vec = nlp.create_pipe("trf_tok2vec", config={"trf_name": "other"})
    assert isinstance(tok2vec, TransformersTok2Vec)
    assert tok2vec.cfg["trf_name"] == "other"


def test_words_per_batch_is_2000_unless_set(nlp: Language) -> None:
    assert nlp.create_pipe("trf_tok2vec").model.attrs["words_per_batch"] == 2000
    tok2vec = nlp.create_pipe("trf_tok2vec", config={"words_per_batch": 100})
    assert tok2vec.model.attrs["words_per_batch"] == 100


def test_tok2vec_from_nlp(nlp: Language) -> None:
    tok2vec = TransformersTok2Vec.from_nlp(nlp, words_per_batch=100)
    assert isinstance(tok2vec, TransformersTok2Vec)
    assert tok2vec.cfg["words_per_batch"] == 100
    assert tok2vec.vocab is nlp.vocab


def test_tok2vec_from_pretrained_needs_no_pipeline(tiny_bert: Path) -> None:
    tok2vec = TransformersTok2Vec.from_pretrained(Vocab(), str(tiny_bert), words_per_batch=100)
    assert isinstance(tok2vec, TransformersTok2Vec)
    assert tok2vec.token_vector_width == WIDTH
    assert tok2vec.cfg["words_per_batch"] == 100


def test_tok2vec_model_is_a_thinc_model_around_the_encoder(tiny_bert: Path) -> None:
    model = TransformersTok2Vec.Model(str(tiny_bert), words_per_batch=100)
    assert isinstance(model, Model)
    assert isinstance(model.module, hf.BertModel)
    assert model.attrs["words_per_batch"] == 100


def test_tok2vec_init_takes_a_model_or_true(tiny_bert: Path) -> None:
    model = TransformersTok2Vec.Model(str(tiny_bert))
    assert TransformersTok2Vec(Vocab(), model).model is model
    tok2vec = TransformersTok2Vec(Vocab(), True, trf_name=str(tiny_bert))
    assert not tok2vec.model.is_loaded
    tok2vec.initialize(list)
    assert tok2vec.model.is_loaded


@pytest.fixture
def docs(nlp: Language) -> list[Doc]:
    """Docs with wordpieces, and nothing of the encoder."""
    with nlp.select_pipes(disable=["trf_tok2vec"]):
        return list(nlp.pipe(TEXTS))


def test_tok2vec_call_returns_the_doc_with_its_features(nlp: Language, docs: list[Doc]) -> None:
    assert nlp.get_pipe("trf_tok2vec")(docs[1]) is docs[1]
    assert docs[1].tensor.shape == (len(docs[1]), WIDTH)
    assert docs[1]._.trf_last_hidden_state is not None


def test_tok2vec_pipe_yields_docs_in_order(nlp: Language, docs: list[Doc]) -> None:
    tok2vec = nlp.get_pipe("trf_tok2vec")
    assert inspect.signature(tok2vec.pipe).parameters["batch_size"].default == 128
    found = list(tok2vec.pipe(iter(docs), batch_size=2))
    assert [one is other for one, other in zip(found, docs, strict=True)] == [True] * len(docs)
    assert all(doc.tensor.shape == (len(doc), WIDTH) for doc in docs)


def test_tok2vec_predict_names_its_outputs(nlp: Language, docs: list[Doc]) -> None:
    outputs = nlp.get_pipe("trf_tok2vec").predict(docs)
    assert len(outputs.last_hidden_state) == sum(len(doc._.trf_word_pieces) for doc in docs)
    assert len(outputs.pooler_output) == len(docs)
    assert not any(doc.tensor.size for doc in docs)


def test_tok2vec_set_annotations_assigns_features_and_hooks(nlp: Language, docs: list[Doc]) -> None:
    tok2vec = nlp.get_pipe("trf_tok2vec")
    tok2vec.set_annotations(docs, tok2vec.predict(docs))
    for doc in docs:
        assert len(doc._.trf_last_hidden_state) == len(doc._.trf_word_pieces)
        for hooks in (doc.user_hooks, doc.user_span_hooks, doc.user_token_hooks):
            assert {"vector", "similarity"} <= hooks.keys()


# --- TransformersTextCategorizer ---


def test_trf_textcat_is_a_subclass_of_spacys_text_categorizer() -> None:
    assert issubclass(TransformersTextCategorizer, TextCategorizer)


def test_trf_textcat_needs_the_token_vector_encoder() -> None:
    nlp = add_textcat(TransformersLanguage(meta={"lang": "xx"}))
    with pytest.raises(PipelineError, match="no trf_tok2vec"):
        nlp.resume_training()


def test_the_text_categorizer_is_created_by_name(nlp: Language) -> None:
    textcat = nlp.create_pipe("trf_textcat")
    assert isinstance(textcat, TransformersTextCategorizer)
    assert not textcat.exclusive_classes
    assert textcat.cfg["architecture"] == "softmax_last_hidden"


def test_textcat_from_nlp(nlp: Language) -> None:
    textcat = TransformersTextCategorizer.from_nlp(nlp, exclusive_classes=True)
    assert isinstance(textcat, TransformersTextCategorizer)
    assert textcat.exclusive_classes
    assert textcat.vocab is nlp.vocab


@pytest.mark.parametrize("exclusive", [None, False, True])
def test_textcat_model_takes_classes_and_width(doc: Doc, exclusive: bool | None) -> None:
    options = {} if exclusive is None else {"exclusive_classes": exclusive}
    model = TransformersTextCategorizer.Model(3, WIDTH, **options)
    assert isinstance(model, Model)
    chance = 1 / 3 if exclusive else 1 / 2
    np.testing.assert_allclose(model.predict([doc]), [[chance] * 3], rtol=1e-5)


# --- Activations ---


def test_activations_is_a_dataclass_with_these_attributes() -> None:
    assert is_dataclass(Activations)
    names = [each.name for each in fields(Activations)]
    assert set(names) >= {
        "last_hidden_state",
        "pooler_output",
        "all_hidden_states",
        "all_attentions",
        "is_grad",
    }


def test_activations_are_what_the_encoder_predicts(nlp: Language, docs: list[Doc]) -> None:
    outputs = nlp.get_pipe("trf_tok2vec").predict(docs)
    assert isinstance(outputs, Activations)
    assert not outputs.is_grad
    assert len(outputs.all_hidden_states) == LAYERS + 1
    assert len(outputs.all_attentions) == len(docs)


# --- Entry points ---


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("trf_wordpiecer", TransformersWordPiecer),
        ("trf_tok2vec", TransformersTok2Vec),
        ("trf_textcat", TransformersTextCategorizer),
    ],
)
def test_entry_points_tell_any_language_how_to_create_components(name: str, kind: type) -> None:
    assert name in entry_points(group="spacy_factories").names
    assert isinstance(spacy.blank("xx").create_pipe(name), kind)


def test_an_entry_point_tells_spacy_of_the_language() -> None:
    (entry_point,) = entry_points(group="spacy_languages", name="trf")
    assert entry_point.load() is get_lang_class("trf") is TransformersLanguage


def test_custom_models_can_have_the_components_in_their_pipelines(
    tiny_bert: Path, tmp_path: Path
) -> None:
    custom = spacy.blank("xx")
    custom.add_pipe("sentencizer")
    for name in ("trf_wordpiecer", "trf_tok2vec"):
        custom.add_pipe(name, config={"trf_name": str(tiny_bert)})
    custom.initialize()
    custom.to_disk(tmp_path)
    again = spacy.load(tmp_path)
    assert again.pipe_names == custom.pipe_names
    np.testing.assert_array_equal(again(TEXT).tensor, custom(TEXT).tensor)
