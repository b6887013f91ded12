"""`--verify`: the installed wheel predicts what the pipeline predicts."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trfcli_pipeline.errors import OutputError, PipelineError
from trfcli_pipeline.tasks import verification
from trfcli_pipeline.tasks.offline_predictions import EXAMPLE_TEXTS, Prediction, predict_offline
from trfcli_pipeline.tasks.package import package
from trfcli_pipeline.tasks.verification import Verified, verify_wheel


def test_wheel_predicts_what_the_pipeline_predicts(model_dir: Path, tmp_path: Path) -> None:
    built = package(model_dir, tmp_path, formats=["wheel"], verify=True)
    # spaCy's textcat sets no vectors.
    assert built.verified == Verified(len(EXAMPLE_TEXTS), ("doc.cats", "annotations"))


DIFFERENT: dict[str, dict[str, Any]] = {
    "doc.cats": {"cats": {"HAM": np.nextafter(0.5, 1)}},
    "doc.tensor": {"tensor": np.nextafter(np.ones((1, 2), "float32"), np.float32(2))},
    "annotations": {"annotations": {"ents": [{"start": 0}]}},
}


@pytest.mark.parametrize("part", DIFFERENT)
def test_one_bit_is_a_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    same = Prediction({"HAM": 0.5}, np.ones((1, 2), "float32"), {"ents": []})
    installed = [same, same._replace(**DIFFERENT[part])]

    codes = []

    def predict(
        python: str, model: str, texts: Any, code: Path | None = None
    ) -> tuple[Path, list[Prediction]]:
        codes.append((model, code))
        return Path(python).parent, installed if model == "en_x" else [same, same]

    monkeypatch.setattr(verification, "_create_environment", lambda root: str(root / "python"))
    monkeypatch.setattr(verification, "_run", lambda *_: "")
    monkeypatch.setattr(verification, "predict_offline", predict)
    with pytest.raises(PipelineError) as error:
        verify_wheel(Path("en_x.whl"), "en_x", tmp_path, ["a", "b"])
    assert error.value.message == f"en_x.whl: {part} of text 2 isn't the same as the pipeline's"
    installed[1] = same
    code = tmp_path / "functions.py"
    found = verify_wheel(Path("en_x.whl"), "en_x", tmp_path, ["a", "b"], code)
    assert found == Verified(2, ("doc.cats", "doc.tensor", "annotations"))
    # The package has its own copy.
    assert codes[-2:] == [("en_x", None), (str(tmp_path), code)]


def test_failed_verification_writes_nothing(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Verified:
        raise PipelineError("differs")

    monkeypatch.setattr("trfcli_pipeline.tasks.package.verify_wheel", fail)
    with pytest.raises(PipelineError, match="differs"):
        package(model_dir, tmp_path, formats=["wheel"], verify=True)
    assert list(tmp_path.iterdir()) == []


def test_pipeline_of_the_current_environment_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "_create_environment", lambda root: str(root / "python"))
    monkeypatch.setattr(verification, "_run", lambda *_: "")
    monkeypatch.setattr(verification, "predict_offline", lambda *_: (Path("/elsewhere"), []))
    with pytest.raises(PipelineError, match="instead of the fresh environment"):
        verify_wheel(Path("en_x.whl"), "en_x", tmp_path, [])


def test_wheel_that_cannot_be_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "en_x-1.0-py3-none-any.whl").write_bytes(b"not a zip file")
    monkeypatch.setattr(verification, "_create_environment", lambda root: sys.executable)
    with pytest.raises(OutputError, match=r"en_x-1.0-py3-none-any.whl can't be installed: .+"):
        verify_wheel(tmp_path / "en_x-1.0-py3-none-any.whl", "en_x", tmp_path, ["a"])


CONNECTIONS = {
    "socket.connect": "socket.socket().connect(('127.0.0.1', 9))",
    "socket.getaddrinfo": "urllib.request.urlopen('http://localhost/')",
    "socket.gethostbyname": "socket.gethostbyname('localhost')",
    "socket.sendto": "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))",
}


def test_connections_and_lookups_fail() -> None:
    program = """
import socket, sys, urllib.request
from trfcli_pipeline.tasks.offline_predictions import _refuse_network
sys.addaudithook(_refuse_network)
for code in sys.argv[1:]:
    try:
        exec(code)
    except OSError as error:
        print(error)
"""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, *CONNECTIONS.values()],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = run.stdout.splitlines()
    assert len(lines) == len(CONNECTIONS)
    for line, event in zip(lines, CONNECTIONS, strict=True):
        assert f"The network is off ({event}" in line


def test_pipeline_that_uses_the_network(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = package(model_dir, tmp_path, formats=()).directory
    # As if it were installed.
    (site / "en_trf_tiny-0.1.0.dist-info").mkdir()
    facts = "Metadata-Version: 2.1\nName: en_trf_tiny\nVersion: 0.1.0\n"
    (site / "en_trf_tiny-0.1.0.dist-info" / "METADATA").write_text(facts)
    monkeypatch.setenv("PYTHONPATH", str(site))
    with (site / "en_trf_tiny" / "__init__.py").open("a") as file:
        file.write("import socket; socket.create_connection(('127.0.0.1', 9))\n")
    with pytest.raises(PipelineError, match=r"en_trf_tiny can't be loaded .*: The network is off"):
        predict_offline(sys.executable, "en_trf_tiny", ["a"])
