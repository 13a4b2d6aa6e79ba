"""Layers' gradients: from norms to a slope along depth, to a verdict in words, and to figures."""
