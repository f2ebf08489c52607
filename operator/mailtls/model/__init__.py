"""Nouns: frozen, slotted dataclasses without behaviour that touches the world.

`probe` is what a probe asks for and learns, `domain` what a mail domain publishes, `explanations` the words for
reasons.
"""
