from pathlib import Path

import torch

from trfcli_pipeline.training.checkpoints import Workspace


def test_checkpoint_keeps_exact_numbers(tmp_path: Path) -> None:
    workspace = Workspace.beside(tmp_path / "model")
    assert not workspace.can_resume
    state = {"losses": [2 / 3, 0.1 + 0.2, 1e-300, float(torch.tensor(0.69208963))]}
    tensors = {"head.0.W": torch.tensor([2 / 3]), "number.n": torch.tensor(7)}
    workspace.save(state, tensors)
    assert workspace.can_resume
    found, found_tensors = workspace.load()
    assert found == state
    assert found_tensors == tensors
    workspace.remove()
    assert list(tmp_path.iterdir()) == []
