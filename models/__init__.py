"""The ONNX models: features, the runtime that scores them, the registry of what ships, and how each was trained."""
