"""The ONNX models: features, the runtime that scores them, the registry of what ships, and how each was trained."""

import os

# ONNX Runtime brings telemetry of its maker along, with a thread and an identifier on disk. Before it is imported:
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
