"""Choosing words; imports no model."""
