"""Looking: traversals as pictures, and a run folder as one self-contained page."""
