from pathlib import Path

import numpy as np
import pytest
import spacy

from trfcli_pipeline.errors import EncoderError, OutputError, PipelineError
from trfcli_pipeline.huggingface import sources
from trfcli_pipeline.pipeline.creating import default_name
from trfcli_pipeline.tasks.init_model import init_model

TEXT = "I love it. Apple pie is delicious!"


@pytest.mark.parametrize(
    ("encoder", "name"),
    [
        ("bert-base-uncased", "trf_bertbaseuncased"),
        ("all-MiniLM-L6-v2", "trf_allminilml6v2"),
        ("xlm_roberta.base", "trf_xlmrobertabase"),
        ("東京", "trf_encoder"),
    ],
)
def test_default_name_keeps_the_letters_and_digits_of_the_encoder(encoder: str, name: str) -> None:
    assert default_name(encoder) == name


def test_saved_pipeline_is_complete(tiny_bert: Path, tmp_path: Path) -> None:
    init_model(str(tiny_bert), tmp_path / "model", words_per_batch=500)
    nlp = spacy.load(tmp_path / "model")
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


def test_returned_pipeline_equals_the_saved_one(tiny_bert: Path, tmp_path: Path) -> None:
    nlp, facts = init_model(str(tiny_bert), tmp_path / "model")
    assert facts == nlp.meta["trf"]["encoder"]
    assert facts["name"] == "tiny-bert"
    again = spacy.load(tmp_path / "model")
    assert again.config == nlp.config
    assert again.meta == nlp.meta
    np.testing.assert_array_equal(again(TEXT).tensor, nlp(TEXT).tensor)


def test_language_and_name_are_saved(tiny_bert: Path, tmp_path: Path) -> None:
    init_model(str(tiny_bert), tmp_path / "model", lang="de", name="mine")
    nlp = spacy.load(tmp_path / "model")
    assert (nlp.meta["lang"], nlp.meta["name"]) == ("de", "mine")
    assert [token.text for token in nlp("z.B. so")] == ["z.B.", "so"]
    assert nlp.get_pipe("trf_tok2vec").model.attrs["words_per_batch"] is None


def test_config_names_the_encoder_as_given_and_no_local_path(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged = sources.PackagedEncoder("Tiny", "tiny-package")
    monkeypatch.setitem(sources.PACKAGED_ENCODERS, "tiny", packaged)
    source = sources.Source("Tiny", "tiny-package 1.0", tiny_bert)
    monkeypatch.setattr(sources, "locate", lambda name, **_: source)
    init_model("tiny", tmp_path / "model")
    text = (tmp_path / "model" / "config.cfg").read_text()
    assert text.count('trf_name = "tiny"') == 2
    for path in (tmp_path / "model").rglob("*"):
        if path.is_file() and path.suffix != ".safetensors":
            assert str(tiny_bert) not in path.read_text(errors="replace"), path


def test_same_encoder_gives_identical_files(tiny_bert: Path, tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        init_model(str(tiny_bert), tmp_path / name)
        contents.append(
            {
                str(path.relative_to(tmp_path / name)): path.read_bytes()
                for path in (tmp_path / name).rglob("*")
                if path.is_file()
            }
        )
    assert contents[0] == contents[1]


def test_unusable_encoder_leaves_no_files(tiny_bert: Path, tmp_path: Path) -> None:
    with pytest.raises(EncoderError):
        init_model(str(tmp_path / "absent"), tmp_path / "out" / "model")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_bytes((tiny_bert / "config.json").read_bytes())
    with pytest.raises(EncoderError):
        init_model(str(broken), tmp_path / "out" / "model")
    assert not (tmp_path / "out").exists()


def test_unknown_language_is_an_error(tiny_bert: Path, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"xyz.*language") as caught:
        init_model(str(tiny_bert), tmp_path / "model", lang="xyz")
    assert "\n" not in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_existing_pipeline_is_overwritten_only_with_force(
    tiny_bert: Path, tiny_gpt2: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model"
    init_model(str(tiny_bert), path)
    before = (path / "meta.json").read_bytes()
    with pytest.raises(OutputError, match="exists"):
        init_model(str(tiny_gpt2), path)
    assert (path / "meta.json").read_bytes() == before
    init_model(str(tiny_gpt2), path, force=True)
    assert spacy.load(path).meta["trf"]["encoder"]["model_type"] == "gpt2"
    assert list(tmp_path.iterdir()) == [path]
