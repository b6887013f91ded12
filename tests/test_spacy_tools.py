"""spaCy's own commands and methods, on our pipelines."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
import torch
from spacy import displacy
from spacy.cli._util import app
from spacy.language import Language
from spacy.tokens import DocBin
from spacy.training import Example
from spacy.util import fix_random_seed
from typer.testing import CliRunner, Result

from trfcli_pipeline import TransformersLanguage
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.pipeline.optimizer import make_optimizer

CONFIGS = Path(__file__).parents[1] / "configs"
TOKEN_VECTORS = {"@architectures": "trfcli.TokenVectors.v1"}
NER = {
    "@architectures": "spacy.TransitionBasedParser.v2",
    "state_type": "ner",
    "extra_state_tokens": False,
    "hidden_width": 16,
    "maxout_pieces": 2,
    "use_upper": False,
    "tok2vec": TOKEN_VECTORS,
}
DATA = [
    ("I love this film.", "GOOD", []),
    ("I hate this film. It is a bore!", "BAD", []),
    ("Apple is great fun", "GOOD", [(0, 5, "ORG")]),
    ("a terrible dog of Apple", "BAD", [(18, 23, "ORG")]),
]
TEXT = DATA[2][0]


def make_nlp(encoder: Path, lang: str = "trf") -> Language:
    # English takes longer to load than all of the rest.
    nlp = TransformersLanguage(meta={"lang": "xx"}) if lang == "trf" else spacy.blank(lang)
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("trf_wordpiecer", config={"trf_name": str(encoder)})
    nlp.add_pipe("trf_tok2vec", config={"trf_name": str(encoder)})
    return nlp


def examples(nlp: Language) -> list[Example]:
    return [
        Example.from_dict(
            nlp.make_doc(text),
            {"cats": {each: float(each == label) for each in ("GOOD", "BAD")}, "entities": ents},
        )
        for text, label, ents in DATA
    ]


@pytest.fixture(scope="module")
def trained(tiny_bert: Path) -> Language:
    """A pipeline that has learnt entities and labels, which don't exclude each other."""
    fix_random_seed(0)
    nlp = make_nlp(tiny_bert)
    nlp.add_pipe("trf_textcat")
    nlp.add_pipe("ner", config={"model": NER})
    nlp.initialize(lambda: examples(nlp))
    optimizer = make_optimizer(learn_rate=0.02, trf_lr=0.003)
    for _ in range(40):
        nlp.update(examples(nlp), sgd=optimizer)
    assert [ent.text for ent in nlp(TEXT).ents] == ["Apple"]
    return nlp


@pytest.fixture(scope="module")
def model(trained: Language, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pipelines") / "model"
    trained.to_disk(path)
    return path


@pytest.fixture
def data(trained: Language, tmp_path: Path) -> Path:
    path = tmp_path / "data.spacy"
    DocBin(docs=[eg.reference for eg in examples(trained)]).to_disk(path)
    return path


@pytest.fixture
def spacy_cli() -> Iterator[Callable[..., Result]]:
    """Runs `python -m spacy ...` in this process."""
    # `benchmark speed` sets the number of threads.
    threads = torch.get_num_threads()

    def run(*arguments: object) -> Result:
        result = CliRunner().invoke(app, list(map(str, arguments)))
        if result.exit_code:
            raise AssertionError(result.output) from result.exception
        return result

    yield run
    torch.set_num_threads(threads)


def same_predictions(one: Language, other: Language) -> bool:
    for text, _, _ in DATA:
        left, right = one(text), other(text)
        if left.cats != right.cats or left.to_json()["ents"] != right.to_json()["ents"]:
            return False
    return True


# --- commands ---


def test_train(
    spacy_cli: Callable[..., Result], tiny_bert: Path, data: Path, tmp_path: Path
) -> None:
    spacy_cli(
        "train",
        CONFIGS / "ner.cfg",
        *("--output", tmp_path / "out"),
        *("--paths.train", data, "--paths.dev", data, "--paths.encoder", tiny_bert),
        *("--training.max_steps", 2, "--training.eval_frequency", 1),
        *("--schedule.warmup_steps", 1),
    )
    nlp = spacy.load(tmp_path / "out" / "model-best")
    assert nlp.get_pipe("ner").labels == ("ORG",)
    assert "ents_f" in nlp.meta["performance"]


def test_evaluate(
    spacy_cli: Callable[..., Result], trained: Language, model: Path, data: Path, tmp_path: Path
) -> None:
    spacy_cli("evaluate", model, data, "--output", tmp_path / "metrics.json")
    found = json.loads((tmp_path / "metrics.json").read_text())
    expected = trained.evaluate(examples(trained))
    for name in ("ents_f", "cats_macro_f", "cats_macro_auc", "sents_f"):
        assert found[name] == pytest.approx(expected[name]) if expected[name] else not found[name]
    assert found["ents_f"] == 1.0


def test_apply(
    spacy_cli: Callable[..., Result], trained: Language, model: Path, tmp_path: Path
) -> None:
    srsly.write_jsonl(tmp_path / "texts.jsonl", [{"text": text} for text, _, _ in DATA])
    spacy_cli("apply", model, tmp_path / "texts.jsonl", tmp_path / "out.spacy")
    docs = list(DocBin().from_disk(tmp_path / "out.spacy").get_docs(trained.vocab))
    assert [doc.text for doc in docs] == [text for text, _, _ in DATA]
    for doc in docs:
        expected = trained(doc.text)
        assert doc.cats == pytest.approx(expected.cats, abs=1e-5)
        assert doc.to_json()["ents"] == expected.to_json()["ents"]


# spaCy leaves the files that it writes to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_package(
    spacy_cli: Callable[..., Result], trained: Language, model: Path, tmp_path: Path
) -> None:
    tmp_path.joinpath("out").mkdir()
    spacy_cli("package", model, tmp_path / "out", "--name", "tools", "--build", "none")
    (folder,) = (tmp_path / "out").iterdir()
    assert folder.name == "xx_tools-0.0.0"
    meta = srsly.read_json(folder / "meta.json")
    assert meta["lang"] == "xx"
    assert sum(each.startswith("trfcli") for each in meta["requirements"]) == 1
    nlp = spacy.load(folder / "xx_tools" / "xx_tools-0.0.0")
    assert isinstance(nlp, TransformersLanguage)
    assert same_predictions(nlp, trained)


def test_assemble(spacy_cli: Callable[..., Result], tiny_bert: Path, tmp_path: Path) -> None:
    config = make_nlp(tiny_bert).config
    config.to_disk(tmp_path / "config.cfg")
    spacy_cli("assemble", tmp_path / "config.cfg", tmp_path / "out")
    nlp = spacy.load(tmp_path / "out")
    assert nlp.pipe_names == ["sentencizer", "trf_wordpiecer", "trf_tok2vec"]
    assert nlp(TEXT).tensor.any()


def test_assemble_with_components_of_another_pipeline(
    spacy_cli: Callable[..., Result], trained: Language, model: Path, tmp_path: Path
) -> None:
    nlp = TransformersLanguage(meta={"lang": "xx"})
    config = nlp.config
    config["nlp"]["pipeline"] = trained.pipe_names
    config["components"] = {name: {"source": str(model)} for name in trained.pipe_names}
    config.to_disk(tmp_path / "config.cfg")
    spacy_cli("assemble", tmp_path / "config.cfg", tmp_path / "out")
    assert same_predictions(spacy.load(tmp_path / "out"), trained)


def test_info(spacy_cli: Callable[..., Result], model: Path) -> None:
    output = spacy_cli("info", model).output
    assert "trf_textcat" in output
    assert "xx" in output


def test_validate(spacy_cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks the network which packages fit spaCy; ours, which it doesn't know, don't disturb."""

    class Response:
        status_code = 200

        def json(self) -> dict[str, Any]:
            return {"spacy": {spacy.util.get_minor_version(spacy.__version__): {}}}

    monkeypatch.setattr("requests.get", lambda *_, **__: Response())
    assert "pipeline packages" in spacy_cli("validate").output.lower()


def test_benchmark_speed(spacy_cli: Callable[..., Result], model: Path, data: Path) -> None:
    output = spacy_cli(
        "benchmark", "speed", model, data, "--batches", 30, "--warmup", 0, "--no-shuffle"
    ).output
    assert "words/s" in output.lower()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.cfg")), ids=lambda path: path.name)
def test_debug_config(
    spacy_cli: Callable[..., Result], tiny_bert: Path, data: Path, tmp_path: Path, path: Path
) -> None:
    # It wants every default to be there, so they are filled in first, as spaCy says.
    spacy_cli("init", "fill-config", path, tmp_path / "filled.cfg")
    output = spacy_cli(
        *("debug", "config", tmp_path / "filled.cfg"),
        *("--paths.train", data, "--paths.dev", data, "--paths.encoder", tiny_bert),
    ).output
    assert "Config is valid" in output


def test_debug_data(
    spacy_cli: Callable[..., Result], trained: Language, tiny_bert: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data.spacy"
    # Fewer than a hundred are an error to it.
    DocBin(docs=[eg.reference for eg in examples(trained)] * 25).to_disk(data)
    spacy_cli("init", "fill-config", CONFIGS / "ner.cfg", tmp_path / "filled.cfg")
    output = spacy_cli(
        *("debug", "data", tmp_path / "filled.cfg"),
        *("--paths.train", data, "--paths.dev", data, "--paths.encoder", tiny_bert),
    ).output
    assert "Pipeline can be initialized with data" in output
    assert "1 label(s)" in output


def test_find_threshold(spacy_cli: Callable[..., Result], model: Path, data: Path) -> None:
    output = spacy_cli(
        "find-threshold", model, data, "trf_textcat", "threshold", "cats_macro_f", "--n_trials", 3
    ).output
    assert "Best threshold" in output


# --- methods ---


def test_select_pipes(trained: Language) -> None:
    with trained.select_pipes(disable=["ner"]):
        doc = trained(TEXT)
        assert doc.cats
        assert not doc.ents
    with trained.select_pipes(enable=["sentencizer", "trf_wordpiecer", "trf_tok2vec", "ner"]):
        doc = trained(TEXT)
        assert not doc.cats
        assert doc.ents
    with trained.select_pipes(enable=["sentencizer", "trf_wordpiecer"]):
        assert trained(TEXT)._.trf_word_pieces
    assert trained(TEXT).cats


def test_replace_pipe(model: Path, tiny_bert: Path) -> None:
    nlp = spacy.load(model)
    ensemble = {
        "@architectures": "spacy.TextCatReduce.v1",
        "exclusive_classes": True,
        "use_reduce_first": False,
        "use_reduce_last": False,
        "use_reduce_max": False,
        "use_reduce_mean": True,
        "tok2vec": TOKEN_VECTORS,
    }
    replaced = nlp.replace_pipe("trf_textcat", "textcat", config={"model": ensemble})
    replaced.initialize(lambda: examples(nlp), nlp=nlp)
    losses = [nlp.update(examples(nlp), sgd=make_optimizer())["trf_textcat"] for _ in range(5)]
    assert losses[-1] < losses[0]
    encoder = nlp.replace_pipe("trf_tok2vec", "trf_tok2vec", config={"trf_name": str(tiny_bert)})
    encoder.initialize(lambda: examples(nlp), nlp=nlp)
    assert encoder.listening_components == ["trf_textcat", "ner"]
    assert nlp(TEXT).cats.keys() == {"GOOD", "BAD"}


def test_to_bytes(trained: Language) -> None:
    again = TransformersLanguage.from_config(trained.config, meta=trained.meta)
    again.from_bytes(trained.to_bytes())
    assert same_predictions(again, trained)
    for name in ("trf_tok2vec", "trf_textcat", "ner"):
        assert again.get_pipe(name).to_bytes() == trained.get_pipe(name).to_bytes()


def test_displacy(trained: Language) -> None:
    html = displacy.render(trained(TEXT), style="ent", jupyter=False)
    assert "ORG" in html
    assert "Apple" in html
    doc = trained(TEXT)
    doc.spans["sc"] = list(doc.ents)
    assert "ORG" in displacy.render(doc, style="span", jupyter=False)


def test_replace_listeners(trained: Language) -> None:
    with pytest.raises(PipelineError, match="ner: can't have its own copy of trf_tok2vec"):
        trained.replace_listeners("trf_tok2vec", "ner", ["model.tok2vec"])
    trained.replace_listeners("trf_tok2vec", "ner", [])
    assert trained(TEXT).ents


# --- components of another pipeline ---


def test_components_can_be_sourced(trained: Language, model: Path) -> None:
    source = spacy.load(model)
    nlp = spacy.blank("xx", vocab=source.vocab)
    for name in source.pipe_names:
        nlp.add_pipe(name, source=source)
    assert same_predictions(nlp, trained)


@pytest.mark.parametrize("lang", ["trf", "xx"])
@pytest.mark.parametrize("frozen", [True, False])
def test_a_new_head_trains_on_a_sourced_encoder(
    spacy_cli: Callable[..., Result],
    model: Path,
    data: Path,
    tmp_path: Path,
    lang: str,
    frozen: bool,
) -> None:
    nlp = TransformersLanguage(meta={"lang": "xx"}) if lang == "trf" else spacy.blank(lang)
    config = nlp.config
    sourced = ["sentencizer", "trf_wordpiecer", "trf_tok2vec"]
    config["nlp"]["pipeline"] = [*sourced, "ner", "trf_textcat"]
    config["components"] = {name: {"source": str(model)} for name in sourced}
    config["components"]["ner"] = {"factory": "ner", "model": NER}
    config["components"]["trf_textcat"] = {"factory": "trf_textcat"}
    config["corpora"] = {
        name: {"@readers": "spacy.Corpus.v1", "path": str(data)} for name in ("train", "dev")
    }
    config["training"] |= {"max_steps": 2, "eval_frequency": 1}
    config["training"]["optimizer"] = {"@optimizers": "trfcli.AdamW.v1"}
    if frozen:
        config["training"]["frozen_components"] = sourced
        if lang != "trf":
            config["training"]["annotating_components"] = sourced
    config.to_disk(tmp_path / "config.cfg")
    spacy_cli("train", tmp_path / "config.cfg", "--output", tmp_path / "out")
    trained = spacy.load(tmp_path / "out" / "model-last")
    before, after = (
        each.get_pipe("trf_tok2vec").to_bytes() for each in (spacy.load(model), trained)
    )
    assert (before == after) == frozen
    assert trained.get_pipe("trf_textcat").model.get_ref("output_layer").get_param("W").any()
    assert trained(TEXT).cats.keys() == {"GOOD", "BAD"}


# --- meta ---


@pytest.mark.parametrize("lang", ["trf", "xx"])
def test_meta_stays_the_same_however_often_it_is_saved(
    tiny_bert: Path, tmp_path: Path, lang: str
) -> None:
    nlp = make_nlp(tiny_bert, lang)
    nlp.initialize()
    metas = []
    for number in range(3):
        nlp.to_disk(tmp_path / str(number))
        metas.append(srsly.read_json(tmp_path / str(number) / "meta.json"))
        nlp = spacy.load(tmp_path / str(number))
    assert metas[0] == metas[1] == metas[2]
    assert metas[0]["lang"] == "xx"
    if lang == "trf":
        (requirement,) = metas[0]["requirements"]
        assert requirement.startswith("trfcli>=")
