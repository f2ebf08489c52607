"""Coverage-guided fuzzing of all that reads a stranger's bytes: `make fuzz`."""
