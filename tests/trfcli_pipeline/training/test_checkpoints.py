from pathlib import Path

import torch

from trfcli_pipeline.training.checkpoints import Workspace


def test_numbers_come_back_as_they_were(tmp_path: Path) -> None:
    workspace = Workspace.beside(tmp_path / "model")
    assert not workspace.can_resume
    progress = {"losses": [2 / 3, 0.1 + 0.2, 1e-300, float(torch.tensor(0.69208963))]}
    tensors = {"head.0.W": torch.tensor([2 / 3]), "number.n": torch.tensor(7)}
    workspace.save(progress, tensors)
    assert workspace.can_resume
    found, found_tensors = workspace.load()
    assert found == progress
    assert found_tensors == tensors
    workspace.remove()
    assert list(tmp_path.iterdir()) == []
