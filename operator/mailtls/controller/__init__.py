"""The operator's process: watches, queue, election, and the reconciler that carries a resource through its stages."""
