"""The servers to compare with: each small, honest, and saying the same words."""
