"""Trained networks as ONNX files, and what they say of an image. Nothing here loads torch."""
