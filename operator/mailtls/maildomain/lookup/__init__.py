"""Looks up what a mail domain publishes; reads only, and judges nothing."""
