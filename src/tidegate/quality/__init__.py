"""What is in a product, how it differs from another, and how much of each day is there.

``content`` says what a product holds, with the share of valid values and the quality checks that
failed; ``comparison`` compares two products; ``availability`` works on records of the ledger.

A dataset can only be read where xarray is: in the pipelines' environment. So the functions that
read one (``describe_product``, ``compare_products``) are called through a worker
(``runtime.process.WorkerProcess.call``). They import the standard library only, xarray when they
are called, and run on Python 3.8. What they return are plain records, which pass as JSON.
"""
