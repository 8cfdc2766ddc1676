"""What would make a training fail or lie, found before hours are spent on it."""
