"""Nouns and interfaces. Imports torch and numpy, nothing else of ours."""
