"""Bundles: everything for an event in one file, and the folder where bundles are unpacked."""

from precompute.event import wheels
from precompute.event.manifest import MANIFEST
from precompute.event.pack import pack
from precompute.event.releases import Place, access_notes
from precompute.event.unpack import unpack, verify

__all__ = ["MANIFEST", "Place", "access_notes", "pack", "unpack", "verify", "wheels"]
