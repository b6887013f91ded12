"""How a model records its data."""

import hashlib
from pathlib import Path

from trfcli_pipeline.training.provenance import digest_files


def test_data_files_with_the_same_name_are_recorded_by_their_paths(tmp_path: Path) -> None:
    paths = [str(tmp_path / part / "data.jsonl") for part in ("train", "dev")]
    for path in paths:
        Path(path).parent.mkdir()
        Path(path).write_text(path)
    assert digest_files(*paths) == {
        path: hashlib.sha256(path.encode()).hexdigest() for path in paths
    }
    assert digest_files(paths[0], None).keys() == {"data.jsonl"}
    assert digest_files(paths[0], paths[0]).keys() == {"data.jsonl"}
    assert digest_files("-", None) == {}
