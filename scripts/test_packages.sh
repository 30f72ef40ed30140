#!/bin/sh
# Debian's packages that tests need: those of images build, serve and look into them; the emulator of
# AWS makes its certificate with openssl.
# Installs what is missing, as root; elsewhere, and without them, those tests skip and say so.
set -eu
missing=
for package in buildah skopeo debootstrap docker-registry openssl; do
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
