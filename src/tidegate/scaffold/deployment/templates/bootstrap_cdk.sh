#!/usr/bin/env bash
# Prepares the account for a branch (@@{branch} unless told). The same as `tidegate bootstrap BRANCH`, here.
# `./deploy_stack.sh` does it by itself: nobody has to run this.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
if [ "$#" -eq 0 ]; then
  set -- @@{branch}
fi
exec tidegate bootstrap "$@"
