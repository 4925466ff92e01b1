"""Ways to find latent directions in a trained generator."""
