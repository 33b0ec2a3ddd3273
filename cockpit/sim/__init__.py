"""The practice cluster: a Kubernetes API over HTTPS whose pods are real processes; what it invents is marked SIMULATED."""
