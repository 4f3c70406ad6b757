"""What this machine has for building and running engines, what it lacks, and the exact fix for each lack."""

from hgedge.doctor.check import Check
from hgedge.doctor.examine import examine, healthy
from hgedge.doctor.machine import Machine, this_machine

__all__ = ["Check", "Machine", "examine", "healthy", "this_machine"]
