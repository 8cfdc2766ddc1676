"""Exported files and what answers with them; needs onnxruntime, numpy and Pillow alone (``pip install`` of no torch).

from petmood.runtime import OnnxModel

model = OnnxModel("model.onnx")
print(model.predict("dog.jpg").emotion)
"""

from petmood.runtime.model import OnnxModel

__all__ = ["OnnxModel"]
