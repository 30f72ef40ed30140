#!/usr/bin/env bash
# Deploys a branch: shows what will change, asks, and does it. Runs `tidegate deploy BRANCH` in this folder.
set -euo pipefail
if [ "$#" -eq 0 ]; then
  echo "usage: ./deploy_stack.sh BRANCH [OPTIONS OF tidegate deploy]" >&2
  exit 2
fi
cd "$(dirname "${BASH_SOURCE[0]}")"
exec tidegate deploy "$@"
