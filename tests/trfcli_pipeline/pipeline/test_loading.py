import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.language import Language

from trfcli_pipeline.errors import DeviceError, EncoderError, OutputError, PipelineError
from trfcli_pipeline.pipeline import loading
from trfcli_pipeline.pipeline.loading import (
    check_free,
    describe_encoder,
    describe_pipeline,
    init_pipeline,
    is_pipeline,
    load_pipeline,
    pipeline_name,
)

TEXT = "I love it. Apple pie is delicious!"


@pytest.fixture(scope="module")
def saved(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pipelines") / "model"
    init_pipeline(str(tiny_bert), path, words_per_batch=500)
    return path


@pytest.mark.parametrize(
    ("encoder", "name"),
    [
        ("bert-base-uncased", "trf_bertbaseuncased"),
        ("all-MiniLM-L6-v2", "trf_allminilml6v2"),
        ("xlm_roberta.base", "trf_xlmrobertabase"),
        ("東京", "trf_encoder"),
    ],
)
def test_pipeline_name(encoder: str, name: str) -> None:
    assert pipeline_name(encoder) == name


# --- init_pipeline ---


def test_a_new_pipeline_is_saved_with_all_it_needs(tiny_bert: Path, saved: Path) -> None:
    nlp = spacy.load(saved)
    assert nlp.lang == "trf"
    assert nlp.meta["lang"] == "en"
    assert nlp.meta["name"] == "trf_tinybert"
    assert nlp.pipe_names == ["sentencizer", "trf_wordpiecer", "trf_tok2vec"]
    assert nlp.get_pipe("trf_tok2vec").model.attrs["words_per_batch"] == 500
    encoder = nlp.meta["trf"]["encoder"]
    assert encoder["name"] == "tiny-bert"
    assert encoder["source"] == str(tiny_bert)
    assert encoder["revision"] is None
    assert (encoder["model_type"], encoder["layers"], encoder["width"]) == ("bert", 2, 16)
    module = nlp.get_pipe("trf_tok2vec").transformers_model
    assert encoder["parameters"] == sum(each.numel() for each in module.parameters()) > 1000
    assert nlp(TEXT).tensor.shape == (len(nlp(TEXT)), 16)


def test_what_is_returned_is_what_is_saved(tiny_bert: Path, tmp_path: Path) -> None:
    nlp, facts = init_pipeline(str(tiny_bert), tmp_path / "model")
    assert facts == nlp.meta["trf"]["encoder"]
    assert facts["name"] == "tiny-bert"
    again = spacy.load(tmp_path / "model")
    assert again.config == nlp.config
    assert again.meta == nlp.meta
    np.testing.assert_array_equal(again(TEXT).tensor, nlp(TEXT).tensor)


def test_settings_go_into_the_pipeline(tiny_bert: Path, tmp_path: Path) -> None:
    init_pipeline(str(tiny_bert), tmp_path / "model", lang="de", pipeline="mine")
    nlp = spacy.load(tmp_path / "model")
    assert (nlp.meta["lang"], nlp.meta["name"]) == ("de", "mine")
    assert [token.text for token in nlp("z.B. so")] == ["z.B.", "so"]
    assert nlp.get_pipe("trf_tok2vec").model.attrs["words_per_batch"] == 2000


def test_trf_name_is_kept_as_given(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        loading.sources.PACKAGED_ENCODERS,
        "tiny",
        loading.sources.PackagedEncoder("Tiny", "tiny-package", "tiny", "model"),
    )
    source = loading.sources.Source("Tiny", "tiny-package 1.0", tiny_bert)
    monkeypatch.setattr(loading.sources, "locate", lambda name, **_: source)
    init_pipeline("tiny", tmp_path / "model")
    text = (tmp_path / "model" / "config.cfg").read_text()
    assert text.count('trf_name = "tiny"') == 2
    for path in (tmp_path / "model").rglob("*"):
        if path.is_file() and path.suffix != ".safetensors":
            assert str(tiny_bert) not in path.read_text(errors="replace"), path


def test_two_new_pipelines_are_equal(tiny_bert: Path, tmp_path: Path) -> None:
    digests = []
    for name in ("one", "two"):
        init_pipeline(str(tiny_bert), tmp_path / name)
        digests.append(
            {
                str(path.relative_to(tmp_path / name)): path.read_bytes()
                for path in (tmp_path / name).rglob("*")
                if path.is_file()
            }
        )
    assert digests[0] == digests[1]


def test_an_unusable_encoder_leaves_no_output(tiny_bert: Path, tmp_path: Path) -> None:
    with pytest.raises(EncoderError):
        init_pipeline(str(tmp_path / "absent"), tmp_path / "out" / "model")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_bytes((tiny_bert / "config.json").read_bytes())
    with pytest.raises(EncoderError):
        init_pipeline(str(broken), tmp_path / "out" / "model")
    assert not (tmp_path / "out").exists()


def test_an_unknown_language_is_an_error(tiny_bert: Path, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"xyz.*language") as caught:
        init_pipeline(str(tiny_bert), tmp_path / "model", lang="xyz")
    assert "\n" not in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_a_pipeline_is_replaced_only_by_force(
    tiny_bert: Path, tiny_gpt2: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model"
    init_pipeline(str(tiny_bert), path)
    before = hashlib.sha256((path / "meta.json").read_bytes()).digest()
    with pytest.raises(OutputError, match="exists"):
        init_pipeline(str(tiny_gpt2), path)
    assert hashlib.sha256((path / "meta.json").read_bytes()).digest() == before
    init_pipeline(str(tiny_gpt2), path, force=True)
    assert spacy.load(path).meta["trf"]["encoder"]["model_type"] == "gpt2"
    assert list(tmp_path.iterdir()) == [path]


# --- check_free ---


def test_check_free(tmp_path: Path, saved: Path) -> None:
    check_free(tmp_path / "absent", force=False)
    check_free(tmp_path, force=False)
    check_free(saved, force=True)
    with pytest.raises(OutputError, match="exists") as caught:
        check_free(saved, force=False)
    assert "--force" in str(caught.value)


@pytest.mark.parametrize("force", [True, False])
def test_other_files_are_never_replaced(tmp_path: Path, force: bool) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").touch()
    with pytest.raises(OutputError, match="no spaCy pipeline"):
        check_free(tmp_path / "photos", force=force)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file"):
        check_free(tmp_path / "file", force=force)


# --- load_pipeline ---


def test_a_pipeline_is_loaded(saved: Path) -> None:
    nlp = load_pipeline(str(saved), device="cpu")
    assert nlp.get_pipe("trf_tok2vec").model.shim.device.type == "cpu"
    nlp = load_pipeline(str(saved), exclude=["trf_tok2vec"])
    assert nlp.pipe_names == ["sentencizer", "trf_wordpiecer"]


def test_the_home_directory_is_expanded(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(saved.parent))
    assert load_pipeline("~/model").path == saved
    assert is_pipeline("~/model")


def test_an_unknown_device_is_reported_before_loading(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="abacus"):
        load_pipeline(str(tmp_path / "absent"), device="abacus")


def test_anything_but_a_pipeline_is_an_error(tmp_path: Path, tiny_bert: Path) -> None:
    (tmp_path / "file").touch()
    cases = {
        str(tmp_path / "absent"): "no such directory, and no such pipeline is installed",
        "no_such_package": "no such directory, and no such pipeline is installed",
        str(tmp_path / "file"): "is a file",
        str(tmp_path): "is no spaCy pipeline",
        str(tiny_bert): "is no spaCy pipeline",
    }
    for model, message in cases.items():
        with pytest.raises(PipelineError, match=message):
            load_pipeline(model)
    # An encoder's directory can become a pipeline.
    with pytest.raises(PipelineError, match=f"trf init {tiny_bert}"):
        load_pipeline(str(tiny_bert))


def test_a_broken_pipeline_is_an_error(saved: Path, tmp_path: Path) -> None:
    breakages: list[Callable[[Path], None]] = [
        lambda path: (path / "config.cfg").write_text("[nlp"),
        lambda path: (path / "meta.json").write_text("{"),
        lambda path: (path / "trf_tok2vec" / "model" / "model.safetensors").unlink(),
        lambda path: (path / "trf_tok2vec" / "model" / "model.safetensors").write_bytes(b"x" * 99),
        lambda path: (path / "trf_tok2vec" / "cfg").unlink(),
        lambda path: (path / "trf_wordpiecer" / "tokenizer" / "tokenizer.json").write_text("{"),
        lambda path: (path / "config.cfg").write_text(
            (saved / "config.cfg").read_text().replace('"trf_tok2vec"\n', '"no_such_factory"\n')
        ),
    ]
    for number, spoil in enumerate(breakages):
        path = tmp_path / str(number)
        shutil.copytree(saved, path)
        spoil(path)
        with pytest.raises((PipelineError, EncoderError)) as caught:
            load_pipeline(str(path))
        assert str(path) in caught.value.message
        assert "\n" not in caught.value.message


def test_is_pipeline(saved: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_pipeline(str(saved))
    assert not is_pipeline(str(tiny_bert))
    assert not is_pipeline("someone/some-encoder")
    monkeypatch.chdir(saved.parent)
    saved.rename(saved.with_name("minilm"))
    try:
        # The packaged encoder comes first.
        assert not is_pipeline("minilm")
    finally:
        saved.with_name("minilm").rename(saved)


# --- describe_pipeline ---


def test_a_pipeline_is_described(saved: Path, tiny_bert: Path) -> None:
    found = describe_pipeline(load_pipeline(str(saved)))
    assert found["name"] == "en_trf_tinybert"
    assert found["lang"] == "en"
    assert found["path"] == str(saved)
    size = sum(path.stat().st_size for path in saved.rglob("*") if path.is_file())
    assert found["size_mb"] == size / 1e6
    assert [each["name"] for each in found["components"]] == [
        "sentencizer",
        "trf_wordpiecer",
        "trf_tok2vec",
    ]
    encoder = found["encoder"]
    assert (encoder["name"], encoder["max_length"], encoder["heads"]) == ("tiny-bert", 64, 4)
    assert any(each.startswith("trfcli") for each in found["requirements"])
    assert found["performance"] == {}


def test_labels_are_described(saved: Path) -> None:
    nlp = load_pipeline(str(saved))
    textcat = nlp.add_pipe("trf_textcat", name="topics")
    for label in ("B", "A"):
        textcat.add_label(label)
    component = describe_pipeline(nlp)["components"][-1]
    assert component == {"name": "topics", "factory": "trf_textcat", "labels": ["B", "A"]}


def test_a_pipeline_without_an_encoder_is_described(tmp_path: Path) -> None:
    nlp = spacy.blank("de")
    nlp.add_pipe("sentencizer")
    nlp.to_disk(tmp_path)
    found = describe_pipeline(load_pipeline(str(tmp_path)))
    assert found["encoder"] is None
    assert found["name"] == "de_pipeline"


def test_an_encoder_is_described(make_nlp: Callable[..., Language], tiny_gpt2: Path) -> None:
    found = describe_encoder(make_nlp(tiny_gpt2).get_pipe("trf_tok2vec"))
    assert found["model_type"] == "gpt2"
    assert found["heads"] == 4
    assert found["parameters"] > 0
