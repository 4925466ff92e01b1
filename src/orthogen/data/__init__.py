"""Images: drawn on the fly, or read from files."""
