"""A keyboard-driven terminal cockpit for distributed GPU training on Amazon EKS."""

__version__ = "0.1.0"
