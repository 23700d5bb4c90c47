#!/bin/sh
# What every owner's VMs took in a week, as CSV for a spreadsheet and as a page for people.
#   sh run.sh http://prometheus.monitoring:9090
set -eu
prometheus=${1:?the address of Prometheus}
here=$(dirname "$0")
vmkit report energy -A --prometheus "$prometheus" --country DE --sites "$here/sites.yaml" \
    --by owner -o csv --html energy.html > energy.csv
cat energy.csv
