from hypothesis import given
from hypothesis import strategies as st

from trfcli_pipeline.data.record_store import RecordStore, Selection
from trfcli_pipeline.data.records import Record

records = st.lists(
    st.builds(
        Record,
        text=st.text(max_size=50),
        cats=st.none() | st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=3),
        line=st.integers(1, 1000),
        row=st.dictionaries(st.text(max_size=3), st.integers() | st.none(), max_size=2),
        partial=st.booleans(),
    ),
    max_size=12,
)


@given(records, st.integers(0, 6000))
def test_store_is_a_sequence_of_its_records(given_records: list[Record], room: int) -> None:
    store = RecordStore(iter(given_records), room=room)
    assert len(store) == len(given_records)
    assert list(store) == given_records
    assert [store[index] for index in range(-len(store), 0)] == given_records
    # Iteration and random access don't interfere.
    assert [(one, store[0]) for one in store] == [(each, given_records[0]) for each in store]


def test_records_spill_to_disk_when_memory_is_full() -> None:
    texts = [Record("x" * 1000, {"A": 1.0}, line) for line in range(1, 11)]
    assert RecordStore(texts, room=0).n_kept == 0
    assert 2 <= RecordStore(texts, room=5000).n_kept <= 4
    assert RecordStore(texts, room=100_000).n_kept == 10


@given(records, st.integers(0, 6000), st.data())
def test_selection_has_the_records_at_its_indices(
    given_records: list[Record], room: int, data: st.DataObject
) -> None:
    indices = (
        data.draw(st.lists(st.sampled_from(range(len(given_records))))) if given_records else []
    )
    selection = Selection(RecordStore(given_records, room=room), indices)
    expected = [given_records[index] for index in indices]
    assert len(selection) == len(indices)
    assert list(selection) == expected
    assert list(selection[1:3]) == expected[1:3]
    assert list(RecordStore(given_records, room=room)[:-1]) == given_records[:-1]
