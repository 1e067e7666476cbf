"""The Google Analytics 4 connector under misoflow's contract, and its files in the other format."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from misoflow import Slice, files
from misoflow.testing import ConnectorContract
from misoflow_ga4 import Ga4, Ga4Config

EXPORT = Path(__file__).parent / "export"
ROWS = 13


class TestGa4(ConnectorContract):
    connector = Ga4
    config = {"paths": [str(EXPORT)]}
    history = ROWS
    period = (date(2026, 9, 1), date(2026, 9, 3))


def pulled(folder: Path) -> list[tuple[str, str]]:
    """Topic and id of each event of the files in a folder."""
    part = Slice("events", datetime(2026, 9, 1, tzinfo=UTC), datetime(2026, 9, 3, tzinfo=UTC))
    pages = Ga4(Ga4Config(paths=(str(folder),))).backfill(part)
    return [(event.topic, event.id) for page in pages for event in page.events]


def test_parquet_gives_the_same_events(tmp_path: Path) -> None:
    """Parquet has real integers where the JSON export writes texts; an event is the same by both."""
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    for source in files.expand([str(EXPORT)]):
        rows = [row.value for block in files.read(source) for row in block if isinstance(files.parsed(row), dict)]
        for row in rows:
            row |= {key: int(row[key]) for key in ("event_timestamp", "event_bundle_sequence_id", "batch_event_index")}
        parquet.write_table(pa.Table.from_pylist(rows), tmp_path / f"{Path(source.path).stem}.parquet")
    assert pulled(tmp_path) == [pair for pair in pulled(EXPORT) if pair[0] != "unreadable"]


def test_a_file_that_was_read_is_not_read_again() -> None:
    connector = Ga4(Ga4Config(paths=(str(EXPORT),)))
    part = Slice("events", datetime(2026, 9, 1, tzinfo=UTC), datetime(2026, 9, 3, tzinfo=UTC))
    last = list(connector.backfill(part))[-1]
    again = Slice(part.stream, part.start, part.end, last.cursor)
    assert [page.events for page in connector.backfill(again)] == [[]]
