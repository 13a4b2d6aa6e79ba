"""What trained networks answer, and why: predictions, ONNX files and explanations, without torch."""
