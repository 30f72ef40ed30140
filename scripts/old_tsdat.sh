#!/bin/sh
# An environment with an older Tsdat (pydantic 1) on Python 3.10, for the tests of the runtime.
# Where there is no Python 3.10 nothing is made, and those tests skip, saying so.
set -eu
version=$1
folder=.venvs/tsdat-$version
python=$("$UV" python find --no-project --offline 3.10 2>/dev/null || true)
for candidate in "$HOME"/.pyenv/versions/3.10.*/bin/python3.10; do
  [ -n "$python" ] || { [ -x "$candidate" ] && python=$candidate; }
done
mkdir -p "$folder"
if [ -z "$python" ]; then
  echo "no Python 3.10 found: the tests beside Tsdat $version will be skipped" >&2
else
  "$UV" venv --quiet --clear --python "$python" "$folder"
  "$UV" pip sync --quiet --python "$folder/bin/python" --compile-bytecode --require-hashes "requirements/tsdat-$version.txt"
fi
touch "$folder/.ready"
