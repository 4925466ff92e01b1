"""Building blocks that several networks or methods share."""
