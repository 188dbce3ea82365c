"""Pieces that composing assembles, cooked and checked."""
