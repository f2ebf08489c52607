"""Kubernetes: its API, the Secrets, workloads and pods of a resource, and the resource itself."""
