#!/bin/sh
# Debian's packages that tests of images need: they build images, serve them and look into them.
# Installs what is missing, as root; elsewhere, and without them, those tests skip and say so.
set -eu
missing=
for package in buildah skopeo debootstrap docker-registry; do
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
