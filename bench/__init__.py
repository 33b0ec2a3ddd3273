"""Measurements of the promises: each file prints `name value limit ratio ok|over`, and fails only when it cannot measure."""
