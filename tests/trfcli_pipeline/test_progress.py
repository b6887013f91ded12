import pytest

from trfcli_pipeline import progress
from trfcli_pipeline.progress import Phase, current_phase, phase, track


def test_innermost_phase_is_the_current_one() -> None:
    assert current_phase() is None
    with phase("Training", total=4, unit="steps", done=1) as outer:
        with phase("Saving") as inner:
            assert current_phase() is inner
        assert current_phase() is outer
    assert current_phase() is None


def test_phase_ends_with_an_exception() -> None:
    def fail() -> None:
        with phase("Saving"):
            raise ValueError("odd")

    with pytest.raises(ValueError, match="odd"):
        fail()
    assert current_phase() is None


def test_phases_may_end_in_any_order() -> None:
    """As those of generators do."""
    texts = track("ab", "Reading", unit="texts")
    next(texts)
    with phase("Saving"):
        texts.close()
        current = current_phase()
    assert current is not None
    assert current.title == "Saving"


def test_tracked_items_are_counted_when_they_are_done() -> None:
    done = [phase.done for _ in track("abc", "Reading", total=3, unit="texts") if (phase := now())]
    assert done == [0, 1, 2]
    assert current_phase() is None


def now() -> Phase:
    found = current_phase()
    assert found is not None
    return found


def test_rate_ignores_what_was_done_before(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: clock[0])
    with phase("Annotating", total=90, unit="texts", done=30) as annotating:
        assert annotating.rate == 0
        clock[0] = 110.0
        annotating.done = 50
        assert annotating.rate == 2
