"""Compression: fewer weights, fewer bits, fewer layers, and the same function in less space."""
