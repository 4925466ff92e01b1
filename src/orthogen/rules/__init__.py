"""Step rules: what happens between backward and step."""
