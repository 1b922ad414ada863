# shellcheck shell=sh disable=SC2154  # port, d: prelude/clusters.sh
# A line for each cluster: its port, then what `df` says of its data directory.

known all | while take; do
  printf '%s ' "$port"
  timeout 3 df --output=source,size,used,avail,target -B1 -- "$d" 2>/dev/null </dev/null |
    tail -n +2 | grep . || echo
done
