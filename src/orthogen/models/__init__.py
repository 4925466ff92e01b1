"""Networks: one paper per file."""
