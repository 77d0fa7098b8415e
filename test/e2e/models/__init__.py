"""Models for the tests and benchmarks, built with numpy and onnx alone: same name, same bytes, on every machine."""
