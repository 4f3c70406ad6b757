"""INT8: ranges of activations from pictures, then Q/DQ pairs in the graph that every backend reads.

`calibrate` needs ONNX Runtime; `placement` and `insert_qdq` need onnx alone; `ranges` needs neither.
"""
