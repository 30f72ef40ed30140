#!/bin/sh
# Lock files: pinned versions and hashes, no index address. Run by `make lock`.
set -eu
lock() { "$UV" pip compile --quiet --generate-hashes --no-emit-index-url --no-header --no-annotate "$@"; }
printf 'uv\n' | lock --universal --python-version 3.11 - -o requirements/uv.txt
lock --universal --python-version 3.11 pyproject.toml --all-extras --group dev -o requirements/dev.txt
# netCDF4 1.6.5, which Tsdat 0.8.5 pins, was built for NumPy 1.
printf 'tsdat==0.8.5\nnumpy<2\n' | lock --python-version 3.10 - -o requirements/tsdat-0.8.5.txt
printf 'tsdat==0.9.3\n' | lock --python-version 3.10 - -o requirements/tsdat-0.9.3.txt
# What was published when they were: newer packages do not fit.
printf 'tsdat==0.4.*\n' |
  lock --python-version 3.8 --exclude-newer 2022-09-20 - -o requirements/tsdat-0.4.txt
printf 'tsdat==0.5.*\n' |
  lock --python-version 3.8 --exclude-newer 2023-01-15 - -o requirements/tsdat-0.5.txt
printf 'tsdat==0.7.1\n' |
  lock --python-version 3.9 --exclude-newer 2024-01-15 - -o requirements/tsdat-0.7.1.txt
printf 'tsdat==0.10.*\n' | lock --python-version 3.13 - -o requirements/tsdat-0.10.txt
# The benchmark beside Dagster, with the same Tsdat as ours.
printf 'dagster\ntsdat\n' |
  lock --universal --python-version 3.11 -c requirements/dev.txt - -o requirements/dagster.txt
# In images: uv, and the packages of the function's own process, as they are tested here.
image=src/tidegate/deploy/images/context
printf 'uv\n' | lock --universal --python-version 3.10 -c requirements/uv.txt - -o $image/uv.txt
printf 'boto3\naws-lambda-powertools\n' |
  lock --universal --python-version 3.10 -c requirements/dev.txt - -o $image/handler.txt
