"""Names that programs give to files that are not complete yet, or are no data."""

from __future__ import annotations

_ENDINGS = (
    ".part",  # Firefox, lftp, curl scripts, ownCloud
    ".tmp",
    "~",  # backups of editors
    ".filepart",  # WinSCP
    ".crdownload",  # Chrome, Edge
    ".download",  # Safari
    ".opdownload",  # Opera
    ".partial",  # rclone, Internet Explorer
    ".!ut",
    ".aria2",
    "._copying_",  # HDFS
    ".gstmp",  # gsutil
    ".swp",  # vim
)
_STARTS = (
    ".",  # hidden: rsync's .name.XXXXXX, Nextcloud's .~name, azcopy's .azDownload-…
    "~$",  # Microsoft Office, OneDrive
)
_FOLDERS = ("_temporary",)  # Hadoop and Spark


def is_temporary(key: str) -> bool:
    """Whether a file is one that a transfer or an editor has not finished, going by its name."""
    *folders, name = key.split("/")
    if any(folder.startswith(".") or folder in _FOLDERS for folder in folders):
        return True
    emacs = name.startswith("#") and name.endswith("#")
    return not name or emacs or name.startswith(_STARTS) or name.lower().endswith(_ENDINGS)
