"""The web service of the deployment guide."""

from typing import Any

import pytest
from blocks import ROOT, read_blocks
from shell import run_python

PAGE = ROOT / "docs" / "guides" / "deployment.md"


@pytest.mark.usefixtures("reader")
def test_the_service_answers_with_the_best_label() -> None:
    service: dict[str, object] = {}
    (block,) = (block for block in read_blocks(PAGE) if "FastAPI" in block.code)
    run_python(block.code, service, block.place)
    run_python(
        """
answers = predict(Request(texts=["Call 0800 to WIN a prize", "See you at home"]))
status = health()
name = f"{nlp.meta['name']} {nlp.meta['version']}"
""",
        service,
        block.place,
    )
    answers: Any = service["answers"]
    assert [answer.label in ("HAM", "SPAM") for answer in answers] == [True, True]
    assert all(0.5 <= answer.score <= 1 for answer in answers)
    assert service["status"] == {"model": service["name"]}
