"""Training a model on exported data, and what comes after: merging, a Modelfile, evaluation.

The training libraries are an extra (`pip install 'tsukurioki[train]'`), imported where they are used.
"""
