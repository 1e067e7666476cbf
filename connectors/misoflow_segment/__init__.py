"""misoflow's connector for Segment."""

from misoflow_segment.config import PageRule, SegmentConfig
from misoflow_segment.connector import Segment

__all__ = ["PageRule", "Segment", "SegmentConfig"]
