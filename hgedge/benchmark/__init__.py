"""Honest timing, and the record of the machine that it was taken on."""
