#!/bin/sh
# Installs the Debian packages in requirements/debian.txt, as root. Elsewhere, the tests that need them skip and say so.
set -eu
cd "$(dirname "$0")/.."
missing=
# shellcheck disable=SC2013
for package in $(sed 's/#.*//' requirements/debian.txt); do
  dpkg -s "$package" 2>/dev/null | grep -q '^Status: install ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
  echo "not installed:$missing (needs apt-get and root)" >&2
  exit 0
fi
apt-get update -q
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
