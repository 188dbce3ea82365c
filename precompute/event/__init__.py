"""Bundles: an event packed into one file, and the place where bundles are unpacked."""

from precompute.event.pack import pack
from precompute.event.releases import Place
from precompute.event.unpack import unpack, verify

__all__ = ["Place", "pack", "unpack", "verify"]
