"""People followed from frame to frame: who is who, and keypoints that do not tremble."""

from hgedge.tracking.tracks import Track, Tracker

__all__ = ["Track", "Tracker"]
