"""From a source to whoever takes its poses, live or offline.

    reader thread     source -> frames: of a file each, 3 ahead; of a live source the newest
    worker thread     frame -> whom to look for -> pipeline -> tracks
    calling thread    result -> outputs: lines, files, a window (which a main thread must hold), the preview

Each waits for the next, so nothing grows. A live result waits for at most the output of the one before it.
"""

from hgedge.runtime.live.estimate import Estimate, People, estimates, people_of
from hgedge.runtime.live.loop import Output, Result, run_source
from hgedge.runtime.live.summary import Summary

__all__ = ["Estimate", "Output", "People", "Result", "Summary", "estimates", "people_of", "run_source"]
