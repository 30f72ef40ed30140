"""The targets: where the stores are, and what delivers events.

They know the runtime, and not each other.
"""
