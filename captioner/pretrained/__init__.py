"""The default model, shipped as package data."""
