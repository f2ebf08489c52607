"""What a probe asks for and what it learns."""
