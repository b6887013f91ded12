from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import pytest
from fake_hub import FakeHub
from huggingface_hub import constants


@pytest.fixture
def go_online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Point huggingface_hub to another hub, with an empty cache of its own.

    We set its constants, which it looks up at each use, because it reads its environment variables
    only once.
    """

    def go(url: str) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            url + "/{repo_id}/resolve/{revision}/{filename}",
        )

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    huggingface_hub.close_session()
    yield go
    huggingface_hub.close_session()


@pytest.fixture
def hub(go_online: Callable[[str], None]) -> Iterator[FakeHub]:
    hub = FakeHub()
    go_online(hub.url)
    yield hub
    # Close the connections first; the server would wait for them.
    huggingface_hub.close_session()
    hub.stop()
