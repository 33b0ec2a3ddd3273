"""Measurements of the promises: each file prints lines of `name value unit limit ratio ok|OVER`, the ratio above 1 when it is kept."""
