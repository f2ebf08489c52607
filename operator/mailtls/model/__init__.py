"""Nouns: frozen, slotted dataclasses without behaviour that touches the world."""
