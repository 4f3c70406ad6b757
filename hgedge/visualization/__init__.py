"""Poses drawn into pictures."""
