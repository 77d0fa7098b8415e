"""Folders of pipelines as diffusers saves them, with seeded random weights, and references of their models in fp64."""
