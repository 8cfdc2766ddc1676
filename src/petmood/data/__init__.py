"""The data stages, from a source on disk to crops with a split. One stage a module; none imports another."""
