# The rules of the tree, and that the checker can fail.
TESTS += tests/rules/rules.sh
EXTRA_DIST += tests/rules/rules.sh tests/rules/check.sh tests/rules/strip.awk

# drawings and tables of measurements
TESTS += tests/rules/plots.sh
EXTRA_DIST += tests/rules/plots.sh

# the pages for browsers, looked at without one
TESTS += tests/rules/pages.sh
EXTRA_DIST += tests/rules/pages.sh
