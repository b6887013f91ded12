import multiprocessing
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from extras import needs_openvino
from spacy.language import Language
from wrapped import split

from trfcli_pipeline.encoder import openvino_backend
from trfcli_pipeline.encoder.backends import Encoder, InferenceConfig
from trfcli_pipeline.encoder.model import TransformersWrapper
from trfcli_pipeline.encoder.openvino_backend import OpenVINOEncoder
from trfcli_pipeline.encoder.openvino_export import convert
from trfcli_pipeline.encoder.padding import WordPieces
from trfcli_pipeline.errors import DeviceError, EncoderError, PipelineError
from trfcli_pipeline.pipeline.doc_rows import word_pieces

pytestmark = needs_openvino

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "Apple shares rose on the news. Apple pie is delicious!",
    "I love this film, it is great fun. I hate this film; it is a terrible bore.",
    "Unbelievable!",
]


def model_and_input(nlp: Language) -> tuple[TransformersWrapper, WordPieces]:
    """The pipeline's model, on the CPU, and its input for TEXTS."""
    model = nlp.get_pipe("trf_tok2vec").model
    model.shim.to("cpu")
    docs = list(nlp.pipe(TEXTS))
    X = word_pieces(docs)
    return model, X


def converted(
    model: TransformersWrapper, X: WordPieces, precision: Any = "fp32"
) -> TransformersWrapper:
    """A copy that runs with OpenVINO."""
    found = model.copy()
    encoder = convert(
        model.shim.module,
        model.shim.encoder.capabilities,
        precision,
        all_hidden_states=model.shim.all_hidden_states,
        examples=[batch.inputs for batch in split(model, X)],
    )
    found.shim.encoder = Encoder(
        encoder, model.shim.encoder.capabilities, InferenceConfig("openvino", precision)
    )
    return found


@pytest.fixture(scope="module")
def encoder(tiny_bert: Path) -> OpenVINOEncoder:
    model = TransformersWrapper(device="cpu")
    model.from_disk(tiny_bert)
    capabilities = model.shim.encoder.capabilities
    return convert(model.shim.module, capabilities, "fp32", all_hidden_states=False, examples=[])


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


# Families with absolute and relative positions, without a mask, and with neighbors past the mask
@pytest.mark.parametrize("family", ["bert", "roberta", "deberta-v2", "fnet", "convbert"])
def test_fp32_gives_the_same_results_as_torch(
    make_nlp: Callable[..., Language], family_encoder: Callable[[str], Path], family: str
) -> None:
    model, X = model_and_input(make_nlp(family_encoder(family), all_hidden_states=True))
    expected, found = model.predict(X), converted(model, X).predict(X)
    np.testing.assert_allclose(found.last_hidden_state, expected.last_hidden_state, atol=1e-4)
    assert expected.all_hidden_states is not None
    assert found.all_hidden_states is not None
    for layer, other in zip(found.all_hidden_states, expected.all_hidden_states, strict=True):
        np.testing.assert_allclose(layer, other, atol=1e-4)
    assert (expected.pooler_output is None) == (found.pooler_output is None)
    if expected.pooler_output is not None:
        np.testing.assert_allclose(found.pooler_output, expected.pooler_output, atol=1e-4)


@pytest.mark.parametrize(("precision", "least"), [("int8", 0.99), ("bf16", 0.999)])
def test_reduced_precision_is_smaller_and_nearly_as_exact(
    nlp: Language, precision: str, least: float
) -> None:
    model, X = model_and_input(nlp)
    expected, reduced = model.predict(X), converted(model, X, precision)
    found = reduced.predict(X)
    assert cosines(found.last_hidden_state, expected.last_hidden_state).mean() >= least
    assert (found.last_hidden_state != expected.last_hidden_state).any()
    n_bytes = len(reduced.shim.module.files["openvino_model.bin"])
    assert n_bytes < 4 * model.shim.module.num_parameters() * 0.6
    assert reduced.shim.module.num_parameters() == model.shim.module.num_parameters()


def test_a_segment_gives_the_same_result_alone_and_in_a_batch(nlp: Language) -> None:
    model, X = model_and_input(nlp)
    model = converted(model, X)
    together = model.predict(X).last_hidden_state
    ends = np.cumsum(X.lengths)
    for start, end in zip(ends - X.lengths, ends, strict=True):
        one = WordPieces(ids=X.ids[start:end], lengths=np.array([end - start], np.int32))
        alone = model.predict(one).last_hidden_state
        np.testing.assert_allclose(alone, together[start:end], atol=1e-4)


def test_threads_do_not_mix_up_their_results(
    encoder: OpenVINOEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_backend, "count_streams", lambda device: 2)
    encoder = OpenVINOEncoder(encoder.config, "fp32", 1, encoder.files)
    inputs = [torch.full((1, 2 + length % 5), length + 5) for length in range(40)]
    alone = [encoder(input_ids=ids).last_hidden_state for ids in inputs]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda ids: encoder(input_ids=ids).last_hidden_state, inputs))
    for one, other in zip(alone, found, strict=True):
        assert torch.equal(one, other)


FIRST_AT_ONCE = """
import sys
from pathlib import Path
from threading import Barrier, Thread
import torch
from trfcli_pipeline.encoder.openvino_backend import OpenVINOEncoder

sys.setswitchinterval(1e-6)
encoder = OpenVINOEncoder.from_pretrained(Path(sys.argv[1]), "fp32", 1)
barrier = Barrier(2)

def run():
    encoder._request()
    barrier.wait()
    encoder(input_ids=torch.arange(5, 12)[None])

threads = [Thread(target=run) for _ in range(2)]
for each in threads:
    each.start()
for each in threads:
    each.join()
"""


def test_the_first_calls_of_two_threads_do_not_deadlock(
    encoder: OpenVINOEncoder, tmp_path: Path
) -> None:
    """Only the first calls in a process could deadlock."""
    encoder.save_pretrained(tmp_path)
    command = [sys.executable, "-c", FIRST_AT_ONCE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_use_in_a_forked_process_is_an_error(nlp: Language) -> None:
    """OpenVINO's compiler could wait there forever."""
    model, X = model_and_input(nlp)
    fast = converted(model, X)
    fast.predict(X)
    ours, theirs = multiprocessing.get_context("fork").Pipe()

    def work() -> None:
        with pytest.raises(DeviceError) as caught:
            fast.predict(X)
        theirs.send(str(caught.value))

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    try:
        assert ours.poll(60)
        assert "openvino: can't be used in a forked process" in ours.recv()
    finally:
        process.kill()
        process.join()


def test_files_can_be_overwritten_after_loading(encoder: OpenVINOEncoder, tmp_path: Path) -> None:
    encoder.save_pretrained(tmp_path)
    found = OpenVINOEncoder.from_pretrained(tmp_path, "fp32", encoder.num_parameters())
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    ids = torch.arange(5, 12)[None]
    assert torch.equal(*(each(input_ids=ids).last_hidden_state for each in (found, encoder)))
    assert found.files == encoder.files


@pytest.mark.parametrize("damage", ["missing", "not XML"])
def test_damaged_files_are_an_error(encoder: OpenVINOEncoder, tmp_path: Path, damage: str) -> None:
    encoder.save_pretrained(tmp_path)
    graph = tmp_path / "openvino_model.xml"
    graph.unlink()
    if damage == "not XML":
        graph.write_text("<net")
    with pytest.raises(EncoderError, match=r"openvino_model\.xml"):
        OpenVINOEncoder.from_pretrained(tmp_path, "fp32", 1)


def test_an_encoder_with_other_results_after_conversion_is_an_error(
    make_nlp: Callable[..., Language], tiny_gpt2: Path
) -> None:
    model, X = model_and_input(make_nlp(tiny_gpt2))
    with pytest.raises(EncoderError, match="gpt2: gives other results"):
        converted(model, X)


def test_a_missing_openvino_is_an_error(
    encoder: OpenVINOEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder.save_pretrained(tmp_path)
    openvino_backend.openvino_core.cache_clear()
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(PipelineError, match="needs OpenVINO, which isn't installed") as caught:
        OpenVINOEncoder.from_pretrained(tmp_path, "fp32", 1)
    assert 'pip install "trfcli[openvino]"' in (caught.value.hint or "")


@pytest.mark.usefixtures("encoder")
def test_telemetry_is_disabled() -> None:
    assert sys.modules["openvino_telemetry"] is None
    assert "unittest.mock" in type(sys.modules["nncf"].telemetry.telemetry).__module__
