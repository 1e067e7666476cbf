"""Reading files: paths to sources (``expand``), sources to rows (``read``), both in memory that does not grow."""

from misoflow.files.inflate import Truncated, inflate
from misoflow.files.read import FORMATS, Format, format_of, read
from misoflow.files.records import record_of
from misoflow.files.rows import BadRow, Block, Row, parsed
from misoflow.files.sources import Changed, Source, expand, shown

__all__ = [
    "FORMATS",
    "BadRow",
    "Block",
    "Changed",
    "Format",
    "Row",
    "Source",
    "Truncated",
    "expand",
    "format_of",
    "inflate",
    "parsed",
    "read",
    "record_of",
    "shown",
]
