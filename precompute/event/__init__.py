"""Bundles: everything for an event in one file, and the folder where bundles are unpacked."""
