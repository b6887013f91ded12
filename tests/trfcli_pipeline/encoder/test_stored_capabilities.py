"""inference.json: what trial runs found, stored next to the weights."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, BigBirdConfig, BigBirdModel, FunnelConfig, FunnelModel
from wrapped import ALL, assert_bit_equal, load, make_input

from trfcli_pipeline.encoder import capabilities
from trfcli_pipeline.encoder.backends import InferenceConfig, cast_weights
from trfcli_pipeline.encoder.padding import WordPieces
from trfcli_pipeline.errors import EncoderError

FILE = "inference.json"


@pytest.fixture
def trial_runs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The inputs of each trial run from now on."""
    runs: list[dict[str, Any]] = []
    run = capabilities._try

    def counting(model: Any, **inputs: Any) -> Any:
        runs.append(inputs)
        return run(model, **inputs)

    monkeypatch.setattr(capabilities, "_try", counting)
    return runs


@pytest.fixture
def saved(tiny_bert: Path, tmp_path: Path) -> Path:
    load(tiny_bert).to_disk(tmp_path / "saved")
    return tmp_path / "saved"


def edit(path: Path, **traits: Any) -> None:
    """Change values in the stored file; None removes one."""
    stored = json.loads((path / FILE).read_text())
    stored["traits"] |= traits
    stored["traits"] = {name: each for name, each in stored["traits"].items() if each is not None}
    (path / FILE).write_text(json.dumps(stored))


def test_a_saved_encoder_is_loaded_without_trial_runs(
    saved: Path, tiny_bert: Path, trial_runs: list[Any]
) -> None:
    expected = load(tiny_bert)
    assert trial_runs
    trial_runs.clear()
    loaded = load(saved)
    assert not trial_runs
    assert loaded.shim.capabilities == expected.shim.capabilities
    assert_bit_equal(loaded.predict(make_input()), expected.predict(make_input()))


@pytest.mark.parametrize("setting", ALL)
def test_an_output_requested_later_is_tried_once(
    saved: Path, trial_runs: list[Any], setting: str
) -> None:
    wrapper = load(saved, **{setting: True})
    assert len(trial_runs) == 1
    wrapper.to_disk(saved)
    load(saved, **{setting: True})
    load(saved)
    assert len(trial_runs) == 1
    # The other output is still unknown.
    load(saved, **ALL)
    assert len(trial_runs) == 2


def test_an_output_requested_later_may_be_missing(tmp_path: Path) -> None:
    config = FunnelConfig(
        vocab_size=10,
        block_sizes=[1, 1],
        num_decoder_layers=1,
        d_model=8,
        n_head=2,
        d_head=4,
        d_inner=8,
    )
    FunnelModel(config).save_pretrained(tmp_path)
    load(tmp_path).to_disk(tmp_path)
    with pytest.raises(EncoderError, match="funnel: its layers return no hidden state"):
        load(tmp_path, all_hidden_states=True)


def test_the_weights_stay_a_hugging_face_directory(
    saved: Path, tiny_bert: Path, trial_runs: list[Any]
) -> None:
    assert {path.name for path in saved.iterdir()} == {"config.json", "model.safetensors", FILE}
    original, copied = (AutoModel.from_pretrained(path) for path in (tiny_bert, saved))
    for name, each in original.named_parameters():
        assert torch.equal(each, copied.get_parameter(name))
    # Directories from elsewhere lack the file.
    (saved / FILE).unlink()
    load(saved)
    assert trial_runs


def test_saving_again_gives_the_same_bytes(saved: Path, tiny_bert: Path, tmp_path: Path) -> None:
    load(saved).to_disk(tmp_path / "again")
    files = {path.name: path.read_bytes() for path in saved.iterdir()}
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()}
    assert load(saved).to_bytes() == load(tiny_bert).to_bytes()


def test_padding_is_respected_as_stored(saved: Path) -> None:
    edit(saved, ignores_padding=False)
    assert not load(saved).shim.capabilities.ignores_padding


def test_arguments_are_those_of_the_installed_version(saved: Path, tiny_bert: Path) -> None:
    edit(saved, arguments=["input_ids", "removed_from_transformers"])
    assert load(saved).shim.capabilities == load(tiny_bert).shim.capabilities


def test_weights_of_another_model_are_tried_again(
    saved: Path, family_encoder: Callable[[str], Path]
) -> None:
    other = family_encoder("convbert")
    for name in ("config.json", "model.safetensors"):
        shutil.copy(other / name, saved / name)
    assert load(saved).shim.capabilities == load(other).shim.capabilities


def test_files_of_earlier_versions_and_later_ones_are_read(saved: Path, tiny_bert: Path) -> None:
    edit(saved, changes_itself=None, hidden_states=None, attentions=None, from_the_future=1)
    assert load(saved).shim.capabilities == load(tiny_bert).shim.capabilities


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '"torch"',
        '{"backend": "torch", "precision": "fp32", "parameters": 1}',
        '{"backend": "torch", "precision": "fp32", "parameters": 1, "traits": []}',
        '{"backend": "torch", "precision": "fp32", "parameters": 1, "traits": {}}',
    ],
)
def test_a_damaged_file_is_an_error(saved: Path, content: str) -> None:
    (saved / FILE).write_text(content)
    with pytest.raises(EncoderError, match=r"inference\.json: can't be read: ") as caught:
        load(saved)
    assert "\n" not in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "value"),
    [("backend", "jax"), ("backend", []), ("precision", "int8"), ("precision", "int4")],
)
def test_an_invalid_way_to_run_is_an_error(saved: Path, name: str, value: Any) -> None:
    stored = json.loads((saved / FILE).read_text())
    (saved / FILE).write_text(json.dumps(stored | {name: value}))
    with pytest.raises(EncoderError, match=r"inference\.json: can't be read: "):
        load(saved)


def test_a_short_text_does_not_change_the_results_of_a_loaded_encoder(tmp_path: Path) -> None:
    """Without a trial run, BigBird would switch to full attention at the first short text."""
    config = BigBirdConfig(
        vocab_size=10,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=64,
        block_size=2,
        num_random_blocks=1,
        initializer_range=0.5,
    )
    BigBirdModel(config).save_pretrained(tmp_path)
    expected = load(tmp_path)
    assert expected.shim.capabilities.changes_itself
    expected.to_disk(tmp_path / "saved")
    loaded = load(tmp_path / "saved")
    assert loaded.shim.capabilities == expected.shim.capabilities
    X = WordPieces(np.arange(40) % 9 + 1, np.array([40], dtype=np.int32))
    assert_bit_equal(loaded.predict(X), expected.predict(X))


def test_other_encoders_do_not_change_themselves(family_encoder: Callable[[str], Path]) -> None:
    for name in ("bert", "gpt2", "xlnet", "fnet", "convbert", "deberta-v2", "modernbert"):
        assert not load(family_encoder(name)).shim.capabilities.changes_itself


def test_an_optimized_encoder_keeps_the_capabilities_of_the_original(
    tiny_bert: Path, tmp_path: Path
) -> None:
    wrapper = load(tiny_bert)
    half = cast_weights(wrapper.shim.encoder, InferenceConfig("torch", "bf16"))
    changed = replace(half.capabilities, ignores_padding=False, has_types=False)
    wrapper.shim.encoder = half._replace(capabilities=changed)
    wrapper.to_disk(tmp_path)
    loaded = load(tmp_path)
    assert loaded.shim.capabilities == changed
    n_parameters = loaded.shim.module.num_parameters()
    assert json.loads((tmp_path / FILE).read_text())["parameters"] == n_parameters
