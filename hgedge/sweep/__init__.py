"""The Pareto of a network's deployment knobs on one backend: stacks x input sizes x precisions x placements.

An hourglass predicts after every stack, so how many are kept is a choice between accuracy and time, as the input's size
and the precision are. `model` knows what of a network may be chosen, `grid` what is to be measured, `ranges` where each
size's INT8 ranges come from, `workshop` builds, `measure` counts joints and milliseconds, `start` begins, `loop` goes
through all of it and remembers, `rows` makes the table, `pareto` the front, `recommend` the recipes; `files`, `plot`
and `page` make what is kept.
"""
