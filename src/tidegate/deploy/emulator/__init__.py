"""A workspace deployed to an emulator of AWS on this machine.

Only AWS is emulated, by MiniStack. The templates, the functions' handler and Tsdat are the real
ones. ``server`` runs the emulator, and ``deployment`` deploys a workspace to it.
"""
