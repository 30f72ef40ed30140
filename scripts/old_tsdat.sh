#!/bin/sh
# An environment with a Tsdat other than Tidegate's own, for the tests of the runtime. Where there is
# no Python of the version that it is tested with, nothing is made, and those tests skip, saying so.
set -eu
version=$1
folder=.venvs/tsdat-$version
case $version in
  0.4 | 0.5) wanted=3.8 ;;
  0.7.*) wanted=3.9 ;;
  0.10) wanted=3.13 ;;
  *) wanted=3.10 ;;
esac
python=$("$UV" python find --no-project --offline "$wanted" 2>/dev/null || true)
for candidate in "$HOME"/.pyenv/versions/"$wanted".*/bin/python"$wanted"; do
  [ -n "$python" ] || { [ -x "$candidate" ] && python=$candidate; }
done
mkdir -p "$folder"
if [ -z "$python" ]; then
  echo "no Python $wanted found: the tests beside Tsdat $version will be skipped" >&2
else
  "$UV" venv --quiet --clear --python "$python" "$folder"
  # Not compiled: the few tests that use it import a small part of it.
  "$UV" pip sync --quiet --python "$folder/bin/python" --require-hashes "requirements/tsdat-$version.txt"
fi
touch "$folder/.ready"
