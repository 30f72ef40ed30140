"""Record products that were made before Tidegate, so that VAPs and lists of products have them.

``product_names`` matches file names with Tsdat's templates, ``survey`` finds the files that can be
adopted, ``raw_files`` finds the raw files that they were made from, ``recording`` writes them to
the ledger, and ``command`` is ``tidegate adopt``.
"""
