"""petmood: from millions of labelled video frames to an emotion classifier that its owner can trust."""

__version__ = "0.1.0"
