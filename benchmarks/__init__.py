"""What Tidegate costs beside plain Tsdat: ``python -m benchmarks``, or ``make bench``."""
