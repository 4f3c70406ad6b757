"""From frame to poses: crop, engine, decode. NumPy is the reference."""
