import faulthandler
import hashlib
import json
import multiprocessing
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import srsly
import torch
from spacy import registry
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.tokens.underscore import Underscore
from spacy.training import Example
from spacy.vocab import Vocab
from thinc.api import Adam, Config

from trfcli_pipeline import (
    TransformersLanguage,
    TransformersTextCategorizer,
    TransformersTok2Vec,
    TransformersWordPiecer,
)
from trfcli_pipeline.optimizers import TransformersOptimizer, make_optimizer

TEXTS = ["I love this film.", "Apple pie is delicious! And the dog...", "", "Zürich 😀"]
DATA = [
    ("I love this film, it is great fun.", {"POSITIVE": 1.0, "NEGATIVE": 0.0}),
    ("I hate this film; it is a terrible bore.", {"POSITIVE": 0.0, "NEGATIVE": 1.0}),
]
# spaCy says so whenever a Doc with hooks is written; the rows that they use are written.
hooks_are_not_saved = pytest.mark.filterwarnings(r"ignore:\[W109\]:UserWarning")


def as_of_spacy_2(name: str) -> Language:
    nlp = TransformersLanguage(trf_name=name, meta={"lang": "en"})
    nlp.add_pipe(nlp.create_pipe("sentencizer"))
    nlp.add_pipe(TransformersWordPiecer.from_pretrained(nlp.vocab, name))
    nlp.add_pipe(TransformersTok2Vec.from_pretrained(nlp.vocab, name))
    textcat = nlp.create_pipe("trf_textcat", config={"exclusive_classes": True})
    for label in ("POSITIVE", "NEGATIVE"):
        textcat.add_label(label)
    nlp.add_pipe(textcat)
    nlp.resume_training()
    return nlp


def as_of_spacy_3(name: str, nlp: Language | None = None) -> Language:
    # English takes longer to load than all of the rest.
    nlp = nlp or TransformersLanguage(meta={"lang": "xx"})
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("trf_wordpiecer", config={"trf_name": name})
    nlp.add_pipe("trf_tok2vec", config={"trf_name": name})
    nlp.add_pipe("trf_textcat", config={"exclusive_classes": True})
    nlp.initialize(lambda: examples(nlp))
    return nlp


def examples(nlp: Language) -> list[Example]:
    return [Example.from_dict(nlp.make_doc(text), {"cats": cats}) for text, cats in DATA]


def snapshot(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def predictions(nlp: Language) -> list[Any]:
    docs = nlp.pipe(TEXTS)
    return [(doc.cats, doc.tensor.tobytes(), doc._.trf_alignment) for doc in docs]


@pytest.fixture(scope="module")
def trained(tiny_bert: Path) -> Language:
    nlp = as_of_spacy_3(str(tiny_bert))
    for _ in range(2):
        nlp.update(examples(nlp), sgd=make_optimizer())
    return nlp


# --- two ways of building a pipeline ---


def test_both_ways_of_building_a_pipeline_give_the_same(tiny_bert: Path, tmp_path: Path) -> None:
    name = str(tiny_bert)
    old, new = as_of_spacy_2(name), as_of_spacy_3(name, spacy.blank("trf"))
    assert old.pipe_names == ["sentencizer", "trf_wordpiecer", "trf_tok2vec", "trf_textcat"]
    assert old.config == new.config
    assert old.meta == new.meta
    optimizer = make_optimizer()
    old.update(*zip(*[(text, {"cats": cats}) for text, cats in DATA], strict=True), sgd=optimizer)
    new.update(examples(new), sgd=make_optimizer())
    assert predictions(old) == predictions(new)
    old.to_disk(tmp_path / "old")
    new.to_disk(tmp_path / "new")
    assert snapshot(tmp_path / "old") == snapshot(tmp_path / "new")
    assert old.to_bytes() == new.to_bytes()


def test_the_name_of_the_encoder_can_be_said_once(tiny_bert: Path) -> None:
    nlp = TransformersLanguage(trf_name=str(tiny_bert), meta={"lang": "xx"})
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("trf_wordpiecer")
    nlp.add_pipe("trf_tok2vec")
    nlp.initialize()
    expected = as_of_spacy_3(str(tiny_bert))(TEXTS[0])
    np.testing.assert_array_equal(nlp(TEXTS[0]).tensor, expected.tensor)


def test_components_built_by_hand_can_be_placed_and_named(tiny_bert: Path) -> None:
    nlp = TransformersLanguage()
    wordpiecer = TransformersWordPiecer.from_pretrained(nlp.vocab, str(tiny_bert))
    tok2vec = TransformersTok2Vec.from_pretrained(nlp.vocab, str(tiny_bert), words_per_batch=50)
    assert nlp.add_pipe(tok2vec, "encoder") is tok2vec
    assert nlp.add_pipe(wordpiecer, "pieces", first=True) is wordpiecer
    nlp.add_pipe(nlp.create_pipe("sentencizer"), before="pieces")
    assert nlp.pipe_names == ["sentencizer", "pieces", "encoder"]
    assert nlp.get_pipe("encoder") is tok2vec
    assert nlp.get_pipe_config("encoder")["words_per_batch"] == 50
    assert nlp.get_pipe_meta("pieces").factory == "trf_wordpiecer"
    assert nlp("I love it. I hate it.")._.trf_pooler_output.shape[0] == 2
    # They know their new names: losses go by them, and so does looking for sentences.
    eg = Example.from_dict(nlp.make_doc("I love it. I hate it."), {})
    assert nlp.update([eg], annotates=["encoder"], sgd=False) == {"encoder": 0.0}
    wordpiecer.update([eg])
    assert len(eg.predicted._.trf_segments) == 2


def test_a_component_of_unknown_origin_is_refused() -> None:
    nlp = TransformersLanguage()

    def unknown(doc: Doc) -> Doc:
        return doc

    with pytest.raises(ValueError, match="E966"):
        nlp.add_pipe(unknown)
    with pytest.raises(ValueError, match="E966"):
        nlp.add_pipe(TransformersTextCategorizer(nlp.vocab, name="own"))
    assert nlp.pipe_names == []


def test_a_name_can_be_used_once(tiny_bert: Path) -> None:
    nlp = TransformersLanguage()
    nlp.add_pipe(TransformersWordPiecer.from_pretrained(nlp.vocab, str(tiny_bert)))
    with pytest.raises(ValueError, match="E007"):
        nlp.add_pipe(TransformersWordPiecer(nlp.vocab, str(tiny_bert)))
    assert nlp.pipe_names == ["trf_wordpiecer"]


# --- the underlying language ---

LANGUAGES = ["en", "de", "fr"]
TEXT_OF = {
    "en": "I don't like Mr. Smith's cat.",
    "de": "Das ist z.B. Herrn Müllers Katze, bzw. gibt's die.",
    "fr": "L'été s'achève aujourd'hui, qu'est-ce que c'est ?",
}


blank = cache(spacy.blank)


def is_like_blank(nlp: Language, lang: str) -> bool:
    """Whether the pipeline reads text as spaCy does for the language."""
    text = TEXT_OF[lang]
    one, other = nlp.make_doc(text), blank(lang).make_doc(text)
    assert nlp.lang == "trf"
    assert nlp.meta["lang"] == lang
    assert nlp.vocab.lang == lang
    assert [token.text for token in one] == [token.text for token in other]
    for token, expected in zip(one, other, strict=True):
        for attribute in ("norm_", "lower_", "prefix_", "is_stop", "like_num", "lang_", "is_punct"):
            assert getattr(token, attribute) == getattr(expected, attribute)
    assert nlp.vocab.get_noun_chunks == blank(lang).vocab.get_noun_chunks
    return True


@pytest.mark.parametrize("lang", LANGUAGES)
def test_an_underlying_language_reads_as_in_spacy(lang: str) -> None:
    nlp = TransformersLanguage(meta={"lang": lang})
    assert is_like_blank(nlp, lang)
    assert nlp.Defaults.stop_words == blank(lang).Defaults.stop_words
    assert type(nlp.tokenizer) is type(blank(lang).tokenizer)


def test_noun_chunks_are_those_of_the_language() -> None:
    words = ["the", "dog", "loves", "Katze"]
    chunks = {}
    for lang in ("en", "de"):
        for nlp in (TransformersLanguage(meta={"lang": lang}), blank(lang)):
            doc = Doc(
                nlp.vocab,
                words,
                pos=["DET", "NOUN", "VERB", "NOUN"],
                deps=["det", "nsubj", "ROOT", "oa"],
                heads=[1, 2, 2, 2],
            )
            chunks[lang, nlp.lang] = [chunk.text for chunk in doc.noun_chunks]
    assert chunks["en", "trf"] == chunks["en", "en"] == ["the dog"]
    # "oa" is the German name of an object.
    assert chunks["de", "trf"] == chunks["de", "de"]
    assert "Katze" in chunks["de", "trf"]


@pytest.mark.parametrize("lang", ["de"])
@pytest.mark.parametrize("way", ["load", "from_disk", "from_bytes", "from_config", "config alone"])
def test_the_language_survives(tmp_path: Path, lang: str, way: str) -> None:
    nlp = TransformersLanguage(meta={"lang": lang, "name": "mine"})
    nlp.add_pipe("sentencizer")
    match way:
        case "load":
            nlp.to_disk(tmp_path)
            again = spacy.load(tmp_path)
        case "from_disk":
            nlp.to_disk(tmp_path)
            again = TransformersLanguage(meta={"lang": lang})
            again.add_pipe("sentencizer")
            again.from_disk(tmp_path)
        case "from_bytes":
            again = TransformersLanguage(meta={"lang": lang})
            again.add_pipe("sentencizer")
            again.from_bytes(nlp.to_bytes())
        case "from_config":
            again = TransformersLanguage.from_config(nlp.config, meta=nlp.meta)
        case "config alone":
            config = Config().from_str(nlp.config.to_str(), interpolate=False)
            again = spacy.util.load_model_from_config(config)
    assert isinstance(again, TransformersLanguage)
    assert is_like_blank(again, lang)
    assert again.config == nlp.config
    assert again.config["nlp"]["lang"] == "trf"
    if way != "config alone":
        assert again.meta["name"] == "mine"
    # And once more, from what came back.
    again.to_disk(tmp_path / "again")
    assert is_like_blank(spacy.load(tmp_path / "again"), lang)


def test_the_language_of_the_config_is_that_of_the_pipeline() -> None:
    nlp = TransformersLanguage(meta={"lang": "de"})
    assert nlp.config["nlp"]["tokenizer"] == {
        "@tokenizers": "trfcli.LanguageTokenizer.v1",
        "lang": "de",
    }


def test_an_empty_vocab_can_be_used() -> None:
    nlp = TransformersLanguage(Vocab(), meta={"lang": "de"})
    assert nlp.meta["lang"] == "de"
    assert nlp.config["nlp"]["tokenizer"]["lang"] == "de"
    text = TEXT_OF["de"]
    assert [each.text for each in nlp(text)] == [each.text for each in spacy.blank("de")(text)]


def test_a_vocab_of_another_language_is_refused() -> None:
    with pytest.raises(ValueError, match="E150"):
        TransformersLanguage(spacy.blank("de").vocab, meta={"lang": "en"})


def test_blank() -> None:
    nlp = spacy.blank("trf")
    assert isinstance(nlp, TransformersLanguage)
    assert is_like_blank(nlp, "en")
    assert nlp.config == TransformersLanguage().config
    assert is_like_blank(spacy.blank("trf", meta={"lang": "de"}), "de")


def test_other_pipelines_are_left_alone() -> None:
    TransformersLanguage(meta={"lang": "de"})
    assert TransformersLanguage.lang == "trf"
    assert not TransformersLanguage.Defaults.stop_words
    assert spacy.blank("en").lang == "en"
    assert spacy.blank("en").config["nlp"]["tokenizer"] == {"@tokenizers": "spacy.Tokenizer.v1"}


def test_an_unknown_language_is_an_error() -> None:
    with pytest.raises(ImportError, match="xyz"):
        TransformersLanguage(meta={"lang": "xyz"})


def test_a_vocab_of_another_pipeline_can_be_used() -> None:
    vocab = spacy.blank("de").vocab
    nlp = TransformersLanguage(vocab)
    assert nlp.vocab is vocab
    assert is_like_blank(nlp, "de")


# --- meta data ---


def test_requirements_name_this_package_once(tmp_path: Path) -> None:
    nlp = TransformersLanguage(meta={"lang": "xx"})
    for number in range(3):
        nlp.to_disk(tmp_path / str(number))
        nlp = spacy.load(tmp_path / str(number))
    (requirement,) = srsly.read_json(tmp_path / "2" / "meta.json")["requirements"]
    assert requirement.startswith("trfcli>=")
    major, minor = version("trfcli").split(".")[:2]
    assert f">={major}.{minor}" in requirement


def test_requirements_of_others_are_kept() -> None:
    nlp = TransformersLanguage(meta={"requirements": ["other>=1", "trfcli==0.0.1"]})
    assert nlp.meta["requirements"] == ["other>=1", "trfcli==0.0.1"]
    nlp = TransformersLanguage(meta={"requirements": ["other>=1"]})
    assert nlp.meta["requirements"][0] == "other>=1"
    assert len(nlp.meta["requirements"]) == len(nlp.meta["requirements"]) == 2


# --- updates ---


@pytest.mark.parametrize("kind", ["texts", "docs", "generators"])
def test_update_takes_texts_with_annotations(tiny_bert: Path, kind: str) -> None:
    old, new = (as_of_spacy_3(str(tiny_bert)) for _ in range(2))
    texts: Any = [text for text, _ in DATA]
    annotations: Any = [{"cats": cats} for _, cats in DATA]
    if kind == "docs":
        texts = [old.make_doc(text) for text in texts]
    elif kind == "generators":
        texts, annotations = iter(texts), iter(annotations)
    losses: dict[str, float] = {}
    assert old.update(texts, annotations, sgd=make_optimizer(), losses=losses) == losses
    assert losses == new.update(examples(new), sgd=make_optimizer())
    assert losses["trf_textcat"] > 0
    assert predictions(old) == predictions(new)


def test_update_needs_an_annotation_for_each_text(trained: Language) -> None:
    with pytest.raises(ValueError, match="shorter"):
        trained.update([text for text, _ in DATA], [{"cats": DATA[0][1]}])


def test_update_leaves_the_examples_as_they_are(tiny_bert: Path) -> None:
    nlp = as_of_spacy_3(str(tiny_bert))
    batch = examples(nlp)
    nlp.update(batch, sgd=make_optimizer())
    for eg in batch:
        assert eg.predicted._.trf_word_pieces is None
        assert eg.predicted.cats == {}
        assert not eg.predicted.has_annotation("SENT_START")


def test_update_with_no_examples_does_nothing(trained: Language) -> None:
    before = predictions(trained)
    assert trained.update([], sgd=make_optimizer()) == {}
    assert predictions(trained) == before


def test_an_excluded_head_takes_no_step(tiny_bert: Path) -> None:
    nlp = as_of_spacy_3(str(tiny_bert))
    output = nlp.get_pipe("trf_textcat").model.get_ref("output_layer")
    nlp.update(examples(nlp), sgd=False)
    # There is a gradient from before, which isn't to be used now.
    assert output.get_grad("W").any()
    nlp.update(examples(nlp), sgd=make_optimizer(), exclude=["trf_textcat"])
    assert not output.get_param("W").any()
    nlp.update(examples(nlp), sgd=make_optimizer())
    assert output.get_param("W").any()


def test_update_without_an_optimizer_uses_the_pipelines_own(tiny_bert: Path) -> None:
    nlp = as_of_spacy_3(str(tiny_bert))
    before = predictions(nlp)
    nlp.update(examples(nlp))
    assert isinstance(nlp._optimizer, TransformersOptimizer)
    first = nlp._optimizer
    nlp.update(examples(nlp))
    assert nlp._optimizer is first
    assert predictions(nlp) != before


def test_the_optimizer_is_that_of_the_config() -> None:
    nlp = TransformersLanguage()
    assert isinstance(nlp.create_optimizer(), TransformersOptimizer)
    config = nlp.config
    config["training"]["optimizer"] = {"@optimizers": "trfcli.AdamW.v1", "trf_lr": 0.25}
    assert TransformersLanguage.from_config(config).create_optimizer().trf_lr == 0.25
    config["training"]["optimizer"] = {"@optimizers": "Adam.v1", "learn_rate": 0.25}
    optimizer = TransformersLanguage.from_config(config).create_optimizer()
    assert type(optimizer) is type(Adam())
    assert optimizer.learn_rate == 0.25


def test_the_optimizer_may_have_variables_of_the_config() -> None:
    config = TransformersLanguage().config
    config["training"]["optimizer"] = {
        "@optimizers": "trfcli.AdamW.v1",
        "trf_lr": "${training.dropout}",
    }
    optimizer = TransformersLanguage.from_config(config).create_optimizer()
    assert optimizer.trf_lr == config["training"]["dropout"]


def test_resume_training_keeps_what_was_learnt(trained: Language) -> None:
    before = predictions(trained)
    assert isinstance(trained.resume_training(), TransformersOptimizer)
    assert predictions(trained) == before


def test_other_components_train_on_the_encoder(tiny_bert: Path) -> None:
    """With the tagger's own tok2vec beside it, both get their updates."""
    nlp = as_of_spacy_3(str(tiny_bert))
    tagger = nlp.add_pipe("tagger")
    batch = [Example.from_dict(nlp.make_doc("I love"), {"tags": ["A", "B"], "cats": DATA[0][1]})]
    tagger.initialize(lambda: batch, nlp=nlp)
    losses = [nlp.update(batch, sgd=make_optimizer())["tagger"] for _ in range(2)]
    assert losses[1] < losses[0]


# --- processes, and Docs on disk ---


@hooks_are_not_saved
def test_several_processes_give_what_one_gives(trained: Language) -> None:
    assert multiprocessing.get_start_method() == "fork"
    # A forked process that waits for its parent's threads would wait forever.
    torch.set_num_threads(2)
    faulthandler.dump_traceback_later(60, exit=True)
    alone = list(trained.pipe(TEXTS * 20))[: len(TEXTS)]
    for one, other in zip(alone, trained.pipe(TEXTS, n_process=2, batch_size=1), strict=True):
        assert one.text == other.text
        assert one.cats == pytest.approx(other.cats, abs=1e-6)
        np.testing.assert_allclose(one.tensor, other.tensor, atol=1e-5)
        assert one._.trf_alignment == other._.trf_alignment
        np.testing.assert_allclose(one._.trf_pooler_output, other._.trf_pooler_output, atol=1e-5)
    faulthandler.cancel_dump_traceback_later()
    torch.set_num_threads(1)


@hooks_are_not_saved
def test_spawned_processes_give_what_one_gives(trained: Language) -> None:
    alone = list(trained.pipe(TEXTS))
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)
    faulthandler.dump_traceback_later(120, exit=True)
    try:
        docs = list(trained.pipe(TEXTS, n_process=2, batch_size=2))
    finally:
        faulthandler.cancel_dump_traceback_later()
        multiprocessing.set_start_method(before, force=True)
    for one, other in zip(alone, docs, strict=True):
        assert one.cats == pytest.approx(other.cats, abs=1e-6)
        np.testing.assert_allclose(one.tensor, other.tensor, atol=1e-5)
        assert one._.trf_alignment == other._.trf_alignment


def test_what_spawned_processes_are_given_can_be_pickled(make_nlp: Callable[..., Language]) -> None:
    nlp = make_nlp(all_hidden_states=True)
    doc = nlp("a [SEP] b.")
    state = Underscore.get_state()
    again, state_again = pickle.loads(pickle.dumps((nlp, state)))
    assert again.pipe_names == nlp.pipe_names
    doc_again = again("a [SEP] b.")
    np.testing.assert_array_equal(doc_again.tensor, doc.tensor)
    assert doc_again._.trf_word_pieces_ == doc._.trf_word_pieces_
    assert state_again[0].keys() == state[0].keys()
    try:
        Underscore.load_state(state_again)
        TransformersLanguage.install_extensions()
        assert doc[0]._.trf_word_pieces == doc._.trf_word_pieces[1:2]
    finally:
        Underscore.load_state(state)


def same_activations(one: Doc, other: Doc) -> bool:
    for name in ("trf_last_hidden_state", "trf_pooler_output", "trf_segments"):
        np.testing.assert_array_equal(one._.get(name), other._.get(name))
    assert one._.trf_word_pieces == other._.trf_word_pieces
    assert one._.trf_word_pieces_ == other._.trf_word_pieces_
    assert one._.trf_alignment == other._.trf_alignment
    np.testing.assert_array_equal(one.tensor, other.tensor)
    return one.cats == other.cats


def test_a_pipeline_can_be_pickled_while_a_step_is_due(tiny_bert: Path) -> None:
    nlp = as_of_spacy_3(str(tiny_bert), spacy.blank("xx"))
    nlp.update(examples(nlp), sgd=make_optimizer())
    again = pickle.loads(pickle.dumps(nlp))
    assert predictions(again) == predictions(nlp)


@hooks_are_not_saved
@pytest.mark.parametrize("text", TEXTS)
def test_a_doc_keeps_its_activations_as_bytes(trained: Language, text: str) -> None:
    doc = trained(text)
    again = Doc(trained.vocab).from_bytes(doc.to_bytes())
    assert same_activations(doc, again)
    # The hooks are gone, but spaCy's own ways lead to the same rows.
    for token, expected in zip(again, doc, strict=True):
        np.testing.assert_array_equal(token.vector, expected.vector)


@pytest.mark.parametrize("text", TEXTS)
def test_copies_of_a_doc_keep_its_activations(trained: Language, text: str) -> None:
    doc = trained(text)
    for again in (doc.copy(), pickle.loads(pickle.dumps(doc))):
        assert same_activations(doc, again)
        assert again.vector.tolist() == doc.vector.tolist()


def test_a_doc_bin_keeps_activations(trained: Language) -> None:
    docs = list(trained.pipe(TEXTS))
    data = DocBin(store_user_data=True, attrs=["SENT_START"], docs=docs).to_bytes()
    again = list(DocBin(store_user_data=True).from_bytes(data).get_docs(trained.vocab))
    for one, other in zip(docs, again, strict=True):
        # spaCy reads a DocBin's lists as tuples.
        assert one._.trf_word_pieces == list(other._.trf_word_pieces)
        assert one._.trf_alignment == other._.trf_alignment
        np.testing.assert_array_equal(one._.trf_last_hidden_state, other._.trf_last_hidden_state)
        assert len(one._.trf_segments) == len(list(other.sents))


# --- loading, and entry points ---

WITHOUT_NETWORK = """
import json, socket, sys

def refuse(*args, **kwargs):
    raise RuntimeError("a socket was used")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
import spacy, torch
torch.set_num_threads(1)
nlp = spacy.load(sys.argv[1])
found = [
    [doc.cats, doc.tensor.tobytes().hex(), doc._.trf_alignment]
    for doc in nlp.pipe(json.loads(sys.argv[2]))
]
print(json.dumps(found))
"""


def test_a_saved_pipeline_needs_neither_network_nor_encoder(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = tmp_path / "encoder"
    shutil.copytree(tiny_bert, encoder)
    nlp = as_of_spacy_3(str(encoder))
    nlp.update(examples(nlp), sgd=make_optimizer())
    nlp.to_disk(tmp_path / "model")
    expected = [
        [doc.cats, doc.tensor.tobytes().hex(), doc._.trf_alignment] for doc in nlp.pipe(TEXTS)
    ]
    shutil.rmtree(encoder)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    command = [sys.executable, "-c", WITHOUT_NETWORK, tmp_path / "model", json.dumps(TEXTS)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == expected
    assert result.stderr == ""


def test_each_process_saves_the_same_bytes(trained: Language, tmp_path: Path) -> None:
    # spaCy's sentencizer has a set of characters, whose order is each process's own.
    trained.to_disk(tmp_path / "once")
    again = spacy.load(tmp_path / "once")
    again.to_disk(tmp_path / "again")
    saved = [srsly.read_json(tmp_path / each / "sentencizer.json") for each in ("once", "again")]
    saved.append(srsly.msgpack_loads(srsly.msgpack_loads(again.to_bytes())["sentencizer"]))
    for settings in saved:
        assert "!" in settings["punct_chars"]
        assert settings["punct_chars"] == sorted(settings["punct_chars"])


def test_saving_says_nothing(
    trained: Language, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    trained.to_disk(tmp_path)
    spacy.load(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_a_component_can_be_left_out_when_loading(trained: Language, tmp_path: Path) -> None:
    trained.to_disk(tmp_path)
    nlp = spacy.load(tmp_path, exclude=["trf_textcat"])
    np.testing.assert_array_equal(nlp(TEXTS[0]).tensor, trained(TEXTS[0]).tensor)
    nlp = spacy.load(tmp_path, enable=["sentencizer", "trf_wordpiecer"])
    assert nlp(TEXTS[0])._.trf_alignment == trained(TEXTS[0])._.trf_alignment


def test_a_component_can_be_sourced(trained: Language, tiny_bert: Path) -> None:
    nlp = spacy.blank("xx", vocab=trained.vocab)
    for name in ("sentencizer", "trf_wordpiecer", "trf_tok2vec", "trf_textcat"):
        nlp.add_pipe(name, source=trained)
    assert predictions(nlp) == predictions(trained)


ENTRY_POINTS = list(distribution("trfcli").entry_points)
ARGUMENTS: dict[str, dict[str, Any]] = {
    "spacy_architectures": {"exclusive_classes": True},
    "trfcli.TokenVectors.v1": {},
    "trfcli.Corpus.v1": {"path": None},
    "trfcli.batch_by_length.v1": {"size": 2},
}


@pytest.mark.parametrize("entry_point", ENTRY_POINTS, ids=lambda each: f"{each.group}/{each.name}")
def test_every_entry_point_can_be_used(entry_point: Any) -> None:
    target = entry_point.load()
    match entry_point.group:
        case "console_scripts":
            assert callable(target)
        case "spacy_languages":
            assert target().lang == entry_point.name
        case "spacy_factories":
            assert spacy.blank("en").create_pipe(entry_point.name).name == entry_point.name
        case group:
            if "optimizers" in group:
                assert registry.get("optimizers", entry_point.name) is target
            else:
                kind = group.removeprefix("spacy_")
                assert registry.get(kind, entry_point.name) is target
            arguments = ARGUMENTS.get(entry_point.name, ARGUMENTS.get(group, {}))
            assert callable(target(**arguments))


def test_entry_points_are_there() -> None:
    groups = {each.group for each in ENTRY_POINTS}
    assert {
        "console_scripts",
        "spacy_languages",
        "spacy_factories",
        "spacy_architectures",
        "spacy_tokenizers",
    } <= groups
