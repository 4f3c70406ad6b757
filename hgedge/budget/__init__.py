"""Precision under an accuracy budget: what quantising each group costs and saves, and the fastest assignment that fits.

Both are measured on the engine at hand: points on labelled people, milliseconds in the same rounds as the full INT8
engine and FP32. `lab` measures, `notebook` remembers, `sensitivity` tells group by group, `search` decides on one half
of the people, `proof` judges on the other.
"""
