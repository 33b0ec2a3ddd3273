"""Training programs that run under torchrun anywhere; they import nothing of the cockpit."""
