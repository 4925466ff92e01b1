"""Scores: of generators and directions, of codes against factors, of images."""
