"""What runs at the event.

Importing this package imports nothing else, so that `precompute` never loads Flask.
"""
