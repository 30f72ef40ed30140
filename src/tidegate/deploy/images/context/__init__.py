"""What goes into every image beside the pipelines: the lists of packages, and the script that
prepares it (``prepare``, which runs while an image is built, in the base image's own Python)."""
