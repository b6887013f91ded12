from pathlib import Path

import pytest
from annotating import interrupt, run
from fake_ray import install

from trfcli_pipeline.tasks.annotate import AnnotationStarted


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv.gz", "out.spacy"])
def test_cluster_writes_the_same_file_as_one_machine(
    model: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    run(model, "in.jsonl", f"one-{name}", batch_size=4)
    cluster = install(monkeypatch, CPU=2.0)
    # Three workers are killed. What they worked on is done again.
    cluster.kills = 3
    run(model, "in.jsonl", name, batch_size=4, engine="ray")
    assert cluster.starts == 2 + 3
    assert Path(name).read_bytes() == Path(f"one-{name}").read_bytes()


def test_run_on_a_cluster_can_be_resumed(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run(model, "in.jsonl", "one.jsonl", batch_size=4)
    install(monkeypatch, CPU=2.0)
    interrupt(model, "in.jsonl", "out.jsonl", batches=2, batch_size=4, engine="ray")
    started, *_ = run(model, "in.jsonl", "out.jsonl", batch_size=4, engine="ray", resume=True)
    assert started == AnnotationStarted(30, 8)
    assert Path("out.jsonl").read_bytes() == Path("one.jsonl").read_bytes()
