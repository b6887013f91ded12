import os
import sys
import warnings

import pytest

from trfcli import console


def test_user_settings_of_libraries_take_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "info")
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    console.silence_libraries()
    assert os.environ["TRANSFORMERS_VERBOSITY"] == "info"
    assert os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] == "1"
    assert "TOKENIZERS_PARALLELISM" not in os.environ


def test_tokenizers_use_no_threads_with_worker_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    # Set and removed again, so that monkeypatch also undoes what the function sets.
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "")
    monkeypatch.delenv("TOKENIZERS_PARALLELISM")
    console.silence_libraries(forks=True)
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"


def test_only_warnings_of_noisy_libraries_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "warnoptions", [])
    with warnings.catch_warnings(record=True) as caught:
        warnings.resetwarnings()
        console.silence_libraries()
        warnings.warn_explicit("a", UserWarning, "f.py", 1, module="torch.nn.modules")
        warnings.warn_explicit("b", UserWarning, "f.py", 1, module="torchlike")
    assert [str(warning.message) for warning in caught] == ["b"]
