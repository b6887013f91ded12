"""A stand-in for Ray, whose actors run in this process."""

import copy
import sys
from collections.abc import Callable
from concurrent.futures import Future
from types import ModuleType
from typing import Any

import pytest


class RayActorError(Exception):
    """A worker was killed more often than it may be."""


class FakeRay(ModuleType):
    """A cluster.

    Attributes:
        resources: What the cluster has.
        kills: How often the next calls of an actor kill its process.
        options: The options of each kind of actor.
        starts: Number of processes that were started.
        killed: Number of actors that were killed at the end.
    """

    def __init__(self, **resources: float) -> None:
        super().__init__("ray")
        self.resources = resources
        self.kills = 0
        self.options: list[dict[str, Any]] = []
        self.starts = 0
        self.killed = 0
        self.is_running = False
        self.exceptions = ModuleType("ray.exceptions")
        self.exceptions.RayActorError = RayActorError  # type: ignore[attr-defined]

    def is_initialized(self) -> bool:
        return self.is_running

    def init(self, **_: Any) -> None:
        self.is_running = True

    def shutdown(self) -> None:
        self.is_running = False

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def put(self, value: bytes) -> bytes:
        assert isinstance(value, bytes)
        return value

    def get(self, value: bytes) -> bytes:
        return value

    def kill(self, actor: "_Actor") -> None:
        self.killed += 1

    def remote(self, **options: Any) -> Callable[[type], Any]:
        self.options.append(options)

        class Remote:
            def __init__(self, cls: type) -> None:
                self.cls = cls

            def remote(_self, *args: Any) -> "_Actor":  # noqa: N805
                return _Actor(self, _self.cls, args, options)

        return Remote


def install(monkeypatch: pytest.MonkeyPatch, **resources: float) -> FakeRay:
    """Let `import ray` return a cluster."""
    found = FakeRay(**resources)
    monkeypatch.setitem(sys.modules, "ray", found)
    monkeypatch.setitem(sys.modules, "ray.exceptions", found.exceptions)
    return found


class _Actor:
    def __init__(
        self, cluster: FakeRay, cls: type, args: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        self.cluster = cluster
        self.create = lambda: cls(*args)
        self.options = options
        self.start()
        self.apply = self

    def start(self) -> None:
        self.cluster.starts += 1
        self.instance = self.create()

    def remote(self, item: Any) -> "_Actor":
        called = copy.copy(self)
        called.result = self._call(item)
        return called

    def _call(self, item: Any) -> Any:
        for _ in range(1 + self.options["max_task_retries"]):
            if not self.cluster.kills:
                return self.instance.apply(item)
            self.cluster.kills -= 1
            self.start()
        return RayActorError()

    def future(self) -> Future[Any]:
        found: Future[Any] = Future()
        if isinstance(self.result, Exception):
            found.set_exception(self.result)
        else:
            found.set_result(self.result)
        return found
