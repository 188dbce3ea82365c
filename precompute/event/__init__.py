"""Bundles: everything for an event in one file, and the folder where bundles are unpacked."""

from precompute.event.pack import pack
from precompute.event.releases import Place
from precompute.event.unpack import unpack, verify

__all__ = ["Place", "pack", "unpack", "verify"]
