"""Models side by side: every one in each of its forms, in a process of its own, in turns.

Nothing is imported here, so that the process of an ONNX model stays free of torch.
"""
