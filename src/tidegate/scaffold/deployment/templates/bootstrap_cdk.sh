#!/usr/bin/env bash
# Prepares the account for a branch (default: @@{branch}): runs `tidegate bootstrap BRANCH` in this folder.
# You do not have to run it: `./deploy_stack.sh` does the same first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
if [ "$#" -eq 0 ]; then
  set -- @@{branch}
fi
exec tidegate bootstrap "$@"
